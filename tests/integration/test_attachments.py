"""Attachments from a maildrop to their events, with a real store, a real stream and a real virus scanner."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest
import tnef_writer as tnef
from house import PASSWORD, house
from objects import s3_store
from redis_house import RedisSide
from servers.clamd import EICAR, SIGNATURE, ClamdServer

from ingest.adapters.clamd import ClamdScanner
from ingest.adapters.spool import Spools
from ingest.hands import Crew
from ingest.mime.limits import MimeLimits
from ingest.models import Outcome, PollReport
from ingest.pipeline import Pipeline
from ingest.retry import Steps
from ingest.scanning import Scanning

PDF = b"%PDF-1.7\nnot much of one"


def mail(*attachments: tuple[str, str, bytes]) -> bytes:
    """A message with attachments: type, name, content."""
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "a@example.com", "b@example.com", attachments[0][1]
    made.set_content("see attached\n")
    for kind, name, content in attachments:
        maintype, subtype = kind.split("/")
        made.add_attachment(content, maintype=maintype, subtype=subtype, filename=name)
    return made.as_bytes(policy=SMTP)


def winmail(*attachments: tuple[str, bytes]) -> bytes:
    return tnef.stream(*[tnef.attachment(content, title=name.encode()) for name, content in attachments])


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)


def polled(
    raw: bytes, redis_url: str, s3_store_url: str, scanning: Scanning | None = None
) -> tuple[PollReport, list[dict[str, Any]]]:
    """One message through a poll: its report, and the stream."""
    with closing(s3_store(s3_store_url)) as store, house(raw) as h, RedisSide(h, redis_url) as side:
        pipeline = Pipeline(
            store=store,
            spools=Spools(h.spool_dir),
            clock=h.clock,
            mime_limits=MimeLimits(),
            event_max_bytes=1 << 20,
            steps=Steps(0.2),
            scanning=scanning,
            crew=Crew(ThreadPoolExecutor(8), at_once=4),
        )
        report = h.poll(h.poller(pipeline))
        events = side.events()
        for event in events:
            for stored in event["data"].get("attachments", ()):
                with store.open(store.key_of(stored["url"]) or "") as body:
                    assert hashlib.sha256(body.read()).hexdigest() == stored["sha256"]
        return report, events


def by_clamd(server: ClamdServer, *, quarantines: bool = False, waits: bool = True) -> Scanning:
    return Scanning(ClamdScanner(server.unix_url), steps=Steps(0.2), quarantines=quarantines, waits=waits)


def test_what_lies_in_a_winmail_dat_is_stored_and_told_of(redis_url: str, s3_store_url: str) -> None:
    stream = winmail(("order.pdf", PDF), ("note.txt", b"a note"))
    raw = mail(("application/ms-tnef", "winmail.dat", stream), ("application/pdf", "again.pdf", PDF))
    _, [event] = polled(raw, redis_url, s3_store_url)
    told = [
        (each["part"], each["parent"], each["filename"], each["label"], each["detected_type"], each["scan"])
        for each in event["data"]["attachments"]
    ]
    assert told == [
        ("2", None, "winmail.dat", "tnef", "application/ms-tnef", None),
        ("2.1", "2", "order.pdf", None, "application/pdf", None),
        ("2.2", "2", "note.txt", None, None, None),
        ("3", None, "again.pdf", None, "application/pdf", None),
    ]
    assert event["data"]["labels"] == ["tnef"]
    assert event["data"]["attachments"][1]["url"] == event["data"]["attachments"][3]["url"]


def test_each_attachment_has_the_scanner_s_verdict(
    redis_url: str, s3_store_url: str, clamd_server: ClamdServer
) -> None:
    raw = mail(
        ("application/pdf", "fine.pdf", PDF),
        ("application/octet-stream", "bad.com", EICAR),
        ("application/ms-tnef", "winmail.dat", winmail(("bad.exe", EICAR))),
    )
    _, [event] = polled(raw, redis_url, s3_store_url, by_clamd(clamd_server))
    verdicts = {each["part"]: each["scan"]["verdict"] for each in event["data"]["attachments"]}
    assert verdicts["2"] == "clean"
    assert verdicts["3"] == verdicts["4.1"] == "infected"
    assert SIGNATURE in event["data"]["attachments"][1]["scan"]["detail"]


def test_an_infected_message_goes_into_quarantine_at_once_where_that_is_the_policy(
    redis_url: str, s3_store_url: str, clamd_server: ClamdServer
) -> None:
    raw = mail(("application/octet-stream", "bad.com", EICAR))
    report, [event] = polled(raw, redis_url, s3_store_url, by_clamd(clamd_server, quarantines=True))
    assert (report.outcome, report.quarantined) == (Outcome.DONE, 1)
    assert event["type"] == "mailsluice.message.quarantined.v1"
    assert event["data"]["reason"] == "message_infected"
    assert event["data"]["raw"]["sha256"] == hashlib.sha256(raw).hexdigest()


def test_while_clamd_is_down_mail_waits_on_its_server(redis_url: str, s3_store_url: str, tmp_path: Path) -> None:
    nobody = Scanning(ClamdScanner(f"unix://{tmp_path}/none"), steps=Steps(0.2), quarantines=False, waits=True)
    report, events = polled(mail(("application/pdf", "fine.pdf", PDF)), redis_url, s3_store_url, nobody)
    assert report.failure is not None
    assert (report.failure.code, events) == ("scanner_unavailable", [])


def test_while_clamd_is_down_mail_may_come_unscanned(redis_url: str, s3_store_url: str, tmp_path: Path) -> None:
    nobody = Scanning(ClamdScanner(f"unix://{tmp_path}/none"), steps=Steps(0.2), quarantines=False, waits=False)
    _, [event] = polled(mail(("application/pdf", "fine.pdf", PDF)), redis_url, s3_store_url, nobody)
    assert event["data"]["attachments"][0]["scan"]["verdict"] == "unscanned"
