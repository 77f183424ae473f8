"""How a session answers: status lines, multi-line replies, and what its script says instead.

Rules of this room:
- The one place that knows how a reply looks on the wire (RFC 1939, 3). What an act ends, it ends with `Gone`.
"""

from __future__ import annotations

from collections.abc import Iterable

from ingest.simulator.acts import Act, Refuse, Repeat, Say, Then
from ingest.simulator.behaviour import Behaviour, Ending
from ingest.simulator.wire import Gone, Wire

_CHUNK_OCTETS = 16_384


class Refused(Exception):
    """A command is answered with -ERR.

    Args:
        text: for people.
        code: response code without its brackets (RFC 2449, 8; RFC 3206), or "".
        unknown: the server does not know the command at all.
    """

    def __init__(self, text: str, code: str = "", *, unknown: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.unknown = unknown


def unknown_command() -> Refused:
    """The refusal of a command that the server does not know, or acts as if."""
    return Refused("unknown command", unknown=True)


class Replies:
    """Writes replies to a wire, as a behaviour has it."""

    def __init__(self, wire: Wire, behaviour: Behaviour) -> None:
        self._wire = wire
        self._behaviour = behaviour

    def ok(self, text: bytes | str = b"") -> None:
        text = text.encode("latin-1") if isinstance(text, str) else text
        self._wire.write(b"+OK " + text + b"\r\n" if text else b"+OK\r\n")

    def err(self, text: str, code: str = "") -> None:
        shown = f"[{code}] {text}" if code and self._behaviour.respond_codes else text
        self._wire.write(f"-ERR {shown}\r\n".encode())

    def lines(self, text: str, lines: Iterable[bytes]) -> None:
        """A multi-line reply of these lines, without their ends; none of them begins with a dot."""
        self.ok(text)
        self._wire.write(b"".join(line + b"\r\n" for line in lines))
        self._wire.write(b".\r\n")

    def unfinished(self, text: str, octets: bytes) -> None:
        """The beginning of a multi-line reply."""
        self.ok(text)
        self._wire.write(self._stuffed(octets))
        self._wire.flush()

    def message(self, text: str, octets: bytes) -> None:
        """A multi-line reply; `octets` are whole lines of a message."""
        self.ok(text)
        octets = self._stuffed(octets)
        match self._behaviour.ending:
            case Ending.NO_CRLF:
                octets = octets.removesuffix(b"\r\n")
            case Ending.BARE_LF:
                octets = octets.replace(b"\r\n", b"\n")
            case Ending.PROPER:
                pass
        self._wire.write(octets)
        self._wire.write(b".\r\n")

    def perform(self, act: Act) -> None:
        """Do what the script says; Gone where that ends the connection, Refused for a refusal."""
        match act:
            case Refuse(text, code):
                raise Refused(text, code)
            case Say(octets, then):
                self._wire.write(octets)
                if then is not Then.GO_ON:
                    self.fall_silent() if then is Then.SILENCE else self.break_off()
            case Repeat():
                self._repeat(act)

    def fall_silent(self) -> None:
        """Say nothing more, until the client leaves; raises Gone."""
        self._wire.flush()
        self._wire.wait_for_end()
        raise Gone

    def break_off(self) -> None:
        """Close behind what was said; raises Gone."""
        self._wire.flush()
        raise Gone

    def _repeat(self, act: Repeat) -> None:
        self._wire.write(act.head)
        done = 0
        at_a_time = 1 if act.paced else max(1, _CHUNK_OCTETS // len(act.piece))
        while act.times is None or done < act.times:
            count = at_a_time if act.times is None else min(at_a_time, act.times - done)
            if act.paced:
                self._wire.flush()
                self._wire.pause(self._behaviour.pace_s)
            self._wire.write(
                b"".join(act.piece % n for n in range(done + 1, done + count + 1))
                if act.numbered
                else act.piece * count
            )
            done += count
        self._wire.write(act.tail)

    def _stuffed(self, octets: bytes) -> bytes:
        """A dot before every line that begins with one (RFC 1939, 3)."""
        if not self._behaviour.stuffing:
            return octets
        stuffed = octets.replace(b"\r\n.", b"\r\n..")
        return b"." + stuffed if stuffed.startswith(b".") else stuffed
