"""From names to behaviours.

Rules of this room:
- Looked up, never guessed: an unknown name is an error that says which are near.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ingest.simulator.attacks import ATTACKS
from ingest.simulator.behaviour import Behaviour
from ingest.simulator.behaviours import Named, combined
from ingest.simulator.quirks import QUIRKS

ALL: Mapping[str, Named] = MappingProxyType({named.name: named for named in (*QUIRKS, *ATTACKS)})


def behaviour_named(names: Iterable[str]) -> Behaviour:
    """What plays all of these at once; ValueError for an unknown name, or two that contradict each other."""
    chosen = list(dict.fromkeys(names))
    for name in chosen:
        if name not in ALL:
            near = difflib.get_close_matches(name, ALL, n=3)
            raise ValueError(f"no behaviour {name!r}" + (f"; near it: {', '.join(near)}" if near else ""))
    try:
        return combined(ALL[name].behaviour for name in chosen)
    except ValueError as error:
        raise ValueError(f"{', '.join(chosen)} do not go together: {error}") from None
