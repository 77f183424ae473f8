import pytest

from ingest.accounts import (
    account_from_json,
    account_to_json,
    as_written,
    build_account,
    compare,
    keep_as_written,
    parse_accounts,
)
from ingest.errors import ConfigurationError
from ingest.models import Account, Auth, Tls
from ingest.written import is_loopback

GOOD = {"id": "b", "host": "pop.example.com", "username": "b@example.com", "password": "env:PW"}


def seal(literal: str) -> str:
    return f"sealed:{literal[::-1]}"


def problems(text: str, *, with_key: bool = True) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        parse_accounts(text, "accounts.toml", seal if with_key else None)
    return caught.value.problems


def test_the_contract_s_example_is_read() -> None:
    (account,) = parse_accounts(
        """
        [[account]]
        id = "billing"
        host = "pop.example.com"
        port = 995
        ca_file = "/etc/ssl/our-ca.pem"
        tls = "implicit"
        username = "billing@example.com"
        password = "env:BILLING_PASSWORD"
        auth = "auto"
        keep = "forever"
        first_poll = "all"
        poll_interval_s = 60
        tags = { team = "finance" }
        """,
        "accounts.toml",
        None,
    )
    assert account == Account(
        id="billing",
        host="pop.example.com",
        port=995,
        username="billing@example.com",
        password="env:BILLING_PASSWORD",
        tls=Tls.IMPLICIT,
        auth=Auth.AUTO,
        ca_file="/etc/ssl/our-ca.pem",
        tags={"team": "finance"},
    )


@pytest.mark.parametrize(("tls", "port"), [("implicit", 995), ("starttls", 110), ("none", 110)])
def test_the_port_follows_from_tls(tls: str, port: int) -> None:
    assert build_account(GOOD | {"tls": tls, "host": "localhost"}, "b", None).port == port


@pytest.mark.parametrize(
    ("keep", "keep_s"), [("forever", None), ("delete", 0), ("14d", 1209600), ("36h", 129600), ("5m", 300), ("90s", 90)]
)
def test_keep_is_for_ever_or_an_age(keep: str, keep_s: int | None) -> None:
    assert build_account(GOOD | {"keep": keep}, "b", None).keep_s == keep_s
    assert build_account(GOOD | {"keep": keep_as_written(keep_s)}, "b", None).keep_s == keep_s


@pytest.mark.parametrize("value", ["2026-01-31", "all", "new"])
def test_the_first_poll_may_begin_at_a_date(value: str) -> None:
    assert build_account(GOOD | {"first_poll": value}, "b", None).first_poll == value


