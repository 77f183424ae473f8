"""Header fields: split, decoded, and read into the envelope."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from ingest.mime.dates import parse_date
from ingest.mime.envelope import newest_received, read_envelope
from ingest.mime.limits import MimeLimits
from ingest.mime.parameters import parse_parameters
from ingest.mime.reader import read_message
from ingest.mime.words import decode_words
from ingest.models import Envelope

LIMITS = MimeLimits()


def envelope(head: str | bytes, limits: MimeLimits = LIMITS) -> Envelope:
    return read_envelope(head.encode() if isinstance(head, str) else head, limits)


def defects(head: str | bytes, limits: MimeLimits = LIMITS) -> list[str]:
    raw = head.encode() if isinstance(head, str) else head
    return [defect.code for defect in read_message(raw, limits).defects]


@pytest.mark.parametrize(
    ("encoded", "decoded"),
    [
        ("plain", "plain"),
        ("=?utf-8?Q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?utf-8?b?R3LDvMOfZQ==?=", "Grüße"),
        ("=?iso-8859-1*de?q?Gr=FC=DFe?=", "Grüße"),
        ("=?utf-8?q?a?= =?utf-8?q?b?= c =?utf-8?q?d?=", "ab c d"),
        ("=?utf-8?q?a?=   \t=?iso-8859-1?q?=FC?=", "aü"),
        ("=?utf-8?q?=E2=82?= =?utf-8?q?=AC?=", "€"),
        ("=?utf-8?q?with spaces in it?=", "with spaces in it"),
        ("=?utf-8?q?what?_really?_?=", "what? really? "),
        ("=?utf-8?b?YWI?=", "ab"),
        ("re:=?utf-8?q?x?=y", "re:xy"),
        ('"=?utf-8?q?x?="', '"x"'),
        ("=?utf-8?q??=", ""),
        ("=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        ("=?utf-8?q?unclosed", "=?utf-8?q?unclosed"),
        ("=?nope?q?=C3=BC?=", "ü"),
        ("=?nope?q?=FC?=", "ü"),
        ("=??q?=C3=BC?=", "ü"),
        ("=?utf-8?b?4oI=?= =?utf-8?b?rA==?=", "€"),
        ("=?UTF-8?q?=e2?=\t=?utf-8?B?gqw=?=", "€"),
        ("=?iso-2022-jp?b?GyRCJCIbKEI=?= =?iso-2022-jp?b?GyRCJCQbKEI=?=", "あい"),
        ("=?utf-8?B?IGFi YyA=?=", " abc "),
        ("=?us-ascii?q?=E4?=", "ä"),
        ("=?utf-8?q?=zz=4?=", "=zz=4"),
        ("(=?utf-8?q?a?=)", "(a)"),
        ("=?a\0?q?b?=", "b"),
        ("=?utf-8?q?a=0D=0ABcc:_b?=", "a Bcc: b"),
    ],
)
def test_encoded_words_are_decoded(encoded: str, decoded: str) -> None:
    assert decode_words(encoded) == decoded


@pytest.mark.parametrize(
    ("raw", "value", "parameters"),
    [
        ("text/plain", "text/plain", {}),
        ('Text/Plain; Charset="utf-8"', "text/plain", {"charset": "utf-8"}),
        ("text/plain;charset=us-ascii (Plain text)", "text/plain", {"charset": "us-ascii"}),
        ("a/b; name=my file.pdf; x=1", "a/b", {"name": "my file.pdf", "x": "1"}),
        (r'a/b; name="a \"quoted\" \\ name"', "a/b", {"name": r'a "quoted" \ name'}),
        (r'a/b; name="C:\temp\x"', "a/b", {"name": r"C:\temp\x"}),
        ('a/b; name="open', "a/b", {"name": "open"}),
        ("a/b; ; x; y=1;;", "a/b", {"y": "1"}),
        ("a/b; x=1; x=2", "a/b", {"x": "1"}),
        ('a/b; name="a;b=c"', "a/b", {"name": "a;b=c"}),
        ("filename=a.txt", "", {"filename": "a.txt"}),
        ("a; filename*=utf-8''%e2%82%ac%20x", "a", {"filename": "€ x"}),
        ("a; filename*=utf-8'en'%e2%82%ac; filename=b", "a", {"filename": "€"}),
        ("a; filename=b; filename*=utf-8'en'%e2%82%ac", "a", {"filename": "€"}),
        ("a; f*0=one; f*1=two; f*2=three", "a", {"f": "onetwothree"}),
        ("a; f*1=two; f*0=one", "a", {"f": "onetwo"}),
        ("a; f*0=one; f*2=three", "a", {"f": "one"}),
        ("a; f*1=one; f*2=two", "a", {"f": "onetwo"}),
        ("a; f*2=two; f*1*=utf-8''%e2%82%ac", "a", {"f": "€two"}),
        ("a; f*1=one; f*3=three", "a", {"f": "one"}),
        ("a; f*2=two", "a", {}),
        ("a; f=b; f*0=one; f*1=two", "a", {"f": "onetwo"}),
        ('a; f=""; f*1=one', "a", {"f": "one"}),
        ("a; f=b; f*0=one; f*2=three", "a", {"f": "b"}),
        ("a; f*1=one; f*2=two; f=b", "a", {"f": "b"}),
        ("a; f*0=one; f*=utf-8''%e2%82%ac; f*1=two; f*3=four", "a", {"f": "€"}),
        ("a; f *=utf-8''%e2%82%ac; g* =utf-8''%e2%82%ac", "a", {"f": "€", "g": "€"}),
        ("a; f *0*=utf-8''%e2; f\t *1* = %82%ac; x y=z", "a", {"f": "€"}),
        ("a; f*0*=iso-8859-1''%fc; f*1=%41; f*2*=%fc", "a", {"f": "ü%41ü"}),
        ("a; f*0*=utf-8''%e2; f*1*=%82%ac", "a", {"f": "€"}),
        ("a; f*=%e2%82%ac", "a", {"f": "€"}),
        ("a; f*=nope''%fc", "a", {"f": "ü"}),
        ("a; f*99999=x", "a", {"f*99999": "x"}),
        ("a; f*1*=b; f*0*=utf-8''a", "a", {"f": "ab"}),
        ("a; f*=utf-8''100%; x=1", "a", {"f": "100%", "x": "1"}),
        ("a; f*=\"utf-8''a%20b\"", "a", {"f": "a b"}),
        ("a; f*=utf-8'x", "a", {"f": "utf-8'x"}),
        ('a; f*0="a; b"; f*1=".pdf"', "a", {"f": "a; b.pdf"}),
        ("a; f*0*=''%41; f*1*=%42", "a", {"f": "AB"}),
        ("a; (c) f=x.txt", "a", {"f": "x.txt"}),
    ],
)
def test_parameters_are_split_and_joined(raw: str, value: str, parameters: dict[str, str]) -> None:
    read = parse_parameters(raw, 1000)
    assert (read.value, dict(read.parameters), read.cut) == (value, parameters, False)


def test_parameters_beyond_the_limit_are_dropped() -> None:
    head = "Content-Type: text/plain" + "".join(f"; p{n}=1" for n in range(8000)) + "\n\n"
    assert defects(head) == ["too_many_parameters"]


def test_the_envelope_carries_the_fields_an_event_needs() -> None:
    read = envelope(
        "Received: from b by a; Tue, 4 Mar 2025 10:00:02 +0100\r\n"
        "Received: from c by b; Tue, 4 Mar 2025 10:00:01 +0100\r\n"
        "Message-ID: <1@x>\r\nIn-Reply-To: <0@x>\r\nReferences: <a@x>\r\n\t<0@x>\r\n"
        "Date: Tue, 4 Mar 2025 10:00:00 +0100\r\nFrom: A <a@x>\r\nSender: s@x\r\nReply-To: r@x\r\nTo: t@x, u@x\r\n"
        "Cc: c@x\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n aus Wien\r\n\r\n"
    )
    cet = timezone(timedelta(hours=1))
    assert (read.message_id, read.in_reply_to, read.references) == ("<1@x>", "<0@x>", ("<a@x>", "<0@x>"))
    assert read.date == datetime(2025, 3, 4, 10, 0, tzinfo=cet)
    assert [(a.name, a.address) for a in read.from_ + read.sender + read.reply_to + read.to + read.cc] == [
        ("A", "a@x"), ("", "s@x"), ("", "r@x"), ("", "t@x"), ("", "u@x"), ("", "c@x"),
    ]  # fmt: skip
    assert read.subject == "Grüße aus Wien"
    assert read.headers[4] == ("References", "<a@x>\t<0@x>")
    assert read.headers[-1] == ("Subject", "Grüße aus Wien")
    assert len(read.headers) == 12


def test_the_newest_received_date_is_the_topmost_one() -> None:
    head = (
        b"Received: from b by a; Tue, 4 Mar 2025 10:00:02 +0000\r\n"
        b"Received: from c by b; Tue, 4 Mar 2025 10:00:01 +0000\r\n\r\n"
        b"Received: by d; Tue, 4 Mar 2025 10:00:03 +0000\r\n"
    )
    assert newest_received(head, LIMITS) == datetime(2025, 3, 4, 10, 0, 2, tzinfo=UTC)
    commented = b"Received: by a; Tue, 4 Mar 2025 10:00:02 +0000 (from; x)\r\n"
    assert newest_received(commented, LIMITS) == datetime(2025, 3, 4, 10, 0, 2, tzinfo=UTC)
    assert newest_received(b"Received: by a; soon\r\n", LIMITS) is None
    assert newest_received(b"Subject: x\r\n", LIMITS) is None


def test_an_absent_field_is_none_or_empty() -> None:
    assert envelope("") == Envelope()
    assert envelope("Subject:\n").subject == ""


def test_what_follows_the_header_is_not_looked_at() -> None:
    assert envelope("A: b\r\n\r\nC: d\r\n").headers == (("A", "b"),)
    assert envelope("\r\nC: d\r\n").headers == ()


def test_fields_may_be_folded_with_either_line_end() -> None:
    for line_end in ("\r\n", "\n"):
        assert envelope(f"Subject: a{line_end} b{line_end}\tc{line_end}X: y").headers == (
            ("Subject", "a b\tc"),
            ("X", "y"),
        )


def test_white_space_before_the_colon_is_tolerated() -> None:
    assert envelope("Subject : x\n").subject == "x"


def test_the_first_of_two_subjects_is_used_and_both_are_kept() -> None:
    head = "Subject: one\nSubject: two\n\n"
    assert envelope(head).subject == "one"
    assert envelope(head).headers == (("Subject", "one"), ("Subject", "two"))
    assert defects(head) == ["header_duplicate"]


def test_raw_utf_8_is_read_as_such_and_other_octets_as_latin_1() -> None:
    assert envelope("Subject: Grüße\n").subject == "Grüße"
    assert defects("Subject: Grüße\n\n") == []
    mixed = "Subject: Grüße\n".encode() + "X: Grüße\n\n".encode("latin-1")
    assert envelope(mixed).headers == (("Subject", "Grüße"), ("X", "Grüße"))
    assert defects(mixed) == ["header_8bit"]


def test_a_line_that_begins_with_a_control_character_folds_nothing() -> None:
    message = read_message(b"Subject: a\r\n\x01b\r\nTo: c@d.example\r\n\r\n", LIMITS)
    assert message.envelope.headers == (("Subject", "a"), ("To", "c@d.example"))


def test_control_characters_in_a_header_are_replaced() -> None:
    assert envelope(b"Subject: a\0b\rc\x1bd\r\n").subject == "a\N{REPLACEMENT CHARACTER}b c d"
    assert defects(b"Subject: a\0b\r\n\r\n") == ["header_control"]


def test_a_line_among_fields_that_is_none_is_passed_over() -> None:
    head = "Subject: a\nbroken line\nX: b\n\nbody"
    assert envelope(head).headers == (("Subject", "a"), ("X", "b"))
    assert defects(head) == ["header_malformed"]


def test_lines_after_the_last_field_belong_to_the_body() -> None:
    message = read_message(b"Subject: a\r\nHello,\r\n\r\nbye", LIMITS)
    assert message.text is not None
    assert message.text.content == "Hello,\r\n\r\nbye"
    assert message.header_end == 12
    assert [defect.code for defect in message.defects] == ["header_malformed"]


def test_a_mailbox_separator_on_top_is_passed_over() -> None:
    head = "From a@x Mon Jan  1 00:00:00 2024\nSubject: a\n\n"
    assert envelope(head).headers == (("Subject", "a"),)
    assert defects(head) == []


def test_headers_beyond_a_limit_are_cut() -> None:
    many = "".join(f"X-{n}: v\n" for n in range(9)) + "\n"
    assert len(envelope(many, MimeLimits(headers=5)).headers) == 5
    assert defects(many, MimeLimits(headers=5)) == ["too_many_headers"]
    long = "X: " + "é" * 50 + "\n\n"
    assert envelope(long, MimeLimits(header_bytes=9)).headers == (("X", "éééé"),)
    assert defects(long, MimeLimits(header_bytes=9)) == ["header_too_long"]
    assert envelope(b"X: " + b"\xe9" * 9 + b"\n\n", MimeLimits(header_bytes=13)).headers == (("X", "éééééé"),)
    assert envelope(b"X: a" + b"\0" * 9 + b"\n\n", MimeLimits(header_bytes=13)).headers == (("X", "a" + "\ufffd" * 4),)
    block = MimeLimits(header_block_bytes=20)
    assert envelope(many, block).headers == (("X-0", "v"), ("X-1", "v"))
    assert defects(many, block) == ["header_block_too_long"]


def test_message_ids_come_with_or_without_brackets() -> None:
    assert envelope("Message-ID: abc@x\n").message_id == "abc@x"
    assert envelope("Message-ID:  <abc@x> (note)\n").message_id == "<abc@x>"
    assert envelope("In-Reply-To: Your message of Monday <1@x>\n").in_reply_to == "<1@x>"
    assert envelope("References: a@x b@x\n").references == ("a@x", "b@x")
    assert envelope("Message-ID:\n").message_id is None


def test_references_beyond_the_limit_are_dropped() -> None:
    head = "References: " + "<a@x> " * 9 + "\n\n"
    assert len(envelope(head, MimeLimits(references=5)).references) == 5
    assert defects(head, MimeLimits(references=5)) == ["too_many_references"]


@pytest.mark.parametrize(
    ("raw", "date"),
    [
        ("Tue, 4 Mar 2025 10:00:00 +0100", "2025-03-04T10:00:00+01:00"),
        ("4 Mar 2025 10:00 -0330 (NDT)", "2025-03-04T10:00:00-03:30"),
        ("Tue, 04 Mar 2025 10:00:00 -0000", "2025-03-04T10:00:00+00:00"),
        ("Tue, 04 Mar 2025 10:00:00 GMT", "2025-03-04T10:00:00+00:00"),
        ("Tue, 04 Mar 2025 10:00:00 EST", "2025-03-04T10:00:00-05:00"),
        ("Tue, 04 Mar 2025 10:00:00", "2025-03-04T10:00:00+00:00"),
        ("Tue, 04 Mar 25 10:00:00 +0000", "2025-03-04T10:00:00+00:00"),
        ("Sat, 31 Dec 2016 23:59:60 +0000", "2016-12-31T23:59:59+00:00"),
        ("Sat, 31 Dec 2016 23:59:60 EST", "2016-12-31T23:59:59-05:00"),
        ("Tue 4 Mar 2025 10:00:00 +0100", "2025-03-04T10:00:00+01:00"),
        ("Tue,4 Mar 2025 1:00:00+0100", "2025-03-04T01:00:00+01:00"),
        ("Tue, 4 Mar 2025 10:00:00 +01:00", "2025-03-04T10:00:00+01:00"),
        ("Tue, 4 Mar 2025 10:00:00 GMT+0100", "2025-03-04T10:00:00+01:00"),
        ("Tue, 4 Mar 2025 10:00:00 UTC-03:30", "2025-03-04T10:00:00-03:30"),
        ("Tue, 4 Mar 2025 10:00:00 (CET) +0100", "2025-03-04T10:00:00+01:00"),
        ("Tue, (a) 4 Mar (b) 2025 10:00:00 +0100", "2025-03-04T10:00:00+01:00"),
        ("Tue, 4 Mar 2025 10:00:00.123 +0100", "2025-03-04T10:00:00+01:00"),
        ("Tue, 4 Mar 2025 10.00.00 +0100", "2025-03-04T10:00:00+01:00"),
        ("Tue, 4 Mar 2025 10:00:00 PM +0100", "2025-03-04T22:00:00+01:00"),
        ("Tue, 4 Mar 2025 12:30 am", "2025-03-04T00:30:00+00:00"),
        ("Tue, 4 Mar 2025 22:00:00 PM", "2025-03-04T22:00:00+00:00"),
        ("Tue, 31 Dec 2024 24:00:00 +0000", "2025-01-01T00:00:00+00:00"),
        ("Tuesday, 04-Mar-25 10:00:00 GMT", "2025-03-04T10:00:00+00:00"),
        ("Tue Mar  4 10:00:00 2025", "2025-03-04T10:00:00+00:00"),
        ("Tue Mar 4 10:00:00 EST 2025", "2025-03-04T10:00:00-05:00"),
        ("Tue, 4 Mar 2025 10:00:00 K", "2025-03-04T10:00:00+00:00"),
        ("2025-03-04T10:00:00Z", "2025-03-04T10:00:00+00:00"),
        ("2025-03-04T10:00:00.5+01:00", "2025-03-04T10:00:00+01:00"),
        ("2025-03-04 10:00:00 +0100", "2025-03-04T10:00:00+01:00"),
        ("2025-03-04 10:00", "2025-03-04T10:00:00+00:00"),
    ],
)
def test_dates_are_points_in_time(raw: str, date: str) -> None:
    read = parse_date(raw)
    assert read is not None
    assert read.isoformat() == date
    assert read.astimezone(UTC)


@pytest.mark.parametrize(
    "raw",
    [
        "", "yesterday",
        "Tue, 31 Feb 2025 10:00:00 +0100", "Tue, 4 Mar 2025 25:00:00 +0100", "4 Foo 2025 10:00:00 +0100",
        "Tue, 4 Mar 2025 10:00:00 +9999", "Tue, 4 Mar 0000 10:00:00 +0000", "Tue, 4 Mar 0001 10:00:00 +0100",
        "2025-02-31T10:00:00Z", "2025-03-04T10:00:00+99:99", "Tue, 4 Mar 2025 24:30:00 +0100", "Tue, 4 Mar 2025",
        "Fri, 31 Dec 9999 24:00:00 +0000",
        "Fri, 31 Dec 9999 23:59:59 -0100", "9" * 5000, "\0", ", , ,", "4 Mar 2025 10:00:00 +" + "9" * 100,
    ],
)  # fmt: skip
def test_nonsense_is_no_date(raw: str) -> None:
    assert parse_date(raw) is None


def test_a_date_that_is_none_is_a_defect() -> None:
    assert defects("Date: yesterday\nReceived: from a; soon\n\n") == ["date_malformed"]


def test_raw_octets_are_in_one_charset_and_values_in_utf8_are_not() -> None:
    head = b"Content-Type: text/plain; charset=koi8-r\r\nX: " + "Привет".encode("koi8-r")
    read = envelope(head + "\r\nY: Grüße\r\nZ: a\r\n\r\n".encode())
    assert [value for _, value in read.headers[1:]] == ["Привет", "Grüße", "a"]


def test_a_nul_beside_raw_octets_is_replaced_like_any_other() -> None:
    read = envelope(b"X: a\0\xe9b\r\nY: \0\r\nZ: \x1a-\r\n\r\n")
    assert [value for _, value in read.headers] == ["a\ufffdéb", "\ufffd", "-"]
