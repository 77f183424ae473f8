"""What was delivered, what was told of, what is gone; and whether the three agree.

Rules of this room:
- Only Dovecot's files, the event stream and the object store are looked at, from outside.
- Time of a commit is its stream entry's id: Redis' clock, the same that dates the ledger's records.
- Identical copies of which one is gone can't be told from one message that was renumbered: where mail is deleted, one
  event stands for all of them. Where it stays, each has its own.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from chaos.mail import Letter
from chaos.rig import Maildrop, Rig

_STREAM = "mailsluice:{s0}:events"
_RECEIVED = "mailsluice.message.received.v1"


@dataclass(frozen=True)
class Violation:
    """One broken promise. `kind` is lost, twice, object, early, gone, ledger, event or restless."""

    kind: str
    what: str


@dataclass(frozen=True)
class Told:
    """One event of a message, and when it was committed."""

    id: str
    uidl: str
    at_ms: int
    objects: tuple[tuple[str, str], ...]  # (URL, SHA-256 in hex)


@dataclass
class Page:
    """One delivered message: the files that it was delivered as, and what became of them."""

    letter: Letter
    files: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    told: list[Told] = field(default_factory=list)

    @property
    def present(self) -> int:
        return len(self.files) - len(self.gone)


class Book:
    """Kept by all chains together; its methods may be called by any of them.

    Args:
        rig: where to look.
        maildrops: whose mail is watched; events of others are none of its business.
    """

    def __init__(self, rig: Rig, maildrops: Iterable[Maildrop]) -> None:
        self.violations: list[Violation] = []
        self._rig = rig
        self._pages: dict[str, dict[str, Page]] = {maildrop.id: {} for maildrop in maildrops}
        self._aged: dict[str, list[int]] = defaultdict(list)
        self._cursor = "-"
        self._good: set[tuple[str, str]] = set()
        self._lock = threading.RLock()

    # Writing it

    def deliver(self, letter: Letter) -> None:
        """Deliver a message, as often as it says."""
        with self._lock:
            page = self._pages[letter.account].setdefault(letter.message_id, Page(letter))
        for _ in range(letter.copies):
            path = self._rig.dovecot.deliver(letter.account, letter.raw)
            page.files.add(path.name)

    def begin(self, maildrop: Maildrop) -> None:
        """A session is about to begin: a minute passes for what was committed by now."""
        self._aged[maildrop.id].append(self._rig.let_time_pass(maildrop))

    def read_on(self) -> None:
        """Read what the stream has got meanwhile."""
        with self._lock:
            for position, fields in self._rig.redis.xrange(_STREAM, min=self._cursor):
                self._cursor = f"({position.decode()}"
                event = json.loads(fields[b"event"])
                if event["data"]["account"] in self._pages:
                    self._enter(event, int(position.partition(b"-")[0]))

    def _enter(self, event: dict[str, Any], at_ms: int) -> None:
        data = event["data"]
        page = self._pages[data["account"]].get(data.get("message_id", ""))
        if event["type"] != _RECEIVED or page is None:
            self._broken("event", f"{event['type']} of {data['account']}: {data.get('reason')} {data.get('detail')}")
            return
        objects = [data["raw"], *data["attachments"]]
        page.told.append(
            Told(event["id"], data["uidl"], at_ms, tuple((each["url"], each["sha256"]) for each in objects))
        )

    # Asking it

    def waiting(self, maildrop: Maildrop) -> list[Letter]:
        """Messages in the maildrop that no event tells of."""
        return [page.letter for page in self._of(maildrop) if page.present and not page.told]

    def ripe(self, maildrop: Maildrop) -> int:
        """How many messages the next session may delete, should it begin now."""
        if maildrop.grace_s is None:
            return 0
        return sum(
            page.present > 0
            and bool(page.told)
            and self._sessions_since(maildrop, page.told[-1]) + 1 > maildrop.grace_minutes
            for page in self._of(maildrop)
        )

    def left(self, maildrop: Maildrop) -> int:
        """How many messages lie in the maildrop, as far as was seen."""
        return sum(page.present for page in self._of(maildrop))

    @property
    def objects(self) -> int:
        """How many objects were read back and compared."""
        return len(self._good)

    def counts(self) -> dict[str, int]:
        """Messages (copies counted), events, messages gone, copies that an identical one's event stands for."""
        with self._lock:
            pages = [page for book in self._pages.values() for page in book.values()]
        return {
            "messages": sum(len(page.files) for page in pages),
            "events": sum(len(page.told) for page in pages),
            "deleted": sum(len(page.gone) for page in pages),
            "shared": sum(max(0, page.letter.copies - len(page.told)) for page in pages if page.told),
        }

    def _of(self, maildrop: Maildrop) -> list[Page]:
        with self._lock:
            return list(self._pages[maildrop.id].values())

    def _sessions_since(self, maildrop: Maildrop, told: Told) -> int:
        """How many sessions began after a commit."""
        aged = self._aged[maildrop.id]
        return len(aged) - bisect.bisect_left(aged, told.at_ms)

    # Judging

    def look(self, maildrop: Maildrop) -> None:
        """After each poll: whatever is missing from the maildrop must have been told of, be stored, and be old enough.

        The stream is read first: what it did not say before the maildrop is looked at came too late.
        """
        self.read_on()
        missing = self._missing(maildrop)
        if any(missing.values()):  # a file may be renamed while the directory is read
            again = self._missing(maildrop)
            missing = {message_id: files & again[message_id] for message_id, files in missing.items()}
        now = self._rig.redis.time()[0] // 60
        for message_id, files in missing.items():
            if files:
                page = self._pages[maildrop.id][message_id]
                page.gone |= files
                self._judge_deletion(maildrop, page, now)

    def _missing(self, maildrop: Maildrop) -> dict[str, set[str]]:
        names = self._rig.dovecot.names(maildrop.id)
        return {page.letter.message_id: page.files - page.gone - names for page in self._of(maildrop)}

    def _judge_deletion(self, maildrop: Maildrop, page: Page, now: int) -> None:
        who = f"{page.letter.account} {page.letter.message_id}"
        if maildrop.grace_s is None:
            self._broken("gone", f"{who}: deleted, and its account keeps mail")
        if not page.told:
            self._broken("lost", f"{who}: deleted before it was told of")
            return
        told = page.told[0]
        sessions = self._sessions_since(maildrop, told)
        age = now - told.at_ms // 60_000 + sessions
        if not sessions:
            self._broken("early", f"{who}: deleted in the session that committed it")
        elif age <= maildrop.grace_minutes:
            self._broken("early", f"{who}: deleted at an age of {age} min, the grace is {maildrop.grace_s} s")
        self._judge_objects(page)

    def _judge_objects(self, page: Page) -> None:
        letter = page.letter
        for told in page.told:
            digests = sorted(sha256 for _, sha256 in told.objects)
            if digests != sorted((letter.sha256, *letter.attachments)):
                self._broken("object", f"{letter.account} {letter.message_id}: its event names other objects")
            for url, sha256 in told.objects:
                if (url, sha256) not in self._good:
                    content = self._rig.object(url)
                    if content is None:
                        self._broken("object", f"{letter.account} {letter.message_id}: {url} is not there")
                    elif hashlib.sha256(content).hexdigest() != sha256:
                        self._broken("object", f"{letter.account} {letter.message_id}: {url} has other bytes")
                    self._good.add((url, sha256))  # or said already

    def close(self, maildrop: Maildrop) -> None:
        """At the end, with the account at rest: each message told of as often as promised, stored, and recorded."""
        self.look(maildrop)
        for page in self._of(maildrop):
            self._judge_events(maildrop, page)
            self._judge_objects(page)
        for uidl in self._rig.unrecorded(maildrop):
            self._broken("ledger", f"{maildrop.id}: {uidl!r} is listed and has no record")

    def _judge_events(self, maildrop: Maildrop, page: Page) -> None:
        who, told = f"{page.letter.account} {page.letter.message_id}", page.told
        copies = page.letter.copies
        least = copies if maildrop.grace_s is None else 1
        if len(told) < least:
            self._broken("lost", f"{who}: {len(told)} events of {copies} copies")
        if len(told) > copies or len({each.uidl for each in told}) < len(told):
            self._broken("twice", f"{who}: {len(told)} events of {copies} copies, UIDLs {[each.uidl for each in told]}")
        if len({each.id for each in told}) > 1:
            self._broken("event", f"{who}: has several event ids")

    def close_all(self) -> None:
        """And no two messages share an event id."""
        of: dict[str, set[str]] = defaultdict(set)
        for account, message_id, told in self._all_told():
            of[told.id].add(f"{account} {message_id}")
        for event_id, messages in of.items():
            if len(messages) > 1:
                self._broken("event", f"{event_id} stands for {sorted(messages)}")

    def _all_told(self) -> Iterator[tuple[str, str, Told]]:
        for account, pages in self._pages.items():
            for message_id, page in pages.items():
                for told in page.told:
                    yield account, message_id, told

    def restless(self, maildrop: Maildrop, why: str) -> None:
        """An account that does not come to rest is a broken promise too."""
        self._broken("restless", f"{maildrop.id}: {why}")

    def _broken(self, kind: str, what: str) -> None:
        with self._lock:
            self.violations.append(Violation(kind, what))
