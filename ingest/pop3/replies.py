"""What a refusal means, and how a server's words are shown.

Rules of this room:
- Response codes first (RFC 2449, 8; RFC 3206), then the wordings found in the field, then what was asked.
- Only a refused login can be a matter of credentials: that class opens the account's breaker.
- A server's words are shown as printable ASCII, cut, and without anything that was told it in secret: it may echo.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ingest.errors import (
    CredentialsRejected,
    IngestError,
    MaildropBusy,
    MessageRefused,
    ServerRefused,
    ServerTemporary,
    SlowDown,
)
from ingest.pop3.connection import Command

SHOWN_CHARACTERS = 200
LONGEST_WAIT_S = 86_400.0
_PRINTABLE = bytes(octet if 0x20 <= octet <= 0x7E else ord("?") for octet in range(256))  # noqa: PLR2004 - ASCII's ends
_MASK = b"****"

_LOGIN = frozenset({Command.USER, Command.PASS, Command.APOP, Command.AUTH})
_CODE = re.compile(rb"\[([A-Za-z0-9/_-]{1,64})")
_CODES: Mapping[bytes, type[IngestError]] = {
    b"IN-USE": MaildropBusy,
    b"LOGIN-DELAY": SlowDown,
    b"SYS/TEMP": ServerTemporary,
    b"SYS/PERM": ServerRefused,
    b"AUTH": CredentialsRejected,
}
_LIMITS = re.compile(rb"exceeded .*\b(limit|quota)", re.IGNORECASE)
_WORDINGS: Sequence[tuple[re.Pattern[bytes], type[IngestError]]] = (
    (re.compile(rb"too many|exceed|rate limit|too (often|frequent|soon)|\bwait\b|throttl", re.IGNORECASE), SlowDown),
    (re.compile(rb"\block|in use|\bbusy\b|another (session|connection|client)", re.IGNORECASE), MaildropBusy),
    (
        re.compile(
            rb"temporar|try again|\b(later|retry)\b|unavailable|not available|internal|time(d )?-?out|maintenance"
            rb"|overload|memory|crash|not respond|\bback-?end|database|\bldap\b"
            rb"|(server|system|service|storage|disk|i/o|network|connection) "
            rb"(is )?(error|fail|problem|trouble|refused|lost|closed|reset|down|gone)"
            rb"|(can ?not|can't|could not|unable to|failed to) (connect|contact|reach|open|access|read|scan)",
            re.IGNORECASE,
        ),
        ServerTemporary,
    ),
)
# Of a login: what is wrong is how it was tried. These name neither user nor password.
_NOT_SO = re.compile(
    rb"\bcommand\b|mechanism|authentication type|not (supported|implemented)|unsupported|syntax"
    rb"|\b(ssl|s?tls|starttls)\b|(plain|clear)-?text",
    re.IGNORECASE,
)
_CREDENTIALS = re.compile(
    rb"password|invalid|auth|denied|unknown|incorrect|credential|never heard|log ?in", re.IGNORECASE
)
_WAIT = re.compile(rb"\b(\d{1,6})\s*(s|sec|m|min|h|hour)", re.IGNORECASE)
_UNIT_S: Mapping[bytes, float] = {b"s": 1, b"m": 60, b"h": 3600}


class Cleaner:
    """Turns a server's octets into text for people; what `hide` was told never shows."""

    def __init__(self) -> None:
        self._hidden: list[re.Pattern[bytes]] = []

    def hide(self, *secrets: bytes) -> None:
        """From now on these show as a mask, in whatever case a server repeats them."""
        # They are looked for in printable form, since that is what is left of the text then.
        # White space at its ends went with that of the text.
        shown = sorted({secret.strip().translate(_PRINTABLE) for secret in secrets}, key=len, reverse=True)
        self._hidden += [re.compile(re.escape(secret), re.IGNORECASE) for secret in shown if secret]

    def __call__(self, text: bytes) -> str:
        text = text.strip().translate(_PRINTABLE)
        for secret in self._hidden:
            text = secret.sub(_MASK, text)
        return text[:SHOWN_CHARACTERS].decode("ascii")


def refusal(command: Command | None, text: bytes, *, host: str, clean: Cleaner) -> IngestError:
    """The error behind an -ERR.

    Args:
        command: what was refused; None for a greeting.
        text: the reply behind -ERR, as it came.
        host: the server's name, for the person who reads it.
        clean: takes out of the text what must not be shown.
    """
    kind = _kind(command, text)
    asked = "the connection" if command is None else "the login" if command in _LOGIN else command.name
    what = f"{host} refused {asked}: {clean(text) or 'without a word'}"
    if kind is SlowDown:
        return SlowDown(what, after_s=_wait_s(text))
    if kind is CredentialsRejected:
        return CredentialsRejected(what, todo="check the user name and the password")
    return kind(what)


def _kind(command: Command | None, text: bytes) -> type[IngestError]:
    code = _CODE.match(text)
    kind = _CODES.get(code[1].upper()) if code else None
    if kind is CredentialsRejected and _LIMITS.search(text):
        kind = SlowDown  # Gmail: [AUTH] Account exceeded pop command or bandwidth limits
    if kind is not None and (kind is not CredentialsRejected or command in _LOGIN):
        return kind
    for wording, meant in _WORDINGS:
        if wording.search(text):
            return meant
    if command in _LOGIN and _NOT_SO.search(text):
        return ServerRefused
    match command:
        case Command.PASS | Command.APOP | Command.AUTH:
            return CredentialsRejected
        case Command.USER if _CREDENTIALS.search(text):
            return CredentialsRejected
        case Command.RETR:
            return MessageRefused
        case None:
            return ServerTemporary
        case _:
            return ServerRefused


def _wait_s(text: bytes) -> float | None:
    found = _WAIT.search(text)
    return min(int(found[1]) * _UNIT_S[found[2][:1].lower()], LONGEST_WAIT_S) if found else None
