"""The demo's mail: one small stationer's inbox, with what real inboxes hold.

Rules of this room:
- Written octet by octet and the same on every machine: what a mail is for stands in its title.
- Attachments are real files. Names are under .example (RFC 2606); nothing here is anybody's.
"""

from __future__ import annotations

import base64
import quopri
from collections.abc import Sequence
from dataclasses import dataclass

from ingest.simulator import attachments
from ingest.simulator.maildrop import Maildrop

_CRLF = b"\r\n"


@dataclass(frozen=True, slots=True)
class Sample:
    """One mail: a short name, what it shows, whose maildrop it lies in, and its octets (lines end in CRLF)."""

    name: str
    title: str
    account: str
    raw: bytes


def sample_messages() -> list[Sample]:
    """All samples, in order of delivery."""
    return [
        Sample("invoice", "An invoice with a PDF", "billing", _invoice()),
        Sample("order", "HTML with an inline image and a PDF: related in mixed", "orders", _order()),
        Sample("report", "A file name in RFC 2231 continuations", "reports", _report()),
        Sample("forwarded", "A forwarded message that has an attachment of its own", "billing", _forwarded()),
        Sample("alert", "Plain text, with lines that begin with a dot", "reports", _alert()),
        Sample("japanese", "A Japanese order in ISO-2022-JP", "orders", _japanese()),
        Sample("same-names", "Two different attachments of one name", "billing", _same_names()),
        Sample("traversal", "A file name that wants to leave its directory", "orders", _traversal()),
        Sample("readings", "An attachment of 300 KB", "reports", _readings()),
        Sample(
            "broken", "No closing boundary, damaged base64, a lying charset, a raw 8-bit header", "billing", _broken()
        ),
        Sample("latin-1", "8-bit text in ISO-8859-1", "orders", _latin1()),
        Sample("empty", "No octets at all", "orders", b""),
    ]


def sample_maildrops() -> dict[str, Maildrop]:
    """Fresh maildrops with the samples, by account: billing, orders, reports."""
    maildrops = {name: Maildrop() for name in ("billing", "orders", "reports")}
    for sample in sample_messages():
        maildrops[sample.account].deliver(sample.raw)
    return maildrops


def _invoice() -> bytes:
    text = _text("Dear Halde Stationers,\n\nplease find invoice 4711 attached, due on 16 December.\n\nBirk Lindqvist\n")
    invoice = attachments.pdf(
        ["Lindqvist Paper AB", "Invoice 4711", "200 reams A4, 80 g  1,240.00 EUR", "Due 2026-12-16"]
    )
    return _mail(
        _top("Lindqvist Paper <billing@lindqvist.example>", "billing@halde.example", "Invoice 4711", 16, "4711"),
        _multipart("mixed", "=_invoice", [text, _file("invoice-4711.pdf", "application/pdf", invoice)]),
    )


def _order() -> bytes:
    html = (
        '<html><body><img src="cid:logo@shop.example" alt="Papier &amp; Füller">\n'
        "<p>Thank you! Your order <b>B-1089</b> over <b>48,50 €</b> is on its way.</p></body></html>\n"
    )
    plain = "Thank you! Your order B-1089 over 48,50 € is on its way.\n"
    alternative = _multipart("alternative", "=_alternative", [_text(plain, "plain"), _text(html, "html")])
    logo = _part(
        'Content-Type: image/png; name="logo.png"',
        "Content-ID: <logo@shop.example>",
        'Content-Disposition: inline; filename="logo.png"',
        "Content-Transfer-Encoding: base64",
        body=_base64(attachments.png(32, (24, 96, 160))),
    )
    related = _multipart('related; type="multipart/alternative"', "=_related", [alternative, logo])
    terms = attachments.pdf(["Papier & Fueller", "Terms of delivery", "Returns within 30 days (unused)."])
    return _mail(
        _top(
            "=?UTF-8?Q?Papier_&_F=C3=BCller?= <shop@papier.example>",
            "orders@halde.example",
            "=?UTF-8?B?QmVzdGVsbHVuZyBCLTEwODkg4oCTIGJlc3TDpHRpZ3Q=?=",
            17,
            "b-1089",
        ),
        _multipart("mixed", "=_mixed", [related, _file("terms.pdf", "application/pdf", terms)]),
    )


