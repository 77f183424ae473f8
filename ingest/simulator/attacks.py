"""Named behaviours that must end a poll well: soon, in few octets, in the right error, with nothing lost.

Rules of this room:
- In the order of a session. `expected` is the code of an error of ingest/errors.py, spelt out: the simulator stands
  beside the client, not upon it.
"""

from __future__ import annotations

from ingest.simulator.acts import CLOSE, SILENCE, Act, Refuse, Repeat, Say
from ingest.simulator.behaviour import Behaviour, Certificate, Ending, Handshake, Uidls
from ingest.simulator.behaviours import SKIPPED, Named, Over

_BUSY, _SLOW, _TEMPORARY, _REFUSED = "maildrop_busy", "slow_down", "server_temporary", "server_refused"
_CREDENTIALS, _LOST, _PROTOCOL, _LISTING = "credentials", "connection_lost", "protocol", "listing_failed"
_NO_TLS, _CERTIFICATE = "tls_not_offered", "certificate"
_LINE = b"x" * 1024
_HEAD = b"+OK message follows\r\nFrom: a@example.com\r\nSubject: without end\r\n\r\n"


def _scripted(name: str, what: str, place: str, act: Act, expected: str) -> Named:
    return Named(name, what, Behaviour(script={place: act}), expected)


def _login(name: str, text: str, expected: str, code: str = "") -> Named:
    shown = f"[{code}] {text}" if code else text
    return _scripted(name, f"refuses the login: {shown}", "LOGIN", Refuse(text, code), expected)


