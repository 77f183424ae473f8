"""What happens by itself: mail comes, other clients delete, servers renumber, workers die, stores and states go down.

Rules of this file:
- Each happening belongs to one name in `faults.FAULTS` and keeps the limits that `world` states.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.ledger import LedgerImage, uidl_digest
from simulation.baton import Actor
from simulation.faults import FAULTS
from simulation.mail import Mail, Maildrop, compose
from simulation.plan import LEASE_TTL_S

if TYPE_CHECKING:
    from simulation.world import World

HAPPENINGS = (
    "renumbered_all",
    "renumbered_some",
    "status_rewritten",
    "others_delete",
    "delivered_again",
    "uidl_twice",
    "uidl_reused",
    "state_down",
    "store_down",
    "stream_full",
    "failover",
)
_NOTHING = 1.5
_MOST_MAILS = 14
_STATUSES = (b"Status: O\r\n", b"Status: RO\r\n", b"Status: RO\r\nX-UID: 7\r\n", b"")
_LIE_BYTES = 50


class Weather:
    """The happenings of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._serial = 0
        on = [name for name in HAPPENINGS if name in world.faults.names]
        self._names = ["", *on]
        self._weights = [_NOTHING, *(FAULTS[name] for name in on)]

    def at_step(self, actor: Actor) -> None:
        """Whatever may happen before this step of this worker."""
        world, rng = self._world, self._world.rng
        faults = world.faults
        if actor.polling:
            if faults.strikes("worker_killed"):
                world.note(actor.name, "killed", "")
                world.kill(actor)
                return
            if faults.strikes("worker_stalled"):
                stall_s = LEASE_TTL_S * rng.uniform(0.5, 4)
                world.note(actor.name, "stalled", stall_s)
                actor.wake_at = max(actor.wake_at, world.clock.seconds + stall_s)
        if rng.random() >= world.plan.weather * 2:
            return
        # One happening at most: a draw for each name at each step would cost more than the step.
        drop = rng.choice(world.plan.drops)
        if rng.random() < 0.3:
            self.deliver(drop)
            return
        [name] = rng.choices(self._names, self._weights)
        if name and self._happens(name, drop):
            faults.struck[name] += 1
            world.note(drop.account_id, name, "")

    def deliver(self, drop: Maildrop) -> None:
        """A new message, under a new UIDL or, with a fault, under one that is there or was."""
        faults, world = self._world.faults, self._world
        if len(drop.mails) >= _MOST_MAILS:
            return
        mail = self._compose(drop)
        drop.add(mail)
        world.note(drop.account_id, "delivered", mail)
        if faults.strikes("size_lies"):
            mail.said_size = len(mail.octets) - _LIE_BYTES

    def _compose(self, drop: Maildrop) -> Mail:
        world, rng, faults = self._world, self._world.rng, self._world.faults
        self._serial += 1
        large = faults.strikes("too_large")
        content = compose(self._serial, large=large, attachment=rng.random() < 0.2, filler=rng.choice([0, 0, 10, 3000]))
        mail = Mail(self._serial, content, drop.fresh_uidl(), world.clock.seconds, too_large=large)
        if faults.strikes("poison"):
            mail.heals_after = None
        elif faults.strikes("poison_heals"):
            mail.heals_after = rng.randint(1, 4)
        return mail

    def _happens(self, name: str, drop: Maildrop) -> bool:
        """Let it happen; False if there is nothing that it could happen to."""
        world, rng = self._world, self._world.rng
        now = world.clock.seconds
        match name:
            case "state_down":
                world.state_down_until = now + rng.uniform(1, 60)
            case "store_down":
                world.store_down_until = now + rng.uniform(1, 600)
            case "stream_full":
                full = world.state.stream_max_bytes == 0
                world.state.stream_max_bytes = 1 << 30 if full else 0
            case "failover":
                return world.fails_over()
            case "uidl_reused":
                return self._reuse(drop)
            case _ if not drop.mails:
                return False
            case "uidl_twice":
                return self._double(drop)
            case _:
                self._to_maildrop(name, drop)
        return True

    def _to_maildrop(self, name: str, drop: Maildrop) -> None:
        rng = self._world.rng
        match name:
            case "renumbered_all" | "renumbered_some":
                share = 1.0 if name == "renumbered_all" else 0.5
                for mail in [mail for mail in drop.mails if rng.random() < share]:
                    mail.renumber(drop.fresh_uidl())
            case "status_rewritten":
                for mail in [mail for mail in drop.mails if not mail.too_large]:
                    mail.status = rng.choice((mail.status, *_STATUSES))
            case "others_delete":
                self._delete_some(drop)
            case "delivered_again":
                first = rng.choice(drop.mails)
                drop.add(
                    Mail(
                        first.serial,
                        first.content,
                        drop.fresh_uidl(),
                        self._world.clock.seconds,
                        heals_after=first.heals_after,
                        too_large=first.too_large,
                    )
                )

    def _delete_some(self, drop: Maildrop) -> None:
        for mail in list(drop.mails):
            if self._world.rng.random() < 0.4 and not self._has_unseen_twin(drop, mail):
                drop.remove(mail, "by another client")

    def _double(self, drop: Maildrop) -> bool:
        """A second message under a UIDL that is there."""
        uidl = self._world.rng.choice(drop.mails).uidl
        there = sum(mail.uidl == uidl for mail in drop.mails)
        return there == 1 and self._covering(drop, uidl) <= there and self._under(drop, uidl)

    def _reuse(self, drop: Maildrop) -> bool:
        """Another message under a UIDL whose message is gone."""
        listed = {mail.uidl for mail in drop.mails}
        free = [mail.uidl for mail in drop.all if mail.uidl in drop.free and mail.uidl not in listed]
        return bool(free) and self._under(drop, self._world.rng.choice(free))

    def _under(self, drop: Maildrop, uidl: bytes) -> bool:
        if any(actor.polling == drop.account_id for actor in self._world.workers):
            return False  # it may be about to record the other message
        drop.free.discard(uidl)
        mail = self._compose(drop)
        mail.uidl = mail.uidls[0] = uidl
        drop.add(mail)
        return True

    def _covering(self, drop: Maildrop, uidl: bytes) -> int:
        return LedgerImage(self._world.state.ledgers.get(drop.account_id, b"")).covering(uidl_digest(uidl))

    def _has_unseen_twin(self, drop: Maildrop, mail: Mail) -> bool:
        """Whether another message of the same UIDL would be left behind the record of this one."""
        there = sum(each.uidl == mail.uidl for each in drop.mails)
        return there > 1 and self._covering(drop, mail.uidl) < there
