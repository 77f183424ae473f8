"""How a poll comes to its first look: in few flights, and without harm where a server loses what came along."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from house import PASSWORD, House, house, mail

from ingest.errors import ConnectionLost, SlowDown
from ingest.models import Account, Auth, Outcome, Secret
from ingest.pop3.session import Session
from ingest.simulator.behaviour import Behaviour


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)
    monkeypatch.setenv("OTHER_PASSWORD", "wrong horse")


def commands(h: House) -> Counter[str]:
    """What one more poll says to the server; the last word of it is not waited for."""
    assert h.server.wait_idle(5)
    before = Counter(h.server.log.commands)
    report = h.poll()
    assert report.outcome is Outcome.DONE, report.failure
    assert h.server.wait_idle(5)
    return Counter(h.server.log.commands) - before


def many(count: int = 40) -> list[bytes]:
    return [mail(f"mail {number}") for number in range(count)]


# Flights


def test_a_first_poll_asks_what_the_server_can_do_and_later_ones_do_not() -> None:
    with house(mail("one")) as h:
        assert commands(h)["CAPA"] == 2
        assert commands(h)["CAPA"] == 0


def test_once_a_host_is_known_the_listing_comes_in_one_flight_with_the_login() -> None:
    with house(mail("one")) as h:
        h.poll()
        assert h.poll().flights == 1
        assert h.poll().flights == 1
        assert h.hosts.profiles[h.account.place].across_login


def test_new_mail_at_a_known_host_takes_three_flights() -> None:
    with house() as h:
        for _ in range(2):
            h.poll()
        for message in many(60):
            h.maildrop.deliver(message)
        assert h.poll().flights == 3  # login and listing, all of RETR, QUIT


def test_capabilities_are_asked_for_once_a_day() -> None:
    with house(mail("one")) as h:
        h.poll()
        h.clock.forward(hours=23)
        assert commands(h)["CAPA"] == 0
        h.clock.forward(hours=2)
        assert commands(h)["CAPA"] == 2


def test_what_a_host_bears_outlives_the_day() -> None:
    with house(mail("one"), behaviour=Behaviour(lose_after_pass=True)) as h:
        for _ in range(2):
            h.poll()
        h.clock.forward(days=2)
        sessions = h.server.log.sessions
        h.poll()
        assert h.hosts.profiles[h.account.place].across_login is False
        assert h.server.log.sessions == sessions + 1


def test_a_server_without_capa_is_asked_once_a_day_not_once_a_session() -> None:
    with house(mail("one"), behaviour=Behaviour(capa=False, pipelining=False)) as h:
        assert commands(h)["CAPA"] == 1
        assert commands(h)["CAPA"] == 0


def test_a_server_without_uidl_is_not_asked_for_it_again() -> None:
    with house(mail("one"), behaviour=Behaviour(uidl=False)) as h:
        assert commands(h)["UIDL"] == 1
        assert commands(h)["UIDL"] == 0


def test_sasl_takes_a_barrier_and_is_no_try() -> None:
    with house(mail("one")) as h:
        for _ in range(3):
            h.poll(account={"auth": Auth.PLAIN})
        assert h.hosts.profiles[h.account.place].across_login is None
        assert h.poll().flights == 2


def test_a_host_that_began_to_delete_what_was_retrieved_is_not_quitted_although_it_was_known_not_to() -> None:
    with house(mail("one")) as h:
        for _ in range(2):
            h.poll()
        h.server.behaviour = Behaviour(delete_retrieved=True)
        h.maildrop.deliver(mail("two"))
        report = h.poll()
        assert (report.events, report.flights) == (1, 2)  # nor does it cost a flight to ask
        assert h.server.wait_idle(5)
        assert len(h.maildrop) == 2


# What is lost behind a password


def test_at_a_server_that_loses_what_came_along_every_poll_succeeds_and_one_at_most_is_slower() -> None:
    with house(mail("one"), behaviour=Behaviour(lose_after_pass=True)) as h:
        sessions = []
        for number in range(5):
            h.maildrop.deliver(mail(f"mail {number}"))
            before = h.server.log.sessions
            report = h.poll()
            assert (report.outcome, report.events) == (Outcome.DONE, 2 if number == 0 else 1)
            sessions.append(h.server.log.sessions - before)
        assert sessions == [1, 2, 1, 1, 1]
        assert h.hosts.profiles[h.account.place].across_login is False
        assert h.telemetry.failed == []


def test_only_one_session_in_the_cluster_tries_at_a_time() -> None:
    with house(mail("one"), behaviour=Behaviour(lose_after_pass=True)) as h:
        h.poll()
        assert h.hosts.may_try(h.account.place)  # somebody else does
        before = h.server.log.sessions
        assert h.poll().flights == 2
        assert h.server.log.sessions == before + 1


def test_a_host_that_begins_to_lose_what_came_along_is_found_out() -> None:
    with house(mail("one")) as h:
        for _ in range(2):
            h.poll()
        h.server.behaviour = Behaviour(lose_after_pass=True)
        poller = h.poller(read_timeout_s=0.5)
        assert h.poll(poller).outcome is Outcome.DONE
        assert h.hosts.profiles[h.account.place].across_login is None
        h.clock.forward(minutes=10)
        assert h.poll(poller).outcome is Outcome.DONE
        assert h.hosts.profiles[h.account.place].across_login is False


def test_what_a_host_no_longer_bears_is_asked_for_anew_after_one_failure() -> None:
    with house(mail("one")) as h:
        for _ in range(2):
            h.poll()
        h.server.behaviour = Behaviour(pipelining=False)
        poller = h.poller(read_timeout_s=0.3)
        assert [h.poll(poller).outcome for _ in range(3)] == [Outcome.FAILED, Outcome.DONE, Outcome.DONE]


def test_a_refused_password_is_not_tried_again_with_a_barrier() -> None:
    with house(mail("one")) as h:
        h.poll()
        h.poll(account={"password": "env:OTHER_PASSWORD"})
        assert (h.server.log.refused_logins, h.server.log.logins) == (1, 1)


def test_a_connection_that_breaks_for_good_teaches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ConnectionLost("planted")

    with house(mail("one")) as h:
        h.poll()
        monkeypatch.setattr(Session, "_ask", broken)
        monkeypatch.setattr(Session, "_take", broken)
        report = h.poll()
        assert report.failure is not None
        assert report.failure.code == "connection_lost"
        assert h.hosts.profiles[h.account.place].across_login is None


def test_a_memory_that_can_t_be_written_fails_no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise SlowDown("Redis is full")

    with house(mail("one")) as h:
        monkeypatch.setattr(h.hosts, "learn", full)
        monkeypatch.setattr(h.hosts, "admitted", full)
        assert h.poll().events == 1


# LOGIN-DELAY


def test_a_login_that_would_come_too_soon_is_not_tried() -> None:
    with house(mail("one"), behaviour=Behaviour(login_delay_s=60)) as h:
        h.poll()
        h.clock.forward(seconds=20)
        sessions = h.server.log.sessions
        report = h.poll()
        assert report.failure is not None
        assert (report.failure.code, h.server.log.sessions) == ("slow_down", sessions)
        assert report.failure.after_s == pytest.approx(40, abs=2)
        assert report.next_due_s is not None
        assert report.next_due_s >= 39


def test_a_poll_that_did_not_log_in_puts_off_no_login() -> None:
    with house(mail("one"), behaviour=Behaviour(login_delay_s=60)) as h:
        h.poll()
        for _ in range(3):
            h.clock.forward(seconds=15)
            assert h.poll().outcome is Outcome.FAILED
        h.clock.forward(seconds=20)
        h.server.behaviour = Behaviour()  # its clock did not move
        assert h.poll().outcome is Outcome.DONE


# Glances


def test_an_unchanged_maildrop_costs_a_glance() -> None:
    with house(*many()) as h:
        for _ in range(2):
            h.poll()
        assert h.server.wait_idle(5)
        sent = h.server.log.bytes_sent
        said = commands(h)
        assert (said["STAT"], said["UIDL"], said["LIST"], said["QUIT"]) == (1, 1, 0, 1)
        assert h.server.log.bytes_sent - sent < 250


def test_new_mail_is_seen_in_a_glance() -> None:
    with house(*many()) as h:
        h.poll()
        h.maildrop.deliver(mail("new"))
        assert h.poll().events == 1


def test_a_message_that_took_the_place_of_another_is_found_by_the_next_full_listing() -> None:
    with house(*many()) as h:
        h.poll()
        messages = h.maildrop.messages()
        h.maildrop.remove(messages)
        for number, message in enumerate(messages):
            twin = message.octets.replace(b"mail 20", b"mail XX")
            h.maildrop.deliver(twin, uidl="another" if number == 20 else message.uidl)
        assert h.poll().events == 0
        h.clock.forward(hours=2, minutes=1)
        assert h.poll().events == 1
        assert h.subjects()[-1] == "mail XX"


def test_a_glance_puts_off_no_delete() -> None:
    with house(*many()) as h:
        h.poll(account={"keep_s": 1800}, delete_grace_s=600)
        h.clock.forward(minutes=20)
        assert h.poll(delete_grace_s=600).deleted == 0
        h.clock.forward(minutes=11)
        assert h.poll(delete_grace_s=600).deleted == 40


def test_another_keep_than_before_is_looked_into_at_once() -> None:
    with house(*many()) as h:
        h.poll()
        h.clock.forward(minutes=70)
        assert h.poll(account={"keep_s": 0}).deleted == 40


def test_after_a_change_of_the_ledger_by_others_a_glance_is_not_enough() -> None:
    with house(*many()) as h:
        for _ in range(2):
            h.poll()
        h.state.ledgers.clear()
        assert h.poll().records == 40


def test_few_messages_are_listed_each_time() -> None:
    with house(*many(5)) as h:
        for _ in range(2):
            h.poll()
        assert commands(h)["LIST"] == 1


# Tokens


class Renewing:
    """Credentials whose first token is no longer good."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)

    def of(self, account: Account) -> Secret:
        return Secret(self.tokens[0])

    def mark(self, account: Account, secret: Secret) -> None:
        return None

    def renewed(self, account: Account, refused: Secret) -> Secret | None:
        assert refused.reveal() == self.tokens.pop(0)
        return Secret(self.tokens[0]) if self.tokens else None


def test_a_refused_token_is_renewed_and_tried_once_more() -> None:
    with house(mail("one")) as h:
        poller = h.poller()
        poller._credentials = Renewing("old", PASSWORD)
        assert h.poll(poller).events == 1
        assert (h.server.log.refused_logins, h.server.log.logins) == (1, 1)


def test_a_token_that_is_refused_twice_is_a_matter_of_credentials() -> None:
    with house(mail("one")) as h:
        poller = h.poller()
        poller._credentials = Renewing("old", "older")
        report = h.poll(poller)
        assert report.failure is not None
        assert (report.failure.code, h.server.log.refused_logins) == ("credentials", 2)


# Patience


def test_who_failed_before_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    made = Session.__init__

    def watched(self: Session, *args: object, **kwargs: object) -> None:
        seen.append(kwargs["limits"].deadline_bytes_per_s)  # type: ignore[attr-defined]
        made(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "__init__", watched)
    with house(mail("one")) as h:
        for failures in (0, 1, 3, 50):
            h.poll()
            h.state.states["a"] = replace(h.state.states["a"], failures=failures)
        h.poll()
    assert seen == [65536, 65536, 32768, 8192, 1024]
