"""Messages made to hurt: they are read, what comes out is bounded, and cost grows with size and not with its square."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType

import pytest

from ingest.mime.decoders import decoded
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message

LIMITS = MimeLimits()
MIXED = b"Content-Type: multipart/mixed; boundary=q\r\n\r\n"

HOSTILE: dict[str, Callable[[int], bytes]] = {
    "nested multiparts": lambda n: b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level) for level in range(n)
    ),
    "nested messages": lambda n: b"Content-Type: message/rfc822\r\n\r\n" * n,
    "multiparts never closed": lambda n: (
        MIXED + b"".join(b"--q\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % part for part in range(n))
    ),
    "one boundary for all": lambda n: (MIXED + b"--q\r\n") * n,
    "parts without an empty line": lambda n: MIXED + b"--q\r\nX: y\r\n" * n,
    "empty parts": lambda n: MIXED + b"--q\n\n" * n,
    "lines that begin with dashes": lambda n: MIXED + b"--q\r\n\r\n" + b"--\n" * n + b"--q--",
    "header fields": lambda n: b"X: y\r\n" * n + b"\r\n",
    "lines that are no fields": lambda n: b"x\r\nX: y\r\n" * n + b"\r\n",
    "folded lines": lambda n: b"X: y\r\n" + b" z\r\n" * n + b"\r\n",
    "addresses": lambda n: b"To: " + b"a@x.org, " * n + b"\r\n\r\n",
    "words that are no addresses": lambda n: b"To: " + b"a b, " * n + b"\r\n\r\n",
    "quotes": lambda n: b"To: " + b'"\\"' * n + b"\r\n\r\n",
    "open comments": lambda n: b"To: " + b"(" * n + b"\r\n\r\n",
    "nested comments": lambda n: b"To: " + b"(" * n + b")" * n + b" a@b\r\n\r\n",
    "open angles": lambda n: b"To: " + b"<[" * n + b"\r\n\r\n",
    "groups": lambda n: b"To: " + b"a:" * n + b"\r\n\r\n",
    "parameters": lambda n: b"Content-Type: a/b" + b"; a=b" * n + b"\r\n\r\n",
    "comments in a type": lambda n: b"Content-Type: " + b"(" * n + b"(c)" * n + b" / ;" + b" (" * n + b"\r\n\r\n",
    "parameter sections": lambda n: (
        b"Content-Type: a/b" + b"".join(b"; n*%d*=%%41" % at for at in range(n)) + b"\r\n\r\n"
    ),
    "encoded words": lambda n: b"Subject: " + b"=?utf-8?q?a?= " * n + b"\r\n\r\n",
    "open encoded words": lambda n: b"Subject: " + b"=?a?q?" * n + b"\r\n\r\n",
    "unknown charsets": lambda n: b"Subject: " + b"".join(b"=?x%d?q?=ff?= " % at for at in range(n)) + b"\r\n\r\n",
    "a long encoded word": lambda n: b"Subject: =?utf-8?b?" + b"YWJj" * n + b"?=\r\n\r\n",
    "message ids": lambda n: b"References: " + b"<a@b> " * n + b"\r\n\r\n",
    "dots in a filename": lambda n: b"Content-Type: a/b; name=" + b". " * n + b"\r\n\r\n",
    "padding": lambda n: b"Content-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"A=" * n,
    "equal signs": lambda n: b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"=" * n,
    "short lines of uuencode": lambda n: b"Content-Transfer-Encoding: uuencode\r\n\r\nbegin 644 x\n" + b"!a\n" * n,
}


def read_all(raw: bytes) -> int:
    message = read_message(raw, LIMITS)
    assert len(message.attachments) <= LIMITS.parts + 1
    assert len(message.defects) <= LIMITS.defects
    assert len(message.envelope.headers) <= LIMITS.headers
    assert len(message.envelope.to) <= LIMITS.addresses
    return sum(len(chunk) for part in message.attachments for chunk in decoded(raw, part))


def steps_of(work: Callable[[], object]) -> int:
    """Lines of Python run, calls into C aside: a measure that no other process disturbs."""
    steps = 0

    def trace(frame: FrameType, event: str, argument: object) -> Callable[..., object]:
        nonlocal steps
        steps += 1
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(previous)
    return steps


@pytest.mark.parametrize("construct", HOSTILE)
def test_thousands_of_a_construct_are_read_and_bounded(construct: str) -> None:
    read_all(HOSTILE[construct](16_000))


@pytest.mark.parametrize("construct", HOSTILE)
def test_twice_of_a_construct_takes_at_most_about_twice_the_steps(construct: str) -> None:
    once, twice = HOSTILE[construct](400), HOSTILE[construct](800)
    read_all(once)  # fill caches
    assert steps_of(lambda: read_all(twice)) < 2.5 * steps_of(lambda: read_all(once))


@pytest.mark.parametrize("line", [b"x\n", b"_\n", b"!AAAA\n", b"~~\n"])
def test_short_lines_that_are_no_whole_ones_end_uuencode_when_there_are_thousands(line: bytes) -> None:
    raw = b"Content-Type: a/b\r\nContent-Transfer-Encoding: uuencode\r\n\r\nbegin 644 x\n" + line * 100_000
    assert read_all(raw) < len(raw)
    assert steps_of(lambda: read_all(raw)) < 100_000


def test_many_long_boundaries_among_lines_of_dashes_cost_less_than_two_steps_an_octet() -> None:
    outer = [b"%03d" % level + b"x" * 250 for level in range(40)]
    raw = b"".join(b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n--%b\r\n" % (each, each) for each in outer)
    for part in range(40):
        inner = b"%03d" % part + b"y" * 250
        raw += b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n" % inner + b"--z\n" * 300
        raw += b"--%b\r\n\r\nx\n--%b--\r\n--%b\r\n" % (inner, inner, outer[-1])
    read_all(raw)  # fill caches
    assert steps_of(lambda: read_all(raw)) < 2 * len(raw)


def test_no_depth_of_nesting_needs_a_deep_stack() -> None:
    raws = [HOSTILE[name](5000) for name in ("nested multiparts", "nested messages", "nested comments", "groups")]
    failures: list[BaseException] = []

    def read() -> None:  # in a thread, whose stack is short
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(120)
        try:
            for raw in raws:
                read_all(raw)
        except BaseException as failure:  # noqa: BLE001 - handed to the test's own thread
            failures.append(failure)
        finally:
            sys.setrecursionlimit(limit)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert failures == []