def _report() -> bytes:
    table = attachments.pdf(["Overview 2026", "Q1 12,400  Q2 13,150", "Q3 11,980  Q4 15,020"])
    report = _part(
        "Content-Type: application/pdf",
        "Content-Disposition: attachment;",
        " filename*0*=UTF-8''%C3%9Cbersicht%202026%20%E2%80%93;",
        " filename*1*=%20Umsatz%20nach%20Quartal;",
        " filename*2=.pdf",
        "Content-Transfer-Encoding: base64",
        body=_base64(table),
    )
    return _mail(
        _top(
            "Controlling <controlling@halde.example>",
            "reports@halde.example",
            "=?utf-8?q?Jahres=C3=BCbersicht_2026?=",
            18,
            "overview-2026",
        ),
        _multipart("mixed", "=_report", [_text("Anbei die Übersicht für 2026.\n"), report]),
    )


def _forwarded() -> bytes:
    credit = attachments.csv(("position", "amount"), [("Freight", "-35.00"), ("Pallet", "-12.50")])
    original = _mail(
        _top("Accounts <accounts@spedition.example>", "office@halde.example", "Credit note 88", 12, "credit-88"),
        _multipart(
            "mixed", "=_inner", [_text("Our credit note is attached.\n"), _file("credit-note.csv", "text/csv", credit)]
        ),
    )
    message = _part("Content-Type: message/rfc822", "Content-Disposition: inline", body=original)
    return _mail(
        _top("Office <office@halde.example>", "billing@halde.example", "Fwd: Credit note 88", 18, "fwd-88"),
        _multipart("mixed", "=_outer", [_text("For your books.\n"), message]),
    )


def _alert() -> bytes:
    body = "Disk /srv at 91 % on stock-db.\n\n.last five samples\n..87 88 90 90 91\n.\nThis line comes after a single dot.\n"
    return _mail(
        _top(
            "Monitor <monitor@halde.example>", "reports@halde.example", "[WARN] disk space on stock-db", 19, "alert-1"
        ),
        _part("Content-Type: text/plain; charset=us-ascii", body=_crlf(body).encode("ascii")),
    )


def _japanese() -> bytes:
    subject, sender = _iso2022jp("ご注文の確認"), _iso2022jp("山田文具店")
    body = "ハルデ様\n\n万年筆を三本、注文いたします。\n\n山田\n"
    return _mail(
        _top(f"{sender} <yamada@bungu.example>", "orders@halde.example", subject, 19, "jp-3"),
        _part(
            "Content-Type: text/plain; charset=ISO-2022-JP",
            "Content-Transfer-Encoding: 7bit",
            body=_crlf(body).encode("iso2022_jp"),
        ),
    )


def _same_names() -> bytes:
    scans = [attachments.png(16, colour) for colour in ((200, 30, 30), (30, 120, 30))]
    return _mail(
        _top("Scanner <scanner@halde.example>", "billing@halde.example", "2 pages scanned", 20, "scan-2"),
        _multipart("mixed", "=_scan", [_text("Two pages.\n"), *(_file("scan.png", "image/png", s) for s in scans)]),
    )


def _traversal() -> bytes:
    job = b"# This file must not leave its directory.\n"
    return _mail(
        _top("A friend <friend@elsewhere.example>", "orders@halde.example", "Order form", 20, "form-1"),
        _multipart(
            "mixed",
            "=_form",
            [
                _text("Please open the form.\n"),
                _file("../../../../etc/cron.d/order-form", "application/octet-stream", job),
            ],
        ),
    )


