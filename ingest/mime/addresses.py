"""Address fields (RFC 5322, 3.4 and 4.4), read by a tokenizer of our own.

Rules of this file:
- One pass, no recursion; comments, groups, quoted strings, routes and domain literals are understood.
- Only a mailbox that can be read in one way becomes an address. What is doubtful is left out with a defect: an address
  must never come out of a display name, a comment or an encoded word (CVE-2023-27043 and its kin).
- A ";" where no group ends separates as Outlook has it, with a defect. A bare address before it that an angle-addr
  follows may be a part of that one's name, and is left out.
- Encoded words are decoded in display names, after the structure is known.
"""

from __future__ import annotations

import functools
import re

from ingest.mime.defects import DefectCode
from ingest.mime.limits import MimeLimits
from ingest.mime.words import decode_words
from ingest.models import Address

_ATEXT = r'[^\s"(),:;<>@\[\]\\]++'
_SPEC = rf"{_ATEXT}@(?!\.){_ATEXT}"
_USUAL = re.compile(rf'\s*+(?:({_SPEC})|(?:"([^"\\]*+)"|((?:{_ATEXT}\s++)*+))\s*+<({_SPEC})>)\s*+(?:,|\Z)')
_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<word>=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=)"
    r'|(?P<quoted>"[^"\\]*+(?:\\.[^"\\]*+)*+")'
    r'|(?P<open>".*)'
    r"|(?P<literal>\[[^\[\]\\]*+\])"
    rf"|(?P<atom>{_ATEXT})"
    r"|(?P<special>.)",
    re.DOTALL,
)
_COMMENT_TOKEN = re.compile(r"[^()\\]+|\\.|[()\\]", re.DOTALL)
_WORD = re.compile(r"=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

_CACHED_CHARS = 200
_Token = tuple[str, str]  # kind (a group of _TOKEN), text


def parse_addresses(raw: str, limits: MimeLimits) -> tuple[tuple[Address, ...], DefectCode | None]:
    """The mailboxes of an unfolded field, members of groups among them, and the first thing wrong with it."""
    return _cached(raw, limits) if len(raw) <= _CACHED_CHARS else _parse(raw, limits)


def _parse(raw: str, limits: MimeLimits) -> tuple[tuple[Address, ...], DefectCode | None]:
    usual = _USUAL.match(raw)
    if usual and usual.end() == len(raw) and "," not in raw and limits.addresses:  # one mailbox, as mostly
        bare, quoted, atoms, angle = usual.groups()
        if "=?" not in (bare or angle):
            name = atoms if quoted is None else quoted
            return (Address(_display(name) if name else "", bare or angle),), None
    reader = _Reader(limits)
    reader.read(raw)
    return tuple(reader.found), reader.defect


_cached = functools.lru_cache(maxsize=256)(_parse)  # a maildrop's mail is to the same addresses


class _Reader:
    """Reads one field, element by element; an element ends at a comma, or where a group begins or ends."""

    def __init__(self, limits: MimeLimits) -> None:
        self.limits = limits
        self.found: list[Address] = []
        self.defect: DefectCode | None = None
        self.in_group = False
        self.is_list = False
        self.may_separate = False  # a ";" without a group
        self.separated = False
        self.bare_from: int | None = None  # where in `found` addresses begin that may yet be part of a name

    def read(self, raw: str) -> None:
        at, end = 0, len(raw)
        self.is_list = "," in raw
        self.may_separate = ";" in raw and ("=?" not in raw or "=?" not in _WORD.sub("", raw))
        while 0 <= at < end:
            if len(self.found) >= self.limits.addresses:
                if "<" in raw[at:]:
                    self._leave_out_bare()
                self.wrong(DefectCode.TOO_MANY_ADDRESSES)
                return
            usual = _USUAL.match(raw, at)
            if usual is None or self.separated or "=?" in (usual[1] or usual[4]):
                at = self._element(raw, at)
                continue
            at = usual.end()
            name = usual[3] if usual[2] is None else usual[2]
            self.found.append(Address(_display(name) if name else "", usual[1] or usual[4]))
        if at < 0:
            self._leave_out_bare()

    def wrong(self, code: DefectCode) -> None:
        self.defect = self.defect or code

    def _element(self, raw: str, at: int) -> int:
        """Read one element with all that may be in it; the offset behind it, or -1 to stop."""
        tokens: list[_Token] = []
        comment, in_angle, doubtful = "", False, False
        while token := _TOKEN.match(raw, at):
            kind, text, at = token.lastgroup or "", token[0], token.end()
            if text == "(":
                at, comment = self._comment(raw, at)
                if at < 0:
                    return -1
                kind, text = "space", " "
            elif kind == "special":
                in_angle = text == "<" or (in_angle and text != ">")
                if text in ",:;" and not in_angle:
                    self._finish(tokens, comment, text, doubtful=doubtful)
                    return at
            doubtful |= kind == "open" or text == ")"
            tokens.append((kind, text))
        self._finish(tokens, comment, ",", doubtful=doubtful)
        return at

    def _finish(self, tokens: list[_Token], comment: str, end: str, *, doubtful: bool) -> None:
        """Make a mailbox of an element that `end` (",", ":" or ";") ends."""
        separates = False
        if end == ":":
            doubtful |= self.in_group or any(kind == "special" for kind, _ in tokens)
            self.in_group, tokens = True, []
        elif end == ";":
            self.is_list |= not self.in_group
            separates = self.may_separate and not self.in_group
            doubtful |= not (self.in_group or separates)
            self.in_group = False
        has_angle = ("special", "<") in tokens
        if doubtful or has_angle:
            self._leave_out_bare()
        if any(kind != "space" for kind, _ in tokens):
            if self.separated:
                self.wrong(DefectCode.ADDRESS_MALFORMED)
            mailbox = None if doubtful else self._mailbox(tokens, comment)
            if mailbox:
                if separates and not has_angle and self.bare_from is None:
                    self.bare_from = len(self.found)
                self.found.append(mailbox)
            doubtful = mailbox is None
            self.separated |= separates
        if doubtful:
            self.wrong(DefectCode.ADDRESS_MALFORMED)

    def _leave_out_bare(self) -> None:
        if self.bare_from is not None:
            del self.found[self.bare_from :]
            self.bare_from = None
            self.wrong(DefectCode.ADDRESS_MALFORMED)

    def _comment(self, raw: str, at: int) -> tuple[int, str]:
        """The offset behind a comment whose "(" was read, and its text; -1 if it is too deep or never ends."""
        depth, start = 1, at
        for token in _COMMENT_TOKEN.finditer(raw, at):
            if token[0] == "(":
                depth += 1
                if depth > self.limits.comment_depth:
                    self.wrong(DefectCode.COMMENT_TOO_DEEP)
                    return -1, ""
            elif token[0] == ")":
                depth -= 1
                if not depth:
                    return token.end(), raw[start : token.start()]
        self.wrong(DefectCode.ADDRESS_MALFORMED)
        return -1, ""

    def _mailbox(self, tokens: list[_Token], comment: str) -> Address | None:
        """An angle-addr with a phrase before it, or a bare addr-spec (its comment is then the name, as of old)."""
        texts = [text if kind == "special" else "" for kind, text in tokens]
        if "<" not in texts:
            address = _spec(tokens) if ">" not in texts else None
            if address and "@" not in address and self.is_list:
                return None  # of "Doe, John <john@one.example>", without its quotes, Doe is no mailbox
            return Address(_display(_ESCAPED.sub(r"\1", comment)), address) if address else None
        opened = texts.index("<")
        closed = texts.index(">") if ">" in texts else 0
        if closed < opened or any(kind != "space" for kind, _ in tokens[closed + 1 :]):
            return None
        phrase, inner = tokens[:opened], tokens[opened + 1 : closed]
        if ("special", "@") in phrase:
            self.wrong(DefectCode.ADDRESS_MALFORMED)  # what a display name must not look like; the angle-addr counts
        address = _spec(_without_route(inner))
        if address is None:
            return None
        words = (_ESCAPED.sub(r"\1", text[1:-1]) if kind == "quoted" else text for kind, text in phrase)
        return Address(_display("".join(words)) or _display(_ESCAPED.sub(r"\1", comment)), address)


def _display(words: str) -> str:
    return decode_words(" ".join(words.split()))


def _without_route(tokens: list[_Token]) -> list[_Token]:
    """Drop the obsolete route of "<@one.example,@two.example:joe@three.example>"."""
    if tokens and tokens[0] == ("special", "@") and ("special", ":") in tokens:
        return tokens[tokens.index(("special", ":")) + 1 :]
    return tokens


def _spec(tokens: list[_Token]) -> str | None:
    """An addr-spec as written, without the white space around its dots and "@"; None for anything doubtful.

    A lone atom is a local mailbox ("root", "MAILER-DAEMON").
    """
    parts: list[list[_Token]] = [[]]
    spaced = False
    for kind, text in tokens:
        if kind == "space":
            spaced = True
            continue
        if text == "@" and kind == "special":
            parts.append([])
        else:
            last = parts[-1][-1][1] if parts[-1] else "."
            if kind not in {"atom", "quoted", "literal"} or (spaced and not last.endswith(".") and text[0] != "."):
                return None
            parts[-1].append((kind, text))
        spaced = False
    local = _local(parts[0])
    if local is None or len(parts) > 2 or "=?" in local:  # noqa: PLR2004 - local part and domain
        return None
    if len(parts) == 1:
        return local if parts[0][0][0] == "atom" and len(parts[0]) == 1 else None
    domain = _domain(parts[1])
    return f"{local}@{domain}" if domain else None


def _local(tokens: list[_Token]) -> str | None:
    text = "".join(text for _, text in tokens)
    whole = len(tokens) == 1 and tokens[0][0] == "quoted"
    return text if text and (whole or all(kind == "atom" for kind, _ in tokens)) else None


def _domain(tokens: list[_Token]) -> str | None:
    text = "".join(text for _, text in tokens)
    whole = len(tokens) == 1 and tokens[0][0] == "literal"
    return text if whole or (text and text[0] != "." and all(kind == "atom" for kind, _ in tokens)) else None
