"""Sample messages as mail programs write them, read whole. The files lie in tests/corpus, with bare line feeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.mime.decoders import decoded
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message
from ingest.models import ParsedMessage

CORPUS = Path(__file__).parents[1] / "corpus"
LIMITS = MimeLimits()


@pytest.fixture(params=["\n", "\r\n"], ids=["LF", "CRLF"])
def line_end(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def read(name: str, line_end: str) -> tuple[bytes, ParsedMessage]:
    raw = (CORPUS / name).read_bytes().replace(b"\n", line_end.encode())
    return raw, read_message(raw, LIMITS)


def outline(message: ParsedMessage) -> list[tuple[str, str | None, str, str | None]]:
    return [(part.number, part.parent, part.content_type, part.filename) for part in message.attachments]


def test_outlook_with_encoded_words_in_parameters(line_end: str) -> None:
    raw, message = read("outlook-winmail.eml", line_end)
    assert message.defects == ()
    assert message.envelope.from_[0].name == "Jürgen Müller"
    assert message.envelope.subject == "Rechnung für März"
    assert message.text is not None
    assert message.text.content.strip() == "Anbei die Rechnung für März."
    assert message.html is not None
    assert outline(message) == [
        ("2", None, "application/pdf", "Rechnung März.pdf"),
        ("3", None, "application/ms-tnef", "winmail.dat"),
    ]
    assert b"".join(decoded(raw, message.attachments[0])) == b"%PDF-1.4\n"


def test_apple_mail_with_a_document_between_two_pieces_of_html(line_end: str) -> None:
    _, message = read("apple-mail-inline.eml", line_end)
    assert message.defects == ()
    assert message.text is not None
    assert message.text.content.split() == ["Please", "see", "below.", "Thanks"]
    assert message.html is not None
    assert "Please" in message.html.content
    assert outline(message) == [
        ("2.2", None, "application/pdf", "Bestellung März.pdf"),
        ("2.3", None, "text/html", None),
    ]


def test_a_bounce_with_the_message_that_came_back(line_end: str) -> None:
    _, message = read("bounce.eml", line_end)
    assert message.defects == ()
    assert [(a.name, a.address) for a in message.envelope.from_] == [
        ("Mail Delivery System", "MAILER-DAEMON@mail.example.net")
    ]
    assert message.text is not None
    assert outline(message) == [
        ("2", None, "message/delivery-status", None),
        ("3", None, "message/rfc822", None),
        ("3.2", "3", "application/pdf", "invoice.pdf"),
    ]


def test_a_forward_of_a_forward(line_end: str) -> None:
    raw, message = read("forwarded-twice.eml", line_end)
    assert message.defects == ()
    assert outline(message) == [
        ("2", None, "message/rfc822", "Fwd: report.eml"),
        ("2.1", "2", "message/rfc822", None),
        ("2.1.2", "2.1", "text/csv", "report.csv"),
    ]
    outer, inner, table = (b"".join(decoded(raw, part)) for part in message.attachments)
    assert outer.endswith(inner)
    assert table in inner


def test_japanese_in_three_charsets(line_end: str) -> None:
    _, message = read("japanese.eml", line_end)
    assert message.defects == ()
    assert message.envelope.subject == "請求書在中"
    assert [(a.name, a.address) for a in message.envelope.from_ + message.envelope.to] == [
        ("山田", "yamada@example.jp"),
        ("山田", "yamada..taro.@example.jp"),
    ]
    assert message.text is not None
    assert message.text.content.strip() == "請求書"


def test_a_message_that_is_wrong_in_every_way(line_end: str) -> None:
    raw, message = read("everything-wrong.eml", line_end)
    envelope = message.envelope
    assert (envelope.from_, envelope.to, envelope.date) == ((), (), None)
    assert envelope.subject == "broken ä and ä"
    assert message.text is not None
    assert message.text.content == "a=zz b"
    assert outline(message) == [
        ("2", None, "image/png", "_con.png"),
        ("3", None, "message/rfc822", None),
        ("4", None, "multipart/alternative", None),
    ]
    assert b"".join(decoded(raw, message.attachments[0])) == b"abc"
    assert {(defect.code, defect.part) for defect in message.defects} == {
        ("header_malformed", None),
        ("header_duplicate", None),
        ("address_malformed", None),
        ("date_malformed", None),
        ("encoding_forbidden", None),
        ("charset_unknown", "1"),
        ("quoted_printable_damaged", "1"),
        ("encoding_forbidden", "3"),
        ("boundary_not_found", "4"),
        ("boundary_unclosed", None),
    }