ATTACKS = (
    # TLS
    Named("stls-none", "does not offer STLS", Behaviour(stls=False), _NO_TLS, Over.STARTTLS),
    Named(
        "stls-refused",
        "offers STLS, and refuses it",
        Behaviour(script={"STLS": Refuse("not today")}),
        _NO_TLS,
        Over.STARTTLS,
    ),
    Named(
        "stls-injected",
        "plaintext behind the reply to STLS, as somebody on the way would inject it",
        Behaviour(behind_stls=b"+OK injected\r\n"),
        _PROTOCOL,
        Over.STARTTLS,
    ),
    Named("tls-hangs", "never answers the TLS handshake", Behaviour(handshake=Handshake.HANGS), _LOST, Over.TLS),
    Named(
        "tls-plaintext",
        "goes on in plaintext where TLS belongs",
        Behaviour(handshake=Handshake.PLAINTEXT),
        _CERTIFICATE,
        Over.TLS,
    ),
    Named(
        "certificate-expired",
        "an expired certificate",
        Behaviour(certificate=Certificate.EXPIRED),
        _CERTIFICATE,
        Over.TLS,
    ),
    Named(
        "certificate-other-name",
        "a certificate of another name",
        Behaviour(certificate=Certificate.OTHER_NAME),
        _CERTIFICATE,
        Over.TLS,
    ),
    Named(
        "certificate-unknown-issuer",
        "a certificate of an unknown issuer",
        Behaviour(certificate=Certificate.UNKNOWN_ISSUER),
        _CERTIFICATE,
        Over.TLS,
    ),
    # The greeting and CAPA
    _scripted(
        "greeting-refused",
        "refuses the connection: [SYS/TEMP]",
        "GREETING",
        Refuse("come back later", "SYS/TEMP"),
        _TEMPORARY,
    ),
    _scripted("greeting-never", "never greets", "GREETING", SILENCE, _LOST),
    _scripted("greeting-closes", "closes without a greeting", "GREETING", CLOSE, _LOST),
    _scripted("greeting-endless", "the greeting is a line without end", "GREETING", Repeat(_LINE, b"+OK "), _PROTOCOL),
    _scripted(
        "greeting-other",
        "greets as another protocol does",
        "GREETING",
        Say(b"220 smtp.example.com ESMTP\r\n"),
        _PROTOCOL,
    ),
    _scripted(
        "capa-endless", "CAPA has lines without end", "CAPA", Repeat(b"X-%d\r\n", b"+OK\r\n", numbered=True), _PROTOCOL
    ),
    # The login
    _login("login-temporary", "mailbox server is away", _TEMPORARY, "SYS/TEMP"),
    _login("login-permanent", "mailbox is closed", _REFUSED, "SYS/PERM"),
    _login("login-auth", "no", _CREDENTIALS, "AUTH"),
    _login("login-wrong-password", "Logon failure: unknown user name or bad password.", _CREDENTIALS),
    _login("login-invalid", "Invalid login or password", _CREDENTIALS),
    _login("login-too-many", "Too many simultaneous connections, wait 60 seconds", _SLOW),
    _login("login-exceeded", "exceeded the login limit", _SLOW),
    _login("login-in-use", "maildrop already in use", _BUSY, "IN-USE"),
    _login("login-locked", "Unable to lock maildrop: mailbox is locked by POP server", _BUSY),
    _scripted("login-never", "never answers the login", "LOGIN", SILENCE, _LOST),
    _scripted("login-closes", "closes at the login", "LOGIN", CLOSE, _LOST),
    _scripted(
        "sasl-endless", "asks for SASL responses without end", "AUTH", Repeat(b"+ \r\n", times=10_000), _PROTOCOL
    ),
    Named("login-delay", "LOGIN-DELAY: refuses a login so soon after the last one", Behaviour(login_delay_s=60), _SLOW),
    Named("lock-lingers", "holds the lock for a minute after a session", Behaviour(lock_lingers_s=60), _BUSY),
    Named(
        "lock-lingers-worded",
        "holds the lock for a minute after a session, and has no response codes",
        Behaviour(lock_lingers_s=60, respond_codes=False, lock_wording="Can't get lock. Mailbox in use"),
        _BUSY,
    ),
    # Listings
    _scripted(
        "status-long",
        "the reply to STAT is a line of 1 MB",
        "STAT",
        Repeat(_LINE, b"+OK ", b"\r\n", times=1024),
        _PROTOCOL,
    ),
    _scripted("status-garbage", "the reply to STAT is neither +OK nor -ERR", "STAT", Say(b"what?\r\n"), _PROTOCOL),
    Named(
        "reply-twice",
        "the reply to STAT comes twice",
        Behaviour(script={"STAT": Say(b"+OK 0 0\r\n+OK 0 0\r\n")}, pipelining=False),
        _PROTOCOL,
    ),
    _scripted(
        "uidl-endless", "UIDL has lines without end", "UIDL", Repeat(b"%d u\r\n", b"+OK\r\n", numbered=True), _LISTING
    ),
    _scripted(
        "list-endless", "LIST has lines without end", "LIST", Repeat(b"%d 9\r\n", b"+OK\r\n", numbered=True), _LISTING
    ),
    _scripted(
        "uidl-endless-octets",
        "UIDL has long lines without end",
        "UIDL",
        Repeat(b"%d " + _LINE + b"\r\n", b"+OK\r\n", numbered=True),
        _LISTING,
    ),
    _scripted("uidl-endless-line", "UIDL has a line without end", "UIDL", Repeat(_LINE, b"+OK\r\n1 "), _LISTING),
    _scripted("list-endless-line", "LIST has a line without end", "LIST", Repeat(_LINE, b"+OK\r\n1 "), _LISTING),
    _scripted("uidl-drips", "UIDL comes an octet a second", "UIDL", Repeat(b"1", b"+OK\r\n", paced=True), _LISTING),
    Named("listing-cut", "UIDL and LIST break off half way", Behaviour(truncate_listing=True), _LISTING),
    Named("listing-silent", "UIDL and LIST fall silent half way", Behaviour(silent_listing=True), _LISTING),
    Named("listing-twice", "UIDL and LIST give one number twice", Behaviour(number_twice=True), _LISTING),
    Named(
        "uidl-shifts",
        "from the second UIDL of a session on, each is the next message's",
        Behaviour(uidls=Uidls.SHIFTING),
        _PROTOCOL,
    ),
    # Messages
    _scripted("retr-endless", "a message has no end", "RETR 2", Repeat(_LINE + b"\r\n", _HEAD), SKIPPED),
    _scripted("retr-endless-line", "a message has a line without end", "RETR 2", Repeat(_LINE, _HEAD), SKIPPED),
    _scripted("retr-drips", "a message comes an octet a second", "RETR 2", Repeat(b"x", _HEAD, paced=True), _LOST),
    _scripted("retr-silent", "a message is announced and never comes", "RETR 2", Say(_HEAD, SILENCE.then), _LOST),
    Named(
        "top-endless",
        "TOP has no end, and there is no UIDL without it",
        Behaviour(script={"TOP": Repeat(b"X: " + _LINE + b"\r\n", b"+OK\r\n")}, uidl=False),
        _PROTOCOL,
    ),
    Named("retr-breaks-off", "the line breaks in the middle of a message", Behaviour(close_on_retr=2), _LOST),
    _scripted(
        "retr-one-no-crlf",
        "no CRLF before the dot that ends the second message",
        "RETR 2",
        Say(b"+OK message follows\r\nFrom: a@example.com\r\nSubject: second\r\n\r\nunfinished.\r\n"),
        _PROTOCOL,
    ),
    Named("retr-no-crlf", "no CRLF before the dot that ends a message", Behaviour(ending=Ending.NO_CRLF), _LOST),
    Named(
        "retr-bare-lf", "the lines of a message end in LF, the last one too", Behaviour(ending=Ending.BARE_LF), _LOST
    ),
    Named("dots-unstuffed", "puts no dot before a line that begins with one", Behaviour(stuffing=False), _PROTOCOL),
    # The connection
    Named("closes-after-retrs", "closes behind 2 messages", Behaviour(close_after_retrs=2), _LOST),
    Named("closes-after-seconds", "closes 5 seconds after it was connected to", Behaviour(session_s=5), _LOST),
    Named("closes-after-octets", "closes behind 80 octets", Behaviour(drop_after_bytes=80), _LOST),
)
