"""How a simulated server behaves: knobs, each one seen in the field.

Rules of this room:
- Values only. The defaults are a well-behaved server with every capability that this one implements.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Knobs of a simulated server.

    Attributes:
        greeting: text behind the greeting's +OK; with `apop` a timestamp follows it.
        pipelining: False announces none, and loses what came behind a command in the same segment.
        capa: False refuses CAPA, as servers older than RFC 2449 do.
        uidl: False refuses UIDL.
        top: False refuses TOP.
        apop: False sends no timestamp and refuses APOP.
        sasl_plain: False announces no SASL and refuses AUTH.
        respond_codes: False sends no [IN-USE], [AUTH] or other response code (RFC 2449, 3206).
        quit_reply: False closes at QUIT without a word; the deletions happen all the same.
        exclusive: False lets several sessions into one maildrop.
        login_delay_s: announced, and kept: a login sooner than this after the user's last one is refused.
        delete_retrieved: announces EXPIRE 0: QUIT removes whatever was retrieved (RFC 2449, 6.7).
        latency_s: wait before the first octet of each reply flight, the greeting's too. Stands for a whole round trip
            where the client waits for replies; a command that arrives during the wait waits anew.
        lose_after_pass: what came behind a login in the same segment is lost, as where another process takes over.
        drop_after_bytes: the connection breaks off after so many octets of replies.
        close_on_retr: number of the message in whose middle the connection breaks off.
        truncate_listing: UIDL and LIST break off half way, and the connection with them.
        list_at_most: UIDL and LIST end, properly, after so many messages; STAT counts all.
        refuse_retr: numbers of the messages that are listed and not handed over.
        refuse_dele: numbers of the messages that are not deleted, and said not to be.
        keep_deleted: DELE and QUIT are confirmed, and nothing is deleted.
    """

    greeting: str = "Mailsluice simulator ready"
    pipelining: bool = True
    capa: bool = True
    uidl: bool = True
    top: bool = True
    apop: bool = True
    sasl_plain: bool = True
    respond_codes: bool = True
    quit_reply: bool = True
    exclusive: bool = True
    login_delay_s: int | None = None
    delete_retrieved: bool = False
    latency_s: float = 0.0
    lose_after_pass: bool = False
    drop_after_bytes: int | None = None
    close_on_retr: int | None = None
    truncate_listing: bool = False
    list_at_most: int | None = None
    refuse_retr: frozenset[int] = frozenset()
    refuse_dele: frozenset[int] = frozenset()
    keep_deleted: bool = False
