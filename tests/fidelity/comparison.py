"""What the two readers disagree about, and which of it is known.

Rules of this file:
- disagreements.txt has a line each: corpus, message, field, reason. One that is not listed fails, and one that is
  listed and no longer occurs in a message that was read.
- A message is compared once, however many corpora have it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from fidelity.messages import Message
from fidelity.reading import hangs_on_parts, ours, theirs

LISTED = Path(__file__).parent / "disagreements.txt"
_SHOWN_CHARS = 200
_SIDES = ("ours", "email")


class Disagreement(NamedTuple):
    """Where the readers differ."""

    corpus: str
    message: str
    field: str


@dataclass
class Summary:
    """One corpus: counts, and the disagreements to be told. `fields` were compared, `aside` were not."""

    corpus: str
    messages: int = 0
    fields: int = 0
    aside: int = 0
    listed: int = 0
    unlisted: dict[Disagreement, str] = field(default_factory=dict)
    stale: list[Disagreement] = field(default_factory=list)

    @property
    def agreed(self) -> int:
        """How many fields are the same."""
        return self.fields - self.listed - len(self.unlisted)


def listed(path: Path = LISTED) -> dict[Disagreement, str]:
    """The known disagreements, each with its reason."""
    found: dict[Disagreement, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            corpus, message, name, reason = (cell.strip() for cell in line.split(" | "))
            found[Disagreement(corpus, message, name)] = reason
    return found


class Comparison:
    """Compares corpus after corpus against one list of known disagreements."""

    def __init__(self, known: Iterable[Disagreement]) -> None:
        self._known = set(known)
        self._seen: set[bytes] = set()

    def of(self, corpus: str, messages: Iterable[Message]) -> Summary:
        """Compare all messages of a corpus that no earlier one had."""
        summary = Summary(corpus)
        for name, raw in messages:
            if raw in self._seen:
                continue
            self._seen.add(raw)
            summary.messages += 1
            self._compare(summary, name, raw)
        return summary

    def _compare(self, summary: Summary, name: str, raw: bytes) -> None:
        mine = ours(raw)
        reference, aside = theirs(raw)
        if "parts" in aside:
            aside |= set(filter(hangs_on_parts, mine.keys() | reference.keys()))
        fields = sorted((mine.keys() | reference.keys()) - aside)
        summary.aside += len(aside)
        summary.fields += len(fields)
        differing = {Disagreement(summary.corpus, name, of) for of in fields if mine.get(of) != reference.get(of)}
        summary.listed += len(differing & self._known)
        for found in sorted(differing - self._known):
            pair = (str(side.get(found.field))[:_SHOWN_CHARS] for side in (mine, reference))
            summary.unlisted[found] = "\n".join(
                f"  {whose:<6} {text!r}" for whose, text in zip(_SIDES, pair, strict=True)
            )
        here = {known for known in self._known if known[:2] == (summary.corpus, name)}
        summary.stale.extend(sorted(here - differing))
