"""Which parts a message has, what they are called, and which become text and html."""

from __future__ import annotations

import pytest

from ingest.mime.decoders import decoded
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message
from ingest.models import ParsedMessage

LIMITS = MimeLimits()


def read(text: str | bytes, limits: MimeLimits = LIMITS) -> ParsedMessage:
    """The message, its line ends made CRLF."""
    raw = text.encode() if isinstance(text, str) else text
    return read_message(raw.replace(b"\n", b"\r\n"), limits)


def codes(message: ParsedMessage) -> list[str]:
    return [defect.code for defect in message.defects]


def multipart(subtype: str, *parts: str, boundary: str = "b") -> str:
    lines = "".join(f"--{boundary}\n{part}\n" for part in parts)
    return f"Content-Type: multipart/{subtype}; boundary={boundary}\n\npreamble\n{lines}--{boundary}--\nepilogue\n"


def text_part(content: str, subtype: str = "plain", more: str = "") -> str:
    return f"Content-Type: text/{subtype}\n{more}\n{content}"


def binary_part(name: str | None = None, kind: str = "application/pdf") -> str:
    disposition = f"Content-Disposition: attachment; filename={name}\n" if name else ""
    return f"Content-Type: {kind}\nContent-Transfer-Encoding: base64\n{disposition}\nYWJj\n"


def test_a_message_without_content_type_is_text() -> None:
    message = read("Subject: hi\n\nhello\n")
    assert message.text is not None
    assert message.text.content == "hello\r\n"
    assert (message.html, message.attachments, message.defects) == (None, (), ())


def test_a_message_of_html_alone_has_html_and_no_text() -> None:
    message = read("Content-Type: text/html\n\n<p>hi")
    assert message.text is None
    assert message.html is not None
    assert message.html.content == "<p>hi"


def test_the_line_end_before_a_delimiter_belongs_to_the_delimiter() -> None:
    message = read(multipart("mixed", text_part("one\n"), binary_part("a.pdf")))
    assert message.text is not None
    assert message.text.content == "one\r\n"


def test_of_alternatives_the_last_of_each_subtype_is_taken_and_the_others_are_attachments() -> None:
    message = read(multipart("alternative", *map(text_part, ("poor", "better")), text_part("<b>", "html")))
    assert message.text is not None
    assert message.html is not None
    assert (message.text.content, message.html.content) == ("better", "<b>")
    assert [part.number for part in message.attachments] == ["1"]


def test_in_mixed_the_first_unnamed_inline_text_is_taken() -> None:
    named = text_part("named", more="Content-Disposition: inline; filename=a.txt\n")
    attached = text_part("attached", more="Content-Disposition: attachment\n")
    message = read(multipart("mixed", named, attached, text_part("body"), text_part("footer")))
    assert message.text is not None
    assert message.text.content == "body"
    assert [part.number for part in message.attachments] == ["1", "2", "4"]


def test_a_footer_within_an_alternative_does_not_replace_the_real_text() -> None:
    rich = multipart("mixed", text_part("<p>", "html"), binary_part("a.pdf"), text_part("footer"), boundary="inner")
    message = read(multipart("alternative", text_part("the text"), rich))
    assert message.text is not None
    assert message.text.content == "the text"


def test_an_alternative_without_content_does_not_replace_the_real_text() -> None:
    message = read(multipart("alternative", text_part("the text"), text_part("")))
    assert message.text is not None
    assert message.text.content == "the text"


def test_html_inside_related_inside_alternative_is_found_and_its_image_is_an_attachment() -> None:
    image = "Content-Type: image/png\nContent-ID: <logo@x>\nContent-Transfer-Encoding: base64\n\nYWJj"
    related = multipart("related", text_part("<img>", "html"), image, boundary="r")
    message = read(multipart("mixed", multipart("alternative", text_part("t"), related, boundary="a")))
    assert message.text is not None
    assert message.html is not None
    assert [(p.number, p.content_id, p.content_type) for p in message.attachments] == [
        ("1.2.2", "<logo@x>", "image/png")
    ]


def test_calendar_text_is_an_attachment() -> None:
    message = read(multipart("alternative", text_part("t"), text_part("BEGIN:VCALENDAR", "calendar")))
    assert [part.content_type for part in message.attachments] == ["text/calendar"]


def test_a_signature_and_a_delivery_status_are_attachments() -> None:
    signed = read(multipart("signed", text_part("t"), binary_part(kind="application/pgp-signature")))
    assert [part.content_type for part in signed.attachments] == ["application/pgp-signature"]
    status = "Content-Type: message/delivery-status\n\nAction: failed\n"
    report = read(multipart("report", text_part("t"), status, text_part("Subject: x\n", "rfc822-headers")))
    assert [part.content_type for part in report.attachments] == ["message/delivery-status", "text/rfc822-headers"]


