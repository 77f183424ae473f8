"""What `doctor` looks at, a line each.

Rules of this room:
- A check never raises, changes nothing, and says in one line what is wrong and what to do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ingest.errors import IngestError, StateFull, StateRefused
from ingest.models import Account
from ingest.settings import Settings
from ingest.wiring import Services

MAX_SKEW_S = 5.0
NEARLY_FULL = 0.95


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `doctor`; with `note`, one that is worth a look and fails nothing."""

    name: str
    ok: bool
    line: str
    note: bool = False


def check_all(services: Services) -> list[Check]:
    """Settings, Redis, its memory, clock, storage, virus scanner, sink, broker."""
    lines = [Check("settings", ok=False, line=line) for line in services.settings.strangers()]
    lines += check_lease(services.settings)
    state = services.state_problem()
    lines.append(Check("redis", state is None, str(state or "reachable, evicts nothing")))
    if state is None:
        lines += [
            _check("memory", lambda: _check_memory(services), "Redis has room"),
            _check("clock", lambda: _check_clock(services), "agrees with Redis'"),
        ]
    lines += [
        # lambdas, since making store and dispatcher may be what fails
        _check("storage", lambda: services.store.ping(), "reachable, ours to write"),  # noqa: PLW0108  # see above
        *([] if services.scanner is None else [_check("scanner", services.scanner.ping, "clamd answers")]),
        *([] if services.settings.sink_url is None else [_check("sink", lambda: services.sink.ping(), "reachable")]),  # noqa: PLW0108  # the same
        _check("broker", lambda: services.dispatcher.ping(), "reachable"),  # noqa: PLW0108  # the same
    ]
    return lines


def check_lease(settings: Settings) -> list[Check]:
    """A note where the lease may run out during a wait that can't renew it: all but those for store and scanner."""
    waits = {
        "connection to a server": 3 * settings.connect_timeout_s,  # name, connection, handshake
        "word of a server": settings.read_timeout_s,
        "Redis that is away": settings.step_retry_s + 2 * settings.redis_timeout_s,
    }
    what, wait_s = max(waits.items(), key=lambda wait: wait[1])
    least_s = math.ceil(wait_s * 1.5)  # up to a third of it may have passed before
    if settings.lease_ttl_s >= least_s:
        return []
    line = f"a poll may wait {wait_s:g} s for a {what} and lose its lease: MAILSLUICE_LEASE_TTL_S={least_s} would do"
    return [Check("lease", ok=True, line=line, note=True)]


def check_account(services: Services, account: Account) -> Check:
    """Log in to one account and say how it went."""
    try:
        seen = services.checker.check(account)
    except IngestError as error:
        return Check(f"account {account.id}", ok=False, line=str(error))
    return Check(f"account {account.id}", ok=True, line=f"logs in, {seen.messages} messages")


def _check(name: str, check: Callable[[], None], good: str) -> Check:
    try:
        check()
    except IngestError as error:
        return Check(name, ok=False, line=str(error))
    return Check(name, ok=True, line=good)


def _check_memory(services: Services) -> None:
    """The fullest node, where it is a cluster."""
    info: dict[str, Any] = services.redis.info("memory")
    nodes = [info] if "used_memory" in info else [node for node in info.values() if isinstance(node, dict)]
    share = max((node["used_memory"] / node["maxmemory"] for node in nodes if node.get("maxmemory")), default=0.0)
    if share >= NEARLY_FULL:
        raise StateFull(
            f"Redis' memory is {share:.0%} of maxmemory; full, it refuses what polls commit",
            todo="let consumers catch up, remove groups that nobody reads (mailsluice events groups list), or raise "
            "maxmemory",
        )


def _check_clock(services: Services) -> None:
    seconds, micros = services.redis.time()
    skew = services.clock.now().timestamp() - (int(seconds) + int(micros) / 1e6)
    if abs(skew) > MAX_SKEW_S:
        raise StateRefused(f"this clock and Redis' differ by {skew:.0f} s", todo="run NTP on both machines")
