"""The short run: every point a few times; and the same checks against bugs that were planted, which they must catch.

Rules of this room:
- A failing run names its seed: `python -m chaos --kills 46 --accounts 15 --seed N` takes the same decisions.
- A planted bug gets one poll of one maildrop; the next polls are sound, and the book says what it did.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import redis
from servers.dovecot import DovecotServer
from servers.redis import RedisServer
from servers.seaweed import SeaweedServer

from chaos.book import Book
from chaos.chain import Chain
from chaos.planted import Bug
from chaos.points import Point
from chaos.pollers import Poller
from chaos.rig import Maildrop, Rig
from chaos.siege import besiege

ACCOUNTS, TRIALS = 15, 9


@pytest.fixture(scope="module")
def rig(
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: RedisServer,
    dovecot_server: DovecotServer,
    seaweed_server: SeaweedServer,
    fresh_users: Iterator[str],
) -> Iterator[Rig]:
    with redis.Redis.from_url(redis_server.url()) as client:
        client.flushall()
    made = Rig(
        tmp_path_factory.mktemp("chaos"),
        redis_url=redis_server.url(),
        dovecot=dovecot_server,
        seaweed=seaweed_server,
        storage_url=f"s3://{seaweed_server.bucket}/{secrets.token_hex(8)}",
        users=[next(fresh_users) for _ in range(ACCOUNTS + TRIALS)],
    )
    yield made
    made.close()


@pytest.fixture(scope="module")
def pollers(rig: Rig) -> Iterator[list[Poller]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Poller(rig.environment, rig.directory / f"polls{number}.log")) for number in (0, 1)]


def test_however_a_poll_is_killed_nothing_is_lost_or_told_twice_and_every_object_is_there(
    rig: Rig, pollers: list[Poller]
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    outcome = besiege(rig, rig.maildrops[:ACCOUNTS], pollers, kills=46, each=2, seed=seed)
    rarely = [point for point in Point if outcome.tally.kills[point] < 2]
    assert (outcome.violations, rarely, outcome.tally.failed) == ([], [], {}), f"seed {seed}"
    assert outcome.counts["deleted"] > 0
    assert outcome.objects > outcome.counts["messages"] / 2  # identical copies share theirs


@pytest.fixture(scope="module")
def untouched(rig: Rig) -> list[Maildrop]:
    return rig.maildrops[ACCOUNTS:]


class Trial:
    """One maildrop with some mail, which may be polled with a bug before the book on it is closed."""

    def __init__(self, rig: Rig, poller: Poller, untouched: list[Maildrop], *, keeps: bool) -> None:
        self.maildrop = next(maildrop for maildrop in untouched if (maildrop.grace_s is None) is keeps)
        untouched.remove(self.maildrop)
        self._book = Book(rig, [self.maildrop])
        self._chain = Chain(rig, self._book, [self.maildrop], poller, seed=1)
        for _ in range(3):
            self._chain.deliver(self.maildrop)

    def poll(self, bug: Bug, point: Point | None = None) -> bool:
        """Whether it went through, with the bug in it; or was killed, where that is wanted."""
        report = self._chain.poll(self.maildrop, point, planted=bug)
        return report is None if point else report is not None and report["outcome"] == "done"

    def findings(self) -> set[str]:
        """The kinds of violations that are found in the end."""
        self._chain.come_to_rest()
        return {violation.kind for violation in self._book.violations}


@pytest.fixture
def keeping(rig: Rig, pollers: list[Poller], untouched: list[Maildrop]) -> Trial:
    return Trial(rig, pollers[0], untouched, keeps=True)


@pytest.fixture
def deleting(rig: Rig, pollers: list[Poller], untouched: list[Maildrop]) -> Trial:
    return Trial(rig, pollers[0], untouched, keeps=False)


def test_nothing_is_found_where_no_bug_was_planted(deleting: Trial) -> None:
    assert deleting.findings() == set()


def test_a_commit_before_the_put_is_found_as_a_missing_object(keeping: Trial) -> None:
    assert keeping.poll(Bug.COMMIT_BEFORE_PUT, Point.COMMITTED)
    assert keeping.findings() == {"object"}


def test_a_deletion_in_the_session_that_retrieved_is_found_as_early(deleting: Trial) -> None:
    assert deleting.poll(Bug.DELETE_AT_ONCE)
    assert deleting.findings() == {"early"}


def test_an_event_without_its_record_is_found_as_told_twice(deleting: Trial) -> None:
    assert deleting.poll(Bug.NO_RECORD)
    assert deleting.findings() == {"twice"}


def test_a_record_without_its_event_is_found_as_lost(keeping: Trial) -> None:
    assert keeping.poll(Bug.NO_EVENT)
    assert keeping.findings() == {"lost"}
