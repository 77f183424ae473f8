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
_UNREAD = "what can't be parsed is known by all its octets, the rewritten field included"
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
    frozenset({"without_uidl", "status_rewritten", "poison"}): _UNREAD,
    frozenset({"without_uidl", "status_rewritten", "poison_heals"}): _UNREAD,
    frozenset({"hides_retrieved", "expire_0"}): "one or the other",
}

_HIDDEN = "of two messages of a UIDL one fails for good: it gets a second record, which hides the other one"
_BUDGET = "known ones that must be looked at again use up the budget, and those behind them are never reached"
_QUARANTINE = "a renumbered message in quarantine is told of again, under the same id"
_HEALED = "a renumbered message that left quarantine by itself gets a STORED record, is not told of, and is deleted"
_REWRITTEN = "a message renumbered and rewritten at once is told of again, under the same id"
_COVERS = "only a STORED record of an account that deletes is marked when its message is gone; others cover for ever"
_UNSETTLED = "settle answers yes though a failover lost a commit before it: what QUIT then takes has no record"
PENDING: Mapping[frozenset[str], str] = {
    frozenset({"failover", "hides_retrieved"}): _UNSETTLED,
    frozenset({"failover", "expire_0"}): _UNSETTLED,  # a server without CAPA has no way to announce it
    frozenset({"uidl_twice", "listing_empty"}): "a new record of one drops the GONE record of the other: told again",
    frozenset({"uidl_reused", "keep_forever"}): _COVERS,
    frozenset({"uidl_reused", "first_new"}): _COVERS,
    frozenset({"uidl_reused", "too_large"}): _COVERS,
    frozenset({"uidl_reused", "poison"}): _COVERS,
    frozenset({"uidl_reused", "poison_heals"}): _COVERS,
    frozenset({"uidl_reused", "retr_refused"}): _COVERS,
    frozenset({"status_rewritten", "renumbered_all"}): _REWRITTEN,
    frozenset({"status_rewritten", "renumbered_some"}): _REWRITTEN,
    frozenset({"uidl_twice", "renumbered_some"}): "one of two messages of a UIDL renumbered: told again, same id",
    frozenset({"without_uidl", "too_large"}): "two skipped messages of one size have one event id",
    frozenset({"poison", "renumbered_all"}): _QUARANTINE,
    frozenset({"poison", "renumbered_some"}): _QUARANTINE,
    frozenset({"poison_heals", "renumbered_all"}): _HEALED,
    frozenset({"poison_heals", "renumbered_some"}): _HEALED,
    frozenset({"uidl_twice", "too_large"}): _HIDDEN,
    frozenset({"uidl_twice", "poison"}): _HIDDEN,
    frozenset({"uidl_twice", "poison_heals"}): _HIDDEN,
    frozenset({"without_uidl", "retr_refused"}): "what is refused has no name: in quarantine again and again",
    frozenset({"small_budget", "uidl_twice"}): _BUDGET,
    frozenset({"small_budget", "without_uidl", "delivered_again", "poison"}): _BUDGET,
    frozenset({"small_budget", "without_uidl", "delivered_again", "poison_heals"}): _BUDGET,
}


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
