"""One login that looks and changes nothing, over a script."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from cli_harness import Harness, account, harness
from fake_names import FakeDialer
from pop3_scripts import CAPA, GREETING, LOGIN, NO_CAPA, QUIT, Step

from ingest.check import Checker, look_at
from ingest.errors import CredentialsRejected, SlowDown
from ingest.models import Account, AccountCheck, MessageRef, Secret, UidlForm, Uidls
from ingest.pop3.session import SessionLimits

NOOP: Step = (b"NOOP\r\n", b"+OK\r\n")
AFTER = b"+OK\r\nTOP\r\nUIDL\r\nPIPELINING\r\nEXPIRE 30\r\nLOGIN-DELAY 600\r\n.\r\n"
LISTED = b"+OK 2 3000\r\n+OK\r\n1 aa\r\n2 bb\r\n.\r\n+OK\r\n1 1000\r\n2 2000\r\n.\r\n"


def look(after: bytes) -> Step:
    """CAPA again and the listing, in one flight."""
    return b"CAPA\r\nSTAT\r\nUIDL\r\nLIST\r\n", after + LISTED


ACCOUNT = Account("a", "pop.example.com", 995, "u", "env:PW")


class KnownSecret:
    def resolve(self, reference: str) -> Secret:
        return Secret("pw")


def check(*script: Step, max_message_bytes: int = 1500) -> tuple[AccountCheck, bytes]:
    dialer = FakeDialer({("pop.example.com", 995): script})
    checker = Checker(
        dialer=dialer,
        secrets=KnownSecret(),  # type: ignore[arg-type]
        clock=dialer.clock,
        session_limits=SessionLimits(),
        max_message_bytes=max_message_bytes,
    )
    return checker.check(ACCOUNT), dialer.streams[0].sent


def test_it_asks_again_after_the_login_and_changes_nothing() -> None:
    found, sent = check(GREETING, CAPA, LOGIN, look(AFTER), NOOP, QUIT)
    assert sent == b"".join(step[0] for step in (CAPA, LOGIN, look(AFTER), NOOP, QUIT))
    assert found.capabilities.login_delay_s is None
    assert (found.can.login_delay_s, found.can.expire_days) == (600, 30)
    assert (found.messages, found.octets, found.largest_bytes, found.too_large) == (2, 3000, 2000, 1)
    assert found.complete
    assert found.uidls == Uidls(UidlForm.OPAQUE, "aa")


def test_a_server_without_capa_is_not_asked_a_second_time() -> None:
    login = ((b"USER u\r\n", b"+OK\r\n"), (b"PASS pw\r\n", b"+OK\r\n"))
    listing = (
        (b"STAT\r\n", b"+OK 0 0\r\n"),
        (b"UIDL\r\n", b"+OK\r\n.\r\n"),
        (b"LIST\r\n", b"+OK\r\n.\r\n"),
    )
    found, _ = check(GREETING, NO_CAPA, *login, *listing, NOOP, QUIT)
    assert found.capabilities_after_login is None
    assert not found.can.known


def test_a_server_that_refuses_capa_after_the_login_keeps_what_it_said_before() -> None:
    found, _ = check(GREETING, CAPA, LOGIN, look(NO_CAPA[1]), NOOP, QUIT)
    assert found.can.names == found.capabilities.names


@pytest.mark.parametrize(
    ("uidls", "seen"),
    [
        ([], Uidls()),
        ([None, None], Uidls(missing=2)),
        ([b"1", b"2", b"3"], Uidls(UidlForm.POSITION, "1")),
        ([b"1"], Uidls(UidlForm.COUNTER, "1")),
        ([b"7", b"9"], Uidls(UidlForm.COUNTER, "7")),
        ([b"12345678901"], Uidls(UidlForm.OPAQUE, "12345678901")),
        ([b"a", b"a", None, b"b" * 71], Uidls(UidlForm.OPAQUE, "a", missing=1, long=1, repeated=1)),
        ([b"\xff\x1b"], Uidls(UidlForm.OPAQUE, "\\xff\x1b")),
    ],
)
def test_uidls_are_told_apart_by_their_form(uidls: Sequence[bytes | None], seen: Uidls) -> None:
    assert look_at([MessageRef(number, 10, uidl) for number, uidl in enumerate(uidls, 1)]) == seen


@pytest.fixture
def cli() -> Harness:
    cli = harness()
    cli.add(account("billing"))
    return cli


def test_json_gives_all_that_was_found_and_the_advice(cli: Harness) -> None:
    shown = json.loads(cli.run("accounts", "check", "billing", "--json").stdout)
    assert shown["failure"] is None
    assert shown["found"]["capabilities"]["names"] == ["PIPELINING", "UIDL"]
    assert shown["found"]["uidls"]["form"] == "opaque"
    assert shown["advice"] == []


def test_advice_alone_fails_nothing(cli: Harness) -> None:
    cli.add(account("gmail", host="pop.gmail.com"))
    result = cli.run("accounts", "check", "gmail")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "care  Gmail hides what any POP session retrieved" in result.stdout


def test_a_refused_login_is_a_failure_with_advice(cli: Harness) -> None:
    cli.add(account("gmail", host="pop.gmail.com"))
    cli.poller.refusal = CredentialsRejected("pop.gmail.com refused the login")
    result = cli.run("accounts", "check", "gmail")
    assert (result.exit_code, result.stderr) == (1, "error: pop.gmail.com refused the login\n")
    assert "app password" in result.stdout


def test_a_failure_as_json_has_its_answers_and_the_advice(cli: Harness) -> None:
    cli.poller.refusal = SlowDown("wait", after_s=60)
    result = cli.run("accounts", "check", "billing", "--json")
    shown = json.loads(result.stdout)
    assert (result.exit_code, shown["found"], shown["failure"]["code"]) == (1, None, "slow_down")
    assert shown["advice"][0]["severity"] == "care"
