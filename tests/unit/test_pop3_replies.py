from __future__ import annotations

import time

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
        (b"mailbox busy", MaildropBusy),
        (b"server busy", ServerTemporary),
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
        (b"[AUTH] Plaintext authentication disallowed", ServerRefused),
        (b"[AUTH] no such mailbox", CredentialsRejected),
        (b"command not supported", ServerRefused),
        (b"unknown command USER", ServerRefused),
    ],
)
def test_a_refused_user_is_a_matter_of_credentials_only_if_it_says_so(text: bytes, kind: type[IngestError]) -> None:
    assert type(error(Command.USER, text)) is kind


# As servers say it: from their sources, or as their users quote it.
FIELD = [
    # Dovecot
    (b"[AUTH] Authentication failed.", CredentialsRejected),
    (b"[AUTH] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.", ServerRefused),
    (b"[AUTH] Unsupported authentication mechanism.", ServerRefused),
    (b"[SYS/TEMP] Temporary authentication failure. [host:2026-11-26 15:10:59]", ServerTemporary),
    (b"[IN-USE] Couldn't sync mailbox.", MaildropBusy),
    (b"[SYS/PERM] Permission denied", ServerRefused),
    (b"Too many bad commands.", ServerRefused),
    # Courier
    (b"Login failed.", CredentialsRejected),
    (b"Maildir: No such file or directory", ServerTemporary),
    (b"Your account is temporarily unavailable (+t bit set on home directory).", ServerTemporary),
    # Cyrus
    (b"[AUTH] Invalid login", CredentialsRejected),
    (b"[IN-USE] Unable to lock maildrop", MaildropBusy),
    (b"[LOGIN-DELAY] Logins must be at least 5 minutes apart", SlowDown),
    (b"[SYS/PERM] Unable to locate maildrop", ServerRefused),
    (b"[SYS/TEMP] System going down for maintenance", ServerTemporary),
    (b"USER command only available under a layer", ServerRefused),
    # qpopper
    (b'[AUTH] Password supplied for "u" is incorrect.', CredentialsRejected),
    (b'Password supplied for "u" is incorrect.', CredentialsRejected),
    (b"[IN-USE] /var/mail/.u.pop lock busy!  Is another session active? (11)", MaildropBusy),
    (b"/var/mail/.u.pop lock busy!  Is another session active? (11)", MaildropBusy),
    (b"maillock error 'Resource temporarily unavailable' (11) on '/var/mail/u'", MaildropBusy),
    (b"Unable to copy mail spool file, quota exceeded (122)", ServerTemporary),
    (b"[LOGIN-DELAY] minimum time between mail checks violation", SlowDown),
    (b"POP EOF or I/O Error: 104 (connection reset)", ServerTemporary),
    # UW ipop3d, GNU pop3d
    (b"Bad login", CredentialsRejected),
    (b"Can't get lock. Mailbox in use", MaildropBusy),
    # Gmail
    (b"[AUTH] Username and password not accepted.", CredentialsRejected),
    (b"[AUTH] Application-specific password required: https://support.google.com/x", CredentialsRejected),
    (b"[AUTH] Web login required: https://support.google.com/mail/answer/78754", CredentialsRejected),
    (b"[AUTH] Account exceeded pop command or bandwidth limits (Failure)", SlowDown),
    (b"[IN-USE] Unable to lock maildrop: Mailbox is locked by another POP session", MaildropBusy),
    (b"[SYS/PERM] Your account is not enabled for POP access. Please visit your settings", ServerRefused),
    (b"[SYS/TEMP] Temporary system problem. Please try again later.", ServerTemporary),
    # Microsoft 365, Exchange
    (b"Authentication failure: unknown user name or bad password.", CredentialsRejected),
    (b"Logon failure: unknown user name or bad password.", CredentialsRejected),
    (b"Logon failure", CredentialsRejected),
    (b"Command is not valid in this state.", ServerRefused),
    (b"Server Unavailable. 21", ServerTemporary),
    (b"Protocol error. Connection is closed. 10", ServerTemporary),
    (b"Connection is closed. 14", ServerTemporary),
    (b"Server Busy. Please try again later.", ServerTemporary),
    (b"Request is throttled. Suggested Backoff Time: 299961 milliseconds", SlowDown),
    # Yahoo, AOL
    (b"[AUTH] (#MBR1240) Please verify your account by going to https://login.yahoo.com", CredentialsRejected),
    (b"[AUTH] (#AUTH012) Incorrect username or password.", CredentialsRejected),
    (b"[SYS/TEMP] Server error - please try again later", ServerTemporary),
    (b"[IN-USE] Your account is in use, try later.", MaildropBusy),
    (b"[SYS/PERM] pop not allowed for user.", ServerRefused),
    # GMX, web.de
    (b"authentication failed", CredentialsRejected),
    (b"login rate limit exceeded, only one login in 15 minutes", SlowDown),
    # Zimbra
    (b"invalid username/password", CredentialsRejected),
    (b"LOGIN failed", CredentialsRejected),
    (b"pop access not enabled for account", ServerRefused),
    (b"mailbox is in maintenance mode", ServerTemporary),
    # MDaemon, hMailServer
    (b"maildrop already locked", MaildropBusy),
    (b"Invalid user name or password. Too many invalid logon attempts.", CredentialsRejected),
    (b"Invalid user name or password. Please use full email address as user name.", CredentialsRejected),
    (b"Your mailbox is already locked", MaildropBusy),
    (b"Server error: Failed to fetch messages in Inbox.", ServerTemporary),
    (b"A SSL/TLS-connection is required for authentication.", ServerRefused),
    # QQ, 163, Yandex, Mail.ru
    (
        b"Login fail. Account is abnormal, service is not open, password is incorrect, or system is busy.",
        CredentialsRejected,
    ),
    (b"Login frequency limited", SlowDown),
    (b"Unable to log on", CredentialsRejected),
    (b"[AUTH] login failure or POP3 disabled, try later. sc=x", CredentialsRejected),
    (b"[AUTH] Application password is REQUIRED", CredentialsRejected),
    (b"POP3 is available only with SSL or TLS connection enabled", ServerRefused),
    # Others
    (b"account is SUSPENDED. Call for assistance.", CredentialsRejected),
    (b"Your account has been temporarily locked, try again in 15 minutes", CredentialsRejected),
    (b"too many failed login attempts", CredentialsRejected),
    (b"POP3 service has been permanently discontinued.", ServerRefused),
    (b"POP3 server is shutting down", ServerTemporary),
    (b"Temporary authentication failure (rate-limit)", SlowDown),
    (b"[LOGIN-DELAY 60] Too many authentication attempts", SlowDown),
    (b"[SYS/TEMP] too many connections", ServerTemporary),
    (b"[SYS/TEMP/DISK] full", ServerTemporary),
    (b"[LIMIT] try later", SlowDown),
    (b"[UNAVAILABLE] user backend", ServerTemporary),
    (b"[AUTHENTICATIONFAILED] Invalid credentials", CredentialsRejected),
]


