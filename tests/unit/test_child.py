"""A message alone in a real child process: the good, the deadly, and what is left behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import tnef_writer as tnef
from house import InProcess, mail
from servers.process import wait_until

from ingest.adapters.spool import MessageSpool, Spools
from ingest.errors import (
    ConfigurationError,
    Fault,
    IngestError,
    LeaseLost,
    MessageUnprocessable,
    StoreRefused,
    StoreUnavailable,
)
from ingest.isolation import Isolation
from ingest.models import Account, MessageRef
from ingest.pipeline import Processed
from ingest.settings import Settings
from ingest.wiring import Services, build

ACCOUNT = Account("a", "pop.example.com", 995, "user", "sealed:canary", tags={"team": "finance"})
REF = MessageRef(7, 123, b"odd \xff\x00 uidl")
FIRST_SEEN = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
LARGE = (
    b"Subject: large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/x\r\n\r\n"
    + b"0123456789abcdef\r\n" * 200_000
    + b"\r\n--b--\r\n"
)
# Replaces the reader in the child, and tells the test the child's pid as soon as the message is its.
PATCH = """
import os, signal, sys, time
from pathlib import Path
from ingest import pipeline

reader = pipeline.read_message

def read_message(buffer, limits, deadline):
    Path({pid!r}).with_suffix(".new").write_text(str(os.getpid()))
    Path({pid!r}).with_suffix(".new").rename({pid!r})
{body}
    return reader(buffer, limits, deadline)

pipeline.read_message = read_message
"""


class Child:
    """Houses with a directory store, and what the test does to the reader of their children."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.pid_file = directory / "pid"
        self._patch = patch
        (directory / "store").mkdir()

    def sabotage(self, body: str) -> None:
        self._customize(PATCH.format(pid=str(self.pid_file), body=textwrap.indent(body, "    ")))

    def sabotage_start(self, body: str) -> None:
        self._customize(body)

    def _customize(self, text: str) -> None:
        path = self.directory / "path"
        path.mkdir()
        (path / "sitecustomize.py").write_text(text)
        self._patch.syspath_prepend(path)

    def services(self, **settings: object) -> Services:
        return build(
            Settings(
                **{
                    "storage_url": f"file://{self.directory}/store",
                    "data_dir": self.directory / "var",
                    "step_retry_s": 0,
                    "redis_url": "redis://:canary@127.0.0.1:1/0",
                    **settings,
                }
            )
        )

    def process(
        self,
        raw: bytes = b"",
        *,
        beat: Callable[[], None] = lambda: None,
        services: Services | None = None,
        **settings: object,
    ) -> Processed:
        return run((services or self.services(**settings)).isolation, raw or mail("one"), beat=beat)

    @property
    def pid(self) -> int:
        return int(self.pid_file.read_text())

    def is_gone(self) -> bool:
        return ended(self.pid)


def run(isolation: Isolation, raw: bytes, *, beat: Callable[[], None] = lambda: None) -> Processed:
    spool = sealed(raw)
    try:
        return isolation.process(ACCOUNT, REF, spool, first_seen=FIRST_SEEN, beat=beat)
    finally:
        spool.close()


def sealed(raw: bytes) -> MessageSpool:
    spool = Spools()()
    spool.write(raw)
    spool.seal()
    return spool


