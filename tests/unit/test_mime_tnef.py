"""winmail.dat: what is taken out, and what hostile ones can't do. Streams are written by `tnef_writer`."""

from __future__ import annotations

import mmap
import random
import struct
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tnef_writer as write
from fuzz.tnef import run, seeds

from ingest.mime.decoders import decoded
from ingest.mime.defects import DefectLog
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message
from ingest.mime.rtf import ENCODING as COMPRESSED_RTF
from ingest.mime.tnef import read_tnef
from ingest.models import Label, Part

LIMITS = MimeLimits()
LENGTHS = (0, 0x80000000, 0xFFFFFFFF)


def read(data: bytes, limits: MimeLimits = LIMITS) -> tuple[tuple[Part, ...], list[tuple[str, str | None]]]:
    log = DefectLog(limits)
    parts = read_tnef(memoryview(data), "2", limits, log)
    return parts, [(defect.code, defect.part) for defect in log.found()]


def only(data: bytes) -> Part:
    parts, defects = read(data)
    assert defects == []
    (part,) = parts
    return part


def outline(data: bytes) -> list[tuple[str, str, str | None, bytes]]:
    return [(part.number, part.content_type, part.filename, data[part.start : part.end]) for part in read(data)[0]]


def test_everything_that_outlook_writes_is_found() -> None:
    data = write.everything()
    assert read(data)[1] == []
    found = outline(data)
    message = found.pop(5)
    assert message[:3] == ("2.6", "application/ms-tnef", "Re: invoice")
    assert found == [
        ("2.1", "text/plain", None, b"Plain\r\n"),
        ("2.2", "text/html", None, "<p>Grüße</p>".encode()),
        ("2.3", "application/rtf", None, b"{\\rtf1 plain}"),
        ("2.4", "application/octet-stream", "Rechnung für März.pdf", b"%PDF-1.4"),
        ("2.5", "image/png", "image001.png", b"\x89PNG"),
        ("2.7", "application/octet-stream", "Chart", b"\xd0\xcf\x11\xe0"),
        ("2.8", "application/octet-stream", "VALUE.BIN", b"by value"),
        ("2.6.1", "text/plain", None, "Grüße".encode("utf-16-le")),
        ("2.6.2", "text/plain", "inner.txt", b"inner"),
    ]


def test_children_name_their_parents_and_are_not_encoded() -> None:
    parts, _ = read(write.everything())
    assert {part.number: part.parent for part in parts} == {
        **{f"2.{index}": "2" for index in range(1, 9)},
        "2.6.1": "2.6",
        "2.6.2": "2.6",
    }
    assert {part.encoding for part in parts} == {"binary"}


def test_an_embedded_message_opens_by_itself_too() -> None:
    data = write.nested(1, write.attachment(b"abc", title=b"a.txt"))
    message, child = read(data)[0]
    assert message.label is Label.TNEF
    again = data[message.start : message.end]
    assert [part.filename for part in read(again)[0]] == [child.filename] == ["a.txt"]


def test_a_message_as_attached_data_is_told_by_its_method() -> None:
    inner = write.stream(write.attachment(b"abc", title=b"a.txt"))
    opened, _ = read(write.stream(write.attachment(inner, write.number(write.PR_METHOD, 5))))
    assert [part.number for part in opened] == ["2.1", "2.1.1"]
    closed = only(write.stream(write.attachment(inner, write.number(write.PR_METHOD, 1), title=b"winmail.dat")))
    assert (closed.content_type, closed.label) == ("application/octet-stream", None)


def test_an_object_wins_over_its_picture() -> None:
    data = write.stream(write.attachment(b"picture", write.embedded(write.PR_DATA, b"object", write.IID_STORAGE)))
    part = only(data)
    assert data[part.start : part.end] == b"object"


def test_the_order_of_an_attachments_attributes_does_not_matter() -> None:
    begin, data, title = (
        write.attribute(write.RENDDATA, bytes(14)),
        write.attribute(write.DATA, b"abc"),
        write.attribute(write.TITLE, b"a.txt\0"),
    )
    assert only(write.stream(begin, data, title)).filename == "a.txt"
    assert only(write.stream(title, data)).filename == "a.txt"


