"""Dead letters in a real Redis, and the command that decides about them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest
from click.testing import CliRunner, Result
from sink_stands import event

from ingest.adapters.sinks.memory import MemorySink
from ingest.cli.main import mailsluice
from ingest.errors import EventRefused, StateFull
from ingest.models import OutgoingEvent
from ingest.ports import DeadLetter
from ingest.settings import Settings
from ingest.wiring import Services, build

STREAM, OCTETS = "mailsluice:{s0}:events", "mailsluice:{s0}:events:bytes"


@pytest.fixture
def services(redis_url: str) -> Iterator[Services]:
    made = build(Settings(redis_url=redis_url, stream_max_bytes=10_000, log_level="error"))
    yield made
    made.close()


def refused(services: Services, told: Sequence[OutgoingEvent], reason: str = "too odd") -> list[DeadLetter]:
    """Let a relay find that a sink refuses these."""
    sink = MemorySink()
    sink.fault = lambda _: EventRefused(reason)
    services.__dict__["sink"] = sink
    for each in told:
        services.state.xadd(STREAM, {"id": each.id, "type": each.type, "event": each.json})
        services.state.incrby(OCTETS, len(each.json))
    services.__dict__.pop("relays", None)
    assert services.relays[0].run(once=True).dead == len(told)
    return list(services.dead_letters().all())


def run(services: Services, *arguments: str) -> Result:
    return CliRunner().invoke(mailsluice, ["deadletter", *arguments], obj=lambda: services)


def test_what_a_sink_refuses_is_listed_with_its_reason_and_waits_for_nobody(services: Services) -> None:
    told = [event(1), event(2)]
    letters = refused(services, told)
    assert [(letter.event, letter.reason) for letter in letters] == [(each, "too odd") for each in told]
    assert services.state.xpending(STREAM, "relay")["pending"] == 0


def test_a_retried_one_is_at_the_end_of_the_stream_and_counted_again(services: Services) -> None:
    told = event(1)
    [letter] = refused(services, [told])
    dead = services.dead_letters()
    assert dead.retry(letter)
    assert list(dead.all()) == []
    entries = services.state.xrange(STREAM)
    assert [fields[b"event"] for _, fields in entries] == [told.json, told.json]
    assert int(services.state.get(OCTETS) or 0) == 2 * len(told.json)
    assert not dead.retry(letter)


def test_a_stream_without_room_leaves_it_where_it_is(services: Services) -> None:
    [letter] = refused(services, [event(1)])
    services.state.set(OCTETS, 9_999)
    with pytest.raises(StateFull):
        services.dead_letters().retry(letter)
    assert list(services.dead_letters().all()) == [letter]


def test_more_than_a_piece_of_them_are_all_listed(services: Services) -> None:
    dead = "mailsluice:{s0}:dead:relay"
    for n in range(250):
        services.state.xadd(dead, {"id": f"{n}", "type": "t", "event": b"{}", "reason": "r"})
    assert [letter.event.id for letter in services.dead_letters().all()] == [f"{n}" for n in range(250)]


def test_what_is_refused_again_while_all_are_retried_is_not_retried_without_end(services: Services) -> None:
    dead = "mailsluice:{s0}:dead:relay"
    for n in range(30):
        services.state.xadd(dead, {"id": f"{n}", "type": "t", "event": b"{}", "reason": "r"})
    letters, tried = services.dead_letters(), list[str]()
    for letter in letters.all():
        tried.append(letter.event.id)
        assert letters.discard(letter)
        services.state.xadd(dead, {"id": letter.event.id, "type": "t", "event": b"{}", "reason": "again"})
    assert tried == [f"{n}" for n in range(30)]


def test_a_few_of_them_at_a_time_are_in_memory(services: Services) -> None:
    dead = "mailsluice:{s0}:dead:relay"
    for n in range(100):
        services.state.xadd(dead, {"id": f"{n}", "type": "t", "event": b"{}", "reason": "r"})
    letters = services.dead_letters().all()
    assert next(letters).event.id == "0"
    services.state.delete(dead)
    assert len(list(letters)) < 20


def test_the_command_lists_retries_and_discards(services: Services) -> None:
    assert run(services, "list").exit_code == 0
    one, two, three = event(1, "one"), event(2, "two"), event(3, "three")
    refused(services, [one, two, three])
    listed = json.loads(run(services, "list", "--json").output)
    assert [each["id"] for each in listed] == [one.id, two.id, three.id]
    assert json.loads(listed[0]["event"]) == json.loads(one.json)
    assert "too odd" in run(services, "list").output

    assert run(services, "retry", one.id).output == f"{one.id}: back in the stream\n"
    assert run(services, "discard", two.id[:-1]).output == f"{two.id}: forgotten\n"
    unknown = run(services, "discard", "nothing")
    assert unknown.exit_code == 1
    assert "there is no such event" in unknown.output
    assert run(services, "retry", "--all").output == f"{three.id}: back in the stream\n"
    assert run(services, "retry", "--all").output == "nothing is listed\n"
    assert run(services, "retry").exit_code == 2
    assert run(services, "list", "--group", "another").exit_code == 0
