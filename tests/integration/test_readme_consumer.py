"""What the pages say about consuming, run as it stands there."""

from __future__ import annotations

import hashlib
import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from consuming import tell

from ingest.adapters.directory_store import DirectoryStore
from ingest.testing import as_entry, make_attachment, make_event

ROOT = Path(__file__).resolve().parents[2]


def python_blocks(name: str, having: str) -> str:
    """What the page shows in Python, each piece that has this text."""
    found = re.findall(r"^```python\n(.*?)^```$", (ROOT / name).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return "\n\n".join(block for block in found if having in block)


@pytest.fixture
def event_id(redis_url: str, tmp_path: Path) -> str:
    """Of an event in the stream, with an attachment that is stored."""
    content, digest = b"line\n" * 40_000, hashlib.sha256(b"line\n" * 40_000)
    key = f"attachments/billing/{digest.hexdigest()[:2]}/{digest.hexdigest()}"
    put = DirectoryStore(tmp_path).put(
        key, io.BytesIO(content), size=len(content), sha256=digest.digest(), content_type="text/csv", metadata={}
    )
    event = make_event(attachments=[make_attachment(content, "readings.csv", url=put.url)])
    with redis.Redis.from_url(redis_url) as client:
        tell(client, [as_entry(event)])
    return event.id


def test_the_readmes_lines_read_the_stream_and_the_attachments(redis_url: str, event_id: str) -> None:
    program = subprocess.Popen(
        [sys.executable, "-u", "-c", python_blocks("README.md", "consume")],
        env={**os.environ, "MAILSLUICE_REDIS_URL": redis_url},
        stdout=subprocess.PIPE,
        text=True,
    )
    with program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == f"{event_id} mailsluice.message.received.v1\n"
            assert program.stdout.readline() == "readings.csv 200000\n"
            program.send_signal(signal.SIGTERM)
            assert program.wait(20) == 0
        finally:
            program.kill()
    with redis.Redis.from_url(redis_url) as client:
        assert client.xpending("mailsluice:{s0}:events", "invoices")["pending"] == 0


def test_the_handler_and_the_test_of_the_events_page_run(redis_url: str, event_id: str) -> None:
    handler = python_blocks("docs/events.md", "def handle").replace("redis://127.0.0.1:6379/0", redis_url)
    text = python_blocks("docs/events.md", "FakeConsumer")
    booked: list[str] = []
    names: dict[str, object] = {"book": lambda subject, _attachments: booked.append(subject)}
    exec(handler.replace("attempts=5", "timeout_s=0.2"), names)  # noqa: S102 - our own page
    assert booked == ["Invoice 4711"]
    exec(f"{text}\n\ntest_an_invoice_is_booked()\n", names)  # noqa: S102 - our own page
    assert booked == ["Invoice 4711"] * 2
    assert event_id
