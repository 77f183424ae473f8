"""One POP3 session from greeting to end: which command is served in which state (RFC 1939), over a `Wire`.

Rules of this room:
- A script goes first, then the states. QUIT in TRANSACTION is the one way into UPDATE.
- Lock and removals are settled before the reply to QUIT leaves: whoever has read it may log in again.
"""

from __future__ import annotations

from collections.abc import Callable
from ssl import SSLContext

from ingest.simulator.accounts import Accounts
from ingest.simulator.acts import Act, Refuse
from ingest.simulator.behaviour import Behaviour
from ingest.simulator.capabilities import capabilities
from ingest.simulator.log import Log
from ingest.simulator.login import Login
from ingest.simulator.replies import Refused, Replies, unknown_command
from ingest.simulator.transaction import Transaction
from ingest.simulator.wire import BareLineFeed, LineTooLong, Wire

COMMAND_OCTETS = 255  # RFC 2449, 4
_VERBS = frozenset(
    "APOP AUTH CAPA DELE LIST NOOP PASS QUIT RETR RSET STAT STLS TOP UIDL USER UTF8".split()  # noqa: SIM905 - a table
)


class Session:
    """Runs one connection from greeting to end.

    Args:
        wire: connected; TLS is up already where it is implicit.
        accounts: who may log in.
        behaviour: fixed for the session.
        tls: what STLS shakes hands with; None offers no STLS.
        log: counts what happens.
    """

    def __init__(
        self, wire: Wire, accounts: Accounts, behaviour: Behaviour, *, tls: SSLContext | None, log: Log
    ) -> None:
        self._wire = wire
        self._behaviour = behaviour
        self._log = log
        self._replies = Replies(wire, behaviour)
        self._login = Login(wire, self._replies, accounts, behaviour, tls=tls, log=log)
        self._transaction: Transaction | None = None
        self._ended = False
        self._bad_commands = 0
        self._open = True

    def run(self) -> None:
        """Serve until QUIT.

        Raises:
            Gone, OSError: the session ended without UPDATE.
        """
        try:
            self._log.add("sessions")
            self._greet()
            while self._open and not self._login.given_up:
                if (line := self._read_line()) is not None:
                    self._serve(line)
            self._wire.flush()
        finally:
            self._unlock()

    def _greet(self) -> None:
        greeting = self._behaviour.greeting.encode()
        act = self._behaviour.script.get("GREETING")
        if isinstance(act, Refuse):
            self._open = False
            return self._replies.err(act.text, act.code)
        if act is not None:
            return self._replies.perform(act)
        return self._replies.ok(greeting + b" " + self._login.timestamp if self._behaviour.apop else greeting)

    def _read_line(self) -> bytes | None:
        """The next command; None where it was none, and that was said."""
        try:
            line = self._wire.read_line(COMMAND_OCTETS)
        except BareLineFeed:
            self._replies.err("a line ends in CRLF")
            return None
        except LineTooLong:
            self._open = False
            self._replies.err("line too long")
            return None
        if not self._behaviour.pipelining:
            self._wire.discard_input()
        return line

    def _serve(self, line: bytes) -> None:
        keyword, _, argument = line.partition(b" ")
        verb = keyword.upper().decode("latin-1")
        self._log.command(verb if verb in _VERBS else "?")
        if verb != "PASS":
            self._login.forget_user()
        command = self._command(verb)
        try:
            if command is None:
                raise Refused("not in this state") if verb in _VERBS else unknown_command()
            act = self._scripted(verb, line)
            if act is not None:
                self._replies.perform(act)
            else:
                command(argument)
        except Refused as refusal:
            self._replies.err(refusal.text, refusal.code)
            self._bad_commands += refusal.unknown
            if self._bad_commands == self._behaviour.most_bad_commands:
                self._replies.break_off()
        self._take_over()

    def _command(self, verb: str) -> Callable[[bytes], None] | None:
        """What serves a verb in this state."""
        match verb:
            case "CAPA":
                return self._do_capa
            case "QUIT":
                return self._do_quit
            case _:
                return (self._login if self._transaction is None else self._transaction).command(verb)

    def _scripted(self, verb: str, line: bytes) -> Act | None:
        script = self._behaviour.script
        return script.get(line.upper().decode("latin-1"), script.get(verb)) if script else None

    def _take_over(self) -> None:
        """From AUTHORIZATION to TRANSACTION."""
        opened = self._login.opened
        if opened is not None and self._transaction is None:
            self._transaction = Transaction(opened, self._replies, self._behaviour, log=self._log)
            self._replies.ok(f"{len(self._transaction)} messages")

    def _do_capa(self, argument: bytes) -> None:
        logged_in = self._transaction is not None
        if not self._behaviour.capa or argument or not (logged_in or self._behaviour.capa_before_login):
            raise unknown_command()
        lines = capabilities(self._behaviour, stls=self._login.may_start_tls, logged_in=logged_in)
        self._replies.lines("capabilities follow", lines)

    def _do_quit(self, _argument: bytes) -> None:
        if self._transaction is not None:
            self._wire.flush()  # a connection that breaks over earlier replies never comes to UPDATE
            self._transaction.update()
            self._unlock()
        self._open = False
        if self._behaviour.quit_reply:
            self._replies.ok("bye")

    def _unlock(self) -> None:
        """Give the maildrop back, once."""
        opened = self._login.opened
        if opened is not None and not self._ended:
            self._ended = True
            opened.end()
