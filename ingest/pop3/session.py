"""One session with a maildrop: what the poll may ask, and what it gets.

Rules of this room:
- Nothing is deleted by a clean QUIT that the caller did not ask for; without certainty call `abort`.
- A call whose replies were not all read breaks the session: only `abort` (or `quit`, which then does the same) is left.
- The caller closes the spools it is handed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace

from ingest.errors import (
    ConnectionLost,
    CredentialsRejected,
    IngestError,
    ListingFailed,
    MessageRefused,
    ProtocolError,
    ServerRefused,
    ServerTemporary,
    TlsNotOffered,
)
from ingest.models import Auth, Capabilities, Listing, MessageRef, Secret, Tls
from ingest.pop3.auth import Dialogue, LoginPlan, plan_login
from ingest.pop3.capabilities import UNKNOWN, parse_capabilities
from ingest.pop3.connection import Challenge, Command, Connection, Greeting, IllegalCommand, Reply
from ingest.pop3.exchange import Exchange, Request
from ingest.pop3.limits import KIB, MIB, SessionLimits
from ingest.pop3.listing import LIST_LINE, UIDL_LINE, NumberedLines, assemble, count_in_stat
from ingest.pop3.replies import Cleaner, refusal
from ingest.ports import ByteStream, Clock, Spool, SpoolFactory

__all__ = ["Refused", "Retrieved", "Session", "SessionLimits", "TooLarge"]

HEAD_BYTES = MIB
CAPABILITIES_BYTES = 64 * KIB


@dataclass(frozen=True, slots=True)
class Retrieved:
    """A whole message. The spool is sealed; whoever gets it closes it."""

    ref: MessageRef
    spool: Spool


@dataclass(frozen=True, slots=True)
class Refused:
    """The server lists the message and does not hand it over."""

    ref: MessageRef
    error: IngestError


@dataclass(frozen=True, slots=True)
class TooLarge:
    """More octets came than the cap: the first of them, at most 1 MiB. The session is broken after it."""

    ref: MessageRef
    head: bytes


def _nothing() -> None:
    pass


class Session:
    """A POP3 session over a connected stream. Not to be shared between threads.

    Args:
        stream: the connection, already encrypted for implicit TLS.
        host: the server's name, for errors.
        clock: measures the waits.
        limits: of this session.
        on_progress: called whenever octets arrived.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        host: str,
        clock: Clock,
        limits: SessionLimits,
        on_progress: Callable[[], None] = _nothing,
    ) -> None:
        self.capabilities: Capabilities = UNKNOWN
        self._stream = stream
        self._host = host
        self._limits = limits
        self._clean = Cleaner()
        self._greeting = b""
        self._connection = Connection(status_line_bytes=limits.status_line_bytes, clean=self._clean)
        self._exchange = Exchange(stream, self._connection, clock=clock, limits=limits, on_progress=on_progress)

    @property
    def broken(self) -> bool:
        """Nothing more can be asked: octets were lost, refused or left unread."""
        return self._exchange.broken

    @property
    def flights(self) -> int:
        """Round trips waited for since the greeting; commands sent together share one."""
        return self._exchange.flights

    @property
    def received_bytes(self) -> int:
        """Octets received, TLS's own not counted."""
        return self._exchange.received_bytes

    def start(self, *, tls: Tls) -> Capabilities:
        """Read the greeting, ask for the capabilities and, for STARTTLS, encrypt (RFC 2595, 4).

        TlsNotOffered, CertificateRejected, ProtocolError (octets before TLS), or what the greeting refuses.
        """
        with self._exchange.whole():
            greeting = self._exchange.event()
            if not isinstance(greeting, Greeting):
                raise ProtocolError("no greeting")
            if not greeting.ok:
                raise refusal(None, greeting.text, host=self._host, clean=self._clean)
            self._greeting = greeting.text
            self.capabilities = self._ask_capabilities()
            if tls is Tls.STARTTLS:
                self._start_tls()
        return self.capabilities

    def login(self, username: str, secret: Secret, auth: Auth) -> None:
        """Log in with a password or token; a barrier: nothing is sent behind it before its reply.

        CredentialsRejected, MaildropBusy, SlowDown,
        ServerTemporary, ServerRefused; AccountMisconfigured before anything is sent.
        """
        plan = plan_login(username, secret, auth, capabilities=self.capabilities, greeting=self._greeting)
        self._clean.hide(*plan.hidden)
        with self._exchange.whole():
            if plan.responses:
                replies = [self._authenticate(plan)]
            else:
                requests = [Request(command, arguments) for command, arguments in plan.commands]
                replies = []
                for _, reply in self._exchange.pipelined(requests, ahead=self._pipelining):
                    replies.append(reply)
                    if not reply.ok and not self._connection.outstanding:
                        break
        for reply in replies:
            if not reply.ok:
                error = self._refusal(reply)
                if isinstance(error, CredentialsRejected):
                    error.todo = plan.todo
                raise error

    def listing(self) -> Listing:
        """STAT, UIDL and LIST, in one flight where the server pipelines; ListingFailed.

        Without UIDL on the server every `uidl` is None.
        """
        count = 0
        uidls = NumberedLines("UIDL", UIDL_LINE, self._limits)
        sizes = NumberedLines("LIST", LIST_LINE, self._limits)
        has_uidl = True
        requests = [Request(Command.STAT), Request(Command.UIDL), Request(Command.LIST)]
        with self._exchange.whole():
            for _, reply in self._exchange.pipelined(requests, ahead=self._pipelining):
                match reply:
                    case Reply(Command.STAT, ok=True):
                        count = count_in_stat(reply.text)
                    case Reply(Command.UIDL, ok=True):
                        self._collect(uidls)
                    case Reply(Command.LIST, ok=True):
                        self._collect(sizes)
                    case Reply(Command.UIDL | Command.LIST) if count == 0:
                        pass  # some refuse to list nothing
                    case Reply(Command.UIDL) if self._lacks_uidl(reply):
                        has_uidl = False
                    case _:
                        raise self._refusal(reply)
        return assemble(count, uidls.found if has_uidl else None, sizes.found, uidl_bytes=self._limits.uidl_bytes)

    def retrieve(
        self, refs: Sequence[MessageRef], open_spool: SpoolFactory, *, max_bytes: int
    ) -> Generator[Retrieved | Refused | TooLarge, None, None]:
        """RETR each message into a spool of its own, in order, sent ahead where the server pipelines.

        Ends after TooLarge. A refusal that is not the message's own is raised: busy and slow down at once, a temporary
        one behind the other messages, which must not wait for this one, unless most are refused so. Closing the
        iterator early breaks the session unless nothing was under way.
        """
        handed, troubles = 0, list[IngestError]()
        requests = [Request(Command.RETR, (b"%d" % ref.number,), ref.size) for ref in refs]
        with self._exchange.whole():
            for index, reply in self._exchange.pipelined(requests, ahead=self._pipelining):
                if reply.ok:
                    result = self._spool(refs[index], open_spool(), max_bytes)
                    yield result
                    if isinstance(result, TooLarge):
                        return
                    handed += 1
                    continue
                error = self._refusal(reply)
                if isinstance(error, MessageRefused):
                    yield Refused(refs[index], error)
                    continue
                troubles.append(error)
                if not isinstance(error, ServerTemporary) or len(troubles) > handed + 1:
                    raise error
            if troubles:
                raise troubles[0]

    def headers(self, refs: Sequence[MessageRef]) -> Iterator[tuple[MessageRef, bytes | None]]:
        """TOP n 0 of each message: its header block, or None where the server does not give it.

        A reply over `top_bytes` is cut there. Past `top_dropped_bytes` more the session is broken: the iterator ends.
        """
        with self._exchange.whole():
            if "TOP" not in self.capabilities:
                # One message finds out: servers count bad commands.
                probe, refs = list(self._tops(refs[:1])), refs[1:]
                yield from probe
                if any(head is None for _, head in probe):
                    yield from ((ref, None) for ref in refs)
                    return
            yield from self._tops(refs)

    def delete(self, refs: Sequence[MessageRef]) -> list[MessageRef]:
        """DELE each; those the server marked. They go with a confirmed `quit`."""
        requests = [Request(Command.DELE, (b"%d" % ref.number,)) for ref in refs]
        with self._exchange.whole():
            replies = list(self._exchange.pipelined(requests, ahead=self._pipelining))
        return [refs[index] for index, reply in replies if reply.ok]

    def noop(self) -> None:
        """NOOP: keep the session alive."""
        self._must(Command.NOOP)

    def reset(self) -> None:
        """RSET: unmark what DELE marked."""
        self._must(Command.RSET)

    def quit(self) -> bool:
        """QUIT and close. True if the server confirmed it; never raises. A broken session is aborted instead."""
        try:
            with self._exchange.whole():
                return self._exchange.ask(Command.QUIT).ok
        except (IngestError, IllegalCommand):
            return False
        finally:
            self._connection.close()
            self._stream.close()

    def abort(self) -> None:
        """Drop the connection without QUIT, so that the server deletes nothing; never raises."""
        self._exchange.give_up()
        self._stream.close()

    @property
    def _pipelining(self) -> bool:
        return "PIPELINING" in self.capabilities

    def _refusal(self, reply: Reply) -> IngestError:
        return refusal(reply.command, reply.text, host=self._host, clean=self._clean)

    def _must(self, command: Command) -> None:
        with self._exchange.whole():
            reply = self._exchange.ask(command)
        if not reply.ok:
            raise self._refusal(reply)

    def _ask_capabilities(self) -> Capabilities:
        if not self._exchange.ask(Command.CAPA).ok:
            return UNKNOWN
        body, whole = self._first(CAPABILITIES_BYTES)
        if not whole:
            raise ProtocolError(f"the reply to CAPA is longer than {CAPABILITIES_BYTES} octets")
        return parse_capabilities(body)

    def _start_tls(self) -> None:
        offered = "STLS" in self.capabilities or not self.capabilities.known
        if not offered or not self._exchange.ask(Command.STLS).ok:
            raise TlsNotOffered(f"{self._host} does not offer STLS", todo='see whether it serves tls = "implicit"')
        self._connection.start_tls()
        try:
            self._stream.start_tls()
        except IngestError:
            self._exchange.give_up()
            raise
        # What was said in plaintext may have been said by anyone (RFC 2595, 4).
        self.capabilities = UNKNOWN
        self.capabilities = self._ask_capabilities()

    def _authenticate(self, plan: LoginPlan) -> Reply:
        """By SASL; what a challenge tells of a failure stands behind the words of the refusal."""
        ((command, arguments),) = plan.commands
        self._exchange.send(Request(command, arguments))
        dialogue = Dialogue(plan)
        while isinstance(event := self._exchange.event(), Challenge):
            self._exchange.respond(dialogue.answer(event.text))
        if not isinstance(event, Reply):
            raise ProtocolError("no reply to AUTH")
        if dialogue.cancelled:
            raise ProtocolError("the server was not content with the responses that its SASL mechanism has")
        if event.ok or not dialogue.failure:
            return event
        return replace(event, text=event.text + b" (status " + dialogue.failure + b")")

    def _tops(self, refs: Sequence[MessageRef]) -> Iterator[tuple[MessageRef, bytes | None]]:
        requests = [Request(Command.TOP, (b"%d" % ref.number, b"0")) for ref in refs] if not self.broken else []
        limits = self._limits
        for index, reply in self._exchange.pipelined(requests, ahead=self._pipelining):
            head, whole = self._first(limits.top_bytes, limits.top_dropped_bytes) if reply.ok else (None, True)
            yield refs[index], head
            if not whole:
                return

    def _first(self, most_bytes: int, dropped_bytes: int = 0) -> tuple[bytes, bool]:
        """The body of the last reply, cut at a limit; False if more came than is dropped: then the exchange is over."""
        body, came = bytearray(), 0
        for chunk in self._exchange.body():
            body += chunk[: most_bytes - len(body)]
            came += len(chunk)
            if came > most_bytes + dropped_bytes:
                self._exchange.give_up()
                return bytes(body), False
        return bytes(body), True

    def _lacks_uidl(self, reply: Reply) -> bool:
        if "UIDL" in self.capabilities:
            raise ListingFailed(f"the server promises UIDL, and refuses it: {self._clean(reply.text)}")
        return isinstance(self._refusal(reply), ServerRefused)

    def _collect(self, lines: NumberedLines) -> None:
        try:
            for chunk in self._exchange.body():
                lines.feed(chunk)
        except ConnectionLost as lost:
            raise lines.broke_off(lost.what) from lost

    def _spool(self, ref: MessageRef, spool: Spool, max_bytes: int) -> Retrieved | TooLarge:
        try:
            for chunk in self._exchange.body():
                room = max_bytes - spool.size
                if len(chunk) > room:
                    self._exchange.give_up()
                    spool.write(chunk[:room])
                    spool.seal()
                    head = bytes(spool.buffer[:HEAD_BYTES])
                    spool.close()
                    return TooLarge(ref, head)
                spool.write(chunk)
            spool.seal()
        except BaseException:
            spool.close()
            raise
        return Retrieved(ref, spool)
