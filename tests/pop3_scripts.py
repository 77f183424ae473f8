"""A server that follows a script, as a `ByteStream`, and a clock that only it moves.

Each step is what the client must send next (b"" for the greeting) and what the server answers. A server whose script
is at its end is silent, or gone if the script ends in GONE.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import BinaryIO

from ingest.errors import ConnectionLost
from ingest.models import MessageRef
from ingest.pop3.session import Session, SessionLimits
from ingest.ports import TlsInfo

Step = tuple[bytes, bytes]
GONE: Step = (b"", b"<gone>")
GREETING: Step = (b"", b"+OK ready\r\n")
CAPA: Step = (b"CAPA\r\n", b"+OK\r\nTOP\r\nUIDL\r\nPIPELINING\r\nSASL PLAIN\r\n.\r\n")
LOCKSTEP_CAPA: Step = (b"CAPA\r\n", b"+OK\r\nTOP\r\nUIDL\r\n.\r\n")
NO_CAPA: Step = (b"CAPA\r\n", b"-ERR what?\r\n")
LOGIN: Step = (b"AUTH PLAIN AHUAcHc=\r\n", b"+OK in\r\n")
QUIT: Step = (b"QUIT\r\n", b"+OK bye\r\n")


@dataclass
class ManualClock:
    """Time that stands still until it is moved."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class ScriptedStream:
    """Plays a script; `piece_bytes` and `piece_s` say how much it hands over at a time, and how slowly."""

    script: Sequence[Step]
    clock: ManualClock = field(default_factory=ManualClock)
    piece_bytes: int = 65536
    piece_s: float = 0.0
    tls: TlsInfo | None = None
    on_start_tls: Callable[[], None] = lambda: None
    sent: bytes = b""
    closed: bool = False
    gone: bool = False

    def __post_init__(self) -> None:
        self._steps = list(self.script)
        self._heard = b""
        self._out = BytesIO()
        self._play()

    def send(self, data: bytes, timeout_s: float) -> None:
        assert not self.closed
        self.sent += data
        self._heard += data
        self._play()

    def receive_into(self, room: memoryview, timeout_s: float) -> int:
        assert not self.closed
        if count := self._out.readinto(room[: self.piece_bytes]):
            self.clock.seconds += self.piece_s
            return count
        if self.gone:
            return 0
        self.clock.seconds += timeout_s
        raise ConnectionLost(f"no answer within {timeout_s:.0f} s")

    def start_tls(self) -> None:
        self.on_start_tls()
        self.tls = TlsInfo("TLSv1.3", None)

    def close(self) -> None:
        self.closed = True

    @property
    def finished(self) -> bool:
        """Whether the client sent all that the script expects, and nothing else."""
        return not self._steps and not self._heard

    def _play(self) -> None:
        while self._steps and self._heard.startswith(self._steps[0][0]):
            if self._steps[0] is GONE:
                self.gone = True
                self._steps.clear()
                return
            expected, answer = self._steps.pop(0)
            self._heard = self._heard[len(expected) :]
            at = self._out.tell()
            self._out.seek(0, 2)
            self._out.write(answer)
            self._out.seek(at)
        if self._steps:
            assert self._steps[0][0].startswith(self._heard), f"{self._heard!r} where {self._steps[0][0]!r} belongs"


class MemorySpool:
    """The smallest spool."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.sealed = self.closed = False

    def write(self, data: bytes | memoryview) -> None:
        assert not self.sealed
        self.written += data

    def seal(self) -> None:
        self.sealed = True

    @property
    def size(self) -> int:
        return len(self.written)

    @property
    def sha256(self) -> bytes:
        raise NotImplementedError

    @property
    def buffer(self) -> memoryview:
        assert self.sealed
        return memoryview(bytes(self.written))

    def open(self) -> BinaryIO:
        return BytesIO(self.written)

    def close(self) -> None:
        self.closed = True


def session_over(stream: ScriptedStream, limits: SessionLimits | None = None) -> Session:
    """A session that has said nothing yet."""
    return Session(stream, host="pop.example.com", clock=stream.clock, limits=limits or SessionLimits())


def refs(count: int, size: int = 100) -> list[MessageRef]:
    """Messages 1 to `count`."""
    return [MessageRef(number, size, b"u%d" % number) for number in range(1, count + 1)]