def ended(pid: int) -> bool:
    """Whether no such process runs. One whose new parent never asks how it ended has ended, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def untimed(done: Processed) -> dict[str, Any]:
    event = json.loads(done.event.json)
    del event["time"]
    return event


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Child:
    return Child(tmp_path, monkeypatch)


# The good


@pytest.fixture(scope="module")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lively]:
    """One child for all that a child may do while it works."""
    directory = tmp_path_factory.mktemp("lively")
    with pytest.MonkeyPatch.context() as patch:
        yield Lively.of(Child(directory, patch))


@dataclass(frozen=True)
class Lively:
    """What came of a child that prints, is asked to end, and works until it was heard of three times."""

    done: Processed
    argv: list[bytes]
    beats: int

    @classmethod
    def of(cls, child: Child) -> Lively:
        argv, go = child.directory / "argv", child.directory / "go"
        child.sabotage(
            "print('noise', flush=True); os.write(1, b'noise'); os.write(2, b'noise')\n"
            "os.kill(os.getpid(), signal.SIGTERM)\n"
            f"Path({str(argv)!r}).write_bytes(Path('/proc/self/cmdline').read_bytes())\n"
            f"while not Path({str(go)!r}).exists(): time.sleep(0.01)"
        )
        beats = 0

        def beat() -> None:
            nonlocal beats
            beats += child.pid_file.exists()
            if beats == 3:
                go.touch()

        return cls(child.process(beat=beat), argv.read_bytes().split(b"\0"), beats)


def test_the_child_tells_of_a_message_what_this_process_would(child: Child) -> None:
    services = child.services()
    alone = child.process(services=services)
    here = run(InProcess(services.pipeline), mail("one"))
    assert (alone.event.id, alone.event.type, untimed(alone)) == (here.event.id, here.event.type, untimed(here))
    assert (alone.identity, alone.attachments) == (here.identity, here.attachments)
    assert (alone.existed, here.existed) == (False, True)
    assert json.loads(alone.event.json)["data"]["first_seen"] == "2026-01-02T03:04:05.678901Z"


def test_a_large_message_and_its_objects_lie_in_s3(child: Child, s3_store_url: str) -> None:
    services = child.services(storage_url=s3_store_url)
    alone = child.process(LARGE, services=services)
    here = run(InProcess(services.pipeline), LARGE)
    assert untimed(alone) == untimed(here)
    assert (alone.attachments, alone.existed, here.existed) == (1, False, True)
    key = json.loads(alone.event.json)["data"]["raw"]["url"].removeprefix(f"{s3_store_url}/")
    with services.store.open(key) as stored:
        assert stored.read() == LARGE
    services.close()


def test_what_a_library_prints_does_not_spoil_the_answer(lively: Lively) -> None:
    assert untimed(lively.done)["data"]["subject"] == "one"


def test_a_child_that_is_asked_to_end_finishes_the_message(lively: Lively) -> None:
    assert lively.done.event.type == "mailsluice.message.received.v1"


def test_the_lease_is_kept_while_the_child_works(lively: Lively) -> None:
    assert lively.beats >= 3


def test_the_arguments_say_nothing(lively: Lively) -> None:
    assert lively.argv[1:] == [b"-P", b"-m", b"ingest", b"isolated", b""]


def test_threads_may_each_have_a_child_and_a_dead_one_costs_the_others_nothing(child: Child) -> None:
    child.sabotage("if b'deadly' in bytes(buffer): os.abort()")
    services = child.services()
    with ThreadPoolExecutor(2) as threads:
        dead, large = (threads.submit(child.process, raw, services=services) for raw in (mail("deadly"), LARGE))
        with pytest.raises(MessageUnprocessable, match="ended its process: SIGABRT"):
            dead.result()
        assert untimed(large.result())["data"]["subject"] == "large"


# The deadly


@pytest.mark.parametrize(
    ("does", "limits", "line"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", {}, "ended its process: SIGKILL"),
        ("import ctypes; ctypes.string_at(0)", {}, "ended its process: SIGSEGV"),
        ("os._exit(3)", {}, "ended its process: exit code 3"),
        ("while True: pass", {"suspect_cpu_s": 1}, "more than 1 s of CPU time"),
        ("time.sleep(100)", {"suspect_deadline_s": 1}, "could not be parsed within 1 s"),
        (
            "hoard = []\nwhile True: hoard.append(bytes(1 << 20))",
            {"suspect_memory_bytes": 400 << 20},
            "needs more than 400 MiB",
        ),
        ("import mmap; mmap.mmap(-1, 1 << 29)", {"suspect_memory_bytes": 400 << 20}, "needs more than 400 MiB"),
        ("raise ValueError('text of mail')", {}, "^the message can't be parsed: ValueError$"),
        ("from ingest.isolation import Word; Word.line = lambda self: b'{}\\n'", {}, "talk nonsense"),
        ("from ingest.isolation import Word; Word.line = lambda self: b' ' * (2 << 20)", {}, "talk nonsense"),
    ],
)
def test_what_a_message_does_to_its_process_is_its_own_fault(
    child: Child, does: str, limits: dict[str, float], line: str
) -> None:
    child.sabotage(does)
    with pytest.raises(MessageUnprocessable, match=line):
        child.process(**limits)
    assert child.is_gone()


# What is not the message's fault


def test_a_store_that_is_down_is_no_fault_of_the_message(
    child: Child, s3_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with pytest.raises(StoreUnavailable):
            child.process(storage_url=s3_store_url)


def test_a_store_that_refuses_is_no_fault_of_the_message(child: Child) -> None:
    (child.directory / "store").rmdir()
    with pytest.raises(StoreRefused):
        child.process()


def test_a_missing_setting_is_no_fault_of_the_message(child: Child) -> None:
    with pytest.raises(ConfigurationError, match="MAILSLUICE_STORAGE_URL"):
        child.process(storage_url=None)


def test_a_store_that_hangs_is_no_fault_of_the_message(
    child: Child, s3_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(StoreUnavailable, match="could not be stored within 1 s"):
            child.process(storage_url=s3_store_url, suspect_deadline_s=1)


def test_a_child_that_does_not_come_up_is_our_fault(child: Child) -> None:
    child.sabotage_start("import os; os._exit(3)")
    with pytest.raises(IngestError, match="ended before it looked at it: exit code 3") as raised:
        child.process()
    assert raised.value.fault is Fault.OURS


def test_a_python_that_is_not_there_is_our_fault(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(child.directory / "none"))
    with pytest.raises(IngestError, match="no process can be started") as raised:
        child.process()
    assert raised.value.fault is Fault.OURS


# What is left behind


def test_a_lost_lease_ends_the_child(child: Child) -> None:
    child.sabotage("time.sleep(100)")

    def beat() -> None:
        if child.pid_file.exists():
            raise LeaseLost("another poller holds it")

    with pytest.raises(LeaseLost):
        child.process(beat=beat)
    assert child.is_gone()


def test_the_child_ends_when_its_parent_is_killed(child: Child) -> None:
    child.sabotage("time.sleep(100)")
    parent = subprocess.Popen(
        [sys.executable, __file__, str(child.directory)], env={**os.environ, "PYTHONPATH": ":".join(sys.path)}
    )
    try:
        wait_until(child.pid_file.exists, alive=lambda: parent.poll() is None, timeout_s=30, what="the child")
    finally:
        parent.kill()
        parent.wait()
    wait_until(child.is_gone, alive=lambda: True, timeout_s=10, what="the child's end")


def test_no_descriptor_and_no_process_is_left(child: Child) -> None:
    child.sabotage("if b'deadly' in bytes(buffer): os.abort()")
    services = child.services()
    child.process(services=services)
    assert child.is_gone()
    before = descriptors()
    with pytest.raises(MessageUnprocessable):
        child.process(mail("deadly"), services=services)
    assert child.is_gone()
    assert descriptors() == before


def test_a_person_who_runs_the_command_is_told(child: Child) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ingest", "isolated"], input=b"hello\n", capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"runs this command itself" in done.stderr


if __name__ == "__main__":  # the parent that a test kills
    patch = pytest.MonkeyPatch()
    directory = Path(sys.argv[1])
    services = build(Settings(storage_url=f"file://{directory}/store", data_dir=directory / "var"))
    run(services.isolation, mail("one"))


# Memory


def winmail(size: int) -> bytes:
    """A message that is mapped, and whose one part, as large as itself, is mapped too."""
    head = b"Content-Type: application/ms-tnef\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    return head + tnef.stream(tnef.attachment(bytes(size), title=b"large.bin"))


def test_a_message_of_150_mb_is_processed_within_the_least_memory_that_settings_allow(child: Child) -> None:
    done = child.process(winmail(150 << 20), suspect_memory_bytes=256 << 20)
    sizes = [part["size"] for part in json.loads(done.event.json)["data"]["attachments"]]
    assert sizes[1:] == [150 << 20]


def test_many_attachments_are_processed_within_the_least_memory_that_settings_allow(child: Child) -> None:
    raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"".join(
        b"--b\r\nContent-Type: application/pdf\r\n\r\n%d\r\n" % number for number in range(30)
    )
    done = child.process(raw, suspect_memory_bytes=256 << 20, uploads_at_once=64)
    assert done.attachments == 30
