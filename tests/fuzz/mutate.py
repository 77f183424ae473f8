"""Mutations from a seed, where there is no coverage to guide them: a short run of them is the same everywhere."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path

_TOKEN = re.compile(r'^"(.*)"$', re.MULTILINE)


def tokens(dictionary: Path) -> list[bytes]:
    """The words of a dictionary."""
    text = dictionary.read_text("ascii")
    return [token.encode("ascii").decode("unicode_escape").encode("latin-1") for token in _TOKEN.findall(text)]


class Mutator:
    """Args: rng: decides everything; cases: what is mutated; words: and what with; most_bytes: of what comes of it."""

    def __init__(self, rng: random.Random, cases: Sequence[bytes], words: Sequence[bytes], most_bytes: int) -> None:
        self._rng = rng
        self._cases = cases
        self._words = words
        self._most_bytes = most_bytes

    def __call__(self) -> bytes:
        rng = self._rng
        data = rng.choice(self._cases)
        for _ in range(rng.randrange(1, 5)):
            start = rng.randrange(len(data) + 1)
            end = min(len(data), start + rng.choice((0, 0, 1, 2, rng.randrange(30))))
            data = data[:start] + self._filling(data) + data[end:]
        return data[: self._most_bytes]

    def _filling(self, data: bytes) -> bytes:
        rng = self._rng
        match rng.randrange(5):
            case 0:
                return rng.choice(self._words)
            case 1:
                return rng.randbytes(rng.randrange(1, 4))
            case 2:
                return b""
            case 3:
                other = rng.choice(self._cases)
                at = rng.randrange(len(other) + 1)
                return other[at : at + rng.randrange(60)]
            case _:
                at = rng.randrange(len(data) + 1)
                return data[at : at + rng.randrange(20)] * rng.choice((1, 1, 2, 30))