@pytest.mark.parametrize(
    ("properties", "title", "name"),
    [
        ([write.text(write.PR_LONG_FILENAME, "Größe 日本.xlsx")], b"GROSSE~1.XLS", "Größe 日本.xlsx"),
        ([write.text8(write.PR_LONG_FILENAME, b"Gr\xf6\xdfe.xls")], b"GROSSE~1.XLS", "Größe.xls"),
        ([write.text(write.PR_LONG_FILENAME, "")], b"TITLE.DOC", "TITLE.DOC"),
        ([write.text8(write.PR_FILENAME, b"SHORT.DOC")], b"TITLE.DOC", "TITLE.DOC"),
        ([write.text8(write.PR_FILENAME, b"SHORT.DOC")], b"", "SHORT.DOC"),
        ([write.text(write.PR_DISPLAY_NAME, "Shown")], b"", "Shown"),
        ([], b"..\\..\\etc/passwd", "passwd"),
        ([write.text(write.PR_LONG_FILENAME, "invoice\u202efdp.exe")], b"", "invoicefdp.exe"),
        ([], b"", None),
    ],
)
def test_the_best_name_is_taken_and_cleaned(properties: list[bytes], title: bytes, name: str | None) -> None:
    assert only(write.stream(write.attachment(b"x", *properties, title=title))).filename == name


def test_the_name_as_sent_stands_beside_the_clean_one() -> None:
    part = only(write.stream(write.attachment(b"x", title=b"C:\\tmp\\a.txt")))
    assert (part.filename, part.filename_raw) == ("a.txt", "C:\\tmp\\a.txt")


@pytest.mark.parametrize(
    ("number", "octets", "name"), [(932, "請求書.pdf".encode("cp932"), "請求書.pdf"), (28595, b"\xb6.txt", "Ж.txt")]
)
def test_names_of_eight_bits_are_read_in_the_streams_code_page(number: int, octets: bytes, name: str) -> None:
    data = write.HEAD + write.codepage(number) + write.attachment(b"x", title=octets)
    assert only(data).filename == name


def test_an_unknown_code_page_is_no_charset() -> None:
    data = write.HEAD + write.codepage(4711) + write.attribute(write.BODY, b"text\0")
    assert only(data).charset is None


@pytest.mark.parametrize(
    ("tag", "content_type"),
    [
        (b"Image/PNG", "image/png"),
        (b"text/plain; charset=x", "application/octet-stream"),
        (b"../../x", "application/octet-stream"),
        (b"a/" + b"b" * 200, "application/octet-stream"),
        (b"a/b\r\nX: y", "application/octet-stream"),
        (b"", "application/octet-stream"),
    ],
)
def test_a_type_that_is_none_is_opaque(tag: bytes, content_type: str) -> None:
    assert only(write.stream(write.attachment(b"x", write.text8(write.PR_MIME_TAG, tag)))).content_type == content_type


def test_a_text_attachment_has_the_charset_that_is_said() -> None:
    charset = write.text(write.PR_CHARSET, "utf-8")
    text = write.attachment(b"x", write.text8(write.PR_MIME_TAG, b"text/csv"), charset)
    image = write.attachment(b"x", write.text8(write.PR_MIME_TAG, b"image/png"), charset)
    assert [part.charset for part in read(write.stream(text, image))[0]] == ["utf-8", None]


@pytest.mark.parametrize(
    ("properties", "disposition"),
    [
        ([], "attachment"),
        ([write.text8(write.PR_CONTENT_ID, b"a@b")], "inline"),
        ([write.text8(write.PR_CONTENT_ID, b"a@b"), write.number(write.PR_FLAGS, 0)], "attachment"),
        ([write.number(write.PR_FLAGS, 4)], "inline"),
        ([write.prop(write.PR_HIDDEN, write.BOOLEAN, b"\1\0\0\0")], "inline"),
        ([write.prop(write.PR_HIDDEN, write.BOOLEAN, b"\0\0\xff\xff")], "attachment"),
    ],
)
def test_what_a_body_shows_is_inline(properties: list[bytes], disposition: str) -> None:
    assert only(write.stream(write.attachment(b"x", *properties))).disposition == disposition


