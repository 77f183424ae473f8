"""Planted bugs, one a clause of the promise, each with the tests that catch it.

Rules of this file:
- An edit's old text stands in its file once; a mutant whose text is gone is a failure, not a skip.
- Each named test fails under its mutant, and passes without.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """One replacement in one file of the repository."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A bug: what it breaks, how it is planted, which tests must fail of it."""

    name: str
    clause: str
    edits: tuple[Edit, ...]
    caught_by: tuple[str, ...]


SUSPECTS = "tests/unit/test_poll_suspects.py::"
DELETING = "tests/unit/test_poll_deleting.py::"
RENUMBERED = "tests/unit/test_poll_renumbered.py::"
PRUNING = "tests/unit/test_poll_pruning.py::"
POLL = "tests/unit/test_poll.py::"
ARRIVAL = "tests/unit/test_arrival.py::"
LESSONS = "tests/unit/test_arrival_lessons.py::"
PROMISE = ("tests/property/test_promise.py::TestPromise::runTest",)
SIMULATION = "tests/simulation/test_simulation.py::test_a_slice_of_seeds_keeps_all_that_is_promised"
STATE = "tests/contract/test_state.py::"
RELAY = "tests/unit/test_relay.py::"
INFECTED = "tests/unit/test_poll_infected.py::"
WAITS = "tests/unit/test_poll_waits.py::"
SCANNER = "tests/contract/test_scanner.py::"

