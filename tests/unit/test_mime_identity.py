"""The identity digest: the same message after its store has touched it."""

from __future__ import annotations

import hashlib

import pytest

from ingest.mime.identity import identity_digest
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message

HEAD = b"Subject: x\r\nFrom: a@x\r\n"
BODY = b"\r\nStatus: in the body\r\n"


def identity(raw: bytes) -> bytes:
    return identity_digest(raw, read_message(raw, MimeLimits()).header_end, hashlib.sha256(raw).digest())


@pytest.mark.parametrize(
    "field",
    [
        b"Status: RO\r\n",
        b"X-Status: A\r\n",
        b"X-UID: 12\r\n",
        b"X-UIDL: abc\r\n",
        b"X-Keywords: a\r\n b\r\n\tc\r\n",
        b"X-IMAP: 1\r\n",
        b"X-IMAPbase: 1 2\r\n",
        b"Content-Length: 12\r\n",
        b"sTaTuS : RO\r\n",
        b"X-UID: 1\r\nX-UID: 2\r\nStatus: O\r\n",
    ],
)
def test_fields_that_stores_rewrite_do_not_count(field: bytes) -> None:
    plain = identity(HEAD + BODY)
    for raw in (field + HEAD + BODY, b"Subject: x\r\n" + field + b"From: a@x\r\n" + BODY, HEAD + field + BODY):
        assert identity(raw) == plain


def test_all_other_octets_count() -> None:
    seen = {
        identity(raw)
        for raw in (
            HEAD + BODY,
            HEAD + BODY + b" ",
            HEAD.replace(b"x\r", b"y\r") + BODY,
            HEAD + b"X-Status-Report: y\r\n" + BODY,
            HEAD + b"X-UIDLX: y\r\n" + BODY,
            HEAD + BODY.replace(b"Status", b"X-UID"),
            HEAD.replace(b"\r\n", b"\n") + BODY,
            HEAD + b" Status: folded\r\n" + BODY,
        )
    }
    assert len(seen) == 8


def test_without_such_a_field_the_digest_of_all_octets_comes_back() -> None:
    given = bytes(32)
    assert identity_digest(HEAD + BODY, len(HEAD) + 2, given) is given


def test_a_header_that_breaks_off_in_such_a_field_is_read_to_its_end() -> None:
    assert identity(HEAD + b"Status: RO") == hashlib.sha256(HEAD).digest()


def test_an_offset_beyond_the_message_is_clipped() -> None:
    assert identity_digest(b"Status: x\r\n", 999, b"") == hashlib.sha256(b"").digest()


@pytest.mark.parametrize("before", [1 << 20, (1 << 20) - 1, (1 << 20) - 7, (1 << 20) + 1, 2 << 20])
def test_fields_that_stores_rewrite_are_found_wherever_they_stand_in_a_long_header(before: int) -> None:
    long = b"X: " + b"y" * (before - 5) + b"\r\n"
    assert identity(long + b"Status: RO\r\nX-UID: 1\r\n\r\nbody") == identity(long + b"\r\nbody")
    assert identity(long + b"X-Statues: RO\r\n\r\nbody") != identity(long + b"\r\nbody")


@pytest.mark.parametrize("before", [1 << 20, (1 << 20) - 1, (1 << 20) - 2, (1 << 20) - 3])
def test_the_empty_line_behind_a_long_header_is_found_wherever_it_stands(before: int) -> None:
    raw = b"X: " + b"y" * (before - 3) + b"\r\n\r\nbody"
    assert read_message(raw, MimeLimits()).header_end == len(raw) - 4
