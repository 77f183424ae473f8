"""Whatever comes in: nothing raises, spans lie within the buffer, and cutting changes nothing."""

from __future__ import annotations

import base64
import itertools
import quopri
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.mime.addresses import parse_addresses
from ingest.mime.charsets import decode_text
from ingest.mime.dates import parse_date
from ingest.mime.decoders import decoded
from ingest.mime.defects import DefectCode
from ingest.mime.envelope import read_envelope
from ingest.mime.filenames import clean_filename
from ingest.mime.identity import identity_digest
from ingest.mime.limits import MimeLimits
from ingest.mime.parameters import parse_parameters
from ingest.mime.reader import read_message
from ingest.mime.transfer import base64_chunks, quoted_printable_chunks, uuencode_chunks
from ingest.mime.words import decode_words
from ingest.models import ParsedMessage

LIMITS = MimeLimits()
TIGHT = MimeLimits(
    depth=3, nested_messages=2, parts=6, headers=4, header_bytes=40, header_block_bytes=200, addresses=2,
    comment_depth=2, references=2, parameters=2, boundary_bytes=9, body_bytes=20, filename_bytes=16,
    filename_raw_bytes=20, charset_sample_bytes=16, defects=5,
)  # fmt: skip

SHARDS = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b";", b":", b'"', b"(", b")", b"<", b">", b",", b"@", b"=", b"\\",
    b"--a", b"--a--", b"\r\n--a\r\n", b"\n--b\n", b"\n--a--\n", b"\r\n\r\n", b"\n\n", b"--", b"\xff", b"\xc3\xa9",
    b"From: ", b"To: ", b"Date: ", b"Received: ", b"Subject: ", b"Message-ID: ", b"References: ", b"Status: O\r\n",
    b"Content-Type: ", b"Content-Disposition: attachment; ", b"Content-Transfer-Encoding: ", b"multipart/mixed; ",
    b"multipart/alternative; ", b"multipart/digest; ", b"message/rfc822", b"text/plain; ", b"text/html; ", b"image/png",
    b"boundary=a", b'boundary="b"', b"charset=", b"utf-8", b"utf-7", b"iso-2022-jp", b"utf-16", b"x-unknown", b"hex",
    b"filename=", b"filename*0*=utf-8''%e2", b"filename*1*=%82", b"name=", b"base64", b"quoted-printable",
    b"x-uuencode", b"begin 644 x\n", b"end\n", b"YWJj", b"=3D", b"=?utf-8?q?", b"=?utf-8?b?", b"?=", b"a@b.example",
    b"4 Mar 2025 10:00:00 +0100",
]  # fmt: skip
mail = st.lists(st.one_of(st.sampled_from(SHARDS), st.binary(max_size=5)), max_size=80).map(b"".join)
WELL_FORMED = (
    b"From: A <a@x>\r\nTo: b@x\r\nSubject: =?utf-8?q?x?=\r\nDate: 4 Mar 2025 10:00:00 +0100\r\nContent-Type: "
    b"multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\nh=C3=A4\r\n--i\r\nContent-Type: text/html\r\n\r\n<p>\r\n--i--"
    b"\r\n--o\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: multipart/mixed; boundary=f\r\n\r\n"
    b"--f\r\n\r\nforwarded\r\n--f\r\nContent-Type: image/png; name=a.png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"YWJjZGVm\r\n--f--\r\n--o--\r\n"
)
text = st.text(st.sampled_from("ab@.,:;<>()[]\"\\ =?éq_\0\n\r\t*'%019-+"), max_size=60)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    raw = bytearray(WELL_FORMED)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(raw)))
        upto = draw(st.integers(at, min(at + 30, len(raw))))
        raw[at:upto] = draw(st.one_of(st.just(b""), st.sampled_from(SHARDS), st.binary(max_size=3)))
    return bytes(raw)


