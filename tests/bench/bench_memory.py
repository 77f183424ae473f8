"""Peak resident memory of one message on its way to S3, above what the process takes once everything is loaded.

Each poll in a child process of its own, after one small message that loads what is loaded late. Beside the worker that
teams write (poplib, email with policy.default, boto3), for one size only: it takes a multiple of the message.
"""

from __future__ import annotations

import email.policy
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import redis
from contestants import Place, account_of, mailsluice, poll, poll_by_hand, to_s3
from mailserver import Mail, MailServer
from ownprocess import search_path
from report import print_table
from resident import peak
from servers.redis import RedisServer
from servers.seaweed import SeaweedServer
from shapes import SHAPES

SIZES_MB = (1, 10, 50, 150)
BY_HAND_MB = 50
SHAPE_MB = 150
_MIB = 1 << 20


def ours(work: dict[str, Any], server: Place) -> dict[str, int]:
    directory = Path(work["directory"])
    with mailsluice(directory, work["redis_url"], f"s3://{work['bucket']}/ours", max_message_bytes=1 << 30) as services:
        poll(services, account_of(server, f"warm{work['user']}", directory, user="warm"), messages=1)
        account = account_of(server, f"ours{work['user']}", directory, user=work["user"])
        return peak(lambda: poll(services, account, messages=1))


def by_hand(work: dict[str, Any], server: Place) -> dict[str, int]:
    import boto3  # noqa: PLC0415  # not to be loaded into the other contestant earlier than it does by itself

    store = to_s3(boto3.client("s3"), work["bucket"], "theirs")
    with redis.Redis.from_url(work["redis_url"]) as state:
        poll_by_hand(server, state, store, email.policy.default, "warm", user="warm")
        return peak(lambda: poll_by_hand(server, state, store, email.policy.default, work["user"], user=work["user"]))


def in_child(contestant: str, work: dict[str, Any]) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, __file__, contestant, json.dumps(work)],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONPATH": search_path()},
    )
    figures: dict[str, int] = json.loads(done.stdout)
    return figures


def main() -> None:
    mail = {f"m{size}": Mail("attachment", 1, size * 1_000_000 * 57 // 78) for size in SIZES_MB}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with (
            RedisServer(directory / "redis") as redis_server,
            SeaweedServer(directory / "seaweed") as seaweed,
            MailServer(directory / "pop3", {"warm": Mail("text", 1), **mail}) as server,
        ):
            os.environ.update(seaweed.environment())
            work = {
                "directory": str(directory),
                "redis_url": redis_server.url(),
                "bucket": seaweed.bucket,
                "port": server.port,
            }
            runs = [("ours", size) for size in SIZES_MB] + [("by_hand", BY_HAND_MB)]
            rows = [(who, size, in_child(who, {**work, "user": f"m{size}"})) for who, size in runs]
            shaped = []
            for at, shape in enumerate(SHAPES):  # each from a server of its own, which holds it
                user = f"s{at}"
                large = {"warm": Mail("text", 1), user: Mail(shape, 1, SHAPE_MB * 1_000_000)}
                with MailServer(directory / user, large) as one:
                    shaped.append((shape, in_child("ours", {**work, "port": one.port, "user": user})))
    print_table(
        "one message to S3: resident MiB",
        ("", "message MB", "loaded", "peak", "above loaded"),
        [
            (
                "mailsluice" if who == "ours" else "poplib + email default + boto3",
                f"{size}",
                *_mib(figures),
            )
            for who, size, figures in rows
        ],
    )
    print_table(
        f"{SHAPE_MB} MB of other shapes to S3: resident MiB",
        ("", "loaded", "peak", "above loaded"),
        [(shape, *_mib(figures)) for shape, figures in shaped],
    )


def _mib(figures: dict[str, int]) -> tuple[str, str, str]:
    loaded, most = figures["loaded"] * 1024 / _MIB, figures["peak"] * 1024 / _MIB
    return f"{loaded:.0f}", f"{most:.0f}", f"{most - loaded:.0f}"


def child(contestant: str, work: dict[str, Any]) -> None:
    print(json.dumps({"ours": ours, "by_hand": by_hand}[contestant](work, Place("127.0.0.1", work["port"]))))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        child(sys.argv[1], json.loads(sys.argv[2]))
    else:
        main()
