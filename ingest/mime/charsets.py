"""Octets to text, whatever the charset is said to be.

Rules of this file:
- Declared, else UTF-8, else detected on a bounded sample, else replacement characters.
- Raw octets of a header that are not UTF-8 are in the charset that it names elsewhere if all of them are text there,
  else in windows-1252, else in Latin-1.
- Only codecs that are charsets, and only names known beforehand: `codecs` remembers every unknown one for ever.
- What comes out can be encoded as UTF-8: no lone surrogates.
"""

from __future__ import annotations

import codecs
import encodings
import functools
import itertools
import pkgutil
import re
from collections.abc import Iterable
from encodings.aliases import aliases

import charset_normalizer

from ingest.mime.defects import DefectCode

_NAME_CHARS = 64
_NO_CHARSETS = frozenset({
    *("unicode_escape", "raw_unicode_escape", "idna", "punycode", "undefined", "charmap", "mbcs", "oem", "aliases"),
    *("base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec"),
})  # fmt: skip
_SPELLINGS = (
    (re.compile(r"(?:x-)?(?:windows|win|cp|ms|ibm)[-_ ]?(\d{3,5})"), r"cp\1"),
    (re.compile(r"(?:x-)?iso[-_ ]?8859[-_ ]?(\d{1,2})(?!\d).*"), r"iso8859_\1"),
    (re.compile(r"(?:x-)?utf[-_ ]?(8|16|32|7)(?!\d)(?![-_ ]?[lb]e).*"), r"utf_\1"),
    (re.compile(r"unicode-1-1-utf-(7|8)"), r"utf_\1"),
    (re.compile(r"x-(.*)"), r"\1"),
)
# Senders name the smaller set and use the larger one (as in the WHATWG Encoding Standard, 4.2).
_SUPERSETS = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "big5": "big5hkscs",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "iso2022_jp": "iso2022_jp_ext",
}
_IN_TYPE = re.compile(r";\s*+charset\s*+=\s*+\"?([^\s\";]{1,64})", re.IGNORECASE)
_IN_WORD = re.compile(r"=\?([^?*\s]{1,64})(?:\*[^?\s]{0,64})?\?[bBqQ]\?")
_NAMES_TRIED = 16
_UNTELLING = frozenset({"ascii", "utf-8"})
_ASCII = bytes(range(0x20, 0x7F))
_C1 = re.compile("[\x80-\x9f]")
_TOLERATED_SHARE = 50  # one damaged character in so many is damage, more is another charset


@functools.lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    modules = (module.name for module in pkgutil.iter_modules(encodings.__path__))
    return frozenset({*aliases, *modules}) - _NO_CHARSETS


@functools.lru_cache(maxsize=256)
def codec_of(name: str) -> str | None:
    """The codec for a charset name as mail spells it ("cp-850", "iso-8859-8-i", "x-sjis"), None for an unknown one."""
    plain = name.strip(" \t\"'").lower()
    if len(plain) > _NAME_CHARS or not plain.isascii() or not plain.isprintable():
        return None
    for spelling in (plain, *(pattern.sub(to, plain) for pattern, to in _SPELLINGS if pattern.fullmatch(plain))):
        module = encodings.normalize_encoding(spelling)
        module = aliases.get(module, module)
        if module in _known():
            try:
                return codecs.lookup(module).name
            except LookupError:  # not on this platform
                continue
    return None


