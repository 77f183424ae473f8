"""Windows code page numbers as charset names of mail."""

from __future__ import annotations

from ingest.mime.charsets import codec_of

_ISO_8859 = range(28591, 28606)
_NAMES = {
    1200: "utf-16le",
    10000: "macintosh",
    20127: "us-ascii",
    20866: "koi8-r",
    21866: "koi8-u",
    50220: "iso-2022-jp",
    50221: "iso-2022-jp",
    50222: "iso-2022-jp",
    50225: "iso-2022-kr",
    51932: "euc-jp",
    51936: "gb2312",
    51949: "euc-kr",
    52936: "hz-gb-2312",
    54936: "gb18030",
    65000: "utf-7",
    65001: "utf-8",
}


def charset_of(codepage: int) -> str | None:
    """The charset of a code page, None for one that nobody here can decode."""
    if codepage in _ISO_8859:
        name = f"iso-8859-{codepage - _ISO_8859.start + 1}"
    else:
        name = _NAMES.get(codepage) or f"windows-{codepage}"
    return name if codec_of(name) else None
