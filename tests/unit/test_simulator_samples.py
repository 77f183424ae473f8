"""Each sample mail is what its title claims, as the standard library's email package reads it."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import struct
import zlib
from email import message_from_bytes, policy
from email.errors import InvalidBase64CharactersDefect, InvalidBase64PaddingDefect
from email.message import EmailMessage

import pytest

from ingest.simulator.maildrop import normalise
from ingest.simulator.samples import Sample, sample_maildrops, sample_messages

SAMPLES = {sample.name: sample for sample in sample_messages()}


def parse(name: str) -> EmailMessage:
    return message_from_bytes(SAMPLES[name].raw, policy=policy.default)


def content(part: EmailMessage) -> bytes:
    octets = part.get_payload(decode=True)
    assert isinstance(octets, bytes)
    return octets


def named(message: EmailMessage) -> list[tuple[str | None, bytes]]:
    """Filename and content of all leaves that have a name."""
    return [(part.get_filename(), content(part)) for part in message.walk() if part.get_filename()]


def types(message: EmailMessage) -> list[str]:
    return [part.get_content_type() for part in message.walk()]


def check_pdf(octets: bytes) -> None:
    """Every entry of the cross-reference table points at its object."""
    assert octets.startswith(b"%PDF-1.4\n")
    assert octets.endswith(b"%%EOF\n")
    start = int(octets.split(b"startxref\n")[1].split()[0])
    assert octets[start : start + 5] == b"xref\n"
    offsets = [int(entry) for entry in re.findall(rb"(\d{10}) 00000 n", octets)]
    assert len(offsets) == 5
    for number, offset in enumerate(offsets, 1):
        assert octets[offset:].startswith(b"%d 0 obj\n" % number)
    declared, stream = re.findall(rb"/Length (\d+) >>\nstream\n(.*)endstream", octets, re.DOTALL)[0]
    assert int(declared) == len(stream)


def check_png(octets: bytes) -> None:
    """Chunks with right checksums, pixels that inflate to the size that the header claims."""
    assert octets.startswith(b"\x89PNG\r\n\x1a\n")
    at, chunks = 8, {}
    while at < len(octets):
        (size,) = struct.unpack_from(">I", octets, at)
        kind, data = octets[at + 4 : at + 8], octets[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", octets, at + 8 + size) == (zlib.crc32(kind + data),)
        chunks[kind] = data
        at += 12 + size
    width, height = struct.unpack_from(">II", chunks[b"IHDR"])
    assert len(zlib.decompress(chunks[b"IDAT"])) == height * (1 + 3 * width)


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_a_sample_is_stored_as_it_is_written(sample: Sample) -> None:
    assert normalise(sample.raw) == sample.raw


@pytest.mark.parametrize("name", [name for name in SAMPLES if name not in {"broken", "empty"}])
def test_a_sample_that_is_not_broken_has_no_defect(name: str) -> None:
    message = parse(name)
    assert [defect for part in message.walk() for defect in part.defects] == []
    for header in ("From", "To", "Subject", "Date", "Message-ID"):
        assert message[header]
        assert message[header].defects == ()


def test_there_are_twelve_in_three_maildrops() -> None:
    assert {name: len(maildrop) for name, maildrop in sample_maildrops().items()} == {
        "billing": 4,
        "orders": 5,
        "reports": 3,
    }
    assert len({sample.raw for sample in SAMPLES.values()}) == 12


def test_samples_are_the_same_every_time_and_maildrops_are_fresh() -> None:
    assert sample_messages() == sample_messages()
    first = sample_maildrops()
    first["orders"].deliver(b"more")
    assert len(sample_maildrops()["orders"]) == 5


def test_message_ids_differ() -> None:
    ids = [parse(name)["Message-ID"] for name in SAMPLES if name != "empty"]
    assert len(set(ids)) == len(ids)


def test_the_weekday_fits_the_date() -> None:
    for name in SAMPLES:
        if name != "empty":
            date = parse(name)["Date"]
            assert str(date).startswith(date.datetime.strftime("%a, %d %b %Y"))


def test_the_invoice_has_a_real_pdf() -> None:
    [(filename, octets)] = named(parse("invoice"))
    assert filename == "invoice-4711.pdf"
    check_pdf(octets)


def test_the_order_nests_alternative_in_related_in_mixed() -> None:
    message = parse("order")
    assert types(message) == [
        "multipart/mixed",
        "multipart/related",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "image/png",
        "application/pdf",
    ]
    _, _, _, plain, html, image, terms = message.walk()
    assert "48,50 €" in content(plain).decode()
    assert f"cid:{image['Content-ID'].strip('<>')}" in content(html).decode()
    assert image.get_content_disposition() == "inline"
    check_png(content(image))
    check_pdf(content(terms))
    assert message["Subject"] == "Bestellung B-1089 \N{EN DASH} bestätigt"
    assert message["From"].addresses[0].display_name == "Papier & Füller"


def test_the_report_has_a_file_name_in_continuations() -> None:
    assert b"filename*0*=UTF-8''" in SAMPLES["report"].raw
    [(filename, octets)] = named(parse("report"))
    assert filename == "Übersicht 2026 \N{EN DASH} Umsatz nach Quartal.pdf"
    check_pdf(octets)


def test_the_forwarded_message_has_its_own_attachment() -> None:
    message = parse("forwarded")
    assert types(message) == [
        "multipart/mixed", "text/plain", "message/rfc822", "multipart/mixed", "text/plain", "text/csv",
    ]  # fmt: skip
    inner = list(message.walk())[3]
    assert inner["Subject"] == "Credit note 88"
    assert named(message) == [("credit-note.csv", b"position,amount\r\nFreight,-35.00\r\nPallet,-12.50\r\n")]


def test_the_alert_has_lines_that_begin_with_a_dot() -> None:
    lines = content(parse("alert")).split(b"\r\n")
    assert b"." in lines
    assert b"..87 88 90 90 91" in lines


def test_the_japanese_mail_is_iso_2022_jp_in_header_and_body() -> None:
    message = parse("japanese")
    assert message["Subject"] == "ご注文の確認"
    assert message["From"].addresses[0].display_name == "山田文具店"
    assert "万年筆を三本" in message.get_content()
    assert SAMPLES["japanese"].raw.isascii()


def test_two_scans_have_one_name_and_differ() -> None:
    (first, one), (second, two) = named(parse("same-names"))
    assert first == second == "scan.png"
    assert hashlib.sha256(one).digest() != hashlib.sha256(two).digest()
    check_png(one)
    check_png(two)


def test_the_traversal_wants_to_leave_its_directory() -> None:
    [(filename, _)] = named(parse("traversal"))
    assert filename == "../../../../etc/cron.d/order-form"


def test_the_readings_are_300_kb_of_csv() -> None:
    [(filename, octets)] = named(parse("readings"))
    assert filename == "readings.csv"
    assert 300_000 <= len(octets) < 400_000
    rows = list(csv.DictReader(io.StringIO(octets.decode())))
    assert len({(row["date"], row["time"]) for row in rows}) == 14_400
    assert all(float(row["kWh"]) >= 0 for row in rows)


def test_the_broken_mail_is_broken_in_every_way_it_claims() -> None:
    raw = SAMPLES["broken"].raw
    assert "Subject: Preisliste für März\r\n".encode("latin-1") in raw
    assert b'boundary="=_broken"' in raw
    assert b"--=_broken--" not in raw
    _, text, table = parse("broken").walk()
    assert text.get_content_charset() == "utf-8"
    with pytest.raises(UnicodeDecodeError):
        content(text).decode("utf-8")
    assert named(table) == [("prices.csv", content(table))]
    assert {type(defect) for defect in table.defects} == {InvalidBase64CharactersDefect, InvalidBase64PaddingDefect}


def test_the_latin_1_mail_has_raw_8_bit_text() -> None:
    message = parse("latin-1")
    assert message["Content-Transfer-Encoding"] == "8bit"
    assert "Grüße, Jürgen Müller" in message.get_content()
    assert "Blöcke".encode("latin-1") in SAMPLES["latin-1"].raw


def test_the_empty_mail_has_no_octets() -> None:
    assert SAMPLES["empty"].raw == b""
