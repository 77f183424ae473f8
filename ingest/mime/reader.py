"""Reads one message into what an event needs.

Rules of this file:
- `read_message` raises nothing but its deadline; cost is linear in the buffer's size; attachments stay spans over it.
"""

from __future__ import annotations

import mmap

from ingest.mime.bodies import read_body
from ingest.mime.deadline import Deadline
from ingest.mime.decoders import IDENTITY, decoded_span
from ingest.mime.defects import DefectLog
from ingest.mime.envelope import build_envelope
from ingest.mime.filenames import clean_filename
from ingest.mime.flowed import unflowed
from ingest.mime.labels import ARMOUR, label_of_content, label_of_text
from ingest.mime.limits import MimeLimits
from ingest.mime.octets import octets
from ingest.mime.structure import Leaf, Structure
from ingest.models import Body, Label, ParsedMessage, Part

_QUICK = frozenset({*IDENTITY, "base64", "quoted-printable"})


def read_message(
    buffer: memoryview | bytes | mmap.mmap, limits: MimeLimits, deadline: Deadline | None = None
) -> ParsedMessage:
    """Envelope, text, html, attachments and defects of a whole message (RFC 5322, RFC 2045-2049).

    An attachment is every leaf that did not become text or html, but not the unnamed text within a forwarded message:
    that lies in its message/rfc822, which is an attachment itself. MessageUnprocessable when the deadline is over.
    """
    with octets(buffer) as view:
        log = DefectLog(limits)
        structure = Structure(view, limits, log, deadline)
        envelope = build_envelope(structure.fields, limits, log)
        text, html = structure.text, structure.html
        plain = rich = None
        labels: set[Label | None] = {*structure.labels}
        if text is not None:
            plain = read_body(view, text, limits, log)
            header = text.header
            if header.flowed:
                plain = Body(unflowed(plain.content, delsp=header.delsp), plain.truncated, plain.charset)
            labels.add(label_of_text(plain.content))
        attachments = []
        for leaf in structure.leaves:
            if leaf.is_listed and leaf is not text and leaf is not html:
                part = _part(view, leaf, limits)
                labels.add(part.label)
                attachments.append(part)
            elif not leaf.is_listed:
                if deadline:
                    deadline.step()
                labels.add(_armour(view, leaf, limits))
        if html is not None:
            rich = read_body(view, html, limits, log)
        labels.discard(None)
        return ParsedMessage(
            envelope,
            plain,
            rich,
            tuple(attachments),
            log.found(),
            structure.header_end,
            tuple([label for label in Label if label in labels]) if labels else (),
        )


def _armour(view: memoryview, leaf: Leaf, limits: MimeLimits) -> Label | None:
    """The label of a text of a forwarded message by its PGP armour, which is ASCII (RFC 9580, 6.2)."""
    header = leaf.header
    if header.content_type != "text/plain" or header.encoding not in _QUICK:
        return None
    end = min(leaf.end, leaf.start + limits.body_bytes)
    content = b"".join(decoded_span(view, header.encoding, leaf.start, end))
    return label_of_text(content.decode("latin-1")) if ARMOUR in content else None


def _part(view: memoryview, leaf: Leaf, limits: MimeLimits) -> Part:
    header = leaf.header
    raw = header.filename
    label = header.label
    if label is None and header.told_by_content:
        label = label_of_content(view, header.encoding, (leaf.start, leaf.end))
    return Part(
        leaf.number,
        leaf.parent,
        header.content_type,
        header.charset,
        header.disposition,
        clean_filename(raw, limits.filename_bytes) if raw else None,
        raw,
        header.content_id,
        header.encoding,
        leaf.start,
        leaf.end,
        label,
    )
