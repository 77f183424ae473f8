import json

import pytest
from cli_harness import Harness, account, harness

from ingest.errors import CredentialsRejected, StateUnavailable
from ingest.models import Failure, Outcome, PollReport


@pytest.fixture
def cli() -> Harness:
    cli = harness()
    cli.add(account("billing"), account("orders"), account("reports", paused=True))
    return cli


def test_without_an_id_or_all_it_is_wrong_usage(cli: Harness) -> None:
    result = cli.run("poll")
    assert result.exit_code == 2
    assert "name accounts, or all of them with --all" in result.stderr
    assert cli.run("poll", "billing", "--all").exit_code == 2
    assert not cli.poller.polled


def test_each_account_gets_its_line(cli: Harness) -> None:
    cli.poller.reports["billing"] = PollReport(
        "billing",
        Outcome.DONE,
        listed=9,
        new=2,
        messages=2,
        events=2,
        attachments=1,
        bytes=4100,
        seconds=0.31,
        flights=3,
    )
    result = cli.run("poll", "billing", "orders")
    assert result.exit_code == 0
    assert result.output == (
        "billing: done, 9 listed, 2 new: 2 messages, 1 attachment, 2 events, 4.1 KB, 0.31 s, 3 flights\n"
        "orders: done, 1 listed, 0 new: 0 messages, 0 B, 0.00 s, 0 flights\n"
    )


def test_all_passes_over_what_is_paused(cli: Harness) -> None:
    assert cli.run("poll", "--all").exit_code == 0
    assert cli.poller.polled == ["billing", "orders"]


def test_a_paused_account_that_is_named_is_refused(cli: Harness) -> None:
    cli.poller.reports["reports"] = PollReport("reports", Outcome.PAUSED)
    result = cli.run("poll", "reports", "billing")
    assert result.exit_code == 1
    assert result.stderr == "reports: is paused (mailsluice accounts resume reports)\n"
    assert "billing: done" in result.stdout


def test_an_unknown_account_is_a_failure_and_the_others_are_polled(cli: Harness) -> None:
    result = cli.run("poll", "nobody", "billing")
    assert (result.exit_code, result.stderr) == (1, "nobody: no such account (mailsluice accounts list)\n")
    assert cli.poller.polled == ["billing"]


def test_busy_is_no_failure(cli: Harness) -> None:
    cli.poller.reports["billing"] = PollReport("billing", Outcome.BUSY)
    result = cli.run("poll", "billing")
    assert (result.exit_code, result.output) == (0, "billing: busy, another poller holds it\n")


def test_a_failed_account_is_a_line_on_stderr_and_exit_code_1(cli: Harness) -> None:
    failure = Failure.of(CredentialsRejected("the server refused the password", todo="check it"))
    cli.poller.reports["billing"] = PollReport("billing", Outcome.FAILED, failure=failure)
    result = cli.run("poll", "--all")
    assert (result.exit_code, result.stderr) == (1, "billing: the server refused the password (check it)\n")
    assert cli.poller.polled == ["billing", "orders"]


def test_json_is_one_report_a_line(cli: Harness) -> None:
    failure = Failure.of(CredentialsRejected("no", todo=""))
    cli.poller.reports["orders"] = PollReport("orders", Outcome.FAILED, failure=failure)
    result = cli.run("poll", "billing", "orders", "nobody", "--json")
    first, second, third = (json.loads(line) for line in result.stdout.splitlines())
    assert result.exit_code == 1
    assert (first["account"], first["outcome"], first["listed"]) == ("billing", "done", 1)
    assert {"messages", "bytes", "seconds", "flights"} <= first.keys()
    assert (second["failure"]["code"], second["failure"]["fault"]) == ("credentials", "account")
    assert third["outcome"] == "unknown"


def test_a_state_that_is_down_is_one_line_and_no_traceback(cli: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(_ids: object) -> None:
        raise StateUnavailable("Redis is unreachable", todo="start it")

    monkeypatch.setattr(cli.services.registry, "get", down)
    result = cli.run("poll", "billing")
    assert (result.exit_code, result.stderr) == (1, "error: Redis is unreachable (start it)\n")


def test_ctrl_c_is_quiet(cli: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_ids: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.services.registry, "get", interrupted)
    result = cli.run("poll", "billing")
    assert (result.exit_code, result.output) == (130, "")
