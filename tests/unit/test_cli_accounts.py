import json
import re
from pathlib import Path

import pytest
from cli_harness import NOW, Harness, account, harness

from ingest.errors import CertificateRejected
from ingest.ledger import NO_IDENTITY, encode, new_header, uidl_digest
from ingest.models import AccountState, Kind, Record
from ingest.settings import Settings

KEY = "QUFB" * 10 + "QUE="
BILLING = """
[[account]]
id = "billing"
host = "pop.example.com"
username = "billing@example.com"
password = "env:BILLING_PASSWORD"
"""


@pytest.fixture
def cli() -> Harness:
    return harness()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "accounts.toml"
    path.write_text(BILLING)
    return path


def test_applying_a_file_adds_its_accounts_and_makes_them_due(cli: Harness, file: Path) -> None:
    result = cli.run("accounts", "apply", str(file))
    assert result.output == "added billing\n1 added, 0 changed, 0 unchanged, 0 removed\n"
    assert cli.services.schedule.due_in(["billing"]) == {"billing": 0.0}


def test_applying_it_again_changes_nothing(cli: Harness, file: Path) -> None:
    cli.run("accounts", "apply", str(file))
    cli.services.schedule.set_due(["billing"], 500)
    result = cli.run("accounts", "apply", str(file))
    assert result.output == "0 added, 0 changed, 1 unchanged, 0 removed\n"
    assert cli.services.schedule.due_in(["billing"]) == {"billing": 500.0}


def test_a_changed_account_forgets_its_back_off_and_is_due(cli: Harness, file: Path) -> None:
    cli.run("accounts", "apply", str(file))
    cli.state.states["billing"] = AccountState(failures=7, interval_s=900)
    cli.services.schedule.set_due(["billing"], 500)
    file.write_text(BILLING.replace("pop.", "mail."))
    assert cli.run("accounts", "apply", str(file)).output.startswith("changed billing\n")
    assert cli.state.states["billing"].failures == 0
    assert cli.services.schedule.due_in(["billing"]) == {"billing": 0.0}


def test_applying_a_file_does_not_undo_a_pause(cli: Harness, file: Path) -> None:
    cli.run("accounts", "apply", str(file))
    cli.run("accounts", "pause", "billing")
    file.write_text(BILLING.replace("pop.", "mail."))
    cli.run("accounts", "apply", str(file))
    assert cli.state.accounts["billing"].paused
    assert not cli.state.due


def test_accounts_that_are_not_in_the_file_stay_unless_pruned(cli: Harness, file: Path) -> None:
    cli.add(account("old"))
    cli.run("accounts", "apply", str(file))
    assert sorted(cli.state.accounts) == ["billing", "old"]
    result = cli.run("accounts", "apply", str(file), "--prune", "--json")
    assert json.loads(result.output) == {"added": [], "changed": [], "unchanged": ["billing"], "removed": ["old"]}
    assert sorted(cli.state.accounts) == ["billing"]
    assert sorted(cli.state.due) == ["billing"]


def test_a_wrong_file_is_refused_whole_with_a_line_each(cli: Harness, file: Path) -> None:
    file.write_text(BILLING + '[[account]]\nid = "orders"\nhost = "pop.example.com"\nport = 0\npassword = "env:X"\n')
    result = cli.run("accounts", "apply", str(file))
    assert result.exit_code == 2
    assert result.stderr == (
        f"{file}: orders: port: 0 is not a whole number (1 to 65535)\n{file}: orders: username: is missing\n"
    )
    assert not cli.state.accounts


def test_a_file_that_is_not_there_is_bad_configuration(cli: Harness) -> None:
    result = cli.run("accounts", "apply", "/nowhere.toml")
    assert (result.exit_code, result.stderr) == (2, "/nowhere.toml: can't be read: No such file or directory\n")


def test_a_literal_password_is_stored_sealed_and_stays_the_same_account(file: Path) -> None:
    cli = harness(Settings(secret_key=KEY))
    file.write_text(BILLING.replace("env:BILLING_PASSWORD", "plain:canary"))
    cli.run("accounts", "apply", str(file))
    assert cli.state.accounts["billing"].password.startswith("sealed:")
    assert "1 unchanged" in cli.run("accounts", "apply", str(file)).output
    file.write_text(BILLING.replace("env:BILLING_PASSWORD", "plain:another"))
    assert "1 changed" in cli.run("accounts", "apply", str(file)).output


