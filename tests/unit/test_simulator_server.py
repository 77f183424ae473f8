"""The simulator against an independent client, the standard library's poplib, and a raw socket where that is polite."""

from __future__ import annotations

import base64
import poplib
import re
import socket
import ssl
from collections.abc import Iterator

import pytest
import trustme

from ingest.simulator.maildrop import Maildrop
from ingest.simulator.server import Simulator

LONG = b"x" * 5_000
MESSAGES = (
    b"Subject: one\r\n\r\nhello\r\n",
    b"Subject: dots\r\n\r\n.\r\n..\r\n.three\r\nend\r\n.\r\n",
    b"Subject: long\r\n\r\n" + LONG + b"\r\nafter\r\n",
)


@pytest.fixture
def maildrop() -> Maildrop:
    return Maildrop(MESSAGES)


@pytest.fixture
def server(maildrop: Maildrop) -> Iterator[Simulator]:
    with Simulator({"ann": ("sesame", maildrop)}) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def client_context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def log_in(server: Simulator) -> poplib.POP3:
    client = poplib.POP3("127.0.0.1", server.port, timeout=10)
    client.user("ann")
    client.pass_("sesame")
    return client


def talk(server: Simulator, *segments: bytes) -> bytes:
    """Everything that the server says until it closes; each further segment is sent when the last was answered."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        said = sock.recv(65_536)
        for segment in segments:
            sock.sendall(segment)
            said += sock.recv(65_536)
        while data := sock.recv(65_536):
            said += data
    return said


def plain(authzid: str, name: str, password: str) -> bytes:
    return base64.b64encode(f"{authzid}\0{name}\0{password}".encode())


# Retrieving


def test_stat_list_and_uidl_agree_with_the_maildrop(server: Simulator, maildrop: Maildrop) -> None:
    client = log_in(server)
    assert client.stat() == (3, sum(map(len, MESSAGES)))
    assert client.list()[1] == [b"%d %d" % (n, len(raw)) for n, raw in enumerate(MESSAGES, 1)]
    assert client.uidl()[1] == [f"{n} {uidl}".encode() for n, uidl in enumerate(maildrop.uidls(), 1)]
    assert client.uidl(3) == f"+OK 3 {maildrop.uidls()[2]}".encode()
    client.quit()


def test_a_message_arrives_octet_by_octet_with_its_leading_dots(server: Simulator) -> None:
    client = log_in(server)
    _, lines, octets = client.retr(2)
    assert b"".join(line + b"\r\n" for line in lines) == MESSAGES[1]
    assert octets == len(MESSAGES[1])
    client.quit()


def test_a_line_of_thousands_of_octets_is_sent_as_it_is(server: Simulator) -> None:
    said = talk(server, b"USER ann\r\nPASS sesame\r\nRETR 3\r\nQUIT\r\n")
    assert b"+OK %d octets\r\n%s.\r\n+OK bye\r\n" % (len(MESSAGES[2]), MESSAGES[2]) in said


def test_a_dot_is_stuffed_on_the_wire(server: Simulator) -> None:
    said = talk(server, b"USER ann\r\nPASS sesame\r\nRETR 2\r\nQUIT\r\n")
    assert b"\r\n\r\n..\r\n...\r\n..three\r\nend\r\n..\r\n.\r\n" in said


def test_a_bare_line_feed_becomes_crlf_and_the_last_line_is_ended() -> None:
    drop = Maildrop([b"A: b\n\nx\r\ny\rz", b"", b".only"])
    assert [message.octets for message in drop.messages()] == [b"A: b\r\n\r\nx\r\ny\rz\r\n", b"", b".only\r\n"]


def test_a_message_without_octets_is_an_empty_reply() -> None:
    with Simulator({"ann": ("sesame", Maildrop([b""]))}) as server:
        client = log_in(server)
        assert client.stat() == (1, 0)
        assert client.retr(1)[1:] == ([], 0)
        client.quit()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [(0, [b"A: b", b""]), (1, [b"A: b", b"", b"one"]), (9, [b"A: b", b"", b"one", b".two"])],
)
def test_top_gives_the_header_and_so_many_lines(lines: int, expected: list[bytes]) -> None:
    with Simulator({"ann": ("sesame", Maildrop([b"A: b\r\n\r\none\r\n.two\r\n"]))}) as server:
        client = log_in(server)
        assert client.top(1, lines)[1] == expected
        client.quit()


@pytest.mark.parametrize(("raw", "expected"), [(b"A: b", [b"A: b"]), (b"\nbody", [b""]), (b"", [])])
def test_top_copes_with_a_message_that_lacks_header_or_body(raw: bytes, expected: list[bytes]) -> None:
    with Simulator({"ann": ("sesame", Maildrop([raw]))}) as server:
        client = log_in(server)
        assert client.top(1, 0)[1] == expected
        client.quit()


@pytest.mark.parametrize("command", ["RETR 0", "RETR 4", "RETR", "RETR -1", "LIST x", "UIDL 9", "DELE 4", "TOP 1"])
def test_a_number_that_is_not_there_is_refused(server: Simulator, command: str) -> None:
    said = talk(server, f"USER ann\r\nPASS sesame\r\n{command}\r\nNOOP\r\nQUIT\r\n".encode())
    assert re.search(rb"messages\r\n-ERR [^\r]+\r\n\+OK\r\n\+OK bye\r\n$", said)


def test_a_message_delivered_during_a_session_appears_in_the_next(server: Simulator, maildrop: Maildrop) -> None:
    client = log_in(server)
    maildrop.deliver(b"Subject: late\r\n\r\n")
    assert client.stat()[0] == 3
    client.quit()
    client = log_in(server)
    assert client.stat()[0] == 4
    client.quit()


# Deleting


def test_a_deletion_takes_effect_at_quit_and_not_before(server: Simulator, maildrop: Maildrop) -> None:
    first, second, third = maildrop.uidls()
    client = log_in(server)
    client.dele(2)
    assert len(maildrop) == 3
    client.quit()
    assert maildrop.uidls() == [first, third]
    assert server.log.deleted == {("ann", second): 1}


def test_a_dropped_connection_deletes_nothing(server: Simulator, maildrop: Maildrop) -> None:
    client = log_in(server)
    client.dele(1)
    client.close()
    assert server.wait_idle(10)
    assert len(maildrop) == 3
    assert server.log.deleted == {}


def test_rset_takes_the_marks_back(server: Simulator, maildrop: Maildrop) -> None:
    client = log_in(server)
    client.dele(1)
    client.rset()
    assert client.stat()[0] == 3
    client.quit()
    assert len(maildrop) == 3


def test_a_marked_message_is_gone_from_the_session_and_the_others_keep_their_numbers(server: Simulator) -> None:
    client = log_in(server)
    client.dele(1)
    assert client.stat() == (2, len(MESSAGES[1]) + len(MESSAGES[2]))
    assert [line.split()[0] for line in client.uidl()[1]] == [b"2", b"3"]
    for refused in (client.retr, client.list, client.uidl, client.dele):
        with pytest.raises(poplib.error_proto, match="no such message"):
            refused(1)
    with pytest.raises(poplib.error_proto, match="no such message"):
        client.top(1, 0)
    client.rset()
    client.quit()


# Logging in


def test_apop_logs_in(server: Simulator) -> None:
    client = poplib.POP3("127.0.0.1", server.port, timeout=10)
    assert client.apop("ann", "sesame") == b"+OK 3 messages"
    client.quit()


def test_every_greeting_has_a_timestamp_of_its_own(server: Simulator) -> None:
    assert talk(server, b"QUIT\r\n") != talk(server, b"QUIT\r\n")


@pytest.mark.parametrize("authzid", ["", "ann"])
def test_sasl_plain_logs_in_with_an_initial_response_or_in_two_steps(server: Simulator, authzid: str) -> None:
    token = plain(authzid, "ann", "sesame")
    assert b"+OK 3 messages" in talk(server, b"AUTH PLAIN " + token + b"\r\n", b"QUIT\r\n")
    assert b"\r\n+ \r\n+OK 3 messages" in talk(server, b"auth plain\r\n", token + b"\r\n", b"QUIT\r\n")


@pytest.mark.parametrize(
    "response", [b"*", b"not base64!", b"YW5u", plain("bob", "ann", "sesame"), plain("", "ann", "wrong")]
)
def test_sasl_plain_refuses_anything_else(server: Simulator, response: bytes) -> None:
    said = talk(server, b"AUTH PLAIN\r\n", response + b"\r\n", b"STAT\r\nQUIT\r\n")
    assert said.count(b"-ERR") == 2
    assert server.log.logins == 0


def test_a_sasl_response_keeps_to_lines_too(server: Simulator) -> None:
    said = talk(server, b"AUTH PLAIN\r\n", b"AGFubg==\n", b"QUIT\r\n")
    assert said.endswith(b"+ \r\n-ERR a line ends in CRLF\r\n+OK bye\r\n")
    assert talk(server, b"AUTH PLAIN\r\n", b"A" * 12_288).endswith(b"+ \r\n-ERR line too long\r\n")


@pytest.mark.parametrize(("name", "password"), [("ann", "wrong"), ("ann", ""), ("bob", "sesame"), ("bob", "\0")])
def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(server: Simulator, name: str, password: str) -> None:
    client = poplib.POP3("127.0.0.1", server.port, timeout=10)
    assert client.user(name) == b"+OK send PASS"
    with pytest.raises(poplib.error_proto, match=r"-ERR \[AUTH\] user name or password is wrong"):
        client.pass_(password)
    with pytest.raises(poplib.error_proto, match=r"-ERR \[AUTH\] user name or password is wrong"):
        client.apop(name, password)
    client.quit()
    assert server.log.refused_logins == 2


def test_the_third_wrong_password_ends_the_session(server: Simulator) -> None:
    said = talk(server, b"USER ann\r\nPASS a\r\n" * 4)
    assert said.count(b"-ERR [AUTH]") == 3
    assert said.endswith(b"is wrong\r\n")


def test_a_password_may_hold_spaces_and_umlauts() -> None:
    with Simulator({"jürgen": (" open  sesame ü ", Maildrop())}) as server:
        assert b"+OK 0 messages" in talk(server, "USER jürgen\r\nPASS  open  sesame ü \r\nQUIT\r\n".encode())


def test_user_counts_for_the_next_command_only(server: Simulator) -> None:
    assert b"-ERR USER comes first" in talk(server, b"USER ann\r\nCAPA\r\nPASS sesame\r\nQUIT\r\n")


@pytest.mark.parametrize("command", [b"STAT", b"LIST", b"RETR 1", b"NOOP", b"DELE 1"])
def test_nothing_can_be_read_before_the_login(server: Simulator, command: bytes) -> None:
    assert b"-ERR not in this state\r\n+OK bye" in talk(server, command + b"\r\nQUIT\r\n")


@pytest.mark.parametrize("command", [b"USER ann", b"PASS sesame", b"APOP ann 0", b"AUTH PLAIN", b"STLS"])
def test_nobody_logs_in_twice(server: Simulator, command: bytes) -> None:
    said = talk(server, b"USER ann\r\nPASS sesame\r\n" + command + b"\r\nQUIT\r\n")
    assert b"-ERR not in this state\r\n+OK bye" in said


def test_the_lock_keeps_a_second_session_out_until_the_first_ends(server: Simulator) -> None:
    first = log_in(server)
    second = poplib.POP3("127.0.0.1", server.port, timeout=10)
    second.user("ann")
    with pytest.raises(poplib.error_proto, match=r"-ERR \[IN-USE\]"):
        second.pass_("sesame")
    first.quit()
    second.user("ann")
    assert second.pass_("sesame") == b"+OK 3 messages"
    second.quit()


def test_a_dropped_connection_gives_the_lock_back(server: Simulator) -> None:
    log_in(server).close()
    assert server.wait_idle(10)
    log_in(server).quit()


# The wire


def test_pipelined_commands_in_one_segment_are_answered_in_order_and_in_one_flight(server: Simulator) -> None:
    said = talk(server, b"USER ann\r\nPASS sesame\r\nSTAT\r\nLIST 1\r\nNOOP\r\nQUIT\r\n")
    replies = said.split(b"\r\n")[1:]
    total = sum(map(len, MESSAGES))
    assert replies == [
        b"+OK send PASS",
        b"+OK 3 messages",
        b"+OK 3 %d" % total,
        b"+OK 1 %d" % len(MESSAGES[0]),
        b"+OK",
        b"+OK bye",
        b"",
    ]
    assert server.log.flights == 2


def test_capa_says_what_the_server_can_do(server: Simulator) -> None:
    client = poplib.POP3("127.0.0.1", server.port, timeout=10)
    capabilities = client.capa()
    assert set(capabilities) == {
        "USER", "TOP", "UIDL", "PIPELINING", "SASL", "RESP-CODES", "AUTH-RESP-CODE", "IMPLEMENTATION",
    }  # fmt: skip
    assert capabilities["SASL"] == ["PLAIN"]
    client.quit()


@pytest.mark.parametrize("command", [b"USER", b"CAPA all", b"APOP", b"AUTH", b"AUTH CRAM-MD5", b"STLS", b""])
def test_a_command_without_what_it_needs_is_refused(server: Simulator, command: bytes) -> None:
    assert re.search(rb"\r\n-ERR [^\r]+\r\n\+OK bye", talk(server, command + b"\r\nQUIT\r\n"))


def test_keywords_are_taken_in_any_case(server: Simulator) -> None:
    assert b"+OK 3 messages" in talk(server, b"user ann\r\npaSS sesame\r\nquit\r\n")


def test_a_command_that_nobody_knows_is_refused_and_the_session_goes_on(server: Simulator) -> None:
    assert b"-ERR unknown command\r\n+OK bye" in talk(server, b"XYZZY sesame\r\nQUIT\r\n")
    assert server.log.commands == {"?": 1, "QUIT": 1}


def test_a_bare_line_feed_ends_no_command(server: Simulator) -> None:
    assert b"-ERR a line ends in CRLF\r\n+OK bye" in talk(server, b"USER ann\nQUIT\r\n")


@pytest.mark.parametrize("line", [b"NOOP " + b"x" * 300 + b"\r\n", b"x" * 255])
def test_a_line_over_255_octets_ends_the_session(server: Simulator, line: bytes) -> None:
    assert talk(server, line).endswith(b"-ERR line too long\r\n")


def test_one_client_too_many_is_turned_away() -> None:
    with Simulator({}, max_connections=1) as server:
        first = poplib.POP3("127.0.0.1", server.port, timeout=10)
        assert talk(server) == b"-ERR [SYS/TEMP] too many connections\r\n"
        first.quit()
        assert server.wait_idle(10)
        poplib.POP3("127.0.0.1", server.port, timeout=10).quit()
        assert (server.log.sessions, server.log.turned_away) == (2, 1)


def test_a_silent_client_is_dropped() -> None:
    with Simulator({}, idle_timeout_s=0.05) as server:
        assert talk(server).startswith(b"+OK")


def test_stopping_ends_open_sessions_without_deleting(maildrop: Maildrop) -> None:
    server = Simulator({"ann": ("sesame", maildrop)})
    server.start()
    client = log_in(server)
    client.dele(1)
    server.stop()
    with pytest.raises((poplib.error_proto, OSError)):
        client.quit()
    client.close()
    assert len(maildrop) == 3


def test_the_port_is_free_again_after_stop(maildrop: Maildrop) -> None:
    with Simulator({"ann": ("sesame", maildrop)}) as first:
        port = first.port
        log_in(first).quit()
    with Simulator({"ann": ("sesame", maildrop)}, port=port) as second:
        assert second.port == port
        log_in(second).quit()


def test_the_log_counts_what_was_retrieved_and_keeps_no_password(server: Simulator, maildrop: Maildrop) -> None:
    client = log_in(server)
    client.retr(1)
    client.retr(1)
    client.quit()
    log = server.log
    assert log.retrieved == {("ann", maildrop.uidls()[0]): 2}
    assert (log.sessions, log.logins, log.commands["RETR"]) == (1, 1, 2)
    assert log.bytes_sent > 2 * len(MESSAGES[0])
    assert "sesame" not in repr(log)


# TLS


def test_implicit_tls_is_verified_and_works(
    maildrop: Maildrop, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    with Simulator({"ann": ("sesame", maildrop)}, tls=server_context, implicit_tls=True) as server:
        client = poplib.POP3_SSL("localhost", server.port, timeout=10, context=client_context)
        assert "STLS" not in client.capa()
        client.user("ann")
        client.pass_("sesame")
        assert client.retr(2)[2] == len(MESSAGES[1])
        client.quit()


def test_stls_is_offered_until_it_is_done_and_forgets_the_user(
    maildrop: Maildrop, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    with Simulator({"ann": ("sesame", maildrop)}, tls=server_context) as server:
        client = poplib.POP3("localhost", server.port, timeout=10)
        client.user("ann")
        client.stls(client_context)
        assert "STLS" not in client.capa()
        with pytest.raises(poplib.error_proto, match="USER comes first"):
            client.pass_("sesame")
        client.user("ann")
        client.pass_("sesame")
        client.quit()


def test_commands_sent_in_plaintext_behind_stls_are_thrown_away(
    maildrop: Maildrop, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    with (
        Simulator({"ann": ("sesame", maildrop)}, tls=server_context) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock,
    ):
        assert sock.recv(1_000).startswith(b"+OK")
        sock.sendall(b"STLS\r\nUSER ann\r\nPASS sesame\r\n")
        assert sock.recv(1_000) == b"+OK begin TLS\r\n"
        with client_context.wrap_socket(sock, server_hostname="localhost") as secure:
            secure.sendall(b"STAT\r\n")
            assert secure.recv(1_000) == b"-ERR not in this state\r\n"
    assert server.log.logins == 0


def test_a_client_that_does_not_trust_the_certificate_harms_nobody(
    maildrop: Maildrop, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    with Simulator({"ann": ("sesame", maildrop)}, tls=server_context, implicit_tls=True) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            poplib.POP3_SSL("localhost", server.port, timeout=10, context=ssl.create_default_context())
        poplib.POP3_SSL("localhost", server.port, timeout=10, context=client_context).quit()


def test_a_clean_end_says_so_in_tls(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    with (
        Simulator({}, tls=server_context, implicit_tls=True) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock,
        client_context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False) as secure,
    ):
        secure.recv(1_000)
        secure.sendall(b"QUIT\r\n")
        assert secure.recv(1_000) == b"+OK bye\r\n"
        assert secure.recv(1_000) == b""


def test_implicit_tls_needs_a_context() -> None:
    with pytest.raises(ValueError, match="certificate"):
        Simulator({}, implicit_tls=True)
