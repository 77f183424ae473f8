"""Logins by SASL: what is sent, in which steps, and what becomes of a challenge that tells of a failure."""

from __future__ import annotations

import base64
import json

import pytest
from pop3_scripts import GREETING, ScriptedStream, Step, session_over

from ingest.errors import AccountMisconfigured, CredentialsRejected, IngestError, ProtocolError, ServerTemporary
from ingest.models import Auth, Capabilities, Secret, Tls
from ingest.pop3.auth import Dialogue, plan_login
from ingest.pop3.connection import Command
from ingest.pop3.limits import SessionLimits
from ingest.pop3.session import Session

USER = "someuser@example.com"
TOKEN = "vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
LONG = "eyJ0eXAi" + "Qm9iIQ-_" * 800
MICROSOFT: Step = (b"CAPA\r\n", b"+OK\r\nTOP\r\nUIDL\r\nSASL PLAIN XOAUTH2\r\nUSER\r\n.\r\n")
EVERY: Step = (b"CAPA\r\n", b"+OK\r\nUIDL\r\nSASL PLAIN LOGIN XOAUTH2 OAUTHBEARER\r\nUSER\r\n.\r\n")


def offered(*sasl: str, names: str = "SASL") -> Capabilities:
    return Capabilities(known=True, names=frozenset(names.split()), sasl=frozenset(sasl))


ALL = offered("PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER")


def b64(text: bytes) -> bytes:
    return base64.b64encode(text)


def xoauth2(token: str) -> bytes:
    return b64(f"user={USER}\1auth=Bearer {token}\1\1".encode())


def told(**what: str) -> bytes:
    return b"+ " + b64(json.dumps(what).encode()) + b"\r\n"


def played(auth: Auth, token: str, *steps: Step, capa: Step = EVERY, piece_bytes: int = 65536) -> Session:
    """A session that logged in over these steps."""
    stream = ScriptedStream([GREETING, capa, *steps], piece_bytes=piece_bytes)
    session = session_over(stream)
    session.start(tls=Tls.NONE)
    try:
        session.login(USER, Secret(token), auth)
    finally:
        assert stream.finished
    return session


def refused(auth: Auth, token: str, *steps: Step, capa: Step = EVERY) -> IngestError:
    with pytest.raises(IngestError) as caught:
        played(auth, token, *steps, capa=capa)
    assert token not in str(caught.value)
    return caught.value


# What is sent


def test_xoauth2_is_googles_example() -> None:
    # developers.google.com/gmail/imap/xoauth2-protocol
    found = plan_login("someuser@example.com", Secret("ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"), Auth.XOAUTH2,
                       capabilities=ALL, greeting=b"")  # fmt: skip
    assert found.commands == (
        (
            Command.AUTH,
            (
                b"XOAUTH2",
                (
                    b"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxb"
                    b"VRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
                ),
            ),
        ),
    )


def test_oauthbearer_escapes_the_name_in_its_header() -> None:
    # RFC 7628, 3.1 and 4.1; RFC 5801, 4. Host and port are optional, and not signed by a bearer.
    found = plan_login("a=b,c@example.com", Secret(TOKEN), Auth.OAUTHBEARER, capabilities=ALL, greeting=b"")
    assert base64.b64decode(found.responses[0]) == f"n,a=a=3Db=2Cc@example.com,\1auth=Bearer {TOKEN}\1\1".encode()


@pytest.mark.parametrize("auth", [Auth.XOAUTH2, Auth.OAUTHBEARER])
def test_a_command_of_255_octets_takes_an_initial_response_and_a_longer_one_does_not(auth: Auth) -> None:
    lengths = set()
    for length in range(100, 200):
        plan = plan_login(USER, Secret("t" * length), auth, capabilities=ALL, greeting=b"")
        ((_, arguments),) = plan.commands
        line = b" ".join((b"AUTH", arguments[0], plan.responses[0])) + b"\r\n"
        assert (len(arguments) == 2) == (len(line) <= 255)
        lengths.add(len(arguments))
    assert lengths == {1, 2}


@pytest.mark.parametrize("auth", [Auth.XOAUTH2, Auth.OAUTHBEARER])
def test_a_token_or_name_that_would_break_the_mechanisms_fields_is_refused(auth: Auth) -> None:
    for user, token in (("u\1auth=Bearer x", "t"), ("u", "a b"), ("u", "a\1"), ("u", "tökèn")):
        with pytest.raises(AccountMisconfigured, match="RFC 6750") as caught:
            plan_login(user, Secret(token), auth, capabilities=ALL, greeting=b"")
        assert token == "t" or token not in str(caught.value)


@pytest.mark.parametrize(
    ("auth", "instead"), [(Auth.XOAUTH2, "oauthbearer"), (Auth.OAUTHBEARER, "xoauth2"), (Auth.LOGIN, "auto")]
)
def test_a_mechanism_that_is_not_offered_is_a_wrong_account(auth: Auth, instead: str) -> None:
    with pytest.raises(AccountMisconfigured, match=f"does not offer SASL {auth.upper()}.*{instead}"):
        plan_login(USER, Secret("t"), auth, capabilities=offered("PLAIN"), greeting=b"")
    assert plan_login(USER, Secret("t"), auth, capabilities=Capabilities(), greeting=b"").responses


