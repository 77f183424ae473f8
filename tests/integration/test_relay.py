"""Relays as processes, with a real Redis and real sinks, which break in the middle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from integration.conftest import wait_for
from servers.workers import RelayProcess
from sink_stands import BROKEN, REAL, Stand, event

from ingest.models import OutgoingEvent

STREAM, OCTETS = "mailsluice:{s0}:events", "mailsluice:{s0}:events:bytes"
ACCOUNTS = 5


@dataclass
class Street:
    """A stream, a sink with its other side, and relays between them."""

    directory: Path
    client: redis.Redis
    stand: Stand
    environment: dict[str, str]
    relays: list[RelayProcess]

    def tell(self, told: Sequence[OutgoingEvent]) -> None:
        with self.client.pipeline(transaction=False) as flight:
            for each in told:
                flight.xadd(STREAM, {"id": each.id, "type": each.type, "event": each.json})
                flight.incrby(OCTETS, len(each.json))
            flight.execute()

    def relay(self, after: int = 0) -> RelayProcess:
        """One more, started; returns once the sink has so many events, or, with 0, once it can be asked to stop."""
        directory = self.directory / f"relay{len(self.relays)}"

        def reached() -> bool:
            if after:
                return len(self.stand.taken(after)) >= after
            return bool(self.client.exists("mailsluice:{s0}:relay:relay"))

        process = RelayProcess(directory, self.environment, reached)
        self.relays.append(process)
        process.start()
        return process

    def waiting(self) -> int:
        [group] = self.client.xinfo_groups(STREAM)
        return int(group["pending"]) + int(group["lag"] or 0)

    def wait_until_all_is_through(self) -> None:
        wait_for(lambda: self.waiting() == 0, 60, lambda: f"{self.waiting()} wait")

    def check(self, told: Sequence[OutgoingEvent]) -> None:
        """Each arrived, as it was told, those of an account in order of their first arrival."""
        bodies = list(dict.fromkeys(self.stand.taken(len(told))))
        assert set(bodies) == {each.json for each in told}
        if self.stand.ordered:
            for account in range(ACCOUNTS):
                found = (json.loads(body)["data"] for body in bodies)
                numbers = [data["n"] for data in found if data["account"] == f"a{account}"]
                assert numbers == sorted(numbers)


@pytest.fixture(params=BROKEN)
def street(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> Iterator[Street]:
    with REAL[request.param](request.getfixturevalue) as stand, redis.Redis.from_url(redis_url) as client:
        environment = {
            "MAILSLUICE_REDIS_URL": redis_url,
            "MAILSLUICE_LEASE_TTL_S": "5",
            "MAILSLUICE_RELAY_MAX_WAIT_S": "1",
            **stand.environment(),
        }
        made = Street(tmp_path, client, stand, environment, [])
        yield made
        for process in made.relays:
            process.stop()


def mail(count: int, start: int = 0) -> list[OutgoingEvent]:
    return [event(n, f"a{n % ACCOUNTS}") for n in range(start, start + count)]


def test_an_event_is_at_the_sink_soon_after_it_is_in_the_stream(street: Street) -> None:
    relay = street.relay()
    told = mail(1)
    street.tell(told)
    wait_for(lambda: len(street.stand.taken(1)) == 1, 5)
    street.check(told)
    code, summary = relay.ended()
    assert (code, summary["sent"], summary["left"]) == (0, 1, 0)
    assert street.waiting() == 0


def test_a_sink_that_breaks_down_in_the_middle_loses_nothing(street: Street) -> None:
    many = street.stand.many
    told = mail(many)
    street.tell(told[: many // 2])
    street.relay(after=many // 10)
    street.stand.down()
    street.tell(told[many // 2 :])
    street.stand.up()
    street.wait_until_all_is_through()
    street.check(told)


def test_a_relay_that_is_killed_in_the_middle_loses_nothing(street: Street) -> None:
    told = mail(street.stand.many)
    street.tell(told)
    street.relay(after=len(told) // 10).kill()
    street.relay(after=len(told))
    street.wait_until_all_is_through()
    street.check(told)


def test_of_two_relays_one_works_and_the_other_goes_on_where_it_ends(street: Street) -> None:
    many = street.stand.many
    told = mail(many)
    street.tell(told[: many // 2])
    first = street.relay(after=many // 10)
    second = street.relay()
    code, summary = first.ended()
    assert code == 0
    street.tell(told[many // 2 :])
    street.wait_until_all_is_through()
    street.check(told)
    code, other = second.ended()
    assert code == 0
    assert summary["sent"] + other["sent"] == many
