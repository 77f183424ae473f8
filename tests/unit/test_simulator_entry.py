"""`python -m ingest.simulator`, as a person or a script runs it."""

from __future__ import annotations

import io
import poplib
import re
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from ingest.simulator.__main__ import main

ROOT = Path(__file__).parents[2]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ingest.simulator", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def listening_port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    found = re.search(r"port (\d+)", process.stdout.readline())
    assert found
    return int(found[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_serves_and_ends_at_a_signal(number: signal.Signals) -> None:
    with start("--port", "0") as process:
        client = poplib.POP3("127.0.0.1", listening_port(process), timeout=10)
        client.user("billing")
        client.pass_("sample")
        assert len(client.list()[1]) == 4
        client.retr(1)
        client.quit()
        process.send_signal(number)
        assert process.stdout is not None
        rest = process.stdout.read()
    assert process.returncode == 0
    assert rest.splitlines() == [
        "  user billing   4 messages",
        "  user orders    5 messages",
        "  user reports   3 messages",
        "1 sessions, 1 logins, 1 messages retrieved, 0 deleted",
    ]


@pytest.mark.parametrize("implicit", [False, True], ids=["stls", "implicit"])
def test_with_a_certificate_it_speaks_tls(tmp_path: Path, implicit: bool) -> None:
    ca = trustme.CA()
    pem = tmp_path / "server.pem"
    ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(pem)
    context = ssl.create_default_context()
    ca.configure_trust(context)
    with start("--cert", str(pem), *(["--implicit-tls"] if implicit else [])) as process:
        port = listening_port(process)
        if implicit:
            client: poplib.POP3 = poplib.POP3_SSL("localhost", port, timeout=10, context=context)
        else:
            client = poplib.POP3("localhost", port, timeout=10)
            client.stls(context)
        client.user("orders")
        client.pass_("sample")
        client.quit()
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert process.returncode == 0


def test_a_taken_port_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--port", str(taken.getsockname()[1])], io.StringIO()) == 1
    error = capsys.readouterr().err
    assert error.startswith("can't serve: ")
    assert error.count("\n") == 1


def test_implicit_tls_without_a_certificate_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--implicit-tls"])
    assert "needs --cert" in capsys.readouterr().err


def test_an_unknown_behaviour_is_wrong_usage_and_a_known_one_plays(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--behaviour", "uidl-nome"])
    assert "near it: uidl-none" in capsys.readouterr().err
    with start("--behaviour", "greeting-bare") as process:
        client = poplib.POP3("127.0.0.1", listening_port(process), timeout=10)
        assert client.getwelcome() == b"+OK"
        client.quit()
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "  behaves: greeting-bare\n"
