"""How a login is put into commands: USER and PASS, APOP (RFC 1939, 7), SASL PLAIN (RFC 4616, 5034). Pure.

Rules of this room:
- What can't be sent safely is refused before anything is sent.
- One try a session: a refused mechanism is never followed by another one, which would count as a second bad login.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from ingest.errors import AccountMisconfigured
from ingest.models import Auth, Capabilities, Secret
from ingest.pop3.connection import Command

# RFC 5034, 4: a longer command goes without its initial response.
_COMMAND_BYTES = 255
# APOP over anything but a message id lets a man in the middle choose the digest's input (CVE-2007-1558).
_TIMESTAMP = re.compile(rb"<[!-;=?A-~]{1,128}@[!-;=?A-~]{1,128}>")


@dataclass(frozen=True, slots=True, repr=False)
class LoginPlan:
    """The commands of a login with their arguments, the response to a challenge, and what must never be shown."""

    commands: tuple[tuple[Command, tuple[bytes, ...]], ...]
    response: bytes | None
    hidden: tuple[bytes, ...]


def timestamp(greeting: bytes) -> bytes | None:
    """The message id in a greeting that offers APOP."""
    found = _TIMESTAMP.search(greeting)
    return found[0] if found else None


def plan_login(username: str, secret: Secret, auth: Auth, *, capabilities: Capabilities, greeting: bytes) -> LoginPlan:
    """Choose the mechanism; AccountMisconfigured for what can't be sent or is not offered."""
    user, password = _octets("user name", username), _octets("password", secret.reveal())
    if auth is Auth.AUTO:
        auth = Auth.PLAIN if "PLAIN" in capabilities.sasl else Auth.USER
    match auth:
        case Auth.PLAIN:
            if capabilities.known and "PLAIN" not in capabilities.sasl:
                raise AccountMisconfigured("the server does not offer SASL PLAIN", todo='set auth = "auto"')
            return _plain(user, password)
        case Auth.APOP:
            stamp = timestamp(greeting)
            if stamp is None:
                raise AccountMisconfigured("the server does not offer APOP", todo='set auth = "auto"')
            return _apop(user, password, stamp)
        case _:
            commands = ((Command.USER, (user,)), (Command.PASS, (password,)))
            return LoginPlan(commands, None, (password,))


def _octets(name: str, value: str) -> bytes:
    if not value:
        raise AccountMisconfigured(f"the {name} is empty")
    if any(character in value for character in "\r\n\0"):
        raise AccountMisconfigured(f"the {name} contains CR, LF or NUL", todo="a file's last line end does not belong")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise AccountMisconfigured(f"the {name} is no Unicode text")
    return value.encode()


def _plain(user: bytes, password: bytes) -> LoginPlan:
    response = base64.b64encode(b"\0" + user + b"\0" + password)
    fits = len(b"AUTH PLAIN \r\n") + len(response) <= _COMMAND_BYTES
    arguments = (b"PLAIN", response) if fits else (b"PLAIN",)
    return LoginPlan(((Command.AUTH, arguments),), response, (password, response))


def _apop(user: bytes, password: bytes, stamp: bytes) -> LoginPlan:
    digest = hashlib.md5(stamp + password, usedforsecurity=False).hexdigest().encode()  # RFC 1939, 7 fixes MD5
    return LoginPlan(((Command.APOP, (user, digest)),), None, (password, digest))
