"""`mailsluice quarantine` over memory: what each command prints, changes, and ends with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from cli_harness import NOW, Harness, harness

from ingest.adapters.memory_state import MemoryRefusals
from ingest.adapters.memory_store import MemoryStore
from ingest.errors import IngestError, MaildropBusy, MessageUnprocessable, StoreUnavailable
from ingest.models import Account, Kind, Record, Refusal
from ingest.quarantine import Quarantine, Retried

POISON = Refusal(
    account="billing",
    id="aaaaaaaaaa" + "0" * 22,
    record=Record(b"u" * 8, b"i" * 8, Kind.QUARANTINED),
    uidl="0001",
    size=74,
    reason="message_unprocessable",
    detail="processed alone, the message ended its process: SIGKILL",
    subject="Invoice \x1b[31m4711",
    raw="raw/billing/ab/abcd.eml",
    time=NOW.timestamp() - 7200,
)
LARGE = Refusal(
    account="orders",
    id="aaaaaaaaab" + "0" * 22,
    record=Record(b"v" * 8, b"j" * 8, Kind.SKIPPED),
    uidl=None,
    size=60_000_000,
    reason="message_too_large",
    detail="message of 60000000 octets, the cap is 52428800",
    subject=None,
    raw=None,
    time=NOW.timestamp() - 60,
)


@dataclass
class Scripted(Quarantine):
    """Retries answer with what was prepared."""

    refusals: MemoryRefusals
    endings: dict[str, Retried | IngestError] = field(default_factory=dict)
    retried: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._refusals = self.refusals
        self._store = MemoryStore()

    def retry(self, refusal: Refusal) -> Retried:
        self.retried.append(refusal.id)
        ending = self.endings.get(refusal.id, Retried.RECEIVED)
        if isinstance(ending, IngestError):
            raise ending
        return ending


@pytest.fixture
def cli() -> Harness:
    made = harness()
    made.state.refusals |= {(each.account, each.id): each for each in (LARGE, POISON)}
    made.services.__dict__["quarantine"] = Scripted(MemoryRefusals(made.state))
    return made


def scripted(cli: Harness) -> Scripted:
    found = cli.services.quarantine
    assert isinstance(found, Scripted)
    return found


def test_the_list_is_a_table_with_ids_just_long_enough(cli: Harness) -> None:
    assert [" ".join(line.split()) for line in cli.run("quarantine", "list").output.splitlines()] == [
        "ID ACCOUNT KIND REASON SIZE SINCE SUBJECT",
        "aaaaaaaaaa billing quarantined message_unprocessable 74 B 2 h ago Invoice [31m4711",
        "aaaaaaaaab orders skipped message_too_large 60.0 MB 60 s ago -",
    ]


def test_the_list_is_aligned(cli: Harness) -> None:
    head, *rows = cli.run("quarantine", "list").output.splitlines()
    assert {row.index(word) for row, word in zip(rows, ("billing", "orders"), strict=True)} == {head.index("ACCOUNT")}


def test_the_list_of_one_account_has_no_others(cli: Harness) -> None:
    found = json.loads(cli.run("quarantine", "list", "--account", "orders", "--json").output)
    assert [each["id"] for each in found] == [LARGE.id]


def test_an_id_that_is_alone_is_still_eight_digits_long(cli: Harness) -> None:
    output = cli.run("quarantine", "list", "--account", "orders").output
    assert output.splitlines()[1].split()[0] == LARGE.id[:8]


def test_the_list_as_json_holds_all_of_it(cli: Harness) -> None:
    assert json.loads(cli.run("quarantine", "list", "--json").output)[0] == {
        "id": POISON.id,
        "account": "billing",
        "kind": "quarantined",
        "reason": "message_unprocessable",
        "detail": POISON.detail,
        "size": 74,
        "since": "2026-11-24T10:00:00+00:00",
        "uidl": "0001",
        "subject": POISON.subject,
        "raw": "memory:///raw/billing/ab/abcd.eml",
    }


def test_show_says_why_and_where_the_raw_message_lies(cli: Harness) -> None:
    output = cli.run("quarantine", "show", "aaaaaaaaaa").output
    assert POISON.detail in output
    assert "memory:///raw/billing/ab/abcd.eml" in output
    assert "\x1b" not in output


def test_show_says_that_only_the_server_has_a_skipped_message(cli: Harness) -> None:
    assert "not stored, only its server has it" in cli.run("quarantine", "show", LARGE.id).output


@pytest.mark.parametrize("command", ["show", "retry", "discard"])
@pytest.mark.parametrize(
    ("prefix", "line"),
    [
        ("aaaa", "aaaa: stands for 2 messages (give more of the id)\n"),
        ("b", "b: there is no such message (mailsluice quarantine list)\n"),
    ],
)
def test_an_id_that_stands_for_none_or_several_is_one_line(cli: Harness, command: str, prefix: str, line: str) -> None:
    result = cli.run("quarantine", command, prefix)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", line)
    assert len(cli.state.refusals) == 2


@pytest.mark.parametrize(
    ("ending", "line"),
    [
        (Retried.RECEIVED, "told of as received"),
        (Retried.KNOWN, "was told of meanwhile; listed no more"),
        (Retried.AWAITED, "the next poll retrieves it"),
    ],
)
def test_a_retry_says_how_it_ended(cli: Harness, ending: Retried, line: str) -> None:
    scripted(cli).endings = {POISON.id: ending}
    result = cli.run("quarantine", "retry", "aaaaaaaaaa")
    assert (result.exit_code, result.output) == (0, f"{POISON.id}: {line}\n")


def test_a_retry_that_waits_for_the_poll_of_a_paused_account_says_so(cli: Harness) -> None:
    cli.add(Account("orders", host="h", port=995, username="u", password="env:PW", paused=True))
    scripted(cli).endings = {LARGE.id: Retried.AWAITED}
    result = cli.run("quarantine", "retry", LARGE.id)
    what = "the next poll retrieves it; orders is paused (mailsluice accounts resume orders)"
    assert (result.exit_code, result.output) == (0, f"{LARGE.id}: {what}\n")


def test_a_retry_that_fails_again_says_so_and_the_next_one_is_tried(cli: Harness) -> None:
    scripted(cli).endings = {POISON.id: MessageUnprocessable("planted")}
    result = cli.run("quarantine", "retry", "--all")
    assert result.exit_code == 1
    assert result.stderr == f"{POISON.id}: it still fails: planted\n"
    assert result.stdout == f"{LARGE.id}: told of as received\n"


def test_a_busy_account_is_one_line(cli: Harness) -> None:
    scripted(cli).endings = {POISON.id: MaildropBusy("a poll works on it", todo="later")}
    result = cli.run("quarantine", "retry", "aaaaaaaaaa")
    assert (result.exit_code, result.stderr) == (1, f"{POISON.id}: a poll works on it (later)\n")


def test_a_store_that_is_down_is_said_once_and_not_waited_for_again(cli: Harness) -> None:
    scripted(cli).endings = dict.fromkeys((POISON.id, LARGE.id), StoreUnavailable("down"))
    result = cli.run("quarantine", "retry", "--all")
    assert (result.exit_code, result.stderr) == (1, f"{POISON.id}: down\n")


def test_those_of_one_account_are_retried(cli: Harness) -> None:
    cli.run("quarantine", "retry", "--account", "orders")
    assert scripted(cli).retried == [LARGE.id]


@pytest.mark.parametrize("command", ["list", "retry"])
def test_an_account_that_there_is_not_is_a_failure_with_its_line(cli: Harness, command: str) -> None:
    result = cli.run("quarantine", command, "--account", "nobody")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: nobody: no such account (mailsluice accounts list)\n"


def test_a_retry_of_all_says_if_nothing_is_listed(cli: Harness) -> None:
    cli.state.refusals.clear()
    result = cli.run("quarantine", "retry", "--all")
    assert (result.exit_code, result.output) == (0, "nothing is listed\n")


def test_one_that_is_named_twice_is_retried_once(cli: Harness) -> None:
    cli.run("quarantine", "retry", POISON.id, POISON.id)
    assert scripted(cli).retried == [POISON.id]


@pytest.mark.parametrize("arguments", [(), ("x", "--all"), ("--all", "--account", "a"), ("x", "--account", "a")])
def test_what_to_retry_is_said_in_one_way(cli: Harness, arguments: tuple[str, ...]) -> None:
    assert cli.run("quarantine", "retry", *arguments).exit_code == 2
    assert scripted(cli).retried == []


def test_a_discarded_message_is_listed_no_more_and_what_stays_is_said(cli: Harness) -> None:
    result = cli.run("quarantine", "discard", "aaaaaaaaaa", "aaaaaaaaab")
    assert result.exit_code == 0
    stays = "listed no more; it is never fetched again, nor deleted from its server"
    assert result.output.splitlines() == [
        f"{POISON.id}: {stays}; its raw message stays in storage",
        f"{LARGE.id}: {stays}",
    ]
    assert json.loads(cli.run("quarantine", "list", "--json").output) == []