def _readings() -> bytes:
    rows = [
        (f"2026-11-{1 + n // 480:02}", f"{n % 480 * 3 // 60:02}:{n % 480 * 3 % 60:02}", n * 37 % 101 / 10)
        for n in range(14_400)
    ]
    table = attachments.csv(("date", "time", "kWh"), rows)
    return _mail(
        _top("Meter <meter@halde.example>", "reports@halde.example", "Meter readings, November", 21, "meter-11"),
        _multipart("mixed", "=_meter", [_text("14,400 readings.\n"), _file("readings.csv", "text/csv", table)]),
    )


def _broken() -> bytes:
    text = _part(
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        body="Grüße aus Köln\r\n".encode("latin-1"),
    )
    whole = _base64(attachments.csv(("item", "price"), [("Ink", "4.20"), ("Nibs", "9.90")]))
    damaged = whole[:20] + b"!\xff*" + whole[20:].rstrip(b"=\r\n")[:-1] + _CRLF
    table = _part(
        'Content-Type: text/csv; name="prices.csv"',
        'Content-Disposition: attachment; filename="prices.csv"',
        "Content-Transfer-Encoding: base64",
        body=damaged,
    )
    unclosed = _multipart("mixed", "=_broken", [text, table]).removesuffix(b"--=_broken--\r\n")
    head = _top("Old fax gateway <fax@gateway.example>", "billing@halde.example", "Preisliste für März", 22, "fax-9")
    return head.encode("latin-1") + unclosed


def _latin1() -> bytes:
    return _mail(
        _top(
            "=?ISO-8859-1?Q?J=FCrgen_M=FCller?= <mueller@kunde.example>",
            "orders@halde.example",
            "=?ISO-8859-1?Q?Bestellung_f=FCr_Montag?=",
            23,
            "mueller-1",
        ),
        _part(
            "Content-Type: text/plain; charset=ISO-8859-1",
            "Content-Transfer-Encoding: 8bit",
            body=_crlf("Guten Tag,\n\nbitte 20 Blöcke und 5 Füller.\n\nGrüße, Jürgen Müller\n").encode("latin-1"),
        ),
    )


# How a mail is put together

_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")  # 1 November 2026 is a Sunday


def _top(sender: str, to: str, subject: str, day: int, message_id: str) -> str:
    date = f"{_WEEKDAYS[(day - 1) % 7]}, {day} Nov 2026 09:{day}:00 +0100"
    return (
        f"Received: from mx.halde.example by mail.halde.example; {date}\r\nFrom: {sender}\r\nTo: {to}\r\n"
        f"Subject: {subject}\r\nDate: {date}\r\nMessage-ID: <{message_id}@samples.example>\r\nMIME-Version: 1.0\r\n"
    )


def _mail(top: str, part: bytes) -> bytes:
    return top.encode("ascii") + part


def _part(*headers: str, body: bytes) -> bytes:
    return "".join(f"{header}\r\n" for header in headers).encode("ascii") + _CRLF + body


def _multipart(subtype: str, boundary: str, parts: Sequence[bytes]) -> bytes:
    delimiter = f"--{boundary}".encode("ascii")
    body = b"".join(delimiter + _CRLF + part + _CRLF for part in parts) + delimiter + b"--" + _CRLF
    return _part(f'Content-Type: multipart/{subtype}; boundary="{boundary}"', body=body)


def _text(text: str, subtype: str = "plain") -> bytes:
    return _part(
        f"Content-Type: text/{subtype}; charset=utf-8",
        "Content-Transfer-Encoding: quoted-printable",
        body=quopri.encodestring(text.encode()).replace(b"\n", _CRLF),
    )


def _file(name: str, content_type: str, content: bytes) -> bytes:
    return _part(
        f'Content-Type: {content_type}; name="{name}"',
        f'Content-Disposition: attachment; filename="{name}"',
        "Content-Transfer-Encoding: base64",
        body=_base64(content),
    )


def _base64(content: bytes) -> bytes:
    return base64.encodebytes(content).replace(b"\n", _CRLF)


def _crlf(text: str) -> str:
    return text.replace("\n", "\r\n")


def _iso2022jp(text: str) -> str:
    """An encoded word (RFC 2047)."""
    return f"=?ISO-2022-JP?B?{base64.b64encode(text.encode('iso2022_jp')).decode('ascii')}?="
