"""The promise under whatever servers, other clients and time do: server, ledger, deletes and pruning as one.

A model beside the house knows what was delivered. After each poll: no event without its objects, none twice, nothing
deleted that was not told of by an earlier poll. At the end, with a server that behaves: everything told of.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from unittest import mock

from house import PASSWORD, house, mail
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ingest.ledger import uidl_digest
from ingest.simulator.behaviour import Behaviour

GRACE_S = 3600
BEHAVIOURS = {
    "well": Behaviour(),
    "no pipelining": Behaviour(pipelining=False),
    "windowed": Behaviour(list_at_most=1),
    "truncated": Behaviour(truncate_listing=True),
    "no reply to QUIT": Behaviour(quit_reply=False),
    "keeps what it deletes": Behaviour(keep_deleted=True),
    "refuses to delete": Behaviour(refuse_dele=frozenset({1, 3})),
    "refuses to hand over": Behaviour(refuse_retr=frozenset({2})),
    "breaks off": Behaviour(close_on_retr=2),
}


@dataclass
class Lies:
    """One message that lies in the maildrop."""

    serial: int
    uidl: str
    octets: bytes


class Promise(RuleBasedStateMachine):
    """One maildrop and one account, and everything that may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._stack.enter_context(mock.patch.dict(os.environ, {"HOUSE_PASSWORD": PASSWORD}))
        self.house = self._stack.enter_context(house())
        self.copies: Counter[int] = Counter()  # how often each content was delivered
        self.told: set[int] = set()  # contents that earlier polls told of
        self.uidls = 0
        self.renumbered = False  # and no complete listing was seen since
        self.ignored = False  # some delete was confirmed, and not done
        self.reusable: list[str] = []  # UIDLs that a complete listing did not show any more

    def teardown(self) -> None:
        try:
            self.house.server.behaviour = Behaviour()
            for _ in range(8):
                self.house.clock.forward(hours=2)
                self._poll()
            self._all_is_told_of()
        finally:
            self._stack.close()

    @initialize(keep=st.sampled_from([None, 0, 86400]))
    def account(self, keep: int | None) -> None:
        self.keep = keep

    # What happens

    @rule()
    def arrives(self) -> None:
        self._deliver(*self._fresh_mail())

    @precondition(lambda self: self.reusable)
    @rule()
    def arrives_under_a_used_uidl(self) -> None:
        self._deliver(*self._fresh_mail(), self.reusable.pop())

    @precondition(lambda self: self._lying())
    @rule(data=st.data())
    def arrives_once_more(self, data: st.DataObject) -> None:
        """An identical copy under a UIDL of its own."""
        lies = data.draw(st.sampled_from(self._lying()))
        self._deliver(lies.serial, lies.octets)

    @precondition(lambda self: self._lying())
    @rule(data=st.data())
    def another_client_deletes(self, data: st.DataObject) -> None:
        lies = data.draw(st.sampled_from(self._lying()))
        self.house.maildrop.remove([each for each in self.house.maildrop.messages() if each.uidl == lies.uidl])

    @precondition(lambda self: self.house.server.behaviour != BEHAVIOURS["windowed"] and not self.ignored)
    @rule()
    def all_is_renumbered(self) -> None:
        self.renumbered = True
        before = self._lying()
        self.house.maildrop.remove(self.house.maildrop.messages())
        for lies in before:
            self.house.maildrop.deliver(lies.octets, self._fresh())

    @rule(hours=st.sampled_from([0, 1, 2, 30, 24 * 31]))
    def time_passes(self, hours: int) -> None:
        self.house.clock.forward(hours=hours)

    @rule(name=st.sampled_from(sorted(BEHAVIOURS)))
    def the_server_behaves(self, name: str) -> None:
        if self.renumbered and name == "windowed":
            return  # what a short listing leaves out may be the old UIDL: a copy and renumbered mail look the same
        # A copy of a message that we deleted, and that message, not deleted at all, look the same once it was missing.
        self.ignored = self.ignored or name == "keeps what it deletes"
        self.house.server.behaviour = BEHAVIOURS[name]

    @rule()
    def a_poll(self) -> None:
        self._poll()

    @precondition(lambda self: not self.ignored)
    @rule()
    def the_maildrop_is_not_there_for_a_poll(self) -> None:
        """A complete listing of nothing; then everything is back under its old UIDLs."""
        before = self._lying()
        self.house.maildrop.remove(self.house.maildrop.messages())
        self._poll()
        for lies in before:
            self.house.maildrop.deliver(lies.octets, lies.uidl)

    # What must hold

    @invariant()
    def every_event_has_its_objects(self) -> None:
        for event in self.house.events():
            raw = event["data"]["raw"]
            if event["type"].startswith("mailsluice.message.received"):
                info = self.house.store.head(raw["url"].removeprefix("memory:///"))
                assert info is not None
                assert info.size == raw["size"]

    @invariant()
    def nothing_is_told_of_twice(self) -> None:
        for serial, count in self._events().items():
            assert count <= self.copies[serial], f"m{serial} came {self.copies[serial]} times, told of {count} times"
        pairs = Counter((event["id"], event["data"]["uidl"]) for event in self.house.events())
        assert max(pairs.values(), default=0) <= 1

    def _poll(self) -> None:
        house, told = self.house, set(self.told)
        before = Counter(message.uidl for message in house.maildrop.messages())
        contents = {lies.uidl: lies.serial for lies in self._lying()}
        records = {record.uidl for record in house.ledger.load("a").records()}
        house.poll(account={"keep_s": self.keep}, delete_grace_s=GRACE_S)
        assert house.server.wait_idle(5)
        gone = before - Counter(message.uidl for message in house.maildrop.messages())
        for uidl in gone:
            assert self.keep is not None
            assert contents[uidl] in told, f"m{contents[uidl]} was deleted in the session that told of it, or before"
            assert uidl_digest(uidl.encode()) in records
        if house.server.behaviour in (BEHAVIOURS["well"], BEHAVIOURS["no pipelining"]):
            listed = {message.uidl for message in house.maildrop.messages()} | set(gone)
            used = [f"u{n}" for n in range(1, self.uidls + 1)]
            self.renumbered = False
            self.reusable = [uidl for uidl in used if uidl not in listed]
        self.told = {serial for serial, count in self._events().items() if count}

    def _all_is_told_of(self) -> None:
        events = self._events()
        refused = [event for event in self.house.events() if ".quarantined." in event["type"]]
        for lies in self._lying():
            assert events[lies.serial] or any(event["data"]["size"] == len(lies.octets) for event in refused)
        if self.keep == 0:
            left = {lies.uidl for lies in self._lying()}
            assert left <= {event["data"]["uidl"] for event in refused}

    # The model

    def _events(self) -> Counter[int]:
        return Counter(int(str(subject).removeprefix("m")) for subject in self.house.subjects())

    def _lying(self) -> list[Lies]:
        return [
            Lies(int(each.octets.partition(b"Subject: m")[2].partition(b"\r")[0]), each.uidl, each.octets)
            for each in self.house.maildrop.messages()
        ]

    def _fresh_mail(self) -> tuple[int, bytes]:
        """A content of its own, known by its subject and by its size."""
        serial = len(self.copies)
        return serial, mail(f"m{serial}", "x" * serial + "\r\n")

    def _deliver(self, serial: int, octets: bytes, uidl: str | None = None) -> None:
        self.copies[serial] += 1
        self.house.maildrop.deliver(octets, uidl or self._fresh())

    def _fresh(self) -> str:
        self.uidls += 1
        return f"u{self.uidls}"


TestPromise = Promise.TestCase
TestPromise.settings = settings(
    max_examples=int(os.environ.get("PROMISE_EXAMPLES", "80")),
    stateful_step_count=30,
    # A planted bug need only be seen, not seen in its simplest form.
    phases=(Phase.generate,) if "PROMISE_UNSHRUNK" in os.environ else tuple(Phase),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
