"""Consumers on a real Redis, a directory and an S3 store: what is handled, how often, and what is left behind."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from consuming import many, start, tell
from integration.conftest import wait_for
from servers.redis import RedisServer
from servers.redis_cluster import RedisCluster

from ingest.adapters.stores import open_store
from ingest.consumer import Consumer, Event, Received, TryLater, UnknownEvent, consume
from ingest.errors import ConfigurationError, StoreRefused
from ingest.events.models import EventType
from ingest.models import OutgoingEvent
from ingest.settings import Settings
from ingest.testing import as_entry, make_attachment, make_event

STREAM, DEAD = "mailsluice:{s0}:events", "mailsluice:{s0}:dead:invoices"
QUIET_S = 0.2


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as made:
        yield made


def pending(client: redis.Redis, group: str = "invoices") -> int:
    return int(client.xpending(STREAM, group)["pending"])


def noted(client: redis.Redis) -> Counter[str]:
    return Counter(id_.decode() for id_ in client.lrange("noted", 0, -1))


# What comes, and when it counts as handled


def test_a_loop_has_typed_events_and_acknowledges_each_when_it_asks_for_the_next(
    redis_url: str, client: redis.Redis
) -> None:
    tell(client, [as_entry(make_event(subject="one")), as_entry(make_event(EventType.FAILING))])
    found = []
    for event in consume(redis_url, group="invoices", timeout_s=QUIET_S):
        found.append(event)
        assert pending(client) > 0
    assert isinstance(found[0], Received)
    assert [event.type for event in found] == [EventType.RECEIVED, EventType.FAILING]
    assert pending(client) == 0
    assert list(consume(redis_url, group="invoices", timeout_s=QUIET_S)) == []


def test_a_type_and_fields_of_a_later_version_break_nothing(redis_url: str, client: redis.Redis) -> None:
    known = json.loads(as_entry(make_event()).json)
    known["data"]["mood"] = known["colour"] = "blue"
    known["data"]["raw"]["mood"] = "blue"
    unknown = as_entry(make_event("mailsluice.message.received.v2", anything=[1]))
    tell(client, [OutgoingEvent("1", known["type"], json.dumps(known).encode()), unknown])
    first, second = consume(redis_url, group="invoices", timeout_s=QUIET_S)
    assert isinstance(first, Received)
    assert isinstance(second, UnknownEvent)
    assert second.data == {"anything": [1]}


def test_a_new_group_can_begin_with_the_next_event(redis_url: str, client: redis.Redis) -> None:
    tell(client, many(1))
    assert list(consume(redis_url, group="invoices", from_start=False, timeout_s=QUIET_S)) == []


def test_what_is_no_event_goes_to_the_dead_letters_and_stops_nothing(redis_url: str, client: redis.Redis) -> None:
    client.xadd(STREAM, {"id": "broken", "type": EventType.RECEIVED, "event": b'{"id": 7}'})
    client.xadd(STREAM, {"other": "entirely"})
    tell(client, many(1))
    assert len(list(consume(redis_url, group="invoices", timeout_s=QUIET_S))) == 1
    assert [letter[b"event"] for _, letter in client.xrange(DEAD)] == [b'{"id": 7}', b""]
    assert pending(client) == 0


def test_events_of_all_shards_come_and_too_few_shards_are_refused(redis_url: str, client: redis.Redis) -> None:
    for shard, event in enumerate(many(3)):
        tell(client, [event], f"mailsluice:{{s{shard}}}:events")
    with pytest.raises(ConfigurationError, match="MAILSLUICE_SHARDS"):
        list(consume(redis_url, group="invoices", shards=2))
    assert len(list(consume(redis_url, group="invoices", shards=3, timeout_s=QUIET_S))) == 3


def test_a_url_that_is_none_and_numbers_that_are_too_small_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="Redis URL"):
        list(consume("nonsense", group="invoices"))
    with pytest.raises(ConfigurationError, match="batch"):
        consume("redis://127.0.0.1", group="invoices", batch=0)


# Failing


def test_an_event_that_fails_n_times_becomes_a_dead_letter_and_the_others_go_on(
    redis_url: str, client: redis.Redis
) -> None:
    events = many(3)
    tell(client, events)
    tries: Counter[str] = Counter()

    def handle(event: Event) -> None:
        tries[event.id] += 1
        if event.id == events[1].id:
            raise ValueError("no such supplier")

    consume(redis_url, group="invoices", attempts=3, timeout_s=QUIET_S).handle(handle)
    assert [tries[event.id] for event in events] == [1, 3, 1]
    ((_, letter),) = client.xrange(DEAD)
    assert (letter[b"id"], letter[b"reason"]) == (events[1].id.encode(), b"ValueError: no such supplier")
    assert letter[b"event"] == events[1].json
    assert pending(client) == 0


def test_a_failure_that_passes_is_tried_again_and_no_dead_letter(redis_url: str, client: redis.Redis) -> None:
    tell(client, many(1))
    failures = [TryLater("away"), TryLater("away"), ValueError("once")]

    def handle(_event: Event) -> None:
        if failures:
            raise failures.pop()

    consume(redis_url, group="invoices", attempts=2, timeout_s=QUIET_S).handle(handle)
    assert failures == []
    assert not client.exists(DEAD)
    assert pending(client) == 0


def test_an_event_that_kills_whoever_handles_it_becomes_a_dead_letter_and_its_neighbours_do_not(
    redis_url: str, client: redis.Redis
) -> None:
    events = many(20)
    tell(client, events)
    options = {"group": "invoices", "attempts": 2, "idle_s": 0.3, "timeout_s": 1.0}
    killed = 0
    while start(redis_url, die_at=events[3].id, **options).wait(30) == -signal.SIGKILL:
        killed += 1
    assert killed == 3
    assert [letter[b"id"].decode() for _, letter in client.xrange(DEAD)] == [events[3].id]
    assert set(noted(client)) == {event.id for event in events} - {events[3].id}
    assert pending(client) == 0


# Several, one of which dies


def settled(client: redis.Redis, count: int) -> bool:
    return len(noted(client)) == count and pending(client) == 0


def four_of_which_one_dies(url: str, client: redis.Redis, **options: object) -> Counter[str]:
    """What they handle of 2,000 events; the one that dies does so amid its work."""
    tell(client, many(2000))
    common = {"group": "invoices", "idle_s": 3.0, "batch": 50}
    processes = [start(url, die_after=200, **common, **options)]
    wait_for(lambda: client.llen("started") == 1, 30)
    processes += [start(url, **common, **options) for _ in range(3)]
    try:
        assert processes[0].wait(60) == -signal.SIGKILL
        wait_for(lambda: settled(client, 2000), 60)
        for process in processes[1:]:
            process.terminate()
        assert [process.wait(30) for process in processes[1:]] == [0, 0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return noted(client)


def test_of_four_consumers_one_is_killed_and_each_event_is_handled(redis_url: str, client: redis.Redis) -> None:
    assert len(four_of_which_one_dies(redis_url, client)) == 2000


def test_with_what_was_handled_remembered_none_is_handled_twice(redis_url: str, client: redis.Redis) -> None:
    assert set(four_of_which_one_dies(redis_url, client, remember_s=600).values()) == {1}


def test_killed_between_work_and_mark_an_event_repeats_and_is_not_lost(redis_url: str, client: redis.Redis) -> None:
    events = many(3)
    tell(client, events)
    options = {"group": "invoices", "idle_s": 0.3, "timeout_s": 1.0, "remember_s": 600}
    assert start(redis_url, die_at=events[1].id, noted_first=True, **options).wait(30) == -signal.SIGKILL
    assert start(redis_url, **options).wait(30) == 0
    assert [noted(client)[event.id] for event in events] == [1, 2, 1]


def test_a_repeat_under_the_same_id_is_passed_over_where_handled_events_are_remembered(
    redis_url: str, client: redis.Redis
) -> None:
    tell(client, many(2) + many(2))
    assert len(list(consume(redis_url, group="invoices", remember_s=600, timeout_s=QUIET_S))) == 2
    assert len(list(consume(redis_url, group="others", timeout_s=QUIET_S))) == 4


# Stopping


def test_told_to_stop_it_finishes_the_event_in_hand_and_leaves_the_rest_to_others_at_once(
    redis_url: str, client: redis.Redis
) -> None:
    events = many(10)
    tell(client, events)
    consumer = consume(redis_url, group="invoices")
    found = []
    for event in consumer:
        found.append(event.id)
        if len(found) == 4:
            consumer.stop()
    assert len(found) == 4
    assert [each["name"] for each in client.xinfo_consumers(STREAM, "invoices")] == [b"(left)"]
    rest = [event.id for event in consume(redis_url, group="invoices", timeout_s=QUIET_S)]
    assert found + rest == [event.id for event in events]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_nothing_unhandled_left_behind(
    redis_url: str, client: redis.Redis, number: signal.Signals
) -> None:
    events = many(20_000)
    tell(client, events)
    process = start(redis_url, group="invoices")
    wait_for(lambda: client.llen("noted") > 20, 30)
    process.send_signal(number)
    assert process.wait(30) == 0
    done = noted(client)
    rest = [event.id for event in consume(redis_url, group="invoices", timeout_s=QUIET_S)]
    assert 0 < len(done) < len(events)
    assert done + Counter(rest) == Counter(event.id for event in events)


def test_a_handler_that_fails_all_the_time_stops_too_and_its_event_waits(redis_url: str, client: redis.Redis) -> None:
    tell(client, many(1))
    consumer = consume(redis_url, group="invoices")

    def fail(_event: Event) -> None:
        threading.Thread(target=consumer.stop).start()
        raise TryLater("away")

    consumer.handle(fail)
    assert pending(client) == 1
    assert not client.exists(DEAD)
    assert len(list(consume(redis_url, group="invoices", attempts=1, timeout_s=QUIET_S))) == 1


def test_however_often_consumers_stop_while_what_they_need_is_away_no_event_is_given_up(
    redis_url: str, client: redis.Redis
) -> None:
    tell(client, many(2))
    for _ in range(5):
        consumer = consume(redis_url, group="invoices", attempts=1)

        def fail(_event: Event, consumer: Consumer = consumer) -> None:
            consumer.stop()
            raise TryLater("away")

        consumer.handle(fail)
    assert len(list(consume(redis_url, group="invoices", attempts=1, timeout_s=QUIET_S))) == 2
    assert not client.exists(DEAD)


def test_what_lay_unbegun_in_the_batch_of_a_dead_consumer_is_handled_even_where_one_failure_is_enough(
    redis_url: str, client: redis.Redis
) -> None:
    events = many(5)
    tell(client, events)
    options = {"group": "invoices", "attempts": 1, "idle_s": 0.3, "timeout_s": 1.0}
    assert start(redis_url, die_at=events[0].id, **options).wait(30) == -signal.SIGKILL
    assert start(redis_url, **options).wait(30) == 0
    assert set(noted(client)) == {event.id for event in events}
    assert not client.exists(DEAD)


def test_a_loop_that_raises_leaves_its_event_unacknowledged(redis_url: str, client: redis.Redis) -> None:
    tell(client, many(3))

    def work() -> None:
        for event in consume(redis_url, group="invoices"):
            if event.id == f"{1:032x}":
                raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        work()
    found = [event.id for event in consume(redis_url, group="invoices", idle_s=0.01, timeout_s=QUIET_S)]
    assert sorted(found) == [f"{n:032x}" for n in (1, 2)]


# Redis goes away


def test_redis_restarts_amid_the_work_and_nothing_is_lost(tmp_path: Path, redis_url: str, client: redis.Redis) -> None:
    options = {"group": "invoices", "idle_s": 1.0, "batch": 20, "timeout_s": 4.0, "notes": redis_url}
    with RedisServer(tmp_path / "own") as server:
        with redis.Redis.from_url(server.url()) as own:
            tell(own, many(1000))
        processes = [start(server.url(), **options) for _ in range(2)]
        wait_for(lambda: client.llen("noted") > 50, 30)
        server.stop()
        server.start()
        assert [process.wait(60) for process in processes] == [0, 0]
        with redis.Redis.from_url(server.url()) as own:
            assert pending(own) == 0
    assert len(noted(client)) == 1000


def test_a_consumer_that_is_there_before_redis_waits_for_it(
    tmp_path: Path, redis_url: str, client: redis.Redis
) -> None:
    server = RedisServer(tmp_path / "late")
    process = start(server.url(), group="invoices", timeout_s=2.0, notes=redis_url)
    wait_for(lambda: client.llen("started") == 1, 30)
    with server, redis.Redis.from_url(server.url()) as own:
        tell(own, many(1))
        assert process.wait(30) == 0
    assert len(noted(client)) == 1


def test_a_consumer_stops_also_while_redis_is_away(tmp_path: Path) -> None:
    consumer = consume(RedisServer(tmp_path / "never").url(), group="invoices")
    threading.Timer(0.3, consumer.stop).start()
    assert list(consumer) == []


# Contents


@pytest.fixture(params=["directory", "s3"])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return str(request.getfixturevalue("s3_store_url"))
    (tmp_path / "my store").mkdir()
    return (tmp_path / "my store").as_uri()


def stored(storage_url: str, content: bytes, kind: str = "attachments", suffix: str = "") -> str:
    store = open_store(Settings(storage_url=storage_url))
    digest = hashlib.sha256(content)
    key = f"{kind}/billing/{digest.hexdigest()[:2]}/{digest.hexdigest()}{suffix}"
    put = store.put(
        key, io.BytesIO(content), size=len(content), sha256=digest.digest(), content_type="text/plain", metadata={}
    )
    store.close()
    return put.url


def received(client: redis.Redis, redis_url: str, event: Event) -> Received:
    tell(client, [as_entry(event)])
    (found,) = consume(redis_url, group="invoices", timeout_s=QUIET_S)
    assert isinstance(found, Received)
    return found


def test_attachments_and_raw_messages_open_from_the_store_by_their_urls(
    redis_url: str, client: redis.Redis, storage_url: str
) -> None:
    message = b"From: a@example.com\r\n\r\nhello"
    url, raw_url = stored(storage_url, b"%PDF content"), stored(storage_url, message, "raw", ".eml")
    raw = {"url": raw_url, "size": len(message), "sha256": hashlib.sha256(message).hexdigest()}
    made = make_event(attachments=[make_attachment(b"%PDF content", url=url)], raw=raw)
    event = received(client, redis_url, made)
    with event.data.attachments[0].open() as content:
        assert (content.read(4), content.read()) == (b"%PDF", b" content")
    with event.data.raw.open() as content:
        assert content.read() == message


def test_a_large_content_is_read_in_bounded_memory(redis_url: str, client: redis.Redis, storage_url: str) -> None:
    large = bytes(range(256)) * (64 << 10)
    url = stored(storage_url, large)
    event = received(client, redis_url, make_event(attachments=[make_attachment(large, url=url)]))
    event.data.attachments[0].open().close()  # what is loaded at first use is not counted
    tracemalloc.start()
    octets = 0
    with event.data.attachments[0].open() as content:
        while chunk := content.read(1 << 16):
            octets += len(chunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert octets == len(large)
    assert peak < 4 << 20


def test_a_content_that_was_changed_raises_before_its_last_octets(
    redis_url: str, client: redis.Redis, storage_url: str
) -> None:
    url = stored(storage_url, b"x" * 200_000)
    made = make_attachment(b"y" * 200_000, url=url)
    event = received(client, redis_url, make_event(attachments=[made]))
    with event.data.attachments[0].open() as content:
        assert content.read(1000) == b"x" * 1000
        with pytest.raises(StoreRefused, match="not what the event says"):
            content.read()


def test_a_content_that_is_gone_and_a_url_that_is_none_of_ours_are_refused(
    redis_url: str, client: redis.Redis, storage_url: str
) -> None:
    digest = hashlib.sha256(b"gone").hexdigest()
    gone = make_attachment(b"gone", url=f"{storage_url}/attachments/billing/{digest[:2]}/{digest}")
    strange = make_attachment(b"strange", url="file:///etc/passwd")
    event = received(client, redis_url, make_event(attachments=[gone, strange]))
    with pytest.raises(StoreRefused, match="no object"):
        event.data.attachments[0].open()
    with pytest.raises(StoreRefused, match="no address"):
        event.data.attachments[1].open()


# A cluster


def test_on_a_redis_cluster_all_of_it_works(tmp_path: Path) -> None:
    with RedisCluster(tmp_path) as cluster:
        client = redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port)
        events = many(30)
        for n, event in enumerate(events + events[:3]):
            fields = {"id": event.id, "type": event.type, "event": event.json}
            client.xadd(f"mailsluice:{{s{n % 3}}}:events", fields)
        found: list[str] = []

        def handle(event: Event) -> None:
            if event.id == events[7].id:
                raise ValueError("no")
            found.append(event.id)

        consumer = consume(
            cluster.url, group="invoices", shards=3, attempts=2, remember_s=60, timeout_s=2.0, signals=False
        )
        consumer.handle(handle)
        assert sorted(found) == sorted({event.id for event in events} - {events[7].id})
        assert client.xlen("mailsluice:{s1}:dead:invoices") == 1
        client.close()


# What it takes along


def test_importing_it_loads_neither_boto3_nor_celery_and_reading_from_a_directory_neither() -> None:
    code = (
        "import sys; from ingest.consumer import consume; before = {'redis', 'boto3', 'celery'} & set(sys.modules);"
        "consume('redis://127.0.0.1', group='g'); print(before, {'boto3', 'botocore', 'celery'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "set() set()\n"
