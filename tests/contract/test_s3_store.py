"""What S3 has of its own: URLs, refusals with what to do, and servers that are down, mute, busy or old."""

from __future__ import annotations

import base64
import hashlib
import io
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import available
from objects import key_of, put, s3_store
from servers.seaweed import SeaweedServer

from ingest.adapters.s3_client import s3_client
from ingest.adapters.s3_store import AtRest, S3Store
from ingest.errors import ConfigurationError, LeaseLost, Retry, StoreRefused, StoreUnavailable


def test_s3_urls_name_bucket_prefix_and_key(s3_store_url: str) -> None:
    store = s3_store(s3_store_url)
    assert store.url("raw/k") == f"{s3_store_url}/raw/k"
    store.close()
    bare = S3Store(s3_client(), "mail")
    assert bare.url("raw/k") == "s3://mail/raw/k"
    bare.close()


def test_two_stores_share_a_client(s3_store_url: str) -> None:
    client = s3_client()
    for prefix in (secrets.token_hex(4), secrets.token_hex(4)):
        store = S3Store(client, "mail", prefix)
        put(store, b"hello", uidl="1")
        assert list(store.keys("")) == [key_of(b"hello")]
    client.close()


def test_s3_says_that_the_secret_is_wrong_and_does_not_repeat_it(
    s3_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
    store = s3_store(s3_store_url)
    for use in (store.ping, lambda: put(store, b"x")):
        with pytest.raises(StoreRefused, match=r"bucket mail .*SignatureDoesNotMatch.*AWS_SECRET_ACCESS_KEY") as caught:
            use()
        assert "canary" not in f"{caught.value!r} {caught.value.__cause__!r}"
        assert "\n" not in str(caught.value)
    store.close()


def test_s3_says_that_the_access_key_is_unknown(s3_store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKNOBODY")
    store = s3_store(s3_store_url)
    with pytest.raises(StoreRefused, match=r"InvalidAccessKeyId.*AWS_ACCESS_KEY_ID"):
        store.ping()
    store.close()


def test_s3_says_that_there_are_no_credentials(
    s3_store_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = s3_store(s3_store_url)
    with pytest.raises(StoreRefused, match=r"(?i)credentials.*AWS_ACCESS_KEY_ID"):
        store.ping()
    store.close()


def test_s3_says_that_the_bucket_is_missing(s3_store_url: str) -> None:
    store = s3_store("s3://no-such-bucket/p")
    for use in (store.ping, lambda: put(store, b"x"), lambda: list(store.keys(""))):
        with pytest.raises(StoreRefused, match=r"bucket no-such-bucket .*NoSuchBucket.*create the bucket"):
            use()
    store.close()


def test_s3_says_that_the_bucket_went_away(seaweed_server: SeaweedServer, s3_store_url: str) -> None:
    seaweed_server.create_bucket("passing")
    store = s3_store("s3://passing")
    put(store, b"x")
    seaweed_server.drop_bucket("passing")
    for use in (store.ping, lambda: put(store, b"y")):
        with pytest.raises(StoreRefused, match="NoSuchBucket"):
            use()
    store.close()


def test_broken_aws_settings_are_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "not a url")
    with pytest.raises(ConfigurationError, match=r"AWS settings: .*not a url"):
        s3_client()


def test_a_server_that_is_down_or_mute_is_unavailable_until_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with available(), SeaweedServer(tmp_path) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        patient, store = s3_store("s3://mail", timeout_s=3), s3_store("s3://mail", timeout_s=0.3)
        large = bytes(32 << 20)  # more than fits into the buffers between us
        server.client().put_object(Bucket="mail", Key=key_of(large), Body=large)
        uses: list[Callable[[], object]] = [
            store.ping,
            lambda: put(store, b"x"),
            lambda: put(store, bytes(4 << 20)),
            lambda: store.head("raw/k"),
            lambda: list(store.keys("")),
        ]
        with patient.open(key_of(large)) as reader:
            server.pause()
            with pytest.raises(StoreUnavailable, match="no answer in time"):
                reader.read()
        for use in uses:
            with pytest.raises(StoreUnavailable, match=r"bucket mail at http://127\.0\.0\.1") as caught:
                use()
            assert caught.value.retry is Retry.SOON
        server.kill()
        for use in uses:
            with pytest.raises(StoreUnavailable, match=r"bucket mail at http://127\.0\.0\.1"):
                use()
        server.start()
        with s3_store("s3://mail").open(key_of(large)) as reader:
            assert reader.read() == large
        patient.close()
        store.close()


class _Scripted(BaseHTTPRequestHandler):
    """An S3 of another make: it answers each PUT with the next of its lines and remembers the headers."""

    protocol_version = "HTTP/1.1"
    server: _ScriptedServer

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(dict(self.headers))
        unknown = self.headers["If-None-Match"] is not None and not self.server.conditional
        status, code, headers = NOT_IMPLEMENTED if unknown else self.server.script.pop(0)
        said = headers.get("said", "no")
        body = f"<Error><Code>{code}</Code><Message>{said}</Message></Error>".encode() if code else b""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.server.seen.append({"HEAD": self.path})
        status, _, headers = self.server.script.pop(0) if self.server.conditional else MISSING
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
        """Quiet."""


class _ScriptedServer(ThreadingHTTPServer):
    def __init__(self, *script: tuple[int, str, dict[str, str]]) -> None:
        super().__init__(("127.0.0.1", 0), _Scripted)
        self.script = list(script)
        self.seen: list[dict[str, str]] = []
        self.conditional = True


@contextmanager
def answering(
    monkeypatch: pytest.MonkeyPatch,
    *script: tuple[int, str, dict[str, str]],
    at_rest: AtRest | None = None,
    conditional: bool = True,
) -> Iterator[tuple[S3Store, list[dict[str, str]]]]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AK")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SK")
    with _ScriptedServer(*script) as server:
        server.conditional = conditional
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
        store = s3_store("s3://mail/p", at_rest=at_rest)
        try:
            yield store, server.seen
        finally:
            store.close()
            server.shutdown()
            thread.join()


OK: tuple[int, str, dict[str, str]] = (200, "", {})
MISSING: tuple[int, str, dict[str, str]] = (404, "", {})
THERE: tuple[int, str, dict[str, str]] = (200, "", {"Content-Length": "5"})
NOT_IMPLEMENTED: tuple[int, str, dict[str, str]] = (501, "NotImplemented", {})


def test_a_store_without_conditions_is_asked_for_them_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(monkeypatch, NOT_IMPLEMENTED, MISSING, OK, MISSING, OK) as (store, seen):
        assert not put(store, b"hello").existed
        assert not put(store, b"other").existed
    assert [headers.get("If-None-Match") for headers in seen if "HEAD" not in headers] == ["*", None, None]


def test_a_store_without_conditions_replaces_nothing_and_tells_what_existed(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(monkeypatch, NOT_IMPLEMENTED, MISSING, OK, THERE) as (store, seen):
        assert not put(store, b"hello").existed
        assert put(store, b"hello").existed
    assert ["HEAD" if "HEAD" in headers else "PUT" for headers in seen] == ["PUT", "HEAD", "PUT", "HEAD"]


def test_a_store_that_lacks_something_else_is_asked_with_the_condition_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(monkeypatch, NOT_IMPLEMENTED, MISSING, NOT_IMPLEMENTED, OK) as (store, seen):
        with pytest.raises(StoreRefused, match="NotImplemented"):
            put(store, b"hello")
        assert not put(store, b"hello").existed
    assert [headers.get("If-None-Match") for headers in seen if "HEAD" not in headers] == ["*", None, "*"]


def test_several_puts_at_once_into_a_store_without_conditions_all_succeed(monkeypatch: pytest.MonkeyPatch) -> None:
    writers, together = 4, threading.Barrier(4)

    class Waiting(io.BytesIO):
        """Sets out together with the others, before any answer has come."""

        waited = False

        def read(self, size: int | None = -1, /) -> bytes:
            if not self.waited:
                self.waited = True
                together.wait(10)
            return super().read(size)

    def one(number: int) -> bool:
        digest = hashlib.sha256(b"hello").digest()
        return store.put(
            f"raw/{number}", Waiting(b"hello"), size=5, sha256=digest, content_type="a/b", metadata={}
        ).existed

    with (
        answering(monkeypatch, *[OK] * writers, conditional=False) as (store, seen),
        ThreadPoolExecutor(writers) as pool,
    ):
        assert list(pool.map(one, range(writers))) == [False] * writers
    puts = [headers for headers in seen if "HEAD" not in headers]
    assert sorted(str(headers.get("If-None-Match")) for headers in puts) == ["*"] * writers + ["None"] * writers


def test_two_writers_in_conflict_are_a_reason_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        answering(monkeypatch, (409, "ConditionalRequestConflict", {})) as (store, _),
        pytest.raises(StoreUnavailable, match="ConditionalRequestConflict"),
    ):
        put(store, b"hello")


@pytest.mark.parametrize(("said", "after_s"), [("7", 7), ("9" * 400, 86_400), ("Wed, 21 Oct 2026", None)])
def test_a_busy_store_says_how_long_to_wait(monkeypatch: pytest.MonkeyPatch, said: str, after_s: float | None) -> None:
    with (
        answering(monkeypatch, (503, "SlowDown", {"Retry-After": said})) as (store, seen),
        pytest.raises(StoreUnavailable, match="503 SlowDown") as caught,
    ):
        put(store, b"hello")
    assert caught.value.after_s == after_s
    assert len(seen) == 1, "one layer of retries, and it is not this one"


def test_a_full_store_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        answering(monkeypatch, (507, "XMinioStorageFull", {})) as (store, _),
        pytest.raises(StoreRefused, match="no space left"),
    ):
        put(store, b"hello")


