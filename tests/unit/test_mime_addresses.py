"""Address fields: what becomes an address, and what must not."""

from __future__ import annotations

import pytest

from ingest.mime.addresses import parse_addresses
from ingest.mime.defects import DefectCode
from ingest.mime.limits import MimeLimits

LIMITS = MimeLimits()


def read(raw: str) -> list[tuple[str, str]]:
    return [(found.name, found.address) for found in parse_addresses(raw, LIMITS)[0]]


@pytest.mark.parametrize(
    ("raw", "addresses"),
    [
        ("", []),
        ("a@x.org", [("", "a@x.org")]),
        ("<a@x.org>", [("", "a@x.org")]),
        ("Ann Lee <a@x.org>", [("Ann Lee", "a@x.org")]),
        ("Ann<a@x.org>", [("Ann", "a@x.org")]),
        ('"Lee, Ann" <a@x.org>, b@x.org', [("Lee, Ann", "a@x.org"), ("", "b@x.org")]),
        (r'"Ann \"the\" Lee" <a@x.org>', [('Ann "the" Lee', "a@x.org")]),
        ("A. B. Lee <a@x.org>", [("A. B. Lee", "a@x.org")]),
        ("a@x.org (Ann Lee)", [("Ann Lee", "a@x.org")]),
        ("Ann (at (very) work) <a@x.org>", [("Ann", "a@x.org")]),
        (r"Pete(A nice \) chap) <pete(his account)@silly.test(his host)>", [("Pete", "pete@silly.test")]),
        ("A Group:Ed <ed@x.org>,joe@x.org;", [("Ed", "ed@x.org"), ("", "joe@x.org")]),
        ("Undisclosed recipients:;", []),
        ("g1: a@x.org; , g2: b@x.org;, c@x.org", [("", "a@x.org"), ("", "b@x.org"), ("", "c@x.org")]),
        ("<@one.test,@two.test:joe@x.org>", [("", "joe@x.org")]),
        ("John . Q @ x . org", [("", "John.Q@x.org")]),
        ('"joe blow"@x.org', [("", '"joe blow"@x.org')]),
        ("a@[192.0.2.1]", [("", "a@[192.0.2.1]")]),
        (",, a@x.org ,,", [("", "a@x.org")]),
        ("root", [("", "root")]),
        ("Mail System <MAILER-DAEMON>", [("Mail System", "MAILER-DAEMON")]),
        ("=?utf-8?q?J=C3=BCrgen?= =?utf-8?q?_Lee?= <a@x.org>", [("Jürgen Lee", "a@x.org")]),
        ('"=?utf-8?q?J=C3=BCrgen?=" <a@x.org>', [("Jürgen", "a@x.org")]),
        ("=?utf-8?q?Lee,_Ann?= <a@x.org>", [("Lee, Ann", "a@x.org")]),
        ("=?utf-8?q?A?=<a@x.org>", [("A", "a@x.org")]),
        ("A [B] < a@x.org >, ", [("A [B]", "a@x.org")]),
        ("a@x.org (=?utf-8?q?J=C3=BCrgen?= Lee)", [("Jürgen Lee", "a@x.org")]),
        ("g (c): A <a@x.org>, b@x.org;", [("A", "a@x.org"), ("", "b@x.org")]),
        ('"alice@example.org" <bob@x.org>', [("alice@example.org", "bob@x.org")]),
        ("Jürgen <jürgen@bücher.example>", [("Jürgen", "jürgen@bücher.example")]),
    ],
)
def test_mailboxes_are_read(raw: str, addresses: list[tuple[str, str]]) -> None:
    assert parse_addresses(raw, LIMITS)[1] is None
    assert read(raw) == addresses


@pytest.mark.parametrize("between", [*'()<>[]@;:,."\\', "><", ")(", "\\\\", ' "', "\0"])
def test_an_address_before_an_angle_address_is_never_the_sender(between: str) -> None:
    """CVE-2023-27043: what a display name looks like must not become an address, whatever stands between."""
    addresses = [address for _, address in read(f"alice@example.org{between}<bob@example.com>")]
    if between == ",":
        assert addresses == ["alice@example.org", "bob@example.com"]
    else:
        assert addresses in ([], ["bob@example.com"])


@pytest.mark.parametrize(
    "raw",
    [
        "alice@example.org)bob@example.com",
        "<bob@example.com>alice@example.org",
        "<a@x.org> <b@x.org>",
        '"Ann" <a@x.org> "Bob" <b@x.org>',
        "alice@example.org bob@example.com",
        '"alice" bob@example.com',
        "alice@example.org@example.com",
        "a@b@c",
        "a@",
        "@b",
        "<>",
        "Ann <a@x.org",
        "a@x.org>",
        "=?utf-8?q?alice=40example.org?=",
        "=?utf-8?q?alice=40example.org_=3Ca=40b=3E?=",
        "=?utf-8?q?alice?=@example.com",
        'a"b"@x.org',
        "a@x[1]",
        "a@.x.org",
        '"unclosed <a@x.org>',
        "(unclosed <a@x.org>",
        "two words",
        "\\",
    ],
)
def test_what_is_doubtful_is_no_address_but_a_defect(raw: str) -> None:
    assert parse_addresses(raw, LIMITS) == ((), DefectCode.ADDRESS_MALFORMED)


