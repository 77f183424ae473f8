"""An account's state as fields of a Redis hash, readable with HGETALL. An empty value stands for None."""

from __future__ import annotations

from collections.abc import Mapping

from ingest.models import AccountState


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
    }


def decode_state(fields: Mapping[bytes, bytes]) -> AccountState:
    """The state behind a hash; missing fields are fresh."""
    text = {key.decode(): value.decode() for key, value in fields.items()}

    def number(name: str) -> float | None:
        return float(text[name]) if text.get(name) else None

    return AccountState(
        failures=int(text.get("failures") or 0),
        refusals=int(text.get("refusals") or 0),
        interval_s=number("interval_s"),
        first_poll_done=text.get("first_poll_done") == "1",
        last_outcome=text.get("last_outcome") or None,
        last_error=text.get("last_error") or None,
        last_poll=number("last_poll"),
        failing_since=number("failing_since"),
    )
