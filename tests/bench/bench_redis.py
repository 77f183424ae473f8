"""What a remembered UIDL costs in Redis: our ledger as commits and sessions leave it, beside a SET of UIDLs."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path

import redis
from contestants import mailsluice
from report import print_table
from servers.redis import RedisServer

from ingest.ledger import uidl_digest
from ingest.models import Kind, Record
from ingest.wiring import Services

SIZES = (1_000, 20_000)
WEIGHED_EVERY = 50


def uidls(count: int) -> list[bytes]:
    """As Dovecot makes them: eight hex digits of the message, eight of the mailbox."""
    return [b"%08x%08x" % (number + 1, 0x5F3C_21A7) for number in range(count)]


def weigh(services: Services, state: redis.Redis, count: int) -> list[tuple[str, float]]:
    account = f"a{count}"
    grant = services.lease.acquire(account)
    if grant is None:
        raise RuntimeError("nobody else polls here")
    key = services.keys.of_account("ledger", account)
    image = services.ledger.load(account)
    worst = 0.0
    for number, uidl in enumerate(uidls(count), 1):
        record = Record(uidl_digest(uidl), secrets.token_bytes(8), Kind.STORED)
        services.ledger.commit(account, grant.token, image, [record], None)
        if number * 2 > count and number % WEIGHED_EVERY == 0:
            worst = max(worst, int(state.memory_usage(key, samples=0) or 0) / number)
    committed = int(state.memory_usage(key, samples=0) or 0)
    services.lease.release(account, grant.token, due_in_s=0, state=grant.state)
    given_back = int(state.memory_usage(key, samples=0) or 0)
    for uidl in uidls(count):
        state.sadd("seen", uidl)
    seen = int(state.memory_usage("seen", samples=0) or 0)
    state.delete("seen")
    return [
        ("SET of UIDLs", seen / count),
        ("ledger after its commits", committed / count),
        ("ledger at its worst, on the second half of the way", worst),
        ("ledger once its lease is given back", given_back / count),
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "store").mkdir()
        with (
            RedisServer(directory / "redis") as redis_server,
            redis.Redis.from_url(redis_server.url()) as state,
            mailsluice(directory, redis_server.url(), (directory / "store").as_uri()) as services,
        ):
            for count in SIZES:
                weights = weigh(services, state, count)
                first = weights[0][1]
                print_table(
                    f"{count:,} remembered UIDLs of 16 octets",
                    ("", "octets a UIDL", "of the SET's"),
                    [(name, f"{octets:.1f}", f"{octets / first:.2f} x") for name, octets in weights],
                )


if __name__ == "__main__":
    main()
