"""Encoded words in header fields (RFC 2047), as written by the book and as met in the field.

Rules of this file:
- The white space between two words goes; octets of neighbours in one charset are joined before they become text.
- Tolerated: spaces and question marks in Q, missing padding in B, words inside quotes or without space around them,
  escapes and quanta that were cut in two.
- What is decoded carries no control characters: a word can't smuggle a line end into a header.
"""

from __future__ import annotations

import binascii
import functools
import itertools
import re

from ingest.mime.charsets import decode_text
from ingest.mime.transfer import base64_octets

# Bounded repetition keeps a row of unclosed words linear.
_WORD = re.compile(r"=\?([^?\s]{0,80})\?([bBqQ])\?([^?]*+(?:\?(?!=)[^?]*+){0,8})\?=")
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]+")
_SPLIT_AT_ONE = 5  # what is before it, its charset, encoding and text, what is behind it
_QUANTUM = 4
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_LEFT_OVER = (0, 0, 0b1111, 0b11)  # bits of the last character that belong to no octet, by characters over
_CACHED_CHARS = 200
_Word = tuple[bool, str]  # whether it is in B, and its text


def decode_words(value: str) -> str:
    """The value with its encoded words decoded; one without any comes back as it is."""
    if "=?" not in value:
        return value
    return _cached(value) if len(value) <= _CACHED_CHARS else _decoded(value)


def _decoded(value: str) -> str:
    single = _WORD.split(value, 2)
    if len(single) == _SPLIT_AT_ONE:
        before, charset, encoding, text, behind = single
        text = before + _text(_octets(encoding in "bB", text), _named(charset)) + behind
        return text if text.isprintable() else _CONTROL.sub(" ", text)
    pieces: list[str] = []
    words: list[_Word] = []  # neighbours in one charset
    charset, last = "", 0
    for word in _WORD.finditer(value):
        gap = value[last : word.start()]
        if gap and not (last and gap.isspace()):
            _flush(words, charset, pieces)
            pieces.append(gap)
        named = _named(word[1])
        if named != charset:
            _flush(words, charset, pieces)
            charset = named
        words.append((word[2] in "bB", word[3]))
        last = word.end()
    _flush(words, charset, pieces)
    pieces.append(value[last:])
    return _CONTROL.sub(" ", "".join(pieces))


_cached = functools.lru_cache(maxsize=256)(_decoded)  # a value is asked for twice, and names come again


def _flush(words: list[_Word], charset: str, pieces: list[str]) -> None:
    if len(words) > 1:
        pieces.append(_neighbours(words, charset))
    elif words:
        pieces.append(_text(_octets(*words[0]), charset))
    words.clear()


def _named(charset: str) -> str:
    """The charset of "charset*language" (RFC 2231, 5)."""
    return (charset.partition("*")[0] if "*" in charset else charset).lower()


def _text(octets: bytes, charset: str) -> str:
    if charset == "utf-8":  # what decode_text would begin with, too
        try:
            return octets.decode()
        except UnicodeDecodeError:
            pass
    return decode_text(octets, charset, sample_bytes=0)[0]


def _octets(is_base64: bool, text: str) -> bytes:
    raw = text.encode("utf-8", "replace")
    return base64_octets(raw) if is_base64 else binascii.a2b_qp(raw, header=True)


def _neighbours(words: list[_Word], charset: str) -> str:
    if any(_is_cut(*word) for word in words) and (whole := _made_whole(words, charset)) is not None:
        return whole
    return _text(b"".join([_octets(*word) for word in words]), charset)


def _is_cut(is_base64: bool, text: str) -> bool:
    """Whether an escape or a quantum goes on in the next word; one that only lacks its padding has no bits left over.

    RFC 4648, 3.5.
    """
    if "=" in text[-2:]:
        return not is_base64
    over = len(text := "".join(text.split())) % _QUANTUM if is_base64 else 0
    return over == 1 or bool(over and _BASE64.find(text[-1]) & _LEFT_OVER[over])


def _made_whole(words: list[_Word], charset: str) -> str | None:
    """The text of neighbours with their quanta and escapes made whole, if it is text."""
    octets = bytearray()
    for is_base64, run in itertools.groupby(words, lambda word: word[0]):
        texts = ["".join(text.split()) if is_base64 else text for _, text in run]
        if is_base64 and sum(map(len, texts)) % _QUANTUM:
            octets += b"".join(_octets(is_base64, text) for text in texts)
        else:
            octets += _octets(is_base64, "".join(texts))
    text, _, wrong = decode_text(bytes(octets), charset, sample_bytes=0)
    return None if wrong or _CONTROL.search(text) else text
