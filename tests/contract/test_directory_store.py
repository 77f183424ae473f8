"""What the directory store has of its own: keys that stay inside, side files, damage, crashes, and what disks say."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from objects import put

from ingest import ports
from ingest.adapters.directory_store import DirectoryStore
from ingest.errors import Fault, Retry, StoreRefused, StoreUnavailable


def test_directory_urls_are_absolute_file_urls(tmp_path: Path) -> None:
    root = tmp_path / "with space"
    root.mkdir()
    assert DirectoryStore(root).url("raw/k") == f"{tmp_path.as_uri()}/with%20space/raw/k"


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "../x", "raw/../../x", "raw//x", "raw/.", ".tmp/x", "raw/A", "raw/\0", "a\n", "a.json"],
)
def test_no_key_leaves_the_root(tmp_path: Path, key: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    store = DirectoryStore(root)
    uses: list[Callable[[], object]] = [
        lambda: put(store, b"x", key=key) if key else store.head(key),
        lambda: store.head(key),
        lambda: store.open(key),
        lambda: store.url(key),
    ]
    for use in uses:
        with pytest.raises(StoreRefused, match="not an object key"):
            use()
    assert list(tmp_path.rglob("*")) == [root]


def test_metadata_lies_in_a_side_file_and_nothing_temporary_stays(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    put(store, b"hello", key="raw/k.eml", uidl="1")
    put(store, b"hello", key="raw/bare")
    with pytest.raises(StoreRefused):
        store.put("raw/bad", io.BytesIO(b"x"), size=1, sha256=bytes(32), content_type="x/y", metadata={"uidl": "1"})
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == {
        "raw/k.eml",
        "raw/k.eml.json",
        "raw/bare",
    }
    assert json.loads((tmp_path / "raw/k.eml.json").read_text()) == {"uidl": "1"}


def test_a_damaged_object_is_replaced(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    put(store, b"hello", key="raw/k")
    (tmp_path / "raw/k").write_bytes(b"hel")
    assert not put(store, b"hello", key="raw/k").existed
    assert (tmp_path / "raw/k").read_bytes() == b"hello"


def test_an_object_whose_side_file_is_lost_gets_it_back(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    put(store, b"hello", key="raw/k", uidl="1")
    (tmp_path / "raw/k.json").unlink()
    assert put(store, b"hello", key="raw/k", uidl="1").existed
    assert store.head("raw/k") == ports.ObjectInfo(5, {"uidl": "1"})


def test_a_directory_in_an_objects_place_is_refused(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    put(store, b"hello", key="raw/k/x")
    with pytest.raises(StoreRefused):
        put(store, b"hello", key="raw/k")
    assert store.head("raw/k") is None


def test_what_a_crash_left_is_swept_after_a_day(tmp_path: Path) -> None:
    (tmp_path / ".tmp").mkdir()
    old, fresh = tmp_path / ".tmp" / ".tmp-old", tmp_path / ".tmp" / ".tmp-fresh"
    for path in (old, fresh):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 90_000,) * 2)
    put(DirectoryStore(tmp_path), b"hello")
    assert not old.exists()
    assert fresh.exists()


def test_a_file_system_without_links_still_takes_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_paths: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    store = DirectoryStore(tmp_path)
    assert not put(store, b"hello", key="raw/k", uidl="1").existed
    assert put(store, b"hello", key="raw/k", uidl="1").existed


def test_a_missing_root_is_refused_and_not_made(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "unmounted")
    for use in (store.ping, lambda: put(store, b"x"), lambda: store.head("k"), lambda: list(store.keys(""))):
        with pytest.raises(StoreRefused, match=r"unmounted: No such file.*mount its disk") as caught:
            use()
        assert (caught.value.fault, caught.value.retry) == (Fault.OURS, Retry.LATER)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "error", "what"),
    [
        (errno.ENOSPC, StoreRefused, "disk full"),
        (errno.EROFS, StoreRefused, "let this user write"),
        (errno.ESTALE, StoreUnavailable, "Stale file handle"),
        (errno.EIO, StoreRefused, "look at the disk"),
    ],
)
def test_what_the_disk_says_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception], what: str
) -> None:
    def failing(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    store = DirectoryStore(tmp_path)
    store.ping()
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(error, match=what):
        put(store, b"hello", key="k", uidl="1")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_no_link_leads_out_of_the_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    (outside / "billing").mkdir(parents=True)
    (outside / "billing" / "k").write_bytes(b"secret")
    (root / "raw").symlink_to(outside)
    store = DirectoryStore(root)
    uses: list[Callable[[], object]] = [
        lambda: put(store, b"hello", key="raw/billing/new"),
        lambda: put(store, b"secret", key="raw/billing/k"),
        lambda: store.head("raw/billing/k"),
        lambda: store.open("raw/billing/k"),
    ]
    for use in uses:
        with pytest.raises(StoreRefused, match="raw is no directory"):
            use()
    assert list(store.keys("")) == []
    assert [path.name for path in outside.rglob("*")] == ["billing", "k"]


def test_a_link_in_an_objects_place_is_replaced_and_never_read(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "raw").mkdir(parents=True)
    outside.write_bytes(b"hello")
    (root / "raw" / "k").symlink_to(outside)
    store = DirectoryStore(root)
    with pytest.raises(StoreRefused):
        store.open("raw/k")
    assert store.head("raw/k") is None
    assert not put(store, b"hello", key="raw/k").existed
    assert not (root / "raw" / "k").is_symlink()
    assert outside.read_bytes() == b"hello"


def test_a_root_that_is_a_link_itself_is_a_root(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    store = DirectoryStore(tmp_path / "root")
    put(store, b"hello", key="raw/k")
    with store.open("raw/k") as reader:
        assert reader.read() == b"hello"


def test_a_file_in_a_directorys_place_is_refused(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    put(store, b"hello", key="raw/k")
    with pytest.raises(StoreRefused, match="k is no directory"):
        put(store, b"other", key="raw/k/x")
    with store.open("raw/k") as reader:
        assert reader.read() == b"hello"


def test_objects_are_for_owner_and_group_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        put(DirectoryStore(tmp_path), b"hello", key="raw/k", uidl="1")
    finally:
        os.umask(before)
    modes = {str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {".tmp": 0o750, "raw": 0o750, "raw/k": 0o640, "raw/k.json": 0o640}


def test_what_can_grow_no_further_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk that takes a part of a body: real, and needs no root."""
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from objects import put\n"
        "from ingest.adapters.directory_store import DirectoryStore\n"
        "from ingest.errors import StoreRefused\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))\n"
        "store = DirectoryStore(Path(sys.argv[1]))\n"
        "put(store, b'small', key='raw/small')\n"
        "try:\n"
        "    put(store, bytes(1_000_000), key='raw/large', uidl='1')\n"
        "except StoreRefused as refusal:\n"
        "    print(refusal)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert "File too large" in done.stdout
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == ["raw/small"]