def _try(data: bytes, codec: str, *, cut: bool, errors: str = "strict") -> str | None:
    """Decode; where the text was cut, a character left unfinished at its end is dropped."""
    try:
        text = codecs.getincrementaldecoder(codec)(errors).decode(data) if cut else data.decode(codec, errors)
    except (UnicodeError, LookupError):
        return None
    if codec.startswith(("utf-7", "utf-16", "utf-32")):
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def decode_text(
    data: bytes, declared: str | None, *, sample_bytes: int, cut: bool = False
) -> tuple[str, str, DefectCode | None]:
    """Text, the charset it was read in, and what was wrong with the declared one.

    Args:
        data: the octets.
        declared: the charset as the message names it, if it does.
        sample_bytes: how much to look at for a guess; 0 guesses nothing (header words are too short for it).
        cut: the text goes on beyond `data`.
    """
    codec = codec_of(declared) if declared else None
    defect = DefectCode.CHARSET_UNKNOWN if declared else DefectCode.CHARSET_MISSING
    if codec is None and data.isascii():
        return data.decode("ascii"), "us-ascii", defect if declared else None
    if codec is not None and declared is not None:
        text = _try(data, codec, cut=cut)
        if text is not None and not (codec == "iso8859-1" and _C1.search(text)):
            return text, declared.strip(" \t\"'").lower(), None
        wider = _SUPERSETS.get(codec)
        if wider and (text := _try(data, wider, cut=cut)) is not None:
            return text, wider, None
        defect = DefectCode.CHARSET_WRONG
    for guess in ("utf-8", "windows-1252") if codec == "iso8859-1" else ("utf-8",):
        if (text := _try(data, guess, cut=cut)) is not None:
            return text, guess, defect
    if codec is not None and codec != "ascii" and (text := _try(data, codec, cut=cut, errors="replace")) is not None:
        damaged = text.count("\N{REPLACEMENT CHARACTER}")
        if damaged * _TOLERATED_SHARE <= len(text) or not sample_bytes:
            return text, codec, defect
    return *_guess(data, sample_bytes), defect


def _guess(data: bytes, sample_bytes: int) -> tuple[str, str]:
    """The last resorts: detection, then replacement characters."""
    best = charset_normalizer.from_bytes(data[:sample_bytes]).best() if sample_bytes else None
    found = codec_of(best.encoding) if best else None
    if found is not None and (text := _try(data, found, cut=False, errors="replace")) is not None:
        return text, found
    if sample_bytes:
        return data.decode("utf-8", "replace"), "utf-8"
    return data.decode("latin-1"), "iso-8859-1"


def charset_of_header(fields: Iterable[tuple[str, str]]) -> str | None:
    """The charset that raw octets in these fields (names and values) may be in if they are not UTF-8.

    That is what Content-Type names, else what an encoded word does; None without one in which ASCII is ASCII.
    """
    fields = tuple(fields)
    types = (value for name, value in fields if name.lower() == "content-type")
    named = itertools.chain(
        _IN_TYPE.findall(next(types, "")), (word[1] for _, value in fields for word in _IN_WORD.finditer(value))
    )
    return next(filter(_is_telling, itertools.islice(named, _NAMES_TRIED)), None)


@functools.lru_cache(maxsize=64)
def _is_telling(name: str) -> bool:
    codec = codec_of(name)
    return codec is not None and codec not in _UNTELLING and _try(_ASCII, codec, cut=False) == _ASCII.decode()


def eight_bit_codec(values: Iterable[bytes], charset: str | None) -> str:
    """The codec of raw octets in a header that are not UTF-8: what `charset_of_header` gave, if all are text in it."""
    data = b"\n".join(values)
    for codec in _eight_bit_codecs(charset):
        text = _try(data, codec, cut=False)
        if text is not None and not _C1.search(text):
            return codec
    return "latin-1"


@functools.lru_cache(maxsize=64)
def _eight_bit_codecs(charset: str | None) -> tuple[str, ...]:
    codec = codec_of(charset) if charset else None
    named = [codec, _SUPERSETS.get(codec)] if codec else []
    return tuple(name for name in (*named, "cp1252") if name)


def cut_utf8(text: str, limit_bytes: int) -> tuple[str, bool]:
    """The text cut to so many octets of UTF-8, between characters, and whether it was."""
    if len(text) * 4 <= limit_bytes or (text.isascii() and len(text) <= limit_bytes):
        return text, False
    octets = text.encode()
    if len(octets) <= limit_bytes:
        return text, False
    return octets[:limit_bytes].decode("utf-8", "ignore"), True
