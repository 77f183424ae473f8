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
from ingest.wiring import Services
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


def check_polled(services: Services, ids: Sequence[str], *, since: float) -> None:
    """Each account was polled to its end: a worker that turns polls away is cheap."""
    states = services.schedule.states(ids)
    if not all(states[id_].failures == 0 and (states[id_].last_poll or 0) >= since for id_ in ids):
        raise RuntimeError(f"not the polls that were to be measured: {states}")


def submit(services: Services, dispatcher: CeleryDispatcher, ids: Sequence[str], batch: int) -> int:
    """Make all due, claim them as a tick does (a task polls only what was claimed), and queue them."""
    services.schedule.set_due(ids, 0)
    if set(services.schedule.claim(len(ids))) != set(ids):
        raise RuntimeError("all accounts are due")
    batches = [ids[at : at + batch] for at in range(0, len(ids), batch)]
    for of_one_task in batches:
        dispatcher.submit(of_one_task, expires_s=60)
    return len(batches)


def submit_by_hand(app: Celery, ids: Sequence[str]) -> int:
    for id_ in ids:
        app.send_task("by_hand.poll", args=[id_])
    return len(ids)


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

            turns: dict[str, tuple[CeleryProcess, Callable[[], int]]] = {
                f"mailsluice, {BATCH} accounts a task": (our_worker, lambda: submit(services, dispatcher, ids, BATCH)),
                "mailsluice, one account a task": (our_worker, lambda: submit(services, dispatcher, ids, 1)),
                "task around poplib, one account": (their_worker, lambda: submit_by_hand(by_hand, ids)),
            }
            best = {name: Cost() for name in turns}
            for number in range(ROUNDS + 1):
                for name, (worker, submitting) in turns.items():
                    began = time.time()
                    cost = cost_of(worker, submitting)
                    if worker is our_worker:
                        check_polled(services, ids, since=began)
                    if number and cost.cpu_s < best[name].cpu_s:
                        best[name] = cost
            dispatcher.close()
            by_hand.close()
    first = next(iter(best.values()))
    print_table(
        f"idle TLS polls of {SEEN} seen messages through Celery, {THREADS} threads",
        ("", "CPU ms a poll", "polls per s", "our speed"),
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
