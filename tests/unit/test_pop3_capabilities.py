from __future__ import annotations

from ingest.pop3.capabilities import parse_capabilities


def test_names_and_arguments_are_read() -> None:
    found = parse_capabilities(
        b"TOP\r\nUIDL\r\nSASL PLAIN LOGIN\r\nPIPELINING\r\nLOGIN-DELAY 900 USER\r\nEXPIRE 30\r\n"
        b"IMPLEMENTATION Example POP3 2.1\r\n"
    )
    assert found.known
    assert {"TOP", "UIDL", "SASL", "PIPELINING"} <= found.names
    assert found.sasl == {"PLAIN", "LOGIN"}
    assert (found.login_delay_s, found.expire_days) == (900, 30)
    assert found.implementation == "Example POP3 2.1"


def test_names_are_read_in_any_case() -> None:
    found = parse_capabilities(b"pipelining\r\nSasl plain\r\n")
    assert "PIPELINING" in found
    assert found.sasl == {"PLAIN"}


def test_broken_lines_are_no_lines() -> None:
    found = parse_capabilities(
        b"\r\n   \r\n\xff\xfe\r\n\x00\r\nTOP\nEXPIRE soon\r\nLOGIN-DELAY\r\nLOGIN-DELAY 5\r\nUIDL"
    )
    assert found.names == {"TOP", "UIDL", "EXPIRE", "LOGIN-DELAY"}
    assert (found.login_delay_s, found.expire_days) == (None, None)


def test_expire_never_is_no_expiry_and_expire_0_is_one() -> None:
    assert parse_capabilities(b"EXPIRE NEVER\r\n").expire_days is None
    assert parse_capabilities(b"EXPIRE 0\r\n").expire_days == 0


def test_numbers_beyond_reason_are_none() -> None:
    assert parse_capabilities(b"LOGIN-DELAY " + b"9" * 5000 + b"\r\n").login_delay_s is None


def test_an_implementation_that_would_steer_a_terminal_is_none_and_a_long_one_is_cut() -> None:
    assert parse_capabilities(b"IMPLEMENTATION a\x1b[2Jb\r\n").implementation is None
    assert parse_capabilities(b"IMPLEMENTATION " + b"x" * 5000).implementation == "x" * 200


def test_no_server_keeps_us_from_logging_in_for_more_than_a_day() -> None:
    assert parse_capabilities(b"LOGIN-DELAY 999999999\r\n").login_delay_s == 86_400
