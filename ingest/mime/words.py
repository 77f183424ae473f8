"""Encoded words in header fields (RFC 2047), as written by the book and as met in the field.

Rules of this file:
- The white space between two words goes; octets of neighbours in one charset are joined before they become text.
- Tolerated: spaces and question marks in Q, missing padding in B, words inside quotes or without space around them.
- What is decoded carries no control characters: a word can't smuggle a line end into a header.
"""

from __future__ import annotations

import binascii
import functools
import re

from ingest.mime.charsets import decode_text
from ingest.mime.transfer import base64_octets

# Bounded repetition keeps a row of unclosed words linear.
_WORD = re.compile(r"=\?([^?\s]{0,80})\?([bBqQ])\?([^?]*+(?:\?(?!=)[^?]*+){0,8})\?=")
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]+")
_CACHED_CHARS = 200


def decode_words(value: str) -> str:
    """The value with its encoded words decoded; one without any comes back as it is."""
    if "=?" not in value:
        return value
    return _cached(value) if len(value) <= _CACHED_CHARS else _decoded(value)


def _decoded(value: str) -> str:
    pieces: list[str] = []
    octets, charset, last = bytearray(), "", 0
    for word in _WORD.finditer(value):
        gap = value[last : word.start()]
        if gap and not (last and gap.isspace()):
            _flush(octets, charset, pieces)
            pieces.append(gap)
        named = word[1].partition("*")[0].lower()  # "charset*language", RFC 2231, 5
        if named != charset:
            _flush(octets, charset, pieces)
            charset = named
        octets += _word_octets(word[2], word[3])
        last = word.end()
    _flush(octets, charset, pieces)
    pieces.append(value[last:])
    return _CONTROL.sub(" ", "".join(pieces))


_cached = functools.lru_cache(maxsize=256)(_decoded)  # a value is asked for twice, and names come again


def _word_octets(encoding: str, text: str) -> bytes:
    raw = text.encode("utf-8", "replace")
    return base64_octets(raw) if encoding in "bB" else binascii.a2b_qp(raw, header=True)


def _flush(octets: bytearray, charset: str, pieces: list[str]) -> None:
    if octets:
        pieces.append(decode_text(bytes(octets), charset, sample_bytes=0)[0])
        octets.clear()
