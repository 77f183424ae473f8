"""What the keys of an accounts file may hold: texts, numbers, references to secrets.

Rules of this room:
- Pure. A method reads one key and returns its value, or raises `Wrong`, which says what is wrong and what would be
  right.
- What stands where a reference belongs may be a secret in the wrong place: no line repeats it.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Seal = Callable[[str], str]

_BREAKS = re.compile(r"[\r\n\0]")


class Wrong(Exception):
    """A key is wrong. A line that begins with a dot is about a key within it: `.scope: is missing`."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.lines = lines

    def under(self, key: str) -> list[str]:
        """The lines with the key in front."""
        return [f"{key}{line}" if line.startswith(".") else f"{key}: {line}" for line in self.lines]


class Reader:
    """Reads the keys of one table.

    Args:
        entry: the table.
        seal: turns a literal secret into a `sealed:` reference; None where there is no MAILSLUICE_SECRET_KEY.
    """

    def __init__(self, entry: Mapping[str, Any], seal: Seal | None) -> None:
        self._entry = entry
        self._seal = seal

    def _text(self, key: str, default: str = "", *, required: bool = False) -> str:
        if key not in self._entry and not required:
            return default
        value = self._entry.get(key)
        if not isinstance(value, str) or not value.strip():
            raise Wrong("is missing" if value is None else "must be a text" + ("" if value == "" else " in quotes"))
        return value

    def _whole(self, key: str, default: int, low: int, high: int) -> int:
        value = self._entry.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise Wrong(f"{value!r:.80} is not a whole number ({low} to {high})")
        return value

    def _flag(self, key: str) -> bool:
        value = self._entry.get(key, False)
        if not isinstance(value, bool):
            raise Wrong(f"{value!r:.80} is not true or false")
        return value

    def _reference(self, key: str) -> str:
        """`env:NAME`, `file:PATH`, or a literal that was sealed."""
        scheme, colon, rest = self._text(key, required=True).partition(":")
        if scheme == "aws-secret":
            raise Wrong("aws-secret: is not built yet (env:NAME or file:PATH)")
        if not colon or scheme not in {"env", "file", "plain"}:
            raise Wrong("is not a reference (env:NAME or file:PATH; a literal as plain:…)")
        if not rest:
            raise Wrong(f"nothing stands behind {scheme}: (env:NAME, file:PATH or plain:…)")
        if scheme == "env" and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", rest):
            raise Wrong("env: must be followed by the name of a variable, as in env:BILLING_PASSWORD")
        if scheme != "plain":
            return f"{scheme}:{rest}"
        if breaks_lines(rest):
            raise Wrong("holds a line break or NUL, which would be a command of its own")
        if self._seal is None:
            raise Wrong("plain: needs MAILSLUICE_SECRET_KEY to be stored encrypted (set it, or use env: or file:)")
        return self._seal(rest)


def breaks_lines(text: str) -> bool:
    """Whether it would be more than one line of a protocol, or cut one short."""
    return _BREAKS.search(text) is not None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its very name, so that plaintext stays on it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def no_such_key(key: str, known: Iterable[str]) -> str:
    """The line about a key that there is not, with the one that was meant perhaps."""
    match = difflib.get_close_matches(key, list(known), n=1, cutoff=0.6)
    return "no such key" + (f" (did you mean {match[0]}?)" if match else "")
