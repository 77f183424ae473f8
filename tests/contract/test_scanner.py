"""One suite for every virus scanner, in memory and clamd by both of its sockets; then what only clamd can do."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import subprocess
import tempfile
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from conftest import available
from objects import Generated
from servers.clamd import EICAR, SIGNATURE, STREAM_MAX_BYTES, ClamdServer
from servers.process import free_ports

from ingest.adapters.clamd import ClamdScanner
from ingest.adapters.memory_scanner import MemoryScanner
from ingest.adapters.spool import Spools
from ingest.errors import Fault, IngestError, MessageUnprocessable, Retry, ScannerUnavailable
from ingest.mime.decoders import decoded
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message
from ingest.models import Scan, Verdict
from ingest.ports import Scanner

CLEAN = Verdict(Scan.CLEAN)
FINE, DEAD = b"stream: OK\0", b""  # answers of an impostor


@dataclass
class World:
    """A scanner that knows EICAR's test string, and how to switch it off."""

    scanner: Scanner
    down: Callable[[], None]


@contextlib.contextmanager
def clamd(**arguments: Any) -> Iterator[ClamdServer]:  # noqa: ANN401  # as ClamdServer takes them
    """One of this test's own."""
    with (
        available(),
        tempfile.TemporaryDirectory(prefix="clamd-") as directory,
        ClamdServer(Path(directory), **arguments) as server,
    ):
        yield server


def memory() -> World:
    scanner = MemoryScanner({EICAR: SIGNATURE}, max_bytes=STREAM_MAX_BYTES)
    return World(scanner, lambda: setattr(scanner, "down", True))


@pytest.fixture(
    params=["memory", pytest.param("unix", marks=pytest.mark.real), pytest.param("tcp", marks=pytest.mark.real)]
)
def scanner(request: pytest.FixtureRequest) -> Scanner:
    if request.param == "memory":
        return memory().scanner
    server: ClamdServer = request.getfixturevalue("clamd_server")
    return ClamdScanner(server.unix_url if request.param == "unix" else server.tcp_url)


@pytest.fixture(
    params=["memory", pytest.param("unix", marks=pytest.mark.real), pytest.param("tcp", marks=pytest.mark.real)]
)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """One that may be switched off."""
    if request.param == "memory":
        yield memory()
        return
    with clamd() as server:
        yield World(ClamdScanner(server.unix_url if request.param == "unix" else server.tcp_url), server.stop)


def scan(scanner: Scanner, content: bytes) -> Verdict:
    return scanner.scan(io.BytesIO(content), len(content))


def is_eicar(verdict: Verdict) -> bool:
    return verdict.scan is Scan.INFECTED and (verdict.detail or "").startswith(SIGNATURE)


@pytest.mark.parametrize("size", [0, 1, 64 << 10, (64 << 10) + 1, 1 << 20])
def test_what_holds_no_virus_is_clean(scanner: Scanner, size: int) -> None:
    assert scan(scanner, os.urandom(size)) == CLEAN


@pytest.mark.parametrize("before", [0, 1, (64 << 10) - 20, 1 << 20])
def test_a_virus_is_found_wherever_it_stands_and_named(scanner: Scanner, before: int) -> None:
    assert is_eicar(scan(scanner, b"x" * before + EICAR))


def test_an_attachment_is_scanned_as_it_is_decoded(scanner: Scanner, tmp_path: Path) -> None:
    message = EmailMessage()
    message["Subject"] = "harmless"
    message.set_content("see attachment\n")
    message.add_attachment(EICAR, maintype="application", subtype="octet-stream", filename="invoice.com")
    octets = message.as_bytes()
    assert EICAR not in octets
    [part] = read_message(memoryview(octets), MimeLimits()).attachments
    with contextlib.closing(Spools(tmp_path)()) as spool:
        for chunk in decoded(memoryview(octets), part):
            spool.write(chunk)
        spool.seal()
        with spool.open() as body:
            assert is_eicar(scanner.scan(body, spool.size))


def test_a_body_is_scanned_from_its_start_wherever_it_stands(scanner: Scanner) -> None:
    body = io.BytesIO(EICAR)
    for _ in range(2):
        assert is_eicar(scanner.scan(body, len(EICAR)))