def check(raw: bytes, message: ParsedMessage, limits: MimeLimits) -> None:
    """What holds of every message that was read."""
    assert 0 <= message.header_end <= len(raw)
    numbers = [part.number for part in message.attachments]
    assert len(set(numbers)) == len(numbers) <= limits.parts + 1
    for part in message.attachments:
        assert 0 <= part.start <= part.end <= len(raw)
        assert part.parent is None or part.number.startswith(part.parent + ".")
        assert part.filename is None or len(part.filename.encode()) <= limits.filename_bytes
        once = b"".join(decoded(raw, part))
        assert once == b"".join(decoded(memoryview(raw), part))
        assert len(once) <= max(part.end - part.start, 45 * (part.end - part.start))
    for body in (message.text, message.html):
        assert body is None or len(body.content.encode()) <= limits.body_bytes
    assert len(message.defects) <= limits.defects
    assert all(defect.code in set(DefectCode) for defect in message.defects)
    envelope = message.envelope
    assert len(envelope.headers) <= limits.headers
    assert envelope.date is None or envelope.date.utcoffset() is not None
    for found in (envelope.from_, envelope.sender, envelope.reply_to, envelope.to, envelope.cc):
        assert len(found) <= limits.addresses
        assert all(address.address for address in found)
    "".join(name + value for name, value in envelope.headers).encode()
    assert len(identity_digest(raw, message.header_end, bytes(32))) == 32


@given(st.one_of(st.binary(max_size=300), mail, mutated()), st.sampled_from([LIMITS, TIGHT]))
@settings(max_examples=500)
def test_any_octets_are_a_message(raw: bytes, limits: MimeLimits) -> None:
    check(raw, read_message(raw, limits), limits)
    read_envelope(raw, limits)


@given(mutated())
def test_a_message_reads_the_same_from_any_kind_of_buffer(raw: bytes) -> None:
    message = read_message(raw, LIMITS)
    assert read_message(memoryview(bytearray(b"x" + raw))[1:], LIMITS) == message


@given(mail)
def test_the_top_header_alone_gives_the_envelope_of_the_whole(raw: bytes) -> None:
    message = read_message(raw, LIMITS)
    assert read_envelope(raw[: message.header_end], LIMITS) == message.envelope


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8), st.data())
@settings(max_examples=300)
def test_where_chunks_are_cut_changes_nothing(noise: bytes, cuts: list[int], data: st.DataObject) -> None:
    alphabet = data.draw(st.sampled_from([b"YWJj=\r\n \xff-", b"=3dD\r\n \t_x", b"begin 64x!a#\r\n`d"]))
    raw = data.draw(
        st.one_of(
            st.just(noise),
            st.lists(st.sampled_from([bytes([octet]) for octet in alphabet]), max_size=120).map(b"".join),
            st.just(base64.encodebytes(noise)),
            st.just(base64.encodebytes(noise).rstrip()),
            st.just(quopri.encodestring(noise)),
            st.just(b"junk\nbegin 644 x\n" + noise + b"\nend\n"),
        )
    )
    edges = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})

    def pieces() -> Iterator[bytes]:
        return (raw[start:end] for start, end in itertools.pairwise(edges))

    for decoder in (base64_chunks, quoted_printable_chunks, uuencode_chunks):
        assert b"".join(decoder(pieces())) == b"".join(decoder([raw]))


def quoted_printable(content: bytes) -> bytes:
    """The standard library's encoder makes LF of some CRLF."""
    escaped = [bytes([octet]) if 0x20 < octet < 0x7F and octet != ord("=") else b"=%02X" % octet for octet in content]
    return b"=\r\n".join(b"".join(escaped[at : at + 20]) for at in range(0, len(escaped), 20))


@given(st.binary(max_size=300))
def test_what_is_encoded_comes_back(content: bytes) -> None:
    assert b"".join(base64_chunks([base64.encodebytes(content)])) == content
    assert b"".join(base64_chunks([base64.encodebytes(content).rstrip()])) == content
    assert b"".join(quoted_printable_chunks([quoted_printable(content)])) == content


@given(text)
@settings(max_examples=400)
def test_fields_of_any_text_are_read(value: str) -> None:
    decode_words(value).encode()
    parse_date(value)
    read = parse_parameters(value, 10)
    assert len(read.parameters) <= 10
    for found in parse_addresses(value, LIMITS)[0]:
        assert found.address
        assert not set(" \r\n") & set(found.address) or '"' in found.address


@given(st.binary(max_size=60), st.text(max_size=20), st.booleans())
def test_any_octets_are_text_in_any_charset(content: bytes, charset: str, cut: bool) -> None:
    decoded_text, used, _ = decode_text(content, charset, sample_bytes=64, cut=cut)
    decoded_text.encode()
    assert used


@given(st.text(max_size=300), st.integers(10, 255))
@settings(max_examples=300)
def test_a_clean_filename_stays_as_it_is_and_fits(raw: str, limit: int) -> None:
    name = clean_filename(raw, limit)
    if name is not None:
        assert len(name.encode()) <= limit
        assert not set(name) & set("/\\\0\r\n")
        assert name == name.strip(" .")
        assert clean_filename(name, limit) == name
