"""Target: any octets as a winmail.dat. Children lie within, are few, are numbered once, and none covers another."""

from __future__ import annotations

import tnef_writer as write

from ingest.mime.decoders import decoded
from ingest.mime.defects import DefectLog
from ingest.mime.filenames import clean_filename
from ingest.mime.limits import MimeLimits
from ingest.mime.tnef import read_tnef

LIMITS = MimeLimits(parts=12, nested_messages=3, filename_bytes=40, filename_raw_bytes=120, defects=20)
MOST_BYTES = 4096
_RTF = bytes.fromhex("1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0")  # MS-OXRTFCP, 4.2
_GROWTH = 8  # of compressed RTF


def seeds() -> tuple[bytes, ...]:
    """What a run starts from."""
    attached = write.attachment(b"abc", write.text8(write.PR_LONG_FILENAME, b"a\xe9.txt"), title=b"A.TXT")
    return (
        write.stream(),
        write.everything(),
        write.nested(5, attached),
        write.HEAD + write.codepage(932) + attached * 14,
        write.stream(write.message(write.text8(write.PR_BODY, b"text"), write.text(write.PR_HTML, "<p>"))),
        write.stream(write.message(write.binary(write.PR_RTF, _RTF))),
        write.everything() + b"\0\r\n",
    )


def run(case: bytes) -> None:
    """One input."""
    log = DefectLog(LIMITS)
    parts = read_tnef(memoryview(case), "2", LIMITS, log)
    assert len(parts) <= LIMITS.parts
    spans = {"2": (0, len(case))}
    taken = dict.fromkeys(spans, 0)
    for part in parts:
        assert part.number not in spans
        assert part.parent in spans
        assert part.number.rpartition(".")[0] == part.parent
        assert part.number.count(".") <= LIMITS.nested_messages + 1
        start, end = spans[part.parent]
        assert start <= part.start <= part.end <= end
        spans[part.number], taken[part.number] = (part.start, part.end), 0
        taken[part.parent] += part.end - part.start
        for text in (part.filename, part.filename_raw, part.content_id, part.charset, part.content_type):
            assert text is None or text.encode()
        assert part.filename is None or clean_filename(part.filename, LIMITS.filename_bytes) == part.filename
        assert len((part.filename_raw or "").encode()) <= LIMITS.filename_raw_bytes
        assert part.disposition in {"inline", "attachment"}
        assert len(b"".join(decoded(case, part))) <= _GROWTH * (part.end - part.start)
        assert "/" in part.content_type
        assert part.content_type.isprintable()
    for number, (start, end) in spans.items():
        assert taken[number] <= end - start
    assert len(log.found()) <= LIMITS.defects