def test_login_is_tried_where_no_mechanism_is_listed() -> None:
    plan = plan_login(USER, Secret("t"), Auth.LOGIN, capabilities=offered(names="USER UIDL"), greeting=b"")
    assert plan.commands == ((Command.AUTH, (b"LOGIN",)),)


# What AUTO takes


@pytest.mark.parametrize(
    ("user", "password", "capabilities", "taken"),
    [
        ("u", "pw", offered("PLAIN", names="SASL USER"), Command.USER),
        ("u", "pass word", offered("PLAIN", names="SASL USER"), Command.USER),
        ("u", "pw", Capabilities(), Command.USER),
        ("u", "pw", offered(names="UIDL"), Command.USER),
        ("u", "pw", offered("PLAIN"), Command.AUTH),
        ("ü", "pw", offered("PLAIN", names="SASL USER"), Command.AUTH),
        ("u", "pẃ", offered("PLAIN", names="SASL USER"), Command.AUTH),
        ("u v", "pw", offered("PLAIN", names="SASL USER"), Command.AUTH),
        ("u", "pw ", offered("PLAIN", names="SASL USER"), Command.AUTH),
        ("u", "p" * 249, offered("PLAIN", names="SASL USER"), Command.AUTH),
        ("u", "p" * 248, offered("PLAIN", names="SASL USER"), Command.USER),
        ("ü", "pw", offered("XOAUTH2", names="SASL USER"), Command.USER),
        ("ü", "pw", Capabilities(), Command.USER),
    ],
)
def test_auto_takes_user_and_pass_where_they_can_say_it_else_plain(
    user: str, password: str, capabilities: Capabilities, taken: Command
) -> None:
    plan = plan_login(user, Secret(password), Auth.AUTO, capabilities=capabilities, greeting=b"ready <1.2@h>")
    assert plan.commands[0][0] is taken


# In steps


def test_a_short_token_goes_with_the_command() -> None:
    session = played(Auth.XOAUTH2, TOKEN, (b"AUTH XOAUTH2 " + xoauth2(TOKEN) + b"\r\n", b"+OK in\r\n"))
    assert session.flights == 2


def test_a_long_token_waits_for_the_plus_as_microsoft_wants_it() -> None:
    played(
        Auth.XOAUTH2,
        LONG,
        (b"AUTH XOAUTH2\r\n", b"+ \r\n"),
        (xoauth2(LONG) + b"\r\n", b"+OK User successfully authenticated.\r\n"),
        capa=MICROSOFT,
    )


@pytest.mark.parametrize("plus", [b"+\r\n", b"+ \r\n", b"+OK\r\n", b"+ go ahead\r\n"])
@pytest.mark.parametrize("auth", [Auth.XOAUTH2, Auth.OAUTHBEARER])
def test_every_way_to_ask_for_the_token_is_understood(auth: Auth, plus: bytes) -> None:
    plan = plan_login(USER, Secret(LONG), auth, capabilities=ALL, greeting=b"")
    steps = ((f"AUTH {auth.upper()}\r\n".encode(), plus), (plan.responses[0] + b"\r\n", b"+OK in\r\n"))
    played(auth, LONG, *steps)
    played(auth, LONG, *steps, piece_bytes=1)


def test_tokens_far_over_4_kib_pass_whatever_limits_hold_for_the_servers_lines() -> None:
    token = "e" * 20_000
    stream = ScriptedStream(
        [GREETING, EVERY, (b"AUTH XOAUTH2\r\n", b"+ \r\n"), (xoauth2(token) + b"\r\n", b"+OK in\r\n")]
    )
    session = session_over(stream, SessionLimits(window_command_bytes=512, status_line_bytes=512))
    session.start(tls=Tls.NONE)
    session.login(USER, Secret(token), Auth.XOAUTH2)
    assert stream.finished


def test_an_initial_response_that_was_passed_over_is_sent_again() -> None:
    played(
        Auth.XOAUTH2,
        TOKEN,
        (b"AUTH XOAUTH2 " + xoauth2(TOKEN) + b"\r\n", b"+ \r\n"),
        (xoauth2(TOKEN) + b"\r\n", b"+OK in\r\n"),
    )


@pytest.mark.parametrize("prompts", [(b"+ VXNlcm5hbWU6", b"+ UGFzc3dvcmQ6"), (b"+", b"+"), (b"+OK", b"+OK")])
def test_login_answers_two_prompts(prompts: tuple[bytes, bytes]) -> None:
    played(
        Auth.LOGIN,
        "pass word",
        (b"AUTH LOGIN\r\n", prompts[0] + b"\r\n"),
        (b64(USER.encode()) + b"\r\n", prompts[1] + b"\r\n"),
        (b64(b"pass word") + b"\r\n", b"+OK in\r\n"),
    )


# Refusals


