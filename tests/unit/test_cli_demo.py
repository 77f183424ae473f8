"""The two commands that start everything, run as a person would."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ingest.cli.demo import _fresh
from ingest.errors import ConfigurationError

pytestmark = pytest.mark.real

COMMAND = [sys.executable, "-m", "ingest"]


def environment(directory: Path) -> dict[str, str]:
    """Ours, with a data directory of its own, and a setting that the demo must not heed."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("MAILSLUICE_", "COV"))}
    return mine | {"MAILSLUICE_DATA_DIR": str(directory), "MAILSLUICE_SHARDS": "8"}


@dataclass(frozen=True)
class Shown:
    """One run of the demo: what it printed, what it left behind, and the password of its Redis."""

    out: str
    err: str
    exit_code: int
    directory: Path
    password: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    directory = tmp_path_factory.mktemp("demo")
    process = subprocess.Popen(
        [*COMMAND, "demo"], env=environment(directory), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = process.stdout.readline()  # Redis and its password are there by now
    configuration = (directory / "demo" / "redis" / "redis.conf").read_text()
    password = re.search(r"^requirepass (\S+)$", configuration, re.MULTILINE)
    assert password is not None
    out, err = process.communicate(timeout=90)
    return Shown(first + out, err, process.returncode, directory, password[1])


@pytest.fixture
def up(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, "up"], env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    yield process
    if process.poll() is None:
        process.terminate()
    process.communicate(timeout=60)


def children(parent: int) -> dict[str, int]:
    """Name and pid of the Celery processes below one."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found[(stat.parent / "cmdline").read_text().strip("\0").rpartition("\0")[2]] = int(stat.parent.name)
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
    return found


def test_the_demo_shows_every_message_arrive_and_ends_by_itself(demo: Shown) -> None:
    assert (demo.exit_code, demo.err) == (0, "")
    assert len(re.findall(r"^\d\d:\d\d:\d\d  mailsluice\.message\.received\.v1  ", demo.out, re.MULTILINE)) == 12
    assert "Read back readings.csv, 317.0 KB: size and SHA-256 are those of its event.\n" in demo.out
    assert "Polled all again: 12 listed, 0 new, 0 events" in demo.out
    assert "\x1b" not in demo.out


def test_the_demo_s_password_stands_in_no_log_and_no_file_that_is_left(demo: Shown) -> None:
    left = [path for path in demo.directory.rglob("*") if path.is_file()]
    assert [path.name for path in left if path.parent.name == "logs"]
    assert demo.password not in demo.out
    assert not [path for path in left if demo.password.encode() in path.read_bytes()]


def test_the_demo_never_wipes_what_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(ConfigurationError, match="is not the demo's"):
        _fresh(tmp_path)
    assert (tmp_path / "mine").exists()


def test_up_starts_a_dead_worker_again_and_ends_cleanly_when_asked(up: subprocess.Popen[str], tmp_path: Path) -> None:
    assert up.stdout is not None
    assert up.stderr is not None
    while up.stdout.readline() != "Ctrl-C ends it.\n":
        assert up.poll() is None
    assert up.stdout.readline() == "\n"
    reach = tmp_path / "up.env"
    assert reach.stat().st_mode & 0o777 == 0o600
    while "worker" not in (found := children(up.pid)):
        assert up.poll() is None
    os.kill(found["worker"], signal.SIGKILL)
    assert re.fullmatch(r"worker ended \(signal 9, see .*worker\.log\); again in 2 s\n", up.stderr.readline())
    assert up.stderr.readline() == "worker started again\n"
    up.send_signal(signal.SIGTERM)
    assert up.communicate(timeout=60) == ("stopping\n", "")
    assert up.returncode == 0
    assert not reach.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in found.values())
