"""The AUTHORIZATION state: TLS, who is there, and the lock of the maildrop (RFC 1939, 4; RFC 2595, 5034).

Rules of this room:
- USER counts for the very next command only. A refused login changes nothing but the count of them.
- What a login opens is an `Opened`; whoever takes it over ends it.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ssl import SSLContext
from typing import ClassVar

from ingest.simulator.accounts import Accounts
from ingest.simulator.behaviour import Behaviour, Handshake, Utf8
from ingest.simulator.log import Log
from ingest.simulator.maildrop import Maildrop
from ingest.simulator.past import Past
from ingest.simulator.replies import Refused, Replies, unknown_command
from ingest.simulator.wire import BareLineFeed, LineTooLong, Wire

SASL_OCTETS = 12_288  # RFC 5034, 4: enough for every mechanism
MAX_REFUSED_LOGINS = 3


@dataclass(frozen=True, slots=True)
class Opened:
    """A maildrop in the hands of a session.

    `number` is the how many-th session of this user it is; `utf8` whether UTF8 was asked for before the login.
    """

    name: str
    maildrop: Maildrop
    past: Past
    number: int
    utf8: bool
    locked: bool

    def end(self) -> None:
        """Give the lock back."""
        self.past.end()
        if self.locked:
            self.maildrop.release()


class Login:
    """The commands of the AUTHORIZATION state.

    Args:
        wire, replies, accounts, behaviour, log: of the session.
        tls: what STLS shakes hands with; None offers no STLS.
    """

    def __init__(
        self,
        wire: Wire,
        replies: Replies,
        accounts: Accounts,
        behaviour: Behaviour,
        *,
        tls: SSLContext | None,
        log: Log,
    ) -> None:
        self.timestamp = f"<{secrets.token_hex(8)}@simulator.invalid>".encode()
        self.opened: Opened | None = None
        self.given_up = False
        self._wire = wire
        self._replies = replies
        self._accounts = accounts
        self._behaviour = behaviour
        self._tls = tls
        self._log = log
        self._refused = 0
        self._user: bytes | None = None
        self._utf8 = False

    @property
    def may_start_tls(self) -> bool:
        return self._tls is not None and not self._wire.encrypted

    def command(self, verb: str) -> Callable[[bytes], None] | None:
        """What serves this verb; None where it has no place in this state."""
        command = self._COMMANDS.get(verb)
        return None if command is None else lambda argument: command(self, argument)

    def forget_user(self) -> None:
        """Another command than PASS came behind USER."""
        self._user = None

    def _do_user(self, argument: bytes) -> None:
        if not argument:
            raise Refused("USER needs a name")
        self._user = argument
        self._replies.ok("send PASS")  # the same for unknown names: they are not to be probed

    def _do_pass(self, argument: bytes) -> None:
        user, self._user = self._user, None
        if user is None:
            raise Refused("USER comes first")
        self._log_in(user, verified=self._accounts.verify(user, argument))

    def _do_apop(self, argument: bytes) -> None:
        name, _, digest = argument.rpartition(b" ")
        if not self._behaviour.apop:
            raise Refused("no APOP here")
        self._log_in(name, verified=self._accounts.verify_apop(name, self.timestamp, digest))

    def _do_auth(self, argument: bytes) -> None:
        """SASL PLAIN (RFC 5034, RFC 4616), with an initial response or without."""
        mechanism, _, response = argument.partition(b" ")
        if not self._behaviour.sasl_plain or mechanism.upper() != b"PLAIN":
            raise Refused("no such mechanism")
        if not response:
            response = self._ask()
        try:
            authzid, name, password = base64.b64decode(response, validate=True).split(b"\0")
        except (binascii.Error, ValueError):
            raise Refused("malformed response") from None
        verified = self._accounts.verify(name, password)
        self._log_in(name, verified=verified and authzid in (b"", name))

    def _ask(self) -> bytes:
        self._wire.write(self._behaviour.sasl_prompt + b"\r\n")
        try:
            response = self._wire.read_line(SASL_OCTETS)
        except BareLineFeed:
            raise Refused("a line ends in CRLF") from None
        except LineTooLong:
            self.given_up = True
            raise Refused("line too long") from None
        if response == b"*":
            raise Refused("cancelled")
        return response

    def _log_in(self, name: bytes, *, verified: bool) -> None:
        if not verified:
            self._log.add("refused_logins")
            self._refused += 1
            self.given_up = self._refused >= MAX_REFUSED_LOGINS
            raise Refused("user name or password is wrong", "AUTH")
        behaviour = self._behaviour
        if act := behaviour.script.get("LOGIN"):
            return self._replies.perform(act)
        maildrop, past = self._accounts.maildrop(name), self._accounts.past(name)
        if past.ended_within(behaviour.lock_lingers_s) or (behaviour.exclusive and not maildrop.acquire()):
            raise Refused(behaviour.lock_wording, "IN-USE")
        if not past.admit(behaviour.login_delay_s):
            if behaviour.exclusive:
                maildrop.release()
            raise Refused("too soon after the last login", "LOGIN-DELAY")
        self._log.add("logins")
        self.opened = Opened(name.decode(), maildrop, past, past.begin(), self._utf8, behaviour.exclusive)
        return self._deal_with_haste()

    def _deal_with_haste(self) -> None:
        """What was sent behind the login already, where another process takes over now."""
        behaviour, hasty = self._behaviour, self._wire.has_input
        if behaviour.lose_after_pass:
            self._wire.discard_input()
        if hasty and behaviour.close_after_pass:
            self._replies.break_off()
        if hasty and behaviour.hang_after_pass:
            self._wire.discard_input()
            self._replies.ok("wait")
            self._replies.fall_silent()

    def _do_stls(self, argument: bytes) -> None:
        behaviour = self._behaviour
        if self._tls is None or not self.may_start_tls or not behaviour.stls or argument:
            raise Refused("no STLS here")
        self._replies.ok("begin TLS")
        self._wire.write(behaviour.behind_stls)
        self._wire.flush()
        if behaviour.handshake is Handshake.HANGS:
            self._replies.fall_silent()
        if behaviour.handshake is Handshake.DONE:
            self._wire.start_tls(self._tls)

    def _do_utf8(self, argument: bytes) -> None:
        """UTF8 (RFC 6856, 2): before the login."""
        if self._behaviour.utf8 is Utf8.NONE or argument:
            raise unknown_command()
        if self._behaviour.utf8 is Utf8.REFUSED:
            raise Refused("not today")
        self._utf8 = True
        self._replies.ok("UTF-8 from here on")

    _COMMANDS: ClassVar[Mapping[str, Callable[[Login, bytes], None]]] = {
        "APOP": _do_apop,
        "AUTH": _do_auth,
        "PASS": _do_pass,
        "STLS": _do_stls,
        "USER": _do_user,
        "UTF8": _do_utf8,
    }
