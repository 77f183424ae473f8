"""What a scanner finds goes into quarantine at once; a scanner that can't be asked is nobody's fault but ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

import pytest
from house import PASSWORD, House, InProcess, house, mail

from ingest.adapters.memory_scanner import MemoryScanner
from ingest.errors import Fault, MessageInfected, MessageUnprocessable, ScannerUnavailable
from ingest.ledger import uidl_digest
from ingest.models import Account, AccountState, Kind, MessageRef, Outcome, Scan, Verdict
from ingest.pipeline import Pipeline, Processed, Read
from ingest.ports import Spool
from ingest.quarantine import Retried
from ingest.retry import Steps
from ingest.scanning import Scanning as ScanningPolicy
from ingest.simulator.behaviour import Behaviour

VIRUS = "pretends to be a virus"


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)


class Scanning(Pipeline):
    """Asks a scanner about the whole message before it stores anything, and refuses what is infected."""

    scanner: MemoryScanner

    def process(
        self,
        account: Account,
        ref: MessageRef,
        spool: Spool,
        read: Read,
        *,
        first_seen: datetime,
        beat: Callable[[], None],
        replay: bool = False,
    ) -> Processed:
        with spool.open() as body:
            verdict = self.scanner.scan(body, spool.size)
        if verdict.scan is Scan.INFECTED:
            raise MessageInfected(f"part 2: {verdict.detail}")
        return super().process(account, ref, spool, read, first_seen=first_seen, beat=beat, replay=replay)


@dataclass
class Scanned:
    """A house whose pipeline scans."""

    house: House
    scanner: MemoryScanner
    pipeline: Scanning

    def poll(self) -> Any:  # noqa: ANN401  # a report
        return self.house.poll(self.house.poller(self.pipeline))

    def refused(self) -> list[dict[str, Any]]:
        return [event["data"] for event in self.house.events() if ".quarantined." in event["type"]]


def scanned(h: House) -> Scanned:
    scanner = MemoryScanner({VIRUS.encode(): "Pretence"})
    planted: Any = h.pipeline()
    planted.__class__ = Scanning
    planted.scanner = scanner
    return Scanned(h, scanner, planted)


def test_an_infected_message_is_quarantined_the_first_time_and_the_others_are_told_of() -> None:
    with house(mail("first"), mail("bad", VIRUS), mail("last")) as h:
        s = scanned(h)
        report = s.poll()
        assert (report.outcome, report.quarantined, report.failure) == (Outcome.DONE, 1, None)
        assert h.subjects() == ["first", "last"]
        [told] = s.refused()
        assert (told["reason"], told["detail"]) == ("message_infected", "part 2: Pretence")
        with h.store.open(told["raw"]["url"].removeprefix("memory:///")) as stored:
            assert stored.read() == h.maildrop.messages()[1].octets


def test_an_infected_message_is_not_scanned_again_and_never_deleted() -> None:
    with house(mail("bad", VIRUS)) as h:
        s = scanned(h)
        for _ in range(3):
            h.poll(h.poller(s.pipeline), account={"keep_s": 0})
            h.clock.forward(hours=2)
        assert len(s.scanner.scanned) == 1
        assert len(s.refused()) == 1
        assert len(h.maildrop.messages()) == 1
        [record] = h.ledger.load("a").records()
        assert record.kind is Kind.QUARANTINED


def test_an_infected_message_counts_nothing_and_leaves_no_suspect() -> None:
    with house(mail("bad", VIRUS), mail("good")) as h:
        s = scanned(h)
        s.poll()
        assert h.state.suspects.get("a", {}) == {}
        assert h.state.in_hand.get("a") is None


def test_a_suspect_that_turns_out_infected_is_quarantined_at_once_too() -> None:
    with house(mail("bad", VIRUS)) as h:
        s = scanned(h)
        grant = h.lease.acquire("a")
        assert grant is not None
        h.ledger.count("a", grant.token, uidl_digest(h.maildrop.uidls()[0].encode()), 0)
        h.lease.release("a", grant.token, due_in_s=0, state=AccountState())
        assert s.poll().quarantined == 1
        assert h.state.suspects["a"] == {}
        assert [told["reason"] for told in s.refused()] == ["message_infected"]


def test_without_uidls_an_infected_message_is_told_of_once() -> None:
    with house(mail("bad", VIRUS), mail("good"), behaviour=Behaviour(uidl=False)) as h:
        s = scanned(h)
        for _ in range(3):
            s.poll()
        assert (len(s.refused()), h.subjects()) == (1, ["good"])


def test_a_scanner_that_is_down_fails_the_poll_by_our_fault_and_counts_against_no_message() -> None:
    with house(mail("first"), mail("bad", VIRUS)) as h:
        s = scanned(h)
        s.scanner.down = True
        for _ in range(5):
            report = s.poll()
            assert report.outcome is Outcome.FAILED
            assert (report.failure.code, report.failure.fault) == (ScannerUnavailable.code, Fault.OURS)
        assert h.events() == []
        assert not any(h.state.suspects.get("a", {}).values())
        s.scanner.down = False
        assert s.poll().quarantined == 1
        assert h.subjects() == ["first"]


def test_while_a_scanner_is_down_the_account_backs_off_for_minutes_at_most() -> None:
    with house(mail("first")) as h:
        s = scanned(h)
        s.scanner.down = True
        waits = []
        for _ in range(8):
            s.poll()
            waits.append(round(h.schedule.due_in(["a"])["a"]))
        assert waits[0] == 10
        assert waits == sorted(waits)
        assert max(waits) == 300


def test_a_scanner_that_is_down_while_a_suspect_runs_alone_counts_nothing() -> None:
    with house(mail("bad")) as h:
        s = scanned(h)
        grant = h.lease.acquire("a")
        assert grant is not None
        h.ledger.count("a", grant.token, uidl_digest(h.maildrop.uidls()[0].encode()), 1)
        h.lease.release("a", grant.token, due_in_s=0, state=AccountState())
        s.scanner.down = True
        for _ in range(4):
            assert s.poll().outcome is Outcome.FAILED
        assert list(h.state.suspects["a"].values()) == [1]


# What a person may do


def test_a_retry_of_an_infected_message_finds_the_same_again_and_changes_nothing() -> None:
    with house(mail("bad", VIRUS)) as h:
        s = scanned(h)
        s.poll()
        [refusal] = h.refusals.all()
        assert (refusal.reason, refusal.detail) == ("message_infected", "part 2: Pretence")
        with pytest.raises(MessageInfected, match="part 2: Pretence"):
            h.quarantine(s.pipeline).retry(refusal)
        assert h.refusals.all() == [refusal]
        assert len(h.events()) == 1


def test_once_the_scanner_no_longer_finds_it_a_retry_tells_of_it() -> None:
    with house(mail("bad", VIRUS)) as h:
        s = scanned(h)
        s.poll()
        [refusal] = h.refusals.all()
        s.scanner._signatures.clear()  # a false alarm, mended by its maker
        assert h.quarantine(s.pipeline).retry(refusal) is Retried.RECEIVED
        assert (h.subjects(), h.refusals.all()) == (["bad"], [])


def test_a_replay_scans_again_and_quarantines_what_is_found_under_the_same_id() -> None:
    with house(mail("first"), mail("bad", VIRUS)) as h:
        s = scanned(h)
        s.poll()
        before = {event["id"] for event in h.events()}
        h.lose_redis()
        [report] = h.replay(h.replayer(s.pipeline, isolation=InProcess(s.pipeline)))
        assert (report.replayed, report.quarantined) == (1, 1)
        assert {event["id"] for event in h.events()} == before


def test_a_scanner_that_is_down_ends_a_replay_before_the_next_account() -> None:
    with house(mail("first")) as h:
        s = scanned(h)
        s.poll()
        s.scanner.down = True
        [report] = h.replay(h.replayer(s.pipeline))
        assert (report.outcome, report.ends, report.refused) == (Outcome.FAILED, True, 0)


class Mortal(MemoryScanner):
    """Ends at some octets, and is started anew by the test."""

    def scan(self, body: BinaryIO, size: int) -> Verdict:
        self.ping()
        if b"deadly" in body.read(size):
            self.down = True
            raise MessageUnprocessable("it ends the scanner")
        return super().scan(body, size)


def attachment(subject: str, content: str) -> bytes:
    return f"Subject: {subject}\r\nContent-Type: application/pdf\r\n\r\n{content}\r\n".encode()


def test_a_message_that_ends_the_scanner_each_time_is_quarantined_and_holds_up_the_others_no_longer() -> None:
    with house(attachment("bad", "deadly"), attachment("good", "harmless")) as h:
        scanner = Mortal({})
        asks = ScanningPolicy(scanner, steps=Steps(0.0), quarantines=False, waits=True)
        failures = []
        for _ in range(4):
            scanner.down = False
            report = h.poll(h.poller(h.pipeline(asks)))
            failures.append(report.failure and report.failure.code)
        assert failures == ["scanner_unavailable", None, None, None]
        assert h.subjects() == ["good"]
        [told] = [event["data"] for event in h.events() if ".quarantined." in event["type"]]
        assert told["reason"] == "message_unprocessable"
        assert told["detail"] == "part 1 can't be scanned, it ends the scanner"


def test_where_nobody_waits_for_the_scanner_what_ends_it_comes_unscanned() -> None:
    with house(attachment("bad", "deadly")) as h:
        asks = ScanningPolicy(Mortal({}), steps=Steps(0.0), quarantines=False, waits=False)
        h.poll(h.poller(h.pipeline(asks)))
        [event] = h.events()
        assert event["data"]["attachments"][0]["scan"] == {"verdict": "unscanned", "detail": "it ends the scanner"}
