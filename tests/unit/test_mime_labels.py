"""What messages and parts are beside their type."""

from __future__ import annotations

import base64

import pytest

from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message
from ingest.models import Label, ParsedMessage

SIGNED_OID = b"0\x80\x06\x09*\x86H\x86\xf7\r\x01\x07\x02\xa0\x80"
ENVELOPED_OID = b"0\x80\x06\x09*\x86H\x86\xf7\r\x01\x07\x03\xa0\x80"


def read(message: str) -> ParsedMessage:
    return read_message(message.replace("\n", "\r\n").encode(), MimeLimits())


def multipart(kind: str, *parts: str) -> str:
    return f"Content-Type: multipart/{kind}; boundary=b\n\n" + "".join(f"--b\n{part}\n" for part in parts) + "--b--\n"


def encoded(kind: str, octets: bytes) -> str:
    content = base64.encodebytes(octets + bytes(2000)).decode()
    return f"Content-Type: {kind}\nContent-Transfer-Encoding: base64\n\n{content}"


TEXT = "Content-Type: text/plain\n\nhello\n"


@pytest.mark.parametrize("x", ["", "x-"])
def test_a_message_signed_with_smime_and_its_signature_are_labelled(x: str) -> None:
    signature = f"Content-Type: application/{x}pkcs7-signature; name=smime.p7s\n\nMIIB\n"
    parsed = read(multipart(f'signed; protocol="application/{x}pkcs7-signature"; micalg=sha-256', TEXT, signature))
    assert parsed.labels == (Label.SMIME_SIGNED,)
    assert [part.label for part in parsed.attachments] == [Label.SMIME_SIGNED]
    assert parsed.text is not None
    assert parsed.text.content == "hello\r\n"


@pytest.mark.parametrize(
    ("smime_type", "label"),
    [
        ("signed-data", Label.SMIME_SIGNED),
        ("enveloped-data", Label.SMIME_ENCRYPTED),
        ("authEnveloped-data", Label.SMIME_ENCRYPTED),
        ("signed-receipt", Label.SMIME_SIGNED),
        ("certs-only", None),
        ("compressed-data", None),
    ],
)
def test_what_a_pkcs7_part_is_its_smime_type_says(smime_type: str, label: Label | None) -> None:
    parsed = read(encoded(f"application/pkcs7-mime; smime-type={smime_type}; name=smime.p7m", SIGNED_OID))
    assert parsed.attachments[0].label == label
    assert parsed.labels == (() if label is None else (label,))


@pytest.mark.parametrize(
    ("octets", "label"), [(SIGNED_OID, Label.SMIME_SIGNED), (ENVELOPED_OID, Label.SMIME_ENCRYPTED)]
)
def test_without_a_smime_type_the_first_octets_say_it(octets: bytes, label: Label) -> None:
    assert read(encoded("application/x-pkcs7-mime", octets)).labels == (label,)
    assert read(encoded("application/octet-stream; name=SMIME.P7M", octets)).labels == (label,)


def test_certificates_by_name_and_octets_without_a_name_are_no_signed_mail() -> None:
    assert read(encoded("application/pkcs7-mime; name=smime.p7c", SIGNED_OID)).labels == ()
    assert read(encoded("application/octet-stream", SIGNED_OID)).labels == ()
    assert read(encoded("application/octet-stream; name=smime.p7m", b"none of it")).labels == ()


def test_what_is_signed_and_encrypted_with_pgp_is_labelled() -> None:
    signature = "Content-Type: application/pgp-signature\n\n-----BEGIN PGP SIGNATURE-----\n"
    assert read(multipart("signed; protocol=application/pgp-signature", TEXT, signature)).labels == (Label.PGP_SIGNED,)
    control = "Content-Type: application/pgp-encrypted\n\nVersion: 1\n"
    content = "Content-Type: application/octet-stream; name=encrypted.asc\n\n-----BEGIN PGP MESSAGE-----\n"
    parsed = read(multipart("encrypted; protocol=application/pgp-encrypted", control, content))
    assert [part.label for part in parsed.attachments] == [Label.PGP_ENCRYPTED] * 2


@pytest.mark.parametrize(("words", "label"), [("MESSAGE", Label.PGP_ENCRYPTED), ("SIGNED MESSAGE", Label.PGP_SIGNED)])
def test_armour_in_a_text_is_labelled_where_it_begins_a_line(words: str, label: Label) -> None:
    assert read(f"Subject: a\n\nhello\n-----BEGIN PGP {words}-----\n").labels == (label,)
    assert read(f"Subject: a\n\n> -----BEGIN PGP {words}-----\n").labels == ()


@pytest.mark.parametrize("kind", ["text/calendar; method=REQUEST", "application/ics"])
def test_a_meeting_is_an_attachment_with_a_label_wherever_it_stands(kind: str) -> None:
    meeting = f"Content-Type: {kind}\n\nBEGIN:VCALENDAR\n"
    parsed = read(multipart("alternative", TEXT, "Content-Type: text/html\n\n<p>hello\n", meeting))
    assert [(part.number, part.label) for part in parsed.attachments] == [("3", Label.CALENDAR)]
    assert parsed.labels == (Label.CALENDAR,)


@pytest.mark.parametrize("encoding", ["7bit", "base64"])
def test_armour_in_the_text_of_a_forwarded_message_is_labelled(encoding: str) -> None:
    text = "See below.\n-----BEGIN PGP MESSAGE-----\n"
    content = base64.b64encode(text.encode()).decode() if encoding == "base64" else text
    inner = f"Content-Type: text/plain\nContent-Transfer-Encoding: {encoding}\n\n{content}\n"
    assert read(f"Content-Type: message/rfc822\n\n{inner}").labels == (Label.PGP_ENCRYPTED,)


def test_a_meeting_in_a_forwarded_message_is_an_attachment_too() -> None:
    meeting = "Content-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR\n"
    parsed = read("Content-Type: message/rfc822\n\n" + multipart("alternative", TEXT, meeting))
    assert [(part.number, part.label) for part in parsed.attachments] == [("1", None), ("1.2", Label.CALENDAR)]


@pytest.mark.parametrize(
    "header",
    ["application/ms-tnef", "application/vnd.ms-tnef", "application/octet-stream; name=WINMAIL.DAT"],
)
def test_a_winmail_dat_is_labelled(header: str) -> None:
    parsed = read(f"Content-Type: {header}\n\nx")
    assert parsed.attachments[0].label is Label.TNEF


def test_a_picture_that_is_called_winmail_dat_is_none() -> None:
    assert read("Content-Type: image/png; name=winmail.dat\n\nx").labels == ()


@pytest.mark.parametrize("kind", ["delivery-status", "disposition-notification"])
def test_a_report_is_labelled(kind: str) -> None:
    status = f"Content-Type: message/{kind}\n\nReporting-MTA: dns; a\n"
    assert read(multipart(f"report; report-type={kind}", TEXT, status)).labels == (Label.REPORT,)


def test_the_labels_of_a_message_are_those_of_all_it_holds_each_once() -> None:
    forwarded = "Content-Type: message/rfc822\n\nContent-Type: text/calendar\n\nBEGIN:VCALENDAR\n"
    tnef = "Content-Type: application/ms-tnef\n\nx"
    assert read(multipart("mixed", tnef, forwarded, tnef)).labels == (Label.CALENDAR, Label.TNEF)


def test_usual_mail_has_none() -> None:
    assert read(multipart("mixed", TEXT, "Content-Type: application/pdf; name=a.pdf\n\n%PDF")).labels == ()
