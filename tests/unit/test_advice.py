"""Facts in, lines out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ingest.advice import Severity, advise, advise_failure, credentials_for
from ingest.errors import (
    CertificateRejected,
    CredentialsRejected,
    HostUnreachable,
    IngestError,
    MaildropBusy,
    ServerRefused,
    SlowDown,
)
from ingest.models import Account, AccountCheck, Auth, Capabilities, Tls, UidlForm, Uidls
from ingest.providers import Provider, recognise

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ACCOUNT = Account("a", "pop.example.com", 995, "a@example.com", "env:PW")
GOOD = AccountCheck(
    host="pop.example.com",
    port=995,
    tls=Tls.IMPLICIT,
    tls_version="TLSv1.2",
    certificate_not_after=NOW + timedelta(days=14),
    certificate_sha256="sha256:" + "ab" * 32,
    greeting="ready",
    apop=False,
    capabilities=Capabilities(known=True, names=frozenset({"TOP", "UIDL", "PIPELINING"})),
    capabilities_after_login=None,
    messages=3,
    octets=300,
    complete=True,
    uidls=Uidls(UidlForm.OPAQUE, "0000000163a1"),
    largest_bytes=100,
    too_large=0,
    login_s=0.1,
    round_trip_s=0.05,
)


def lines(found: AccountCheck = GOOD, account: Account = ACCOUNT) -> list[tuple[str, str]]:
    return [(advice.severity.value, advice.line) for advice in advise(account, found, now=NOW)]


def able(**values: object) -> AccountCheck:
    return replace(GOOD, capabilities=replace(GOOD.capabilities, **values))  # type: ignore[arg-type]


def at(host: str, **values: object) -> AccountCheck:
    return replace(GOOD, host=host, **values)  # type: ignore[arg-type]


def test_of_a_good_server_there_is_nothing_to_say() -> None:
    assert lines() == []


@pytest.mark.parametrize(
    ("found", "severity", "words"),
    [
        (replace(GOOD, tls_version=None, tls=Tls.NONE), "wrong", "cross the network in plaintext"),
        (replace(GOOD, certificate_not_after=NOW + timedelta(days=13, hours=1)), "care", "ends in 13 days"),
        (able(known=False, names=frozenset()), "note", "no CAPA"),
        (able(expire_days=0), "care", "a QUIT deletes what its session retrieved"),
        (able(expire_days=30), "note", "removes mail after 30 days"),
        (able(login_delay_s=300), "note", "LOGIN-DELAY 300"),
        (able(names=frozenset({"TOP"})), "care", "1000 of them 50 s"),
        (replace(able(names=frozenset({"TOP"})), round_trip_s=0.001), "note", "1000 of them 1 s"),
        (replace(GOOD, messages=0, uidls=Uidls()), "note", "no message is listed"),
        (replace(GOOD, uidls=Uidls(missing=3)), "care", "no UIDL"),
        (replace(GOOD, uidls=Uidls(UidlForm.OPAQUE, "x", missing=1)), "note", "1 messages have no usable UIDL"),
        (replace(GOOD, uidls=Uidls(UidlForm.OPAQUE, "x", long=2)), "note", "2 UIDLs are over the 70 octets"),
        (replace(GOOD, uidls=Uidls(UidlForm.OPAQUE, "x", repeated=2)), "care", "2 messages share"),
        (replace(GOOD, uidls=Uidls(UidlForm.POSITION, "1")), "care", "UIDLs are the messages' numbers"),
        (replace(GOOD, uidls=Uidls(UidlForm.COUNTER, "17")), "note", "UIDLs are a plain counter"),
        (replace(GOOD, complete=False), "care", "UIDL, LIST and STAT differ"),
        (replace(GOOD, too_large=2, largest_bytes=99), "care", "2 of 3 messages are over MAILSLUICE_MAX_MESSAGE_BYTES"),
    ],
)
def test_each_fact_has_its_line_and_no_other(found: AccountCheck, severity: str, words: str) -> None:
    ((said, line),) = lines(found)
    assert said == severity
    assert words in line


def test_what_capa_says_after_the_login_counts() -> None:
    after = Capabilities(known=True, names=frozenset({"TOP", "PIPELINING"}), login_delay_s=900, per_user=True)
    ((_, line),) = lines(replace(able(login_delay_s=10), capabilities_after_login=after))
    assert "LOGIN-DELAY 900" in line


def test_limits_that_the_account_keeps_anyway_are_not_mentioned() -> None:
    patient = replace(ACCOUNT, poll_interval_s=600, keep_s=86400)
    assert lines(replace(able(login_delay_s=300, expire_days=30)), patient) == []


def test_plaintext_that_stays_on_this_machine_is_fine() -> None:
    assert lines(at("127.0.0.1", tls_version=None, certificate_not_after=None)) == []


def test_plaintext_names_the_way_out_that_the_server_offers() -> None:
    found = replace(able(names=frozenset({"STLS", "TOP", "PIPELINING"})), tls_version=None)
    assert [advice.todo for advice in advise(ACCOUNT, found, now=NOW)] == ['tls = "starttls": the server offers it']


def test_a_date_needs_top() -> None:
    account = replace(ACCOUNT, first_poll="2026-01-01")
    ((severity, line),) = lines(able(names=frozenset({"PIPELINING"})), account)
    assert (severity, line[:6]) == ("wrong", "no TOP")


def test_the_worst_comes_first() -> None:
    found = replace(able(login_delay_s=300), complete=False, tls_version=None)
    assert [severity for severity, _ in lines(found)] == ["wrong", "care", "note"]


def test_gmail_hides_what_others_fetched_and_recent_shows_it() -> None:
    ((_, line),) = lines(at("pop.gmail.com"))
    assert "hides what any POP session retrieved" in line
    assert lines(at("pop.gmail.com"), replace(ACCOUNT, username="recent:a@gmail.com")) == []


def test_deleting_in_gmails_recent_mode_is_wrong_and_without_it_gmails_to_decide() -> None:
    recent = replace(ACCOUNT, username="recent:a@gmail.com", keep_s=0)
    assert [severity for severity, _ in lines(at("pop.gmail.com"), recent)] == ["wrong"]
    assert any("Gmail's own setting" in line for _, line in lines(at("pop.gmail.com"), replace(ACCOUNT, keep_s=0)))


def test_gmails_window_and_its_switch_are_explained_where_they_show() -> None:
    assert any("window of about 250" in line for _, line in lines(at("pop.gmail.com", messages=240)))
    assert any("POP setting" in line for _, line in lines(at("pop.gmail.com", messages=0, uidls=Uidls())))


def test_microsoft_throttles_and_yahoo_locks_out() -> None:
    ((_, line),) = lines(at("outlook.office365.com"))
    assert line.startswith("Microsoft 365 throttles")
    assert [line for _, line in lines(at("pop.mail.yahoo.com"))] == ["Yahoo locks out who logs in too often"]
    assert lines(at("pop.mail.yahoo.com"), replace(ACCOUNT, poll_interval_s=300)) == []


REFUSED = CredentialsRejected("the server refused the login")


@pytest.mark.parametrize(
    ("host", "error", "words"),
    [
        ("pop.gmail.com", REFUSED, "app password"),
        ("outlook.office365.com", REFUSED, "takes no passwords over POP3"),
        ("outlook.office365.com", ServerRefused("refused"), "takes no passwords over POP3"),
        ("pop.mail.yahoo.com", REFUSED, "app password"),
        ("pop.aol.com", REFUSED, "app password"),
        ("pop.example.com", REFUSED, "only what stands before the @"),
        ("pop.example.com", MaildropBusy("locked"), "another session"),
        ("pop.example.com", SlowDown("too often"), "counts logins"),
    ],
)
def test_a_refused_login_says_which_credential_is_needed(host: str, error: IngestError, words: str) -> None:
    advice = advise_failure(replace(ACCOUNT, host=host), error)
    assert words in advice[0].line


def test_a_bare_user_name_may_want_its_domain() -> None:
    (advice,) = advise_failure(replace(ACCOUNT, username="a"), REFUSED)
    assert (advice.severity, advice.todo) == (Severity.WRONG, "username = the whole address")


@pytest.mark.parametrize("error", [CertificateRejected("expired"), HostUnreachable("does not resolve")])
def test_an_error_that_says_it_all_gets_no_advice(error: IngestError) -> None:
    assert advise_failure(replace(ACCOUNT, host="pop.gmail.com"), error) == []


def test_advice_on_a_refusal_never_says_auto_is_wrong_for_a_token() -> None:
    account = replace(ACCOUNT, host="pop.gmail.com", auth=Auth.AUTO)
    assert all("token" not in advice.line for advice in advise_failure(account, REFUSED))


@pytest.mark.parametrize(
    ("host", "words", "provider"),
    [
        ("POP.gmail.com.", "", Provider.GMAIL),
        ("pop.googlemail.com", "", Provider.GMAIL),
        ("mail.example.com", "Gpop ready for requests", Provider.GMAIL),
        ("outlook.office365.com", "", Provider.MICROSOFT),
        ("mail.example.com", "The Microsoft Exchange POP3 service is ready.", None),
        ("pop.mail.yahoo.com", "", Provider.YAHOO),
        ("pop.gmail.com.evil.net", "", None),
        ("notgmail.com", "", None),
    ],
)
def test_a_provider_is_recognised_by_name_or_by_its_words(host: str, words: str, provider: Provider | None) -> None:
    assert recognise(host, words) is provider


def test_only_providers_with_ways_of_their_own_want_another_credential() -> None:
    assert credentials_for("pop.example.com") is None
    hosts = ("pop.gmail.com", "outlook.office365.com", "pop.mail.yahoo.com")
    assert all(credentials_for(host) for host in hosts)
