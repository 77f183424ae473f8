"""Named behaviours that a client should work with all the same.

Rules of this room:
- In the order of a session. One line each of what the server does; why it matters stands in docs/simulator.md.
"""

from __future__ import annotations

from ingest.simulator.acts import Refuse, Say
from ingest.simulator.behaviour import Behaviour, Sizes, Uidls, Utf8
from ingest.simulator.behaviours import SKIPPED, Named

_BROKEN_CAPA = (
    b"+OK\r\n"
    b"\xff\xfe\x00 what\r\n"
    b"\r\n"
    b"   \r\n"
    b"SASL\r\n"
    b"SASL \r\n"
    b"UIDL UIDL UIDL\r\n"
    b"LOGIN-DELAY soon USER\r\n"
    b"EXPIRE\r\n"
    b"EXPIRE -1\r\n"
    b"top\t\r\n"
    b"IMPLEMENTATION \x1b[31m\r\n"
    b".\r\n"
)

QUIRKS = (
    Named("plain", "a well-behaved server", Behaviour()),
    # The greeting and CAPA
    Named("greeting-bare", "the greeting is +OK and nothing else", Behaviour(greeting="", apop=False)),
    Named("capa-none", "knows no CAPA", Behaviour(capa=False, sasl_plain=False, apop=False)),
    Named(
        "capa-none-counts",
        "knows no CAPA, and drops the line at the third command that it does not know",
        Behaviour(capa=False, sasl_plain=False, apop=False, most_bad_commands=3),
    ),
    Named("capa-broken", "the lines of CAPA make no sense", Behaviour(script={"CAPA": Say(_BROKEN_CAPA)})),
    Named("capa-after-login", "knows CAPA behind the login only", Behaviour(capa_before_login=False)),
    Named(
        "uidl-announced-after-login",
        "announces UIDL behind the login only",
        Behaviour(uidl_announced_before_login=False),
    ),
    Named("uidl-none", "knows no UIDL", Behaviour(uidl=False)),
    Named("top-none", "knows no TOP", Behaviour(top=False)),
    Named("uidl-none-top-none", "knows neither UIDL nor TOP", Behaviour(uidl=False, top=False)),
    Named("noop-none", "knows no NOOP", Behaviour(script={"NOOP": Refuse("unknown command")})),
    Named("utf8-refused", "announces UTF8, and refuses it", Behaviour(utf8=Utf8.REFUSED)),
    Named("utf8-needed", "hands over question marks without UTF8", Behaviour(utf8=Utf8.NEEDED)),
    # The login
    Named("pipelining-none", "announces no PIPELINING, and loses what comes early", Behaviour(pipelining=False)),
    Named(
        "pass-loses-pipelined",
        "announces PIPELINING, and loses what came behind PASS in its segment",
        Behaviour(lose_after_pass=True, sasl_plain=False),
    ),
    Named(
        "pass-loses-pipelined-unannounced",
        "announces no PIPELINING, and loses what came behind PASS in its segment",
        Behaviour(lose_after_pass=True, sasl_plain=False, pipelining=False),
    ),
    Named(
        "pass-hangs-pipelined",
        "announces PIPELINING, and never answers again where something came behind PASS in its segment",
        Behaviour(hang_after_pass=True, sasl_plain=False),
    ),
    Named(
        "pass-drops-pipelined",
        "announces PIPELINING, and drops the line where something came behind PASS in its segment",
        Behaviour(close_after_pass=True, sasl_plain=False),
    ),
    Named("sasl-ok-for-plus", "asks for a SASL response with +OK in the place of +", Behaviour(sasl_prompt=b"+OK")),
    Named("expire-0", "announces EXPIRE 0: QUIT removes what was retrieved", Behaviour(delete_retrieved=True)),
    # Listings
    Named("stat-differs", "STAT counts a message more than the listings show", Behaviour(stat_more=1)),
    Named("window-listing", "UIDL and LIST show 2 messages at most, STAT counts all", Behaviour(list_at_most=2)),
    Named("window", "a session shows the 2 oldest messages, and knows of no other", Behaviour(window=2)),
    Named(
        "window-hides",
        "a session shows 2 messages; RETR and QUIT hide them, as at Gmail, and show the next ones",
        Behaviour(window=2, hide_retrieved=True),
    ),
    Named("empty-at-times", "each second session shows an empty maildrop", Behaviour(empty_every=2)),
    Named("uidl-spaces", "several spaces before each UIDL", Behaviour(uidls=Uidls.SPACED)),
    Named("uidl-absent", "UIDL gives the numbers alone", Behaviour(uidls=Uidls.ABSENT)),
    Named("uidl-long", "UIDLs of 300 octets", Behaviour(uidls=Uidls.LONG)),
    Named("uidl-8bit", "UIDLs with octets that RFC 1939 forbids", Behaviour(uidls=Uidls.EIGHT_BIT)),
    Named("uidl-twins", "each two messages share a UIDL", Behaviour(uidls=Uidls.TWINS)),
    Named("uidl-anew", "makes up other UIDLs in each session", Behaviour(uidls=Uidls.ANEW)),
    Named("list-smaller", "LIST gives half of the octets", Behaviour(sizes=Sizes.SMALLER)),
    Named("list-larger", "LIST gives twice the octets", Behaviour(sizes=Sizes.LARGER)),
    Named("list-zero", "LIST gives no octets", Behaviour(sizes=Sizes.ZERO)),
    Named("list-changes", "LIST gives other sizes each time", Behaviour(sizes=Sizes.CHANGING)),
    Named("list-huge", "LIST gives a gigabyte more than there is", Behaviour(sizes=Sizes.HUGE), SKIPPED),
    # Messages
    Named("retr-refused", "lists a message and does not hand it over", Behaviour(refuse_retr=frozenset({2}))),
    Named(
        "headers-change",
        "other UIDLs, Status and X-UIDL headers in each session",
        Behaviour(headers_change=True, uidls=Uidls.ANEW),
    ),
    Named("dots-everywhere", "each line of a body begins with a dot", Behaviour(dots_everywhere=True)),
    Named("segments-of-one", "replies leave octet by octet", Behaviour(segment_bytes=1)),
    Named("segments-split-end", "replies leave in segments that split CRLF.CRLF", Behaviour(split_ends=True)),
    # Deleting and leaving
    Named("dele-refused", "refuses DELE", Behaviour(script={"DELE": Refuse("not in my house")})),
    Named("dele-ignored", "confirms DELE and QUIT, and deletes nothing", Behaviour(keep_deleted=True)),
    Named("quit-silent", "closes at QUIT without a word", Behaviour(quit_reply=False)),
)