@pytest.mark.parametrize("written", [b"a@b", b"<a@b>", b"<a@b\r\n\x07>"])
def test_a_content_id_stands_in_brackets_as_in_a_header(written: bytes) -> None:
    assert only(write.stream(write.attachment(b"x", write.text8(write.PR_CONTENT_ID, written)))).content_id == "<a@b>"


def test_bodies_are_unnamed_and_inline_without_their_nul() -> None:
    data = write.stream(
        write.message(
            write.text(write.PR_HTML, "<p>"), write.text8(write.PR_BODY, b"a"), write.text(write.PR_BODY, "b")
        )
    )
    html, text = read(data)[0]
    assert (html.content_type, html.charset, html.disposition, html.filename) == (
        "text/html",
        "utf-16le",
        "inline",
        None,
    )
    assert data[html.start : html.end].decode("utf-16-le") == "<p>"
    assert (data[text.start : text.end], text.charset) == (b"a", "windows-1252")


def test_an_empty_body_is_none_and_an_empty_file_is_one() -> None:
    data = write.stream(write.attribute(write.BODY, b"\0"), write.attachment(b"", title=b"empty.txt"))
    assert outline(data) == [("2.1", "application/octet-stream", "empty.txt", b"")]


def decompressed(rtf: bytes) -> list[bytes]:
    data = write.stream(write.message(write.binary(write.PR_RTF, rtf), write.binary(write.PR_RTF, b"no LZFu here")))
    parts, defects = read(data)
    assert {(part.number, part.content_type, part.disposition) for part in parts} <= {
        ("2.1", "application/rtf", "inline")
    }
    assert not defects
    return [b"".join(decoded(data, part)) for part in parts]


@pytest.mark.parametrize(
    ("compressed", "rtf"),
    [
        (
            "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0",
            b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n",
        ),
        ("1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0", b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}"),
    ],
    ids=["from the dictionary", "overlapping itself"],
)
def test_compressed_rtf_is_decompressed_as_the_specification_s_examples_are(compressed: str, rtf: bytes) -> None:
    assert decompressed(bytes.fromhex(compressed)) == [rtf]


@pytest.mark.parametrize(
    ("behind", "size", "body", "rtf"),
    [
        (12 + 9, 4, b"\0abcdefgh", b"abcd"),
        (12 + 4, 99, b"\0abcdefgh", b"abc"),
        (0xFFFFFFFF, 0xFFFFFFFF, b"\0abcdefgh\x01\0", b"abcdefgh"),
        (0xFFFFFFFF, 99, b"\x02a\xff\xf0bcd", b"a"),
        (0, 99, b"\0abcdefgh", b""),
        (99, 99, b"", b""),
    ],
    ids=["too much", "cut by its length", "cut in a reference", "a reference to nothing", "nothing", "empty"],
)
def test_damaged_rtf_is_what_came_before_the_damage(behind: int, size: int, body: bytes, rtf: bytes) -> None:
    assert decompressed(struct.pack("<II4sI", behind, size, b"LZFu", 0) + body) == [rtf]


def test_rtf_of_an_unknown_kind_or_without_its_header_is_left_where_it_is() -> None:
    assert decompressed(struct.pack("<II4sI", 30, 30, b"LZZu", 0) + b"\0" * 18) == []
    assert decompressed(b"\0" * 8 + b"LZF") == []
    assert decompressed(b"\0" * 8 + b"LZFu") == [b""]


def test_more_compressed_rtf_than_is_decompressed_in_a_moment_stays_where_it_is() -> None:
    rtf = struct.pack("<II4sI", 12 + 300_000, 300_000, b"LZFu", 0) + b"\0" * 300_000
    body = write.message(write.binary(write.PR_RTF, rtf), write.text(write.PR_BODY, "a"))
    parts, defects = read(write.stream(body, write.holding(write.stream(body))))
    assert [part.content_type for part in parts] == [
        "application/rtf",
        "text/plain",
        "application/ms-tnef",
        "text/plain",
    ]
    assert defects == [("tnef_cut", "2.3")]