def test_a_forwarded_message_is_an_attachment_and_so_are_the_attachments_in_it() -> None:
    inner = "Subject: inner\n" + multipart("mixed", text_part("inner body"), binary_part("a.pdf"), boundary="i")
    message = read(multipart("mixed", text_part("outer"), "Content-Type: message/rfc822\n\n" + inner))
    assert message.text is not None
    assert message.text.content == "outer"
    eml, pdf = message.attachments
    assert (eml.number, eml.parent, eml.content_type, eml.filename) == ("2", None, "message/rfc822", None)
    assert (pdf.number, pdf.parent, pdf.filename) == ("2.2", "2", "a.pdf")


def test_the_span_of_a_forwarded_message_is_the_whole_of_it() -> None:
    inner = "Subject: inner\n\ninner body"
    raw = multipart("mixed", "Content-Type: message/rfc822\n\n" + inner).encode().replace(b"\n", b"\r\n")
    message = read_message(raw, LIMITS)
    content = b"".join(decoded(raw, message.attachments[0]))
    assert content == inner.encode().replace(b"\n", b"\r\n")
    assert message.text is None


def test_a_named_text_in_a_forwarded_message_is_an_attachment_of_it() -> None:
    inner = "Content-Type: text/plain; name=a.txt\n\nabc"
    message = read("Content-Type: message/rfc822\n\n" + inner)
    assert [(p.number, p.parent, p.filename) for p in message.attachments] == [("1", None, None), ("1.1", "1", "a.txt")]


def test_an_encoded_forwarded_message_stays_closed() -> None:
    message = read("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeA0KDQo=\n")
    assert [(part.number, part.encoding) for part in message.attachments] == [("1", "base64")]
    assert codes(message) == ["encoding_forbidden"]


def test_parts_of_a_digest_are_messages_unless_they_say_otherwise() -> None:
    message = read(multipart("digest", "\nSubject: one\n\n1", text_part("toc"), "\nSubject: two\n\n2"))
    assert [(p.number, p.content_type) for p in message.attachments] == [
        ("1", "message/rfc822"),
        ("3", "message/rfc822"),
    ]


def test_an_inner_multipart_that_is_not_closed_ends_with_the_outer_delimiter() -> None:
    inner = "Content-Type: multipart/alternative; boundary=i\n\n--i\n" + text_part("t")
    message = read(multipart("mixed", inner, binary_part("a.pdf")))
    assert message.text is not None
    assert message.text.content == "t"
    assert [part.number for part in message.attachments] == ["2"]
    assert [(d.code, d.part) for d in message.defects] == [("boundary_unclosed", "1")]


def test_a_message_that_breaks_off_keeps_what_came() -> None:
    message = read(multipart("mixed", text_part("t"), binary_part("a.pdf")).rpartition("--b--")[0])
    assert [part.filename for part in message.attachments] == ["a.pdf"]
    assert codes(message) == ["boundary_unclosed"]


def test_a_multipart_without_boundary_is_one_opaque_part() -> None:
    message = read("Content-Type: multipart/mixed\n\n--b\n\nhello\n")
    assert [(p.number, p.content_type) for p in message.attachments] == [("1", "multipart/mixed")]
    assert codes(message) == ["boundary_missing"]


def test_a_multipart_whose_boundary_never_comes_is_one_opaque_part() -> None:
    message = read("Content-Type: multipart/mixed; boundary=x\n\nhello\n")
    assert [(p.number, p.end - p.start) for p in message.attachments] == [("1", 7)]
    assert codes(message) == ["boundary_not_found"]


def test_a_boundary_of_257_octets_is_too_long_and_one_of_256_is_not() -> None:
    assert codes(read(multipart("mixed", text_part("t"), boundary="x" * 256))) == []
    assert codes(read(multipart("mixed", text_part("t"), boundary="x" * 257))) == ["boundary_too_long"]


def test_of_two_containers_with_one_boundary_the_outer_has_it() -> None:
    inner = "Content-Type: multipart/mixed; boundary=b\n\n"
    message = read(multipart("mixed", inner, text_part("t")))
    assert [(p.number, p.content_type) for p in message.attachments] == [("1", "multipart/mixed")]
    assert message.text is not None


def test_a_boundary_that_begins_like_another_is_not_that_one() -> None:
    inner = multipart("alternative", text_part("t"), text_part("<h>", "html"), boundary="bb")
    message = read(multipart("mixed", inner, binary_part("a.pdf"), boundary="b"))
    assert message.text is not None
    assert message.html is not None
    assert [part.number for part in message.attachments] == ["2"]


def test_white_space_behind_a_delimiter_is_tolerated() -> None:
    raw = multipart("mixed", text_part("t"), binary_part("a.pdf")).replace("--b\n", "--b \t\n")
    assert [part.number for part in read(raw).attachments] == ["2"]