def test_what_lies_behind_the_announced_size_is_not_scanned(scanner: Scanner) -> None:
    assert scanner.scan(io.BytesIO(b"four" + EICAR), 4) == CLEAN


def test_what_is_too_large_for_it_is_unscanned_and_says_so(scanner: Scanner) -> None:
    size = STREAM_MAX_BYTES + 1
    verdict = scanner.scan(cast("BinaryIO", Generated(size)), size)
    assert verdict.scan is Scan.UNSCANNED
    assert "larger than" in (verdict.detail or "")


def test_many_threads_share_one(scanner: Scanner) -> None:
    bodies = [EICAR if n % 3 == 0 else b"harmless" for n in range(30)]
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda body: scan(scanner, body), bodies))
    assert [is_eicar(verdict) for verdict in verdicts] == [body is EICAR for body in bodies]


def test_one_that_is_up_is_pinged_without_complaint(scanner: Scanner) -> None:
    scanner.ping()
    scanner.close()


def test_one_that_is_down_is_unavailable_by_our_fault_and_soon_tried_again(world: World) -> None:
    assert scan(world.scanner, b"harmless") == CLEAN
    world.down()
    for ask in (world.scanner.ping, lambda: scan(world.scanner, b"harmless")):
        with pytest.raises(ScannerUnavailable) as raised:
            ask()
        assert (raised.value.fault, raised.value.retry) == (Fault.OURS, Retry.SOON)
        assert raised.value.todo
        assert "\n" not in str(raised.value)


# clamd alone


@pytest.fixture(params=["unix_url", "tcp_url"])
def url(request: pytest.FixtureRequest, clamd_server: ClamdServer) -> str:
    return str(getattr(clamd_server, request.param))


def test_a_body_of_30_mb_takes_no_more_memory_than_a_few_chunks(url: str) -> None:
    scanner = ClamdScanner(url)
    body = Generated(30 << 20)
    tracemalloc.start()
    try:
        assert scanner.scan(cast("BinaryIO", body), body.size) == CLEAN
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert body.position == body.size
    assert peak < 1 << 20


@pytest.mark.parametrize("size", [2 << 20, 30 << 20])
@pytest.mark.parametrize("by", ["unix_url", "tcp_url"])
@pytest.mark.real
def test_the_answer_that_clamd_leaves_when_it_closes_on_a_large_body_is_read(by: str, size: int) -> None:
    with clamd(stream_max_bytes=1 << 20) as server:
        scanner = ClamdScanner(getattr(server, by))
        verdict = scanner.scan(cast("BinaryIO", Generated(size)), size)
        assert verdict == Verdict(Scan.UNSCANNED, "larger than clamd's StreamMaxLength")


@pytest.mark.real
def test_what_clamd_s_own_limits_leave_out_is_unscanned_where_it_says_so() -> None:
    with clamd(max_file_bytes=1 << 20, settings="AlertExceedsMax yes") as server:
        scanner = ClamdScanner(server.unix_url)
        verdict = scan(scanner, bytes(2 << 20))
        assert (verdict.scan, verdict.detail) == (Scan.UNSCANNED, "beyond clamd's MaxFileSize")


@pytest.mark.real
def test_the_configuration_that_is_deployed_is_one_that_clamd_takes() -> None:
    with clamd(), tempfile.TemporaryDirectory(prefix="clamd-") as directory:
        deployed = (Path(__file__).parents[2] / "deploy" / "clamd.conf").read_text()
        given = Path(directory) / "clamd.conf"
        given.write_text(f"DatabaseDirectory {directory}\n{deployed}")
        done = subprocess.run(["clamconf", f"--config-dir={directory}"], check=False, capture_output=True, text=True)
        shown = done.stdout.partition("freshclam.conf")[0]
        assert 'AlertExceedsMax = "yes"' in shown
        assert "ERROR" not in done.stdout + done.stderr


class Treacherous(Generated):
    """A body that does something in the middle."""

    def __init__(self, size: int, does: Callable[[], None]) -> None:
        super().__init__(size)
        self._does = does

    def readinto(self, target: bytearray, /) -> int:  # type: ignore[override]
        if self.position < self.size // 2 <= self.position + len(target):
            self._does()
        return super().readinto(target)