MUTANTS = (
    Mutant(
        "commit-before-put",
        "an event is told only of what lies in storage",
        (
            Edit(
                "ingest/pipeline.py",
                "        existed = replay or self._store_raw("
                "account.id, spool, _for_replay(account.id, ref, event, first_seen), beat)\n"
                "        if read",
                "        existed = False\n"
                "        self.later = lambda: self._store_raw("
                "account.id, spool, _for_replay(account.id, ref, event, first_seen), beat)\n"
                "        if read",
            ),
            Edit(
                "ingest/intake.py",
                "        self._tally.attachments += done.attachments\n",
                "        self._tally.attachments += done.attachments\n        self._pipeline.later()\n",
            ),
        ),
        (POLL + "test_without_storage_nothing_is_committed_and_the_session_ends_without_quit", SIMULATION),
    ),
    Mutant(
        "delete-in-the-same-session",
        "a message is deleted only in a later session",
        (
            Edit(
                "ingest/visit.py",
                "        self._leave(to_delete, intake)\n",
                "        to_delete = deletable(self._listing, self.holding.image, keep_s=-120, grace_s=-120)\n"
                "        self._leave(to_delete, intake)\n",
            ),
        ),
        (POLL + "test_a_message_is_deleted_only_in_a_later_session_and_after_the_grace", *PROMISE, SIMULATION),
    ),
    Mutant(
        "delete-without-grace",
        "a record is older than the grace before its message is deleted",
        (
            Edit(
                "ingest/news.py",
                "image.now_minutes - max(keep_s, grace_s) / SECONDS_PER_MINUTE",
                "image.now_minutes + 1 - keep_s / SECONDS_PER_MINUTE",
            ),
            Edit(
                "ingest/news.py",
                " * SECONDS_PER_MINUTE + max(keep_s, grace_s) if since else None\n",
                " * SECONDS_PER_MINUTE + keep_s if since else None\n",
            ),
        ),
        (POLL + "test_a_message_is_deleted_only_in_a_later_session_and_after_the_grace", SIMULATION),
    ),
    Mutant(
        "delete-what-was-seeded",
        "only stored mail is deleted",
        (
            Edit(
                "ingest/news.py",
                " or any(record.kind is not Kind.STORED for record in records):\n",
                ":\n",
            ),
        ),
        (POLL + "test_seeded_and_skipped_messages_are_never_deleted", SIMULATION),
    ),
    Mutant(
        "delete-without-saying-so-first",
        "a UIDL used again after a lost reply to QUIT is read",
        (
            Edit(
                "ingest/visit.py",
                "            self.holding.rewrite(deleting(self.holding.image, to_delete))\n",
                "            pass\n",
            ),
        ),
        (DELETING + "test_a_uidl_used_again_after_a_lost_reply_to_quit_is_read",),
    ),
    Mutant(
        "no-fence",
        "a poller whose lease another one took writes nothing",
        (
            Edit(
                "ingest/adapters/redis_commit.lua",
                "if redis.call('GET', KEYS[1]) ~= ARGV[1] then\n",
                "if false then\n",
            ),
        ),
        (
            # A stopped poll as a whole is refused at its next beat already, before it commits.
            STATE + "test_a_lapsed_lease_is_free_and_its_token_good_for_nothing[redis]",
        ),
    ),
    Mutant(
        "record-before-event",
        "a write that fails in between repeats, and never loses",
        (
            Edit(
                "ingest/adapters/redis_commit.lua",
                "if ARGV[6] ~= '' then\n",
                "redis.call('APPEND', KEYS[2], (length == 0 and ARGV[2] or '') .. table.concat(records))\n"
                "if ARGV[6] ~= '' then\n",
            ),
            Edit(
                "ingest/adapters/redis_commit.lua",
                "if length == 0 then\n"
                "  table.insert(records, 1, ARGV[2])\n"
                "end\n"
                "redis.call('APPEND', KEYS[2], table.concat(records))\n",
                "",
            ),
        ),
        (
            (
                "tests/contract/test_failing_writes.py"
                "::test_an_error_behind_xadd_leaves_the_event_and_the_record_only_if_append_was_done[append]"
            ),
        ),
    ),
    Mutant(
        "lost-reply-is-a-failure",
        "a retry of one's own lost reply succeeds",
        (Edit("ingest/adapters/redis_commit.lua", "  return {'already', minutes}\n", "  return {'moved', 0}\n"),),
        (STATE + "test_a_commit_whose_reply_was_lost_is_known_when_it_comes_again[redis]",),
    ),
    Mutant(
        "claim-without-release",
        "a claim that nobody serves runs out",
        (
            Edit(
                "ingest/adapters/redis_schedule.py",
                "  redis.call('ZADD', KEYS[1], 'XX', now + ARGV[2] + 0.5, id)\n",
                "  redis.call('ZREM', KEYS[1], id)\n",
            ),
        ),
        (STATE + "test_a_claim_outlives_a_lease_that_a_dead_poller_left[redis]",),
    ),
    Mutant(
        "prune-on-an-empty-listing",
        "an empty listing changes nothing",
        (Edit("ingest/news.py", "    if listing.whole and listing.messages:\n", "    if listing.whole:\n"),),
        (PRUNING + "test_an_empty_listing_prunes_nothing_however_long_all_is_missing",),
    ),
    Mutant(
        "prune-at-once",
        "a record goes only after several listings, far apart",
        (
            Edit(
                "ingest/news.py",
                "    if earlier and (now_minutes - earlier[-1]) * SECONDS_PER_MINUTE < pruning.apart_s:\n",
                "    if False:\n",
            ),
        ),
        (PRUNING + "test_many_listings_within_a_month_are_one",),
    ),
    Mutant(
        "absence-is-deletion",
        "what a listing lacks is not forgotten",
        (
            Edit(
                "ingest/news.py",
                "            return replace(record, kind=Kind.GONE, minutes=image.now_minutes)\n",
                "            return None\n",
            ),
        ),
        (RENUMBERED + "test_a_maildrop_that_was_emptied_and_refilled_repeats_nothing", *PROMISE, SIMULATION),
    ),
    Mutant(
        "trust-the-uidl",
        "a UIDL used again for other content is a new message",
        (
            Edit(
                "ingest/news.py",
                "            return replace(record, kind=Kind.GONE, minutes=image.now_minutes)\n",
                "            return record\n",
            ),
        ),
        (
            # PROMISE and SIMULATION meet it, too, but not in each slice: two of the first 1500 seeds.
            RENUMBERED + "test_a_uidl_used_again_for_other_content_after_it_was_missing_is_a_new_message",
        ),
    ),
    Mutant(
        "trust-64-bits",
        "a renumbered message is confirmed by object storage",
        (
            Edit(
                "ingest/intake.py",
                "            done.existed or self._pipeline.remembers(self._account.id, done.identity, self._beat)\n",
                "            True\n",
            ),
        ),
        (RENUMBERED + "test_a_match_of_64_bits_that_storage_does_not_confirm_is_told_of",),
    ),
    Mutant(
        "an-outage-is-the-messages-fault",
        "only faults of its own bring a message into quarantine",
        (
            Edit(
                "ingest/holding.py",
                "        if digest in self._suspects:\n",
                "        if False:\n",
            ),
        ),
        (SUSPECTS + "test_a_store_that_fails_in_the_child_counts_against_nobody",),
    ),
    Mutant(
        "count-after-the-work",
        "a message that ends every worker stops nobody for ever",
        (
            Edit(
                "ingest/retrieval.py",
                "        counted = self._holding.count(mark)\n",
                "        held = self._holding\n"
                "        counted = held._ledger.count(held._account_id, held._token, mark, 0) + 1\n",
            ),
        ),
        (SUSPECTS + "test_a_message_that_ends_every_worker_is_quarantined_without_being_parsed_again",),
    ),
    Mutant(
        "nothing-is-in-hand",
        "what was in hand when a worker died is run alone",
        (Edit("ingest/holding.py", "        if self._in_hand != digest:\n", "        if False:\n"),),
        (SUSPECTS + "test_a_message_that_ends_every_worker_is_quarantined_without_being_parsed_again",),
    ),
    Mutant(
        "quit-all-the-same",
        "no clean QUIT until all that was retrieved is committed",
        (
            Edit(
                "ingest/visit.py",
                "        if intake.must_abort or self._session.broken or quit_deletes:\n",
                "        if self._session.broken:\n",
            ),
        ),
        (
            (
                "tests/unit/test_poll_oddities.py"
                "::test_a_server_that_deletes_what_was_retrieved_keeps_everything_that_we_promised_to_keep"
            ),
            SIMULATION,
        ),
    ),
    Mutant(
        "seed-nothing-again",
        "seeded mail under other UIDLs is not told of",
        (Edit("ingest/news.py", "    return listing.whole and missing > listed\n", "    return False\n"),),
        (RENUMBERED + "test_seeded_mail_under_other_uidls_is_seeded_again_and_an_event_says_so",),
    ),
    Mutant(
        "glance-without-the-ledger",
        "a glance is enough only while every listed message has its record",
        (
            Edit(
                "ingest/glance.py",
                " or state.fingerprint is None or not state.fingerprint.endswith(settled):\n",
                " or state.fingerprint is None:\n",
            ),
        ),
        (
            ARRIVAL + "test_after_a_change_of_the_ledger_by_others_a_glance_is_not_enough",
            ARRIVAL + "test_another_keep_than_before_is_looked_into_at_once",
        ),
    ),
    Mutant(
        "delete-by-number-alone",
        "what is deleted still has the UIDL of the listing",
        (
            Edit(
                "ingest/visit.py",
                "        if to_delete and not self._session.same(to_delete):\n",
                "        if False:\n",
            ),
        ),
        (DELETING + "test_a_server_that_renumbers_within_its_session_has_nothing_deleted",),
    ),
    Mutant(
        "a-lost-try-is-forgotten",
        "a server that loses what came along gets its barrier back, once",
        (Edit("ingest/arrival.py", "across_login=False if trying else None", "across_login=None"),),
        (
            ARRIVAL + "test_at_a_server_that_loses_what_came_along_every_poll_succeeds_and_one_at_most_is_slower",
            ARRIVAL + "test_what_a_host_bears_outlives_the_day",
            LESSONS + "test_a_server_that_refuses_what_came_along_gets_its_barrier_and_no_poll_fails",
        ),
    ),
    Mutant(
        "a-virus-has-three-tries",
        "what a scanner finds goes into quarantine at once",
        (
            Edit(
                "ingest/intake.py",
                "        if error.retry is not Retry.NEVER and (counted or self._holding.count(mark)) < self._attempts:\n",
                "        if (counted or self._holding.count(mark)) < self._attempts:\n",
            ),
        ),
        (INFECTED + "test_an_infected_message_is_quarantined_the_first_time_and_the_others_are_told_of",),
    ),
    Mutant(
        "a-scanner-that-is-down-is-laid-to-the-mail",
        "while the scanner is down nothing is counted against a message",
        (
            Edit(
                "ingest/errors.py",
                '    code = "scanner_unavailable"\n',
                '    code = "scanner_unavailable"\n    fault = Fault.MESSAGE\n',
            ),
        ),
        (
            INFECTED + "test_a_scanner_that_is_down_fails_the_poll_by_our_fault_and_counts_against_no_message",
            INFECTED + "test_a_scanner_that_is_down_while_a_suspect_runs_alone_counts_nothing",
        ),
    ),
    Mutant(
        "without-a-verdict-all-passes",
        "a scanner that works for nobody is unavailable, and nothing passes for it",
        (Edit("ingest/adapters/clamd.py", "            if self._works():\n", "            if True:\n"),),
        (
            SCANNER + "test_silence_is_laid_to_no_body_while_clamd_is_silent_to_all",
            SCANNER + "test_a_body_that_ends_a_clamd_which_worked_right_before_is_its_message_s_fault",
        ),
    ),
    Mutant(
        "wait-without-a-beat",
        "a poll keeps its lease however long store and scanner take",
        (Edit("ingest/hands.py", "            self._keep()\n            if len", "            if len"),),
        (
            WAITS + "test_a_store_that_takes_longer_than_the_lease_costs_no_poll[raw]",
            WAITS + "test_a_scanner_that_takes_longer_than_the_lease_costs_no_poll",
            WAITS + "test_a_poll_whose_lease_is_lost_does_not_wait_for_the_store",
        ),
    ),
    Mutant(
        "the-relay-acknowledges-what-it-sent",
        "only what the sink confirmed is acknowledged",
        (
            Edit(
                "ingest/relay.py",
                "        done = [entry for entry, outcome in zip(batch, outcomes, strict=True) if outcome is None]\n",
                "        done = list(batch)\n",
            ),
        ),
        (
            RELAY + "test_a_sink_that_is_down_is_waited_for_longer_each_time_and_nothing_is_lost",
            RELAY + "test_behind_an_event_that_must_wait_its_account_waits_and_the_others_go_on",
        ),
    ),
    Mutant(
        "an-event-overtakes-the-one-before-it",
        "behind an event that must wait its account waits",
        (
            Edit(
                "ingest/events/order.py",
                "    return outcome is not None and not isinstance(outcome, EventRefused)\n",
                "    return False\n",
            ),
        ),
        (RELAY + "test_behind_an_event_that_must_wait_its_account_waits_and_the_others_go_on",),
    ),
    Mutant(
        "a-poison-event-stays-in-the-way",
        "an event that a sink refuses for itself stops no other",
        (
            Edit(
                "ingest/relay.py",
                "            if isinstance(outcome, EventRefused):\n",
                "            if False:\n",
            ),
        ),
        (RELAY + "test_an_event_that_is_refused_goes_to_the_dead_letters_and_the_ones_behind_it_go_on",),
    ),
)
