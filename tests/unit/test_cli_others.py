import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_harness import Harness, account, harness
from click.testing import CliRunner

from ingest.checkup import Check
from ingest.cli import doctor, output
from ingest.cli.main import mailsluice
from ingest.cli.services import quiet
from ingest.dispatch import Ticked
from ingest.errors import HostUnreachable, StateRefused
from ingest.models import AccountState, OutgoingEvent
from ingest.ports import ConsumerGroup
from ingest.settings import Settings


@pytest.fixture
def cli() -> Harness:
    return harness()


def said(cli: Harness, *subjects: str) -> None:
    for subject in subjects:
        body = json.dumps({"data": {"subject": subject}}, ensure_ascii=False).encode()
        cli.state.events.append(OutgoingEvent(subject, "mailsluice.message.received.v1", body))


def test_tail_prints_one_event_a_line(cli: Harness) -> None:
    said(cli, "one", "two")
    result = cli.run("events", "tail", "--from-start", "--timeout", "1")
    assert [json.loads(line)["data"]["subject"] for line in result.output.splitlines()] == ["one", "two"]


def test_tail_without_from_start_skips_what_is_there(cli: Harness) -> None:
    said(cli, "one")
    result = cli.run("events", "tail", "--timeout", "1")
    assert (result.exit_code, result.output) == (0, "")


def test_tail_ends_after_its_count(cli: Harness) -> None:
    said(cli, "one", "two", "three")
    assert len(cli.run("events", "tail", "--from-start", "--count", "2").output.splitlines()) == 2


def test_a_group_goes_on_behind_the_last_event_that_was_printed(cli: Harness) -> None:
    said(cli, "one", "two")
    printed = [
        json.loads(cli.run("events", "tail", "--from-start", "--group", "g", "--count", "1").output)["data"]["subject"]
        for _ in range(2)
    ]
    assert printed == ["one", "two"]


def test_an_event_s_line_can_do_nothing_to_the_terminal_and_means_the_same(cli: Harness) -> None:
    said(cli, "\x9b31m red \u2028")
    line = cli.run("events", "tail", "--from-start", "--count", "1").output
    assert "\x9b" not in line
    assert json.loads(line)["data"]["subject"] == "\x9b31m red \u2028"


