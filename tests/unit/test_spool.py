"""A spool holds one message: in memory or in a nameless file, hashed, sealed, given back."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest import ports
from ingest.adapters.spool import MessageSpool, Spools
from ingest.errors import StoreRefused

LIMIT = 1000
MakeSpool = Callable[[bytes], MessageSpool]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeSpool]:
    spools = Spools(tmp_path, LIMIT)
    made: list[MessageSpool] = []

    def _make(content: bytes) -> MessageSpool:
        made.append(spool := spools())
        for start in range(0, len(content), 300):
            spool.write(memoryview(content)[start : start + 300])
        spool.seal()
        return spool

    yield _make
    for spool in made:
        spool.close()


def test_it_is_what_the_port_asks_for(tmp_path: Path) -> None:
    factory: ports.SpoolFactory = Spools(tmp_path)
    factory().close()


@pytest.mark.parametrize("size", [0, 1, LIMIT - 1, LIMIT, LIMIT + 1, 70_000])
def test_what_was_written_is_what_is_read(make: MakeSpool, size: int) -> None:
    content = os.urandom(size)
    spool = make(content)
    assert spool.size == size
    assert spool.sha256 == hashlib.sha256(content).digest()
    assert bytes(spool.buffer) == content
    with spool.open() as reader:
        assert reader.read() == content


def test_sealing_and_reading_a_message_in_memory_copy_nothing(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        spool = Spools(tmp_path)()
        for _ in range(16):
            spool.write(bytes(32_768))
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        spool.seal()
        with spool.open() as reader:
            assert reader.seek(0, io.SEEK_END) == len(spool.buffer) == 16 * 32_768
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 64_000
    spool.close()


def test_what_is_written_may_be_overwritten_behind_it(tmp_path: Path) -> None:
    octets = bytearray(b"first")
    spool = Spools(tmp_path)()
    spool.write(memoryview(octets))
    octets[:] = b"other"
    spool.seal()
    assert bytes(spool.buffer) == b"first"
    spool.close()


@pytest.mark.parametrize("size", [LIMIT, 70_000])
def test_readers_keep_positions_of_their_own(make: MakeSpool, size: int) -> None:
    content = os.urandom(size)
    spool = make(content)
    with spool.open() as first, spool.open() as second:
        assert first.read(10) == content[:10]
        assert second.seek(-5, io.SEEK_END) == size - 5
        assert second.read() == content[-5:]
        assert first.seek(10, io.SEEK_CUR) == 20
        assert first.read(10) == content[20:30]
        assert (first.tell(), second.tell()) == (30, size)
        with pytest.raises(ValueError, match=r"before the start|negative"):
            first.seek(-1)


def test_a_reader_outlives_its_spool(make: MakeSpool) -> None:
    spool = make(b"x" * 70_000)
    with spool.open() as reader:
        spool.close()
        assert reader.read() == b"x" * 70_000


@pytest.mark.parametrize("size", [LIMIT, 70_000])
def test_the_buffer_is_read_only(make: MakeSpool, size: int) -> None:
    buffer = make(b"x" * size).buffer
    assert buffer.readonly
    with pytest.raises(TypeError):
        buffer[0] = 0


def test_pages_given_back_leave_the_buffer_as_it_was(make: MakeSpool) -> None:
    content = os.urandom(70_000)
    spool = make(content)
    assert bytes(spool.buffer) == content
    spool.give_back_pages()
    assert bytes(spool.buffer) == content


def test_a_large_message_has_no_name_on_disk(make: MakeSpool, tmp_path: Path) -> None:
    spool = make(b"x" * 70_000)
    assert list(tmp_path.iterdir()) == []
    spool.close()


@pytest.mark.parametrize("size", [0, LIMIT, 70_000])
def test_closing_twice_is_closing_once_and_views_that_are_still_held_stay_readable(make: MakeSpool, size: int) -> None:
    spool = make(b"x" * size)
    held = spool.buffer[:]
    spool.close()
    spool.close()
    assert bytes(held) == b"x" * size
    for use in (spool.open, lambda: spool.buffer, lambda: spool.sha256, spool.seal, lambda: spool.write(b"")):
        with pytest.raises(ValueError, match=r"closed|sealed"):
            use()


def test_nothing_is_written_after_the_seal_and_nothing_is_read_before_it(tmp_path: Path) -> None:
    spool = Spools(tmp_path)()
    spool.write(b"x")
    for use in (spool.open, lambda: spool.buffer, lambda: spool.sha256):
        with pytest.raises(ValueError, match="not sealed"):
            use()
    spool.seal()
    spool.seal()
    with pytest.raises(ValueError, match="before it is sealed"):
        spool.write(b"y")
    spool.close()


def test_no_descriptor_stays_open(make: MakeSpool) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(20):
        spool = make(b"x" * 70_000)
        with spool.open() as reader:
            reader.read(1)
        assert spool.buffer[0] == ord("x")
        spool.close()
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_a_full_disk_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tempfile.TemporaryFile

    def full(**options: object) -> object:  # /dev/full stands in for the disk: every write fails with ENOSPC
        real(dir=tmp_path).close()
        return open("/dev/full", "wb", buffering=0)  # noqa: PTH123 - as TemporaryFile would hand it over

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    spool = Spools(tmp_path, 10)()
    with pytest.raises(StoreRefused) as caught:
        spool.write(b"x" * 11)
    assert caught.value.what == f"spool {tmp_path}: disk full"
    assert caught.value.todo
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    spool.close()


def test_a_directory_that_can_not_be_made_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    spool = Spools(tmp_path / "file" / "spool", 10)()
    with pytest.raises(StoreRefused, match="spool: Not a directory"):
        spool.write(b"x" * 11)
    spool.close()


def test_a_missing_directory_is_made_for_us_alone(tmp_path: Path) -> None:
    spool = Spools(tmp_path / "not" / "there", 10)()
    spool.write(b"x" * 11)
    assert (tmp_path / "not" / "there").stat().st_mode & 0o777 == 0o700
    spool.close()


def test_a_large_message_costs_no_memory_of_its_size(tmp_path: Path) -> None:
    script = (
        "import resource, sys; from pathlib import Path; from ingest.adapters.spool import Spools\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "spool = Spools(Path(sys.argv[1]))(); chunk = bytes(65536)\n"
        "spool.write(bytes(2 << 20)); before = peak()\n"
        "for _ in range(1600): spool.write(chunk)\n"
        "spool.seal(); reader = spool.open()\n"
        "while reader.read(65536): pass\n"
        "buffer = spool.buffer\n"
        "for start in range(0, len(buffer), 1 << 20): sum(buffer[start:start + 4096]); spool.give_back_pages()\n"
        "print(peak() - before)"
    )
    unit = 1 if sys.platform == "darwin" else 1024
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) * unit < 8 << 20
