"""Filenames as attachments carry them, and as they may be shown or saved.

Rules of this file:
- A clean name is a hint for people. It never becomes an object key or a path here; it is safe as the last component
  of one all the same.
- Cleaning a clean name changes nothing.
"""

from __future__ import annotations

import re
import unicodedata

from ingest.mime.charsets import cut_utf8
from ingest.mime.limits import MimeLimits
from ingest.mime.parameters import Parameterised
from ingest.mime.words import decode_words

_HARMLESS = re.compile(r"[\w\-+@,()\[\]]+(?:[ .]?[\w\-+@,()\[\]]+)*+", re.ASCII)
# Alone it is no file of the directory it is put in: a device of Windows, or something on another drive ("c:name").
_DEVICE = re.compile(
    r".:.*|(?:con|prn|aux|nul|conin\$|conout\$|clock\$|(?:com|lpt)[0-9\xb9\xb2\xb3])\s*(?:[.:].*)?",
    re.IGNORECASE | re.DOTALL,
)
# Controls, formats (bidirectional marks, zero widths, tags), surrogates, line and paragraph separators.
_UNWANTED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_EXTENSION_BYTES = 32


def filename_of(disposition: Parameterised, content_type: Parameterised, limits: MimeLimits) -> str | None:
    """The filename as sent (RFC 2183, 2.3; else Content-Type's `name`), decoded but not cleaned; None if there is none.

    RFC 2047 forbids encoded words here, and Outlook and Gmail write them.
    """
    sent = disposition.parameters.get("filename") or content_type.parameters.get("name")
    return cut_utf8(decode_words(sent), limits.filename_raw_bytes)[0] or None if sent else None


def clean_filename(raw: str, limit_bytes: int) -> str | None:
    """The last component of a name, fit to be shown and saved, or None if nothing is left.

    No path, no control, bidirectional or zero-width character, no dots or spaces at either end, no colon before it, no
    Windows device or drive (one gets "_" before it), in NFC, at most `limit_bytes` of UTF-8 with the extension kept.
    """
    name = raw.replace("\\", "/").rpartition("/")[2]
    if not (name.isascii() and _HARMLESS.fullmatch(name)):
        if not name.isprintable():  # which none of the unwanted is
            name = "".join(c for c in name if unicodedata.category(c) not in _UNWANTED)
        name = _trimmed(unicodedata.normalize("NFC", name))
    if _DEVICE.fullmatch(name):
        name = "_" + name
    if len(name.encode()) > limit_bytes:
        stem, dot, extension = name.rpartition(".")
        if not stem or len(extension.encode()) > min(_EXTENSION_BYTES, limit_bytes // 2):
            stem, dot, extension = name, "", ""
        room = limit_bytes - len((dot + extension).encode())
        name = _trimmed(_trimmed(cut_utf8(stem, room)[0]) + dot + extension)
    return name or None


def _trimmed(name: str) -> str:
    """Without white space and dots at both ends, and without colons, which name streams and drives, before it."""
    while name != (name := name.strip().strip(".").lstrip(":")):
        pass
    return name