def test_doctor_names_each_thing_that_is_wrong(cli: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [Check("redis", ok=True, line="reachable"), Check("storage", ok=False, line="bucket is missing")]
    monkeypatch.setattr(doctor, "check_all", lambda _: checks)
    result = cli.run("doctor")
    assert result.exit_code == 1
    assert result.stdout.startswith("ok   redis: reachable\nFAIL storage: bucket is missing\n")
    assert result.stderr == "storage: bucket is missing\n"


def test_doctor_as_json_has_the_same_exit_code(cli: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check_all", lambda _: [Check("redis", ok=False, line="down")])
    result = cli.run("doctor", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "ok": False,
        "checks": [{"name": "redis", "ok": False, "line": "down", "note": False}],
    }


def test_doctor_logs_in_to_the_accounts_it_is_asked_for(cli: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check_all", lambda _: [])
    cli.add(account("billing"), account("paused", paused=True))
    assert "ok   account billing: logs in, 3 messages" in cli.run("doctor", "--accounts").stdout
    cli.poller.refusal = HostUnreachable("nobody listens")
    result = cli.run("doctor", "billing", "nobody")
    assert result.exit_code == 1
    assert result.stderr == (
        "account nobody: no such account (mailsluice accounts list)\naccount billing: nobody listens\n"
    )


def test_tick_says_what_it_queued(cli: Harness) -> None:
    class Ticker:
        def tick(self) -> Ticked:
            return Ticked(claimed=12, batches=2)

    cli.services.__dict__["ticker"] = Ticker()
    assert cli.run("tick").output == "12 due, queued in 2 batches\n"
    assert json.loads(cli.run("tick", "--json").output) == {"claimed": 12, "batches": 2, "stopped": []}


def test_bad_settings_are_a_line_each_and_exit_code_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ingest", "accounts", "list"],
        env={"MAILSLUICE_SHARDS": "many", "MAILSLUICE_TICK_S": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "MAILSLUICE_SHARDS: 'many' is not a whole number (1 to 1024)",
        "MAILSLUICE_TICK_S: '0' is not a number (more than 0, at most 31536000)",
    ]


def test_a_redis_that_is_down_is_one_line_and_exit_code_1() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ingest", "accounts", "list"],
        env={"MAILSLUICE_REDIS_URL": "redis://127.0.0.1:1/0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: Redis is unreachable")
    assert len(done.stderr.splitlines()) == 1


def test_nothing_is_coloured_when_it_is_piped(cli: Harness) -> None:
    cli.add(account("billing"))
    assert "\x1b" not in cli.run("accounts", "list").output


@pytest.mark.parametrize("path", [[name] for name in mailsluice.list_commands(None)] + [["accounts", "add"]])  # type: ignore[arg-type]
def test_every_command_has_help(path: list[str], cli: Harness) -> None:
    result = cli.run(*path, "--help")
    assert result.exit_code == 0
    assert result.output.startswith("Usage: mailsluice")


@pytest.mark.parametrize(
    ("octets", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (52_428_800, "52.4 MB"), (3 * 10**12, "3000.0 GB")],
)
def test_octets_are_said_in_a_unit_that_fits(octets: int, said: str) -> None:
    assert output.size(octets) == said


def test_a_command_keeps_logs_out_of_its_output_unless_asked() -> None:
    assert quiet(Settings()).log_level == "error"
    assert quiet(Settings(log_level="debug")).log_level == "debug"


def test_doctor_logs_in_to_few_accounts_unasked(cli: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check_all", lambda _: [])
    cli.add(account("billing"), account("paused", paused=True))
    assert (
        cli.run("doctor").stdout == "ok   stream: 0% of its cap is taken\nok   account billing: logs in, 3 messages\n"
    )


def test_doctor_logs_in_to_none_of_many_unasked_and_names_those_that_failed(
    cli: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "check_all", lambda _: [])
    cli.add(*(account(f"a{n}") for n in range(30)))
    assert (
        cli.run("doctor").stdout
        == "ok   stream: 0% of its cap is taken\nok   accounts: 30; --accounts logs in to each\n"
    )
    cli.state.states["a7"] = AccountState(failures=1, last_error="host does not resolve")
    assert cli.run("doctor").stderr == "account a7: host does not resolve\n"


def test_doctor_does_not_try_a_refused_login_again_unasked(cli: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check_all", lambda _: [])
    cli.add(account("billing"))
    cli.state.states["billing"] = AccountState(failures=1, refusals=1, last_error="credentials: login refused")
    assert cli.run("doctor").stderr == "account billing: credentials: login refused\n"
    assert cli.run("doctor", "billing").exit_code == 0


def test_doctor_says_so_when_the_accounts_can_not_be_read(cli: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> list[object]:
        raise StateRefused("the registry has the wrong type")

    monkeypatch.setattr(doctor, "check_all", lambda _: [Check("redis", ok=True, line="reachable")])
    monkeypatch.setattr(cli.services.registry, "all", refused)
    assert cli.run("doctor").stderr == "accounts: the registry has the wrong type\n"
    monkeypatch.setattr(doctor, "check_all", lambda _: [Check("redis", ok=False, line="off")])
    assert cli.run("doctor").stderr == "redis: off\n"


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_data_directory_that_can_not_be_made_is_one_line(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(mailsluice, [command], env={"MAILSLUICE_DATA_DIR": str(tmp_path / "file" / "var")})
    assert result.exit_code == 2
    assert result.stderr.startswith("MAILSLUICE_DATA_DIR: ")
    assert len(result.stderr.splitlines()) == 1


def group(name: str = "reader", **values: object) -> ConsumerGroup:
    given = {
        "shard": 0,
        "pending": 2,
        "behind": 5,
        "waiting_bytes": 4_000_000,
        "idle_s": 100_000.0,
        "oldest_s": 90_000.0,
    }
    return ConsumerGroup(name=name, **(given | values))  # type: ignore[arg-type]


def with_groups(cli: Harness, monkeypatch: pytest.MonkeyPatch, *groups: ConsumerGroup) -> None:
    monkeypatch.setattr(doctor, "check_all", lambda _: [])
    monkeypatch.setattr(cli.services.events, "groups", lambda: list(groups))


def test_groups_are_listed_with_what_waits_for_them(cli: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    with_groups(cli, monkeypatch, group(), group("new\x9b", behind=None, idle_s=None, oldest_s=None))
    lines = cli.run("events", "groups", "list").stdout.splitlines()
    assert lines[0].split() == ["SHARD", "GROUP", "PENDING", "BEHIND", "WAITING", "OLDEST", "IDLE"]
    assert lines[1].split() == ["0", "reader", "2", "5", "4.0", "MB", "25", "h", "28", "h"]
    assert lines[2].split() == ["0", "new", "2", "?", "4.0", "MB", "-", "never", "read"]
    listed = json.loads(cli.run("events", "groups", "list", "--json").stdout)
    assert listed[0] == dataclasses.asdict(group())


def test_a_group_is_removed_and_an_unknown_one_is_exit_code_1(cli: Harness) -> None:
    said(cli, "one")
    cli.run("events", "tail", "--from-start", "--group", "g", "--count", "1")
    assert cli.run("events", "groups", "remove", "g").output == "g: removed\n"
    again = cli.run("events", "groups", "remove", "g")
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr == "g: no such group (mailsluice events groups list)\n"


def test_doctor_says_that_dispatch_has_stopped(cli: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check_all", lambda _: [])
    monkeypatch.setattr(cli.services.events, "pressure", lambda: {0: 0.1, 1: 0.81})
    result = cli.run("doctor")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "stream: dispatch has stopped: events that are not acknowledged take 81% of shard 1"
    )


def test_doctor_notes_a_group_that_reads_nothing_and_does_not_fail(
    cli: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_groups(cli, monkeypatch, group("a b"))
    result = cli.run("doctor")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[1] == (
        "note group a b: has read nothing for 28 h, about 4.0 MB wait for it; if nobody reads it any more: "
        "mailsluice events groups remove 'a b'"
    )


@pytest.mark.parametrize("idle_s", [100_000.0, None])
def test_doctor_fails_for_a_group_that_reads_nothing_and_holds_half_the_cap(
    idle_s: float | None, cli: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_groups(cli, monkeypatch, group(idle_s=idle_s, waiting_bytes=(1 << 29) + 1))
    result = cli.run("doctor")
    assert result.exit_code == 1
    assert result.stderr.startswith("group reader: has read nothing")


@pytest.mark.parametrize("values", [{"idle_s": 10.0}, {"oldest_s": None}, {"idle_s": None, "oldest_s": 10.0}])
def test_doctor_says_nothing_of_a_group_that_reads_or_has_nothing_to_read(
    values: dict[str, float | None], cli: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_groups(cli, monkeypatch, group(**values))
    assert cli.run("doctor").stdout.splitlines()[1:] == []


def test_doctor_says_so_when_the_stream_can_not_be_read(cli: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> dict[int, float]:
        raise StateRefused("wrong type")

    monkeypatch.setattr(doctor, "check_all", lambda _: [])
    monkeypatch.setattr(cli.services.events, "pressure", refuse)
    assert cli.run("doctor").stderr == "stream: wrong type\n"
