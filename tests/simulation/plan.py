"""What a seed stands for: accounts, servers, workers, limits, faults. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from random import Random

from ingest.models import Account, Tls
from simulation.faults import ALWAYS, FAULTS, allowed
from simulation.mail import Maildrop

GRACE_S = 300
KEEP_AGE_S = 1800
FULL_LISTING_S = 2000  # less than the time between two quiet rounds: what a glance can't see is found by then
LEASE_TTL_S = 60.0
MAX_MESSAGE_BYTES = 4096
_SMALL_BUDGET = 3
_KEEPS = {"keep_forever": None, "keep_delete": 0, "keep_age": KEEP_AGE_S}


@dataclass(frozen=True)
class Plan:
    """One world, before it begins."""

    seed: int
    faults: tuple[str, ...]
    accounts: tuple[Account, ...]
    drops: tuple[Maildrop, ...]
    workers: int
    polls: int
    max_messages: int
    stay: float
    creep_s: float
    step_patience_s: float
    weather: float


def plan_of(seed: int, *, only: Collection[str] | None = None, pending: bool = False) -> Plan:
    """The plan of a seed.

    Args:
        seed: what it is made from.
        only: the faults to choose from, all of them switched on; None for the seed's own choice.
        pending: whether combinations that the product does not master yet may occur.
    """
    rng = Random(f"{seed}:plan")
    accounts, drops, traits = [], [], set[str]()
    keep = rng.choice([*_KEEPS, "keep_delete"])
    first = rng.choice(["all", "all", "new"])
    for number in range(rng.randint(1, 3)):
        id_ = f"a{number}"
        if rng.random() < 0.3:
            keep = rng.choice(list(_KEEPS))
        traits |= {keep, f"first_{first}"}
        accounts.append(
            Account(
                id_, id_, 110, "u", "fake:", tls=Tls.NONE, allow_plaintext=True, keep_s=_KEEPS[keep], first_poll=first
            )
        )
        drops.append(
            Maildrop(
                id_,
                pipelining=rng.random() < 0.7,
                capa=rng.random() < 0.8,
                top=rng.random() < 0.8,
                exclusive=rng.random() < 0.7,
            )
        )
    share = rng.choice([0.0, 0.1, 0.2, 0.35])
    chosen = [name for name in FAULTS if rng.random() < share * (0.5 if FAULTS[name] == ALWAYS else 1.0)]
    if only is not None:
        chosen = [name for name in FAULTS if name in only]
    rng.shuffle(chosen)
    workers, polls, max_messages = rng.randint(2, 4), rng.randint(8, 18), rng.choice([1000, 1000, _SMALL_BUDGET])
    if max_messages == _SMALL_BUDGET:
        traits.add("small_budget")
    return Plan(
        seed,
        tuple(sorted(allowed(chosen, traits, pending=pending))),
        tuple(accounts),
        tuple(drops),
        workers=workers,
        polls=polls,
        max_messages=max_messages,
        stay=rng.choice([0.9, 0.7, 0.4]),
        creep_s=rng.choice([0.01, 0.2, 2.0]),
        step_patience_s=rng.choice([0.0, 5.0, 30.0]),
        weather=rng.choice([0.01, 0.03]),
    )
