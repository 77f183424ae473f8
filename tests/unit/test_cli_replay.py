import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from cli_harness import Harness, harness

from ingest.errors import StateFull, StoreRefused
from ingest.models import Failure, Outcome
from ingest.replay import OnMessage, OnRefused, ReplayReport, Wanted

KEY = f"raw/billing/3f/3f{'0' * 62}.eml"
FULL = Failure.of(StateFull("the event stream is full", todo="let its consumers catch up"))


class ScriptedReplayer:
    """Answers with what was prepared, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.reports: list[ReplayReport] = []
        self.refused: list[tuple[str, Failure]] = []
        self.wanted: list[Wanted] = []

    def replay(self, wanted: Wanted, on_message: OnMessage, on_refused: OnRefused) -> Iterator[ReplayReport]:
        self.wanted.append(wanted)
        for account_id, why in self.refused:
            on_refused(account_id, why)
        on_message("billing", 1, 10)
        yield from self.reports


@pytest.fixture
def replayer() -> ScriptedReplayer:
    return ScriptedReplayer()


@pytest.fixture
def cli(replayer: ScriptedReplayer) -> Harness:
    cli = harness()
    cli.services.__dict__["replayer"] = replayer
    return cli


def done(account: str, **figures: int) -> ReplayReport:
    oldest = datetime(2026, 1, 3, 23, tzinfo=UTC)
    return ReplayReport(account, Outcome.DONE, oldest=oldest, seconds=0.5, **figures)


def test_each_account_gets_its_line_and_all_of_them_one(cli: Harness, replayer: ScriptedReplayer) -> None:
    replayer.reports = [
        done("billing", stored=9, replayed=7, quarantined=1, recorded=3, bytes=4100),
        done("orders", stored=1),
    ]
    result = cli.run("replay")
    assert result.exit_code == 0
    assert result.output == (
        "billing: done, 9 stored, the oldest of 2026-01-03: "
        "7 replayed, 1 quarantined, 3 already had a record, 0 failed, 4.1 KB, 0.50 s\n"
        "orders: done, 1 stored, the oldest of 2026-01-03: "
        "0 replayed, 0 quarantined, 0 already had a record, 0 failed, 0 B, 0.50 s\n"
        "2 accounts, 10 stored: 7 replayed, 1 quarantined, 3 already had a record, 0 failed, 4.1 KB\n"
    )


def test_a_date_is_midnight_in_utc_and_a_time_with_an_offset_is_turned_into_utc(
    cli: Harness, replayer: ScriptedReplayer
) -> None:
    replayer.reports = [done("billing")]
    result = cli.run("replay", "--account", "billing", "--since", "2026-01-01", "--until", "2026-02-01T01:00+02:00")
    assert result.exit_code == 0
    assert replayer.wanted == [
        Wanted("billing", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 31, 23, tzinfo=UTC))
    ]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--since", "yesterday"], "'--since': 'yesterday' is neither a date"),
        (["--until", "2026-13-01"], "'--until': '2026-13-01' is neither a date"),
        (["--since", "0001-01-01T00:00+02:00"], "is neither a date"),
        (["--since", "2026-02-01", "--until", "2026-02-01"], "--since must be before --until"),
        (["--account", "../x"], "'../x' is no account's id"),
        (["--after", "attachments/a"], "is no key of a raw message of this replay"),
        (["--account", "orders", "--after", KEY], "is no key of a raw message of this replay"),
    ],
)
def test_wrong_usage_says_what_is_wrong_and_replays_nothing(
    cli: Harness, replayer: ScriptedReplayer, arguments: list[str], why: str
) -> None:
    result = cli.run("replay", *arguments)
    assert result.exit_code == 2
    assert why in result.stderr
    assert replayer.wanted == []


def test_a_busy_account_is_a_line_on_stderr_and_exit_code_1(cli: Harness, replayer: ScriptedReplayer) -> None:
    replayer.reports = [ReplayReport("billing", Outcome.BUSY), done("orders")]
    result = cli.run("replay", "--since", "2026-01-01")
    assert result.exit_code == 1
    assert result.stderr == (
        "billing: busy, a poller holds it; again: mailsluice replay --account billing --since 2026-01-01T00:00:00Z\n"
    )
    assert "orders: done" in result.stdout


def test_an_object_that_can_t_be_told_of_is_a_line_on_stderr_and_exit_code_1(
    cli: Harness, replayer: ScriptedReplayer
) -> None:
    why = Failure.of(StoreRefused(f"{KEY}: its content is another", todo="restore the object"))
    replayer.refused = [("billing", why)]
    replayer.reports = [done("billing", stored=1, refused=1)]
    result = cli.run("replay")
    assert (result.exit_code, result.stderr) == (
        1,
        f"billing: {KEY}: its content is another (restore the object)\n",
    )
    assert "1 failed" in result.stdout


def test_what_broke_off_says_how_to_go_on(cli: Harness, replayer: ScriptedReplayer) -> None:
    replayer.reports = [ReplayReport("billing", Outcome.FAILED, stored=5, replayed=5, last=KEY, failure=FULL)]
    line = "billing: the event stream is full (let its consumers catch up); to go on: mailsluice replay"
    result = cli.run("replay", "--until", "2026-01-01")
    assert (result.exit_code, result.stderr) == (1, f"{line} --until 2026-01-01T00:00:00Z --after {KEY}\n")
    assert "billing: failed, 5 stored" in result.stdout
    assert cli.run("replay", "--account", "billing").stderr == f"{line} --account billing --after {KEY}\n"


def test_an_account_that_is_named_and_has_nothing_in_storage_is_a_failure(cli: Harness) -> None:
    result = cli.run("replay", "--account", "nobody")
    assert (result.exit_code, result.stderr) == (1, "nobody: no messages are stored for it\n")


def test_an_empty_store_is_no_failure(cli: Harness) -> None:
    result = cli.run("replay")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("0 accounts, 0 stored")


def test_json_is_one_report_a_line(cli: Harness, replayer: ScriptedReplayer) -> None:
    replayer.reports = [
        done("billing", stored=2, replayed=2),
        ReplayReport("orders", Outcome.FAILED, failure=FULL),
    ]
    result = cli.run("replay", "--json")
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert result.exit_code == 1
    assert (first["account"], first["outcome"], first["replayed"]) == ("billing", "done", 2)
    assert first["oldest"] == "2026-01-03T23:00:00+00:00"
    assert second["failure"]["code"] == "state_full"
