"""Values as Redis keeps them: a state as a hash (HGETALL shows it), an event as arguments, a refusal as JSON.

Rules of this room:
- In the hash an empty value stands for None; a missing or damaged field is fresh.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping

from ingest.models import AccountState, Kind, OutgoingEvent, Record, Refusal


def encode_state(state: AccountState) -> dict[str, str]:
    """Every field, as text."""
    return {
        "failures": str(state.failures),
        "refusals": str(state.refusals),
        "interval_s": "" if state.interval_s is None else f"{state.interval_s:.3f}",
        "first_poll_done": "1" if state.first_poll_done else "0",
        "last_outcome": state.last_outcome or "",
        "last_error": state.last_error or "",
        "last_poll": "" if state.last_poll is None else f"{state.last_poll:.3f}",
        "failing_since": "" if state.failing_since is None else f"{state.failing_since:.3f}",
        "fingerprint": state.fingerprint or "",
        "seeded_at": "" if state.seeded_at is None else f"{state.seeded_at:.3f}",
        "undeleted": str(state.undeleted),
        "listings": " ".join(map(str, state.listings)),
        "glance": state.glance or "",
        "listed_at": "" if state.listed_at is None else f"{state.listed_at:.3f}",
        "delete_at": "" if state.delete_at is None else f"{state.delete_at:.3f}",
        "batch": "" if state.batch is None else str(state.batch),
        "login_at": "" if state.login_at is None else f"{state.login_at:.3f}",
        "refused_mark": state.refused_mark or "",
        "login_after": "" if state.login_after is None else f"{state.login_after:.3f}",
        "laid_to_host": str(state.laid_to_host),
    }


def decode_state(fields: Mapping[bytes, bytes]) -> AccountState:
    """The state behind a hash. A field that makes no sense is fresh, too: the next poll that ends writes it anew."""
    text = {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in fields.items()}

    def number(name: str) -> float | None:
        try:
            value = float(text[name])
        except (KeyError, ValueError):
            return None
        return value if math.isfinite(value) else None

    return AccountState(
        failures=int(number("failures") or 0),
        refusals=int(number("refusals") or 0),
        interval_s=number("interval_s"),
        first_poll_done=text.get("first_poll_done") == "1",
        last_outcome=text.get("last_outcome") or None,
        last_error=text.get("last_error") or None,
        last_poll=number("last_poll"),
        failing_since=number("failing_since"),
        fingerprint=text.get("fingerprint") or None,
        seeded_at=number("seeded_at"),
        undeleted=int(number("undeleted") or 0),
        listings=tuple(int(word) for word in text.get("listings", "").split() if word.isdecimal()),
        glance=text.get("glance") or None,
        listed_at=number("listed_at"),
        delete_at=number("delete_at"),
        batch=int(number("batch") or 0) or None,
        login_at=number("login_at"),
        refused_mark=text.get("refused_mark") or None,
        login_after=number("login_after"),
        laid_to_host=int(number("laid_to_host") or 0),
    )


def event_fields(event: OutgoingEvent | None) -> tuple[str | bytes, ...]:
    """Id, type and JSON for a script; an empty id stands for no event."""
    return (event.id, event.type, event.json) if event else ("", "", "")


def refusal_field(refusal: Refusal) -> str:
    """Where a refusal stands in its shard's hash. Account ids hold no colon."""
    return f"{refusal.account}:{refusal.id}"


def encode_refusal(refusal: Refusal) -> bytes:
    """A refusal as JSON, its record's digests in hex."""
    record = refusal.record
    values = {field.name: getattr(refusal, field.name) for field in dataclasses.fields(refusal)}
    values["record"] = {"uidl": record.uidl.hex(), "identity": record.identity.hex(), "kind": record.kind.name.lower()}
    return json.dumps(values, ensure_ascii=False).encode("utf-8", "replace")


def decode_refusal(value: bytes) -> Refusal | None:
    """The refusal behind JSON; None where it makes no sense."""
    try:
        values = json.loads(value)
        record = values.pop("record")
        digests = bytes.fromhex(record["uidl"]), bytes.fromhex(record["identity"])
        return Refusal(record=Record(*digests, Kind[record["kind"].upper()]), **values)
    except (ValueError, KeyError, TypeError):
        return None
