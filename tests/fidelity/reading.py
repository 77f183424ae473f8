"""The same message in the words of both readers: field by field, ready to be compared.

Rules of this file:
- A field is a name ("parts", "2.1 content", "From", ...) and a plain value. Both sides give the same names.
- Of the standard library, what it reports a defect of is left aside: the whole tree if the parser does, else the field.
- White space that folding left, line ends of bodies and the zone "-0000" are no differences. What `email` could only
  give as replacement characters is left aside, and so is the content of any message/*: of that it keeps no octets.
- A mailbox named in a comment gets that name from `getaddresses`: the newer interface drops it.
"""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from datetime import UTC
from email.header import decode_header, make_header
from email.message import EmailMessage, Message
from email.utils import getaddresses

from ingest.mime.decoders import decoded_span
from ingest.mime.defects import DefectLog
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message
from ingest.mime.structure import Structure

LIMITS = MimeLimits(body_bytes=1 << 30)
_ADDRESSES = ("From", "Sender", "Reply-To", "To", "Cc")
_OPENED = "message/"
_REPLACED = "\N{REPLACEMENT CHARACTER}"
_RAISED = (ValueError, LookupError, AttributeError, TypeError, RecursionError)  # each by some field
Reading = dict[str, object]


def ours(raw: bytes) -> Reading:
    """As this project's reader has it."""
    message = read_message(raw, LIMITS)
    envelope = message.envelope
    structure = Structure(memoryview(raw), LIMITS, DefectLog(LIMITS))
    found: Reading = {"parts": [(leaf.number, leaf.header.content_type) for leaf in structure.leaves]}
    for leaf in structure.leaves:
        if not leaf.header.content_type.startswith(_OPENED):
            content = b"".join(decoded_span(raw, leaf.header.encoding, leaf.start, leaf.end))
            found[f"{leaf.number} content"] = content
        found[f"{leaf.number} filename"] = _folded(leaf.header.filename)
    named = (envelope.from_, envelope.sender, envelope.reply_to, envelope.to, envelope.cc)
    for name, addresses in zip(_ADDRESSES, named, strict=True):
        found[name] = [(_folded(address.name), address.address) for address in addresses]
    found["Subject"] = _folded(envelope.subject)
    found["Message-ID"] = _folded(envelope.message_id)
    found["Date"] = envelope.date
    for kind, body in (("text", message.text), ("html", message.html)):
        found[kind] = None if body is None else _lines(body.content)
    return found


def theirs(raw: bytes) -> tuple[Reading, set[str]]:
    """As `email` has it, and the names of what it reports defects of or fails at."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    found, aside = _tree(email.message_from_bytes(raw, policy=email.policy.compat32))
    parsed_alike = not any(
        part.defects for part in _all(message)
    )  # the older policy may find boundaries where it can't
    if not parsed_alike:
        aside.update(f"{number} filename" for number, _ in found["parts"])
    for number, part in _leaves(message) if parsed_alike else ():
        name = f"{number} filename"
        odd = any(map(_is_odd, _fields(part, ("Content-Type", "Content-Disposition"))))
        if odd:  # get_filename would raise, or guess
            aside.add(name)
        else:
            found[name] = _folded(part.get_filename())
    for name in (*_ADDRESSES, "Subject", "Message-ID", "Date"):
        try:
            field = message[name]
            found[name] = _value(name, field, _raw(message, name))
            if field is not None and (_is_odd(field) or _REPLACED in str(field)):
                aside.add(name)
        except _RAISED:
            aside.add(name)
    for kind, subtype in (("text", "plain"), ("html", "html")):
        try:
            body = message.get_body((subtype,))
            found[kind] = None if body is None else _lines(str(body.get_content()))
            if not parsed_alike or _REPLACED in str(found[kind]):
                aside.add(kind)
        except _RAISED:
            aside.add(kind)
    return found, aside


def _tree(message: Message) -> tuple[Reading, set[str]]:
    """Types, numbers and contents: by the older policy, which the fields' defects do not concern."""
    leaves = list(_leaves(message))
    found: Reading = {"parts": [(number, part.get_content_type()) for number, part in leaves]}
    aside = {"parts"} if any(part.defects for part in _all(message)) else set()
    for number, part in leaves:
        if not part.get_content_type().startswith(_OPENED):
            found[f"{number} content"] = _content(part)
            if part.defects:
                aside.add(f"{number} content")
    return found, aside


def hangs_on_parts(name: str) -> bool:
    """Whether a field is left aside with the tree."""
    return name[0].isdigit() or name in {"text", "html"}


def _raw(message: Message, name: str) -> str:
    raw = next((value for other, value in message.raw_items() if other.lower() == name.lower()), "")
    return str(raw).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _value(name: str, field: object, raw: str) -> object:
    if field is None:
        return [] if name in _ADDRESSES else None
    if name in _ADDRESSES:
        commented = {address: str(make_header(decode_header(name))) for name, address in getaddresses([raw])}
        return [
            (_folded(address.display_name or commented.get(address.addr_spec, "")), address.addr_spec)
            for address in field.addresses
        ]
    if name == "Date":
        date = field.datetime
        return date.replace(tzinfo=UTC) if date is not None and date.tzinfo is None else date
    return _folded(str(field))


def _all(message: Message) -> Iterator[Message]:
    stack = [message]
    while stack:
        part = stack.pop()
        yield part
        if part.is_multipart():
            stack.extend(part.get_payload())


def _leaves(message: Message) -> Iterator[tuple[str, Message]]:
    """In order of appearance, numbered as RFC 3501 does; a message/rfc822 counts as one, before what is in it."""
    stack: list[tuple[str, str, Message]] = [("1", "", message)]
    while stack:
        number, prefix, part = stack.pop()
        kind = part.get_content_type()
        if kind == "message/rfc822" and part.is_multipart():
            yield number, part
            stack.extend((f"{number}.1", f"{number}.", inner) for inner in part.get_payload()[:1])
        elif part.get_content_maintype() == "multipart" and part.is_multipart():
            inside = [(f"{prefix}{at}", f"{prefix}{at}.", child) for at, child in enumerate(part.get_payload(), 1)]
            stack.extend(reversed(inside))
        else:
            yield number, part


def _fields(part: Message, names: tuple[str, ...]) -> Iterator[object]:
    for name in names:
        try:
            field = part[name]
        except _RAISED:
            field = ""  # a value without `defects`: odd
        if field is not None:
            yield field


def _is_odd(field: object) -> bool:
    return bool(getattr(field, "defects", ("it raised",)))


def _content(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _folded(text: str | None) -> str | None:
    return None if text is None else " ".join(text.split())


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n")
