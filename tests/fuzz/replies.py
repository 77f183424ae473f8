"""Target: the readers of a server's words: capabilities, refusals, the greeting's timestamp.

The first octet of an input chooses the reader: 0 capabilities, 1 a greeting, others a refusal of some command.
"""

from __future__ import annotations

from fuzz.session import CANARY, DOCUMENTED
from ingest.errors import CredentialsRejected
from ingest.pop3.auth import timestamp
from ingest.pop3.capabilities import parse_capabilities
from ingest.pop3.connection import Command
from ingest.pop3.replies import Cleaner, refusal

_LOGIN = {Command.USER, Command.PASS, Command.APOP, Command.AUTH}
_COMMANDS = list(Command)


def run(data: bytes) -> None:
    """One input."""
    reader, text = (data[0] if data else 0), data[1:]
    if reader == 0:
        _capabilities(text)
    elif reader == 1:
        _greeting(text)
    else:
        _refusal(_COMMANDS[reader % len(_COMMANDS)], text)


def _capabilities(body: bytes) -> None:
    found = parse_capabilities(body)
    assert found.known
    for name in found.names:
        assert name == name.upper()
        assert name.isascii()
        assert name.isprintable()
        assert " " not in name
    for value in (found.login_delay_s, found.expire_days):
        assert value is None or 0 <= value < 10**9
    shown = found.implementation
    assert shown is None or (shown.isascii() and shown.isprintable() and 0 < len(shown) <= 200)
    assert bool(found.sasl) <= ("SASL" in found)
    assert parse_capabilities(body.replace(b"\r\n", b"\n")) == found


def _greeting(text: bytes) -> None:
    stamp = timestamp(text)
    assert stamp is None or (stamp in text and stamp.count(b"@") == 1 and b" " not in stamp and b"\r" not in stamp)
    _refusal(None, text)


def _refusal(command: Command | None, text: bytes) -> None:
    clean = Cleaner()
    clean.hide(CANARY.encode())
    error = refusal(command, text, host="pop.example.com", clean=clean)
    shown = str(error)
    assert isinstance(error, DOCUMENTED)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) < 400
    assert CANARY not in shown.lower()
    assert command in _LOGIN or not isinstance(error, CredentialsRejected)
    assert error.after_s is None or 0 <= error.after_s <= 86_400