def test_no_transfer_encoding_can_be_called_as_that_of_compressed_rtf() -> None:
    head = f"Content-Transfer-Encoding: {COMPRESSED_RTF}\r\nContent-Type: a/b\r\n\r\nabc".encode()
    assert read_message(head, LIMITS).attachments[0].encoding == "lzfu"


@pytest.mark.parametrize("size", [0, 5, 0xFFFFFFFF])
def test_uncompressed_rtf_is_clipped_to_what_is_there(size: int) -> None:
    rtf = struct.pack("<II4sI", 0, size, b"MELA", 0) + b"{\\rtf}"
    data = write.stream(write.message(write.binary(write.PR_RTF, rtf)))
    assert [content for *_, content in outline(data)] == [b"{\\rtf}"[:size]][: bool(size)]


def test_an_empty_stream_has_no_children_and_no_defect() -> None:
    assert read(write.HEAD) == ((), [])


@pytest.mark.parametrize("data", [b"", b"\x78\x9f\x3e", b"PK\3\4" + bytes(40)])
def test_without_the_signature_it_is_opaque(data: bytes) -> None:
    assert read(data) == ((), [("tnef_damaged", "2")])


@pytest.mark.parametrize("padding", [b"\r\n", b"\0" * 8, b""])
def test_padding_behind_the_stream_is_no_damage(padding: bytes) -> None:
    assert only(write.stream(write.attachment(b"x")) + padding)


@pytest.mark.parametrize("garbage", [b"\0garbage", b"\r\n" * 40, b"\7"])
def test_garbage_behind_the_stream_takes_nothing_away(garbage: bytes) -> None:
    parts, defects = read(write.stream(write.attachment(b"x")) + garbage)
    assert (len(parts), defects) == (1, [("tnef_damaged", "2")])


def test_a_wrong_checksum_is_noted_once_and_taken_all_the_same() -> None:
    data = write.stream(write.attribute(write.DATA, b"abc", checksum=1), write.attribute(write.BODY, b"x", checksum=1))
    parts, defects = read(data)
    assert (len(parts), defects) == (2, [("tnef_checksum", "2")])


def test_the_checksum_of_octets_of_all_ones_is_right() -> None:
    assert only(write.stream(write.attachment(b"\xff" * 300_001)))


def test_an_attachment_that_breaks_off_is_what_is_left_of_it() -> None:
    whole = write.stream(write.attachment(b"0123456789", title=b"a.txt"))
    data = whole[: whole.index(b"456")]
    assert outline(data) == [("2.1", "application/octet-stream", "a.txt", b"0123")]
    assert read(data)[1] == [("tnef_damaged", "2")]


def test_an_attachment_without_content_is_no_child() -> None:
    parts, defects = read(write.stream(write.attachment(None, title=b"link.doc"), write.attachment(b"x", title=b"a")))
    assert ([part.filename for part in parts], defects) == (["a"], [("tnef_damaged", "2")])


def test_an_unknown_type_of_property_ends_its_list_only() -> None:
    odd = write.prop(0x1234, 0x77, bytes(8))
    data = write.stream(write.attachment(b"x", odd, title=b"a.txt"), write.attachment(b"y", title=b"b.txt"))
    parts, defects = read(data)
    assert ([part.filename for part in parts], defects) == (["a.txt", "b.txt"], [("tnef_damaged", "2")])


def test_children_are_bounded_at_all_levels_together() -> None:
    attached = write.attachment(b"x") * 3
    data = write.stream(write.holding(write.stream(attached)), attached)
    limits = replace(LIMITS, parts=5)
    parts, defects = read(data, limits)
    assert [part.number for part in parts] == ["2.1", "2.2", "2.3", "2.4", "2.1.1"]
    assert defects == [("tnef_cut", "2.1")]
    assert read(data, replace(limits, parts=0)) == ((), [("tnef_cut", "2")])


