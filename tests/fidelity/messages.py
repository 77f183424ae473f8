"""Real messages out of the places where others keep theirs.

Rules of this file:
- A message is (name, octets); the name is its path within the corpus, and within an mbox "#" and its place.
- What a file is, its octets say: names of mail files are anything.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

Message = tuple[str, bytes]

_FIELD = re.compile(
    rb"^(?:from|to|cc|subject|date|message-id|received|mime-version|content-type|return-path)[ \t]*:",
    re.MULTILINE | re.IGNORECASE,
)
_FIRST_LINE = re.compile(rb">?From \S|[!-9;-~]+[ \t]*:")
_SEPARATOR = re.compile(rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From [^\n]*\d\d:\d\d[^\n]*\n")
_MAIL_BYTES = 32 * 1024 * 1024
_HEAD_BYTES = 16 * 1024
_FIELDS = 3


def of_folder(folder: Path) -> Iterator[Message]:
    """All messages in files under a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield from _of_file(path.relative_to(folder).as_posix(), path.read_bytes())


def of_archive(archive: Path) -> Iterator[Message]:
    """All messages in a source distribution; its outer folder is not in their names."""
    with tarfile.open(archive) as members:
        for member in members:
            content = members.extractfile(member) if member.isfile() and member.size <= _MAIL_BYTES else None
            if content is not None:
                yield from _of_file(member.name.partition("/")[2], content.read())


def is_mail(raw: bytes) -> bool:
    """Whether a file begins with a mail header: three different fields of mail before the first empty line."""
    head = raw[:_HEAD_BYTES].replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    fields = {field.lower() for field in _FIELD.findall(head)}
    return _FIRST_LINE.match(raw) is not None and len(fields) >= _FIELDS


def _of_file(name: str, raw: bytes) -> Iterator[Message]:
    if not is_mail(raw):
        return
    separators = list(_SEPARATOR.finditer(raw))
    if len(separators) < 2 or separators[0].start():
        yield name, raw
        return
    ends = [*(separator.start() for separator in separators[1:]), len(raw)]
    for at, (separator, end) in enumerate(zip(separators, ends, strict=True), 1):
        yield f"{name}#{at}", raw[separator.end() : end]
