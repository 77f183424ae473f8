"""`accounts add someone@example.com`: nothing is stored before a yes."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from cli_harness import Harness, account, harness
from click.testing import Result
from fake_names import HELLO, FakeDialer, FakeNames
from pop3_scripts import Step

from ingest.cli import account_add
from ingest.errors import HostUnreachable, IngestError
from ingest.models import Tls
from ingest.ports import ServiceRecord
from ingest.settings import Settings

KEY = "QUFB" * 10 + "QUE="
POP3S, POP3 = "_pop3s._tcp.example.com", "_pop3._tcp.example.com"
INSIDE = FakeNames({POP3S: [ServiceRecord("in.example.com", 1995, 0, 0)]})
OUTSIDE = FakeNames({POP3S: [ServiceRecord("pop.other.net", 995, 0, 0)]})
Servers = dict[tuple[str, int], Sequence[Step] | IngestError]
SERVERS: Servers = {("in.example.com", 1995): HELLO, ("pop.other.net", 995): HELLO, ("pop.gmail.com", 995): HELLO}


def cli_with(names: FakeNames, servers: Servers | None = None, settings: Settings | None = None) -> Harness:
    cli = harness(settings)
    dialer = FakeDialer(SERVERS if servers is None else servers)
    cli.services.__dict__ |= {"names": names, "dialer": dialer}
    return cli


def add(cli: Harness, *more: str, address: str = "someone@example.com", stdin: str | None = None) -> Result:
    return cli.run("accounts", "add", address, "--password", "env:PW", *more, stdin=stdin)


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_add, "_on_terminal", lambda: True)


def test_what_was_found_is_said_and_with_yes_stored() -> None:
    cli = cli_with(INSIDE)
    result = add(cli, "--yes", "--keep", "14d", "--tag", "team=finance")
    assert result.exit_code == 0, result.stderr
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[:2] == [
        "SERVER TLS FOUND BY ANSWER",
        "in.example.com:1995 implicit SRV _pop3s._tcp TLSv1.3, certificate verified, good until 2027-01-31: ready",
    ]
    assert "user name someone@example.com (the whole address; --username takes another)" in lines
    stored = cli.state.accounts["someone-example.com"]
    assert (stored.host, stored.port, stored.tls) == ("in.example.com", 1995, Tls.IMPLICIT)
    assert (stored.username, stored.password, stored.keep_s) == ("someone@example.com", "env:PW", 14 * 86400)
    assert cli.services.schedule.due_in(["someone-example.com"]) == {"someone-example.com": 0.0}


def test_off_a_terminal_it_prints_what_was_found_and_wants_a_yes() -> None:
    cli = cli_with(INSIDE)
    result = add(cli)
    assert result.exit_code == 2
    assert "in.example.com:1995" in result.stdout
    assert "nothing was stored: there is no terminal to ask on; if it is right, add --yes\n" in result.stderr
    assert (cli.state.accounts, cli.state.due) == ({}, {})


@pytest.mark.usefixtures("on_terminal")
@pytest.mark.parametrize(("answer", "stored"), [("y\n", ["someone-example.com"]), ("n\n", []), ("\n", [])])
def test_on_a_terminal_it_asks_and_a_no_stores_nothing(answer: str, stored: list[str]) -> None:
    cli = cli_with(INSIDE)
    result = add(cli, stdin=answer)
    assert "Store someone-example.com with in.example.com:1995?" in result.stderr
    assert (list(cli.state.accounts), result.exit_code) == (stored, 0 if stored else 1)


def test_a_host_outside_of_the_domain_needs_a_yes_of_its_own() -> None:
    cli = cli_with(OUTSIDE)
    refused = add(cli, "--yes")
    assert refused.exit_code == 2
    assert "(outside)" in refused.stdout
    assert "pop.other.net is not within example.com" in refused.stderr
    assert "add --trust-srv" in refused.stderr
    assert cli.state.accounts == {}
    assert add(cli, "--yes", "--trust-srv").exit_code == 0
    assert cli.state.accounts["someone-example.com"].host == "pop.other.net"


@pytest.mark.usefixtures("on_terminal")
def test_who_is_asked_about_a_host_outside_is_told_so() -> None:
    result = add(cli_with(OUTSIDE), stdin="n\n")
    assert "pop.other.net is not within example.com" in result.stderr
    assert "Whoever runs it will get the password." in result.stderr


def test_a_providers_host_needs_no_trust_in_records_and_its_password_is_explained() -> None:
    names = FakeNames({POP3S: [ServiceRecord("pop.gmail.com", 995, 0, 0)]}, {"example.com": ["aspmx.l.google.com"]})
    result = add(cli_with(names), "--yes")
    assert result.exit_code == 0
    assert "app password" in result.stdout


def test_json_holds_every_trial_what_was_chosen_and_what_was_stored() -> None:
    found = json.loads(add(cli_with(INSIDE), "--yes", "--json").stdout)
    assert (found["address"], found["chosen"]["host"]) == ("someone@example.com", "in.example.com")
    assert found["trials"][0]["seen"]["tls_version"] == "TLSv1.3"
    assert (found["stored"]["id"], found["stored"]["port"]) == ("someone-example.com", 1995)


@pytest.mark.usefixtures("on_terminal")
def test_json_never_asks_and_without_a_yes_says_that_nothing_was_stored() -> None:
    cli = cli_with(INSIDE)
    result = add(cli, "--json")
    found = json.loads(result.stdout)
    assert (found["chosen"]["port"], found["stored"], result.exit_code) == (1995, None, 2)
    assert cli.state.accounts == {}


def test_no_server_is_a_failure_that_shows_what_was_tried() -> None:
    cli = cli_with(FakeNames())
    result = add(cli, "--yes")
    assert (result.exit_code, cli.state.accounts) == (1, {})
    assert result.stdout.count("does not resolve") == 6
    assert result.stderr == "error: no POP3 server was found for someone@example.com (--host names one)\n"


def test_a_domain_that_says_it_has_no_pop3_is_believed() -> None:
    dot = [ServiceRecord(".", 0, 0, 0)]
    result = add(cli_with(FakeNames({POP3S: dot, POP3: dot})), "--yes")
    assert result.exit_code == 1
    assert "example.com says by its DNS records that it offers no POP3" in result.stderr


def test_a_dns_that_fails_is_a_note_beside_what_was_found() -> None:
    cli = cli_with(FakeNames(trouble=HostUnreachable("no answer")), {("pop.example.com", 995): HELLO})
    result = add(cli, "--yes")
    assert "note: no answer; SRV records may be missing here" in result.stdout
    assert cli.state.accounts["someone-example.com"].host == "pop.example.com"


def test_an_id_and_a_user_name_of_ones_own() -> None:
    cli = cli_with(INSIDE)
    assert add(cli, "--yes", "--id", "billing", "--username", "someone").exit_code == 0
    assert cli.state.accounts["billing"].username == "someone"


def test_an_address_with_a_host_is_not_looked_for() -> None:
    names = FakeNames()
    cli = cli_with(names)
    assert add(cli, "--host", "pop.example.com").exit_code == 0
    assert names.asked == []
    assert cli.state.accounts["someone-example.com"].username == "someone@example.com"


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (("--port", "995"), "--port goes with --host"),
        (("--tls", "none"), "--tls goes with --host"),
        (("--allow-plaintext",), "--allow-plaintext goes with --host"),
        (("--fingerprint", "sha256:" + "ab" * 32), "--fingerprint goes with --host"),
        (("--keep", "long"), "keep: 'long' is not forever"),
        (("--prompt",), "give either --password or --prompt"),
    ],
)
def test_what_is_wrong_is_said_before_the_network_is_asked(more: tuple[str, ...], line: str) -> None:
    names = FakeNames()
    result = add(cli_with(names), *more)
    assert (result.exit_code, names.asked) == (2, [])
    assert line in result.stderr


def test_an_id_that_is_taken_is_said_before_the_network_is_asked() -> None:
    names = FakeNames()
    cli = cli_with(names)
    cli.add(account("someone-example.com"))
    result = add(cli, "--yes")
    assert (result.exit_code, names.asked) == (1, [])
    assert "there is one of this id" in result.stderr


@pytest.mark.parametrize("missing", ["host", "username"])
def test_an_id_still_needs_host_and_user_name(missing: str) -> None:
    given = {"host": "pop.example.com", "username": "u", "password": "env:PW"}
    arguments = [part for key, value in given.items() if key != missing for part in (f"--{key}", value)]
    result = harness().run("accounts", "add", "billing", *arguments)
    assert result.exit_code == 2
    assert f"an id needs --{missing}" in result.stderr


def test_a_prompted_password_is_asked_for_after_the_yes_and_stored_sealed() -> None:
    cli = cli_with(INSIDE, settings=Settings(secret_key=KEY))
    result = cli.run("accounts", "add", "someone@example.com", "--prompt", "--yes", stdin="canary\n")
    assert result.exit_code == 0
    assert "canary" not in result.output
    stored = cli.state.accounts["someone-example.com"].password
    assert cli.services.secrets.resolve(stored).reveal() == "canary"


def test_what_a_server_or_the_dns_says_can_do_nothing_to_the_terminal() -> None:
    greeting: Step = (b"", b"+OK \x1b]0;owned\x07[red]no[/red]\r\n")
    shown = add(cli_with(INSIDE, {("in.example.com", 1995): (greeting, *HELLO[1:])}), "--yes").stdout
    assert "[red]no[/red]" in shown
    assert not {"\x1b", "\x07"} & set(shown)