def test_adding_prints_what_was_stored(cli: Harness) -> None:
    result = cli.run(
        "accounts", "add", "billing", "--host", "pop.example.com", "--username", "b@example.com",
        "--password", "env:PW", "--tls", "starttls", "--keep", "14d", "--tag", "team=finance",
    )  # fmt: skip
    assert result.exit_code == 0
    assert [line.split(maxsplit=1) for line in result.output.splitlines()][:3] == [
        ["id", "billing"],
        ["host", "pop.example.com"],
        ["port", "110"],
    ]
    assert cli.state.accounts["billing"].keep_s == 14 * 86400
    assert cli.state.accounts["billing"].tags == {"team": "finance"}
    assert "billing" in cli.state.due


def test_certificates_are_pinned_as_an_account_is_added(cli: Harness) -> None:
    pins = ["sha256:" + digit * 64 for digit in "12"]
    base = ("accounts", "add", "b", "--host", "h", "--username", "u", "--password", "env:X")
    result = cli.run(*base, "--fingerprint", pins[0], "--fingerprint", pins[1])
    assert cli.state.accounts["b"].fingerprints == tuple(pins)
    assert ["fingerprint", ", ".join(pins)] in [line.split(maxsplit=1) for line in result.output.splitlines()]


def test_a_literal_password_is_refused_as_an_argument_and_asked_for_instead() -> None:
    cli = harness(Settings(secret_key=KEY))
    base = ("accounts", "add", "b", "--host", "h", "--username", "u")
    refused = cli.run(*base, "--password", "plain:canary")
    assert refused.exit_code == 2
    assert refused.stderr == "b: password: a literal shows in the process list (use --prompt)\n"
    asked = cli.run(*base, "--prompt", stdin="canary\n")
    assert "canary" not in asked.output
    assert cli.services.secrets.resolve(cli.state.accounts["b"].password).reveal() == "canary"


def test_adding_an_id_twice_is_refused(cli: Harness) -> None:
    cli.add(account("b"))
    result = cli.run("accounts", "add", "b", "--host", "h", "--username", "u", "--password", "env:X")
    assert (result.exit_code, result.stderr) == (1, "error: b: there is one of this id (accounts apply changes it)\n")


def test_the_list_shows_state_next_poll_and_last_outcome(cli: Harness) -> None:
    cli.add(account("billing"), account("orders", paused=True))
    cli.services.schedule.set_due(["billing"], 34)
    cli.state.states["billing"] = AccountState(failures=2, last_outcome="failed", last_poll=NOW.timestamp() - 300)
    lines = [" ".join(line.split()) for line in cli.run("accounts", "list").output.splitlines()]
    assert lines[1:] == [
        "billing pop.example.com:995 implicit billing@example.com active in 34 s 5 min ago failed 2",
        "orders pop.example.com:995 implicit orders@example.com paused - never - 0",
    ]


def test_the_list_as_json_has_every_key(cli: Harness) -> None:
    cli.add(account("billing"))
    (listed,) = json.loads(cli.run("accounts", "list", "--json").output)
    assert (listed["id"], listed["keep"], listed["paused"], listed["due_in_s"]) == ("billing", "forever", False, 0.0)
    assert listed["state"]["failures"] == 0


def test_show_never_prints_a_sealed_password(cli: Harness) -> None:
    cli.add(account("billing", password="sealed:canary"))
    for arguments in (("accounts", "show", "billing"), ("accounts", "show", "billing", "--json")):
        assert "canary" not in cli.run(*arguments).output


def test_what_a_server_said_can_do_nothing_to_the_terminal(cli: Harness) -> None:
    cli.add(account("billing"))
    cli.state.states["billing"] = AccountState(failures=1, last_error="\x1b]0;owned\x07[red]no[/red]\u202e")
    shown = cli.run("accounts", "show", "billing").output
    assert "1 in a row:  ]0;owned [red]no[/red]" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


@pytest.mark.parametrize("tag", ["finance", "=finance", ""])
def test_a_tag_without_name_or_value_is_wrong_usage(cli: Harness, tag: str) -> None:
    result = cli.run("accounts", "add", "b", "--host", "h", "--username", "u", "--password", "env:X", "--tag", tag)
    assert (result.exit_code, cli.state.accounts) == (2, {})
    assert f"Invalid value for --tag: {tag!r} is not NAME=VALUE\n" in result.stderr


