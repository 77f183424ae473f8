"""What a CAPA reply says (RFC 2449, 5 and 6). Tolerant: a line that makes no sense is no line."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.models import Capabilities

UNKNOWN = Capabilities(known=False)
_DIGITS = 9
_LONGEST_DELAY_S = 86_400  # more would be a slip, and would end the polling of a whole host
_SHOWN_CHARACTERS = 200


def parse_capabilities(body: bytes) -> Capabilities:
    """Read the body of a CAPA reply; names in upper case, EXPIRE NEVER as None."""
    found: dict[str, Sequence[str]] = {}
    for line in body.split(b"\n"):
        name, *arguments = line.decode("ascii", "replace").split() or [""]
        if name.isascii() and name.isprintable() and name:
            found.setdefault(name.upper(), arguments)
    implementation = " ".join(found.get("IMPLEMENTATION", ()))
    printable = implementation.isascii() and implementation.isprintable()
    delay_s = _number(found.get("LOGIN-DELAY", ()))
    return Capabilities(
        known=True,
        names=frozenset(found),
        sasl=frozenset(mechanism.upper() for mechanism in found.get("SASL", ())),
        implementation=(printable and implementation[:_SHOWN_CHARACTERS]) or None,
        login_delay_s=None if delay_s is None else min(delay_s, _LONGEST_DELAY_S),
        expire_days=_number(found.get("EXPIRE", ())),
        per_user=any("USER" in map(str.upper, found.get(name, ())[1:]) for name in ("LOGIN-DELAY", "EXPIRE")),
    )


def _number(arguments: Sequence[str]) -> int | None:
    """The first argument; "USER" behind it says that other users may have other values."""
    first = arguments[0] if arguments else ""
    return int(first) if first.isascii() and first.isdigit() and len(first) <= _DIGITS else None
