"""Raw octets in a header: which charset they may be in."""

from __future__ import annotations

import pytest

from ingest.mime.charsets import charset_of_header, eight_bit_codec


@pytest.mark.parametrize(
    ("fields", "charset"),
    [
        ([("Content-Type", "text/plain; charset=windows-1251")], "windows-1251"),
        ([("content-type", 'text/html; x=y; Charset = "Big5"; z')], "Big5"),
        ([("From", "=?gb2312?B?1tA=?= <a@x.org>"), ("Content-Type", "multipart/mixed; boundary=b")], "gb2312"),
        ([("Subject", "=?koi8-r*ru?q?=C1?="), ("Content-Type", "text/plain; charset=utf-8")], "koi8-r"),
        ([("To", "=?utf-8?q?a?= =?us-ascii?q?a?= =?koi8-r?q?a?=")], "koi8-r"),
        ([("Content-Type", "text/plain; charset=big5"), ("Content-Type", "text/plain; charset=koi8-r")], "big5"),
        ([("To", "=?koi8-r?q?a?="), ("Content-Type", "text/plain; charset=iso-8859-1")], "iso-8859-1"),
        ([("X", "; charset=big5"), ("Y", "=?koi8-r"), ("Content-Type", "text/plain; charset=us-ascii")], None),
        ([("Content-Type", "text/plain; charset=nope"), ("X", "=??q??=")], None),
        ([], None),
    ],
)
def test_the_charset_of_raw_octets_is_one_that_the_header_names(
    fields: list[tuple[str, str]], charset: str | None
) -> None:
    assert charset_of_header(fields) == charset


@pytest.mark.parametrize("charset", ["cp037", "utf-16", "utf-7", "utf-32le", "hz", "cp864", "shift_jis-2004"])
def test_a_charset_in_which_ascii_means_something_else_is_never_taken(charset: str) -> None:
    assert charset_of_header([("Content-Type", f"text/plain; charset={charset}")]) is None


@pytest.mark.parametrize(
    ("text", "charset", "codec"),
    [
        ("\u4f60\u597d, a@x.org", "big5", "big5"),
        ("\u9555\u57fa", "gb2312", "gb18030"),
        ("\u041f\u0440\u0438\u0432\u0435\u0442", "windows-1251", "cp1251"),
        ("\u3054\u6ce8\u6587", "x-sjis", "shift_jis"),
        ("\u201eGr\u00fc\u00dfe\u201c", None, "cp1252"),
        ("caf\u00e9", "big5", "latin-1"),
        ("\u201ecaf\u00e9\u201c", "iso-8859-1", "cp1252"),
        ("\u201eso\u201c", "iso-8859-5", "cp1252"),
        ("\x81\u00e9", "iso-2022-jp", "latin-1"),
    ],
)
def test_raw_octets_are_read_in_it_if_they_are_text_there(text: str, charset: str | None, codec: str) -> None:
    octets = text.encode(codec)
    assert octets.decode(eight_bit_codec([octets, b"ASCII"], charset)) == text
