"""One suite for every object store: memory, directory, and S3 as SeaweedFS speaks it."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, cast

import pytest
import urllib3
from objects import Generated, Store, key_of, put, s3_store

from ingest import ports
from ingest.adapters.directory_store import DirectoryStore
from ingest.adapters.memory_store import MemoryStore
from ingest.adapters.s3_store import S3Store
from ingest.errors import StoreRefused, StoreUnavailable

METADATA = {"account": "billing", "uidl": "a%20b%25", "subject": "Größe 1 €", "event-id": "0" * 32}


@pytest.fixture(params=["memory", "directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store
    match request.param:
        case "memory":
            made = MemoryStore()
        case "directory":
            made = DirectoryStore(tmp_path)
        case _:
            made = s3_store(request.getfixturevalue("s3_store_url"))
    yield made
    made.close()


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_what_was_put_is_what_is_read(store: Store, size: int) -> None:
    content = os.urandom(size)
    answer = put(store, content)
    assert answer == ports.Put(store.url(key_of(content)), existed=False)
    info = store.head(key_of(content))
    assert info is not None
    assert info.size == size
    with store.open(key_of(content)) as reader:
        assert reader.read(10) == content[:10]
        assert reader.read() == content[10:]


def test_a_large_body_is_streamed(store: Store) -> None:
    size = 20 << 20
    body = Generated(size)
    whole = body.content(0, size)
    answer = store.put(
        "raw/big",
        cast("BinaryIO", body),
        size=size,
        sha256=hashlib.sha256(whole).digest(),
        content_type="message/rfc822",
        metadata={},
    )
    assert not answer.existed
    if not isinstance(store, MemoryStore):
        assert body.largest <= 1 << 20
    with store.open("raw/big") as reader:
        assert hashlib.file_digest(reader, "sha256").digest() == hashlib.sha256(whole).digest()  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [5, 3 << 20])
def test_a_second_put_finds_the_object_and_changes_nothing(store: Store, size: int) -> None:
    content = bytes(size)
    first = put(store, content, uidl="1")
    second = put(store, content, uidl="2")
    assert (first.existed, second.existed) == (False, True)
    assert first.url == second.url
    info = store.head(key_of(content))
    assert info is not None
    assert info.metadata == {"uidl": "1"}


@pytest.mark.parametrize("size", [5, 3 << 20])
def test_another_sha256_than_announced_is_refused_and_leaves_nothing(store: Store, size: int) -> None:
    for _ in range(2):  # S3 signs differently once it knows that its store checks
        with pytest.raises(StoreRefused):
            store.put(
                "raw/wrong", io.BytesIO(bytes(size)), size=size, sha256=bytes(32), content_type="x/y", metadata={}
            )
        assert store.head("raw/wrong") is None
        put(store, b"good")


@pytest.mark.parametrize("announced", [0, 4, 6, 5 << 20])
def test_another_size_than_announced_is_refused_and_leaves_nothing(store: Store, announced: int) -> None:
    digest = hashlib.sha256(b"hello").digest()
    with pytest.raises(StoreRefused, match=f"5 octets came instead of {announced}"):
        store.put("raw/wrong", io.BytesIO(b"hello"), size=announced, sha256=digest, content_type="x/y", metadata={})
    assert store.head("raw/wrong") is None


def test_a_body_is_stored_from_its_start_wherever_it_stands(store: Store) -> None:
    body = io.BytesIO(b"hello")
    body.read(3)
    digest = hashlib.sha256(b"hello").digest()
    store.put("raw/k", body, size=5, sha256=digest, content_type="x/y", metadata={})
    with store.open("raw/k") as reader:
        assert reader.read() == b"hello"


def test_metadata_comes_back_as_it_was_given(store: Store) -> None:
    put(store, b"hello", **METADATA)
    info = store.head(key_of(b"hello"))
    assert info is not None
    assert info.metadata == METADATA


def test_an_object_without_metadata_has_none(store: Store) -> None:
    put(store, b"hello")
    info = store.head(key_of(b"hello"))
    assert info == ports.ObjectInfo(5, {})


def test_where_there_is_no_object_head_says_none_and_open_refuses(store: Store) -> None:
    assert store.head("raw/none") is None
    with pytest.raises(StoreRefused, match="there is no object raw/none"), store.open("raw/none"):
        pass


def test_keys_are_listed_by_prefix_whatever_lies_beside_them(store: Store) -> None:
    for key in ("raw/a/00/x.eml", "raw/a/01/y.eml", "raw/ab/00/z.eml", "attachments/a/00/x"):
        put(store, b"hello", key=key, uidl="1")
    assert list(store.keys("raw/a/")) == ["raw/a/00/x.eml", "raw/a/01/y.eml"]
    assert list(store.keys("raw/a")) == ["raw/a/00/x.eml", "raw/a/01/y.eml", "raw/ab/00/z.eml"]
    assert len(list(store.keys(""))) == 4
    assert list(store.keys("none/")) == []


SIBLINGS = ["raw/a-b/00/x", "raw/a.b/00/x", "raw/a/00/x", "raw/a/00/y", "raw/a/01/x", "raw/a0/00/x", "raw/ab/00/x"]


def test_keys_come_in_order_and_those_of_a_directory_together(store: Store) -> None:
    for key in reversed(SIBLINGS):
        put(store, b"hello", key=key)
    listed = list(store.keys("raw/"))
    assert sorted(listed) == SIBLINGS  # a store of directories may have raw/a/ before raw/a-b/
    accounts = [account for account, _ in groupby(listed, key=lambda key: key.split("/")[1])]
    assert len(accounts) == len(set(accounts)) == 5
    assert list(store.keys("raw/a/")) == ["raw/a/00/x", "raw/a/00/y", "raw/a/01/x"]


def test_keys_go_on_after_any_one_of_them(store: Store) -> None:
    for key in SIBLINGS:
        put(store, b"hello", key=key)
    listed = list(store.keys("raw/"))
    for at, key in enumerate(listed):
        assert list(store.keys("raw/", after=key)) == listed[at + 1 :]
    assert list(store.keys("raw/a/", after="raw/a/00/x")) == ["raw/a/00/y", "raw/a/01/x"]
    assert list(store.keys("raw/a/", after="raw/a/00/xx")) == ["raw/a/00/y", "raw/a/01/x"]
    assert list(store.keys("raw/", after="raw/c")) == []


def test_more_keys_than_one_answer_of_a_server_holds_are_all_listed(store: Store) -> None:
    keys = [f"raw/a/{number % 100:02x}/{number:04d}" for number in range(1100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: put(store, b"x", key=key), keys))
    assert list(store.keys("raw/a/")) == sorted(keys)
    assert list(store.keys("raw/a/", after=sorted(keys)[1050])) == sorted(keys)[1051:]


def test_of_racing_puts_one_makes_the_object_and_all_succeed(store: Store) -> None:
    content = os.urandom(200_000)
    start = threading.Barrier(8)

    def race(_: int) -> bool:
        start.wait()
        for _attempt in range(20):
            try:
                return put(store, content, uidl="1").existed
            except StoreUnavailable:  # S3 may answer 409 to one of two that meet: the layer above tries again
                continue
        raise AssertionError("always in conflict")

    with ThreadPoolExecutor(8) as pool:
        existed = list(pool.map(race, range(8)))
    assert sorted(existed) == [False] + [True] * 7
    with store.open(key_of(content)) as reader:
        assert reader.read() == content


def test_a_url_leads_back_to_its_key(store: Store) -> None:
    for key in (key_of(b"hello"), "attachments/billing/2c/2cf2"):
        assert store.key_of(store.url(key)) == key


@pytest.mark.parametrize(
    "url", ["", "raw/k", "https://mail/raw/k", "s3://other/raw/k", "file:///etc/passwd", "s3://", "x"]
)
def test_what_is_no_url_of_this_store_has_no_key(store: Store, url: str) -> None:
    assert store.key_of(url) is None
    inside = store.url("raw/k")
    assert store.key_of(inside.removesuffix("raw/k")) is None
    assert store.key_of(f"{inside.removesuffix('/raw/k')}-beside/raw/k") is None


def test_a_link_downloads_the_object_without_credentials_or_the_store_has_none(store: Store) -> None:
    content = os.urandom(100_000)
    put(store, content, uidl="1")
    link = store.link(key_of(content), 60, filename="2cf2.eml")
    if not isinstance(store, S3Store):
        assert link is None
        return
    assert link is not None
    answer = urllib3.request("GET", link)
    assert (answer.status, answer.data) == (200, content)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="2cf2.eml"'
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in link, "the older kind is refused by KMS and by newer regions"
    assert urllib3.request("GET", link.replace("X-Amz-Expires=60", "X-Amz-Expires=90")).status == 403
    assert urllib3.request("PUT", link, body=b"other").status == 403
    with store.open(key_of(content)) as reader:
        assert reader.read() == content


def test_a_link_that_has_run_out_is_refused(s3_store_url: str) -> None:
    store = s3_store(s3_store_url)
    put(store, b"hello")
    link = store.link(key_of(b"hello"), 1, filename="x.eml")
    assert link is not None
    answer = urllib3.request("GET", link)
    end = time.monotonic() + 20
    while answer.status == 200 and time.monotonic() < end:
        time.sleep(0.2)
        answer = urllib3.request("GET", link)
    assert (answer.status, answer.data == b"hello") == (403, False)
    store.close()


def test_a_store_that_works_answers_a_ping(store: Store) -> None:
    store.ping()
    put(store, b"hello")
    store.ping()