def test_a_paused_account_is_due_no_more_and_a_resumed_one_now(cli: Harness) -> None:
    cli.add(account("billing"))
    assert cli.run("accounts", "pause", "billing").output == "billing is paused\n"
    assert (cli.state.accounts["billing"].paused, cli.state.due) == (True, {})
    assert cli.run("accounts", "resume", "billing").output == "billing is active\n"
    assert cli.services.schedule.due_in(["billing"]) == {"billing": 0.0}


def test_resuming_an_account_that_backs_off_forgets_why(cli: Harness) -> None:
    cli.add(account("billing"))
    cli.state.states["billing"] = AccountState(failures=3, refusals=3, refused_mark="m", login_after=9e9)
    cli.services.schedule.set_due(["billing"], 86_400)
    assert cli.run("accounts", "resume", "billing").exit_code == 0
    assert cli.state.states["billing"] == AccountState()
    assert cli.services.schedule.due_in(["billing"]) == {"billing": 0.0}


def test_removing_keeps_the_ledger_unless_told_to_erase_it(cli: Harness) -> None:
    cli.add(account("billing"), account("orders"))
    cli.state.ledgers |= {"billing": b"x", "orders": b"x"}
    assert cli.run("accounts", "remove", "billing").output == "billing is removed; its ledger is kept\n"
    assert cli.run("accounts", "remove", "orders", "--erase").output == "orders is removed, with its ledger\n"
    assert (sorted(cli.state.ledgers), cli.state.accounts, cli.state.due) == (["billing"], {}, {})


def test_a_ledger_that_was_kept_is_erased_later(cli: Harness) -> None:
    remember(cli)
    assert cli.run("accounts", "remove", "billing", "--erase").output == "billing is removed, with its ledger\n"
    assert cli.state.ledgers == {}


@pytest.mark.parametrize("command", ["show", "pause", "resume", "remove", "remove --erase", "check"])
def test_an_unknown_id_is_a_failure_with_its_line(command: str, cli: Harness) -> None:
    result = cli.run("accounts", *command.split(), "nobody")
    assert (result.exit_code, result.stderr) == (1, "error: nobody: no such account (mailsluice accounts list)\n")


def test_check_says_what_the_server_can_do(cli: Harness) -> None:
    cli.add(account("billing"))
    lines = [re.split("  +", line) for line in cli.run("accounts", "check", "billing").output.splitlines()]
    assert ["before login", "PIPELINING UIDL"] in lines
    assert ["certificate", "good until 2027-01-31, 67 days"] in lines
    assert ["LOGIN-DELAY", "60 s"] in lines
    assert ["fingerprint", "sha256:" + "ab" * 32] in lines


def test_a_check_that_fails_is_one_line(cli: Harness) -> None:
    cli.add(account("billing"))
    cli.poller.refusal = CertificateRejected("the certificate expired", todo="renew it")
    result = cli.run("accounts", "check", "billing")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "error: the certificate expired (renew it)\n")


def remember(cli: Harness) -> None:
    records = [
        Record(uidl_digest(b"1"), b"identity", Kind.STORED, 29_400_000),
        Record(uidl_digest(b"2"), NO_IDENTITY, Kind.SEEDED, 29_300_000),
    ]
    cli.state.ledgers["billing"] = new_header() + encode(records)


def test_the_ledger_is_shown_a_record_a_line(cli: Harness) -> None:
    remember(cli)
    *lines, last = cli.run("accounts", "show", "billing", "--ledger").output.splitlines()
    assert [line.split() for line in lines] == [
        ["UIDL", "DIGEST", "IDENTITY", "KIND", "SINCE"],
        [uidl_digest(b"2").hex(), "-", "seeded", "2025-09-16T05:20:00+00:00"],
        [uidl_digest(b"1").hex(), b"identity".hex(), "stored", "2025-11-24T16:00:00+00:00"],
    ]
    assert last == "2 records, 56 B: 1 seeded, 1 stored"


def test_the_ledger_as_json_names_every_record(cli: Harness) -> None:
    remember(cli)
    shown = json.loads(cli.run("accounts", "show", "billing", "--ledger", "--json").output)
    assert (shown["account"], shown["octets"], len(shown["records"])) == ("billing", 56, 2)
    assert shown["records"][0]["identity_digest"] is None


def test_a_ledger_of_no_records_says_so_and_an_unknown_account_is_a_failure(cli: Harness) -> None:
    cli.add(account("billing"))
    assert (
        cli.run("accounts", "show", "billing", "--ledger").output
        == "UIDL DIGEST  IDENTITY  KIND  SINCE\nnothing is remembered\n"
    )
    assert cli.run("accounts", "show", "nobody", "--ledger").exit_code == 1