def test_a_name_with_a_comma_and_without_quotes_makes_no_mailbox_of_its_first_half() -> None:
    assert read("Doe, John <john@x.org>") == [("John", "john@x.org")]


def test_an_encoded_word_stays_a_name_when_it_decodes_to_an_address() -> None:
    assert read("=?utf-8?q?=22alice=40x=2Eorg=22_=3Calice=40x=2Eorg=3E=2C?= <bob@x.org>") == [
        ('"alice@x.org" <alice@x.org>,', "bob@x.org")
    ]


@pytest.mark.parametrize(
    "raw",
    ["a@x.org;", "<a@x.org> ; ", "a@x.org (c);", ";a@x.org", "a@x.org;;", "g:a@x.org;;"],
)
def test_a_semicolon_at_an_end_is_passed_over(raw: str) -> None:
    addresses, defect = parse_addresses(raw, LIMITS)
    assert ([found.address for found in addresses], defect) == (["a@x.org"], None)


@pytest.mark.parametrize(
    ("raw", "addresses"),
    [
        ("a@x.org; b@x.org;", [("", "a@x.org"), ("", "b@x.org")]),
        ("Ann <a@x.org>; Bob <b@x.org>", [("Ann", "a@x.org"), ("Bob", "b@x.org")]),
        ("Ann <a@x.org>;b@x.org", [("Ann", "a@x.org"), ("", "b@x.org")]),
        ("Lee, Ann <a@x.org>; Lee, Bob <b@x.org>;", [("Ann", "a@x.org"), ("Bob", "b@x.org")]),
        ('"Lee; c@x.org" <a@x.org>;=?utf-8?q?B;?= <b@x.org>', [("Lee; c@x.org", "a@x.org"), ("B;", "b@x.org")]),
        ("a@x.org, b@x.org; c@x.org", [("", "a@x.org"), ("", "b@x.org"), ("", "c@x.org")]),
        ("g: a@x.org; b@x.org; c@x.org", [("", "a@x.org"), ("", "b@x.org"), ("", "c@x.org")]),
        ("a@x.org; Ann Lee; b@x.org", [("", "a@x.org"), ("", "b@x.org")]),
    ],
)
def test_semicolons_separate_mailboxes_with_a_defect(raw: str, addresses: list[tuple[str, str]]) -> None:
    assert parse_addresses(raw, LIMITS)[1] == DefectCode.ADDRESS_MALFORMED
    assert read(raw) == addresses


@pytest.mark.parametrize(
    ("raw", "addresses"),
    [
        ("alice@example.org; Bob <b@x.org>", ["b@x.org"]),
        ("alice@example.org; carol@example.org, <b@x.org>", ["b@x.org"]),
        ("a@x.org, alice@example.org; <b@x.org>;", ["a@x.org", "b@x.org"]),
        ("Ann <a@x.org>; alice@example.org; <b@x.org>", ["a@x.org", "b@x.org"]),
        ("Doe; John <j@x.org>", ["j@x.org"]),
        ("alice; b@x.org", ["b@x.org"]),
        ("alice@example.org; <b@x.org", []),
        ('alice@example.org; "<b@x.org>', []),
        ("alice@example.org; (<b@x.org>", []),
        ("=?utf-8?q?a; alice@example.org; b?=", []),
        ("=?utf-8?q?a; <alice@example.org>; b?= <b@x.org>", ["b@x.org"]),
    ],
)
def test_an_address_before_a_semicolon_is_left_out_where_it_may_be_in_a_name(raw: str, addresses: list[str]) -> None:
    found, defect = parse_addresses(raw, LIMITS)
    assert ([each.address for each in found], defect) == (addresses, DefectCode.ADDRESS_MALFORMED)


def test_one_bad_mailbox_does_not_hide_the_good_ones() -> None:
    addresses, defect = parse_addresses("a@x.org, two words, b@x.org", LIMITS)
    assert [found.address for found in addresses] == ["a@x.org", "b@x.org"]
    assert defect == DefectCode.ADDRESS_MALFORMED


def test_addresses_beyond_the_limit_are_dropped() -> None:
    addresses, defect = parse_addresses("a@x.org, " * 16_000, LIMITS)
    assert (len(addresses), defect) == (1000, DefectCode.TOO_MANY_ADDRESSES)


def test_addresses_that_may_be_in_a_name_beyond_the_limit_are_left_out() -> None:
    assert parse_addresses("a@x.org; " * 1000 + "<b@x.org>", LIMITS) == ((), DefectCode.ADDRESS_MALFORMED)


def test_a_list_of_just_as_many_addresses_as_allowed_is_no_defect() -> None:
    addresses, defect = parse_addresses(", ".join(["a@x.org"] * 1000), LIMITS)
    assert (len(addresses), defect) == (1000, None)


def test_comments_beyond_the_depth_end_the_field() -> None:
    deep = "a@x.org, " + "(" * 33 + ")" * 33 + " b@x.org"
    assert parse_addresses(deep.replace("(" * 33, "(" * 32).replace(")" * 33, ")" * 32), LIMITS)[1] is None
    addresses, defect = parse_addresses(deep, LIMITS)
    assert ([found.address for found in addresses], defect) == (["a@x.org"], DefectCode.COMMENT_TOO_DEEP)
