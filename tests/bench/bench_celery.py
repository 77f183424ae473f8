"""Idle TLS polls through a real Celery worker (threads): CPU of the worker process a poll.

Ours with one account a task and with ten, beside a hand-written task around poplib with one. All workers run the whole
time, and take turns at work.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import redis
from celery import Celery
from contestants import account_of, mailsluice
from mailserver import PASSWORD, USERNAME, Mail, MailServer
from ownprocess import search_path
from report import Cost, print_table
from servers.process import wait_until
from servers.redis import RedisServer
from servers.workers import CeleryProcess

from ingest.settings import Settings
from workers.dispatcher import CeleryDispatcher

ACCOUNTS = 100
BATCH = 10
ROUNDS = 3
SEEN = 5
THREADS = 4


class WorkerByHand(CeleryProcess):
    """The same, of the hand-written application."""

    def command(self) -> Sequence[str]:
        return [word if word != "workers" else "celery_by_hand" for word in super().command()]


def cpu_of(pid: int) -> float:
    """CPU seconds of a process so far, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cost_of(worker: CeleryProcess, submit: Callable[[], int]) -> Cost:
    """What the worker takes from the first task to the end of the last; `submit` answers how many tasks it queued."""
    ended = worker.log().count(" succeeded in ")
    cpu, wall = cpu_of(worker.pid), time.perf_counter()
    tasks = submit()
    wait_until(
        lambda: worker.log().count(" succeeded in ") >= ended + tasks,
        alive=lambda: worker.running,
        timeout_s=60,
        what="the worker",
    )
    return Cost(cpu_of(worker.pid) - cpu, time.perf_counter() - wall)


def main() -> None:
    ids = [f"a{number}" for number in range(ACCOUNTS)]
    with tempfile.TemporaryDirectory() as path:
        directory = Path(path)
        (directory / "store").mkdir()
        with (
            RedisServer(directory / "redis") as redis_server,
            MailServer(directory / "pop3", {USERNAME: Mail("tiny", SEEN)}, tls=True) as server,
            mailsluice(directory, redis_server.url(), (directory / "store").as_uri()) as services,
            redis.Redis.from_url(redis_server.url(3)) as state,
            CeleryProcess(
                directory / "ours",
                "worker",
                {
                    "PYTHONPATH": search_path(),
                    "MAILSLUICE_REDIS_URL": redis_server.url(),
                    "MAILSLUICE_STORAGE_URL": (directory / "store").as_uri(),
                    "MAILSLUICE_DATA_DIR": str(directory / "var"),
                    "MAILSLUICE_ALLOWED_NETWORKS": '["127.0.0.0/8", "::1/128"]',
                },
                *("-n", "ours@%h", "-c", str(THREADS)),
            ) as our_worker,
            WorkerByHand(
                directory / "theirs",
                "worker",
                {
                    "PYTHONPATH": search_path(),
                    "BY_HAND_BROKER_URL": redis_server.url(2),
                    "BY_HAND_REDIS_URL": redis_server.url(3),
                    "BY_HAND_CA_FILE": str(server.ca_file),
                },
                *("-n", "theirs@%h", "-P", "threads", "-c", str(THREADS)),
            ) as their_worker,
        ):
            accounts = [account_of(server, id_, directory, first_poll="new") for id_ in ids]
            services.registry.put(accounts)
            services.schedule.add(ids)
            known = {"host": server.host, "port": server.port, "username": USERNAME, "password": PASSWORD}
            for id_ in ids:
                state.hset(f"account:{id_}", mapping=known)
            dispatcher = CeleryDispatcher(Settings(redis_url=redis_server.url()))
            by_hand = Celery("by_hand", broker=redis_server.url(2), set_as_current=False)

            def ours(batch: int) -> int:
                batches = [ids[at : at + batch] for at in range(0, ACCOUNTS, batch)]
                for accounts_of_one_task in batches:
                    dispatcher.submit(accounts_of_one_task, expires_s=60)
                return len(batches)

            def theirs() -> int:
                for id_ in ids:
                    by_hand.send_task("by_hand.poll", args=[id_])
                return ACCOUNTS

            turns: dict[str, tuple[CeleryProcess, Callable[[], int]]] = {
                f"mailsluice, {BATCH} accounts a task": (our_worker, lambda: ours(BATCH)),
                "mailsluice, one account a task": (our_worker, lambda: ours(1)),
                "task around poplib, one account": (their_worker, theirs),
            }
            best = {name: Cost() for name in turns}
            for number in range(ROUNDS + 1):
                for name, (worker, submit) in turns.items():
                    cost = cost_of(worker, submit)
                    if number and cost.cpu_s < best[name].cpu_s:
                        best[name] = cost
            dispatcher.close()
            by_hand.close()
    first = next(iter(best.values()))
    print_table(
        f"idle TLS polls of {SEEN} seen messages through Celery, {THREADS} threads",
        ("", "CPU ms a poll", "polls per s", "ours is"),
        [
            (
                name,
                f"{1000 * cost.cpu_s / ACCOUNTS:.2f}",
                f"{ACCOUNTS / cost.wall_s:,.0f}",
                f"{cost.cpu_s / first.cpu_s:.2f} x",
            )
            for name, cost in best.items()
        ],
    )


if __name__ == "__main__":
    main()
