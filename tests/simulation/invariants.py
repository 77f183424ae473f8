"""What must hold, checked at each write, each removal, each report, and when all is quiet.

1. No loss: what the server lists and lets us read has one record of it told: received, skipped, quarantined or seeded
   by rule. Its raw object is what was handed over. Objects lie in the store before the event tells of them.
2. Not twice: no content has more events than it was delivered copies, renumbered or not, unless a failover lost
   writes; every repeat has its id, and other content has another id.
3. Whatever leaves the server because of us was told of and stored, and its STORED record was written by an earlier poll
   and is older than the grace. What QUIT hides unasked must at least be told of and stored.
4. Every poll ends with a report, none with a bug of ours; in the end nothing is left to do.
5. Who holds no lease writes nothing.

Rules of this file:
- The book believes nobody: it reads stream, ledger and store themselves, and knows from the server what is true.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from ingest.ledger import HEADER_BYTES, LedgerImage, decode, uidl_digest
from ingest.models import Kind, OutgoingEvent, PollReport
from simulation.baton import Actor
from simulation.mail import Mail
from simulation.plan import GRACE_S

if TYPE_CHECKING:
    from simulation.world import World

_SERIAL = re.compile(rb"^Message-ID: <(\d+)@", re.MULTILINE)
_ATTEMPTS = 3
_INTERRUPTIONS = ("worker_killed", "worker_stalled", "state_fails", "state_reply_lost", "state_down")
_RECEIVED, _SKIPPED, _QUARANTINED = "received", "skipped", "quarantined"
Lease = tuple[str, float] | None
Key = tuple[bytes, bytes]
What = tuple[str, str, int]  # account, kind of event, serial of the message


class Book:
    """What is true of one world, and whether the product kept to it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._told = Counter[What]()  # ever, be it that a failover lost the event
        self._ids: dict[str, What] = {}
        self._written: dict[tuple[str, Key], list[tuple[int, float]]] = defaultdict(list)
        self._seeded: dict[str, Counter[bytes]] = defaultdict(Counter)
        self.events = 0
        self.repeats = 0
        self.failovers = 0

    # What the server and the pipeline tell

    def hands_over(self, mail: Mail, octets: bytes) -> None:
        mail.handed.add(hashlib.sha256(octets).hexdigest())

    def fails_to_parse(self, octets: bytes) -> bool:
        serial = int(_SERIAL.findall(octets)[0])
        mails = [mail for drop in self._world.drops.values() for mail in drop.all if mail.serial == serial]
        first = mails[0]
        fails = first.heals_after is None or first.failed < first.heals_after
        for mail in mails:
            mail.failed += fails
        return fails

    def lost_writes(self) -> None:
        """A failover: what stood in the stream may be gone from it, and may come again."""
        self.failovers += 1

    # What the state tells

    def wrote(
        self, actor: Actor, account_id: str, token: str | None, before: tuple[bytes, int, Lease], after: bytes
    ) -> None:
        """A call changed ledger or stream."""
        ledger, events, lease = before
        world = self._world
        if lease is None or lease[0] != token or lease[1] <= world.state.now():
            world.violate(f"5: {actor.name} wrote for {account_id} without holding its lease")
        for event in world.state.events[events:]:
            self._event(account_id, event)
        old = Counter((r.uidl, r.identity, r.kind) for r in decode(ledger))
        new = list(decode(after))
        for record in new:
            key = (record.uidl, record.identity, record.kind)
            if old[key] > 0 and ledger[:HEADER_BYTES] == after[:HEADER_BYTES]:
                old[key] -= 1
                continue
            if record.kind is Kind.STORED and old[key] <= 0:
                self._written[account_id, (record.uidl, record.identity)].append((actor.poll, world.clock.seconds))
            if record.kind is Kind.SEEDED and old[key] <= 0:
                self._seeds(account_id, record.uidl)
            old[key] -= 1

    def _seeds(self, account_id: str, name: bytes) -> None:
        world = self._world
        [account] = [each for each in world.plan.accounts if each.id == account_id]
        if account.first_poll == "all":
            world.violate(f"1: {account_id} wants all mail, and some was seeded")
        self._seeded[account_id][name] += 1

    def _event(self, account_id: str, event: OutgoingEvent) -> None:
        world = self._world
        self.events += 1
        told = json.loads(event.json)
        kind = event.type.split(".")[-2]
        data = told["data"]
        if ".message." not in event.type:
            return
        if data["account"] != account_id or told["id"] != event.id:
            world.violate(f"2: an event of {data['account']} came from a poll of {account_id}")
        copies = self._copies(account_id, data)
        if not copies:
            world.violate(f"2: {event.type} tells of a message that there is not: {event.json[:300]!r}")
        serial = copies[0].serial
        if data.get("raw"):
            self._object(data["raw"], copies)
        elif kind != _SKIPPED and not any(mail.refused for mail in copies) and not self._worn_out(copies):
            world.violate(f"1: {event.type} of mail {serial} without a raw object")
        for part in data.get("attachments", ()):
            self._attachment(part, serial)
        self._by_rule(kind, copies)
        self._counts(account_id, event, kind, copies)

    def _copies(self, account_id: str, data: dict[str, Any]) -> list[Mail]:
        """The messages with this content; by UIDL and size where no header came with it."""
        mails = self._world.drops[account_id].all
        if data["message_id"] is not None:
            serial = int(data["message_id"].strip("<>").partition("@")[0])
            return [mail for mail in mails if mail.serial == serial]
        named = [mail for mail in mails if data["uidl"] is None or data["uidl"].encode() in mail.uidls]
        fitting = [mail for mail in named if data["size"] == mail.size] or named
        return [mail for mail in mails if fitting and mail.serial == fitting[0].serial]

    def _by_rule(self, kind: str, copies: list[Mail]) -> None:
        first = copies[0]
        if kind == _RECEIVED and (first.heals_after is None or first.too_large):
            self._world.violate(f"1: {first} can't be read, and was told of as received")
        if kind == _SKIPPED and not first.too_large:
            self._world.violate(f"1: {first} is not too large, and was skipped")
        if kind == _QUARANTINED and self._counted(copies) < _ATTEMPTS:
            self._world.violate(f"1: {first} did not fail {_ATTEMPTS} times, and is in quarantine")

    def _worn_out(self, copies: list[Mail]) -> bool:
        """Whether it may stand counted so often that it was refused unread, for having ended each worker."""
        return self._counted(copies) > _ATTEMPTS + 1

    def _counted(self, copies: list[Mail]) -> int:
        """How often it may stand counted: before the work, so also where something else then ended the poll."""
        return self._failures(copies) + sum(self._world.faults.struck[name] for name in _INTERRUPTIONS) + self.failovers

    def _failures(self, copies: list[Mail]) -> int:
        """How often they failed; messages of one UIDL are counted together, as attempts are counted by UIDL."""
        uidls = {uidl for mail in copies for uidl in mail.uidls}
        every = [mail for drop in self._world.plan.drops for mail in drop.all if uidls & set(mail.uidls)]
        first = {mail.serial: mail for mail in reversed(every)}  # what was delivered again counts with the first
        return sum(mail.failed for mail in first.values()) + sum(mail.refused for mail in every)

    def _counts(self, account_id: str, event: OutgoingEvent, kind: str, copies: list[Mail]) -> None:
        world, serial = self._world, copies[0].serial
        what = (account_id, kind, serial)
        known = self._ids.setdefault(event.id, what)
        if known != what:
            world.violate(f"2: {kind} of mail {serial} has the id of {known}")
        most = sum(len(mail.uidls) for mail in copies) if kind == _SKIPPED else len(copies)
        self._told[what] += 1
        self.repeats += self._told[what] > most
        if kind == _RECEIVED and sum(each == what for each in self._ids.values()) > 1:
            world.violate(f"2: {kind} of mail {serial} again, and under another id")
        if self._told[what] > most and not self.failovers:
            world.violate(f"2: {kind} of mail {serial} for the {self._told[what]}th time, {most} were delivered")

    def _times(self, account_id: str, kind: str, serial: int) -> int:
        """How often the stream has it now."""
        what = (account_id, kind, serial)
        return sum(self._ids.get(event.id) == what for event in self._world.state.events)

    def _object(self, raw: dict[str, Any], copies: list[Mail]) -> None:
        info = self._content(raw["url"])
        if info is None or hashlib.sha256(info).hexdigest() != raw["sha256"]:
            self._world.violate(f"1: told of {copies[0]}, and its raw object is not in the store")
        if not any(raw["sha256"] in mail.handed for mail in copies):
            self._world.violate(f"1: the raw object of {copies[0]} is not what was handed over")

    def _attachment(self, part: dict[str, Any], serial: int) -> None:
        content = self._content(part["url"])
        if content is None or content != b"attachment %d " % serial * 9:
            self._world.violate(f"1: an attachment of mail {serial} is not in the store, or not what was sent")

    def _content(self, url: str) -> bytes | None:
        key = url.removeprefix("memory:///")
        if self._world.store.head(key) is None:
            return None
        with self._world.store.open(key) as body:
            return body.read()

    # What the server removes because of us

    def removes(self, account_id: str, mail: Mail, uidl: bytes, why: str, actor: Actor) -> None:
        world = self._world
        copies = [each for each in world.drops[account_id].all if each.serial == mail.serial]
        kinds = [kind for kind in (_RECEIVED, _QUARANTINED) if self._times(account_id, kind, mail.serial)]
        if _RECEIVED not in kinds and (why == "deleted" or not kinds):
            world.violate(f"3: {mail} was {why}, and the stream has no event of it")
        if not any(
            self._content(f"memory:///raw/{account_id}/{sha[:2]}/{sha}.eml") for each in copies for sha in each.handed
        ):
            world.violate(f"3: {mail} was {why}, and its raw object is not in the store")
        if why != "deleted":
            return
        key = (uidl_digest(uidl), bytes.fromhex(mail.identity)[:8])
        image = LedgerImage(world.state.ledgers.get(account_id, b""))
        if not any(r.identity == key[1] and r.kind in {Kind.STORED, Kind.DELETING} for r in image.of_uidl(key[0])):
            world.violate(f"3: {mail} was deleted without a STORED record: {image.of_uidl(key[0])}")
        if not any(
            poll != actor.poll and at < world.clock.seconds - GRACE_S for poll, at in self._written[account_id, key]
        ):
            world.violate(f"3: {mail} was deleted before the barrier: {self._written[account_id, key]}")

    # Reports and the end

    def reported(self, report: PollReport) -> None:
        if report.failure is not None and report.failure.code == "internal":
            self._world.violate(f"4: a bug ended the poll: {report.failure.what}")

    def closes(self) -> None:
        """All is quiet: each message that is there has its record and was told of."""
        for account in self._world.plan.accounts:
            image = LedgerImage(self._world.state.ledgers.get(account.id, b""))
            named = "without_uidl" not in self._world.faults.names
            mails = self._world.drops[account.id].mails
            there = Counter(mail.uidl for mail in mails)
            for mail in mails:
                name = uidl_digest(mail.uidl)
                if named and image.covering(name) < there[mail.uidl]:
                    self._world.violate(f"1: {mail} is there and has no record")
                if not self._has_been_told(account.id, mail, name):
                    self._world.violate(f"1: {mail} is there and was not told of: {image.of_uidl(name)}")
                if account.keep_s is not None and named and self._should_go(account.id, mail, there):
                    self._world.violate(f"4: {mail} should have been deleted: {image.of_uidl(name)}")

    def _has_been_told(self, account_id: str, mail: Mail, name: bytes) -> bool:
        if self._seeded[account_id][name]:
            return True
        return any(self._times(account_id, kind, mail.serial) for kind in (_RECEIVED, _SKIPPED, _QUARANTINED))

    def _should_go(self, account_id: str, mail: Mail, there: Counter[bytes]) -> bool:
        """Whether nothing hinders its delete; a UIDL that several messages had is left alone for good."""
        mails = self._world.drops[account_id].all
        shared = sum(mail.uidl in each.uidls for each in mails) > 1
        kinds = [kind for kind in (_SKIPPED, _QUARANTINED) if self._times(account_id, kind, mail.serial)]
        seeded = self._seeded[account_id][uidl_digest(mail.uidl)]
        return not shared and there[mail.uidl] == 1 and not kinds and not seeded
