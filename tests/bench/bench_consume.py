"""Events a second through a consumer, beside a bare XREADGROUP loop; then many through four, one of which is killed.

The bare loops are what a team writes with redis-py: batches of 100, one XACK a batch. One of them parses the JSON.
"""

from __future__ import annotations

import json
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import redis
from consuming import many, start, tell
from report import interleaved, print_costs
from servers.redis import RedisServer

from ingest.consumer import consume

EVENTS, ROUNDS, BATCH = 10_000, 3, 100
SOAK, DIES_AFTER, IDLE_S = 100_000, 10_000, 5.0
STREAM = "mailsluice:{s0}:events"


def bare(url: str, parse: Callable[[bytes], object]) -> Callable[[int], None]:
    def run(number: int) -> None:
        group, done = f"bare {parse.__name__} {number}", 0
        with redis.Redis.from_url(url) as client:
            client.xgroup_create(STREAM, group, id="0")
            while done < EVENTS:
                ((_, entries),) = client.xreadgroup(group, "one", {STREAM: ">"}, count=BATCH, block=1000)
                for _, fields in entries:
                    parse(fields[b"event"])
                client.xack(STREAM, group, *(position for position, _ in entries))
                done += len(entries)
            client.xgroup_destroy(STREAM, group)

    return run


def ours(url: str, remember_s: float | None) -> Callable[[int], None]:
    def run(number: int) -> None:
        consumer = consume(url, group=f"ours {remember_s} {number}", batch=BATCH, remember_s=remember_s)
        for done, _event in enumerate(consumer, 1):
            if done == EVENTS:
                consumer.stop()

    return run


def soak(url: str, client: redis.Redis, remember_s: float | None) -> None:
    """Prints what became of the events, and in which time. Ends the bench if one was lost."""
    client.delete("noted", "started")
    options = {"group": f"soak {remember_s}", "idle_s": IDLE_S, "timeout_s": 2 * IDLE_S, "remember_s": remember_s}
    began = time.perf_counter()
    processes = [start(url, **options, **({"die_after": DIES_AFTER} if n == 0 else {})) for n in range(4)]
    endings = [process.wait() for process in processes]
    wall_s = time.perf_counter() - began - 2 * IDLE_S
    if endings != [-signal.SIGKILL, 0, 0, 0]:
        raise RuntimeError(f"the consumers ended with {endings}")
    noted = Counter(client.lrange("noted", 0, -1))
    pending = client.xpending(STREAM, options["group"])["pending"]
    print(
        f"  {'remembered' if remember_s else 'not remembered'}: {len(noted):,} handled of {SOAK:,}, "
        f"{sum(noted.values()) - len(noted):,} of them twice, {pending} left; {SOAK / wall_s:,.0f} a second"
    )
    if len(noted) != SOAK or pending:
        raise RuntimeError("events were lost")


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, RedisServer(Path(directory)) as server:
        url = server.url()
        with redis.Redis.from_url(url) as client:
            events = many(SOAK)
            tell(client, events[:EVENTS])
            costs = interleaved(
                {
                    "consume": ours(url, None),
                    "consume, handled events remembered": ours(url, 600.0),
                    "bare loop": bare(url, bytes),
                    "bare loop with json.loads": bare(url, json.loads),
                },
                ROUNDS,
            )
            print_costs(
                f"{EVENTS:,} events of {len(events[0].json):,} octets, one consumer", costs, work=EVENTS, unit="events"
            )
            print(f"\n{SOAK:,} events, four consumers, one is killed behind {DIES_AFTER:,}")
            for first in range(EVENTS, SOAK, EVENTS):
                tell(client, events[first : first + EVENTS])
            soak(url, client, None)
            soak(url, client, 600.0)


if __name__ == "__main__":
    main()
