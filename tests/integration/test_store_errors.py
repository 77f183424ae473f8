"""What goes wrong with the store while mail comes in: nothing is told of, nothing counts against a message, all of it
comes once when the store is well again.

The store is SeaweedFS behind a proxy that plays faults, or a directory; the state is in a real Redis.
"""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import pytest
import trustme
from house import PASSWORD, House, house
from objects import Store, s3_store
from redis_house import RedisSide
from servers.s3_proxy import S3Proxy
from servers.seaweed import SeaweedServer

from ingest.adapters.directory_store import DirectoryStore
from ingest.adapters.spool import Spools
from ingest.errors import StoreUnavailable
from ingest.hands import Crew
from ingest.mime.limits import MimeLimits
from ingest.models import Outcome, PollReport
from ingest.pipeline import Pipeline
from ingest.retry import Steps

LARGE = 2 << 20
SUBJECTS = ["first", "large", "last"]


def message(subject: str, octets: int) -> bytes:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "a@example.com", "b@example.com", subject
    made.set_content("see attached\n")
    for number in range(2):
        content = subject.encode() + bytes([number]) * octets
        made.add_attachment(content, maintype="application", subtype="pdf", filename=f"{number}.pdf")
    return made.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


MAIL = [message(subject, LARGE if subject == "large" else 1000) for subject in SUBJECTS]


@dataclass
class Scene:
    """A house with three messages, its state in Redis."""

    house: House
    side: RedisSide

    def poll(self, store: Store, *, patience_s: float = 0.3) -> PollReport:
        pipeline = Pipeline(
            store=store,
            spools=Spools(self.house.spool_dir),
            clock=self.house.clock,
            mime_limits=MimeLimits(),
            event_max_bytes=1 << 20,
            steps=Steps(patience_s),
            crew=Crew(ThreadPoolExecutor(8), at_once=3),
        )
        return self.house.poll(self.house.poller(pipeline))

    def quits(self) -> int:
        assert self.house.server.wait_idle(5)
        return self.house.server.log.commands.get("QUIT", 0)

    def left_undone(self, report: PollReport, code: str) -> None:
        """The poll failed by the store's fault, and looks as if it had never been."""
        assert report.outcome is Outcome.FAILED
        assert report.failure is not None
        assert report.failure.code == code
        assert "\n" not in report.failure.what
        assert report.next_due_s is not None
        assert report.next_due_s >= 5
        assert self.side.subjects() == []
        assert self.side.records() == []
        assert self.quits() == 0
        assert (report.events, report.quarantined) == (0, 0)
        assert self.side.client.hlen("t:{s0}:suspects:a") <= 1  # at most what was in hand, which is no count

    def heals(self, store: Store) -> None:
        """Once the store is well, one poll brings all, and the next one nothing."""
        report = self.poll(store)
        assert (report.outcome, report.failure, report.events) == (Outcome.DONE, None, len(MAIL))
        assert sorted(self.side.subjects()) == sorted(SUBJECTS)
        assert self.poll(store).events == 0
        assert self.quits() == 2
        assert self.side.client.hlen("t:{s0}:suspects:a") == 0
        for event in self.side.events():
            for stored in (event["data"]["raw"], *event["data"]["attachments"]):
                key = store.key_of(stored["url"])
                assert key is not None
                info = store.head(key)
                assert info is not None
                assert info.size == stored["size"]


@pytest.fixture
def scene(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)
    with house(*MAIL) as h, RedisSide(h, redis_url) as side:
        yield Scene(h, side)


@pytest.fixture
def proxy(seaweed_server: SeaweedServer, s3_store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Proxy]:
    with S3Proxy(seaweed_server.port) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", made.endpoint)
        yield made


@pytest.fixture
def store(proxy: S3Proxy, s3_store_url: str) -> Iterator[Store]:
    made = s3_store(s3_store_url, timeout_s=1)
    yield made
    made.close()


@pytest.mark.parametrize("fault", ["slow", "broken", "busy", "cut"])
def test_a_store_that_is_unwell_is_asked_again_a_while_then_left_alone(
    scene: Scene, store: Store, proxy: S3Proxy, fault: str
) -> None:
    proxy.play(fault)
    scene.left_undone(scene.poll(store), "store_unavailable")
    assert proxy.counts[fault] > 1, "tried again within the step"
    proxy.heal()
    scene.heals(store)


