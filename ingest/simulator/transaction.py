"""The TRANSACTION state and UPDATE (RFC 1939, 5 and 6): listings, messages, marks.

Rules of this room:
- The view of the maildrop is fixed at login. DELE only marks; `update` alone removes.
- A refused command changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

from ingest.simulator.behaviour import Behaviour
from ingest.simulator.contents import handed_over, top
from ingest.simulator.listings import Listings
from ingest.simulator.log import Log
from ingest.simulator.login import Opened
from ingest.simulator.maildrop import Message
from ingest.simulator.replies import Refused, Replies, unknown_command


class Transaction:
    """The commands of the TRANSACTION state over an opened maildrop.

    Args:
        opened: the maildrop.
        replies, behaviour, log: of the session.
    """

    def __init__(self, opened: Opened, replies: Replies, behaviour: Behaviour, *, log: Log) -> None:
        self._opened = opened
        self._replies = replies
        self._behaviour = behaviour
        self._log = log
        self._messages = _shown(opened, behaviour)
        self._listings = Listings(behaviour, self._messages, past=opened.past, session=opened.number)
        self._marked: set[int] = set()
        self._retrieved: set[int] = set()

    def __len__(self) -> int:
        return len(self._messages)

    def command(self, verb: str) -> Callable[[bytes], None] | None:
        """What serves this verb; None where it has no place in this state."""
        command = self._COMMANDS.get(verb)
        return None if command is None else lambda argument: command(self, argument)

    def _do_noop(self, _argument: bytes) -> None:
        self._replies.ok()

    def _do_stat(self, _argument: bytes) -> None:
        self._replies.ok(self._listings.stat(self._listed()))

    def _do_list(self, argument: bytes) -> None:
        self._listing(argument, self._listings.sizes)

    def _do_uidl(self, argument: bytes) -> None:
        if not self._behaviour.uidl:
            raise unknown_command()
        self._listing(argument, self._listings.uidls)

    def _listing(self, argument: bytes, lines_of: Callable[[Iterator[tuple[int, Message]]], list[bytes]]) -> None:
        if argument:
            [line] = lines_of(iter([self._one(argument)]))
            return self._replies.ok(line)
        lines = self._listings.cut(lines_of(self._listed()))
        if not self._behaviour.truncate_listing and not self._behaviour.silent_listing:
            return self._replies.lines("listing follows", lines)
        half = b"".join(line + b"\r\n" for line in lines[: len(lines) // 2])
        self._replies.unfinished("listing follows", half)
        return self._replies.fall_silent() if self._behaviour.silent_listing else self._replies.break_off()

    def _do_retr(self, argument: bytes) -> None:
        number, message = self._one(argument)
        if number in self._behaviour.refuse_retr:
            raise Refused("this message can't be read")
        octets = self._octets(message)
        text = f"{len(octets)} octets"
        if number == self._behaviour.close_on_retr:
            self._replies.unfinished(text, octets[: len(octets) // 2])
            self._replies.break_off()
        self._retrieved.add(number)
        self._log.retrieved(self._opened.name, message.uidl)
        self._replies.message(text, octets)
        if len(self._retrieved) == self._behaviour.close_after_retrs:
            self._replies.break_off()

    def _do_top(self, argument: bytes) -> None:
        which, _, count = argument.partition(b" ")
        if not self._behaviour.top:
            raise unknown_command()
        if not count.isdigit():
            raise Refused("TOP needs a message number and a count of lines")
        _, message = self._one(which)
        self._replies.message("top follows", top(self._octets(message), int(count)))

    def _do_dele(self, argument: bytes) -> None:
        number, _ = self._one(argument)
        if number in self._behaviour.refuse_dele:
            raise Refused("this message can't be deleted")
        self._marked.add(number)
        self._replies.ok("marked")

    def _do_rset(self, _argument: bytes) -> None:
        self._marked.clear()
        self._replies.ok()

    def _octets(self, message: Message) -> bytes:
        opened = self._opened
        return handed_over(message.octets, self._behaviour, session=opened.number, utf8=opened.utf8)

    def _listed(self) -> Iterator[tuple[int, Message]]:
        return ((n, message) for n, message in enumerate(self._messages, 1) if n not in self._marked)

    def _one(self, argument: bytes) -> tuple[int, Message]:
        number = int(argument) if argument.isdigit() else 0
        if not 1 <= number <= len(self._messages) or number in self._marked:
            raise Refused("no such message")
        return number, self._messages[number - 1]

    def update(self) -> None:
        """UPDATE: what is marked goes."""
        behaviour, opened = self._behaviour, self._opened
        marked = set() if behaviour.keep_deleted else self._marked
        doomed = marked | self._retrieved if behaviour.delete_retrieved else marked
        messages = {self._messages[number - 1] for number in doomed}
        opened.maildrop.remove(messages)
        for message in messages:
            self._log.deleted(opened.name, message.uidl)
        opened.past.hide(self._messages[number - 1] for number in self._retrieved)

    _COMMANDS: ClassVar[Mapping[str, Callable[[Transaction, bytes], None]]] = {
        "DELE": _do_dele,
        "LIST": _do_list,
        "NOOP": _do_noop,
        "RETR": _do_retr,
        "RSET": _do_rset,
        "STAT": _do_stat,
        "TOP": _do_top,
        "UIDL": _do_uidl,
    }


def _shown(opened: Opened, behaviour: Behaviour) -> tuple[Message, ...]:
    """The messages that this session shows."""
    if behaviour.empty_every is not None and opened.number % behaviour.empty_every == 0:
        return ()
    messages = opened.maildrop.messages()
    if behaviour.hide_retrieved:
        hidden = opened.past.hidden()
        messages = tuple(message for message in messages if message not in hidden)
    return messages[: behaviour.window]
