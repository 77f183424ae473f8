"""Messages made to hurt: they are read, what comes out is bounded, and cost grows with size and not with its square."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType

import pytest
from hostile import CONSTRUCTS

from ingest.mime.decoders import decoded
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message

LIMITS = MimeLimits()


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


@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_thousands_of_a_construct_are_read_and_bounded(construct: str) -> None:
    read_all(CONSTRUCTS[construct](16_000))


@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_twice_of_a_construct_takes_at_most_about_twice_the_steps(construct: str) -> None:
    once, twice = CONSTRUCTS[construct](400), CONSTRUCTS[construct](800)
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
    raws = [CONSTRUCTS[name](5000) for name in ("nested multiparts", "nested messages", "nested comments", "groups")]
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
