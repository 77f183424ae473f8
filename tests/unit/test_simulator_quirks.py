"""The knobs that make quirks and attacks, shown on the wire; scripts; what is remembered from session to session."""

from __future__ import annotations

import base64
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest

from ingest.simulator.acts import CLOSE, SILENCE, Act, Refuse, Repeat, Say
from ingest.simulator.authority import OTHER_NAME, Authority
from ingest.simulator.behaviour import Behaviour, Certificate, Ending, Handshake, Sizes, Uidls, Utf8
from ingest.simulator.maildrop import Maildrop
from ingest.simulator.server import Simulator

MESSAGES = tuple(b"Subject: %d\r\n\r\n.dot\r\n%s\r\n" % (n, b"body" * 10) for n in range(1, 5))
SIZE = len(MESSAGES[0])
LOGIN = b"USER ann\r\nPASS sesame\r\n"
WELCOME = b"+OK send PASS\r\n+OK 4 messages\r\n"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def simulator(behaviour: Behaviour, maildrop: Maildrop | None = None, clock: Clock | None = None) -> Simulator:
    users = {"ann": ("sesame", maildrop if maildrop is not None else Maildrop(MESSAGES))}
    return Simulator(users, behaviour=behaviour, clock=clock or Clock())


def hear(sock: socket.socket) -> bytes:
    """All that comes until the end of the stream."""
    said = b""
    while data := sock.recv(65_536):
        said += data
    return said


