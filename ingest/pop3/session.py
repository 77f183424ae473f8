"""One session with a maildrop: what the poll may ask, and what it gets.

Rules of this room:
- Nothing is deleted by a clean QUIT that the caller did not ask for; without certainty call `abort`.
- A call whose replies were not all read breaks the session: only `abort` (or `quit`, which then does the same) is left.
- The caller closes the spools it is handed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ingest.errors import IngestError, MessageRefused, ProtocolError, ServerTemporary
from ingest.models import Auth, Capabilities, HostProfile, Listing, MessageRef, Secret, Tls
from ingest.pop3.authorization import Authorization
from ingest.pop3.connection import Command, Connection, IllegalCommand, Reply
from ingest.pop3.exchange import Exchange, Request
from ingest.pop3.limits import MIB, SessionLimits
from ingest.pop3.looks import Look, Overview
from ingest.pop3.replies import Cleaner
from ingest.ports import ByteStream, Clock, Spool, SpoolFactory

__all__ = ["Refused", "Retrieved", "Session", "SessionLimits", "TooLarge"]

HEAD_BYTES = MIB
_SWALLOWED = re.compile(rb"\.\r?\n(?:\+OK|-ERR)")
T = TypeVar("T")


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

    Attributes:
        uidl, top: False where the server refused UIDL or TOP, now or in an earlier session.
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
        self.uidl = self.top = True
        self._stream = stream
        self._limits = limits
        clean = Cleaner()
        self._connection = Connection(status_line_bytes=limits.status_line_bytes, clean=clean)
        self._exchange = Exchange(stream, self._connection, clock=clock, limits=limits, on_progress=on_progress)
        self._authorization = Authorization(
            stream, self._connection, self._exchange, host=host, limits=limits, clean=clean
        )

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

    @property
    def before(self) -> Capabilities:
        """What the server can do just before the login."""
        return self._authorization.before

    @property
    def after(self) -> Capabilities:
        """What it said it can do behind the login; not known where it was not asked."""
        return self._authorization.after

    @property
    def capabilities(self) -> Capabilities:
        """What the server can do, as of now."""
        return self.after if self.after.known else self.before

    @property
    def asked_capabilities(self) -> bool:
        """Whether that was asked in this session, or is what earlier ones found."""
        return self._authorization.asked

    @property
    def admitted(self) -> bool:
        """Whether the login was good."""
        return self._authorization.granted

    @property
    def greeting(self) -> str:
        """What the server said first, fit to be shown."""
        return self._authorization.greeting

    @property
    def offers_apop(self) -> bool:
        """Whether the greeting has a timestamp for APOP (RFC 1939, 7)."""
        return self._authorization.offers_apop

    @property
    def along(self) -> bool:
        """Whether the first look left together with the login."""
        return self._authorization.along

    def start(self, *, tls: Tls, known: HostProfile | None = None) -> Capabilities:
        """Read the greeting and, for STARTTLS, encrypt (RFC 2595, 4).

        What the server can do is asked unless `known` tells. TlsNotOffered, CertificateRejected, ProtocolError (octets
        before TLS), or what the greeting refuses.
        """
        if known is not None:
            self.uidl, self.top = known.uidl, known.top
        with self._exchange.whole():
            self._authorization.start(tls, known=(known.before, known.after) if known else None)
        return self.before

    def login(self, username: str, secret: Secret, auth: Auth) -> None:
        """Log in; a barrier: nothing is sent behind the password before its reply.

        See `enter` for the errors.
        """
        with self._exchange.whole():
            self._authorization.login(username, secret, auth)

    def enter(
        self, username: str, secret: Secret, auth: Auth, look: Look[T], *, across: bool = False, guard_s: float = 0.0
    ) -> T:
        """Log in and look.

        CredentialsRejected, MaildropBusy, SlowDown, ServerTemporary, ServerRefused; AccountMisconfigured before
        anything is sent; ListingFailed.

        Args:
            username: whose maildrop.
            secret: the password, or an access token.
            auth: the mechanism; AUTO takes what suits server and password.
            look: what to ask first.
            across: send the look behind the password, without waiting, where the mechanism allows it.
            guard_s: then the longest silence before the look's first reply, once the login was good; 0 for no limit
                but the session's.
        """
        # Behind the login CAPA may say more: asked along with the look where that is not known, or differs by user.
        ask = self.before.known and (self.asked_capabilities or self.before.per_user or self.after.per_user)
        requests = [*([Request(Command.CAPA)] if ask else []), *look.requests]
        with self._exchange.whole():
            self._authorization.login(username, secret, auth, requests if across and self._pipelining else ())
            if self.along:
                with self._exchange.impatient(guard_s):
                    first = self._exchange.reply()
                self._take(look, first)
                for _ in requests[1:]:
                    self._take(look, self._exchange.reply())
            else:
                self._ask(look, requests)
        return self._seen(look)

    def look(self, look: Look[T]) -> T:
        """Ask, in one flight where the server pipelines; ListingFailed."""
        with self._exchange.whole():
            self._ask(look, look.requests)
        return self._seen(look)

    def overview(self) -> Overview:
        """The look that lists everything; without UIDL on the server every `uidl` is None."""
        return Overview(self._limits, ask_uidl=self.uidl, promised=lambda: "UIDL" in self.capabilities)

    def listing(self) -> Listing:
        """STAT, UIDL and LIST; ListingFailed."""
        return self.look(self.overview())

    def retrieve(
        self, refs: Sequence[MessageRef], open_spool: SpoolFactory, *, max_bytes: int
    ) -> Generator[Retrieved | Refused | TooLarge, None, None]:
        """RETR each message into a spool of its own, in order, sent ahead where the server pipelines.

        Ends after TooLarge. A refusal that is not the message's own is raised: busy and slow down at once, a temporary
        one behind the other messages, which must not wait for this one, unless most are refused so. Closing the
        iterator early breaks the session unless nothing was under way.

        Where that takes no flight, what an earlier session was told of the server is asked anew along with it: EXPIRE 0
        may be new, and then a QUIT would delete.
        """
        handed, troubles = 0, list[IngestError]()
        asked = bool(refs) and self._pipelining and not self.asked_capabilities
        requests = [Request(Command.RETR, (b"%d" % ref.number,), ref.size) for ref in refs]
        requests = [*([Request(Command.CAPA)] if asked else []), *requests]
        with self._exchange.whole():
            for at, reply in self._exchange.pipelined(requests, ahead=self._pipelining):
                if reply.command is Command.CAPA:
                    self._authorization.take_capabilities(reply)
                    continue
                index = at - asked
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
            if self.top and "TOP" not in self.capabilities:
                # One message finds out: servers count bad commands.
                probe, refs = list(self._tops(refs[:1])), refs[1:]
                yield from probe
                self.top = all(head is not None for _, head in probe)
            if self.top:
                yield from self._tops(refs)
            else:
                yield from ((ref, None) for ref in refs)

    def same(self, refs: Sequence[MessageRef]) -> bool:
        """Whether these messages still have the UIDLs of the listing; ProtocolError if the server says no such thing.

        Some servers renumber within a session (RFC 1939, 3 forbids it): then DELE would hit another message.
        """
        named = [ref for ref in refs if ref.uidl is not None]
        requests = [Request(Command.UIDL, (b"%d" % ref.number,)) for ref in named]
        with self._exchange.whole():
            replies = list(self._exchange.pipelined(requests, ahead=self._pipelining))
        if any(reply.ok for _, reply in replies):
            answers = [reply.text.partition(b" ")[2].strip() if reply.ok else None for _, reply in replies]
            return answers == [(ref.uidl or b"").strip() for ref in named]
        # It knows only UIDL as a whole.
        now = {ref.number: ref.uidl for ref in self.listing().messages} if named else {}
        return all(now.get(ref.number) == ref.uidl for ref in named)

    def delete_and_quit(self, refs: Sequence[MessageRef]) -> tuple[list[MessageRef], bool]:
        """DELE each and QUIT, in one flight where the server pipelines: those it marked, and whether it confirmed QUIT.

        Only then they are gone (RFC 1939, 6). The connection is closed. What goes wrong before QUIT is raised; a QUIT
        that was not answered was not confirmed.
        """
        requests = [*(Request(Command.DELE, (b"%d" % ref.number,)) for ref in refs), Request(Command.QUIT)]
        marked: list[MessageRef] = []
        heard = 0
        try:
            with self._exchange.whole():
                for index, reply in self._exchange.pipelined(requests, ahead=self._pipelining):
                    heard = index + 1
                    if index == len(refs):
                        return marked, reply.ok
                    if reply.ok:
                        marked.append(refs[index])
        except (IngestError, IllegalCommand):
            if heard < len(refs):
                raise
        finally:
            self._connection.close()
            self._stream.close()
        return marked, False

    def noop(self) -> None:
        """NOOP: one round trip."""
        with self._exchange.whole():
            reply = self._exchange.ask(Command.NOOP)
        if not reply.ok:
            raise self._refusal(reply)

    def quit(self) -> bool:
        """QUIT and close. True if the server confirmed it; never raises. A broken session is aborted instead."""
        return self.delete_and_quit([])[1]

    def leave(self) -> None:
        """QUIT and close without waiting for the reply: for a session that changed nothing. Never raises."""
        try:
            with self._exchange.whole():
                self._exchange.send(Request(Command.QUIT))
        except (IngestError, IllegalCommand):
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Drop the connection without QUIT, so that the server deletes nothing; never raises."""
        self._exchange.give_up()
        self._stream.close()

    @property
    def _pipelining(self) -> bool:
        return self._authorization.pipelining

    def _refusal(self, reply: Reply) -> IngestError:
        return self._authorization.refused(reply)

    def _ask(self, look: Look[T], requests: Sequence[Request]) -> None:
        for _, reply in self._exchange.pipelined(requests, ahead=self._pipelining):
            self._take(look, reply)

    def _take(self, look: Look[T], reply: Reply) -> None:
        if reply.command is Command.CAPA:
            self._authorization.take_capabilities(reply)
        else:
            look.take(reply, self._exchange.body, self._refusal)

    def _seen(self, look: Look[T]) -> T:
        seen = look.result()
        self.uidl = self.uidl and look.has_uidl
        return seen

    def _tops(self, refs: Sequence[MessageRef]) -> Iterator[tuple[MessageRef, bytes | None]]:
        requests = [Request(Command.TOP, (b"%d" % ref.number, b"0")) for ref in refs] if not self.broken else []
        limits = self._limits
        for index, reply in self._exchange.pipelined(requests, ahead=self._pipelining):
            head, whole = self._exchange.head(limits.top_bytes, limits.top_dropped_bytes) if reply.ok else (None, True)
            yield refs[index], head
            if not whole:
                return

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
            self._look_for_a_swallowed_reply(ref, spool)
        except BaseException:
            spool.close()
            raise
        return Retrieved(ref, spool)

    def _look_for_a_swallowed_reply(self, ref: MessageRef, spool: Spool) -> None:
        """ProtocolError if a body without CRLF before its dot may have gone on over the reply to the next RETR.

        Each reply behind it would pass for that to the RETR before. What only looks so is told apart by itself: alone.
        """
        if self._connection.outstanding and spool.size != ref.size and _SWALLOWED.search(spool.buffer):
            self._exchange.give_up()
            raise ProtocolError(f"message {ref.number} seems to go on over the next one: no CRLF before its final dot")