@pytest.mark.parametrize("by", ["unix_url", "tcp_url"])
@pytest.mark.real
def test_a_clamd_that_is_killed_while_it_takes_a_body_is_unavailable_and_serves_once_it_is_back(by: str) -> None:
    with clamd() as server:
        scanner = ClamdScanner(getattr(server, by), doubt_s=0)
        body = Treacherous(20 << 20, server.kill)
        with pytest.raises(ScannerUnavailable, match="broke off"):
            scanner.scan(cast("BinaryIO", body), body.size)
        server.start()
        assert is_eicar(scan(scanner, EICAR))


@pytest.mark.parametrize("by", ["unix_url", "tcp_url"])
@pytest.mark.real
def test_a_clamd_that_stands_still_is_unavailable_in_time(by: str) -> None:
    with clamd() as server:
        scanner = ClamdScanner(getattr(server, by), timeout_s=0.3, doubt_s=0)
        server.pause()
        with pytest.raises(ScannerUnavailable, match=r"gave no answer within 0\.3 s"):
            scan(scanner, b"harmless")
        with pytest.raises(ScannerUnavailable, match="took too long to take the body"):
            scanner.scan(cast("BinaryIO", Generated(30 << 20)), 30 << 20)
        with pytest.raises(ScannerUnavailable):
            scanner.ping()
        server.resume()
        assert scan(scanner, b"harmless") == CLEAN


@pytest.mark.real
def test_a_body_that_is_shorter_than_announced_is_not_called_clean(clamd_server: ClamdServer) -> None:
    with pytest.raises(IngestError, match="only 5 of 9 octets"):
        ClamdScanner(clamd_server.unix_url).scan(io.BytesIO(b"short"), 9)


@pytest.mark.real
def test_a_body_that_can_t_be_read_is_not_laid_to_clamd(clamd_server: ClamdServer) -> None:
    def fail() -> None:
        raise TimeoutError("a disk that does not answer")

    body = Treacherous(1 << 20, fail)
    with pytest.raises(TimeoutError, match="a disk"):
        ClamdScanner(clamd_server.unix_url).scan(cast("BinaryIO", body), body.size)


def test_a_host_that_does_not_resolve_is_told_by_name() -> None:
    with pytest.raises(ScannerUnavailable, match=r"clamd can't be reached: host nowhere\.invalid does not resolve"):
        ClamdScanner("tcp://nowhere.invalid:3310").ping()


def test_a_port_on_which_nobody_listens_is_told_by_name() -> None:
    [port] = free_ports(1)
    with pytest.raises(ScannerUnavailable, match=f"no connection to clamd at 127.0.0.1:{port}: Connection refused"):
        ClamdScanner(f"tcp://127.0.0.1:{port}").ping()


def test_a_path_that_no_socket_can_have_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path / ("x" * 200)):
        with pytest.raises(ScannerUnavailable, match="no connection to clamd"):
            ClamdScanner(f"unix://{path}").ping()


# What is not clamd, or not in its right mind


def test_a_body_at_which_clamd_breaks_off_is_unscanned_where_it_still_scans_others() -> None:
    with impostor(FINE, b"", FINE, b"", FINE) as url:
        verdict = scan(ClamdScanner(url, timeout_s=5), b"bad")
    assert verdict.scan is Scan.UNSCANNED
    assert "broke off" in (verdict.detail or "")


def test_a_body_at_which_clamd_breaks_off_once_is_scanned_again() -> None:
    with impostor(FINE, b"", FINE, b"stream: Bad FOUND\0") as url:
        assert scan(ClamdScanner(url, timeout_s=5), b"bad") == Verdict(Scan.INFECTED, "Bad")


def test_a_body_that_ends_a_clamd_which_worked_right_before_is_its_message_s_fault() -> None:
    with impostor(FINE, b"", DEAD) as url, pytest.raises(MessageUnprocessable, match="ends clamd") as raised:
        scan(ClamdScanner(url, timeout_s=0.3), b"deadly")
    assert (raised.value.fault, raised.value.retry) == (Fault.MESSAGE, Retry.LATER)


def test_a_clamd_that_ends_at_a_body_long_after_it_was_seen_to_work_is_laid_to_that_body_the_second_time() -> None:
    with impostor(FINE, b"", DEAD, FINE, FINE, FINE, b"", DEAD) as url:
        scanner = ClamdScanner(url, timeout_s=0.3)
        scanner._doubted_until = 0.0
        assert scan(scanner, b"harmless") == CLEAN
        with pytest.raises(ScannerUnavailable, match="broke off"):
            scan(scanner, b"deadly")
        assert scan(scanner, b"harmless") == CLEAN
        with pytest.raises(MessageUnprocessable, match="ends clamd"):
            scan(scanner, b"deadly")


