from __future__ import annotations

import hashlib

import pytest

from ingest.errors import AccountMisconfigured
from ingest.models import Auth, Capabilities, Secret
from ingest.pop3.auth import LoginPlan, plan_login, timestamp
from ingest.pop3.connection import Command

PLAIN = Capabilities(known=True, names=frozenset({"SASL"}), sasl=frozenset({"PLAIN"}))
BARE = Capabilities(known=True)
PW = Secret("pw")
UNKNOWN = Capabilities()


def plan(
    auth: Auth, capabilities: Capabilities, *, user: str = "u", password: Secret = PW, greeting: bytes = b"ready"
) -> LoginPlan:
    return plan_login(user, password, auth, capabilities=capabilities, greeting=greeting)


def test_auto_takes_sasl_plain_where_it_is_offered() -> None:
    assert plan(Auth.AUTO, PLAIN).commands == ((Command.AUTH, (b"PLAIN", b"AHUAcHc=")),)


@pytest.mark.parametrize("capabilities", [BARE, UNKNOWN])
def test_auto_takes_user_and_pass_otherwise(capabilities: Capabilities) -> None:
    assert plan(Auth.AUTO, capabilities).commands == ((Command.USER, (b"u",)), (Command.PASS, (b"pw",)))


def test_auto_never_takes_apop() -> None:
    assert plan(Auth.AUTO, BARE, greeting=b"ready <1.2@h>").commands[0][0] is Command.USER


def test_apop_digests_the_timestamp_and_the_secret() -> None:
    # The example of RFC 1939, 7.
    found = plan(
        Auth.APOP,
        BARE,
        user="mrose",
        password=Secret("tanstaaf"),
        greeting=b"POP3 server ready <1896.697170952@dbc.mtview.ca.us>",
    )
    assert found.commands == ((Command.APOP, (b"mrose", b"c4c9334bac560ecc979e58001b3e22fb")),)


@pytest.mark.parametrize("greeting", [b"ready", b"ready <no-at-sign>", b"<a@\xff\xfe>", b"<a b@c>", b"<@>", b"<a@b@c>"])
def test_apop_needs_a_message_id_in_the_greeting(greeting: bytes) -> None:
    assert timestamp(greeting) is None
    with pytest.raises(AccountMisconfigured, match="does not offer APOP"):
        plan(Auth.APOP, BARE, greeting=greeting)


def test_plain_that_is_not_offered_is_a_wrong_account() -> None:
    with pytest.raises(AccountMisconfigured, match="does not offer SASL PLAIN"):
        plan(Auth.PLAIN, BARE)
    assert plan(Auth.PLAIN, UNKNOWN).commands[0][0] is Command.AUTH


def test_a_long_password_goes_without_the_initial_response() -> None:
    found = plan(Auth.PLAIN, PLAIN, password=Secret("x" * 200))
    assert found.commands == ((Command.AUTH, (b"PLAIN",)),)
    assert len(found.responses[0]) > 255


@pytest.mark.parametrize("auth", Auth)
@pytest.mark.parametrize("bad", ["", "a\rb", "a\nb", "a\0b", "line\n"])
def test_what_would_be_two_commands_is_refused_without_being_shown(auth: Auth, bad: str) -> None:
    for name, user, secret in (("user name", bad, "pw"), ("access token" if auth.by_token else "password", "u", bad)):
        with pytest.raises(AccountMisconfigured, match=name) as refused:
            plan(auth, PLAIN, user=user, password=Secret(secret), greeting=b"<1@h>")
        assert not bad or bad not in str(refused.value)


def test_half_a_character_is_refused_without_being_shown() -> None:
    for name, user, secret in (("user name", "a\ud800", "pw"), ("password", "u", "a\ud800")):
        with pytest.raises(AccountMisconfigured, match=name) as refused:
            plan(Auth.AUTO, PLAIN, user=user, password=Secret(secret))
        assert refused.value.__context__ is None


def test_letters_beyond_ascii_go_as_utf_8() -> None:
    found = plan(Auth.USER, BARE, user="jürgen", password=Secret("schlüssel"))
    assert found.commands == ((Command.USER, ("jürgen".encode(),)), (Command.PASS, ("schlüssel".encode(),)))


def test_a_plan_says_what_to_hide_and_shows_nothing() -> None:
    digest = hashlib.md5(b"<1@h>" + b"pw", usedforsecurity=False).hexdigest().encode()
    assert plan(Auth.PLAIN, PLAIN).hidden == (b"pw", b"AHUAcHc=")
    assert plan(Auth.APOP, BARE, greeting=b"<1@h>").hidden == (b"pw", digest)
    assert "pw" not in repr(plan(Auth.USER, BARE))
