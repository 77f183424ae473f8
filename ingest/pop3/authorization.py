"""From the greeting to a login that was good or refused: RFC 1939's AUTHORIZATION state, with TLS and capabilities.

Rules of this room:
- What was said in plaintext before STLS may have been said by anyone, and is forgotten (RFC 2595, 4). There is no
  fall-back to plaintext.
- One try with one mechanism: a refused login is never followed by another one in the same session.
- Nothing is sent behind a SASL exchange or STLS; behind a password only where the caller says that it is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ingest.errors import CredentialsRejected, IngestError, ProtocolError, TlsNotOffered
from ingest.models import Auth, Capabilities, Secret, Tls
from ingest.pop3.auth import Dialogue, LoginPlan, plan_login, timestamp
from ingest.pop3.capabilities import UNKNOWN, parse_capabilities
from ingest.pop3.connection import Challenge, Command, Connection, Greeting, Reply
from ingest.pop3.exchange import Exchange, Request
from ingest.pop3.limits import KIB, SessionLimits
from ingest.pop3.replies import Cleaner, refusal
from ingest.ports import ByteStream

CAPABILITIES_BYTES = 64 * KIB


class Authorization:
    """The first part of a session.

    Args:
        stream, connection, exchange: of the session.
        host: the server's name, for errors.
        limits: of the session.
        clean: takes out of a server's words what must not be shown; it learns here what that is.

    Attributes:
        before, after: the capabilities just before the login and behind it.
        asked: whether CAPA was asked in this session, or they are what earlier ones found.
        granted: whether the login was good.
        along: whether what was to follow the login left together with it, so that its replies come next.
    """

    def __init__(
        self,
        stream: ByteStream,
        connection: Connection,
        exchange: Exchange,
        *,
        host: str,
        limits: SessionLimits,
        clean: Cleaner,
    ) -> None:
        self.before = self.after = UNKNOWN
        self.asked = self.granted = self.along = False
        self._stream = stream
        self._connection = connection
        self._exchange = exchange
        self._host = host
        self._limits = limits
        self._greeting = b""
        self._clean = clean

    @property
    def pipelining(self) -> bool:
        """Whether commands may leave ahead of replies (RFC 2449, 6.6)."""
        return "PIPELINING" in self.before or "PIPELINING" in self.after

    @property
    def greeting(self) -> str:
        """What the server said first, fit to be shown."""
        return self._clean(self._greeting)

    @property
    def offers_apop(self) -> bool:
        """Whether the greeting has a timestamp for APOP (RFC 1939, 7)."""
        return timestamp(self._greeting) is not None

    def refused(self, reply: Reply) -> IngestError:
        """The error behind an -ERR."""
        return refusal(reply.command, reply.text, host=self._host, clean=self._clean)

    def start(self, tls: Tls, *, known: tuple[Capabilities, Capabilities] | None) -> None:
        """Read the greeting and, for STARTTLS, encrypt; ask what the server can do unless that is known."""
        greeting = self._exchange.event()
        if not isinstance(greeting, Greeting):
            raise ProtocolError("no greeting")
        if not greeting.ok:
            raise refusal(None, greeting.text, host=self._host, clean=self._clean)
        self._greeting = greeting.text
        if tls is Tls.STARTTLS:
            self._start_tls(self._ask_capabilities() if known is None else None)
        if known is None:
            self.before = self._ask_capabilities()
        else:
            self.before, self.after = known

    def login(self, username: str, secret: Secret, auth: Auth, behind: Sequence[Request] = ()) -> None:
        """Log in, with `behind` along where mechanism and length allow it."""
        plan = plan_login(username, secret, auth, capabilities=self.before, greeting=self._greeting)
        self._clean.hide(*plan.hidden)
        # Without UTF8 some servers give other octets than they have (RFC 6856, 2.1). Refused, all stays as it was.
        utf8 = [Request(Command.UTF8)] if "UTF8" in self.before else []
        if plan.responses:
            for request in utf8:
                self._exchange.ask(request.command)
            self._admit(self._authenticate(plan), plan)
            self.granted = True
            return
        requests = [*utf8, *(Request(command, arguments) for command, arguments in plan.commands)]
        wire_bytes = sum(request.wire_bytes for request in (*requests, *behind))
        self.along = bool(behind) and wire_bytes <= self._limits.window_command_bytes
        if self.along:
            self._connection.across_login = True
            self._exchange.send(*requests, *behind)
            replies = [self._exchange.reply() for _ in requests]
        else:
            replies = []
            for _, reply in self._exchange.pipelined(requests, ahead=self.pipelining):
                replies.append(reply)
                if not (reply.ok or reply.command is Command.UTF8 or self._connection.outstanding):
                    break
        for reply in replies:
            if reply.command is not Command.UTF8:
                self._admit(reply, plan)
        self.granted = True

    def take_capabilities(self, reply: Reply) -> None:
        """CAPA was asked behind the login: this is its reply, and its body comes next."""
        self.asked = True
        self.after = self._read_capabilities() if reply.ok else UNKNOWN  # never what another user was told

    def _admit(self, reply: Reply, plan: LoginPlan) -> None:
        if reply.ok:
            return
        error = self.refused(reply)
        if isinstance(error, CredentialsRejected):
            error.todo = plan.todo
        raise error

    def _ask_capabilities(self) -> Capabilities:
        self.asked = True
        return self._read_capabilities() if self._exchange.ask(Command.CAPA).ok else UNKNOWN

    def _read_capabilities(self) -> Capabilities:
        body, whole = self._exchange.head(CAPABILITIES_BYTES)
        if not whole:
            raise ProtocolError(f"the reply to CAPA is longer than {CAPABILITIES_BYTES} octets")
        return parse_capabilities(body)

    def _start_tls(self, plain: Capabilities | None) -> None:
        """STLS. `plain`: what the server said it can do; None where an earlier session got through."""
        offered = plain is None or not plain.known or "STLS" in plain
        if not offered or not self._exchange.ask(Command.STLS).ok:
            raise TlsNotOffered(f"{self._host} does not offer STLS", todo='see whether it serves tls = "implicit"')
        self._connection.start_tls()
        try:
            self._stream.start_tls()
        except IngestError:
            self._exchange.give_up()
            raise

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
