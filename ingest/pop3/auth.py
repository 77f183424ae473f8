"""How a login is put into commands. Pure.

USER and PASS, APOP (RFC 1939, 7), and by SASL (RFC 5034): PLAIN (RFC 4616), LOGIN (no RFC: two prompts), XOAUTH2
(Google's, also Microsoft's) and OAUTHBEARER (RFC 7628).

Rules of this room:
- What can't be sent safely is refused before anything is sent.
- One try a session: a refused mechanism is never followed by another one, which would count as a second bad login.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass

from ingest.errors import AccountMisconfigured, ProtocolError
from ingest.models import Auth, Capabilities, Secret
from ingest.pop3.connection import Command

# RFC 2449, 4. RFC 5034, 4: a longer AUTH goes without its initial response, which is how Microsoft 365 wants any token.
_COMMAND_BYTES = 255
# APOP over anything but a message id lets a man in the middle choose the digest's input (CVE-2007-1558).
_TIMESTAMP = re.compile(rb"<[!-;=?A-~]{1,128}@[!-;=?A-~]{1,128}>")
_TOKEN = re.compile(rb"[!-~]+")
_STATUS_BYTES = 100
_TODO_PASSWORD = "check the user name and the password"  # noqa: S105 - advice, not a password
_TODO_TOKEN = "check that this client may read this mailbox: scope, consent, rights, and that POP3 is switched on"  # noqa: S105 - likewise


@dataclass(frozen=True, slots=True, repr=False)
class LoginPlan:
    """A login.

    Args:
        commands: with their arguments; of SASL there is one.
        hidden: what must never be shown.
        responses: to the challenges of SASL, in order, the initial one included; in base64. Empty without SASL.
        dismissal: what answers a challenge that tells of a failure (XOAUTH2, OAUTHBEARER), None where there is none.
        todo: what a person can do when it is refused for its credentials.
    """

    commands: tuple[tuple[Command, tuple[bytes, ...]], ...]
    hidden: tuple[bytes, ...]
    responses: tuple[bytes, ...] = ()
    dismissal: bytes | None = None
    todo: str = _TODO_PASSWORD


class Dialogue:
    """The responses to the challenges of one SASL login. `failure` is what the server told of one, its own octets."""

    def __init__(self, plan: LoginPlan) -> None:
        ((_, (_, *initial)),) = plan.commands
        self.cancelled = False
        self.failure = b""
        self._initial = bool(initial)
        self._left = list(plan.responses)
        self._dismissal = plan.dismissal

    def answer(self, challenge: bytes) -> bytes:
        """The response to a challenge, both in base64; b"*" gives up (RFC 5034, 4), and nothing may follow that.

        What a challenge tells of a failure stands in `failure` then.
        """
        if self.cancelled:
            raise ProtocolError("a challenge after AUTH was cancelled")
        # An empty challenge behind an initial response says that this was passed over.
        if self._dismissal is not None and (not self._left or (self._initial and challenge)):
            answer, self._dismissal, self._left = self._dismissal, None, []
            self.failure = _failure(challenge)
            return answer
        if self._left:
            return self._left.pop(0)
        self.cancelled = True
        return b"*"


def timestamp(greeting: bytes) -> bytes | None:
    """The message id in a greeting that offers APOP."""
    found = _TIMESTAMP.search(greeting)
    return found[0] if found else None


def plan_login(username: str, secret: Secret, auth: Auth, *, capabilities: Capabilities, greeting: bytes) -> LoginPlan:
    """Choose the mechanism; AccountMisconfigured for what can't be sent or is not offered.

    `secret` is a password or, where `auth.by_token`, an access token.
    """
    user = _octets("user name", username)
    password = _octets("access token" if auth.by_token else "password", secret.reveal())
    if auth is Auth.AUTO:
        auth = Auth.PLAIN if _needs_plain(user, password, capabilities) else Auth.USER
    match auth:
        case Auth.PLAIN | Auth.LOGIN | Auth.XOAUTH2 | Auth.OAUTHBEARER:
            # LOGIN stands in no RFC: some have it and list no mechanism at all.
            listed = capabilities.sasl if auth is Auth.LOGIN else capabilities.known
            if listed and auth.upper() not in capabilities.sasl:
                raise _not_offered(f"SASL {auth.upper()}", auth)
            return _sasl(auth, user, password)
        case Auth.APOP:
            stamp = timestamp(greeting)
            if stamp is None:
                raise _not_offered("APOP", auth)
            return _apop(user, password, stamp)
        case _:
            return LoginPlan(((Command.USER, (user,)), (Command.PASS, (password,))), (password,))


def _needs_plain(user: bytes, password: bytes, capabilities: Capabilities) -> bool:
    """Whether AUTO takes PLAIN, which can't be pipelined as USER and PASS can, but says all there is to say."""
    sayable = (
        user.isascii()
        and password.isascii()
        and b" " not in user
        and password == password.strip()
        and max(len(user), len(password)) + len(b"PASS \r\n") <= _COMMAND_BYTES
    )
    has_user = "USER" in capabilities.names or not capabilities.known
    return "PLAIN" in capabilities.sasl and not (sayable and has_user)