def test_the_known_sha256_is_signed_as_the_payloads_and_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    hello = hashlib.sha256(b"hello")
    with answering(monkeypatch, OK, OK) as (store, seen):
        for _ in range(2):
            put(store, b"hello")
    for headers in seen:
        assert headers["X-Amz-Content-SHA256"] == hello.hexdigest()
        assert base64.b64decode(headers["x-amz-checksum-sha256"]) == hello.digest()
        signed = headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
        assert {"x-amz-content-sha256", "x-amz-checksum-sha256", "if-none-match"} <= set(signed)


def test_a_large_body_is_read_once(s3_store_url: str) -> None:
    """Not for a hash before it is sent, nor for a copy."""
    size, reads = 8 << 20, []

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            reads.append(len(octets := super().read(size)))
            return octets

    content = bytes(size)
    store = s3_store(s3_store_url)
    digest = hashlib.sha256(content).digest()
    store.put("raw/k", Counted(content), size=size, sha256=digest, content_type="a/b", metadata={})
    assert sum(reads) == size
    assert max(reads) <= 1 << 20
    store.close()


class _Lost(io.RawIOBase):
    """A body of 2 MiB whose reader finds out that the lease is lost."""

    at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: 2 << 20}[whence]
        return self.at

    def readinto(self, target: object, /) -> int:
        raise LeaseLost("another poller took over")


def test_what_a_body_raises_on_its_way_is_not_the_stores_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(b"hello").digest()
    checked = (200, "", {"x-amz-checksum-sha256": base64.b64encode(digest).decode()})
    with answering(monkeypatch, checked) as (store, _):
        put(store, b"hello")
        with pytest.raises(LeaseLost):
            store.put("raw/k", io.BufferedReader(_Lost()), size=2 << 20, sha256=digest, content_type="a/b", metadata={})


def test_a_head_without_a_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        answering(monkeypatch, (200, "", {"Transfer-Encoding": "chunked"})) as (store, _),
        pytest.raises(StoreRefused, match="HEAD tells no size"),
    ):
        store.head("raw/k")


def test_a_large_body_waits_for_the_stores_consent_and_a_small_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(monkeypatch, OK, OK) as (store, seen):
        put(store, bytes(1 << 20))
        put(store, bytes((1 << 20) + 1))
    assert [headers.get("Expect") for headers in seen] == [None, "100-continue"]
