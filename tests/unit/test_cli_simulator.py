"""`mailsluice simulator`: what it lists, serves and refuses."""

from __future__ import annotations

import json
import poplib
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingest.cli.main import mailsluice
from ingest.simulator.names import ALL

ROOT = Path(__file__).parents[2]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ingest", "simulator", "--json", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_the_list_has_every_behaviour_for_people_and_for_programs() -> None:
    shown = CliRunner().invoke(mailsluice, ["simulator", "--list"]).stdout.splitlines()
    assert [line.split()[0] for line in shown[1:]] == list(ALL)
    told = json.loads(CliRunner().invoke(mailsluice, ["simulator", "--list", "--json"]).stdout)
    assert [each["name"] for each in told] == list(ALL)
    assert told[-1].keys() == {"name", "what", "expected", "over"}


def test_it_plays_what_it_is_told_over_tls_of_its_own_and_says_what_clients_did(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    with start("--behaviour", "uidl-none", "--behaviour", "list-zero", "--tls", "implicit", "--ca-file", str(ca)) as it:
        assert it.stdout is not None
        beginning = json.loads(it.stdout.readline())
        assert beginning["behaviours"] == ["uidl-none", "list-zero"]
        assert beginning["users"] == {"billing": 4, "orders": 5, "reports": 3}
        context = ssl.create_default_context(cafile=str(ca))
        client = poplib.POP3_SSL("localhost", beginning["port"], timeout=10, context=context)
        client.user("billing")
        client.pass_("sample")
        assert client.list()[1][0] == b"1 0"
        with pytest.raises(poplib.error_proto, match="unknown command"):
            client.uidl()
        client.quit()
        it.send_signal(signal.SIGINT)
        figures = json.loads(it.stdout.read())
    assert it.returncode == 0
    assert (figures["sessions"], figures["logins"], figures["retrieved"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--behaviour", "uidl-nome"], "near it: uidl-none"),
        (["--behaviour", "list-zero", "--behaviour", "list-huge"], "do not go together"),
        (["--behaviour", "stls-none"], "stls-none shows over STARTTLS only"),
        (["--behaviour", "stls-none", "--tls", "implicit"], "stls-none shows over STARTTLS only"),
        (["--behaviour", "tls-hangs"], "tls-hangs shows over TLS only"),
        (["--behaviour", "certificate-expired", "--tls", "implicit", "--cert", "x"], "needs a throw-away certificate"),
        (["--ca-file", "x"], "--ca-file needs --tls"),
        (["--cert", "x"], "--cert needs --tls"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(arguments: list[str], complaint: str) -> None:
    done = CliRunner().invoke(mailsluice, ["simulator", *arguments])
    assert done.exit_code == 2
    assert complaint in done.stderr.replace("\n", " ")


def test_a_certificate_that_can_not_be_read_is_one_line() -> None:
    done = CliRunner().invoke(mailsluice, ["simulator", "--tls", "implicit", "--cert", "/nowhere/x.pem"])
    assert done.exit_code == 1
    assert done.stderr == "can't serve TLS: /nowhere/x.pem: No such file or directory\n"


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("hello")
    done = CliRunner().invoke(mailsluice, ["simulator", "--tls", "implicit", "--cert", str(tmp_path / "x.pem")])
    assert done.exit_code == 1
    assert done.stderr == f"can't serve TLS: {tmp_path / 'x.pem'}: holds no certificate with its key in PEM\n"


def test_a_port_that_is_taken_is_one_line_with_host_and_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = CliRunner().invoke(mailsluice, ["simulator", "--port", str(port)])
    assert done.exit_code == 1
    assert done.stderr == f"can't serve: 127.0.0.1 port {port}: Address already in use\n"
