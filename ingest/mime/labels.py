"""What a part is beside its type, for consumers that treat some mail in a way of their own.

Rules of this file:
- A label repeats a claim: no signature is verified here, and nothing is decrypted.
- Usual mail pays for one look into a set.
"""

from __future__ import annotations

from collections.abc import Mapping

from ingest.mime.decoders import decoded_span
from ingest.models import Label

_PKCS7 = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_SMIME_TYPES = {
    "signed-data": Label.SMIME_SIGNED,
    "enveloped-data": Label.SMIME_ENCRYPTED,
    "authenveloped-data": Label.SMIME_ENCRYPTED,
    "signed-receipt": Label.SMIME_SIGNED,
}
_UNLABELLED = frozenset({"certs-only", "compressed-data"})  # CMS, the former even SignedData, that protects no message
_PROTOCOLS = {
    ("multipart/signed", "application/pkcs7-signature"): Label.SMIME_SIGNED,
    ("multipart/signed", "application/x-pkcs7-signature"): Label.SMIME_SIGNED,
    ("multipart/signed", "application/pgp-signature"): Label.PGP_SIGNED,
    ("multipart/encrypted", "application/pgp-encrypted"): Label.PGP_ENCRYPTED,
}
_TYPES = {
    "application/pkcs7-signature": Label.SMIME_SIGNED,
    "application/x-pkcs7-signature": Label.SMIME_SIGNED,
    "application/pgp-signature": Label.PGP_SIGNED,
    "application/pgp-encrypted": Label.PGP_ENCRYPTED,
    "text/calendar": Label.CALENDAR,
    "application/ics": Label.CALENDAR,
    "application/ms-tnef": Label.TNEF,
    "application/vnd.ms-tnef": Label.TNEF,
}
_BY_PARAMETERS = frozenset({"multipart/signed", "multipart/encrypted", "multipart/report", *_PKCS7})
_NAMES = {"winmail.dat": Label.TNEF, "win.dat": Label.TNEF, "smime.p7s": Label.SMIME_SIGNED}
_OPAQUE = "application/octet-stream"
_REPORTS = frozenset({"delivery-status", "disposition-notification"})
_OIDS = {  # of the first content type in a ContentInfo (RFC 5652, 3)
    b"\x06\x09*\x86H\x86\xf7\r\x01\x07\x02": Label.SMIME_SIGNED,
    b"\x06\x09*\x86H\x86\xf7\r\x01\x07\x03": Label.SMIME_ENCRYPTED,
    b"\x06\x0b*\x86H\x86\xf7\r\x01\t\x10\x01\x17": Label.SMIME_ENCRYPTED,
}
_CERTIFICATES = ".p7c"
_SMIME_MESSAGE = ".p7m"
_LOOK_BYTES = 1024
_OID_BYTES = 64
ARMOUR = b"-----BEGIN PGP "
_ARMOURED = {
    "-----BEGIN PGP MESSAGE-----": Label.PGP_ENCRYPTED,
    "-----BEGIN PGP SIGNED MESSAGE-----": Label.PGP_SIGNED,
}


def label_of(content_type: str, parameters: Mapping[str, str], filename: str | None) -> Label | None:
    """The label of a part by its header (RFC 8551, 3; RFC 3156; RFC 6522; RFC 6047)."""
    label = _TYPES.get(content_type)
    if label is None and content_type in _BY_PARAMETERS:
        return _by_parameters(content_type, parameters)
    if label is None and filename is not None and content_type.startswith("application/"):
        return _NAMES.get(filename.lower())
    return label


def _by_parameters(content_type: str, parameters: Mapping[str, str]) -> Label | None:
    if content_type in _PKCS7:
        return _SMIME_TYPES.get(parameters.get("smime-type", "").lower())
    if content_type == "multipart/report":
        return Label.REPORT if parameters.get("report-type", "").lower() in _REPORTS else None
    return _PROTOCOLS.get((content_type, parameters.get("protocol", "").lower()))


def label_within(container: Label | None, content_type: str) -> Label | None:
    """The label of a part that has none of its own, by the multipart it lies in: what PGP encrypted is opaque."""
    return container if container is Label.PGP_ENCRYPTED and content_type == _OPAQUE else None


def is_told_by_content(content_type: str, parameters: Mapping[str, str], filename: str | None) -> bool:
    """Whether a part without a label is PKCS #7 whose header does not say of which kind (RFC 8551, 3.2.1 and 3.2.2)."""
    name = (filename or "").lower()
    if content_type in _PKCS7:
        return parameters.get("smime-type", "").lower() not in _UNLABELLED and not name.endswith(_CERTIFICATES)
    return content_type == _OPAQUE and name.endswith(_SMIME_MESSAGE)


def label_of_content(view: memoryview, encoding: str, span: tuple[int, int]) -> Label | None:
    """The label of a part that `is_told_by_content`: its first octets name the kind (RFC 5652, 3)."""
    start, end = span
    head = next(decoded_span(view, encoding, start, min(end, start + _LOOK_BYTES)), b"")[:_OID_BYTES]
    return next((label for oid, label in _OIDS.items() if oid in head), None)


def label_of_text(text: str) -> Label | None:
    """The label of a text whose first armour begins a line (RFC 9580, 6.2)."""
    if ARMOUR.decode() not in text:
        return None
    found = [(at, label) for words, label in _ARMOURED.items() if (at := f"\n{text}".find(f"\n{words}")) >= 0]
    return min(found)[1] if found else None
