"""Flowed text (RFC 3676): lines that were broken for narrow screens become paragraphs again.

Rules of this file:
- A line that ends in a space goes on in the next one of the same quote depth. The signature's "-- " never does.
- An empty line is one, also where the RFC lets it end the paragraph before it: a space before it was typed, not made.
- Line ends that stay are those that were sent.
"""

from __future__ import annotations

import re

_LINE = re.compile(r"(>*)( ?)([^\r\n]*)(\r?\n|\r|\Z)")
_SIGNATURE = "-- "


def unflowed(text: str, *, delsp: bool) -> str:
    """The text with its soft breaks joined and its space-stuffing removed; `delsp`: the space before a break goes too.

    RFC 3676, 4.
    """
    pieces: list[str] = []
    depth, soft = -1, False  # of the line before, and whether it goes on
    end = ""
    for line in _LINE.finditer(text):
        quotes, content, line_end = line[1], line[3], line[4]
        if not line[0]:
            break
        signature = content == _SIGNATURE
        if soft and content and len(quotes) == depth and not signature:
            if delsp:
                pieces[-1] = pieces[-1][:-1]
        else:
            pieces.append(end)
            pieces.append(quotes + line[2] if quotes else "")
        pieces.append(content)
        depth, soft = len(quotes), content.endswith(" ") and not signature
        end = line_end
    pieces.append(end)
    return "".join(pieces)
