"""How a simulated server behaves: knobs, each one seen in the field.

Rules of this room:
- Values only. The defaults are a well-behaved server with every capability that this one implements.
- Every time is a knob, in seconds: what takes a minute in the field takes a tenth of a second in a test.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from ingest.simulator.acts import Act


class Uidls(enum.Enum):
    """What UIDL lists."""

    AS_GIVEN = "as given"
    ABSENT = "the number alone"
    SPACED = "several spaces before each"
    LONG = "300 octets and more"
    EIGHT_BIT = "octets that RFC 1939 forbids, but for CR and LF"
    TWINS = "each two messages share one"
    ANEW = "other ones in each session"
    SHIFTING = "from the second UIDL of a session on, each is the one of the message behind it"


class Sizes(enum.Enum):
    """What LIST lists."""

    TRUE = "true"
    SMALLER = "half of the octets"
    LARGER = "twice the octets and more"
    ZERO = "none"
    HUGE = "a gigabyte more"
    CHANGING = "others at each LIST"


class Ending(enum.Enum):
    """How a message ends on the wire."""

    PROPER = "CRLF, dot, CRLF"
    NO_CRLF = "dot, CRLF behind an unfinished line"
    BARE_LF = "all lines of the message end in LF, the last one too"


class Utf8(enum.Enum):
    """UTF8 (RFC 6856)."""

    NONE = "not offered"
    OFFERED = "offered"
    REFUSED = "offered and refused"
    NEEDED = "offered; without it every octet above 127 becomes a question mark"


class Handshake(enum.Enum):
    """What comes of TLS."""

    DONE = "done"
    HANGS = "the server never answers"
    PLAINTEXT = "the server speaks plaintext where TLS belongs"


class Certificate(enum.Enum):
    """Which certificate is shown; for a server with an authority of its own."""

    GOOD = "good"
    EXPIRED = "expired"
    OTHER_NAME = "of another name"
    UNKNOWN_ISSUER = "of an unknown issuer"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Knobs of a simulated server.

    Attributes:
        script: what it does in the place of an answer. A key is a verb ("UIDL"), a command ("RETR 2", in upper case),
            "GREETING", or "LOGIN": the reply to a login with the right password, however it is made. Only where the
            command is allowed at all.

        greeting: text behind the greeting's +OK; with `apop` a timestamp follows it.
        latency_s: wait before the first octet of each reply flight, the greeting's too. Stands for a whole round trip
            where the client waits for replies; a command that arrives during the wait waits anew.
        pace_s: wait before each piece of what a script says slowly.
        segment_bytes: replies leave in segments of so many octets.
        split_ends: the end of each multi-line reply leaves in segments that split its CRLF.CRLF.
        drop_after_bytes: the connection breaks off after so many octets of replies.
        session_s: the connection breaks off so long after it was accepted, whatever is under way.
        most_bad_commands: the connection breaks off behind the refusal of so many unknown commands.

        capa: False refuses CAPA, as servers older than RFC 2449 do.
        capa_before_login: False refuses it before the login.
        pipelining: False announces none, and loses what came behind a command in the same segment.
        uidl: False refuses UIDL.
        uidl_announced_before_login: False announces it behind the login only.
        top: False refuses TOP.
        respond_codes: False sends no [IN-USE], [AUTH] or other response code (RFC 2449, 3206).
        utf8: UTF8 (RFC 6856).

        stls: False does not offer STLS.
        behind_stls: octets in plaintext behind the reply to STLS.
        handshake: what comes of TLS.
        certificate: which one is shown.

        apop: False sends no timestamp and refuses APOP.
        sasl_plain: False announces no SASL and refuses AUTH.
        sasl_prompt: the line that asks for a SASL response (RFC 5034: "+ ").
        lose_after_pass: what came behind a login in the same segment is lost, as where another process takes over.
        hang_after_pass: where something came behind a login in the same segment, nothing more is ever answered.
        close_after_pass: where something came behind a login in the same segment, the connection breaks off.
        exclusive: False lets several sessions into one maildrop.
        lock_lingers_s: a maildrop stays locked so long after its last session has ended.
        lock_wording: how a login to a locked maildrop is refused.
        login_delay_s: announced, and kept: a login sooner than this after the user's last one is refused.

        window: a session shows so many messages, the oldest ones; STAT, too.
        hide_retrieved: what was retrieved in a session that ended with QUIT is not shown by later ones.
        empty_every: each so many-th session shows an empty maildrop.
        stat_more: STAT counts so many messages more than there are.
        list_at_most: UIDL and LIST end, properly, after so many messages; STAT counts all.
        number_twice: UIDL and LIST give the second message the number of the first.
        truncate_listing: UIDL and LIST break off half way, and the connection with them.
        silent_listing: UIDL and LIST fall silent half way.
        uidls: what UIDL lists.
        sizes: what LIST lists.

        close_on_retr: number of the message in whose middle the connection breaks off.
        close_after_retrs: the connection breaks off behind so many messages.
        refuse_retr: numbers of the messages that are listed and not handed over.
        headers_change: the store writes other Status and X-UIDL headers into a message for each session.
        dots_everywhere: each line of a message's body begins with a dot.
        stuffing: False puts no dot before a line that begins with one, so that a lone dot ends the message early.
        ending: how a message ends on the wire.

        refuse_dele: numbers of the messages that are not deleted, and said not to be.
        keep_deleted: DELE and QUIT are confirmed, and nothing is deleted.
        delete_retrieved: announces EXPIRE 0: QUIT removes whatever was retrieved (RFC 2449, 6.7).
        quit_reply: False closes at QUIT without a word; the deletions happen all the same.
    """

    script: Mapping[str, Act] = field(default_factory=dict)

    greeting: str = "Mailsluice simulator ready"
    latency_s: float = 0.0
    pace_s: float = 1.0
    segment_bytes: int | None = None
    split_ends: bool = False
    drop_after_bytes: int | None = None
    session_s: float | None = None
    most_bad_commands: int | None = None

    capa: bool = True
    capa_before_login: bool = True
    pipelining: bool = True
    uidl: bool = True
    uidl_announced_before_login: bool = True
    top: bool = True
    respond_codes: bool = True
    utf8: Utf8 = Utf8.NONE

    stls: bool = True
    behind_stls: bytes = b""
    handshake: Handshake = Handshake.DONE
    certificate: Certificate = Certificate.GOOD

    apop: bool = True
    sasl_plain: bool = True
    sasl_prompt: bytes = b"+ "
    lose_after_pass: bool = False
    hang_after_pass: bool = False
    close_after_pass: bool = False
    exclusive: bool = True
    lock_lingers_s: float | None = None
    lock_wording: str = "another session holds the maildrop"
    login_delay_s: int | None = None

    window: int | None = None
    hide_retrieved: bool = False
    empty_every: int | None = None
    stat_more: int = 0
    list_at_most: int | None = None
    number_twice: bool = False
    truncate_listing: bool = False
    silent_listing: bool = False
    uidls: Uidls = Uidls.AS_GIVEN
    sizes: Sizes = Sizes.TRUE

    close_on_retr: int | None = None
    close_after_retrs: int | None = None
    refuse_retr: frozenset[int] = frozenset()
    headers_change: bool = False
    dots_everywhere: bool = False
    stuffing: bool = True
    ending: Ending = Ending.PROPER

    refuse_dele: frozenset[int] = frozenset()
    keep_deleted: bool = False
    delete_retrieved: bool = False
    quit_reply: bool = True
