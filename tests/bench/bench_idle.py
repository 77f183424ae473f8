"""Polls that find nothing new: of a mailbox of 20,000 seen messages, and of a small one over TLS.

Beside what teams write: poplib, UIDL, a set of seen UIDLs in Redis. Octets and flights are counted on the line between.
"""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

import redis
from contestants import account_of, log_in, mailsluice, new_by_hand, poll
from delayline import DelayLine
from mailserver import USERNAME, Mail, MailServer
from report import interleaved, print_costs, print_table
from rooms import Rooms
from servers.redis import RedisServer

from ingest.wiring import Services

SEEN = 20_000
LARGE_ROUNDS = 5
SMALL_SEEN = 5
SMALL_POLLS = 60
SMALL_ROUNDS = 5


def poll_by_hand(
    server: MailServer, state: redis.Redis, context: ssl.SSLContext | None = None, *, port: int | None = None
) -> None:
    """One idle poll: log in, list, compare, quit."""
    session = log_in(server, context, port=port)
    if new_by_hand(session, state, server.directory.name):
        raise RuntimeError("an idle poll finds nothing new")
    session.quit()


def remember_by_hand(server: MailServer, state: redis.Redis, context: ssl.SSLContext | None = None) -> None:
    session = log_in(server, context)
    state.sadd(f"seen:{server.directory.name}", *(line.split(b" ", 1)[1] for line in session.uidl()[1]))
    session.quit()


def large(directory: Path, services: Services, state: redis.Redis) -> None:
    with (
        MailServer(directory / "large", {USERNAME: Mail("tiny", SEEN)}) as server,
        DelayLine(directory / "ours", server.port) as our_line,
        DelayLine(directory / "theirs", server.port) as their_line,
    ):
        account = account_of(server, "large", directory, first_poll="new", port=our_line.port)
        for _ in range(2):  # the second one tries whether the host keeps what comes along with the password
            poll(services, account)
        remember_by_hand(server, state)
        costs = interleaved(
            {
                "mailsluice": lambda _: poll(services, account),
                "poplib + redis": lambda _: poll_by_hand(server, state, port=their_line.port),
            },
            LARGE_ROUNDS,
        )
        rooms = Rooms()
        with rooms.watching():
            for _ in range(LARGE_ROUNDS):
                poll(services, account)
        waited = services.poller.poll(account).flights
        travelled = {"mailsluice": our_line.travelled()[-1], "poplib + redis": their_line.travelled()[-1]}
    first = costs["mailsluice"]
    print_table(
        f"an idle poll of {SEEN:,} seen messages",
        ("", "CPU ms", "wall ms", "octets received", "flights", "our speed"),
        [
            (
                name,
                f"{1000 * cost.cpu_s:.1f}",
                f"{1000 * cost.wall_s:.1f}",
                f"{travelled[name].received:,}",
                f"{travelled[name].flights}",
                f"{cost.cpu_s / first.cpu_s:.2f} x",
            )
            for name, cost in costs.items()
        ],
    )
    print(f"\nflights count a QUIT's reply; mailsluice does not wait for it: {waited} round trip after the greeting")
    rooms.report("mailsluice, large mailbox", functions=6)


def small(directory: Path, services: Services, state: redis.Redis) -> None:
    with MailServer(directory / "small", {USERNAME: Mail("tiny", SMALL_SEEN)}, tls=True) as server:
        account = account_of(server, "small", directory, first_poll="new")
        context = ssl.create_default_context(cafile=server.ca_file)
        poll(services, account)
        remember_by_hand(server, state, context)

        def ours(_: int) -> None:
            for _ in range(SMALL_POLLS):
                poll(services, account)

        def by_hand(_: int) -> None:
            for _ in range(SMALL_POLLS):
                poll_by_hand(server, state, context)

        costs = interleaved({"mailsluice": ours, "poplib + redis": by_hand}, SMALL_ROUNDS)
        rooms = Rooms()
        with rooms.watching():
            for number in range(SMALL_ROUNDS):
                ours(number)
    print_costs(f"idle TLS polls of {SMALL_SEEN} seen messages", costs, work=SMALL_POLLS, unit="polls")
    rooms.report("mailsluice, small mailbox over TLS")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "store").mkdir()
        with (
            RedisServer(directory / "redis") as redis_server,
            redis.Redis.from_url(redis_server.url()) as state,
            mailsluice(directory, redis_server.url(), (directory / "store").as_uri()) as services,
        ):
            large(directory, services, state)
            small(directory, services, state)


if __name__ == "__main__":
    main()