def _octets(name: str, value: str) -> bytes:
    if not value:
        raise AccountMisconfigured(f"the {name} is empty")
    if any(character in value for character in "\r\n\0"):
        raise AccountMisconfigured(f"the {name} contains CR, LF or NUL", todo="a file's last line end does not belong")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise AccountMisconfigured(f"the {name} is no Unicode text")
    return value.encode()


def _not_offered(what: str, auth: Auth) -> AccountMisconfigured:
    other = Auth.OAUTHBEARER if auth is Auth.XOAUTH2 else Auth.XOAUTH2 if auth is Auth.OAUTHBEARER else Auth.AUTO
    return AccountMisconfigured(f"the server does not offer {what}", todo=f'set auth = "{other}"')


def _sasl(auth: Auth, user: bytes, secret: bytes) -> LoginPlan:
    mechanism = auth.upper().encode()
    dismissal = None
    match auth:
        case Auth.LOGIN:
            messages = [user, secret]
        case Auth.XOAUTH2:
            messages, dismissal = [b"user=" + user + b"\1auth=Bearer " + secret + b"\1\1"], b""
        case Auth.OAUTHBEARER:
            name = user.replace(b"=", b"=3D").replace(b",", b"=2C")  # RFC 5801, 4
            messages, dismissal = [b"n,a=" + name + b",\1auth=Bearer " + secret + b"\1\1"], _base64(b"\1")
        case _:
            messages = [b"\0" + user + b"\0" + secret]
    if auth.by_token and (b"\1" in user or not _TOKEN.fullmatch(secret)):
        raise AccountMisconfigured("the user name or the access token holds what OAuth does not allow (RFC 6750, 2.1)")
    responses = tuple(map(_base64, messages))
    fits = len(responses) == 1 and len(b"AUTH  \r\n" + mechanism + responses[0]) <= _COMMAND_BYTES
    return LoginPlan(
        ((Command.AUTH, (mechanism, responses[0]) if fits else (mechanism,)),),
        (secret, responses[-1]),
        responses,
        dismissal,
        _TODO_TOKEN if auth.by_token else _TODO_PASSWORD,
    )


def _apop(user: bytes, password: bytes, stamp: bytes) -> LoginPlan:
    digest = hashlib.md5(stamp + password, usedforsecurity=False).hexdigest().encode()  # RFC 1939, 7 fixes MD5
    return LoginPlan(((Command.APOP, (user, digest)),), (password, digest))


def _base64(message: bytes) -> bytes:
    return base64.b64encode(message)


def _failure(challenge: bytes) -> bytes:
    """The status in an error challenge: base64 of JSON (RFC 7628, 3.2.2). It is the server's text, not clean yet."""
    try:
        told = json.loads(base64.b64decode(challenge, validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return b""
    status = (told.get("status") or told.get("error")) if isinstance(told, dict) else None
    return str(status).encode("ascii", "replace")[:_STATUS_BYTES] if isinstance(status, str | int) else b""
