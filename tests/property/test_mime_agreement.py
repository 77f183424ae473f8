"""On well-formed mail this reader and the standard library's say the same."""

from __future__ import annotations

import email
import email.policy
from dataclasses import dataclass
from email.header import decode_header, make_header
from email.message import EmailMessage, MIMEPart
from email.utils import formataddr, getaddresses

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ingest.mime.decoders import decoded
from ingest.mime.envelope import read_envelope
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message
from ingest.models import ParsedMessage

LIMITS = MimeLimits()
LETTERS = "abcXYZ 019äöüßéłžЖщ日本語한국€"
words = st.text(st.sampled_from(LETTERS), min_size=1, max_size=30).map(lambda text: " ".join(text.split()) or "x")
names = st.text(st.sampled_from(LETTERS + ",;()'-_=\\\"@<>"), max_size=40).map(str.split).map(" ".join)
atoms = st.text(st.sampled_from("abc019-_+"), min_size=1, max_size=12)
addresses = st.builds("{}@{}.example".format, atoms, atoms)
filenames = st.builds(lambda stem, end: f"{stem}.{end}", words, st.sampled_from(["pdf", "txt", "eml", "tar.gz"]))
texts = st.lists(st.text(st.sampled_from(LETTERS + "-=.<>"), max_size=90), max_size=6).map("\n".join)


@dataclass(frozen=True)
class Leaf:
    """What the standard library says of a part."""

    content_type: str
    filename: str | None
    disposition: str | None
    content: bytes


@st.composite
def messages(draw: st.DrawFn, depth: int = 0) -> EmailMessage:
    """A message with text, perhaps html with an image, attachments and forwards."""
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = draw(addresses)
    message["Subject"] = draw(words)
    message["Date"] = "Tue, 04 Mar 2025 10:00:00 +0100"
    cte = draw(st.sampled_from(["quoted-printable", "base64", "8bit"]))
    message.set_content(draw(texts), cte=cte)
    if draw(st.booleans()):
        message.add_alternative(draw(texts), subtype="html")
        if draw(st.booleans()):
            html = message.get_body(("html",))
            assert isinstance(html, MIMEPart)
            html.add_related(draw(st.binary(max_size=90)), "image", "png", cid="<logo@x>")
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.integers(0, 2 if depth < 2 else 1))
        if kind == 0:
            message.add_attachment(draw(st.binary(max_size=300)), "application", "pdf", filename=draw(filenames))
        elif kind == 1:
            message.add_attachment(draw(texts), filename=draw(filenames))
        else:
            message.add_attachment(draw(messages(depth=depth + 1)))
    return message


def expected_attachments(message: MIMEPart) -> list[Leaf]:
    """All leaves but the bodies of the message and of those forwarded in it."""
    bodies = [message.get_body(("plain",)), message.get_body(("html",))]
    found: list[Leaf] = []
    stack: list[MIMEPart] = [message]
    while stack:
        part = stack.pop()
        if part.get_content_type() == "message/rfc822":
            (inner,) = part.get_payload()
            found.append(Leaf("message/rfc822", part.get_filename(), part.get_content_disposition(), b""))
            found.extend(
                leaf for leaf in expected_attachments(inner) if leaf.content_type != "text/html" or leaf.filename
            )
        elif part.is_multipart():
            stack.extend(reversed(part.get_payload()))
        elif not any(part is body for body in bodies):
            content = part.get_payload(decode=True)
            found.append(Leaf(part.get_content_type(), part.get_filename(), part.get_content_disposition(), content))
    return found


def read_attachments(raw: bytes, message: ParsedMessage) -> list[Leaf]:
    return [
        Leaf(
            part.content_type,
            part.filename_raw,
            part.disposition,
            b"" if part.content_type == "message/rfc822" else b"".join(decoded(raw, part)),
        )
        for part in message.attachments
    ]


@given(messages(), st.booleans())
@settings(max_examples=100)
def test_generated_mail_reads_like_in_the_standard_library(message: EmailMessage, crlf: bool) -> None:
    raw = message.as_bytes(policy=email.policy.SMTP if crlf else email.policy.default)
    reference = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(reference, EmailMessage)
    read = read_message(raw, LIMITS)
    assert read.defects == ()

    for kind, body in (("plain", read.text), ("html", read.html)):
        theirs = reference.get_body((kind,))
        assert (body is None) == (theirs is None)
        if body is not None and isinstance(theirs, MIMEPart):
            assert body.content.replace("\r\n", "\n") == theirs.get_content().replace("\r\n", "\n")

    assert read_attachments(raw, read) == expected_attachments(reference)

    envelope = read.envelope
    assert envelope.subject == str(reference["Subject"])
    assert [address.address for address in envelope.from_] == [a.addr_spec for a in reference["From"].addresses]
    assert envelope.date == reference["Date"].datetime


@given(st.lists(st.tuples(names, addresses), min_size=1, max_size=5))
@settings(max_examples=200)
def test_names_and_addresses_come_back_as_the_standard_library_wrote_them(pairs: list[tuple[str, str]]) -> None:
    raw = ", ".join(map(formataddr, pairs))
    read = read_envelope(f"To: {raw}\r\n\r\n".encode(), LIMITS).to
    assert [(found.name, found.address) for found in read] == pairs
    theirs = getaddresses([raw])
    assert [(str(make_header(decode_header(name))), address) for name, address in theirs] == pairs


@given(messages())
@settings(max_examples=40)
def test_forwards_and_parts_are_numbered_as_the_tree_says(message: EmailMessage) -> None:
    raw = message.as_bytes(policy=email.policy.SMTP)
    read = read_message(raw, LIMITS)
    numbers: list[tuple[str, str]] = []
    stack: list[tuple[str, MIMEPart]] = [("", email.message_from_bytes(raw, policy=email.policy.default))]
    while stack:
        prefix, part = stack.pop()
        if part.get_content_type() == "message/rfc822":
            numbers.append((prefix, "message/rfc822"))
            stack.append((prefix + ".", part.get_payload(0)))
        elif part.is_multipart():
            inner = prefix if not prefix or prefix.endswith(".") else prefix + "."
            stack.extend((f"{inner}{at}", child) for at, child in enumerate(part.get_payload(), 1))
        else:
            numbers.append((prefix + "1" if not prefix or prefix.endswith(".") else prefix, part.get_content_type()))
    assert {(part.number, part.content_type) for part in read.attachments} <= set(numbers)
    assume(read.attachments)
    assert {number for number, kind in numbers if kind == "message/rfc822"} == {
        part.number for part in read.attachments if part.content_type == "message/rfc822"
    }
