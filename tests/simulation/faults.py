"""What may go wrong, each thing a switch of its own, and what can't be had together.

Rules of this file:
- A fault is a name and a rate. `Faults.strikes(name)` asks whether it happens now; each name draws from a generator of
  its own, so that a switch that is off disturbs no other.
- `EXCLUDED` is what nobody can promise, with the reason. `PENDING` is what should hold and does not yet; it is to be
  emptied. Both hold combinations: a world never has all names of one. An account's traits count as names, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from random import Random

ALWAYS = 1.01  # what a server is like

# How likely at each occasion, while it is switched on.
FAULTS: Mapping[str, float] = {
    # Connections. Occasions: a dial, a command.
    "dial_refused": 0.1,
    "drop_before": 0.03,  # the command is lost
    "drop_after": 0.04,  # the command took effect; the reply breaks off at any octet
    "quit_reply_lost": 0.3,
    "silence": 0.02,  # no reply, and no end of the connection either
    "loses_behind_pass": ALWAYS,  # what came in one piece with the password
    "short_sessions": ALWAYS,  # the connection ends at the second message that is retrieved
    "lock_lingers": 0.5,  # the server holds the maildrop of a connection that broke for a while
    # The server's listings. Occasion: a login.
    "listing_broken": 0.15,
    "listing_short": 0.2,  # fewer lines than STAT says
    "listing_window": 0.3,  # the newest few, and STAT agrees
    "listing_empty": 0.1,
    # What servers do. Occasion: a command.
    "retr_refused": 0.06,
    "dele_refused": 0.3,
    "quit_ignored": 0.3,  # confirmed, and nothing is deleted
    "hides_retrieved": ALWAYS,  # QUIT after RETR takes the message away, unannounced
    "expire_0": ALWAYS,  # the same, announced
    "size_lies": 0.3,  # LIST says less than RETR gives
    "without_uidl": ALWAYS,
    # Messages. Occasion: a delivery.
    "poison": 0.15,
    "poison_heals": 0.15,
    "too_large": 0.15,
    # Ours. Occasions: a step, a poll, a call.
    "worker_killed": 0.004,
    "worker_stalled": 0.004,
    "drained": 0.1,
    "state_fails": 0.04,
    "state_reply_lost": 0.05,
    "put_fails": 0.1,
    "put_reply_lost": 0.1,
    # What happens by itself (`weather`). Here the figure is its weight among those that are switched on.
    "renumbered_all": 1,
    "renumbered_some": 1,
    "status_rewritten": 1,
    "others_delete": 1,
    "delivered_again": 1,  # the same octets under another UIDL
    "uidl_twice": 1,
    "uidl_reused": 4,
    "state_down": 0.5,
    "store_down": 0.5,
    "stream_full": 0.7,
    "failover": 0.7,
}

TRAITS = ("keep_forever", "keep_delete", "keep_age", "first_all", "first_new", "small_budget")

_COPY = "a copy of a deleted message and the message itself, not deleted at all, are one and the same to see"
_LEFT = "the one that was read goes and leaves the other behind its record"
EXCLUDED: Mapping[frozenset[str], str] = {
    frozenset({"without_uidl", "first_new"}): "seeding needs UIDLs: account_misconfigured",
    frozenset({"without_uidl", "renumbered_all"}): "there is nothing to renumber",
    frozenset({"without_uidl", "renumbered_some"}): "there is nothing to renumber",
    frozenset({"without_uidl", "uidl_twice"}): "there is no UIDL",
    frozenset({"without_uidl", "uidl_reused"}): "there is no UIDL",
    frozenset({"quit_ignored", "renumbered_all"}): _COPY,
    frozenset({"quit_ignored", "renumbered_some"}): _COPY,
    frozenset({"quit_ignored", "listing_window"}): _COPY,
    frozenset({"quit_ignored", "listing_empty"}): _COPY,
    frozenset({"listing_short", "renumbered_all"}): "what a short listing leaves out may be the old UIDL: told again",
    frozenset({"listing_short", "renumbered_some"}): "what a short listing leaves out may be the old UIDL: told again",
    frozenset({"failover", "uidl_reused"}): "the lost write may be the one that marked the old record as missing",
    frozenset({"uidl_twice", "listing_window"}): "a window with one of the two hides it behind the other's record",
    frozenset({"uidl_twice", "hides_retrieved"}): _LEFT,
    frozenset({"uidl_twice", "expire_0"}): _LEFT,  # a server without CAPA has no way to announce it
    frozenset({"poison", "retr_refused"}): "refused at first, unreadable later: told of by what was known each time",
    frozenset({"uidl_twice", "renumbered_some"}): "one of two goes before both were seen: its record hides the other",
    frozenset({"without_uidl", "retr_refused"}): "what is refused without a UIDL has no name but its size",
    frozenset({"hides_retrieved", "expire_0"}): "one or the other",
}

PENDING: Mapping[frozenset[str], str] = {}


class Faults:
    """The faults of one world.

    Args:
        seed: of the world.
        names: those that are switched on.
    """

    def __init__(self, seed: int, names: Collection[str]) -> None:
        self.names = frozenset(names)
        self.struck: Counter[str] = Counter()
        self.over = False
        self.struck.update(name for name in names if FAULTS[name] == ALWAYS)
        self._rngs = {name: Random(f"{seed}:{name}") for name in sorted(names)}

    def strikes(self, name: str) -> bool:
        """Whether it happens at this occasion."""
        rng = self._rngs.get(name)
        if rng is None or self.over or rng.random() >= FAULTS[name]:
            return False
        self.struck[name] += 1
        return True


def allowed(names: Collection[str], traits: Collection[str], *, pending: bool) -> list[str]:
    """The names in their order without those that complete what can't be had together."""
    kept: list[str] = []
    barred = [*EXCLUDED, *(() if pending else PENDING)]
    for name in names:
        have = {*traits, *kept, name}
        if not any(name in each and each <= have for each in barred):
            kept.append(name)
    return kept
