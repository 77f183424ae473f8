"""Names and a dialer that know what a test says, for finding servers without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from pop3_scripts import GREETING, LOCKSTEP_CAPA, QUIT, ManualClock, ScriptedStream, Step

from ingest.errors import HostUnreachable, IngestError
from ingest.models import Tls
from ingest.ports import ByteStream, ServiceRecord, TlsInfo

T = TypeVar("T")
UNTIL = datetime(2027, 1, 31, tzinfo=UTC)
HELLO: Sequence[Step] = (GREETING, LOCKSTEP_CAPA, QUIT)
STLS: Sequence[Step] = (
    GREETING,
    (b"CAPA\r\n", b"+OK\r\nSTLS\r\n.\r\n"),
    (b"STLS\r\n", b"+OK go\r\n"),
    LOCKSTEP_CAPA,
    QUIT,
)


@dataclass
class FakeNames:
    """The records of a small world."""

    srv: Mapping[str, Sequence[ServiceRecord]] = field(default_factory=dict)
    mx: Mapping[str, Sequence[str]] = field(default_factory=dict)
    trouble: IngestError | None = None
    asked: list[str] = field(default_factory=list)

    def services(self, name: str) -> Sequence[ServiceRecord]:
        return self._answer(name, self.srv.get(name, ()))

    def exchangers(self, domain: str) -> Sequence[str]:
        return self._answer(domain, self.mx.get(domain, ()))

    def _answer(self, name: str, answer: Sequence[T]) -> Sequence[T]:
        self.asked.append(name)
        if self.trouble is not None:
            raise self.trouble
        return answer


@dataclass
class FakeDialer:
    """Servers by host and port: what they say, or how dialling them fails. All others do not resolve."""

    servers: Mapping[tuple[str, int], Sequence[Step] | IngestError] = field(default_factory=dict)
    clock: ManualClock = field(default_factory=ManualClock)
    seconds: float = 0.0  # that each dialling takes
    dialled: list[tuple[str, int, Tls, str | None]] = field(default_factory=list)
    streams: list[ScriptedStream] = field(default_factory=list)

    def dial(
        self, host: str, port: int, *, tls: Tls, ca_file: str | None, fingerprints: tuple[str, ...] = ()
    ) -> ByteStream:
        self.dialled.append((host, port, tls, ca_file))
        self.clock.seconds += self.seconds
        server = self.servers.get((host, port), HostUnreachable(f"host {host} does not resolve"))
        if isinstance(server, IngestError):
            raise server
        stream = ScriptedStream(server, self.clock, tls=TlsInfo("TLSv1.3", UNTIL) if tls is Tls.IMPLICIT else None)
        self.streams.append(stream)
        return stream
