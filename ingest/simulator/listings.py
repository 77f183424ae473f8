"""What STAT, LIST and UIDL say of a session's messages.

Rules of this room:
- Values are octets: a UIDL may be anything but CR and LF.
- What changes within a session counts the commands of that session; what changes between sessions asks the past.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ingest.simulator.behaviour import Behaviour, Sizes, Uidls
from ingest.simulator.maildrop import Message
from ingest.simulator.past import Past

_EIGHT_BIT = b"\x80\xff\x01\0\t \xe9"
_GIGABYTE = 1 << 30
_STEP = 13

Numbered = tuple[int, Message]


class Listings:
    """The three commands' values over the messages that a session shows.

    Args:
        behaviour: of the session.
        messages: what it shows, from number 1.
        past: of the user.
        session: the how many-th of the user it is.
    """

    def __init__(self, behaviour: Behaviour, messages: Sequence[Message], *, past: Past, session: int) -> None:
        self._behaviour = behaviour
        self._messages = messages
        self._past = past
        self._session = session
        self._uidl_commands = 0

    def stat(self, listed: Iterable[Numbered]) -> str:
        """Count and octets."""
        sizes = [len(message.octets) for _, message in listed]
        return f"{len(sizes) + self._behaviour.stat_more} {sum(sizes)}"

    def sizes(self, listed: Iterable[Numbered]) -> list[bytes]:
        """The lines of a LIST reply."""
        earlier = self._past.count_listing()
        return [b"%d %d" % (number, self._size(message, earlier)) for number, message in listed]

    def uidls(self, listed: Iterable[Numbered]) -> list[bytes]:
        """The lines of a UIDL reply."""
        self._uidl_commands += 1
        return [self._uidl_line(number, message) for number, message in listed]

    def cut(self, lines: list[bytes]) -> list[bytes]:
        """The lines that a whole listing is made of, as far as the behaviour lets it have them."""
        lines = lines[: self._behaviour.list_at_most]
        if self._behaviour.number_twice and len(lines) > 1:
            lines[1] = lines[0].partition(b" ")[0] + b" " + lines[1].partition(b" ")[2]
        return lines

    def _size(self, message: Message, earlier: int) -> int:
        size = len(message.octets)
        match self._behaviour.sizes:
            case Sizes.TRUE:
                return size
            case Sizes.SMALLER:
                return size // 2
            case Sizes.LARGER:
                return 2 * size + _STEP
            case Sizes.ZERO:
                return 0
            case Sizes.HUGE:
                return size + _GIGABYTE
            case Sizes.CHANGING:
                return size + _STEP * (1 + earlier)

    def _uidl_line(self, number: int, message: Message) -> bytes:
        uidl = message.uidl.encode("latin-1")
        match self._behaviour.uidls:
            case Uidls.AS_GIVEN:
                pass
            case Uidls.ABSENT:
                return b"%d" % number
            case Uidls.SPACED:
                uidl = b"   " + uidl
            case Uidls.LONG:
                uidl = uidl.rjust(300, b"x")
            case Uidls.EIGHT_BIT:
                uidl = _EIGHT_BIT + uidl
            case Uidls.TWINS:
                uidl = self._messages[(number - 1) // 2 * 2].uidl.encode("latin-1")
            case Uidls.ANEW:
                uidl = b"%d-%s" % (self._session, uidl)
            case Uidls.SHIFTING:
                moved = number if self._uidl_commands > 1 else number - 1
                uidl = self._messages[moved % len(self._messages)].uidl.encode("latin-1")
        return b"%d %s" % (number, uidl)