def test_a_date_without_quotes_is_a_date_too() -> None:
    text = '[[account]]\nid = "b"\nhost = "h"\nusername = "u"\npassword = "env:X"\nfirst_poll = 2026-01-31\n'
    assert parse_accounts(text, "accounts.toml", None)[0].first_poll == "2026-01-31"


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("id", "Billing", "'Billing' is no id (a-z, 0-9, then also . _ -, at most 64 characters)"),
        ("id", "", "must be a text"),
        (
            "host",
            "pop.example.com:995",
            "'pop.example.com:995' is no host name or address (the port has a key of its own)",
        ),
        ("host", 7, "must be a text in quotes"),
        ("port", 0, "0 is not a whole number (1 to 65535)"),
        ("port", "995", "'995' is not a whole number (1 to 65535)"),
        ("port", True, "True is not a whole number (1 to 65535)"),
        ("tls", "ssl", "'ssl' is not one of implicit, starttls, none"),
        (
            "tls",
            "none",
            (
                "'none' would send the password to pop.example.com in plaintext (implicit or starttls; where plaintext "
                "is meant, allow_plaintext = true)"
            ),
        ),
        ("allow_plaintext", "yes", "'yes' is not true or false"),
        ("username", "a\r\nDELE 1", "holds a line break or NUL, which would be a command of its own"),
        ("username", "a\0", "holds a line break or NUL, which would be a command of its own"),
        ("username", "u" * 256, "is longer than 255 octets"),
        ("password", "hunter2", "is not a reference (env:NAME or file:PATH; a literal as plain:…)"),
        ("password", "env:", "nothing stands behind env: (env:NAME, file:PATH or plain:…)"),
        ("password", "env:my password", "env: must be followed by the name of a variable, as in env:BILLING_PASSWORD"),
        ("password", "aws-secret:billing#pw", "aws-secret: is not built yet (env:NAME or file:PATH)"),
        ("password", "sealed:abc", "is not a reference (env:NAME or file:PATH; a literal as plain:…)"),
        ("password", "plain:a\nb", "holds a line break or NUL, which would be a command of its own"),
        (
            "password",
            "plain:pw",
            "plain: needs MAILSLUICE_SECRET_KEY to be stored encrypted (set it, or use env: or file:)",
        ),
        ("auth", "ntlm", "'ntlm' is not one of auto, user, apop, plain, login, xoauth2, oauthbearer"),
        ("keep", "14w", "'14w' is not forever, delete or an age such as 14d (units d, h, m, s)"),
        ("keep", "0d", "'0d' is not forever, delete or an age such as 14d (units d, h, m, s)"),
        ("first_poll", "yesterday", "'yesterday' is not all, new or a date such as 2026-01-31"),
        ("first_poll", "2026-02-30", "'2026-02-30' is not all, new or a date such as 2026-01-31"),
        ("poll_interval_s", 0, "0 is not a whole number (1 to 86400)"),
        ("tags", {"n": 1}, 'must be a table of texts, as in { team = "finance" }'),
        ("tags", {f"t{n}": "" for n in range(33)}, "at most 32 tags, names and values of at most 256 octets"),
        ("oauth", {}, "needs auth = 'xoauth2' or 'oauthbearer'"),
        ("hots", "h", "no such key (did you mean host?)"),
        ("paused", True, "no such key"),
    ],
)
def test_a_wrong_value_has_its_line(key: str, value: object, line: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build_account(GOOD | {key: value}, "accounts.toml: b", None)
    assert caught.value.problems == (f"accounts.toml: b: {key}: {line}",)


def test_every_problem_of_a_file_is_named_at_once() -> None:
    assert problems(
        """
        accounts = 1
        [[account]]
        id = "b"
        host = "h"
        password = "env:X"
        [[account]]
        id = "B"
        host = "h"
        username = "u"
        password = "env:X"
        [[account]]
        id = "b"
        host = "h"
        username = "u"
        password = "env:X"
        """
    ) == (
        "accounts.toml: accounts: no such key (did you mean account?)",
        "accounts.toml: b: username: is missing",
        "accounts.toml: account 2: id: 'B' is no id (a-z, 0-9, then also . _ -, at most 64 characters)",
        "accounts.toml: b: id: stands twice (each account needs an id of its own)",
    )


def test_a_syntax_error_is_one_line_with_its_place() -> None:
    assert problems("[[account]]\nid =\n") == ("accounts.toml: line 2, column 5: Invalid value",)


def test_a_single_bracket_is_explained() -> None:
    assert problems('[account]\nid = "b"\n') == (
        "accounts.toml: account: must be written [[account]], once for each account",
    )


def test_a_literal_password_is_sealed_and_appears_nowhere() -> None:
    account = build_account(GOOD | {"password": "plain:canary"}, "b", seal)
    assert account.password == "sealed:yranac"
    assert "canary" not in repr(account) + account_to_json(account) + str(as_written(account))


@pytest.mark.parametrize("password", ["canary", "canary:x", "env:ca nary", "plain:canary", "aws-secret:canary"])
def test_no_message_repeats_a_password(password: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build_account(GOOD | {"password": password}, "b", None)
    assert "nary" not in str(caught.value)


def test_plaintext_is_allowed_where_it_stays_on_this_machine_or_is_meant() -> None:
    assert build_account(GOOD | {"tls": "none", "host": "127.3.2.1"}, "b", None).tls is Tls.NONE
    meant = GOOD | {"tls": "none", "allow_plaintext": True}
    assert build_account(meant, "b", None).allow_plaintext


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_loopback_is_told_by_the_name_alone(host: str, here: bool) -> None:
    assert is_loopback(host) is here


def test_an_account_survives_its_json() -> None:
    account = build_account(
        GOOD | {"tls": "starttls", "auth": "apop", "keep": "14d", "tags": {"team": "Büro"}}, "b", None
    )
    assert account_from_json(account_to_json(account)) == account


def test_json_of_a_newer_version_is_read() -> None:
    newer = account_to_json(build_account(GOOD, "b", None)).replace("{", '{"colour":"red",', 1)
    assert account_from_json(newer).id == "b"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id":"b"}', '{"tls":"x","auth":"auto"}'])
def test_json_that_is_no_account_is_bad_configuration(text: str) -> None:
    with pytest.raises(ConfigurationError, match="registry: not an account"):
        account_from_json(text)


def test_sealing_the_same_password_again_changes_nothing() -> None:
    old, new = (build_account(GOOD | {"password": "plain:pw"}, "b", lambda _, n=n: f"sealed:{n}") for n in "12")
    changes = compare({"b": old}, [new], prune=False, same_secret=lambda *_: True)
    assert changes.unchanged == (old,)
    changes = compare({"b": old}, [new], prune=False, same_secret=lambda *_: False)
    assert changes.changed == (new,)


PIN = "sha256:" + "0f" * 32


@pytest.mark.parametrize(
    "written", [PIN, PIN.upper(), "sha256:" + ":".join(["0F"] * 32), "SHA256:" + ":".join(["0f"] * 32), [PIN]]
)
def test_a_fingerprint_is_read_as_openssl_prints_it(written: object) -> None:
    assert build_account(GOOD | {"fingerprint": written}, "b", None).fingerprints == (PIN,)


def test_several_certificates_may_be_pinned_so_that_one_can_be_replaced() -> None:
    pins = [PIN, "sha256:" + "1" * 64]
    account = build_account(GOOD | {"fingerprint": pins}, "b", None)
    assert account.fingerprints == tuple(pins)
    assert account_from_json(account_to_json(account)) == account
    assert as_written(account)["fingerprint"] == pins
    assert as_written(build_account(GOOD | {"fingerprint": PIN}, "b", None))["fingerprint"] == PIN
    assert build_account(GOOD, "b", None).fingerprints == ()


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"fingerprint": "0f" * 32}, "is not sha256: and 64 hex digits"),
        ({"fingerprint": "sha1:" + "0f" * 20}, "is not sha256: and 64 hex digits"),
        ({"fingerprint": PIN[:-1]}, "is not sha256: and 64 hex digits"),
        ({"fingerprint": PIN[:-1] + "g"}, "is not sha256: and 64 hex digits"),
        ({"fingerprint": ""}, "is not sha256: and 64 hex digits"),
        ({"fingerprint": 7}, "must be a text, or a list of texts"),
        ({"fingerprint": [PIN, 7]}, "must be a text, or a list of texts"),
        ({"fingerprint": [PIN] * 5}, "at most 4 certificates"),
        ({"fingerprint": PIN, "tls": "none", "host": "localhost"}, "tls = 'none' has none"),
        ({"fingerprint": PIN, "ca_file": "/ca.pem"}, "stands in place of a CA bundle"),
    ],
)
def test_a_fingerprint_that_can_pin_nothing_is_refused(given: dict[str, object], wrong: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build_account(GOOD | given, "b", None)
    (problem,) = caught.value.problems
    assert problem.startswith("b: fingerprint: ")
    assert wrong in problem
