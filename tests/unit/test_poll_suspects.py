"""What was in hand when a worker died is run alone, and only failing there, or by its own fault, counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import pytest
from house import PASSWORD, House, InProcess, house, mail

from ingest.errors import IngestError, MessageUnprocessable, StoreUnavailable
from ingest.ledger import uidl_digest
from ingest.models import Account, AccountState, Kind, MessageRef, Outcome, PollReport
from ingest.pipeline import Pipeline, Processed, Read
from ingest.ports import Spool
from ingest.simulator.acts import CLOSE, Refuse
from ingest.simulator.behaviour import Behaviour, Sizes, Uidls


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)


class Died(BaseException):
    """Stands for kill -9: whatever is done about it reaches nothing."""


@dataclass
class Alone:
    """Isolation that notes what it was given, and fails for some."""

    pipeline: Pipeline
    failing: dict[bytes, IngestError | type[Died]] = field(default_factory=dict)
    given: list[bytes] = field(default_factory=list)

    def process(
        self, account: Account, ref: MessageRef, spool: Spool, *, first_seen: datetime, beat: Callable[[], None]
    ) -> Processed:
        text = bytes(spool.buffer)
        self.given.append(text.partition(b"Subject: ")[2].partition(b"\r\n")[0])
        for word, error in self.failing.items():
            if word in text:
                raise error
        return InProcess(self.pipeline).process(account, ref, spool, first_seen=first_seen, beat=beat)


class Deadly(Pipeline):
    """Ends its worker over the subject `bad`."""

    def read(self, spool: Spool) -> Read:
        if b"Subject: bad" in bytes(spool.buffer):
            raise Died
        return super().read(spool)


def dying(h: House, poll: Callable[[], PollReport]) -> None:
    """A poll whose worker dies in it; its lease runs out."""
    release, h.lease.release = h.lease.release, lambda *_, **__: True
    with pytest.raises(Died):
        poll()
    h.lease.release = release
    h.clock.forward(minutes=5)


def deadly(h: House, alone: Alone | None = None) -> Callable[[], PollReport]:
    planted = h.pipeline()
    planted.__class__ = Deadly
    return lambda: h.poll(h.poller(planted, isolation=alone))


def reasons(h: House) -> list[str]:
    return [event["data"]["reason"] for event in h.events() if ".quarantined." in event["type"]]


def test_what_was_in_hand_when_the_worker_died_is_run_alone_next_and_the_rest_as_always() -> None:
    with house(mail("first"), mail("bad"), mail("last")) as h:
        alone = Alone(h.pipeline())
        dying(h, deadly(h))
        assert h.subjects() == ["first"]
        report = deadly(h, alone)()
        assert alone.given == [b"bad"]
        assert (report.outcome, report.quarantined) == (Outcome.DONE, 0)
        assert sorted(h.subjects()) == ["bad", "first", "last"]
        assert h.state.suspects["a"] == {}


def test_what_kills_its_own_process_is_quarantined_the_third_time_and_the_others_are_told_of_at_once() -> None:
    with house(mail("first"), mail("bad"), mail("last")) as h:
        alone = Alone(h.pipeline(), {b"Subject: bad": MessageUnprocessable("its process was killed")})
        dying(h, deadly(h))
        reports = [deadly(h, alone)() for _ in range(3)]
        assert [report.quarantined for report in reports] == [0, 0, 1]
        assert h.subjects() == ["first", "last"]
        assert reasons(h) == ["message_unprocessable"]
        assert deadly(h, alone)().new == 0
        [event] = [event for event in h.events() if ".quarantined." in event["type"]]
        with h.store.open(event["data"]["raw"]["url"].removeprefix("memory:///")) as stored:
            assert stored.read() == h.maildrop.messages()[1].octets


def test_a_message_that_fails_in_the_worker_is_run_alone_the_next_time() -> None:
    class Stumbling(Deadly):
        def read(self, spool: Spool) -> Read:
            try:
                return super().read(spool)
            except Died:
                raise MessageUnprocessable("planted") from None

    with house(mail("bad")) as h:
        planted, alone = h.pipeline(), Alone(h.pipeline())
        planted.__class__ = Stumbling
        h.poll(h.poller(planted, isolation=alone))
        assert alone.given == []
        h.poll(h.poller(planted, isolation=alone))
        assert alone.given == [b"bad"]
        assert h.subjects() == ["bad"]


def test_a_store_that_fails_in_the_child_counts_against_nobody() -> None:
    with house(mail("bad")) as h:
        alone = Alone(h.pipeline(), {b"bad": StoreUnavailable("down")})
        dying(h, deadly(h))
        for _ in range(5):
            assert deadly(h, alone)().outcome is Outcome.FAILED
        assert set(h.state.suspects["a"].values()) == {0}
        alone.failing.clear()
        deadly(h, alone)()
        assert h.subjects() == ["bad"]


def test_a_connection_that_breaks_while_a_suspect_comes_counts_against_nobody() -> None:
    with house(mail("bad")) as h:
        dying(h, deadly(h))
        h.server.behaviour = Behaviour(close_on_retr=1)
        for _ in range(5):
            assert h.poll().outcome is Outcome.FAILED
        assert set(h.state.suspects["a"].values()) == {0}
        h.server.behaviour = Behaviour()
        h.poll()
        assert h.subjects() == ["bad"]


def test_a_message_that_ends_every_worker_is_quarantined_without_being_parsed_again() -> None:
    with house(mail("bad"), mail("good")) as h:
        alone = Alone(h.pipeline(), {b"bad": Died})
        for _ in range(4):
            dying(h, deadly(h, alone))
        report = deadly(h, alone)()
        assert (report.quarantined, len(alone.given)) == (1, 3)
        assert reasons(h) == ["message_unprocessable"]
        assert h.subjects() == ["good"]
        bad = uidl_digest(h.maildrop.messages()[0].uidl.encode())
        assert [record.kind for record in h.ledger.load("a").of_uidl(bad)] == [Kind.QUARANTINED]


def test_a_message_that_no_worker_survives_to_retrieve_is_quarantined_without_its_octets() -> None:
    with house(mail("bad"), mail("good")) as h:
        token = h.lease.acquire("a").token
        h.ledger.count("a", token, uidl_digest(h.maildrop.uidls()[0].encode()), 4)
        h.lease.release("a", token, due_in_s=0, state=AccountState())
        assert deadly(h)().quarantined == 1
        [event] = [event for event in h.events() if ".quarantined." in event["type"]]
        assert event["data"]["raw"] is None
        assert [uidl for _, uidl in h.server.log.retrieved] == h.maildrop.uidls()[1:]


def test_without_uidls_a_suspect_is_known_by_its_octets() -> None:
    with house(mail("bad"), mail("good"), behaviour=Behaviour(uidl=False)) as h:
        alone = Alone(h.pipeline(), {b"Subject: bad": MessageUnprocessable("its process was killed")})
        dying(h, deadly(h))
        for _ in range(4):
            deadly(h, alone)()
        assert alone.given == [b"bad"] * 3
        assert (h.subjects(), len(reasons(h))) == (["good"], 1)


def test_a_known_message_that_was_in_hand_when_a_worker_died_is_no_suspect_for_ever() -> None:
    with house(mail("bad"), behaviour=Behaviour(uidl=False)) as h:
        h.poll()
        dying(h, deadly(h))
        for _ in range(5):
            assert h.poll().quarantined == 0
        assert h.state.suspects["a"] == {}


def test_a_suspect_whose_uidl_changed_meanwhile_is_not_told_of_twice() -> None:
    with house(mail("one")) as h:
        h.poll()
        [message] = h.maildrop.messages()
        h.maildrop.remove([message])
        h.maildrop.deliver(message.octets, uidl="migrated")
        token = h.lease.acquire("a").token
        h.ledger.count("a", token, uidl_digest(b"migrated"), 0)
        h.lease.release("a", token, due_in_s=0, state=AccountState())
        h.poll()
        assert len(h.events()) == 1


def test_a_quarantined_message_under_another_uidl_is_not_told_of_again() -> None:
    with house(mail("bad")) as h:
        alone = Alone(h.pipeline(), {b"bad": MessageUnprocessable("its process was killed")})
        dying(h, deadly(h))
        for _ in range(3):
            deadly(h, alone)()
        [message] = h.maildrop.messages()
        h.maildrop.remove([message])
        h.maildrop.deliver(message.octets, uidl="migrated")
        dying(h, deadly(h, alone))
        deadly(h, alone)()
        assert len(reasons(h)) == 1
        assert deadly(h, alone)().new == 0


def test_a_refusal_is_listed_with_what_a_person_needs() -> None:
    with house(mail("large", "x" * 5000)) as h:
        h.poll(max_message_bytes=2000)
        [refusal] = h.state.refusals.values()
        assert (refusal.account, refusal.reason, refusal.subject) == ("a", "message_too_large", "large")
        assert (refusal.raw, refusal.uidl) == (None, h.maildrop.uidls()[0])
        assert refusal.id == json.loads(h.state.events[0].json)["id"]
        [record] = h.ledger.load("a").records()
        assert (refusal.record.uidl, refusal.record.identity) == (record.uidl, record.identity)


def test_a_message_at_which_the_connection_breaks_comes_behind_all_others_and_is_never_given_up() -> None:
    with house(mail("first"), mail("breaks"), mail("last"), behaviour=Behaviour(close_on_retr=2)) as h:
        # The second one leaves before it would break off, with a QUIT.
        assert [h.poll().failure is None for _ in range(6)] == [False, True, False, False, False, False]
        assert h.subjects() == ["first", "last"]
        assert list(h.state.suspects["a"].values()) == [0]
        h.maildrop.remove(h.maildrop.messages()[:1])  # it is another number that breaks now
        h.poll()
        assert sorted(map(str, h.subjects())) == ["breaks", "first", "last"]
        assert reasons(h) == []


def test_of_several_suspects_one_at_which_the_connection_breaks_stops_no_other() -> None:
    with house(mail("breaks"), mail("bad"), behaviour=Behaviour(close_on_retr=1)) as h:
        h.poll()
        dying(h, deadly(h))
        for _ in range(40):  # their order is another one each time
            h.poll()
            if h.subjects() == ["bad"]:
                break
        assert h.subjects() == ["bad"]


def test_a_suspect_that_is_refused_for_a_time_is_not_counted_and_stops_no_other() -> None:
    with house(mail("bad"), mail("last")) as h:
        dying(h, deadly(h))
        h.server.behaviour = Behaviour(script={"RETR 1": Refuse("locked", "SYS/TEMP")})
        for _ in range(6):
            h.poll()
        assert h.subjects() == ["last"]
        h.server.behaviour = Behaviour()
        h.poll()
        assert (h.subjects(), reasons(h)) == (["last", "bad"], [])


def test_a_suspect_with_more_octets_than_listed_and_allowed_is_skipped_and_no_suspect_any_more() -> None:
    with house(mail("bad", "x" * 5000), behaviour=Behaviour(sizes=Sizes.ZERO)) as h:
        dying(h, deadly(h))
        h.poll(max_message_bytes=2000)
        assert h.subjects("skipped") == ["bad"]
        assert h.state.suspects["a"] == {}


@pytest.mark.parametrize("busy", [False, True])
def test_a_message_that_breaks_each_session_keeps_none_from_being_deleted(busy: bool) -> None:
    with house(mail("one"), mail("two"), mail("bad"), behaviour=Behaviour(script={"RETR 3": CLOSE})) as h:
        h.poll(account={"keep_s": 0})
        for number in range(4):
            h.clock.forward(hours=2)
            if busy:
                h.maildrop.deliver(mail(f"more {number}"))
            if h.poll().deleted:
                break
        assert b"Subject: bad" in h.maildrop.messages()[0].octets


def test_a_suspect_is_tried_again_though_no_delete_ever_succeeds() -> None:
    with house(mail("one"), mail("two"), mail("bad"), behaviour=Behaviour(script={"RETR 3": CLOSE})) as h:
        h.poll(account={"keep_s": 0})
        h.server.behaviour = Behaviour(uidls=Uidls.SHIFTING)
        for _ in range(3):
            h.clock.forward(hours=2)
            h.poll()
        assert h.subjects() == ["one", "two", "bad"]
