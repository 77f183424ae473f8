"""One POP3 session: AUTHORIZATION, TRANSACTION, UPDATE (RFC 1939), over a `Wire`.

Rules of this room:
- The view of the maildrop is fixed at login. DELE only marks; QUIT in TRANSACTION is the one way into UPDATE.
- A refused command changes nothing. USER counts for the very next command only.
- Lock and removals are settled before the reply to QUIT leaves: whoever has read it may log in again.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from ssl import SSLContext
from typing import ClassVar

from ingest.simulator.accounts import Accounts
from ingest.simulator.behaviour import Behaviour
from ingest.simulator.log import Log
from ingest.simulator.maildrop import Maildrop, Message
from ingest.simulator.wire import BareLineFeed, Gone, LineTooLong, Wire

COMMAND_OCTETS = 255  # RFC 2449, 4
SASL_OCTETS = 12_288  # RFC 5034, 4: enough for every mechanism
MAX_REFUSED_LOGINS = 3


class Refused(Exception):
    """A command is answered with -ERR.

    Args:
        text: for people.
        code: response code without its brackets (RFC 2449, 8; RFC 3206), or "".
    """

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.code = code


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
        self._accounts = accounts
        self._behaviour = behaviour
        self._tls = tls
        self._log = log
        self._timestamp = f"<{secrets.token_hex(8)}@simulator.invalid>".encode()
        self._open = True
        self._refused_logins = 0
        self._user: bytes | None = None
        self._name = ""
        self._maildrop: Maildrop | None = None
        self._locked: Maildrop | None = None
        self._messages: tuple[Message, ...] = ()
        self._marked: set[int] = set()
        self._retrieved: set[int] = set()

    def run(self) -> None:
        """Serve until QUIT.

        Raises:
            Gone, OSError: the session ended without UPDATE.
        """
        try:
            self._log.add("sessions")
            greeting = self._behaviour.greeting.encode()
            self._ok(greeting + b" " + self._timestamp if self._behaviour.apop else greeting)
            while self._open:
                self._serve_command()
            self._wire.flush()
        finally:
            self._unlock()

    def _serve_command(self) -> None:
        try:
            line = self._wire.read_line(COMMAND_OCTETS)
        except BareLineFeed:
            return self._err("a line ends in CRLF")
        except LineTooLong:
            self._open = False
            return self._err("line too long")
        if not self._behaviour.pipelining:
            self._wire.discard_input()
        keyword, _, argument = line.partition(b" ")
        verb = keyword.upper().decode("latin-1")
        commands = self._TRANSACTION if self._maildrop is not None else self._AUTHORIZATION
        command = commands.get(verb)
        known = verb in self._TRANSACTION or verb in self._AUTHORIZATION
        self._log.command(verb if known else "?")
        if verb != "PASS":
            self._user = None
        if command is None:
            return self._err("not in this state" if known else "unknown command")
        try:
            command(self, argument)
        except Refused as refusal:
            self._err(refusal.text, refusal.code)

    # Replies

    def _ok(self, text: bytes | str = b"") -> None:
        text = text.encode("latin-1") if isinstance(text, str) else text
        self._wire.write(b"+OK " + text + b"\r\n" if text else b"+OK\r\n")

    def _err(self, text: str, code: str = "") -> None:
        shown = f"[{code}] {text}" if code and self._behaviour.respond_codes else text
        self._wire.write(f"-ERR {shown}\r\n".encode())

    def _multiline(self, text: str, octets: bytes) -> None:
        """A multi-line reply (RFC 1939, 3); `octets` are whole lines."""
        self._ok(text)
        self._wire.write(_stuff(octets))
        self._wire.write(b".\r\n")

    # AUTHORIZATION

    def _do_user(self, argument: bytes) -> None:
        if not argument:
            raise Refused("USER needs a name")
        self._user = argument
        self._ok("send PASS")  # the same for unknown names: they are not to be probed

    def _do_pass(self, argument: bytes) -> None:
        user, self._user = self._user, None
        if user is None:
            raise Refused("USER comes first")
        self._log_in(user, verified=self._accounts.verify(user, argument))

    def _do_apop(self, argument: bytes) -> None:
        name, _, digest = argument.rpartition(b" ")
        if not self._behaviour.apop:
            raise Refused("no APOP here")
        self._log_in(name, verified=self._accounts.verify_apop(name, self._timestamp, digest))

    def _do_auth(self, argument: bytes) -> None:
        """SASL PLAIN (RFC 5034, RFC 4616), with an initial response or without."""
        mechanism, _, response = argument.partition(b" ")
        if not self._behaviour.sasl_plain or mechanism.upper() != b"PLAIN":
            raise Refused("no such mechanism")
        if not response:
            self._wire.write(b"+ \r\n")
            try:
                response = self._wire.read_line(SASL_OCTETS)
            except BareLineFeed:
                raise Refused("a line ends in CRLF") from None
            except LineTooLong:
                self._open = False
                raise Refused("line too long") from None
            if response == b"*":
                raise Refused("cancelled")
        try:
            authzid, name, password = base64.b64decode(response, validate=True).split(b"\0")
        except (binascii.Error, ValueError):
            raise Refused("malformed response") from None
        verified = self._accounts.verify(name, password)
        self._log_in(name, verified=verified and authzid in (b"", name))

    def _log_in(self, name: bytes, *, verified: bool) -> None:
        if not verified:
            self._log.add("refused_logins")
            self._refused_logins += 1
            self._open = self._refused_logins < MAX_REFUSED_LOGINS
            raise Refused("user name or password is wrong", "AUTH")
        maildrop = self._accounts.maildrop(name)
        if self._behaviour.exclusive:
            if not maildrop.acquire():
                raise Refused("another session holds the maildrop", "IN-USE")
            self._locked = maildrop
        if not self._accounts.admit(name, self._behaviour.login_delay_s):
            self._unlock()
            raise Refused("too soon after the last login", "LOGIN-DELAY")
        self._log.add("logins")
        self._name, self._maildrop, self._messages = name.decode(), maildrop, maildrop.messages()
        if self._behaviour.lose_after_pass:
            self._wire.discard_input()
        self._ok(f"{len(self._messages)} messages")

    def _do_stls(self, argument: bytes) -> None:
        if self._tls is None or self._wire.encrypted or argument:
            raise Refused("no STLS here")
        self._ok("begin TLS")
        self._wire.flush()
        self._wire.start_tls(self._tls)

    def _do_capa(self, argument: bytes) -> None:
        if not self._behaviour.capa or argument:
            raise Refused("unknown command")
        self._multiline("capabilities follow", _lines(self._capabilities()))

    def _capabilities(self) -> Iterator[str]:
        behaviour = self._behaviour
        offered: Mapping[str, bool] = {
            "USER": True,
            "TOP": behaviour.top,
            "UIDL": behaviour.uidl,
            "PIPELINING": behaviour.pipelining,
            "SASL PLAIN": behaviour.sasl_plain,
            "RESP-CODES": behaviour.respond_codes,
            "AUTH-RESP-CODE": behaviour.respond_codes,
            "STLS": self._tls is not None and not self._wire.encrypted and self._maildrop is None,
            f"LOGIN-DELAY {behaviour.login_delay_s}": behaviour.login_delay_s is not None,
            "EXPIRE 0": behaviour.delete_retrieved,
            "IMPLEMENTATION Mailsluice-simulator": True,
        }
        return (name for name, is_offered in offered.items() if is_offered)

    def _do_quit(self, _argument: bytes) -> None:
        if self._maildrop is not None:
            self._wire.flush()  # a connection that breaks over earlier replies never comes to UPDATE
            self._update(self._maildrop)
        self._open = False
        if self._behaviour.quit_reply:
            self._ok("bye")

    # TRANSACTION

    def _do_noop(self, _argument: bytes) -> None:
        self._ok()

    def _do_stat(self, _argument: bytes) -> None:
        sizes = [len(message.octets) for _, message in self._listed()]
        self._ok(f"{len(sizes)} {sum(sizes)}")

    def _do_list(self, argument: bytes) -> None:
        self._listing(argument, lambda message: str(len(message.octets)))

    def _do_uidl(self, argument: bytes) -> None:
        if not self._behaviour.uidl:
            raise Refused("unknown command")
        self._listing(argument, lambda message: message.uidl)

    def _listing(self, argument: bytes, value: Callable[[Message], str]) -> None:
        if argument:
            number, message = self._one(argument)
            return self._ok(f"{number} {value(message)}")
        lines = [f"{number} {value(message)}" for number, message in self._listed()][: self._behaviour.list_at_most]
        if not self._behaviour.truncate_listing:
            return self._multiline("listing follows", _lines(lines))
        self._ok("listing follows")
        self._wire.write(_lines(lines[: len(lines) // 2]))
        return self._break_off()

    def _do_retr(self, argument: bytes) -> None:
        number, message = self._one(argument)
        if number in self._behaviour.refuse_retr:
            raise Refused("this message can't be read")
        text = f"{len(message.octets)} octets"
        if number == self._behaviour.close_on_retr:
            self._ok(text)
            self._wire.write(_stuff(message.octets[: len(message.octets) // 2]))
            self._break_off()
        self._retrieved.add(number)
        self._log.retrieved(self._name, message.uidl)
        self._multiline(text, message.octets)

    def _do_top(self, argument: bytes) -> None:
        which, _, count = argument.partition(b" ")
        if not self._behaviour.top:
            raise Refused("unknown command")
        if not count.isdigit():
            raise Refused("TOP needs a message number and a count of lines")
        _, message = self._one(which)
        self._multiline("top follows", _top(message.octets, int(count)))

    def _do_dele(self, argument: bytes) -> None:
        number, _ = self._one(argument)
        if number in self._behaviour.refuse_dele:
            raise Refused("this message can't be deleted")
        self._marked.add(number)
        self._ok("marked")

    def _do_rset(self, _argument: bytes) -> None:
        self._marked.clear()
        self._ok()

    def _listed(self) -> Iterator[tuple[int, Message]]:
        return ((n, message) for n, message in enumerate(self._messages, 1) if n not in self._marked)

    def _one(self, argument: bytes) -> tuple[int, Message]:
        number = int(argument) if argument.isdigit() else 0
        if not 1 <= number <= len(self._messages) or number in self._marked:
            raise Refused("no such message")
        return number, self._messages[number - 1]

    def _break_off(self) -> None:
        self._wire.flush()
        raise Gone

    # UPDATE

    def _update(self, maildrop: Maildrop) -> None:
        marked = set() if self._behaviour.keep_deleted else self._marked
        doomed = marked | self._retrieved if self._behaviour.delete_retrieved else marked
        messages = {self._messages[number - 1] for number in doomed}
        maildrop.remove(messages)
        for message in messages:
            self._log.deleted(self._name, message.uidl)
        self._unlock()

    def _unlock(self) -> None:
        locked, self._locked = self._locked, None
        if locked is not None:
            locked.release()

    _AUTHORIZATION: ClassVar[Mapping[str, Callable[[Session, bytes], None]]] = {
        "APOP": _do_apop,
        "AUTH": _do_auth,
        "CAPA": _do_capa,
        "PASS": _do_pass,
        "QUIT": _do_quit,
        "STLS": _do_stls,
        "USER": _do_user,
    }
    _TRANSACTION: ClassVar[Mapping[str, Callable[[Session, bytes], None]]] = {
        "CAPA": _do_capa,
        "DELE": _do_dele,
        "LIST": _do_list,
        "NOOP": _do_noop,
        "QUIT": _do_quit,
        "RETR": _do_retr,
        "RSET": _do_rset,
        "STAT": _do_stat,
        "TOP": _do_top,
        "UIDL": _do_uidl,
    }


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


def _stuff(octets: bytes) -> bytes:
    """A dot before every line that begins with one (RFC 1939, 3)."""
    stuffed = octets.replace(b"\r\n.", b"\r\n..")
    return b"." + stuffed if stuffed.startswith(b".") else stuffed


def _top(octets: bytes, count: int) -> bytes:
    """The header, the empty line behind it, and so many lines of the body (RFC 1939, 7)."""
    at = 0 if octets.startswith(b"\r\n") else octets.find(b"\r\n\r\n") + 2
    if at == 1:  # no empty line: all of it is header
        return octets
    end = at + 2
    for _ in range(count):
        line_end = octets.find(b"\r\n", end)
        if line_end < 0:
            break
        end = line_end + 2
    return octets[:end]