def test_a_clamd_that_scans_nothing_any_more_is_laid_to_no_body() -> None:
    with impostor(DEAD) as url:
        scanner = ClamdScanner(url, timeout_s=0.3)
        for _ in range(3):
            with pytest.raises(ScannerUnavailable):
                scan(scanner, b"harmless")


def test_silence_is_laid_to_no_body_while_clamd_is_silent_to_all() -> None:
    with impostor(FINE, None) as url, pytest.raises(ScannerUnavailable, match="gave no answer"):
        scan(ClamdScanner(url, timeout_s=0.3), b"harmless")


@contextlib.contextmanager
def impostor(*scripts: bytes | None) -> Iterator[str]:
    """Listens as clamd would; says a script on each connection, once a command has ended, the last one over and over.

    None says nothing, and keeps the connection.
    """
    ended = threading.Event()
    kept: list[socket.socket] = []

    def serve(connection: socket.socket, script: bytes | None) -> None:
        heard = b""
        with contextlib.suppress(OSError):
            while not heard.endswith(bytes(4)) and heard != b"zPING\0":
                if not (more := connection.recv(1 << 16)):
                    break
                heard = heard[-16:] + more
            if script is None:
                kept.append(connection)
                return
            connection.sendall(script)
        connection.close()

    def accept() -> None:
        left = list(scripts)
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            serve(connection, left.pop(0) if len(left) > 1 else left[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            with contextlib.suppress(OSError):
                socket.create_connection(listener.getsockname()).close()
            thread.join(5)
            for connection in kept:
                connection.close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(None, "gave no answer within 0.3 s", id="silence"),
        pytest.param(b"", "broke off", id="nothing"),
        pytest.param(b"stream: O", "broke off", id="half an answer"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n\0", "answered HTTP/1.1 400 Bad Request", id="another protocol"),
        pytest.param(b"stream: \0", "answered stream", id="no verdict"),
        pytest.param(b"stream: FOUND\0", "answered stream: FOUND", id="no name"),
        pytest.param(b"stream: OK OK\0", "answered stream: OK OK", id="something behind it"),
        pytest.param(b"\xff\x1b[2J\0", "answered", id="not text"),
        pytest.param(b"x" * 100_000, "answered more than 4096 octets", id="no end"),
        pytest.param(b"Can't create temporary file ERROR\0", "temporary file ERROR", id="a full disk"),
    ],
)
def test_whatever_gives_no_verdict_to_anybody_is_unavailable(answer: bytes | None, said: str) -> None:
    with impostor(answer) as url, pytest.raises(ScannerUnavailable, match=said) as raised:
        scan(ClamdScanner(url, timeout_s=0.3), b"harmless")
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("answer", [None, b"", b"PING\0", b"x" * 100_000])
def test_whatever_does_not_answer_a_ping_with_pong_is_unavailable(answer: bytes | None) -> None:
    with impostor(answer) as url, pytest.raises(ScannerUnavailable, match="clamd at"):
        ClamdScanner(url, timeout_s=0.3).ping()


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (None, "clamd gave no answer within 0.3 s"),
        (b"Time limit reached ERROR\0", "clamd answered Time limit reached ERROR"),
    ],
)
def test_a_body_that_alone_comes_to_no_verdict_is_unscanned_so_that_it_stops_no_other(
    answer: bytes | None, detail: str
) -> None:
    with impostor(FINE, answer, FINE) as url:
        assert scan(ClamdScanner(url, timeout_s=0.3), b"a bomb") == Verdict(Scan.UNSCANNED, detail)


def test_a_signature_s_name_can_do_nothing_to_a_terminal_and_is_not_long() -> None:
    with impostor(FINE, b"stream: \x1b[2J" + b"x" * 3000 + b" FOUND\0") as url:
        verdict = scan(ClamdScanner(url, timeout_s=0.3), b"x")
    assert verdict.scan is Scan.INFECTED
    assert (verdict.detail or "").startswith("?[2Jxxx")
    assert len(verdict.detail or "") == 200
