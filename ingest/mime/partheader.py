"""What a part's header says about its content (RFC 2045, RFC 2183), decoded on demand and no further.

Rules of this file:
- The first of duplicate fields is used. A type that can't be read is text/plain (RFC 2045, 5.2).
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from ingest.mime.decoders import known
from ingest.mime.defects import DefectCode, DefectLog
from ingest.mime.fields import Fields, split_fields
from ingest.mime.filenames import filename_of
from ingest.mime.labels import is_told_by_content, label_of
from ingest.mime.limits import MimeLimits
from ingest.mime.parameters import EMPTY, parse_parameters, without_comments
from ingest.models import Label

_TYPE = re.compile(r"[!#$%&'*+\-.0-9a-z^_`{|}~]{1,127}/[!#$%&'*+\-.0-9a-z^_`{|}~]{1,127}(?=\s|$)")
_TOKEN = re.compile(r"[\s\"']*([!#-'*+\-.0-9A-Z^-~]{1,64})")
_CACHED_BYTES = 256
_CHARSET_CHARS = 64
_CONTENT_ID_CHARS = 998
_FIELDS = frozenset({"content-type", "content-disposition", "content-transfer-encoding", "content-id"})


class PartHeader(NamedTuple):
    """The four Content- fields, read. `filename` is as sent; `boundary` is "" where there is none.

    `told_by_content`: whether only the content says which label it has.
    `flowed`: whether a text's lines flow (RFC 3676), and `delsp`: whether their last spaces are none of its own.
    """

    content_type: str
    charset: str | None
    disposition: str | None
    filename: str | None
    content_id: str | None
    encoding: str
    boundary: str
    label: Label | None = None
    told_by_content: bool = False
    flowed: bool = False
    delsp: bool = False


def part_header(
    block: bytes, limits: MimeLimits, log: DefectLog, part: str | None, *, digest: bool
) -> tuple[PartHeader, int]:
    """The header of a part from its block, and how much of the block belongs to it (see `Fields.octets`)."""
    if len(block) <= _CACHED_BYTES and b"name" not in block and b"boundary" not in block:
        cached = _faultless(block, limits, digest)
        if cached:
            return cached
    fields = split_fields(block, limits, log, part)
    return read_part_header(fields, limits, log, part, digest=digest), fields.octets


@functools.lru_cache(maxsize=256)
def _faultless(block: bytes, limits: MimeLimits, digest: bool) -> tuple[PartHeader, int] | None:
    """A block that says nothing wrong; text parts have the same few the world over."""
    log = DefectLog(limits)
    fields = split_fields(block, limits, log, "")
    header = read_part_header(fields, limits, log, "", digest=digest)
    return None if log.found() else (header, fields.octets)


def read_part_header(
    fields: Fields, limits: MimeLimits, log: DefectLog, part: str | None, *, digest: bool
) -> PartHeader:
    """Read split fields. In a digest a part without a type is a message/rfc822 (RFC 2046, 5.1.5)."""
    first = fields.first
    if part is not None:  # of the top header, the envelope says it
        for name in fields.repeated:
            if name in _FIELDS:
                log.note(DefectCode.HEADER_DUPLICATE, part, name)
    content_type, parameters = "message/rfc822" if digest else "text/plain", EMPTY
    raw = first.get("content-type")
    if raw is not None:
        parameters = parse_parameters(raw, limits.parameters)
        read = _TYPE.match(parameters.value)
        if read is None:
            log.note(DefectCode.CONTENT_TYPE_MALFORMED, part, raw)
            content_type = "text/plain"
        else:
            content_type = read[0]
    raw = first.get("content-disposition")
    disposition_parameters = EMPTY if raw is None else parse_parameters(raw, limits.parameters)
    disposition = _TOKEN.match(disposition_parameters.value)
    if parameters.cut or disposition_parameters.cut:
        log.note(DefectCode.TOO_MANY_PARAMETERS, part)
    charset = parameters.parameters.get("charset", "").strip("\"' \t")
    content_id = first.get("content-id", "").strip()
    filename = filename_of(disposition_parameters, parameters, limits)
    label = label_of(content_type, parameters.parameters, filename)
    flowed = content_type == "text/plain" and parameters.parameters.get("format", "").lower() == "flowed"
    return PartHeader(
        content_type=content_type,
        charset=charset[:_CHARSET_CHARS] or None,
        disposition=disposition[1] if disposition else None,
        filename=filename,
        content_id=content_id[:_CONTENT_ID_CHARS] or None,
        encoding=_encoding(first.get("content-transfer-encoding"), log, part),
        boundary=parameters.parameters.get("boundary", ""),
        label=label,
        told_by_content=label is None and is_told_by_content(content_type, parameters.parameters, filename),
        flowed=flowed,
        delsp=flowed and parameters.parameters.get("delsp", "").lower() == "yes",
    )


def _encoding(raw: str | None, log: DefectLog, part: str | None) -> str:
    if not raw:
        return "7bit"
    token = _TOKEN.match(without_comments(raw))
    encoding = token[1].lower() if token else ""
    if not known(encoding):
        log.note(DefectCode.ENCODING_UNKNOWN, part, raw.strip())
    return encoding or "7bit"
