"""Text and html: decoded, in Unicode, cut."""

from __future__ import annotations

import pytest

from ingest.mime.charsets import codec_of, cut_utf8, decode_text
from ingest.mime.defects import DefectCode
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message
from ingest.models import Body, Defect


def body(content: bytes, *, charset: str = "", encoding: str = "8bit", limit: int = 262144) -> tuple[Body, list[str]]:
    parameter = f"; charset={charset}" if charset else ""
    head = f"Content-Type: text/plain{parameter}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
    message = read_message(head + content, MimeLimits(body_bytes=limit))
    assert message.text is not None
    return message.text, [defect.code for defect in message.defects]


@pytest.mark.parametrize(
    ("spelling", "codec"),
    [
        ("UTF8", "utf-8"),
        ("utf-8", "utf-8"),
        ("x-utf-8", "utf-8"),
        ('"utf-8"', "utf-8"),
        ("cp-850", "cp850"),
        ("windows1252", "cp1252"),
        ("WIN-1251", "cp1251"),
        ("iso-8859-8-i", "iso8859-8"),
        ("ISO_8859-1:1987", "iso8859-1"),
        ("x-sjis", "shift_jis"),
        ("ks_c_5601-1987", "euc_kr"),
        ("unicode-1-1-utf-7", "utf-7"),
        ("utf-16le", "utf-16-le"),
        ("x-unknown", None),
        ("unknown-8bit", None),
        ("a\0b", None),
        ("", None),
        ("x" * 999, None),
        ("../utf_8", None),
        ("hex", None),
        ("rot13", None),
        ("unicode_escape", None),
        ("idna", None),
        ("Ünicode", None),
    ],
)
def test_charsets_are_known_by_the_names_mail_gives_them(spelling: str, codec: str | None) -> None:
    assert codec_of(spelling) == codec


def test_text_is_read_in_its_declared_charset() -> None:
    assert body("żółć".encode("iso-8859-2"), charset="ISO-8859-2") == (Body("żółć", False, "iso-8859-2"), [])


def test_text_without_charset_is_utf_8_if_it_can_be() -> None:
    assert body("żółć".encode()) == (Body("żółć", False, "utf-8"), ["charset_missing"])
    assert body(b"plain") == (Body("plain", False, "us-ascii"), [])


def test_text_in_an_unknown_charset_is_utf_8_if_it_can_be() -> None:
    assert body("żółć".encode(), charset="x-klingon") == (Body("żółć", False, "utf-8"), ["charset_unknown"])


def test_ascii_that_is_utf_8_is_read_as_utf_8() -> None:
    assert body("żółć".encode(), charset="us-ascii") == (Body("żółć", False, "utf-8"), ["charset_wrong"])


def test_latin_1_with_controls_is_utf_8_or_windows_1252() -> None:
    assert body("„so“".encode("cp1252"), charset="iso-8859-1") == (
        Body("„so“", False, "windows-1252"),
        ["charset_wrong"],
    )
    assert body("100 €".encode(), charset="iso-8859-1") == (Body("100 €", False, "utf-8"), ["charset_wrong"])


def test_text_of_no_charset_is_detected() -> None:
    russian = "Здравствуйте, высылаем вам счёт за прошлый месяц. Просим оплатить до конца недели. " * 4
    read, codes = body(russian.encode("cp1251"))
    assert (read.content, codes) == (russian, ["charset_missing"])


def test_little_damage_does_not_change_the_charset() -> None:
    damaged = "日本語".encode() * 100 + b"\xff"
    read, codes = body(damaged, charset="utf-8")
    assert read == Body("日本語" * 100 + "\N{REPLACEMENT CHARACTER}", False, "utf-8")
    assert codes == ["charset_wrong"]


def test_gb2312_stands_for_its_superset() -> None:
    assert body("镕".encode("gb18030"), charset="gb2312")[0].content == "镕"


def test_lone_surrogates_never_come_out() -> None:
    text, _, _ = decode_text(b"+2AA-", "utf-7", sample_bytes=0)
    text.encode()


def test_nul_in_text_is_replaced() -> None:
    assert body(b"a\0b") == (Body("a\N{REPLACEMENT CHARACTER}b", False, "us-ascii"), ["text_control"])


@pytest.mark.parametrize("charset", ["a%00b", '"\0"', "utf-8\0"])
def test_nul_in_a_charset_name_is_an_unknown_charset(charset: str) -> None:
    assert body(b"abc", charset=charset)[0].content == "abc"


def test_text_is_cut_between_characters() -> None:
    assert body("aé€".encode(), charset="utf-8", limit=5)[0] == Body("aé", True, "utf-8")
    assert body("aé€".encode(), charset="utf-8", limit=6)[0] == Body("aé€", False, "utf-8")


def test_text_far_beyond_the_limit_is_cut_too() -> None:
    read, codes = body("é".encode() * 100_000, charset="utf-8", limit=9)
    assert (read, codes) == (Body("éééé", True, "utf-8"), [])


def test_stateful_charsets_are_cut_without_damage() -> None:
    read, codes = body(("日本語" * 1000).encode("iso-2022-jp"), charset="iso-2022-jp", limit=30)
    assert (read.content, read.truncated, codes) == ("日本語日本語日本語日", True, [])


def test_text_is_taken_out_of_base64_and_quoted_printable() -> None:
    assert body(b"w7zDtg==", charset="utf-8", encoding="Base64")[0].content == "üö"
    assert body(b"=c3=BC=\r\n=C3=B6", charset="utf-8", encoding="QUOTED-PRINTABLE")[0].content == "üö"


@pytest.mark.parametrize(
    ("encoding", "content", "text", "code"),
    [
        ("base64", b"YW!Jj", "abc", "base64_damaged"),
        ("base64", b"YQ==YmM=", "abc", "base64_damaged"),
        ("quoted-printable", b"a=zz", "a=zz", "quoted_printable_damaged"),
        ("x-uuencode", b"no begin line", "no begin line", "uuencode_damaged"),
        ("x-klingon", b"abc", "abc", "encoding_unknown"),
    ],
)
def test_damage_is_decoded_around_and_reported(encoding: str, content: bytes, text: str, code: str) -> None:
    read, codes = body(content, charset="utf-8", encoding=encoding)
    assert (read.content, codes) == (text, [code])


def test_a_defect_names_the_part() -> None:
    message = read_message(b"Content-Type: text/plain; charset=nope\n\nabc", MimeLimits())
    assert message.defects == (Defect(DefectCode.CHARSET_UNKNOWN, "1", "nope"),)


def test_cutting_keeps_what_fits() -> None:
    assert cut_utf8("abc", 3) == ("abc", False)
    assert cut_utf8("ab€", 4) == ("ab", True)
