"""What a poll learns of a host on its way in, and what it must not: beside test_arrival.py, one slip a test."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from house import PASSWORD, house, mail

from ingest.errors import HostUnreachable
from ingest.models import Outcome
from ingest.pop3.session import Session
from ingest.ports import ByteStream
from ingest.simulator.acts import Refuse
from ingest.simulator.behaviour import Behaviour
from ingest.simulator.session import Session as ServerSession


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)


def wait_until(condition: Callable[[], bool]) -> bool:
    return any(condition() or time.sleep(0.01) for _ in range(500))


def test_a_host_that_refused_uidl_once_is_asked_again_for_a_maildrop_that_had_them() -> None:
    with house(*(mail(f"mail {number}") for number in range(40))) as h:
        h.poll(account={"first_poll": "new"})
        known = h.hosts.profiles[h.account.place]
        h.hosts.profiles[h.account.place] = replace(known, uidl=False)  # that was another account
        h.clock.forward(hours=3)
        report = h.poll()
        assert (report.outcome, report.listed, report.events) == (Outcome.DONE, 40, 0)


def test_a_server_that_refuses_what_came_along_gets_its_barrier_and_no_poll_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served = ServerSession._take_over

    def refusing(self: ServerSession) -> None:
        before = self._transaction
        served(self)
        if before is None and self._transaction is not None:
            for _ in range(bytes(self._wire._in).count(b"\n")):
                self._replies.err("log in first")
            self._wire.discard_input()

    monkeypatch.setattr(ServerSession, "_take_over", refusing)
    with house(mail("one")) as h:
        assert [h.poll().outcome for _ in range(3)] == [Outcome.DONE] * 3
        assert h.hosts.profiles[h.account.place].across_login is False


def test_a_refusal_of_the_login_itself_is_no_proof_of_anything() -> None:
    with house(mail("one")) as h:
        h.poll()
        h.server.behaviour = Behaviour(script={"PASS": Refuse("POP3 is disabled for you")})
        sessions = h.server.log.sessions
        assert h.poll().outcome is Outcome.FAILED
        assert h.server.log.sessions == sessions + 1
        assert h.hosts.profiles[h.account.place].across_login is None


def test_a_try_whose_session_locks_the_maildrop_for_long_is_remembered_all_the_same() -> None:
    with house(mail("one")) as h:
        h.poll()
        h.server.behaviour = Behaviour(lose_after_pass=True)
        poller, dialled = h.poller(), h.dialer.dial

        def dial(*args: Any, **kwargs: Any) -> ByteStream:  # noqa: ANN401 - as the dialer takes them
            stream = dialled(*args, **kwargs)
            assert wait_until(lambda: h.server.log.sessions > sessions)
            h.server.behaviour = Behaviour(script={"LOGIN": Refuse("your other session", "IN-USE")})
            return stream

        sessions = h.server.log.sessions
        poller._dialer = SimpleNamespace(dial=dial)
        assert [f.code for f in [h.poll(poller).failure] if f] == ["maildrop_busy"]
        assert h.hosts.profiles[h.account.place].across_login is False


def test_a_delay_that_differs_by_user_is_not_kept_for_another_user() -> None:
    with house(mail("one")) as h:
        h.poll()
        known = h.hosts.profiles[h.account.place]
        theirs = replace(known.after, login_delay_s=3600, per_user=True)
        h.hosts.profiles[h.account.place] = replace(known, after=theirs)
        assert h.poll().outcome is Outcome.DONE


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_login_counts_whatever_ended_its_poll(error: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(*_: object) -> None:
        raise error

    with house(mail("one")) as h:
        monkeypatch.setattr("ingest.visit.Visit.run", ends)
        before = h.clock.now().timestamp()
        with contextlib.suppress(KeyboardInterrupt):
            h.poll()
        assert (h.state.states["a"].login_at or 0) >= before


def test_a_login_counts_although_the_next_connection_of_the_poll_was_never_made() -> None:
    with house(mail("one"), behaviour=Behaviour(lose_after_pass=True)) as h:
        h.poll()
        poller, dialled = h.poller(), h.dialer.dial
        h.clock.forward(minutes=5)
        before = h.clock.now().timestamp()
        dials = []

        def dial(*args: Any, **kwargs: Any) -> ByteStream:  # noqa: ANN401 - as the dialer takes them
            dials.append(args)
            if len(dials) > 1:
                raise HostUnreachable("planted")
            return dialled(*args, **kwargs)

        poller._dialer = SimpleNamespace(dial=dial)
        assert [f.code for f in [h.poll(poller).failure] if f] == ["host_unreachable"]
        assert (h.state.states["a"].login_at or 0) >= before


def test_with_a_suspect_there_is_all_patience_at_once_though_other_mail_came_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []
    made = Session.__init__

    def watched(self: Session, *args: object, **kwargs: object) -> None:
        seen.append(kwargs["limits"].deadline_bytes_per_s)  # type: ignore[attr-defined]
        made(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "__init__", watched)
    with house(mail("one"), mail("two"), mail("three"), behaviour=Behaviour(close_on_retr=3)) as h:
        assert h.poll().committed == 2
        assert h.state.states["a"].failures == 0
        h.poll()
    assert seen == [65536, 1024]