def talk(server: Simulator, segment: bytes) -> bytes:
    """All that a server says to one segment, up to our end of file; without the greeting. Its sessions have ended."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        said = sock.recv(65_536)
        sock.sendall(segment)
        sock.shutdown(socket.SHUT_WR)
        said += hear(sock)
    assert server.wait_idle(10)
    return said.partition(b"\r\n")[2]


def session(server: Simulator, *commands: bytes) -> bytes:
    """What it says behind a login."""
    return talk(server, LOGIN + b"".join(command + b"\r\n" for command in commands)).removeprefix(WELCOME)


def values(said: bytes) -> list[list[bytes]]:
    """What stands behind the numbers in each listing."""
    listings = said.split(b"+OK listing follows\r\n")[1:]
    return [[line.partition(b" ")[2] for line in each.split(b"\r\n.\r\n")[0].split(b"\r\n")] for each in listings]


# Scripts


@pytest.mark.parametrize(
    ("script", "commands", "said"),
    [
        ({"STAT": Refuse("no", "SYS/TEMP")}, [b"STAT", b"NOOP"], b"-ERR [SYS/TEMP] no\r\n+OK\r\n"),
        ({"NOOP": Say(b"what\r\n")}, [b"noop", b"RSET"], b"what\r\n+OK\r\n"),
        ({"DELE 2": Refuse("no")}, [b"DELE 1", b"DELE 2"], b"+OK marked\r\n-ERR no\r\n"),
        ({"STAT": Repeat(b"%d,", b"+OK ", b"\r\n", times=3, numbered=True)}, [b"STAT"], b"+OK 1,2,3,\r\n"),
        ({"STAT": CLOSE}, [b"NOOP", b"STAT", b"NOOP"], b"+OK\r\n"),
        ({"STAT": SILENCE}, [b"NOOP", b"STAT", b"NOOP"], b"+OK\r\n"),
        ({"USER": CLOSE, "LIST 9": CLOSE}, [], b""),
    ],
)
def test_a_script_goes_before_the_answer(script: dict[str, Act], commands: Sequence[bytes], said: bytes) -> None:
    with simulator(Behaviour(script=script)) as server:
        assert session(server, *commands) == said


def test_a_script_counts_only_where_the_command_is_allowed() -> None:
    with simulator(Behaviour(script={"STAT": CLOSE})) as server:
        assert talk(server, b"STAT\r\nQUIT\r\n") == b"-ERR not in this state\r\n+OK bye\r\n"


def test_a_scripted_login_meets_the_right_password_only() -> None:
    with simulator(Behaviour(script={"LOGIN": Refuse("full")})) as server:
        right, wrong = (base64.b64encode(b"\0ann\0" + word) for word in (b"sesame", b"no"))
        said = talk(server, LOGIN + b"AUTH PLAIN " + right + b"\r\nAUTH PLAIN " + wrong + b"\r\n")
        assert said == b"+OK send PASS\r\n-ERR full\r\n-ERR full\r\n-ERR [AUTH] user name or password is wrong\r\n"
        assert server.log.logins == 0


def test_a_scripted_greeting_may_refuse_and_ends_it() -> None:
    with (
        simulator(Behaviour(script={"GREETING": Refuse("later", "SYS/TEMP")})) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock,
    ):
        assert hear(sock) == b"-ERR [SYS/TEMP] later\r\n"


def test_what_has_no_end_ends_when_the_client_leaves_and_when_the_server_stops() -> None:
    endless = Behaviour(script={"GREETING": Repeat(b"x" * 100)})
    with simulator(endless) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
            assert len(sock.recv(1 << 20)) > 1000
        assert server.wait_idle(10)
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
            sock.recv(1)
            server.stop()


def test_what_is_paced_waits_before_each_piece() -> None:
    paced = Behaviour(script={"NOOP": Repeat(b".", b"+OK ", b"\r\n", times=5, paced=True)}, pace_s=0.02)
    with simulator(paced) as server:
        started = time.monotonic()
        assert session(server, b"NOOP") == b"+OK .....\r\n"
        assert time.monotonic() - started > 0.09


# The connection


def test_replies_may_leave_octet_by_octet_and_with_their_ends_split() -> None:
    whole = session_of(Behaviour())
    assert session_of(Behaviour(segment_bytes=1)) == whole
    assert session_of(Behaviour(split_ends=True)) == whole


def session_of(behaviour: Behaviour) -> bytes:
    with simulator(behaviour) as server:
        return session(server, b"LIST", b"RETR 1", b"QUIT")


def test_split_ends_arrive_in_segments_that_split_the_line_end() -> None:
    with (
        simulator(Behaviour(split_ends=True)) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock,
    ):
        sock.recv(65_536)
        sock.sendall(b"CAPA\r\n")
        segments = []
        while not b"".join(segments).endswith(b"\r\n.\r\n"):
            segments.append(sock.recv(65_536))
    assert len(segments) > 1


def test_a_session_has_its_time_whatever_is_under_way() -> None:
    for script in ({}, {"NOOP": SILENCE}, {"NOOP": Repeat(b"x", paced=True)}):
        with (
            simulator(Behaviour(session_s=0.2, script=script)) as server,
            socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock,
        ):
            sock.sendall(LOGIN + b"NOOP\r\n")
            hear(sock)
            assert server.wait_idle(10)


def test_so_many_unknown_commands_and_no_more() -> None:
    with simulator(Behaviour(capa=False, most_bad_commands=2)) as server:
        said = talk(server, b"CAPA\r\nSTAT\r\nXYZZY\r\nQUIT\r\n")
    assert said == b"-ERR unknown command\r\n-ERR not in this state\r\n-ERR unknown command\r\n"


# Capabilities, TLS, login


def test_capa_may_come_behind_the_login_alone() -> None:
    with simulator(Behaviour(capa_before_login=False)) as server:
        assert talk(server, b"CAPA\r\n") == b"-ERR unknown command\r\n"
        assert b"UIDL\r\n" in session(server, b"CAPA")


def test_uidl_may_be_announced_behind_the_login_alone() -> None:
    with simulator(Behaviour(uidl_announced_before_login=False)) as server:
        assert b"UIDL" not in talk(server, b"CAPA\r\n")
        assert b"UIDL\r\n" in session(server, b"CAPA")


@pytest.mark.parametrize(
    ("utf8", "reply", "octets"),
    [
        (Utf8.NONE, b"-ERR unknown command\r\n", b"\xc3\xbc"),
        (Utf8.OFFERED, b"+OK UTF-8 from here on\r\n", b"\xc3\xbc"),
        (Utf8.REFUSED, b"-ERR not today\r\n", b"\xc3\xbc"),
        (Utf8.NEEDED, b"+OK UTF-8 from here on\r\n", b"\xc3\xbc"),
    ],
)
def test_utf8_before_the_login(utf8: Utf8, reply: bytes, octets: bytes) -> None:
    with simulator(Behaviour(utf8=utf8), Maildrop(["ü\r\n".encode()])) as server:
        said = talk(server, b"UTF8\r\n" + LOGIN + b"RETR 1\r\n")
        assert said.startswith(reply)
        assert octets in said
        assert (b"UTF8\r\n" in talk(server, b"CAPA\r\n")) == (utf8 is not Utf8.NONE)
        assert (b"??" in talk(server, LOGIN + b"RETR 1\r\n")) == (utf8 is Utf8.NEEDED)


def test_the_prompt_of_sasl_is_what_was_given() -> None:
    response = base64.b64encode(b"\0ann\0sesame")
    with simulator(Behaviour(sasl_prompt=b"+OK")) as server:
        assert talk(server, b"AUTH PLAIN\r\n" + response + b"\r\n") == b"+OK\r\n+OK 4 messages\r\n"


@pytest.mark.parametrize(
    ("behaviour", "hasty"),
    [
        (Behaviour(hang_after_pass=True), b"+OK send PASS\r\n+OK wait\r\n"),
        (Behaviour(close_after_pass=True), b"+OK send PASS\r\n"),
    ],
)
def test_haste_behind_pass_ends_a_session_and_gives_the_lock_back(behaviour: Behaviour, hasty: bytes) -> None:
    with simulator(behaviour) as server:
        assert talk(server, LOGIN + b"NOOP\r\n") == hasty
        assert talk(server, LOGIN) == WELCOME


def test_a_lock_lingers_as_long_as_it_is_told_and_says_what_it_is_told() -> None:
    clock = Clock()
    with simulator(Behaviour(lock_lingers_s=60, lock_wording="busy here"), clock=clock) as server:
        assert talk(server, LOGIN) == WELCOME
        clock.now += 59
        assert talk(server, LOGIN).endswith(b"-ERR [IN-USE] busy here\r\n")
        clock.now += 1
        assert talk(server, LOGIN) == WELCOME


@contextmanager
def encrypted(behaviour: Behaviour, *, implicit: bool = True):  # noqa: ANN201 - a server and an authority
    authority = Authority()
    users = {"ann": ("sesame", Maildrop(MESSAGES))}
    with Simulator(users, behaviour=behaviour, tls=authority, implicit_tls=implicit) as server:
        yield server, authority


@pytest.mark.parametrize(
    ("certificate", "complaint"),
    [
        (Certificate.EXPIRED, "expired"),
        (Certificate.OTHER_NAME, "mismatch"),
        (Certificate.UNKNOWN_ISSUER, "unable to get local issuer|self-signed|signature failure"),
    ],
)
def test_a_certificate_is_wrong_in_the_way_it_should_be(certificate: Certificate, complaint: str) -> None:
    with encrypted(Behaviour(certificate=certificate)) as (server, authority):
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock,
            pytest.raises(ssl.SSLCertVerificationError, match=complaint),
        ):
            authority.client_context().wrap_socket(sock, server_hostname="localhost")
        server.behaviour = Behaviour()
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
            shaken = authority.client_context().wrap_socket(sock, server_hostname="127.0.0.1")
            assert shaken.recv(3) == b"+OK"
            shaken.close()


def test_a_certificate_of_another_name_is_good_for_that_name() -> None:
    with (
        encrypted(Behaviour(certificate=Certificate.OTHER_NAME)) as (server, authority),
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock,
        authority.client_context().wrap_socket(sock, server_hostname=OTHER_NAME) as shaken,
    ):
        assert shaken.recv(3) == b"+OK"


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("handshake", [Handshake.HANGS, Handshake.PLAINTEXT])
def test_tls_may_never_come(handshake: Handshake, implicit: bool) -> None:
    with (
        encrypted(Behaviour(handshake=handshake), implicit=implicit) as (server, authority),
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock,
    ):
        if not implicit:
            sock.recv(65_536)
            sock.sendall(b"STLS\r\n")
            assert sock.recv(65_536) == b"+OK begin TLS\r\n"
        sock.settimeout(0.3 if handshake is Handshake.HANGS else 10)
        with pytest.raises(TimeoutError if handshake is Handshake.HANGS else ssl.SSLError):
            authority.client_context().wrap_socket(sock, server_hostname="localhost")


def test_stls_may_be_missing_and_may_have_something_behind_it() -> None:
    with encrypted(Behaviour(stls=False), implicit=False) as (server, _):
        assert b"STLS" not in talk(server, b"CAPA\r\n")
        assert talk(server, b"STLS\r\n") == b"-ERR no STLS here\r\n"
        server.behaviour = Behaviour(behind_stls=b"+OK injected\r\n")
        assert talk(server, b"STLS\r\n").startswith(b"+OK begin TLS\r\n+OK injected\r\n")


# Listings


def test_windows_show_the_oldest_and_where_they_hide_the_next_ones() -> None:
    maildrop = Maildrop(MESSAGES)
    first, second, third, fourth = (uidl.encode() for uidl in maildrop.uidls())
    with simulator(Behaviour(window=2, hide_retrieved=True), maildrop) as server:
        assert b"+OK 2 " in talk(server, LOGIN + b"STAT\r\nRETR 1\r\n").partition(b"messages")[2]
        assert values(talk(server, LOGIN + b"UIDL\r\nRETR 1\r\nQUIT\r\n")) == [[first, second]]
        assert values(talk(server, LOGIN + b"UIDL\r\nRETR 1\r\nRETR 2\r\nQUIT\r\n")) == [[second, third]]
        assert values(talk(server, LOGIN + b"UIDL\r\nQUIT\r\n")) == [[fourth]]
        server.behaviour = Behaviour()
        assert values(talk(server, LOGIN + b"UIDL\r\nQUIT\r\n")) == [[first, second, third, fourth]]


def test_each_second_session_may_be_empty() -> None:
    with simulator(Behaviour(empty_every=2)) as server:
        counts = [talk(server, LOGIN).split(b"+OK ")[-1][:1] for _ in range(4)]
    assert counts == [b"4", b"0", b"4", b"0"]


@pytest.mark.parametrize(
    ("sizes", "listed"),
    [
        (Sizes.TRUE, [SIZE, SIZE]),
        (Sizes.SMALLER, [SIZE // 2] * 2),
        (Sizes.LARGER, [2 * SIZE + 13] * 2),
        (Sizes.ZERO, [0, 0]),
        (Sizes.HUGE, [SIZE + (1 << 30)] * 2),
        (Sizes.CHANGING, [SIZE + 13, SIZE + 26]),
    ],
)
def test_list_may_lie_about_sizes(sizes: Sizes, listed: list[int]) -> None:
    with simulator(Behaviour(sizes=sizes)) as server:
        assert [int(listing[0]) for listing in values(session(server, b"LIST", b"LIST"))] == listed


def test_uidls_may_be_anything() -> None:
    maildrop = Maildrop(MESSAGES)
    given = [uidl.encode() for uidl in maildrop.uidls()]

    def listed(uidls: Uidls) -> list[list[bytes]]:
        server.behaviour = replace(server.behaviour, uidls=uidls)
        return values(session(server, b"UIDL", b"UIDL"))

    with simulator(Behaviour(), maildrop) as server:
        assert listed(Uidls.AS_GIVEN) == [given, given]
        assert listed(Uidls.ABSENT)[0] == [b""] * 4
        assert listed(Uidls.SPACED)[0] == [b"   " + uidl for uidl in given]
        assert {len(uidl) for uidl in listed(Uidls.LONG)[0]} == {300}
        assert all(b"\0" in uidl and uidl.isascii() is False for uidl in listed(Uidls.EIGHT_BIT)[0])
        assert listed(Uidls.TWINS)[0] == [given[0], given[0], given[2], given[2]]
        assert listed(Uidls.SHIFTING) == [given, [*given[1:], given[0]]]
        assert listed(Uidls.ANEW)[0] != listed(Uidls.ANEW)[0]


def test_stat_may_count_more_and_a_number_may_come_twice() -> None:
    with simulator(Behaviour(stat_more=2, number_twice=True)) as server:
        said = session(server, b"STAT", b"LIST")
    assert said.startswith(b"+OK 6 ")
    assert [line[:1] for line in said.split(b"\r\n")[2:6]] == [b"1", b"1", b"3", b"4"]


def test_a_listing_may_fall_silent_half_way() -> None:
    with simulator(Behaviour(silent_listing=True)) as server:
        said = session(server, b"LIST", b"NOOP")
    assert said.count(b"\r\n") == 3
    assert b"\r\n.\r\n" not in said


# Messages


def test_a_message_may_end_as_it_should_not() -> None:
    with simulator(Behaviour(ending=Ending.NO_CRLF)) as server:
        assert session(server, b"RETR 1").endswith(b"bodybody.\r\n")
        server.behaviour = Behaviour(ending=Ending.BARE_LF)
        assert session(server, b"RETR 1").endswith(b"\n\n..dot\n" + b"body" * 10 + b"\n.\r\n")
        server.behaviour = Behaviour(stuffing=False)
        assert b"\r\n.dot\r\n" in session(server, b"RETR 1")
        server.behaviour = Behaviour(dots_everywhere=True)
        assert session(server, b"RETR 1").endswith(b"\r\n\r\n...dot\r\n.." + b"body" * 10 + b"\r\n.\r\n")


def test_headers_may_change_from_session_to_session_and_retr_says_the_true_size() -> None:
    with simulator(Behaviour(headers_change=True)) as server:
        one, two = (session(server, b"RETR 1") for _ in range(2))
    assert (b"Status: O\r\n" in one, b"Status: RO\r\n" in two) == (True, True)
    text, _, octets = two.removesuffix(b".\r\n").partition(b"\r\n")
    assert text == b"+OK %d octets" % (len(octets) - 1)  # a dot is stuffed


def test_the_line_may_break_behind_so_many_messages() -> None:
    with simulator(Behaviour(close_after_retrs=2)) as server:
        assert session(server, b"RETR 1", b"RETR 1", b"RETR 2", b"RETR 3").count(b" octets") == 3
