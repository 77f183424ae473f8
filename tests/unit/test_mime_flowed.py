"""Flowed text (RFC 3676)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.mime.flowed import unflowed
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("one \r\ntwo\r\n", "one two\r\n"),
        ("one\r\ntwo\r\n", "one\r\ntwo\r\n"),
        ("one \r\n\r\ntwo", "one \r\n\r\ntwo"),
        ("> one \r\n>\r\n> two", "> one \r\n>\r\n> two"),
        ("one \r\n \r\ntwo", "one \r\n\r\ntwo"),
        ("one \r\n  \r\ntwo", "one  two"),
        ("a \r\nb \r\nc\r\nd\r\n", "a b c\r\nd\r\n"),
        (" From here\r\n  indented\r\n", "From here\r\n indented\r\n"),
        (" > no quote\r\n", "> no quote\r\n"),
    ],
    ids=[
        "soft",
        "hard",
        "an empty line stays",
        "a quoted one",
        "a stuffed one",
        "a space is none",
        "several",
        "stuffed",
        "a stuffed mark",
    ],
)
def test_lines_that_were_broken_are_joined_and_stuffing_goes(sent: str, meant: str) -> None:
    assert unflowed(sent, delsp=False) == meant


def test_quotes_are_joined_within_their_depth_only() -> None:
    sent = "> one \r\n> two \r\n>> deeper \r\n>> still\r\nanswer\r\n"
    assert unflowed(sent, delsp=False) == "> one two \r\n>> deeper still\r\nanswer\r\n"


def test_a_signature_s_separator_is_no_broken_line() -> None:
    assert unflowed("text \r\n-- \r\nJane\r\n", delsp=False) == "text \r\n-- \r\nJane\r\n"


def test_with_delsp_the_space_before_the_break_goes_too() -> None:
    assert unflowed("日本 \r\n語\r\n", delsp=True) == "日本語\r\n"


@given(st.text("a >\r\n-日"), st.booleans())
def test_nothing_is_added_and_no_word_is_lost(text: str, delsp: bool) -> None:
    joined = unflowed(text, delsp=delsp)
    assert len(joined) <= len(text)
    assert [c for c in joined if c in "a日"] == [c for c in text if c in "a日"]


def body(parameters: str) -> str:
    message = f"Content-Type: text/plain; {parameters}\r\n\r\none \r\ntwo\r\n".encode()
    text = read_message(message, MimeLimits()).text
    assert text is not None
    return text.content


def test_a_message_s_text_flows_where_its_header_says_so() -> None:
    assert body("format=flowed") == "one two\r\n"
    assert body("Format=Flowed; DelSp=Yes") == "onetwo\r\n"
    assert body("charset=utf-8") == body("format=fixed; delsp=yes") == "one \r\ntwo\r\n"
