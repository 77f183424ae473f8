from __future__ import annotations

import pytest

from ingest.errors import ConnectionLost, ProtocolError
from ingest.pop3.connection import (
    BARRIERS,
    TABLE,
    Challenge,
    Command,
    Connection,
    Data,
    End,
    Event,
    Greeting,
    IllegalCommand,
    Reply,
    State,
)
from ingest.pop3.replies import Cleaner


def connection_in(state: State) -> Connection:
    connection = Connection(status_line_bytes=4096, clean=Cleaner())
    connection.state = state
    return connection


def events(connection: Connection, data: bytes) -> list[Event]:
    connection.receive(data)
    found: list[Event] = []
    while (event := connection.next_event()) is not None:
        # a chunk is lent until the next event
        found.append(Data(memoryview(bytes(event.chunk))) if isinstance(event, Data) else event)
    return found


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("command", Command)
def test_a_command_is_sent_only_where_the_table_has_it(state: State, command: Command) -> None:
    connection = connection_in(state)
    if command in TABLE[state]:
        assert connection.send(command) == command.value + b"\r\n"
    else:
        with pytest.raises(IllegalCommand):
            connection.send(command)


@pytest.mark.parametrize(("answer", "granted"), [(b"+OK\r\n", True), (b"-ERR\r\n", False)])
@pytest.mark.parametrize(("state", "command"), [(state, command) for state in TABLE for command in TABLE[state]])
def test_a_reply_leads_where_the_table_says(state: State, command: Command, answer: bytes, granted: bool) -> None:
    connection = connection_in(state)
    connection.send(command, b"1", b"2")
    assert events(connection, answer)[0] == Reply(command, granted, b"")
    leads = TABLE[state][command]
    assert connection.state is (leads.granted if granted else leads.refused)


@pytest.mark.parametrize("command", [command for command in Command if command in BARRIERS])
def test_nothing_is_sent_behind_a_barrier(command: Command) -> None:
    state = next(state for state in TABLE if command in TABLE[state])
    connection = connection_in(state)
    connection.send(command, b"x", b"y")
    for other in Command:
        with pytest.raises(IllegalCommand):
            connection.send(other)


def test_pass_may_be_sent_behind_user_and_nothing_else() -> None:
    connection = connection_in(State.AUTHORIZATION)
    connection.send(Command.USER, b"u")
    with pytest.raises(IllegalCommand):
        connection.send(Command.AUTH, b"PLAIN")
    connection.send(Command.PASS, b"p")
    assert [type(event) for event in events(connection, b"+OK\r\n+OK\r\n")] == [Reply, Reply]
    assert connection.state is State.TRANSACTION


def test_a_refused_user_leaves_authorization_even_with_pass_under_way() -> None:
    connection = connection_in(State.AUTHORIZATION)
    connection.send(Command.USER, b"u")
    connection.send(Command.PASS, b"p")
    assert [event.ok for event in events(connection, b"-ERR\r\n-ERR\r\n") if isinstance(event, Reply)] == [False] * 2
    assert connection.state is State.AUTHORIZATION


@pytest.mark.parametrize("argument", [b"a\rb", b"a\nb", b"a\0b"])
def test_an_argument_that_would_be_two_commands_is_never_sent_nor_shown(argument: bytes) -> None:
    connection = connection_in(State.IDENTIFIED)
    with pytest.raises(IllegalCommand) as refused:
        connection.send(Command.PASS, argument)
    assert repr(argument)[2:-1] not in str(refused.value)
    assert connection.outstanding == 0


def test_replies_belong_to_commands_in_the_order_these_were_sent() -> None:
    connection = connection_in(State.TRANSACTION)
    for command in (Command.STAT, Command.UIDL, Command.RETR, Command.DELE):
        connection.send(command, *((b"1",) if command in {Command.RETR, Command.DELE} else ()))
    assert events(connection, b"+OK 1 9\r\n-ERR no\r\n+OK\r\nmail\r\n.\r\n+OK gone\r\n") == [
        Reply(Command.STAT, True, b"1 9"),
        Reply(Command.UIDL, False, b"no"),
        Reply(Command.RETR, True, b""),
        Data(memoryview(b"mail\r\n")),
        End(Command.RETR),
        Reply(Command.DELE, True, b"gone"),
    ]
    assert connection.outstanding == 0


