from __future__ import annotations

import pytest

from ingest.errors import (
    CredentialsRejected,
    Fault,
    IngestError,
    MaildropBusy,
    MessageRefused,
    ServerRefused,
    ServerTemporary,
    SlowDown,
)
from ingest.pop3.connection import Command
from ingest.pop3.replies import Cleaner, refusal

LOGIN = (Command.PASS, Command.AUTH, Command.APOP)


def error(command: Command | None, text: bytes) -> IngestError:
    return refusal(command, text, host="pop.example.com", clean=Cleaner())


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"[IN-USE] Do you have another POP session running?", MaildropBusy),
        (b"[in-use]", MaildropBusy),
        (b"[LOGIN-DELAY] minimum time between mail checks", SlowDown),
        (b"[SYS/TEMP] mail store is down, password server too", ServerTemporary),
        (b"[SYS/PERM] your mailbox is corrupt", ServerRefused),
        (b"[AUTH] try again later", CredentialsRejected),
        (b"[AUTH] Account exceeded pop command or bandwidth limits (Failure)", SlowDown),
        (b"Unable to lock maildrop", MaildropBusy),
        (b"maildrop already locked", MaildropBusy),
        (b"mailbox in use", MaildropBusy),
        (b"server busy", MaildropBusy),
        (b"please wait 5 minutes", SlowDown),
        (b"Too many connections from your IP, blocked", SlowDown),
        (b"login rate limit exceeded", SlowDown),
        (b"temporary failure in authentication", ServerTemporary),
        (b"try again later", ServerTemporary),
        (b"authentication failed temporarily", ServerTemporary),
        (b"Authentication backend error", ServerTemporary),
        (b"authentication service not responding", ServerTemporary),
        (b"cannot connect to database", ServerTemporary),
        (b"connection refused by auth server", ServerTemporary),
        (b"LDAP server down", ServerTemporary),
        (b"system error", ServerTemporary),
        (b"unable to scan $HOME/Maildir", ServerTemporary),
        (b"aack, child crashed", ServerTemporary),
        (b"please come back later", ServerTemporary),
        (b"unknown command", ServerRefused),
        (b"authentication mechanism not supported", ServerRefused),
        (b"plaintext login disabled, use TLS", ServerRefused),
        (b"Logon failure: unknown user name or bad password.", CredentialsRejected),
        (b"mail server login failed", CredentialsRejected),
        (b"Unable to log on", CredentialsRejected),
        (b"invalid user name or password", CredentialsRejected),
        (b"authentication failed", CredentialsRejected),
        (b"no", CredentialsRejected),
        (b"", CredentialsRejected),
        (b"[UNHEARD-OF] no", CredentialsRejected),
    ],
)
@pytest.mark.parametrize("command", LOGIN)
def test_a_refused_login_is_told_by_code_then_by_wording(
    command: Command, text: bytes, kind: type[IngestError]
) -> None:
    assert type(error(command, text)) is kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"sorry, no mailbox for frated here, never heard of it", CredentialsRejected),
        (b"[AUTH] Plaintext authentication disallowed", CredentialsRejected),
        (b"command not supported", ServerRefused),
        (b"unknown command USER", ServerRefused),
    ],
)
def test_a_refused_user_is_a_matter_of_credentials_only_if_it_says_so(text: bytes, kind: type[IngestError]) -> None:
    assert type(error(Command.USER, text)) is kind


@pytest.mark.parametrize("command", [command for command in Command if command not in (*LOGIN, Command.USER)])
@pytest.mark.parametrize("text", [b"[AUTH] no", b"password invalid", b"not authorized", b"no"])
def test_no_other_command_is_ever_a_matter_of_credentials(command: Command, text: bytes) -> None:
    assert type(error(command, text)) is (MessageRefused if command is Command.RETR else ServerRefused)


@pytest.mark.parametrize(("text", "kind"), [(b"go away", ServerTemporary), (b"too many connections", SlowDown)])
def test_a_refusing_greeting_knows_no_account(text: bytes, kind: type[IngestError]) -> None:
    assert type(error(None, text)) is kind


@pytest.mark.parametrize("text", [b"[SYS/TEMP] disk trouble", b"temporarily unavailable", b"[IN-USE]", b"slow: wait"])
def test_a_refused_retr_is_not_the_message_s_fault_if_it_says_so(text: bytes) -> None:
    assert error(Command.RETR, text).fault is not Fault.MESSAGE


@pytest.mark.parametrize(
    ("text", "after_s"),
    [
        (b"[LOGIN-DELAY] wait 90 seconds", 90),
        (b"[LOGIN-DELAY] once every 15 minutes", 900),
        (b"[LOGIN-DELAY] 1h", 3600),
        (b"[LOGIN-DELAY] too soon", None),
        (b"[LOGIN-DELAY] wait 999999 hours", 86400),
    ],
)
def test_slow_down_says_how_long_if_the_server_did(text: bytes, after_s: float | None) -> None:
    assert error(Command.PASS, text).after_s == after_s


def test_the_error_is_one_line_for_a_person() -> None:
    assert (
        str(error(Command.STAT, b"  no such\tthing \x1b[31m\xe4 "))
        == "pop.example.com refused STAT: no such?thing ?[31m?"
    )
    assert str(error(Command.STAT, b"")) == "pop.example.com refused STAT: without a word"


def test_a_long_text_is_cut() -> None:
    assert len(Cleaner()(b"x" * 4000)) == 200


@pytest.mark.parametrize(
    ("secret", "echo"),
    [
        (b"canary-1", b"bad password canary-1 for u"),
        (b"canary-1", b"BAD PASSWORD CANARY-1"),
        (b"canary?1", b"bad password canary\x011"),
        ("kanäle".encode(), "kennwort kanäle falsch".encode()),
        (b"canary-1", b"x" * 190 + b"canary-1"),
        (b"a.c", b"a.c and abc"),
        (b"canary-1 ", b"bad password: canary-1 "),
    ],
)
def test_an_echoed_secret_is_never_shown(secret: bytes, echo: bytes) -> None:
    clean = Cleaner()
    clean.hide(secret)
    shown = clean(echo)
    assert secret.decode().strip().lower() not in shown.lower()
    assert "****" in shown


def test_the_longer_of_two_secrets_is_hidden_whole() -> None:
    clean = Cleaner()
    clean.hide(b"pw", b"pw-and-more")
    assert clean(b"was pw-and-more") == "was ****"
