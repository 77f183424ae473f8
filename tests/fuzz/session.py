"""Target: a whole `Session`, of which the server's side is made up. It may fail, as its docstrings say, and must end.

What is checked: only documented errors, in a printable line without the password; every wait has an end by the clock,
whatever a server trickles; what is kept of one message, listing or header has its cap; all spools are closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pop3_scripts import ManualClock, MemorySpool

from fuzz.score import BREAK, pieces, score
from ingest.errors import (
    AccountMisconfigured,
    CertificateRejected,
    ConnectionLost,
    CredentialsRejected,
    IngestError,
    ListingFailed,
    MaildropBusy,
    MessageRefused,
    ProtocolError,
    ServerRefused,
    ServerTemporary,
    SlowDown,
    TlsNotOffered,
)
from ingest.models import Auth, Capabilities, HostProfile, Listing, MessageRef, Secret, Tls
from ingest.pop3.looks import Glance
from ingest.pop3.session import Refused, Retrieved, Session, SessionLimits, TooLarge
from ingest.ports import TlsInfo

DOCUMENTED = (
    AccountMisconfigured,
    CertificateRejected,
    ConnectionLost,
    CredentialsRejected,
    ListingFailed,
    MaildropBusy,
    MessageRefused,
    ProtocolError,
    ServerRefused,
    ServerTemporary,
    SlowDown,
    TlsNotOffered,
)
CANARY = "canary-5f3a"
LIMITS = SessionLimits(
    read_timeout_s=30,
    deadline_s=120,
    min_bytes=64,
    status_line_bytes=128,
    listing_lines=50,
    listing_bytes=2048,
    uidl_bytes=20,
    window_messages=4,
    window_bytes=4096,
    window_command_bytes=64,
    top_bytes=40,
    top_dropped_bytes=100,
)
_MOST_RECEPTIONS = 20_000
_MOST_REFS = 6
_KNOWN = HostProfile(
    before=Capabilities(known=True, names=frozenset({"PIPELINING", "TOP", "UIDL", "USER"})),
    after=Capabilities(),
    seen_at=0.0,
)


@dataclass(frozen=True)
class Plan:
    """What the first six octets of an input say of the session."""

    tls: Tls
    handshake_fails: bool
    auth: Auth
    password: str
    headers_first: bool
    break_off: bool
    across: bool
    glance: bool
    known: bool
    more: bool
    ending: int
    max_bytes: int
    endless: bool
    gone: bool
    piece_bytes: int
    piece_s: int

    @classmethod
    def of(cls, octets: bytes) -> Plan:
        tls, auth, order, size, server, pace = octets.ljust(6, b"\0")[:6]
        return cls(
            tls=list(Tls)[tls % len(Tls)],
            handshake_fails=tls > 200,
            auth=list(Auth)[auth % len(Auth)],
            password=CANARY if auth < 200 else CANARY * 30,
            headers_first=bool(order & 1),
            break_off=bool(order & 2),
            across=bool(order & 4),
            glance=bool(order & 8),
            known=bool(order & 16),
            more=bool(order & 32),
            ending=order >> 6,
            max_bytes=16 * size,
            endless=bool(server & 1),
            gone=bool(server & 2),
            piece_bytes=(65536, 1, 7, 65536)[(server >> 2) & 3],
            piece_s=pace & 15,
        )


PLANS = (
    b"\x00\x00\xc0\x40\x02\x00",  # TLS from the start, 1 KiB a message, deletes; the server hangs up at its end
    b"\x02\x01\xe0\x40\x04\x04",  # octet by octet, slowly; USER; NOOP and the like, deletes; then silence
    b"\x02\x00\x01\x02\x01\x01",  # no TLS, headers first, 32 octets a message; the server repeats its last words
    b"\x01\xc8\x02\x40\x08\x00",  # STARTTLS, a long password, RETR broken off
    b"\xca\x00\x00\x40\x02\x00",  # STARTTLS that fails
    b"\x00\x02\x84\x40\x02\x00",  # APOP, the first look sent along, no QUIT
    b"\x00\x01\xd4\x40\x02\x00",  # USER, the first look sent along, capabilities known, deletes
    b"\x00\x01\x78\x40\x02\x00",  # USER, a glance first, capabilities known, NOOP and the like, QUIT without waiting
    b"\x00\x05\xc0\x40\x02\x00",  # XOAUTH2
    b"\x00\xce\xc0\x40\x02\x00",  # a long password or token, by another mechanism
)
_CAPA = b"+OK\r\nTOP\r\nUIDL\r\nUTF8\r\nSASL PLAIN\r\n"
_LISTED = b"+OK 2 90\r\n", b"+OK\r\n1 a\r\n2 b\r\n.\r\n", b"+OK\r\n1 40\r\n2 50\r\n.\r\n"
_RETRIEVED = b"+OK\r\nA: b\r\n\r\n..\r\n.\r\n", b"-ERR [SYS/TEMP] later\r\n", b"+OK\r\n" + b"x" * 90 + b"\r\n.\r\n"
_TOPS = b"+OK\r\nA: b\r\n\r\n.\r\n", b"-ERR no\r\n"
_OK = b"+OK\r\n"
SCRIPTS = (
    # Pipelined, whole; then in lockstep; then with all that else is asked; then without CAPA.
    (
        *(_OK, _CAPA + b"PIPELINING\r\n.\r\n", _OK, _OK, _CAPA + b".\r\n" + b"".join(_LISTED)),
        *(b"".join(_RETRIEVED[::2]), b"".join(_TOPS), _OK * 3),
    ),
    (*(_OK, _CAPA + b".\r\n", _OK, _OK, _CAPA + b".\r\n", *_LISTED), *_RETRIEVED[:2], *_TOPS, *[_OK] * 3),
    (*(_OK, *[_OK] * 2, *_LISTED, *_RETRIEVED[1:], *_TOPS), _OK, _OK, b"+OK 1 a\r\n", b"+OK 2 b\r\n", *[_OK] * 3),
    (_OK, b"-ERR\r\n", _OK, _OK, *_LISTED, *_RETRIEVED[::2], _TOPS[1], _OK, b"-ERR no\r\n", _OK),
    (_OK, _OK, _OK, b"+OK 2 90\r\n+OK 2 b\r\n", *_LISTED, *_RETRIEVED[::2], *_TOPS, _OK, _OK),
)


def scripted() -> Iterator[bytes]:
    """Sessions that go well, in the order in which this client asks."""
    for plan in PLANS:
        for script in SCRIPTS:
            yield score([plan, *script])


class Server:
    """A `ByteStream` that says its pieces one after the other, whatever it is asked."""

    def __init__(self, plan: Plan, says: Sequence[bytes], held: Callable[[], int]) -> None:
        self.clock = ManualClock()
        self.closed = False
        self.tls: TlsInfo | None = None
        self._plan = plan
        self._says = [piece for piece in says if piece]
        self._held = held
        self._at = 0
        self._rest = b""
        self.received_bytes = 0
        self._receptions = 0

    def send(self, data: bytes, timeout_s: float) -> None:
        assert not self.closed
        assert timeout_s > 0
        assert data.endswith(b"\r\n")
        assert b"\0" not in data

    def receive(self, max_bytes: int, timeout_s: float) -> bytes:
        assert not self.closed
        assert timeout_s > 0
        assert self._held() <= LIMITS.status_line_bytes, "more is kept than could be a status line"
        self._receptions += 1
        assert self._receptions < _MOST_RECEPTIONS, "never ends"
        data = self._next()[: min(max_bytes, self._plan.piece_bytes)]
        self._rest = self._rest[len(data) :]
        if not data and self._plan.gone:
            return b""
        wait_s = max(self._plan.piece_s, self._at > len(self._says)) if data else timeout_s
        self.clock.seconds += min(wait_s, timeout_s)
        if not data or wait_s > timeout_s:
            raise ConnectionLost(f"no answer within {timeout_s:.0f} s")
        self.received_bytes += len(data)
        return data

    def receive_into(self, room: memoryview, timeout_s: float) -> int:
        data = self.receive(len(room), timeout_s)
        room[: len(data)] = data
        return len(data)

    def start_tls(self) -> None:
        if self._plan.handshake_fails:
            raise CertificateRejected("certificate of pop.example.com has expired")
        self.tls = TlsInfo("TLSv1.3", None)

    def close(self) -> None:
        self.closed = True

    def _next(self) -> bytes:
        if not self._rest and self._says and (self._at < len(self._says) or self._plan.endless):
            self._rest = self._says[min(self._at, len(self._says) - 1)]
            self._at += 1
        return self._rest


class Spool(MemorySpool):
    """A spool with a cap."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def write(self, data: bytes | memoryview) -> None:
        super().write(data)
        assert self.size <= self._most, "more than the cap is kept"

    def give_back_pages(self) -> None:
        pass


