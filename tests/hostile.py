"""Messages made to hurt, by name: each repeats one construct n times.

Rules of this file:
- n of a construct are octets in proportion to n, so that cost can be held against size at any size.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

Construct = Callable[[int], bytes]

_MIXED = b"Content-Type: multipart/mixed; boundary=q\r\n\r\n"
_FORWARDED = b"Content-Type: message/rfc822\r\n\r\n"
_BINARY = b"Content-Type: a/b\r\nContent-Transfer-Encoding: "
_TEXT = b"Content-Type: text/plain; charset="
_LONG = b"x" * 250
_GERMAN = "Die Größe der Räume, übrigens für alle, genügt völlig.\r\n".encode("latin-1")
_JAPANESE = "御注文ありがとうございます。\r\n".encode("shift_jis")


def _numbered(line: bytes) -> Construct:
    return lambda n: b"".join(line % at for at in range(n))


def _field(name: bytes, value: Construct) -> Construct:
    return lambda n: name + b": " + value(n) + b"\r\n\r\n"


def _encoded(encoding: bytes, content: Construct) -> Construct:
    return lambda n: _BINARY + encoding + b"\r\n\r\n" + content(n)


def _of(octets: bytes) -> Construct:
    return lambda n: octets * n


def _mixed(content: bytes, tail: bytes = b"") -> Construct:
    return lambda n: _MIXED + content * n + tail


def _near_misses(n: int) -> bytes:
    """Forty boundaries open at once, and lines that are nearly theirs."""
    open_ones = b"".join(
        b"Content-Type: multipart/mixed; boundary=%02d%b\r\n\r\n--%02d%b\r\n" % (at, _LONG, at, _LONG)
        for at in range(40)
    )
    return open_ones + b"".join(b"--%02d%by\r\n" % (at % 40, _LONG) for at in range(n // 16))


def _reopened(n: int) -> bytes:
    """Ever new boundaries, each opened, missed and closed."""
    return b"".join(
        [
            _MIXED,
            *(
                b"--q\r\nContent-Type: multipart/mixed; boundary=%d%b\r\n\r\n--%d\r\n--%d%b--\r\n"
                % (at, _LONG, at, at, _LONG)
                for at in range(n // 8)
            ),
        ]
    )


STRUCTURE: Mapping[str, Construct] = {
    "nested multiparts": lambda n: b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level) for level in range(n)
    ),
    "nested messages": _of(_FORWARDED),
    "nested messages with a text each": lambda n: (_FORWARDED + b"a\r\n") * n,
    "multiparts never closed": lambda n: (
        _MIXED + _numbered(b"--q\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n")(n)
    ),
    "one boundary for all": _of(_MIXED + b"--q\r\n"),
    "parts without an empty line": _mixed(b"--q\r\nX: y\r\n"),
    "empty parts": _mixed(b"--q\n\n"),
    "parts that are messages": _mixed(b"--q\r\n" + _FORWARDED + b"Subject: a\r\n\r\nb\r\n"),
    "parts that are text": _mixed(b"--q\r\nContent-Type: text/html\r\n\r\na\r\n"),
    "lines that begin with dashes": _mixed(b"--\n", b"--q--"),
    "dashes": _mixed(b"-", b"\n--q--"),
    "near-miss delimiter lines": _near_misses,
    "boundaries opened and closed": _reopened,
    "delimiter lines with white space": _mixed(b"--q" + b" \t" * 30 + b"x\n"),
    "line feeds": _mixed(b"\n"),
    "carriage returns": _mixed(b"\r"),
    "NULs": _mixed(b"\0"),
    "texts of a forwarded message": lambda n: (
        _FORWARDED + _MIXED + (b"--q\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"YWJj6Q" * 20 + b"\r\n") * n
    ),
}

HEADERS: Mapping[str, Construct] = {
    "a header block without an end": _numbered(b"X-%d: y\r\n"),
    "header fields": _field(b"A", _of(b"b\r\nX: y")),
    "fields in the parts": lambda n: _MIXED + (b"--q\r\n" + b"X: y\r\n" * 100 + b"\r\n") * (n // 100),
    "lines that are no fields": lambda n: b"x\r\nX: y\r\n" * n + b"\r\n",
    "folded lines": _field(b"X", _of(b"\r\n z")),
    "a long field": _field(b"X", _of(b"abc ")),
    "8-bit fields": _field(b"A", _of(b"b\r\nX: \xff\xfe")),
    "8-bit fields in the parts": lambda n: (
        _MIXED + (b"--q\r\nContent-Type: a/b; charset=big5\r\n" + b"X:\x81\r\n" * 100 + b"\r\n") * (n // 100)
    ),
    "control characters in fields": _field(b"A", _of(b"b\r\nX: \0\r\x01")),
    "addresses": _field(b"To", _of(b"a@x.org, ")),
    "addresses with names": _field(b"To", _of(b'"A, \\"b\\"" (c) <a@x.org>, ')),
    "addresses between semicolons": _field(b"To", _of(b"a@x.org; ")),
    "addresses between semicolons that may be names": _field(b"To", _of(b"a@x.org; b@x.org; <c@x.org>; ")),
    "semicolons among addresses": lambda n: b"To: a@x.org" + b";" * n + b"b@x.org\r\n\r\n",
    "words that are no addresses": _field(b"To", _of(b"a b, ")),
    "one word after the other": _field(b"To", _of(b"a ")),
    "dots": _field(b"To", _of(b".")),
    "at signs": _field(b"To", _of(b"a@")),
    "quotes": _field(b"To", _of(b'"\\"')),
    "open comments": _field(b"To", _of(b"(")),
    "comments": _field(b"To", _of(b"(a)")),
    "nested comments": _field(b"To", lambda n: b"(" * n + b")" * n + b" a@b"),
    "open angles": _field(b"To", _of(b"<[")),
    "routes": _field(b"To", lambda n: b"<" + b"@a," * n + b"@a:b@c>"),
    "groups": _field(b"To", _of(b"a:")),
    "groups that end": _field(b"To", _of(b"a: b@c;")),
    "encoded words among addresses": _field(b"To", _of(b"=?utf-8?q?a=2Cb?= <a@x.org>,")),
    "encoded words": _field(b"Subject", _of(b"=?utf-8?q?a?= ")),
    "encoded words of two charsets": _field(b"Subject", _of(b"=?utf-8?q?a?= =?koi8-r?b?YQ?= ")),
    "cut encoded words": _field(b"Subject", _of(b"=?utf-8?b?5pel5p?= =?utf-8?b?ys6Kqe?= =?utf-8?q?=e?=\r\n")),
    "open encoded words": _field(b"Subject", _of(b"=?a?q?")),
    "encoded words with question marks": _field(b"Subject", _of(b"=?a?q?" + b"?" * 9)),
    "beginnings of encoded words": _field(b"Subject", _of(b"=?")),
    "long charsets of encoded words": _field(b"Subject", _of(b"=?" + b"a" * 78)),
    "unknown charsets": _field(b"Subject", _numbered(b"=?x%d?q?=ff?= ")),
    "a long encoded word": _field(b"Subject", lambda n: b"=?utf-8?b?" + b"YWJj" * n + b"?="),
    "a long word of equal signs": _field(b"Subject", lambda n: b"=?utf-8?q?" + b"=" * n + b"?="),
    "message ids": _field(b"References", _of(b"<a@b> ")),
    "open message ids": _field(b"References", _of(b"<a")),
    "a long date": _field(b"Date", _of(b"1 Jan ")),
    "comments in a date": _field(b"Date", lambda n: b"1 Jan 2025 10:00:00 +0000 " + b"(a" * n),
    "received fields": _field(b"Received", _of(b"from a by b; 1 Jan 2025 10:00:00 +0000\r\nReceived: ")),
}

PARAMETERS: Mapping[str, Construct] = {
    "parameters": _field(b"Content-Type", lambda n: b"a/b" + b"; a=b" * n),
    "names of parameters": _field(b"Content-Type", lambda n: b"a/b" + _numbered(b"; a%d=b")(n)),
    "semicolons": _field(b"Content-Type", lambda n: b"a/b" + b";" * n),
    "open quotes of parameters": _field(b"Content-Type", lambda n: b"a/b" + b'; a="' * n),
    "backslashes in a parameter": _field(b"Content-Type", lambda n: b'a/b; name="' + b"\\" * n),
    "comments in a type": _field(
        b"Content-Type", lambda n: b"(" * n + b"(c)" * n + b" / ;" + b" (" * n + b"; a=b" + b"(c)" * n
    ),
    "parameter sections": _field(b"Content-Type", lambda n: b"a/b" + _numbered(b"; n*%d*=%%41")(n)),
    "sections of a filename": _field(b"Content-Type", lambda n: b"a/b" + _numbered(b"; name*%d*=''%%41")(n)),
    "sections of many names": _field(b"Content-Type", lambda n: b"a/b" + _numbered(b"; n%d*0*=utf-8''%%41")(n)),
    "sections of the same number": _field(b"Content-Type", lambda n: b"a/b" + b"; n*1=b" * n),
    "spaces before stars": _field(b"Content-Type", lambda n: b"a/b" + b"; n  *" * n + b"=a" + b"; n" + b" " * n),
    "stars": _field(b"Content-Type", lambda n: b"a/b; n" + b"*" * n + b"=a"),
    "slashes in a type": _field(b"Content-Type", _of(b"a/")),
    "dots in a filename": _field(b"Content-Type", lambda n: b"a/b; name=" + b". " * n),
    "slashes in a filename": _field(b"Content-Type", lambda n: b"a/b; name=" + b"/\\" * n),
    "accents in a filename": _field(b"Content-Type", lambda n: b"a/b; name=a" + "\u0316\u0301".encode() * n),
    "encoded words in a filename": _field(b"Content-Type", lambda n: b'a/b; name="' + b"=?utf-8?q?a?= " * n + b'"'),
    "percent signs": _field(b"Content-Type", lambda n: b"a/b; name*=utf-8''" + b"%" * n),
    "filenames of parts": lambda n: (
        _MIXED + (b"--q\r\nContent-Type: a/b; name=" + "\u0316".encode() * 40 + b"\r\n\r\n") * (n // 10)
    ),
}

CONTENTS: Mapping[str, Construct] = {
    "base64": _encoded(b"base64", _of(base64.b64encode(b"abc" * 19) + b"\r\n")),
    "base64 in one line": _encoded(b"base64", _of(b"YWJj")),
    "base64 with stray characters": _encoded(b"base64", _of(b"YW-J*j!")),
    "base64 in lines of three": _encoded(b"base64", _of(b"YWJ\r\n")),
    "padding": _encoded(b"base64", _of(b"A=")),
    "only padding": _encoded(b"base64", _of(b"=")),
    "padded quanta": _encoded(b"base64", _of(b"YQ==\r\n")),
    "half padded quanta": _encoded(b"base64", _of(b"YWJj=")),
    "no character of base64": _encoded(b"base64", _of(b"-")),
    "quoted-printable": _encoded(b"quoted-printable", _of(b"=C3=A4bc=\r\n")),
    "equal signs": _encoded(b"quoted-printable", _of(b"=")),
    "equal signs and white space": _encoded(b"quoted-printable", _of(b"= ")),
    "equal signs and carriage returns": _encoded(b"quoted-printable", _of(b"=\r")),
    "soft breaks": _encoded(b"quoted-printable", _of(b"=\n")),
    "white space at line ends": _encoded(b"quoted-printable", _of(b"=" + b" " * 63 + b"\r")),
    "uuencode": _encoded(b"x-uuencode", lambda n: b"begin 644 x\n" + (b"M" + b"86)C" * 15 + b"\n") * n + b"`\nend\n"),
    "short lines of uuencode": _encoded(b"x-uuencode", lambda n: b"begin 644 x\n" + b"!a\n" * n),
    "odd lines of uuencode": _encoded(b"x-uuencode", lambda n: b"begin 644 x\n" + (b"M" + b"a" * 47 + b"\n") * n),
    "long lines of uuencode": _encoded(
        b"x-uuencode", lambda n: b"begin 644 x\n" + (b"M" + b"~" * 900 + b"\n") * (n // 100)
    ),
    "empty lines of uuencode": _encoded(b"x-uuencode", lambda n: b"begin 644 x\n" + b"`\n \n" * n),
    "begin lines": _encoded(b"x-uuencode", _of(b"begin 644 x\n")),
    "no begin line": _encoded(b"x-uuencode", _of(b"begin 644 " + b"y" * 1001 + b"\nbegin")),
    "a text without its charset": lambda n: _TEXT + b"x\r\n\r\n" + _GERMAN * n,
    "a text in another charset": lambda n: _TEXT + b"utf-8\r\n\r\n" + _JAPANESE * n,
    "a text of utf-7": lambda n: _TEXT + b"utf-7\r\n\r\n" + b"+AOQ-" * n,
    "a text of iso-2022-jp": lambda n: _TEXT + b"iso-2022-jp\r\n\r\n" + b"\x1b$B8f\x1b(B" * n,
    "a text of NULs": lambda n: _TEXT + b"utf-16\r\n\r\n" + b"\0" * n,
    "a text of hz": lambda n: _TEXT + b"hz\r\n\r\n" + b"~{<:~}" * n,
    "format=flowed": lambda n: b"Content-Type: text/plain; format=flowed; delsp=yes\r\n\r\n" + b"> > a \r\n" * n,
    "quotes of format=flowed": lambda n: b"Content-Type: text/plain; format=flowed\r\n\r\n" + b">" * n + b"a \r\n",
    "flowed lines that never end": lambda n: b"Content-Type: text/plain; format=flowed\r\n\r\n" + b" \r\n" * n,
    "armoured texts": lambda n: b"\r\n" + b"-----BEGIN PGP MESSAGE-----\r\n" * n,
}

CONSTRUCTS: Mapping[str, Construct] = {**STRUCTURE, **HEADERS, **PARAMETERS, **CONTENTS}