def test_an_error_challenge_of_xoauth2_is_answered_with_an_empty_line_and_its_status_shown() -> None:
    error = refused(
        Auth.XOAUTH2,
        TOKEN,
        (b"AUTH XOAUTH2 " + xoauth2(TOKEN) + b"\r\n", told(status="401", schemes="bearer", scope="mail")),
        (b"\r\n", b"-ERR [AUTH] no\r\n"),
    )
    assert isinstance(error, CredentialsRejected)
    assert error.what == "pop.example.com refused the login: [AUTH] no (status 401)"
    assert "scope, consent" in error.todo


def test_an_error_challenge_behind_two_steps_is_told_from_the_first_plus() -> None:
    error = refused(
        Auth.XOAUTH2,
        LONG,
        (b"AUTH XOAUTH2\r\n", b"+ \r\n"),
        (xoauth2(LONG) + b"\r\n", told(error="invalid_token")),
        (b"\r\n", b"-ERR no\r\n"),
    )
    assert "(status invalid_token)" in error.what


def test_an_error_challenge_of_oauthbearer_is_answered_with_a_control_a() -> None:
    plan = plan_login(USER, Secret(TOKEN), Auth.OAUTHBEARER, capabilities=ALL, greeting=b"")
    error = refused(
        Auth.OAUTHBEARER,
        TOKEN,
        (b"AUTH OAUTHBEARER " + plan.responses[0] + b"\r\n", told(status="invalid_token")),
        (b"AQ==\r\n", b"-ERR [AUTH] no\r\n"),
    )
    assert isinstance(error, CredentialsRejected)


def test_a_status_that_tells_of_a_passing_trouble_is_no_matter_of_credentials() -> None:
    error = refused(
        Auth.XOAUTH2,
        TOKEN,
        (b"AUTH XOAUTH2 " + xoauth2(TOKEN) + b"\r\n", told(status="temporarily_unavailable")),
        (b"\r\n", b"-ERR no\r\n"),
    )
    assert isinstance(error, ServerTemporary)


def test_microsofts_refusal_without_a_challenge_is_one_of_credentials() -> None:
    error = refused(
        Auth.XOAUTH2,
        LONG,
        (b"AUTH XOAUTH2\r\n", b"+\r\n"),
        (xoauth2(LONG) + b"\r\n", b"-ERR Authentication failure: unknown user name or bad password.\r\n"),
        capa=MICROSOFT,
    )
    assert isinstance(error, CredentialsRejected)


@pytest.mark.parametrize(
    "challenge",
    [b"%%%", b"W10=", b"e30=", b"eyJzdGF0dXMiOm51bGx9", b"/////w==", b64(b"[" * 2000), b64(b'{"status": {"a": 1}}')],
)
def test_an_error_challenge_that_is_no_json_is_answered_all_the_same(challenge: bytes) -> None:
    error = refused(
        Auth.XOAUTH2,
        TOKEN,
        (b"AUTH XOAUTH2 " + xoauth2(TOKEN) + b"\r\n", b"+ " + challenge + b"\r\n"),
        (b"\r\n", b"-ERR no\r\n"),
    )
    assert error.what == "pop.example.com refused the login: no"


def test_no_refusal_repeats_the_token_or_a_piece_of_it() -> None:
    for echo in (LONG, LONG[:60], LONG[100:140], xoauth2(LONG).decode()[:80], LONG.upper()[:60], f"<{LONG[:99]}...>"):
        error = refused(
            Auth.XOAUTH2,
            LONG,
            (b"AUTH XOAUTH2\r\n", b"+ \r\n"),
            (xoauth2(LONG) + b"\r\n", told(status=echo[:80])),
            (b"\r\n", b"-ERR bad line: " + echo[:3000].encode() + b"\r\n"),
        )
        shown = str(error).lower()
        assert not any(echo.lower()[at : at + 12] in shown for at in range(len(echo) - 12))


def test_challenges_without_end_are_a_protocol_error() -> None:
    error = refused(
        Auth.XOAUTH2,
        TOKEN,
        (b"AUTH XOAUTH2 " + xoauth2(TOKEN) + b"\r\n", told(status="401")),
        (b"\r\n", b"+ \r\n"),
        (b"*\r\n", b"+ \r\n"),
    )
    assert isinstance(error, ProtocolError)
    assert "cancelled" in error.what


@pytest.mark.parametrize("auth", [Auth.PLAIN, Auth.LOGIN])
def test_a_login_that_gave_up_answers_nothing_more(auth: Auth) -> None:
    dialogue = Dialogue(plan_login(USER, Secret("pw"), auth, capabilities=ALL, greeting=b""))
    answers = [dialogue.answer(b"") for _ in range(3 if auth is Auth.LOGIN else 2)]
    assert answers[-1] == b"*"
    assert dialogue.cancelled
    with pytest.raises(ProtocolError, match="cancelled"):
        dialogue.answer(b"")


def test_plans_show_nothing() -> None:
    for auth in Auth:
        plan = plan_login("u", Secret("canary"), auth, capabilities=ALL, greeting=b"<1@h>")
        assert b"canary" in plan.hidden
        assert "canary" not in repr(plan) + repr(Dialogue.__new__(Dialogue))
