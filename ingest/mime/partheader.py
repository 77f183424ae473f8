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
# A multipart as nearly all are sent, read without a look at anything else; as a field's value and as a whole block.
_MULTIPART = re.compile(r'\s*+(multipart/[\w-]{1,99})\s*+;\s*+boundary="([^"\\]*+)"\s*+', re.ASCII | re.IGNORECASE)
_MULTIPART_BLOCK = re.compile(
    rb'Content-Type: (multipart/[\w-]{1,99});(?:\r?\n)?[ \t]boundary="([ !#-\[\]-~]{1,250})"(?:\r?\n)?', re.IGNORECASE
)
_ENCODINGS = {name: name for name in ("base64", "quoted-printable", "7bit", "8bit", "binary")}
_CACHED_BYTES = 256
_UNCUT_BYTES = 1024  # with a limit of so many for a field, no block of `_CACHED_BYTES` is cut
_CHARSET_CHARS = 64
_CONTENT_ID_CHARS = 998
_BODIES = frozenset({"text/plain", "text/html"})
_FIELDS = frozenset({"content-type", "content-disposition", "content-transfer-encoding", "content-id"})


class PartHeader(NamedTuple):
    """The four Content- fields, read. `filename` is as sent; `boundary` is "" where there is none.

    `told_by_content`: whether only the content says which label it has.
    `may_be_body`: whether it is text/plain or text/html, unnamed and inline.
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
    may_be_body: bool = False


def part_header(
    block: bytes, limits: MimeLimits, log: DefectLog, part: str | None, *, digest: bool
) -> tuple[PartHeader, int]:
    """The header of a part from its block, and how much of the block belongs to it (see `Fields.octets`)."""
    if len(block) <= _CACHED_BYTES and b"name" not in block:
        if b"boundary" not in block:
            cached = _faultless(block, limits, digest)
            if cached:
                return cached
        elif limits.header_bytes >= _UNCUT_BYTES and (multipart := _MULTIPART_BLOCK.fullmatch(block)):
            kind, boundary = multipart[1].decode().lower(), multipart[2].decode()
            return PartHeader(kind, None, None, None, None, "7bit", boundary), len(block)
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
        multipart = _MULTIPART.fullmatch(raw)
        if multipart and limits.parameters and "content-disposition" not in first and "content-id" not in first:
            encoding = _encoding(first.get("content-transfer-encoding"), log, part)
            return PartHeader(multipart[1].lower(), None, None, None, None, encoding, multipart[2])
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
    disposition_type = disposition[1] if disposition else None
    if parameters.cut or disposition_parameters.cut:
        log.note(DefectCode.TOO_MANY_PARAMETERS, part)
    charset = parameters.parameters.get("charset", "").strip("\"' \t")
    content_id = first.get("content-id", "").strip()
    filename = filename_of(disposition_parameters, parameters, limits)
    label = label_of(content_type, parameters.parameters, filename)
    flowed = content_type == "text/plain" and parameters.parameters.get("format", "").lower() == "flowed"
    return PartHeader(
        content_type,
        charset[:_CHARSET_CHARS] or None,
        disposition_type,
        filename,
        content_id[:_CONTENT_ID_CHARS] or None,
        _encoding(first.get("content-transfer-encoding"), log, part),
        parameters.parameters.get("boundary", ""),
        label,
        label is None and is_told_by_content(content_type, parameters.parameters, filename),
        flowed,
        flowed and parameters.parameters.get("delsp", "").lower() == "yes",
        content_type in _BODIES and filename is None and disposition_type in {None, "inline"},
    )


def _encoding(raw: str | None, log: DefectLog, part: str | None) -> str:
    if not raw:
        return "7bit"
    usual = _ENCODINGS.get(raw)
    if usual is not None:
        return usual
    token = _TOKEN.match(without_comments(raw))
    encoding = token[1].lower() if token else ""
    if not known(encoding):
        log.note(DefectCode.ENCODING_UNKNOWN, part, raw.strip())
    return encoding or "7bit"
