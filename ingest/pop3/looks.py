"""What a session asks first of a maildrop: all that is listed, or just a glance. Commands out, replies in, a value.

Rules of this room:
- A look's commands change nothing at the server, so they may leave behind a password, and may be asked again.
- A glance is no proof: what it saw can be the same although a message in the middle was swapped for another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias, TypeVar

from ingest.errors import ConnectionLost, IngestError, ListingFailed, ServerRefused
from ingest.models import Listing, Sight
from ingest.pop3.connection import Command, Reply
from ingest.pop3.exchange import Request
from ingest.pop3.limits import SessionLimits
from ingest.pop3.listing import LIST_LINE, UIDL_LINE, NumberedLines, assemble, read_stat

Body: TypeAlias = Callable[[], Iterable[bytes]]
T_co = TypeVar("T_co", covariant=True)
_UIDL = re.compile(rb"(\d{1,10}+) ++(.+)", re.DOTALL)


class Look(Protocol[T_co]):
    """What to ask: `take` gets the reply to each of `requests` in turn, and `result` says what was seen.

    `body` reads the body of the reply, where it has one; `refused` makes its error. Both methods raise that, or
    ListingFailed. `has_uidl`: False once the server refused UIDL as a whole.
    """

    @property
    def has_uidl(self) -> bool: ...

    @property
    def requests(self) -> Sequence[Request]: ...

    def take(self, reply: Reply, body: Body, refused: Callable[[Reply], IngestError]) -> None: ...

    def result(self) -> T_co: ...


class Overview:
    """STAT, UIDL and LIST: everything that is listed.

    Args:
        limits: of the session.
        ask_uidl: False where the server is known to have no UIDL.
        promised: whether the server announced UIDL, so that it may not refuse it.
    """

    def __init__(self, limits: SessionLimits, *, ask_uidl: bool, promised: Callable[[], bool]) -> None:
        self.has_uidl = ask_uidl
        self._limits = limits
        self._promised = promised
        self._count = 0
        self._octets: int | None = None
        self._uidls = NumberedLines("UIDL", UIDL_LINE, limits)
        self._sizes = NumberedLines("LIST", LIST_LINE, limits)

    @property
    def requests(self) -> Sequence[Request]:
        """STAT comes first: where nothing is there, the others may be refused."""
        uidl = [Request(Command.UIDL)] if self.has_uidl else []
        return [Request(Command.STAT), *uidl, Request(Command.LIST)]

    def take(self, reply: Reply, body: Body, refused: Callable[[Reply], IngestError]) -> None:
        """See `Look`."""
        match reply:
            case Reply(Command.STAT, ok=True):
                self._count, self._octets = read_stat(reply.text)
            case Reply(Command.UIDL, ok=True):
                _collect(self._uidls, body())
            case Reply(Command.LIST, ok=True):
                _collect(self._sizes, body())
            case Reply(Command.UIDL | Command.LIST) if self._count == 0:
                pass  # some refuse to list nothing
            case Reply(Command.UIDL):
                error = refused(reply)
                if self._promised():
                    raise ListingFailed(f"the server promises UIDL, and refuses it: {error.what}")
                if not isinstance(error, ServerRefused):
                    raise error
                self.has_uidl = False
            case _:
                raise refused(reply)

    def result(self) -> Listing:
        """What is listed; ListingFailed."""
        uidls = self._uidls.found if self.has_uidl else None
        return assemble(self._count, self._octets, uidls, self._sizes.found, uidl_bytes=self._limits.uidl_bytes)


class Glance:
    """STAT and the UIDL of one message: whether the maildrop seems to be as it was, in some hundred octets.

    Args:
        number: of the message, the last one when it was last listed; 0 asks for no UIDL.
    """

    has_uidl = True

    def __init__(self, number: int) -> None:
        self._number = number
        self._count = 0
        self._octets: int | None = None
        self._uidl: bytes | None = None

    @property
    def requests(self) -> Sequence[Request]:
        """One flight."""
        return [Request(Command.STAT), *([Request(Command.UIDL, (b"%d" % self._number,))] if self._number else [])]

    def take(self, reply: Reply, body: Body, refused: Callable[[Reply], IngestError]) -> None:  # noqa: ARG002 - none here
        """See `Look`. A refused UIDL is an answer, too: that message is gone."""
        match reply:
            case Reply(Command.STAT, ok=True):
                self._count, self._octets = read_stat(reply.text)
            case Reply(Command.UIDL):
                found = _UIDL.match(reply.text) if reply.ok else None
                if found is not None and int(found[1]) == self._number:
                    self._uidl = found[2]
            case _:
                raise refused(reply)

    def result(self) -> Sight:
        """What was seen."""
        return Sight(self._count, self._octets, self._number, self._uidl)


def _collect(lines: NumberedLines, body: Iterable[bytes]) -> None:
    try:
        for chunk in body:
            lines.feed(chunk)
    except ConnectionLost as lost:
        raise lines.broke_off(lost.what) from lost