def test_list_and_uidl_have_a_body_only_without_a_number() -> None:
    connection = connection_in(State.TRANSACTION)
    connection.send(Command.LIST, b"1")
    connection.send(Command.UIDL)
    assert events(connection, b"+OK 1 120\r\n+OK\r\n1 a\r\n.\r\n") == [
        Reply(Command.LIST, True, b"1 120"),
        Reply(Command.UIDL, True, b""),
        Data(memoryview(b"1 a\r\n")),
        End(Command.UIDL),
    ]


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b"+OK ready <1@h>", Greeting(True, b"ready <1@h>")),
        (b"+ok", Greeting(True, b"")),
        (b"-ERR busy", Greeting(False, b"busy")),
    ],
)
def test_the_first_line_is_the_greeting(line: bytes, event: Greeting) -> None:
    assert events(connection_in(State.GREETING), line + b"\r\n") == [event]


@pytest.mark.parametrize("line", [b"220 smtp.example.com ESMTP", b"", b"* OK IMAP4rev1", b"HTTP/1.1 400"])
def test_what_is_neither_ok_nor_err_is_no_pop3(line: bytes) -> None:
    connection = connection_in(State.GREETING)
    with pytest.raises(ProtocolError, match=r"neither \+OK nor -ERR"):
        events(connection, line + b"\r\n")
    assert connection.state is State.CLOSED


def test_a_reply_that_nobody_asked_for_closes_the_connection() -> None:
    connection = connection_in(State.TRANSACTION)
    with pytest.raises(ProtocolError, match="nobody asked for: -ERR idle too long"):
        events(connection, b"-ERR idle too long\r\n")
    for use in (lambda: connection.send(Command.NOOP), lambda: connection.receive(b"+OK\r\n")):
        with pytest.raises(IllegalCommand):
            use()
    assert connection.next_event() is None


@pytest.mark.parametrize(
    ("arguments", "challenge", "text"),
    [
        ((b"PLAIN",), b"+ ", b""),
        ((b"PLAIN",), b"+", b""),
        ((b"PLAIN",), b"+OK go on", b"go on"),
        ((b"PLAIN", b"AHUAcA=="), b"+ Zm9v", b"Zm9v"),
    ],
)
def test_auth_may_be_challenged(arguments: tuple[bytes, ...], challenge: bytes, text: bytes) -> None:
    connection = connection_in(State.AUTHORIZATION)
    connection.send(Command.AUTH, *arguments)
    assert events(connection, challenge + b"\r\n") == [Challenge(text)]
    assert connection.respond(b"AHUAcA==") == b"AHUAcA==\r\n"
    assert events(connection, b"+OK\r\n") == [Reply(Command.AUTH, True, b"")]
    assert connection.state is State.TRANSACTION


def test_a_response_without_a_challenge_is_a_bug() -> None:
    connection = connection_in(State.AUTHORIZATION)
    connection.send(Command.AUTH, b"PLAIN")
    with pytest.raises(IllegalCommand):
        connection.respond(b"AHUAcA==")


def test_a_challenge_belongs_to_auth_alone() -> None:
    connection = connection_in(State.TRANSACTION)
    connection.send(Command.STAT)
    with pytest.raises(ProtocolError):
        events(connection, b"+ go on\r\n")


@pytest.mark.parametrize(("before", "after"), [(b"", b"+OK\r\nevil"), (b"+OK\r\n", b"evil")])
def test_octets_before_tls_are_an_injection_whenever_they_come(before: bytes, after: bytes) -> None:
    connection = connection_in(State.AUTHORIZATION)
    connection.send(Command.STLS)
    if before:
        events(connection, before)
    with pytest.raises(ProtocolError, match="injects"):
        events(connection, after)
    assert connection.state is State.CLOSED


def test_tls_begins_only_where_stls_was_granted() -> None:
    connection = connection_in(State.AUTHORIZATION)
    with pytest.raises(IllegalCommand):
        connection.start_tls()
    connection.send(Command.STLS)
    events(connection, b"+OK\r\n")
    connection.start_tls()
    assert connection.state is State.AUTHORIZATION


@pytest.mark.parametrize("heard", [b"", b"+OK\r\nhalf a mess", b"+O"])
def test_an_end_of_stream_with_something_outstanding_is_a_lost_connection(heard: bytes) -> None:
    connection = connection_in(State.TRANSACTION)
    connection.send(Command.RETR, b"1")
    if heard:
        events(connection, heard)
    with pytest.raises(ConnectionLost, match="RETR was under way"):
        events(connection, b"")
    assert connection.state is State.CLOSED


def test_an_end_of_stream_after_quit_is_the_end() -> None:
    connection = connection_in(State.TRANSACTION)
    connection.send(Command.QUIT)
    assert events(connection, b"+OK bye\r\n") == [Reply(Command.QUIT, True, b"bye")]
    assert connection.state is State.UPDATE
    assert events(connection, b"") == []
    with pytest.raises(IllegalCommand):
        connection.receive(b"more")
