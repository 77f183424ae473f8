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
_CODE = re.compile(rb"\[([A-Za-z0-9_-]{1,64}(?:/[A-Za-z0-9_-]{1,64})?)")  # a third level only refines (RFC 3206, 3)
_CODES: Mapping[bytes, type[IngestError]] = {
    b"IN-USE": MaildropBusy,
    b"LOGIN-DELAY": SlowDown,
    b"SYS/TEMP": ServerTemporary,
    b"SYS/PERM": ServerRefused,
    b"AUTH": CredentialsRejected,
    # IMAP's (RFC 5530), seen from servers that speak both.
    b"AUTHENTICATIONFAILED": CredentialsRejected,
    b"LIMIT": SlowDown,
    b"UNAVAILABLE": ServerTemporary,
}


def _words(*patterns: bytes) -> re.Pattern[bytes]:
    return re.compile(b"|".join(patterns), re.IGNORECASE)


# Of a login. These say that the password is wrong or the account closed, whatever else they say: hMailServer names
# "too many" besides, QQ "busy".
_WRONG = _words(
    rb"\b(bad|wrong|incorrect|invalid) (user ?name|user|account|log[io]n|password|credentials|authentication)\b"
    rb"(?! (mechanism|type|method|command))",
    rb"password\b.{0,64}\b(incorrect|wrong|invalid|not accepted|expired)",
    rb"unknown user",
    rb"too many (\w+ )?((failed|invalid|bad|wrong|incorrect|unsuccessful)\b(?! command)|\w+ failures)",
    rb"\baccount ((is|was|has|been|temporarily|currently) )*"
    rb"(locked|disabled|suspended|blocked|expired|inactive|abnormal)\b(?! by)",
)
# Gmail says this with [AUTH]: the password is right, and used too much. Where it is bandwidth, it lasts for hours.
_USED_UP = _words(
    rb"exceeded .*\blimits?\b", rb"bandwidth", rb"too many (simultaneous )?(connections|sessions|commands)"
)
_BANDWIDTH = _words(rb"bandwidth")
_BANDWIDTH_S = 3600.0
_WORDINGS: Sequence[tuple[re.Pattern[bytes], type[IngestError]]] = (
    (
        _words(
            rb"(disk|storage|mailbox|spool|file)\b.{0,20}\bquota",
            rb"(server|system|service) (is )?(currently )?(too )?busy",
        ),
        ServerTemporary,
    ),
    (
        _words(
            rb"too many (?!(bad|invalid|unknown|command)\b|arg|err)",
            rb"exceed|rate.?limit|too (often|frequent|soon)|\bwait\b|throttl|frequency",
        ),
        SlowDown,
    ),
    (_words(rb"\block|maillock|in use|\bbusy\b|another (session|connection|client)"), MaildropBusy),
    (
        _words(
            rb"temporar|try again|\b(later|retry)\b|unavailable|not available|internal|time(d )?-?out|maintenance",
            rb"overload|memory|crash|not respond|\bback-?end|database|\bldap\b|shutting down|shutdown|not ready",
            rb"\bmaildir\b|\bchdir\b|no such (file|directory)",
            rb"(server|system|service|storage|disk|i/?o|network|connection) "
            rb"(is )?(error|fail|problem|trouble|refused|lost|closed|reset|down|gone)",
            rb"(can ?not|can't|could not|unable to|failed to) (connect|contact|reach|open|access|read|scan|fetch)",
        ),
        ServerTemporary,
    ),
)
# Of a login: what is wrong is how it was tried. These name neither user nor password.
_NOT_SO = _words(
    rb"mechanism|authentication type|not (supported|implemented)|unsupported|syntax",
    rb"\b(ssl|s?tls|starttls)\b|(plain|clear)-?text",
)
# The same, but not believed beside [AUTH]: Yandex says "login failure or POP3 disabled" there.
_NOT_HERE = _words(
    rb"\bcommands?\b|too many (arg|err)",
    rb"(?<!or )\bpop3?\b( \w+){0,5} (disabled|discontinued|not (enabled|allowed|permitted))|not enabled for pop",
)
_CREDENTIALS = _words(rb"password|invalid|auth|denied|unknown|incorrect|credential|never heard|log ?in")

_SPAN = rb"(\d{1,9})\s*(ms|milliseconds?|s|secs?|seconds?|m|mins?|minute[sn]?|h|hrs?|hours?|stunden?)\b"
_IN_CODE = _words(rb"LOGIN-DELAY[ :=]+(\d{1,9})()(?!\d|\s*[mh])")  # in seconds, as in CAPA (RFC 2449, 6.5)
_ASKED = _words(rb"(?:wait|again|retry|back-?off|later|delay|every)\b[^0-9]{0,40}" + _SPAN)
_ANY = _words(_SPAN)
_UNIT_S: Mapping[bytes, float] = {b"ms": 0.001, b"mil": 0.001, b"stu": 3600, b"s": 1, b"m": 60, b"h": 3600}  # in order


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
        return SlowDown(
            what, after_s=_wait_s(text, _IN_CODE, _ASKED, _ANY) or (_BANDWIDTH_S if _BANDWIDTH.search(text) else None)
        )
    if kind is CredentialsRejected:
        return CredentialsRejected(what, todo="check the user name and the password", after_s=_wait_s(text, _ASKED))
    return kind(what, after_s=_wait_s(text, _ASKED) if kind in {MaildropBusy, ServerTemporary} else None)


def _kind(command: Command | None, text: bytes) -> type[IngestError]:
    code = _CODE.match(text)
    kind = _CODES.get(code[1].upper()) if code else None
    if kind is not None and kind is not CredentialsRejected:
        return kind
    worded = next((meant for wording, meant in _WORDINGS if wording.search(text)), None)
    if command in _LOGIN:
        return _of_login(command, text, coded=kind is not None, worded=worded)
    if worded is not None:
        return worded
    if command is None:
        return ServerTemporary
    return MessageRefused if command is Command.RETR else ServerRefused


def _of_login(
    command: Command | None, text: bytes, *, coded: bool, worded: type[IngestError] | None
) -> type[IngestError]:
    """What a refused login is; `coded`: the server says [AUTH], so that most wordings do not count."""
    if _WRONG.search(text):
        return CredentialsRejected
    if coded:
        return SlowDown if _USED_UP.search(text) else ServerRefused if _NOT_SO.search(text) else CredentialsRejected
    if worded is not None:
        return worded
    if _NOT_SO.search(text) or _NOT_HERE.search(text) or (command is Command.USER and not _CREDENTIALS.search(text)):
        return ServerRefused
    return CredentialsRejected


def _wait_s(text: bytes, *patterns: re.Pattern[bytes]) -> float | None:
    """The wait that the first of these finds, in seconds, cut at a day."""
    for pattern in patterns:
        found = pattern.search(text)
        if found:
            unit = found[2].lower() or b"s"
            unit_s = next(seconds for name, seconds in _UNIT_S.items() if unit.startswith(name))
            return min(int(found[1]) * unit_s, LONGEST_WAIT_S)
    return None