def test_bodies_count_as_children() -> None:
    data = write.stream(write.attribute(write.BODY, b"x"), write.attachment(b"x"))
    assert [part.content_type for part in read(data, replace(LIMITS, parts=1))[0]] == ["text/plain"]


def test_a_message_too_deep_is_left_closed() -> None:
    parts, defects = read(write.nested(12))
    assert [part.number for part in parts] == ["2" + ".1" * level for level in range(1, 12)]
    assert defects == [("tnef_cut", "2" + ".1" * 11)]


def test_ten_thousand_levels_are_no_recursion() -> None:
    level = write.stream(write.attachment(None, write.number(write.PR_METHOD, 5)))
    assert read(level * 10_000)[0] == ()
    parts, _ = read(write.nested(300), replace(LIMITS, nested_messages=10_000))
    assert len(parts) == 300


@pytest.mark.parametrize(
    "many",
    [
        write.attribute(write.BODY, b"") * 6000,
        write.message(*[write.number(1, 1)] * 6000),
        write.message(write.prop(1, write.MANY | write.BINARY, struct.pack("<I", 0xFFFFFFFF) + bytes(24_000))),
    ],
    ids=["attributes", "properties", "values"],
)
def test_too_many_entries_are_cut(many: bytes) -> None:
    assert read(write.stream(many, write.attachment(b"x")), replace(LIMITS, parts=8)) == ((), [("tnef_cut", "2")])


def test_a_count_without_properties_costs_nothing() -> None:
    data = write.stream(write.attribute(write.MESSAGE_PROPS, write.props(count=0xFFFFFFFF)), write.attachment(b"x"))
    assert len(read(data)[0]) == 1


def test_a_stream_that_ends_anywhere_is_read_up_to_there() -> None:
    data = write.everything()
    for end in range(len(data)):
        run(data[:end])


def test_any_number_may_be_a_lie() -> None:
    data = write.everything()
    for at in range(len(data) - 4):
        for length in LENGTHS:
            run(data[:at] + struct.pack("<I", length) + data[at + 4 :])


def test_some_thousand_mutations_stay_within_their_bounds() -> None:
    chance, kept = random.Random(21), seeds()
    for _ in range(4000):
        case = bytearray(chance.choice(kept))
        for _ in range(chance.randint(1, 6)):
            at, other = chance.randrange(len(case)), chance.choice(kept)
            match chance.randrange(4):
                case 0:
                    case[at] = chance.randrange(256)
                case 1:
                    del case[at : at + chance.randint(1, 40)]
                case 2:
                    case[at:at] = other[chance.randrange(len(other)) :][: chance.randint(1, 400)]
                case _:
                    case[at : at + 4] = struct.pack("<I", chance.choice(LENGTHS))
            case = case or bytearray(b"\0")
        run(bytes(case))


def test_a_mapped_file_is_read_and_can_be_closed(tmp_path: Path) -> None:
    path = tmp_path / "winmail.dat"
    path.write_bytes(write.stream(write.attachment(bytes(3 * 1024 * 1024), title=b"big.bin"), write.attachment(b"x")))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        log = DefectLog(LIMITS)
        with memoryview(mapped) as view:
            big, small = read_tnef(view, "2", LIMITS, log)
        assert (big.end - big.start, mapped[small.start : small.end], log.found()) == (3 * 1024 * 1024, b"x", ())


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc what is resident")
def test_a_mapped_file_does_not_become_resident(tmp_path: Path) -> None:
    path = tmp_path / "winmail.dat"
    with path.open("wb") as file:
        file.write(write.stream())
        for _ in range(200):
            file.write(write.attachment(bytes(150 * 1024), title=b"a.bin"))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        before = resident_file_pages()
        with memoryview(mapped) as view:
            assert len(read_tnef(view, "2", LIMITS, DefectLog(LIMITS))) == 200
        assert resident_file_pages() - before < 8 * 1024 * 1024 // mmap.PAGESIZE


def resident_file_pages() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[2])
