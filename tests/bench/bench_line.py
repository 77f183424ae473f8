"""The straight line: 4 KB messages from a POP3 server to a directory store and a Redis stream, in one process.

Beside it the worker that teams write: poplib, email (with policy.default, and with compat32), redis, files with fsync.
Then where our own CPU goes, by room.
"""

from __future__ import annotations

import email.policy
import tempfile
from pathlib import Path

import redis
from contestants import account_of, mailsluice, poll, poll_by_hand, to_directory
from mailserver import USERNAME, Mail, MailServer
from report import interleaved, print_costs
from rooms import Rooms
from servers.redis import RedisServer

MESSAGES = 300
ROUNDS = 4
PROFILED_ROUNDS = 4


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        store = directory / "store"
        store.mkdir()
        with (
            RedisServer(directory / "redis") as redis_server,
            MailServer(directory / "pop3", {USERNAME: Mail("text", MESSAGES)}) as server,
            redis.Redis.from_url(redis_server.url()) as state,
            mailsluice(directory, redis_server.url(), store.as_uri()) as services,
        ):

            def ours(number: int) -> None:
                poll(services, account_of(server, f"ours{number}", directory), messages=MESSAGES)

            def by_hand(policy: str, number: int) -> None:
                id_ = f"{policy}{number}"
                poll_by_hand(server, state, to_directory(store / id_), getattr(email.policy, policy), id_)

            costs = interleaved(
                {
                    "mailsluice": ours,
                    "poplib + email compat32 + redis": lambda number: by_hand("compat32", number),
                    "poplib + email default + redis": lambda number: by_hand("default", number),
                },
                ROUNDS,
            )
            print_costs(
                f"{MESSAGES} messages of 4 KB to a directory and a stream", costs, work=MESSAGES, unit="messages"
            )
            rooms = Rooms()
            with rooms.watching():
                for number in range(PROFILED_ROUNDS):
                    ours(1000 + number)
            rooms.report("mailsluice")


if __name__ == "__main__":
    main()