def run(data: bytes) -> None:
    """One input."""
    head, _, rest = data.partition(BREAK)
    plan = Plan.of(head)
    session: Session | None = None
    server = Server(plan, pieces(rest), lambda: 0 if session is None else _held(session))
    session = Session(server, host="pop.example.com", clock=server.clock, limits=LIMITS)
    visit = Visit(session, plan)
    visit.all()
    assert server.closed
    assert server.clock.seconds <= LIMITS.deadline_s + server.received_bytes / LIMITS.deadline_bytes_per_s
    assert all(spool.closed for spool in visit.spools)


def _held(session: Session) -> int:
    """Octets that the session keeps between two receptions, bodies that it hands on not counted."""
    return len(session._connection._buffer)


class Visit:
    """All that is used of a session's interface."""

    def __init__(self, session: Session, plan: Plan) -> None:
        self.spools: list[Spool] = []
        self._session = session
        self._plan = plan
        self._refs: Sequence[MessageRef] = (MessageRef(1, 10, b"a"), MessageRef(2, 20, None))
        self._knows_password = False

    def all(self) -> None:
        session, plan = self._session, self._plan
        known = _KNOWN if plan.known else None
        if self._tried(lambda: session.start(tls=plan.tls, known=known)) and self._tried(self._enter):
            middle = [self._headers, self._retrieve] if plan.headers_first else [self._retrieve, self._headers]
            more = [session.noop, self._same] if plan.more else []
            for step in ([self._listing] if plan.glance else []) + middle + more:
                if not session.broken:
                    self._tried(step)
        match plan.ending:
            case 0:
                session.quit()
            case 1:
                session.leave()
            case 2:
                session.abort()
            case _ if session.admitted:
                self._tried(self._delete_and_quit)
            case _:
                session.quit()

    def _enter(self) -> None:
        self._knows_password = True
        session, plan = self._session, self._plan
        login = ("u", Secret(plan.password), plan.auth)
        if plan.glance:
            session.enter(*login, Glance(2), across=plan.across, guard_s=5 * plan.across)
        else:
            self._see(session.enter(*login, session.overview(), across=plan.across, guard_s=5 * plan.across))

    def _listing(self) -> None:
        self._see(self._session.listing())

    def _see(self, found: Listing) -> None:
        numbers = [message.number for message in found.messages]
        assert numbers == sorted(set(numbers))
        assert all(len(message.uidl or b"") <= LIMITS.uidl_bytes for message in found.messages)
        assert len(numbers) <= 2 * LIMITS.listing_lines
        self._refs = found.messages[:_MOST_REFS] or self._refs

    def _retrieve(self) -> None:
        results = self._session.retrieve(self._refs, self._open_spool, max_bytes=self._plan.max_bytes)
        following = iter(self._refs)
        for result in results:
            assert result.ref in following, "out of order"  # one that is temporarily refused is passed by
            match result:
                case Retrieved(spool=spool):
                    spool.close()
                case Refused(error=error):
                    self._check(error)
                case TooLarge(head=head):
                    assert len(head) <= self._plan.max_bytes
                    assert self._session.broken
            if self._plan.break_off:
                results.close()

    def _open_spool(self) -> Spool:
        self.spools.append(Spool(self._plan.max_bytes))
        return self.spools[-1]

    def _headers(self) -> None:
        for (ref, head), expected in zip(self._session.headers(self._refs), self._refs, strict=False):
            assert ref == expected, "out of order"
            assert head is None or len(head) <= LIMITS.top_bytes

    def _same(self) -> None:
        assert self._session.same(self._refs) in {True, False}

    def _delete_and_quit(self) -> None:
        marked, _ = self._session.delete_and_quit(self._refs)
        assert set(marked) <= set(self._refs)

    def _tried(self, step: Callable[[], object]) -> bool:
        try:
            step()
        except IngestError as error:
            self._check(error)
            return False
        return True

    def _check(self, error: IngestError) -> None:
        assert isinstance(error, DOCUMENTED), f"{type(error).__name__} is not documented"
        text = str(error)
        assert text.isprintable()
        assert len(text) < 500
        assert error.after_s is None or 0 <= error.after_s <= 86_400
        # What a server says before the login it does not have from us, nor what is only like the password.
        assert not (self._knows_password and self._plan.password in text.lower())
