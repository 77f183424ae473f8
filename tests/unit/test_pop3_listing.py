from __future__ import annotations

import re

import pytest

from ingest.errors import ListingFailed
from ingest.models import MessageRef
from ingest.pop3.limits import SessionLimits
from ingest.pop3.listing import LIST_LINE, UIDL_LINE, NumberedLines, assemble, read_stat

LIMITS = SessionLimits()


def found(line: re.Pattern[bytes], *chunks: bytes, limits: SessionLimits = LIMITS) -> dict[int, bytes]:
    lines = NumberedLines("UIDL" if line is UIDL_LINE else "LIST", line, limits)
    for chunk in chunks:
        lines.feed(chunk)
    return lines.found


def test_uidls_are_any_octets_behind_any_spaces() -> None:
    assert found(UIDL_LINE, b"1 a\r\n2    b c \r\n3 \xff\x00\r\n4\r\n5 \r\n") == {
        1: b"a",
        2: b"b c ",
        3: b"\xff\x00",
        4: b"",
        5: b"",
    }


def test_sizes_may_have_words_behind_them() -> None:
    assert found(LIST_LINE, b"1 120\r\n2  99 octets\r\n") == {1: b"120", 2: b"99"}


@pytest.mark.parametrize("at", range(13))
def test_a_line_may_come_in_pieces(at: int) -> None:
    wire = b"1 a\r\n2 bcd\r\n"
    assert found(UIDL_LINE, wire[:at], wire[at:]) == {1: b"a", 2: b"bcd"}


@pytest.mark.parametrize(
    "garbage",
    [
        b"+OK 2 messages\r\n",
        b"\r\n",
        b"x 1 a\r\n",
        b"-1 a\r\n",
        b"1a\r\n",
        b"12345678901 a\r\n",
        b"7 a\nb\r\n",
        b"7 a\rb\r\n",
        b"7 a\n8 b\r\n",
    ],
)
@pytest.mark.parametrize("line", [UIDL_LINE, LIST_LINE])
def test_a_line_that_is_none_of_a_listing_fails_it(line: re.Pattern[bytes], garbage: bytes) -> None:
    with pytest.raises(ListingFailed, match="a line that does not belong"):
        found(line, b"1 1\r\n" + garbage + b"2 2\r\n")


@pytest.mark.parametrize(
    "garbage", [b"3\r\n", b"3 \r\n", b"3 big\r\n", b"3 -1\r\n", b"3 1e3\r\n", b"3 " + b"9" * 19 + b"\r\n"]
)
def test_a_list_line_needs_a_size(garbage: bytes) -> None:
    with pytest.raises(ListingFailed):
        found(LIST_LINE, garbage)


@pytest.mark.parametrize("chunks", [[b"1 a\r\n1 b\r\n"], [b"1 a\r\n2 b\r\n", b"1 a\r\n"], [b"1 a\r\n01 b\r\n"]])
def test_a_number_twice_fails_the_listing(chunks: list[bytes]) -> None:
    with pytest.raises(ListingFailed, match="a message twice"):
        found(UIDL_LINE, *chunks)


def test_too_many_lines_fail_the_listing() -> None:
    with pytest.raises(ListingFailed, match="more than 2 lines"):
        found(UIDL_LINE, b"1 a\r\n2 b\r\n", b"3 c\r\n", limits=SessionLimits(listing_lines=2))


def test_too_many_octets_fail_the_listing() -> None:
    with pytest.raises(ListingFailed, match="longer than 10 octets"):
        found(UIDL_LINE, b"1 a\r\n", b"2 bcd\r\n", limits=SessionLimits(listing_bytes=10))


def test_an_endless_line_fails_the_listing() -> None:
    with pytest.raises(ListingFailed, match="endless line"):
        found(UIDL_LINE, b"1 " + b"x" * 5000)


@pytest.mark.timeout(30)  # quadratic, this would take hours
@pytest.mark.parametrize("name", ["UIDL", "LIST"])
@pytest.mark.parametrize("filler", [b" ", b"1", b"1 "])
def test_a_hostile_line_costs_no_more_than_its_length(name: str, filler: bytes) -> None:
    with pytest.raises(ListingFailed, match="does not belong"):
        found({"UIDL": UIDL_LINE, "LIST": LIST_LINE}[name], b"1 " + filler * 5_000_000 + b"\rx\r\n")


@pytest.mark.parametrize("text", [b"", b"none", b"-1 0", b"1x 2", b"12345678901 0"])
def test_a_stat_without_a_count_fails_the_listing(text: bytes) -> None:
    with pytest.raises(ListingFailed, match="STAT"):
        read_stat(text)


def test_stat_may_say_no_more_than_the_count() -> None:
    assert (read_stat(b"3"), read_stat(b"3 900 in mailbox"), read_stat(b"3 many")) == ((3, None), (3, 900), (3, None))


def test_a_listing_is_complete_where_all_three_agree() -> None:
    listing = assemble(2, None, {2: b"b", 1: b"a"}, {1: b"10", 2: b"20"}, uidl_bytes=255)
    assert listing.messages == (MessageRef(1, 10, b"a"), MessageRef(2, 20, b"b"))
    assert listing.complete


def test_a_count_that_differs_from_stat_is_incomplete() -> None:
    assert not assemble(3, None, {1: b"a"}, {1: b"10"}, uidl_bytes=255).complete


def test_what_only_one_of_uidl_and_list_knows_is_listed_and_incomplete() -> None:
    listing = assemble(2, None, {1: b"a", 2: b"b"}, {2: b"20", 3: b"30"}, uidl_bytes=255)
    assert listing.messages == (MessageRef(1, 0, b"a"), MessageRef(2, 20, b"b"), MessageRef(3, 30, None))
    assert not listing.complete


def test_without_uidl_list_and_stat_agreeing_is_complete() -> None:
    listing = assemble(1, None, None, {1: b"10"}, uidl_bytes=255)
    assert listing.messages == (MessageRef(1, 10, None),)
    assert listing.complete


def test_a_uidl_that_is_empty_or_too_long_is_none() -> None:
    listing = assemble(3, None, {1: b"", 2: b"x" * 255, 3: b"x" * 256}, {1: b"1", 2: b"1", 3: b"1"}, uidl_bytes=255)
    assert [ref.uidl for ref in listing.messages] == [None, b"x" * 255, None]
    assert listing.complete
