"""Reading ends when its time is over, by the clock it is given."""

from __future__ import annotations

import itertools
import mmap
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from pop3_scripts import ManualClock

from ingest.adapters.memory_store import MemoryStore
from ingest.adapters.spool import Spools
from ingest.errors import MessageUnprocessable
from ingest.mime.deadline import Deadline
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message
from ingest.pipeline import Pipeline
from ingest.retry import Steps

MIXED = b"Content-Type: multipart/mixed; boundary=q\r\n\r\n"
LARGE = {
    "parts": MIXED + b"--q\r\n\r\nx\r\n" * 1000,
    "lines of dashes": MIXED + b"--\n" * 100_000,
    "messages": MIXED + b"--q\r\nContent-Type: message/rfc822\r\n\r\nSubject: a\r\n\r\nb\r\n" * 100,
}


def a_second_a_look() -> Callable[[], float]:
    """Each look at it finds it a second later."""
    return itertools.count().__next__


@pytest.mark.parametrize("kind", LARGE)
def test_a_message_that_takes_too_long_can_not_be_processed(kind: str) -> None:
    with pytest.raises(MessageUnprocessable, match="more than 2 s"):
        read_message(LARGE[kind], MimeLimits(), Deadline(2, a_second_a_look()))


@pytest.mark.parametrize("kind", LARGE)
def test_a_message_within_its_time_is_read_as_without_a_deadline(kind: str) -> None:
    read = read_message(LARGE[kind], MimeLimits(), Deadline(100_000, a_second_a_look()))
    assert read == read_message(LARGE[kind], MimeLimits())


def test_a_large_file_without_any_structure_has_its_time_too() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(MIXED + b"--q\r\n\r\n" + bytes(8 << 20))
        file.flush()
        with (
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            pytest.raises(MessageUnprocessable, match="more than 2 s"),
        ):
            read_message(mapped, MimeLimits(), Deadline(2, a_second_a_look()))


def test_the_time_counts_from_the_first_look() -> None:
    late = itertools.count(1e9).__next__
    read_message(LARGE["messages"], MimeLimits(), Deadline(100_000, late))


def test_a_small_message_never_looks_at_the_clock() -> None:
    def clock() -> float:
        raise AssertionError

    read_message(
        MIXED + b"--q\r\n\r\na\r\n--q\r\nContent-Type: a/b\r\n\r\nb\r\n--q--\r\n", MimeLimits(), Deadline(8, clock)
    )


def test_the_pipeline_has_each_message_read_within_its_cpu_seconds(tmp_path: Path) -> None:
    spool = Spools(tmp_path)()
    spool.write(LARGE["messages"])
    spool.seal()
    pipeline = Pipeline(
        store=MemoryStore(),
        spools=Spools(tmp_path),
        clock=ManualClock(),
        mime_limits=MimeLimits(cpu_s=2),
        event_max_bytes=1 << 20,
        steps=Steps(0.0),
        cpu_s=a_second_a_look(),
    )
    with pytest.raises(MessageUnprocessable, match="more than 2 s"):
        pipeline.read(spool)
    spool.close()