@pytest.mark.parametrize(("text", "kind"), FIELD)
@pytest.mark.parametrize("command", LOGIN)
def test_refused_logins_are_told_as_servers_in_the_field_word_them(
    command: Command, text: bytes, kind: type[IngestError]
) -> None:
    assert type(error(command, text)) is kind


@pytest.mark.parametrize(("text", "_"), FIELD)
@pytest.mark.parametrize("command", [None, Command.STAT, Command.UIDL, Command.RETR])
def test_no_wording_from_the_field_makes_anything_but_a_login_a_matter_of_credentials(
    command: Command | None, text: bytes, _: type[IngestError]
) -> None:
    assert type(error(command, text)) is not CredentialsRejected


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
        (b"[LOGIN-DELAY] Logins must be at least 5 minutes apart", 300),
        (b"[LOGIN-DELAY 900] too soon", 900),
        (b"too frequent, LOGIN-DELAY 900", 900),
        (b"too many logins, LOGIN-DELAY 15 min", 900),
        (b"please wait 5 minutes", 300),
        (b"too many logins in 10 minutes, try again in 15 min.", 900),
        (b"throttled. Suggested Backoff Time: 299000 milliseconds", 299),
        (b"rate limit, wait 2 Stunden", 7200),
        (b"rate limit, wait 3 Minuten", 180),
        (b"too many connections (21 max)", None),
        (b"too many connections: 5 simultaneous", None),
        (b"[AUTH] Account exceeded pop command or bandwidth limits", 3600),
    ],
)
def test_slow_down_says_how_long_if_the_server_did(text: bytes, after_s: float | None) -> None:
    assert error(Command.PASS, text).after_s == after_s


@pytest.mark.parametrize(
    ("text", "kind", "after_s"),
    [
        (b"[IN-USE] locked, wait 10 minutes", MaildropBusy, 600),
        (b"[SYS/TEMP] down, try again in 2 hours", ServerTemporary, 7200),
        (b"account is locked, try again in 15 min", CredentialsRejected, 900),
        (b"[SYS/TEMP] down for 2 hours", ServerTemporary, None),
        (b"password expired 30 h ago", CredentialsRejected, None),
        (b"[SYS/PERM] wait 5 minutes", ServerRefused, None),
    ],
)
def test_other_refusals_say_how_long_only_if_the_server_asked_for_it(
    text: bytes, kind: type[IngestError], after_s: float | None
) -> None:
    found = error(Command.PASS, text)
    assert (type(found), found.after_s) == (kind, after_s)


@pytest.mark.parametrize(
    "filler", [b"password ", b"account is ", b"wait ", b"9", b"too many ", b"pop a b ", b"exceeded "]
)
def test_a_status_line_as_long_as_may_be_is_read_in_no_time(filler: bytes) -> None:
    started = time.thread_time()
    error(Command.PASS, (filler * 4096)[:4096])
    assert time.thread_time() - started < 1


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
