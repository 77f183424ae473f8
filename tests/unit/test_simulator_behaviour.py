"""Each knob of the simulator, shown on the wire."""

from __future__ import annotations

import poplib
import socket
import threading
from dataclasses import replace

import pytest

from ingest.simulator.behaviour import Behaviour
from ingest.simulator.maildrop import Maildrop
from ingest.simulator.server import Simulator

MESSAGES = tuple(b"Subject: %d\r\n\r\n%s\r\n" % (n, b"body" * 10) for n in range(1, 5))
LOGIN = b"USER ann\r\nPASS sesame\r\n"


def simulator(behaviour: Behaviour, maildrop: Maildrop | None = None, clock: list[float] | None = None) -> Simulator:
    users = {"ann": ("sesame", Maildrop(MESSAGES) if maildrop is None else maildrop)}
    if clock is None:
        return Simulator(users, behaviour=behaviour)
    return Simulator(users, behaviour=behaviour, clock=lambda: clock[0])


def talk(server: Simulator, segment: bytes) -> bytes:
    """All that the server says to one segment, up to our end of file; without the greeting."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        said = sock.recv(65_536)
        sock.sendall(segment)
        sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(65_536):
            said += data
    return said.partition(b"\r\n")[2]


def capabilities(server: Simulator) -> set[bytes]:
    return set(talk(server, b"CAPA\r\nQUIT\r\n").split(b"\r\n"))


def test_the_greeting_is_what_was_given() -> None:
    with simulator(Behaviour(greeting="hello there", apop=False)) as server:
        client = poplib.POP3("127.0.0.1", server.port, timeout=10)
        assert client.getwelcome() == b"+OK hello there"
        client.quit()


def test_without_pipelining_what_comes_behind_a_command_is_lost() -> None:
    with simulator(Behaviour(pipelining=False)) as server:
        assert b"PIPELINING" not in capabilities(server)
        assert talk(server, LOGIN + b"STAT\r\nQUIT\r\n") == b"+OK send PASS\r\n"


@pytest.mark.parametrize(
    ("behaviour", "command", "name"),
    [
        (Behaviour(uidl=False), b"UIDL", b"UIDL"),
        (Behaviour(top=False), b"TOP 1 0", b"TOP"),
    ],
)
def test_a_command_that_is_not_offered_is_neither_announced_nor_served(
    behaviour: Behaviour, command: bytes, name: bytes
) -> None:
    with simulator(behaviour) as server:
        assert name not in capabilities(server)
        assert b"-ERR unknown command\r\n+OK bye" in talk(server, LOGIN + command + b"\r\nQUIT\r\n")


def test_without_capa_the_command_is_refused() -> None:
    with simulator(Behaviour(capa=False)) as server:
        assert talk(server, b"CAPA\r\nQUIT\r\n") == b"-ERR unknown command\r\n+OK bye\r\n"


def test_without_apop_there_is_no_timestamp_and_no_apop() -> None:
    with simulator(Behaviour(apop=False)) as server:
        client = poplib.POP3("127.0.0.1", server.port, timeout=10)
        assert b"<" not in client.getwelcome()
        client.quit()
        assert b"-ERR no APOP here" in talk(server, b"APOP ann 0\r\nQUIT\r\n")


def test_without_sasl_auth_is_refused() -> None:
    with simulator(Behaviour(sasl_plain=False)) as server:
        assert b"SASL PLAIN" not in capabilities(server)
        assert b"-ERR no such mechanism" in talk(server, b"AUTH PLAIN AGFubgBzZXNhbWU=\r\nQUIT\r\n")


def test_without_response_codes_errors_come_in_words_alone() -> None:
    with simulator(Behaviour(respond_codes=False)) as server:
        assert not {b"RESP-CODES", b"AUTH-RESP-CODE"} & capabilities(server)
        assert b"-ERR user name or password is wrong" in talk(server, b"USER ann\r\nPASS no\r\nQUIT\r\n")


def test_a_server_that_does_not_answer_quit_deletes_all_the_same() -> None:
    maildrop = Maildrop(MESSAGES)
    with simulator(Behaviour(quit_reply=False), maildrop) as server:
        assert talk(server, LOGIN + b"DELE 1\r\nQUIT\r\n").endswith(b"+OK marked\r\n")
    assert len(maildrop) == 3


def test_a_maildrop_that_is_not_exclusive_lets_two_sessions_in() -> None:
    maildrop = Maildrop(MESSAGES)
    with simulator(Behaviour(exclusive=False), maildrop) as server:
        clients = [poplib.POP3("127.0.0.1", server.port, timeout=10) for _ in range(2)]
        for client in clients:
            client.user("ann")
            client.pass_("sesame")
            client.dele(1)
        for client in clients:
            client.quit()
    assert len(maildrop) == 3


def test_a_login_before_the_delay_is_over_is_refused_and_one_after_it_is_not() -> None:
    clock = [100.0]
    with simulator(Behaviour(login_delay_s=60), clock=clock) as server:
        assert b"LOGIN-DELAY 60" in capabilities(server)
        assert b"+OK 4 messages" in talk(server, LOGIN + b"QUIT\r\n")
        clock[0] += 59
        assert b"-ERR [LOGIN-DELAY] too soon" in talk(server, LOGIN + b"QUIT\r\n")
        clock[0] += 1
        assert b"+OK 4 messages" in talk(server, LOGIN + b"QUIT\r\n")


def test_expire_0_deletes_at_quit_what_was_retrieved() -> None:
    maildrop = Maildrop(MESSAGES)
    _, second, third, fourth = maildrop.uidls()
    with simulator(Behaviour(delete_retrieved=True), maildrop) as server:
        assert b"EXPIRE 0" in capabilities(server)
        talk(server, LOGIN + b"RETR 1\r\nTOP 2 0\r\n")
        assert server.wait_idle(10)
        assert len(maildrop) == 4
        talk(server, LOGIN + b"RETR 1\r\nTOP 2 0\r\nQUIT\r\n")
    assert maildrop.uidls() == [second, third, fourth]


def test_a_message_that_may_not_be_deleted_stays() -> None:
    maildrop = Maildrop(MESSAGES)
    first, *_ = maildrop.uidls()
    with simulator(Behaviour(refuse_dele=frozenset({1})), maildrop) as server:
        assert b"-ERR this message can't be deleted" in talk(
            server, LOGIN + b"DELE 1\r\nDELE 2\r\nDELE 3\r\nDELE 4\r\nQUIT\r\n"
        )
    assert maildrop.uidls() == [first]


def test_a_server_may_confirm_what_it_does_not_do() -> None:
    maildrop = Maildrop(MESSAGES)
    with simulator(Behaviour(keep_deleted=True), maildrop) as server:
        assert b"-ERR" not in talk(server, LOGIN + b"DELE 1\r\nQUIT\r\n")
    assert len(maildrop) == 4


def test_latency_comes_once_a_flight_and_before_its_first_octet(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float | None] = []

    class Noted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            return False

    server = simulator(Behaviour(latency_s=7.0))
    monkeypatch.setattr(server, "_stopping", Noted())
    with server:
        talk(server, LOGIN + b"LIST\r\nRETR 1\r\nQUIT\r\n")
        assert waits == [7.0, 7.0]
        assert server.log.flights == 2


def test_stopping_does_not_wait_for_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Event()

    class Noted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waiting.set()
            return super().wait(timeout)

    server = simulator(Behaviour(latency_s=3_600.0))
    monkeypatch.setattr(server, "_stopping", Noted())
    with server, socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        assert waiting.wait(10)
        server.stop()
        assert sock.recv(1) == b""


def test_what_was_sent_behind_the_login_in_its_segment_is_lost() -> None:
    with simulator(Behaviour(lose_after_pass=True)) as server:
        assert b"PIPELINING" in capabilities(server)
        assert talk(server, LOGIN + b"STAT\r\nQUIT\r\n") == b"+OK send PASS\r\n+OK 4 messages\r\n"
        client = poplib.POP3("127.0.0.1", server.port, timeout=10)
        client.user("ann")
        client.pass_("sesame")
        assert client.stat()[0] == 4
        client.quit()


def test_the_connection_breaks_off_after_so_many_octets_and_nothing_is_deleted() -> None:
    maildrop = Maildrop(MESSAGES)
    with simulator(Behaviour(greeting="x", apop=False, drop_after_bytes=20), maildrop) as server:
        assert talk(server, LOGIN + b"DELE 1\r\nRETR 2\r\nQUIT\r\n") == b"+OK send PASS"
        assert server.wait_idle(10)
        assert server.log.bytes_sent == 20
    assert len(maildrop) == 4


def test_the_connection_breaks_off_in_the_middle_of_one_message() -> None:
    maildrop = Maildrop(MESSAGES)
    with simulator(Behaviour(close_on_retr=2), maildrop) as server:
        said = talk(server, LOGIN + b"DELE 3\r\nRETR 1\r\nRETR 2\r\nRETR 4\r\nQUIT\r\n")
        assert MESSAGES[0] in said
        assert said.endswith(MESSAGES[1][: len(MESSAGES[1]) // 2])
        assert server.wait_idle(10)
        assert list(server.log.retrieved) == [("ann", maildrop.uidls()[0])]
    assert len(maildrop) == 4


@pytest.mark.parametrize("command", [b"LIST", b"UIDL"])
def test_a_truncated_listing_has_half_its_lines_and_no_dot(command: bytes) -> None:
    with simulator(Behaviour(truncate_listing=True)) as server:
        said = talk(server, LOGIN + command + b"\r\nQUIT\r\n")
        lines = said.partition(b"+OK listing follows\r\n")[2].splitlines()
        assert [line.split()[0] for line in lines] == [b"1", b"2"]


def test_a_listing_can_end_properly_before_the_count_that_stat_gave() -> None:
    with simulator(Behaviour(list_at_most=3)) as server:
        client = poplib.POP3("127.0.0.1", server.port, timeout=10)
        client.user("ann")
        client.pass_("sesame")
        assert client.stat()[0] == 4
        assert len(client.uidl()[1]) == len(client.list()[1]) == 3
        client.quit()


def test_a_message_can_be_listed_and_not_be_had() -> None:
    with simulator(Behaviour(refuse_retr=frozenset({2}))) as server:
        client = poplib.POP3("127.0.0.1", server.port, timeout=10)
        client.user("ann")
        client.pass_("sesame")
        assert len(client.list()[1]) == 4
        with pytest.raises(poplib.error_proto, match="can't be read"):
            client.retr(2)
        assert client.retr(3)[2] == len(MESSAGES[2])
        client.quit()


def test_a_behaviour_may_change_between_sessions() -> None:
    with simulator(Behaviour()) as server:
        assert b"UIDL" in capabilities(server)
        server.behaviour = replace(server.behaviour, uidl=False)
        assert b"UIDL" not in capabilities(server)


def test_a_uidl_is_taken_as_given_even_twice_but_not_with_a_line_end() -> None:
    maildrop = Maildrop()
    assert [maildrop.deliver(b"a", "same"), maildrop.deliver(b"b", "same")] == ["same", "same"]
    with simulator(Behaviour(), maildrop) as server:
        assert b"1 same\r\n2 same\r\n.\r\n" in talk(server, LOGIN + b"UIDL\r\nDELE 1\r\nQUIT\r\n")
    assert [message.octets for message in maildrop.messages()] == [b"b\r\n"]
    for wrong in ("", "a\r\nb", "\u2713"):
        with pytest.raises(ValueError, match="UIDL"):
            maildrop.deliver(b"", wrong)


def test_uidls_made_up_depend_on_order_and_content_alone() -> None:
    assert Maildrop(MESSAGES).uidls() == Maildrop(MESSAGES).uidls()
    twins = Maildrop([b"same", b"same"]).uidls()
    assert twins[0] != twins[1]
