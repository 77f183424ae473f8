"""The tree of parts, walked once over the buffer (RFC 2045, 2046; numbers as in RFC 3501, 6.4.5).

Rules of this file:
- An explicit stack of open containers, no recursion; delimiter lines of every open boundary are found in one pass.
- A delimiter of an outer container ends all inner ones; of two containers with one boundary the outer has it.
- What can't be opened (too deep, no boundary, encoded) is one opaque leaf with its declared type.
- A leaf lies as a span; its content is not looked at here, except for delimiters.
"""

from __future__ import annotations

import re

from ingest.mime.deadline import Deadline
from ingest.mime.defects import DefectCode, DefectLog
from ingest.mime.delimiters import DelimiterScan
from ingest.mime.fields import Fields, split_fields
from ingest.mime.labels import label_within
from ingest.mime.limits import MimeLimits
from ingest.mime.octets import empty_line, whole
from ingest.mime.partheader import PartHeader, part_header, read_part_header
from ingest.models import Label

_FIRST_EMPTY_LINE = re.compile(rb"\r?\n")
_MESSAGES = frozenset({"message/rfc822", "message/global"})
_NO_FIELDS = Fields([], {}, [], 0)
_BLANK_BYTES = 8
_PLAIN, _HTML = "text/plain", "text/html"


class Leaf:
    """A part without parts of its own, or a message/rfc822: what its header says, and its span."""

    __slots__ = ("end", "header", "number", "parent", "start")

    def __init__(self, number: str, parent: str | None, header: PartHeader, start: int) -> None:
        self.number, self.parent, self.header, self.start, self.end = number, parent, header, start, start

    def close(self, end: int) -> None:
        """Its content ends there. Where a delimiter ends the header itself, no content is left."""
        self.start, self.end = min(self.start, end), end

    @property
    def is_body(self) -> bool:
        """Whether it may become the text or html of the message (unnamed, inline, not in a forwarded message)."""
        return self.header.may_be_body and self.parent is None

    @property
    def is_listed(self) -> bool:
        """Whether it is an attachment unless it became a body: all but the unnamed text of forwarded messages.

        A meeting's text/calendar is for programs, and never such a text.
        """
        header = self.header
        return (
            self.parent is None
            or not header.content_type.startswith("text/")
            or header.label is Label.CALENDAR
            or header.filename is not None
            or header.disposition not in {None, "inline"}
        )


class _Container:
    """An open multipart or message/rfc822.

    `prefix` begins its children's numbers. `picks` are the bodies found so far, by type, each with whether it was the
    first body of the child it came from.
    """

    __slots__ = ("alternative", "boundary", "children", "digest", "leaf", "parent", "picks", "prefix")

    def __init__(self, leaf: Leaf, prefix: str, parent: str | None, boundary: bytes | None) -> None:
        self.leaf, self.prefix, self.parent, self.boundary = leaf, prefix, parent, boundary
        self.alternative = leaf.header.content_type == "multipart/alternative"
        self.digest = leaf.header.content_type == "multipart/digest"
        self.children = 0
        self.picks: dict[str, tuple[Leaf, bool]] = {}


