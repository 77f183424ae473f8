"""Which account an event is about, and so which events must stay behind each other. Pure.

Rules of this file:
- An account's events have an order, all others have none. What names no account is an account of its own: "".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ingest.errors import EventRefused, IngestError, SinkUnavailable
from ingest.models import OutgoingEvent

Outcome = IngestError | None
NOT_BEGUN: Final = SinkUnavailable("not begun: a stop was asked for")
# As `build` writes it: cheaper than to parse a megabyte.
_HEAD = re.compile(rb'\{"specversion":"1\.0","id":"[^"\\]*","source":"mailsluice/([a-z0-9][a-z0-9._-]{0,63})"')
_SOURCE = re.compile(r"mailsluice/([a-z0-9][a-z0-9._-]{0,63})")  # an account's id as `accounts` has it, and no other


def account_of(event: OutgoingEvent) -> str:
    """The id of the account, "" where the event names none."""
    head = _HEAD.match(event.json)
    if head is not None:
        return head[1].decode()
    try:
        source = _SOURCE.fullmatch(str(json.loads(event.json)["source"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    return source[1] if source else ""


def lanes(events: Sequence[OutgoingEvent]) -> list[list[int]]:
    """The places of each account's events, in order; accounts in the order of their first."""
    found: dict[str, list[int]] = {}
    for at, event in enumerate(events):
        found.setdefault(account_of(event), []).append(at)
    return list(found.values())


def in_waves(
    events: Sequence[OutgoingEvent],
    send: Callable[[Sequence[OutgoingEvent]], Sequence[Outcome]],
    go_on: Callable[[], bool],
) -> list[Outcome]:
    """Send one event of each account at a time, for sinks that would let a later one overtake an earlier one."""
    outcomes: list[Outcome] = [None] * len(events)
    waiting = lanes(events)
    while waiting:
        wave = [lane[0] for lane in waiting]
        said = send([events[at] for at in wave]) if go_on() else [NOT_BEGUN] * len(wave)
        for at, outcome in zip(wave, said, strict=True):
            outcomes[at] = outcome
        for lane in waiting:
            if holds_up(outcomes[lane[0]]):
                for at in lane[1:]:
                    outcomes[at] = outcomes[lane[0]]
        waiting = [lane[1:] for lane in waiting if lane[1:] and not holds_up(outcomes[lane[0]])]
    return outcomes


def always() -> bool:
    """Nobody asks for a stop."""
    return True


def holds_up(outcome: Outcome) -> bool:
    """Whether the events behind must wait."""
    return outcome is not None and not isinstance(outcome, EventRefused)


def pieces(
    events: Sequence[OutgoingEvent], most: int, most_bytes: int, size: Callable[[OutgoingEvent], int]
) -> Iterator[Sequence[OutgoingEvent]]:
    """Cut into batches of at most so many events and octets; one that is larger by itself goes alone."""
    batch: list[OutgoingEvent] = []
    octets = 0
    for event in events:
        takes = size(event)
        if batch and (len(batch) == most or octets + takes > most_bytes):
            yield batch
            batch, octets = [], 0
        batch.append(event)
        octets += takes
    if batch:
        yield batch
