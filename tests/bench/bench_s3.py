"""Messages with an attachment of 1 MB from a POP3 server to S3 (SeaweedFS) and a Redis stream, in one process.

Beside the worker that teams write: poplib, email (with policy.default), boto3 with its defaults, redis. CPU is the
client's alone. Then where our own goes, by room.
"""

from __future__ import annotations

import email.policy
import os
import tempfile
from pathlib import Path

import redis
from contestants import account_of, mailsluice, poll, poll_by_hand, to_s3
from mailserver import USERNAME, Mail, MailServer
from report import interleaved, print_costs
from rooms import Rooms
from servers.redis import RedisServer
from servers.seaweed import SeaweedServer

MESSAGES = 30
ATTACHMENT_BYTES = 1_000_000
ROUNDS = 3


def main() -> None:
    mail = Mail("attachment", MESSAGES, ATTACHMENT_BYTES)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with (
            RedisServer(directory / "redis") as redis_server,
            SeaweedServer(directory / "seaweed") as seaweed,
            MailServer(directory / "pop3", {USERNAME: mail}) as server,
            redis.Redis.from_url(redis_server.url()) as state,
        ):
            os.environ.update(seaweed.environment())
            with mailsluice(directory, redis_server.url(), f"s3://{seaweed.bucket}/ours") as services:

                def ours(number: int) -> None:
                    poll(services, account_of(server, f"ours{number}", directory), messages=MESSAGES)

                def by_hand(number: int) -> None:
                    store = to_s3(seaweed.client(), seaweed.bucket, f"theirs/{number}")
                    poll_by_hand(server, state, store, email.policy.default, f"theirs{number}")

                costs = interleaved({"mailsluice": ours, "poplib + email default + boto3": by_hand}, ROUNDS)
                print_costs(
                    f"{MESSAGES} messages with an attachment of 1 MB to S3", costs, work=MESSAGES, unit="messages"
                )
                rooms = Rooms()
                with rooms.watching():
                    for number in range(ROUNDS):
                        ours(1000 + number)
                rooms.report("mailsluice")


if __name__ == "__main__":
    main()
