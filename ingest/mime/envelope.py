"""The top header block as an event carries it: every field decoded in order, and the ones with a meaning read.

Rules of this file:
- The first of duplicate fields is used (RFC 5322, 3.6 allows one); all of them are in `headers`.
- Message ids stay as written, with their brackets.
"""

from __future__ import annotations

import re
from datetime import datetime

from ingest.mime.addresses import parse_addresses
from ingest.mime.dates import parse_date
from ingest.mime.defects import DefectCode, DefectLog
from ingest.mime.fields import Fields, split_fields
from ingest.mime.limits import MimeLimits
from ingest.mime.parameters import without_comments
from ingest.mime.words import decode_words
from ingest.models import Address, Envelope

_SINGLE = frozenset({
    *("message-id", "in-reply-to", "references", "date", "from", "sender", "reply-to", "to", "cc", "subject"),
    *("content-type", "content-transfer-encoding", "content-disposition", "content-id", "mime-version"),
})  # fmt: skip
_HEADER_END = re.compile(rb"\n\r?\n")
_EMPTY_HEADER = re.compile(rb"\r?\n")
_MESSAGE_ID = re.compile(r"<[^<>]+>")
_MESSAGE_ID_CHARS = 998  # a whole line of RFC 5322, 2.1.1


def read_envelope(head: bytes, limits: MimeLimits) -> Envelope:
    """The envelope of a header block alone, as `TOP n 0` gives it; what follows an empty line is not looked at."""
    log = DefectLog(limits)
    return build_envelope(_fields(head, limits, log), limits, log)


def newest_received(head: bytes, limits: MimeLimits) -> datetime | None:
    """When the last server took the message in: the date of the topmost Received field (RFC 5321, 4.4)."""
    received = _fields(head, limits, DefectLog(limits)).first.get("received")
    return parse_date(without_comments(received).rpartition(";")[2]) if received else None


def _fields(head: bytes, limits: MimeLimits, log: DefectLog) -> Fields:
    end = 0 if _EMPTY_HEADER.match(head) else None
    if end is None and (empty_line := _HEADER_END.search(head)):
        end = empty_line.start() + 1
    return split_fields(head[:end], limits, log, None)


def build_envelope(fields: Fields, limits: MimeLimits, log: DefectLog) -> Envelope:
    """The envelope of split fields; what is wrong with it goes to `log`."""
    get = fields.first.get
    for name in fields.repeated:
        if name in _SINGLE:
            log.note(DefectCode.HEADER_DUPLICATE, None, name)
    subject = get("subject")
    return Envelope(
        _message_id(get("message-id")),
        _message_id(get("in-reply-to")),
        _references(get("references"), limits, log),
        _date(get("date"), log),
        _addresses("from", get("from"), limits, log),
        _addresses("sender", get("sender"), limits, log),
        _addresses("reply-to", get("reply-to"), limits, log),
        _addresses("to", get("to"), limits, log),
        _addresses("cc", get("cc"), limits, log),
        None if subject is None else decode_words(subject).strip(),
        tuple(
            [(name, decode_words(value).rstrip() if "=?" in value else value.rstrip()) for name, value in fields.items]
        ),
    )


def _addresses(name: str, raw: str | None, limits: MimeLimits, log: DefectLog) -> tuple[Address, ...]:
    if not raw:
        return ()
    found, wrong = parse_addresses(raw, limits)
    if wrong:
        log.note(wrong, None, name)
    return found


def _date(raw: str | None, log: DefectLog) -> datetime | None:
    if raw is None:
        return None
    date = parse_date(raw)
    if date is None:
        log.note(DefectCode.DATE_MALFORMED, None, f"date: {raw.strip()}")
    return date


def _message_id(raw: str | None) -> str | None:
    """The first id in brackets; without any, the value as it is."""
    if not raw:
        return None
    bracketed = _MESSAGE_ID.search(raw)
    return (bracketed[0] if bracketed else raw.strip())[:_MESSAGE_ID_CHARS] or None


def _references(raw: str | None, limits: MimeLimits, log: DefectLog) -> tuple[str, ...]:
    if not raw:
        return ()
    ids = _MESSAGE_ID.findall(raw) or raw.split()
    if len(ids) > limits.references:
        log.note(DefectCode.TOO_MANY_REFERENCES, None, f"{len(ids)} ids")
        del ids[limits.references :]
    return tuple(found[:_MESSAGE_ID_CHARS] for found in ids)
