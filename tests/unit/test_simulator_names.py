"""The list of named behaviours, held to the knobs, to our errors and to its page; and the fixtures that ship."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from ingest import errors
from ingest.errors import IngestError
from ingest.simulator.acts import Refuse
from ingest.simulator.attacks import ATTACKS
from ingest.simulator.behaviour import Behaviour, Sizes
from ingest.simulator.behaviours import SKIPPED, WORKS, Named, combined
from ingest.simulator.names import ALL, behaviour_named
from ingest.simulator.quirks import QUIRKS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/simulator.md").read_text("utf-8")
ROW = re.compile(r"^\| `([a-z0-9-]+)` \| (.*) \| (\S+) \| (\S+) \|$", re.MULTILINE)
# Each has its name in test_simulator_behaviour; here only what makes no behaviour of its own.
UNNAMED = {"latency_s", "pace_s", "exclusive", "refuse_dele"}


def test_each_name_is_there_once_and_spelt_as_names_are() -> None:
    assert len(ALL) == len(QUIRKS) + len(ATTACKS)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in ALL)


def test_each_expectation_is_an_outcome_or_the_code_of_an_error() -> None:
    codes = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, IngestError)}
    assert {named.expected for named in ALL.values()} <= codes | {WORKS, SKIPPED}


def test_each_knob_is_turned_by_some_name() -> None:
    plain = Behaviour()
    turned = {
        field.name
        for named in ALL.values()
        for field in fields(Behaviour)
        if getattr(named.behaviour, field.name) != getattr(plain, field.name)
    }
    assert turned == {field.name for field in fields(Behaviour)} - UNNAMED


def documented(named: Iterator[Named] | tuple[Named, ...]) -> list[tuple[str, ...]]:
    return [(each.name, each.what, each.expected, each.over.value) for each in named]


def test_the_page_lists_every_behaviour_as_it_is() -> None:
    assert ROW.findall(PAGE) == documented(QUIRKS) + documented(ATTACKS)


def test_names_together_play_at_once() -> None:
    both = behaviour_named(["uidl-none", "list-zero", "dele-refused", "noop-none", "uidl-none"])
    assert (both.uidl, both.sizes) == (False, Sizes.ZERO)
    assert set(both.script) == {"DELE", "NOOP"}
    assert behaviour_named([]) == Behaviour()


def test_names_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match=r"list-zero, list-huge do not go together: .*sizes"):
        behaviour_named(["list-zero", "list-huge"])
    with pytest.raises(ValueError, match="DELE"):
        combined(Behaviour(script={"DELE": Refuse(text)}) for text in ("a", "b"))


def test_an_unknown_name_is_refused_with_those_near_it() -> None:
    with pytest.raises(ValueError, match=r"no behaviour 'uidl-nome'; near it: .*uidl-none"):
        behaviour_named(["uidl-nome"])


def run_pytest(directory: Path, test: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, which loads the plugin by its module: an installation may not know it yet."""
    (directory / "test_client.py").write_text(test, "utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "ingest.simulator.pytest_plugin", "-p", "no:cacheprovider", "."],
        cwd=directory,
        env={"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_pages_example_of_the_fixtures_runs(tmp_path: Path) -> None:
    [example] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    done = run_pytest(tmp_path, example)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


SERVERS = """
import poplib, socket
import pytest

USERS = {"ann": ("secret", [b"Subject: a\\r\\n\\r\\nb\\r\\n"])}
ports = []

def test_two_servers_with_knobs_and_stls(pop3_server, pop3_authority):
    plain = pop3_server(USERS, latency_s=0.01, greeting="mine", apop=False)
    other = pop3_server(USERS, "uidl-none", "list-zero", tls="starttls")
    ports.extend([plain.port, other.port])
    assert poplib.POP3("127.0.0.1", plain.port).getwelcome() == b"+OK mine"
    client = poplib.POP3("localhost", other.port)
    client.stls(pop3_authority.client_context())
    client.user("ann")
    client.pass_("secret")
    assert client.list()[1] == [b"1 0"]
    client.quit()

def test_they_ended_with_the_test():
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))

def test_wrong_words_are_refused(pop3_server):
    with pytest.raises(ValueError, match="no behaviour"):
        pop3_server(USERS, "nonsense")
    with pytest.raises(ValueError, match="tls is"):
        pop3_server(USERS, tls="ssl")
"""


def test_the_fixtures_start_servers_as_asked_and_end_them_with_the_test(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, SERVERS)
    assert "3 passed" in done.stdout, done.stdout


def test_the_plugin_loads_nothing_heavy_by_itself() -> None:
    code = "import sys, ingest.simulator.pytest_plugin; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert not {"cryptography", "redis", "boto3", "pydantic", "ingest.simulator.server"} & loaded