def test_bare_line_feeds_and_mixed_line_ends_read_alike() -> None:
    crlf = multipart("mixed", text_part("t"), binary_part("a.pdf")).encode().replace(b"\n", b"\r\n")
    bare = crlf.replace(b"\r\n", b"\n")
    mixed = crlf.replace(b"--b\r\n", b"--b\n").replace(b"pdf\r\n\r\n", b"pdf\r\n\n")
    for raw in (crlf, bare, mixed):
        message = read_message(raw, LIMITS)
        assert message.text is not None
        assert message.text.content == "t"
        assert [b"".join(decoded(raw, part)) for part in message.attachments] == [b"abc"]


def test_delimiters_right_after_each_other_make_empty_parts() -> None:
    message = read("Content-Type: multipart/mixed; boundary=b\n\n--b\n--b\nContent-Type: image/png\n--b--\n")
    assert message.text is not None
    assert message.text.content == ""
    assert [(p.number, p.start == p.end) for p in message.attachments] == [("2", True)]


def test_a_type_that_cannot_be_read_is_text() -> None:
    message = read("Content-Type: text\n\nhello")
    assert message.text is not None
    assert codes(message) == ["content_type_malformed"]


@pytest.mark.parametrize(
    "field",
    ["(c) multipart/mixed; boundary=b", "multipart (c) / mixed (c); (c) boundary=b", "multipart/mixed (c); boundary=b"],
)
def test_a_comment_hides_no_attachment(field: str) -> None:
    part = "Content-Type: a/b; name=report (1).pdf\nContent-Transfer-Encoding: (c) base64\n\nYWJj\n"
    message = read(f"Content-Type: {field}\n\n--b\n{part}--b--\n")
    assert [(each.filename, each.encoding) for each in message.attachments] == [("report (1).pdf", "base64")]
    assert codes(message) == []


def test_the_first_of_two_content_types_counts() -> None:
    message = read("Content-Type: text/html\nContent-Type: text/plain\n\nhello")
    assert message.html is not None
    assert codes(message) == ["header_duplicate"]


def test_a_container_beyond_the_depth_is_one_opaque_attachment() -> None:
    raw = text_part("deepest")
    for level in range(4):
        raw = multipart("mixed", raw, boundary=f"b{level}")
    assert codes(read(raw, MimeLimits(depth=4))) == []
    message = read(raw, MimeLimits(depth=3))
    assert [(p.number, p.content_type) for p in message.attachments] == [("1.1.1", "multipart/mixed")]
    assert codes(message) == ["depth_exceeded"]


def test_forwards_beyond_the_limit_are_one_opaque_attachment() -> None:
    raw = "Subject: x\n" + "Content-Type: message/rfc822\n\n" * 4 + "\nend"
    message = read(raw, MimeLimits(nested_messages=2))
    assert [(p.number, p.parent) for p in message.attachments] == [("1", None), ("1.1", "1"), ("1.1.1", "1.1")]
    assert codes(message) == ["too_many_messages"]


def test_parts_beyond_the_limit_are_one_opaque_attachment_with_all_the_rest() -> None:
    raw = multipart("mixed", *[binary_part(f"{n}.pdf") for n in range(9)]).encode()
    message = read_message(raw, MimeLimits(parts=5))
    *_, rest = message.attachments
    assert [part.number for part in message.attachments] == ["1", "2", "3", "4", "5"]
    assert (rest.content_type, rest.end) == ("application/octet-stream", len(raw))
    assert b"4.pdf" in raw[rest.start : rest.end]
    assert b"8.pdf" in raw[rest.start : rest.end]
    assert codes(message) == ["too_many_parts"]


def test_headers_beyond_the_limit_for_all_of_them_leave_the_rest_in_one_opaque_attachment() -> None:
    message = read(multipart("mixed", *[binary_part(f"{n}.pdf") for n in range(9)]), MimeLimits(all_headers_bytes=200))
    assert [part.content_type for part in message.attachments] == ["application/pdf"] * 2 + ["application/octet-stream"]
    assert codes(message) == ["too_many_parts"]


def test_defects_are_limited_and_the_last_says_so() -> None:
    broken = "Content-Type: x\nContent-Transfer-Encoding: y\n\nabc"
    message = read(multipart("mixed", *[broken] * 9), MimeLimits(defects=5))
    assert len(message.defects) == 5
    assert codes(message)[-1] == "more_defects"


def test_header_end_is_the_first_octet_of_the_body() -> None:
    assert read_message(b"A: b\r\n\r\nbody", LIMITS).header_end == 8
    assert read_message(b"A: b\n\nbody", LIMITS).header_end == 6
    assert read_message(b"\r\nbody", LIMITS).header_end == 2
    assert read_message(b"A: b\r\n", LIMITS).header_end == 6
    assert read_message(b"", LIMITS).header_end == 0


def test_a_message_that_a_delimiter_ends_within_its_header_holds_an_empty_part() -> None:
    message = read(multipart("mixed", "Content-Type: message/rfc822\n\nSubject: hi\nContent-Type: multipart/mixed"))
    outer, inner = message.attachments
    assert (inner.parent, inner.start, inner.end) == (outer.number, outer.end, outer.end)
