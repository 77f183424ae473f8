"""Content-Type, Content-Disposition and their parameters (RFC 2045, 5.1; RFC 2231, 3 and 4).

Rules of this file:
- The first of two equal names is used; of a name in several forms, the extended one, then whole sections, then the
  plain one, then what there is of sections.
- Tolerated: values with spaces but without quotes, empty parameters, quotes left open, comments behind a value,
  sections out of order or counted from 1, a space before a star.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

from ingest.mime.charsets import decode_text

_COMMENT = re.compile(r"\([^()]*+\)")
_PARAMETER = re.compile(
    r';(?:\s|\([^()]*+\))*+([^\s=;"]++(?:\s++\*[^\s=;"]*+)?+)\s*+=\s*+("[^"\\]*+(?:\\.[^"\\]*+)*+"?|[^;]*+)', re.DOTALL
)
_USUAL = re.compile(
    r'\s*+([\w.+-]++(?:/[\w.+-]++)?)\s*+((?:;\s*+[\w-]++=(?:"[^"\\]*+"|[!#-&*-:<>-\[\]-~]++)\s*+)*+)', re.ASCII
)
_USUAL_PAIR = re.compile(r'([\w-]++)=(?:"([^"]*+)"|([^\s;]++))', re.ASCII)
# One name beyond ASCII, as most write it.
_USUAL_EXTENDED = re.compile(
    r"\s*+([\w.+-]++(?:/[\w.+-]++)?)\s*+;\s*+((?:file)?name)\*=([\w-]*+)'[\w-]*+'([\w!#$%&*+./:@^`{|}~-]*+)\s*+",
    re.ASCII | re.IGNORECASE,
)
_SECTION = re.compile(r"([^*]+)\*(?:(\d{1,4})(\*?))?", re.ASCII)
_UNNUMBERED = -1
_FREE_TEXT = frozenset({"name", "filename"})
_CACHED_CHARS = 200
_Section = tuple[str, bool]  # its text, and whether it is encoded
_NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Parameterised:
    """A value in lower case, its parameters by lower-case name, and whether some were dropped."""

    value: str
    parameters: Mapping[str, str]
    cut: bool = False


EMPTY = Parameterised("", _NO_PARAMETERS)


def parse_parameters(raw: str, limit: int) -> Parameterised:
    """Split an unfolded field value; at most `limit` parameters are read."""
    return _cached(raw, limit) if len(raw) <= _CACHED_CHARS else _parse(raw, limit)


def without_comments(value: str) -> str:
    """A value without the comments in it; those within each other are not looked for."""
    return _COMMENT.sub(" ", value) if "(" in value else value


def _parse(raw: str, limit: int) -> Parameterised:
    usual = _USUAL.fullmatch(raw)
    if usual:
        pairs = _USUAL_PAIR.findall(usual[2])
        if len(pairs) <= limit:
            plain = {name.lower(): quoted or token for name, quoted, token in reversed(pairs)}
            return Parameterised(usual[1].lower(), MappingProxyType(plain))
    elif limit and (extended := _USUAL_EXTENDED.fullmatch(raw)):
        value, name, charset, text = extended.groups()
        decoded = decode_text(unquote_to_bytes(text), charset or None, sample_bytes=0)[0]
        return Parameterised(value.lower(), MappingProxyType({name.lower(): decoded}))
    return _parse_any(raw, limit)


def _parse_any(raw: str, limit: int) -> Parameterised:
    head, semicolon, _ = raw.partition(";")
    if "=" in head:  # parameters without a value before them
        head, raw, semicolon = "", ";" + raw, ";"
    value = "/".join(part.strip() for part in without_comments(head).partition("(")[0].lower().split("/", 1))
    if not semicolon:
        return Parameterised(value, _NO_PARAMETERS)
    plain: dict[str, str] = {}
    sections: dict[str, dict[int, _Section]] = {}
    found = _PARAMETER.finditer(raw, len(head))
    for parameter in itertools.islice(found, limit):
        name = "".join(parameter[1].lower().split())
        text = _unquoted(name, parameter[2])
        section = _SECTION.fullmatch(name)
        if section is None:
            plain.setdefault(name, text)
        else:
            number = _UNNUMBERED if section[2] is None else int(section[2])
            sections.setdefault(section[1], {}).setdefault(number, (text, number < 0 or bool(section[3])))
    for name, numbered in sections.items():
        row, is_whole = _row(numbered)
        if row and (is_whole or not plain.get(name)):
            plain[name] = _joined(row)
    return Parameterised(value, MappingProxyType(plain), next(found, None) is not None)


_cached = functools.lru_cache(maxsize=256)(_parse)


def _unquoted(name: str, text: str) -> str:
    if text.startswith('"'):
        text = text[1:-1] if len(text) > 1 and text.endswith('"') else text[1:]
        return text.replace("\\\\", "\\").replace('\\"', '"') if "\\" in text else text
    text = text.strip()
    if name.partition("*")[0] in _FREE_TEXT or not text:
        return text
    return text.split(None, 1)[0]


def _row(sections: dict[int, _Section]) -> tuple[list[_Section], bool]:
    """The extended value, else sections 0, 1, … up to the first gap; and whether none is missing.

    Those that count from 1 may have lost their first one.
    """
    if _UNNUMBERED in sections:
        return [sections[_UNNUMBERED]], True
    numbers = itertools.count(0 if 0 in sections else 1)
    row = [sections[number] for number in itertools.takewhile(sections.__contains__, numbers)]
    return row, 0 in sections and len(row) == len(sections)


def _joined(row: list[_Section]) -> str:
    """The text of sections; the first one names the charset if it is extended."""
    first, extended = row[0]
    charset = None
    if extended and first.count("'") > 1:
        charset, _, first = first.split("'", 2)
        row[0] = first, extended
    if not any(encoded for _, encoded in row):
        return "".join(text for text, _ in row)
    octets = b"".join(unquote_to_bytes(text) if encoded else text.encode() for text, encoded in row)
    return decode_text(octets, charset or None, sample_bytes=0)[0]
