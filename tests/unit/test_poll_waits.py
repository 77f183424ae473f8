"""A poll keeps its lease whatever it waits for, and waits no longer once that is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import pytest
from house import PASSWORD, House, house, mail

from ingest import hands
from ingest.adapters.memory_store import MemoryStore
from ingest.adapters.spool import Spools
from ingest.errors import LeaseLost, StateUnavailable
from ingest.hands import Crew
from ingest.mime.limits import MimeLimits
from ingest.models import Outcome, Scan, Verdict
from ingest.pipeline import Pipeline
from ingest.ports import ByteStream, ObjectInfo, Put
from ingest.retry import Steps
from ingest.scanning import Scanning

ATTACHED = b"Content-Type: application/pdf\r\nSubject: one\r\nStatus: RO\r\n\r\n%PDF\r\n"
Wait = Callable[[], None]


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)
    monkeypatch.setattr(hands, "_LOOK_S", 0.01)


class Slow(MemoryStore):
    """Makes who calls for one of its keys wait."""

    def __init__(self, kind: str, wait: Wait) -> None:
        super().__init__()
        self._kind = kind
        self._wait = wait

    def put(
        self, key: str, body: BinaryIO, *, size: int, sha256: bytes, content_type: str, metadata: Mapping[str, str]
    ) -> Put:
        if key.startswith(self._kind):
            self._wait()
        return super().put(key, body, size=size, sha256=sha256, content_type=content_type, metadata=metadata)

    def head(self, key: str) -> ObjectInfo | None:
        if self._kind == "head":
            self._wait()
        return super().head(key)


class SlowScanner:
    def __init__(self, wait: Wait) -> None:
        self._wait = wait

    def scan(self, body: BinaryIO, size: int) -> Verdict:
        self._wait()
        return Verdict(Scan.CLEAN)

    def ping(self) -> None:
        pass

    def close(self) -> None:
        pass


class Lease:
    """Shows when it is renewed."""

    def __init__(self, h: House) -> None:
        self._house = h
        self._renew = h.lease.renew
        self._renewed = threading.Event()
        watched: Any = h.lease
        watched.renew = self.renew

    def renew(self, account_id: str, token: str) -> None:
        self._renew(account_id, token)
        self._renewed.set()

    def outlasts(self) -> None:
        """Let more time pass than it lasts, with a chance to be renewed every 21 seconds."""
        for _ in range(4):
            self._renewed.clear()
            self._house.clock.forward(seconds=21)
            self._renewed.wait(5)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def pipeline(h: House, store: MemoryStore, pool: ThreadPoolExecutor, scanning: Scanning | None = None) -> Pipeline:
    return Pipeline(
        store=store,
        spools=Spools(h.spool_dir),
        clock=h.clock,
        mime_limits=MimeLimits(),
        event_max_bytes=1 << 20,
        steps=Steps(0.0),
        scanning=scanning,
        crew=Crew(pool),
    )


@pytest.mark.parametrize("kind", ["raw", "attachments", "identity", "head"])
def test_a_store_that_takes_longer_than_the_lease_costs_no_poll(kind: str, pool: ThreadPoolExecutor) -> None:
    with house(ATTACHED) as h:
        report = h.poll(h.poller(pipeline(h, Slow(kind, Lease(h).outlasts), pool)))
        assert (report.outcome, report.events) == (Outcome.DONE, 1)


def test_a_scanner_that_takes_longer_than_the_lease_costs_no_poll(pool: ThreadPoolExecutor) -> None:
    with house(ATTACHED) as h:
        scanning = Scanning(SlowScanner(Lease(h).outlasts), steps=Steps(0.0), quarantines=False, waits=True)
        report = h.poll(h.poller(pipeline(h, MemoryStore(), pool, scanning)))
        assert (report.outcome, report.events) == (Outcome.DONE, 1)


def test_a_connection_that_takes_half_the_lease_is_followed_by_a_whole_one() -> None:
    with house(mail("one")) as h:
        dial, left = h.dialer.dial, []

        class Slowly:
            def dial(self, *args: Any, **kwargs: Any) -> ByteStream:  # noqa: ANN401  # as the dialer takes them
                h.clock.forward(seconds=30)
                stream = dial(*args, **kwargs)
                left.append(h.state.leases["a"][1] - h.clock.now().timestamp())
                return Watched(stream)

        class Watched:
            def __init__(self, stream: ByteStream) -> None:
                self._stream = stream

            def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever the stream has
                if len(left) == 1:
                    left.append(h.state.leases["a"][1] - h.clock.now().timestamp())
                return getattr(self._stream, name)

        h.dialer = Slowly()  # type: ignore[assignment]
        assert h.poll().outcome is Outcome.DONE
        assert left[0] <= 30
        assert left[1] > 59


def test_a_poll_whose_lease_is_lost_does_not_wait_for_the_store(pool: ThreadPoolExecutor) -> None:
    released, waited_in_vain = threading.Event(), threading.Event()

    def waits() -> None:
        h.clock.forward(seconds=61)
        h.lease.acquire("a")
        if not released.wait(10):
            waited_in_vain.set()

    with house(mail("one")) as h:
        report = h.poll(h.poller(pipeline(h, Slow("raw", waits), pool)))
        assert report.failure is not None
        assert report.failure.code == LeaseLost.code
        assert not waited_in_vain.is_set()
        released.set()


def test_a_state_that_is_away_for_a_while_costs_no_upload(pool: ThreadPoolExecutor) -> None:
    with house(mail("one")) as h:
        lease = Lease(h)
        renew, away = lease.renew, threading.Event()

        def sometimes(account_id: str, token: str) -> None:
            if away.is_set():
                away.clear()
                raise StateUnavailable("Redis restarts")
            renew(account_id, token)

        watched: Any = h.lease
        watched.renew = sometimes

        def waits() -> None:
            away.set()
            lease.outlasts()

        report = h.poll(h.poller(pipeline(h, Slow("raw", waits), pool)))
        assert (report.outcome, report.events) == (Outcome.DONE, 1)
