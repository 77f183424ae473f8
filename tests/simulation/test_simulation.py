"""A slice of the simulation; and bugs planted in the product, each of which it must catch, or it proves nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ingest import news
from ingest.adapters.memory_state import MemoryState
from ingest.adapters.memory_store import MemoryStore
from ingest.errors import StateUnavailable
from ingest.holding import Holding
from ingest.ledger import LedgerImage
from ingest.models import Kind, MessageRef, OutgoingEvent, Record
from ingest.pop3.session import Session
from ingest.ports import Put
from simulation.faults import EXCLUDED, FAULTS, PENDING, TRAITS, allowed
from simulation.runner import Options, lines_of_trace, run_seed, run_seeds

_SLICE = 300
_TRIES = 400


def test_a_slice_of_seeds_keeps_all_that_is_promised() -> None:
    options = Options()
    summary = run_seeds(range(_SLICE), options)
    failing = [f"seed {seed}: {violation}\n    {options.command(seed)}" for seed, violation in summary.failing]
    assert not failing, "\n".join(failing)
    assert summary.events > _SLICE
    assert len(summary.struck) > len(FAULTS) // 2, "the slice is too short to mean anything"


def test_the_same_seed_takes_the_same_steps() -> None:
    first, second = (list(lines_of_trace(run_seed(7, Options(), trace=True))) for _ in range(2))
    assert len(first) > 100
    assert first == second


def test_every_fault_can_be_had_alone_and_does_no_harm() -> None:
    for name in FAULTS:
        assert run_seeds(range(3), Options(only=(name,))).failing == [], name


def test_what_is_pending_is_kept_out_of_a_world_and_let_in_on_demand() -> None:
    for names in PENDING:
        traits = names & set(TRAITS)
        assert set(allowed(sorted(names - traits), traits, pending=True)) == names - traits
        assert set(allowed(sorted(names - traits), traits, pending=False)) < names - traits


def test_what_is_barred_names_faults_and_traits_that_exist() -> None:
    for names in (*EXCLUDED, *PENDING):
        assert names <= {*FAULTS, *TRAITS}, names


# Planted bugs: what is patched, the faults that bring it out, and how the violation begins.


def _no_fence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemoryState, "holds", lambda *_: True)


def _delete_at_once(patch: pytest.MonkeyPatch) -> None:
    deletable = news.deletable
    patch.setattr(
        "ingest.visit.deletable",
        lambda listing, image, keep_s, grace_s: deletable(listing, image, keep_s=keep_s, grace_s=-60),
    )


def _delete_whatever_has_a_record(patch: pytest.MonkeyPatch) -> None:
    def deletable(listing: news.Digested, image: LedgerImage, keep_s: int | None, grace_s: float) -> list[MessageRef]:
        known = zip(listing.messages, listing.names, strict=True)
        return [] if keep_s is None else [ref for ref, name in known if name and image.of_uidl(name)]

    patch.setattr("ingest.visit.deletable", deletable)


def _lying_store(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemoryStore, "put", lambda self, key, body, **_: Put(self.url(key), existed=False))


def _told_again_when_renumbered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("ingest.intake.renumbered", lambda *_: False)


def _prune_what_is_not_listed(patch: pytest.MonkeyPatch) -> None:
    def after_session(listing: news.Digested, image: LedgerImage, *_: object, **__: object) -> list[Record]:
        return [record for record in image.records() if record.uidl in listing.listed]

    patch.setattr("ingest.visit.after_session", after_session)


def _gone_still_covers(patch: pytest.MonkeyPatch) -> None:
    def after_session(*args: Any, **given: Any) -> list[Record] | None:  # noqa: ANN401  # as the real one
        after = news.after_session(*args, **given)
        return after and [replace(each, kind=Kind.STORED) if each.kind is Kind.GONE else each for each in after]

    patch.setattr("ingest.visit.after_session", after_session)


def _quit_whatever_was_left(patch: pytest.MonkeyPatch) -> None:
    abort = Session.abort

    def leave(session: Session) -> None:
        session.quit()
        abort(session)

    patch.setattr(Session, "abort", leave)


def _random_ids(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("ingest.events.build.event_id", lambda *_: secrets.token_hex(16))


def _record_without_event(patch: pytest.MonkeyPatch) -> None:
    commit = Holding.commit

    def forgetful(self: Holding, records: Sequence[Record], event: OutgoingEvent | None = None, **given: Any) -> None:  # noqa: ANN401  # as the real one
        try:
            commit(self, records, event, **given)
        except StateUnavailable:
            commit(self, records, None, **given)

    patch.setattr(Holding, "commit", forgetful)


def _a_bug_of_ours(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("ingest.visit.new_messages", lambda listing, image: [listing.messages[2]])


@pytest.mark.parametrize(
    ("plant", "faults", "caught"),
    [
        (_no_fence, ("worker_stalled",), "5: "),
        (_delete_at_once, (), "3: "),
        (_delete_whatever_has_a_record, ("too_large",), "3: "),
        (_lying_store, (), "1: "),
        (_told_again_when_renumbered, ("renumbered_all",), "2: "),
        (_prune_what_is_not_listed, ("listing_window",), "2: "),
        (_gone_still_covers, ("uidl_reused", "others_delete"), "3: "),
        (_quit_whatever_was_left, ("hides_retrieved", "poison"), "3: "),
        (_random_ids, ("failover",), "2: "),
        (_record_without_event, ("state_fails",), "1: "),
        (_a_bug_of_ours, (), "4: "),
    ],
)
def test_a_planted_bug_is_caught(
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[pytest.MonkeyPatch], None],
    faults: tuple[str, ...],
    caught: str,
) -> None:
    plant(monkeypatch)
    options = Options(only=faults)
    violations = (run_seed(seed, options).violation for seed in range(_TRIES))
    assert any(violation.startswith(caught) for violation in violations)
