"""Filenames: where they come from, and how they are made harmless."""

from __future__ import annotations

import pytest

from ingest.mime.filenames import clean_filename
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message


def names(head: str) -> tuple[str | None, str | None]:
    message = read_message((head + "\n\nabc").encode(), MimeLimits())
    return message.attachments[0].filename, message.attachments[0].filename_raw


@pytest.mark.parametrize(
    ("head", "filename"),
    [
        ('Content-Disposition: attachment; filename="a b.txt"', "a b.txt"),
        ("Content-Type: a/b; name=a.txt", "a.txt"),
        ("Content-Type: a/b; name=n.txt\nContent-Disposition: attachment; filename=f.txt", "f.txt"),
        ("Content-Disposition: attachment; filename*=utf-8''M%C3%A4rz.pdf", "März.pdf"),
        ("Content-Disposition: attachment; filename*0*=utf-8''M%C3; filename*1*=%A4rz; filename*2=.pdf", "März.pdf"),
        ('Content-Disposition: attachment; filename="=?utf-8?q?M=C3=A4rz.pdf?="', "März.pdf"),
        ("Content-Disposition: attachment; filename==?utf-8?b?TcOkcnoucGRm?=", "März.pdf"),
        ('Content-Type: a/b; name="=?utf-8?q?M=C3=A4?=\n =?utf-8?q?rz.pdf?="', "März.pdf"),
        ('Content-Disposition: attachment; filename="März.pdf"', "März.pdf"),
        ("Content-Disposition: attachment", None),
        ('Content-Disposition: attachment; filename=""', None),
    ],
)
def test_the_filename_is_found_and_decoded(head: str, filename: str | None) -> None:
    assert names(head) == (filename, filename)


def test_the_raw_filename_is_kept_beside_the_clean_one() -> None:
    assert names(r'Content-Disposition: attachment; filename="..\..\etc/passwd"') == ("passwd", r"..\..\etc/passwd")
    assert names('Content-Disposition: attachment; filename="..."') == (None, "...")


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("a.txt", "a.txt"),
        ("a  b (1).tar.gz", "a  b (1).tar.gz"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\a.txt", "a.txt"),
        ("/", None),
        ("a/", None),
        ("..", None),
        (" . . ", None),
        ("", None),
        (".htaccess", "htaccess"),
        ("a.txt. .", "a.txt"),
        ("a\0b\r\n.txt", "ab.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("a\u200b\u2066b\ufeff.txt", "ab.txt"),
        ("a\u2028b", "ab"),
        ("u\u0308.txt", "ü.txt"),
        ("con", "_con"),
        ("NUL.txt", "_NUL.txt"),
        ("com1 .tar.gz", "_com1 .tar.gz"),
        ("LPT\xb9", "_LPT\xb9"),
        ("con:x", "_con:x"),
        ("c:evil.exe", "_c:evil.exe"),
        ("::a", "a"),
        ("Re: c:evil.exe", "Re: c:evil.exe"),
        ("\u200bcon", "_con"),
        (". con", "_con"),
        ("console.txt", "console.txt"),
        ("\ud800a", "a"),
    ],
)
def test_names_are_made_harmless(raw: str, clean: str | None) -> None:
    assert clean_filename(raw, 255) == clean


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("x" * 300 + ".pdf", "x" * 251 + ".pdf"),
        ("€" * 100 + ".pdf", "€" * 83 + ".pdf"),
        ("x" * 255, "x" * 255),
        ("x" * 256, "x" * 255),
        ("x." + "y" * 300, "x." + "y" * 253),
        ("x" * 250 + " " * 20 + ".pdf", "x" * 250 + ".pdf"),
    ],
)
def test_long_names_are_cut_and_keep_their_extension(raw: str, clean: str) -> None:
    assert clean_filename(raw, 255) == clean


def test_a_very_long_raw_name_is_cut() -> None:
    filename, raw = names(f"Content-Disposition: attachment; filename={'x' * 50_000}.pdf")
    assert filename is not None
    assert raw is not None
    assert (len(filename), len(raw)) == (255, 4096)


def test_a_word_that_holds_nothing_is_no_name() -> None:
    assert names("Content-Disposition: attachment; filename==?utf-8?q??=") == (None, None)