class Structure:
    """Walks a message on construction. `fields` is the top header, `leaves` are in order of appearance.

    `labels` are those of all parts, multiparts among them.
    """

    def __init__(self, view: memoryview, limits: MimeLimits, log: DefectLog, deadline: Deadline | None = None) -> None:
        self._view, self._limits, self._log = whole(view), limits, log
        self._deadline = deadline
        self._end = len(view)
        self._scan = DelimiterScan(view, limits.boundary_bytes, deadline)
        self._stack: list[_Container] = []
        self._boundaries: dict[bytes, int] = {}
        self._leaf: Leaf | None = None
        self._parts = 0
        self._header_bytes = 0
        self._messages = 0
        self._empty_line = (-1, -1)
        self._picks: dict[str, tuple[Leaf, bool]] = {}
        self.fields = _NO_FIELDS
        self.header_end = 0
        self.leaves: list[Leaf] = []
        self.labels: set[Label] = set()
        self._walk()

    @property
    def text(self) -> Leaf | None:
        """The text/plain that is the message's body."""
        return self._picks[_PLAIN][0] if _PLAIN in self._picks else None

    @property
    def html(self) -> Leaf | None:
        """The text/html that is the message's body."""
        return self._picks[_HTML][0] if _HTML in self._picks else None

    def _walk(self) -> None:
        at = self._entity(0)
        while found := self._scan.next(at, self._end, self._boundaries):
            depth = self._boundaries[found.boundary]
            self._close(depth + 1, found.content_end)
            if found.closing:
                self._stack[depth].boundary = None
                del self._boundaries[found.boundary]
                self._close(depth, found.content_end)
                at = found.next_line - 1
            else:
                self._stack[depth].children += 1
                at = self._entity(found.next_line)
        self._close(0, self._end)

    def _entity(self, at: int) -> int:
        """Begin the entity whose header is at `at`, and what begins with it; the offset from where to scan on."""
        while True:
            container = self._stack[-1] if self._stack else None
            where: str | None
            if container is None:
                number, prefix, parent, where, digest = "1", "", None, None, False
            else:
                parent, digest = container.parent, container.digest
                if container.boundary is None:
                    number, prefix = container.prefix + "1", container.prefix
                else:
                    number = f"{container.prefix}{container.children}"
                    prefix = number + "."
                where = number
            self._parts += 1
            if self._deadline:
                self._deadline.step()
            if self._parts > self._limits.parts or self._header_bytes > self._limits.all_headers_bytes:
                return self._give_up(number, parent, at)
            header, start, scan_on = self._header(at, where, digest=digest)
            kind = header.content_type
            if header.label is not None or (container is not None and container.leaf.header.label is not None):
                header = self._labelled(header, container)
            leaf = Leaf(number, parent, header, start)
            if kind.startswith("multipart/"):
                boundary = self._boundary_of(leaf, where)
                if boundary is not None:
                    self._boundaries[boundary] = len(self._stack)
                    self._stack.append(_Container(leaf, prefix, parent, boundary))
                    return scan_on
            self.leaves.append(leaf)
            if kind not in _MESSAGES or not self._may_open(leaf, number, message=True):
                self._leaf = leaf
                return scan_on
            self._messages += 1
            self._stack.append(_Container(leaf, number + ".", number, None))
            at = start

    def _labelled(self, header: PartHeader, container: _Container | None) -> PartHeader:
        """The header with its own label or that of what it lies in, which the message gets, too."""
        label = header.label or label_within(container.leaf.header.label if container else None, header.content_type)
        if label is None:
            return header
        self.labels.add(label)
        return header._replace(label=label)

    def _header(self, at: int, where: str | None, *, digest: bool) -> tuple[PartHeader, int, int]:
        """Read the header at `at`: what it says, where the content starts, from where to scan for delimiters."""
        view, end, limits = self._view, self._end, self._limits
        if where is None and (empty := _FIRST_EMPTY_LINE.match(view)):
            self.header_end = empty.end()
            return part_header(b"", limits, self._log, where, digest=digest)[0], empty.end(), empty.end() - 1
        if at >= end:
            return part_header(b"", limits, self._log, where, digest=digest)[0], end, end
        line_feed = at - 1 if at else 0
        if self._empty_line[0] < line_feed:
            self._empty_line = empty_line(view, line_feed) or (end, end)
        last_line_feed, start = self._empty_line
        header_end = last_line_feed + 1 if last_line_feed < end else end
        scan_on = start - 1
        block = bytes(view[at : min(header_end, at + limits.header_block_bytes + 1)])
        is_cut = len(block) < header_end - at
        is_suspect = is_cut or (b"--" in block and (block.startswith(b"--") or b"\n--" in block))
        if is_suspect and self._boundaries:
            cut = self._scan.next(line_feed, header_end, self._boundaries)
            if cut:
                start, scan_on = max(cut.at + 1, at), cut.at
                block = block[: start - at]
        self._header_bytes += len(block)
        if where is None:
            self.fields = split_fields(block, limits, self._log, where)
            header = read_part_header(self.fields, limits, self._log, where, digest=digest)
            used = self.fields.octets
        else:
            header, used = part_header(block, limits, self._log, where, digest=digest)
        if used < len(block):  # the empty line is missing: what is no field is content
            start = at + used
            scan_on = max(start - 1, line_feed)
        if where is None:
            self.header_end = start
        return header, start, scan_on

    def _boundary_of(self, leaf: Leaf, where: str | None) -> bytes | None:
        """The boundary of a multipart that can be opened; a defect otherwise."""
        boundary = leaf.header.boundary.rstrip().encode("utf-8", "replace")
        if not boundary:
            self._log.note(DefectCode.BOUNDARY_MISSING, where)
        elif len(boundary) > self._limits.boundary_bytes:
            self._log.note(DefectCode.BOUNDARY_TOO_LONG, where, f"{len(boundary)} octets")
        elif boundary in self._boundaries:
            self._log.note(DefectCode.BOUNDARY_NOT_FOUND, where, "an outer part has it")
        elif self._may_open(leaf, where, message=False):
            return boundary
        return None

    def _may_open(self, leaf: Leaf, where: str | None, *, message: bool) -> bool:
        encoded = leaf.header.encoding in {"base64", "quoted-printable"}
        if encoded:
            self._log.note(DefectCode.ENCODING_FORBIDDEN, where, leaf.header.encoding)
            if message:
                return False
        if len(self._stack) >= self._limits.depth:
            self._log.note(DefectCode.DEPTH_EXCEEDED, leaf.number)
            return False
        if message and self._messages >= self._limits.nested_messages:
            self._log.note(DefectCode.TOO_MANY_MESSAGES, leaf.number)
            return False
        return True

    def _give_up(self, number: str, parent: str | None, at: int) -> int:
        """Too many parts, or too much of headers: the rest, its own headers included, is one opaque leaf."""
        self._log.note(DefectCode.TOO_MANY_PARTS, number, f"behind {self._header_bytes} octets of headers")
        leaf = Leaf(number, parent, PartHeader("application/octet-stream", None, None, None, None, "binary", ""), at)
        self.leaves.append(leaf)
        self._leaf = leaf
        self._boundaries.clear()
        for container in self._stack:
            container.boundary = None  # closed for good, and by us
        return self._end

    def _close(self, depth: int, end: int) -> None:
        """Close the open leaf and all containers from `depth` on: their content ends at `end`."""
        leaf = self._leaf
        if leaf is not None:
            leaf.close(end)
            if leaf.is_body:
                self._merge({leaf.header.content_type: (leaf, True)})
            self._leaf = None
        while len(self._stack) > depth:
            container = self._stack.pop()
            leaf = container.leaf
            leaf.close(end)
            if leaf.header.content_type in _MESSAGES:
                self._messages -= 1
                continue
            if container.boundary is not None:
                self._boundaries.pop(container.boundary, None)
                where = leaf.number if self._stack or leaf.parent else None
                if container.children:
                    self._log.note(DefectCode.BOUNDARY_UNCLOSED, where)
                else:
                    self._log.note(DefectCode.BOUNDARY_NOT_FOUND, where)
                    self.leaves.append(leaf)
            if container.picks:
                self._merge(container.picks)

    def _merge(self, offered: dict[str, tuple[Leaf, bool]]) -> None:
        """Bodies of a closed child go to its container: of alternatives the last counts, else the first.

        Among alternatives, a text that only follows another body within its alternative (a footer) replaces nothing,
        nor does one without content (a placeholder).
        """
        container = self._stack[-1] if self._stack else None
        picks = container.picks if container else self._picks
        leading = not picks
        for kind, (leaf, first) in offered.items():
            if container is not None and container.alternative:
                if kind not in picks or (first and not self._is_blank(leaf)):
                    picks[kind] = (leaf, first)
            elif kind not in picks:
                picks[kind] = (leaf, first and leading)

    def _is_blank(self, leaf: Leaf) -> bool:
        return leaf.end - leaf.start <= _BLANK_BYTES and not bytes(self._view[leaf.start : leaf.end]).strip()