@pytest.mark.parametrize("fault", ["slow", "broken", "busy", "cut"])
def test_a_store_that_is_unwell_for_a_moment_costs_nobody_a_poll(
    scene: Scene, store: Store, proxy: S3Proxy, fault: str
) -> None:
    proxy.play(fault, times=2)
    report = scene.poll(store, patience_s=20)
    assert (report.outcome, report.failure, report.events) == (Outcome.DONE, None, len(MAIL))
    assert proxy.counts[fault] == 2
    assert sorted(scene.side.subjects()) == sorted(SUBJECTS)
    assert scene.quits() == 1


def test_what_a_throttled_store_asks_for_is_waited_for_or_backed_off_for(
    scene: Scene, store: Store, proxy: S3Proxy
) -> None:
    proxy.play("busy")
    proxy.retry_after_s = 3600
    report = scene.poll(store, patience_s=20)
    scene.left_undone(report, "store_unavailable")
    assert report.next_due_s is not None
    assert report.next_due_s >= 3600
    assert proxy.counts["busy"] <= 2, "not asked again before its time; two attachments went at once"
    proxy.heal()
    scene.heals(store)


def test_a_wrong_secret_is_refused_at_once(
    scene: Scene, store: Store, s3_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as wrong:
        wrong.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        stranger = s3_store(s3_store_url)
        report = scene.poll(stranger, patience_s=20)
        scene.left_undone(report, "store_refused")
        assert report.failure is not None
        assert "AWS_SECRET_ACCESS_KEY" in report.failure.todo
        stranger.close()
    scene.heals(store)


def test_a_bucket_that_goes_between_two_puts_leaves_nothing_half_told(
    scene: Scene, proxy: S3Proxy, seaweed_server: SeaweedServer
) -> None:
    seaweed_server.create_bucket("going")
    both = threading.Barrier(2)  # the attachments of the first message are there; its raw octets are not

    def drop() -> None:
        if both.wait(10) == 0:
            proxy.after_put = lambda: None
            seaweed_server.drop_bucket("going")
        both.wait(10)

    proxy.after_put = drop
    store = s3_store("s3://going/mail")
    report = scene.poll(store)
    scene.left_undone(report, "store_refused")
    assert report.failure is not None
    assert "NoSuchBucket" in report.failure.what
    seaweed_server.create_bucket("going")
    scene.heals(store)
    store.close()
    seaweed_server.drop_bucket("going")


def test_an_unknown_certificate_is_refused_whatever_it_costs(
    scene: Scene, seaweed_server: SeaweedServer, s3_store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with S3Proxy(seaweed_server.port, tls=context) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        stranger = s3_store(s3_store_url)
        report = scene.poll(stranger, patience_s=20)
        scene.left_undone(report, "store_refused")
        assert report.failure is not None
        assert "AWS_CA_BUNDLE" in report.failure.todo
        stranger.close()
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        store = s3_store(s3_store_url)
        scene.heals(store)
        store.close()


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A file system of its own in memory; yields what gives it another size."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small file system takes root, who may mount")
    with ExitStack() as stack:
        stack.callback(subprocess.run, ["umount", directory], check=True)
        yield lambda size: void(["mount", "-o", f"remount,size={size}", directory])


def void(command: list[str | Path]) -> None:
    subprocess.run(command, check=True)


def test_a_full_disk_is_refused_and_leaves_no_pieces(scene: Scene, tmp_path: Path) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    with small_disk(root, "1m") as resize:
        store = DirectoryStore(root)
        (root / "ballast").write_bytes(bytes(1 << 19))
        report = scene.poll(store, patience_s=20)
        assert report.failure is not None
        assert report.failure.code == "store_refused"
        assert "disk full" in report.failure.what
        assert scene.quits() == 0
        assert list((root / ".tmp").iterdir()) == []
        assert "large" not in scene.side.subjects()
        (root / "ballast").unlink()
        resize("64m")
        scene.poll(store)
        assert sorted(scene.side.subjects()) == sorted(SUBJECTS)
        assert scene.poll(store).events == 0


def test_a_message_that_was_in_hand_when_the_store_failed_never_goes_into_quarantine(
    scene: Scene, store: Store, proxy: S3Proxy
) -> None:
    proxy.play("broken")
    for _ in range(5):  # more often than a message may fail by its own fault
        scene.left_undone(scene.poll(store, patience_s=0), "store_unavailable")
    proxy.heal()
    scene.heals(store)
    assert StoreUnavailable.fault == "ours"
    assert list(scene.house.spool_dir.iterdir()) == []
