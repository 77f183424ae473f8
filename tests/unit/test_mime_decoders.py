"""Transfer encodings: well-formed, damaged, cut anywhere."""

from __future__ import annotations

import base64
import binascii
import mmap
import quopri
import tracemalloc
from pathlib import Path

import pytest

from ingest.mime.decoders import decoded
from ingest.mime.octets import CHUNK_BYTES
from ingest.mime.transfer import base64_chunks
from ingest.models import Part


def part(encoding: str, start: int, end: int) -> Part:
    return Part("1", None, "application/pdf", None, None, None, None, None, encoding, start, end)


def decode(encoding: str, raw: bytes) -> bytes:
    return b"".join(decoded(raw, part(encoding, 0, len(raw))))


def uuencoded(data: bytes) -> bytes:
    lines = [binascii.b2a_uu(data[at : at + 45]) for at in range(0, len(data), 45)]
    return b"begin 644 a.bin\n" + b"".join(lines) + b"`\nend\n"


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b"YWJj", b"abc"),
        (b"YWJj\r\nZGVm\r\n", b"abcdef"),
        (b"YW\r\nJjZ\r\nGVm", b"abcdef"),
        (b" Y W\tJj\n", b"abc"),
        (b"YQ==", b"a"),
        (b"YQ=", b"a"),
        (b"YQ", b"a"),
        (b"YWJjY", b"abc"),
        (b"YQ==YmM=ZGVm", b"abcdef"),
        (b"YQ==\r\nYmM=\r\n", b"abc"),
        (b"=YWJj", b"abc"),
        (b"YWJj====ZGVm", b"abcdef"),
        (b"Y!W-J_j\xff\0", b"abc"),
        (b"====", b""),
        (b"", b""),
    ],
)
def test_base64_gives_the_best_that_decodes(raw: bytes, data: bytes) -> None:
    assert decode("base64", raw) == data


@pytest.mark.parametrize("octets", range(170, 182))
@pytest.mark.parametrize("cut", [0, 1, 60, 76, 77, 78, 79, 80])
def test_the_last_line_of_base64_needs_no_line_end(octets: int, cut: int) -> None:
    data = bytes(range(octets))
    raw = base64.encodebytes(data).replace(b"\n", b"\r\n").rstrip()
    assert decode("base64", raw) == data
    assert b"".join(base64_chunks([raw[:cut], raw[cut:]])) == data


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b"a=3D=3d", b"a=="),
        (b"a=\r\nb=\nc", b"abc"),
        (b"a= \t\r\nb", b"ab"),
        (b"a=zz=4", b"a=zz=4"),
        (b"a==41", b"a=A"),
        (b"a=\rb\r\nc", b"a=\rb\r\nc"),
        (b"a=", b"a"),
        (b"a\r\n", b"a\r\n"),
        (b"", b""),
    ],
)
def test_quoted_printable_gives_the_best_that_decodes(raw: bytes, data: bytes) -> None:
    assert decode("quoted-printable", raw) == data


@pytest.mark.parametrize("name", ["x-uuencode", "uuencode", "x-uue", "uue"])
def test_uuencode_is_decoded_between_its_begin_and_end_lines(name: str) -> None:
    data = bytes(range(256)) * 3
    raw = b"some text\r\n" + uuencoded(data).replace(b"\n", b"\r\n") + b"a footer\r\n"
    assert decode(name, raw) == data


def test_uuencode_without_a_begin_line_stays_as_it_is() -> None:
    assert decode("x-uuencode", b"begin something\r\nend\r\n") == b"begin something\r\nend\r\n"


def test_uuencode_that_breaks_off_gives_what_came() -> None:
    assert decode("x-uuencode", uuencoded(b"x" * 90).rpartition(b"`")[0]) == b"x" * 90


def test_lines_that_are_no_uuencode_are_passed_over() -> None:
    raw = uuencoded(b"x" * 45).replace(b"`\n", b"\xff\xff\xff\n`\n")
    assert decode("x-uuencode", raw) == b"x" * 45


def test_uuencode_of_lines_of_any_length_is_decoded() -> None:
    data = bytes(range(256)) * 4
    lines = [binascii.b2a_uu(data[at : at + at % 46], backtick=bool(at % 2)) for at in range(900)]
    plain = b"".join(data[at : at + at % 46] for at in range(900))
    assert decode("x-uuencode", b"begin 644 x\n" + b"".join(lines) + b"`\nend\n") == plain


def test_padding_within_base64_is_damage_when_it_comes_thousands_of_times() -> None:
    raw = b"YQ==\n" * 65_536
    assert decode("base64", raw) == b"a" * 65_536
    assert decode("base64", raw + b"YQ==YWJjYQ==") == b"a" * 65_536 + base64.b64decode(b"YQYWJjYQ")


@pytest.mark.parametrize("name", ["7bit", "8bit", "binary", "x-klingon", ""])
def test_other_encodings_leave_the_content_as_it_is(name: str) -> None:
    raw = bytes(range(256))
    assert decode(name, raw) == raw


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "x-uuencode", "7bit"])
def test_content_of_many_chunks_comes_whole_and_comes_again(encoding: str) -> None:
    data = bytes(range(256)) * (CHUNK_BYTES // 64)
    raw = {
        "base64": base64.encodebytes(data).replace(b"\n", b"\r\n"),
        "quoted-printable": quopri.encodestring(data),
        "x-uuencode": uuencoded(data),
        "7bit": data,
    }[encoding]
    for _ in range(2):
        chunks = list(decoded(raw, part(encoding, 0, len(raw))))
        assert b"".join(chunks) == data
        assert all(0 < len(chunk) <= 2 * CHUNK_BYTES for chunk in chunks)


@pytest.mark.parametrize(
    ("encoding", "pattern"),
    [
        ("base64", b"YWJj"),
        ("base64", b"YWJjY\n"),
        ("base64", b"YW=J\n"),
        ("quoted-printable", b"=41= "),
        ("quoted-printable", b"="),
        ("x-uuencode", b"begin"),
        ("x-uuencode", b"\nbegin 644 x\n"),
    ],
)
def test_twice_as_much_damaged_content_needs_no_more_memory(encoding: str, pattern: bytes) -> None:
    def peak_bytes(chunks: int) -> int:
        raw = pattern * (chunks * CHUNK_BYTES // len(pattern))
        tracemalloc.start()
        for _ in decoded(raw, part(encoding, 0, len(raw))):
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    assert peak_bytes(8) < 1.2 * peak_bytes(4)


def test_a_mapped_file_reads_like_bytes_and_can_be_closed_afterwards(tmp_path: Path) -> None:
    raw = base64.encodebytes(b"abc" * 200_000)
    path = tmp_path / "message"
    path.write_bytes(raw)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for buffer in (mapped, memoryview(mapped), raw, memoryview(raw), memoryview(bytearray(raw))):
            for _ in range(2):
                assert b"".join(decoded(buffer, part("base64", 0, len(raw)))) == b"abc" * 200_000
            if isinstance(buffer, memoryview):
                buffer.release()


def test_a_span_beyond_the_buffer_is_clipped() -> None:
    assert b"".join(decoded(b"abc", part("7bit", 1, 99))) == b"bc"
    assert b"".join(decoded(b"abc", part("7bit", 7, 99))) == b""


@pytest.mark.parametrize("lines", [b"\n\n", b"\n\n\n", b"\r\n\r\n"])
def test_base64_of_hardly_more_than_line_ends_is_read(lines: bytes) -> None:
    assert b"".join(base64_chunks([lines + b"YWJj\n"])) == b"abc"
