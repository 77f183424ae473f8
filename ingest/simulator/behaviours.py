"""The behaviours that have a name: what a server may do, and what should come of it.

Rules of this room:
- A name says where and what: `uidl-long`, `retr-endless`. It is a contract: others' tests use it.
- `ALL` is the one list; the documentation's table is compared with it.
- Several names together play at once, unless two of them turn the same knob to different values.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from ingest.simulator.behaviour import Behaviour

WORKS = "works"
SKIPPED = "skipped"


class Over(enum.Enum):
    """What a behaviour needs of the connection to show."""

    ANY = "any"
    TLS = "TLS"
    STARTTLS = "STARTTLS"


@dataclass(frozen=True, slots=True)
class Named:
    """A behaviour with a name.

    Attributes:
        name: of small letters, digits and hyphens.
        what: what the server does, in one line.
        behaviour: the knobs.
        expected: what should come of it: "works" (mail arrives all the same), "skipped" (a message is told of as
            skipped, the others arrive), or the code of the error that a poll ends in, sooner or later.
        over: on which connections it shows.
    """

    name: str
    what: str
    behaviour: Behaviour
    expected: str = WORKS
    over: Over = Over.ANY


def combined(behaviours: Iterable[Behaviour]) -> Behaviour:
    """One that does all of it; ValueError where two turn one knob, or one place of the script, differently."""
    plain = Behaviour()
    turned: dict[str, object] = {}
    script: dict[str, object] = {}
    for behaviour in behaviours:
        _merge(script, behaviour.script)
        knobs = {field.name: getattr(behaviour, field.name) for field in fields(behaviour) if field.name != "script"}
        _merge(turned, {name: value for name, value in knobs.items() if value != getattr(plain, name)})
    return Behaviour(script=script, **turned)  # type: ignore[arg-type]  # each value came out of its own field


def _merge(into: dict[str, object], more: Mapping[str, object]) -> None:
    for name, value in more.items():
        if into.setdefault(name, value) != value:
            raise ValueError(f"two of them want another {name} each")
