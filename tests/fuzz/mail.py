"""Mail that the MIME targets start from: the corpus, the demo's, the messages made to hurt, the standard library's."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from hostile import CONSTRUCTS

from ingest.simulator.samples import sample_messages

_CORPUS = Path(__file__).parents[1] / "corpus"
_OF_A_CONSTRUCT = 8


def messages() -> Iterator[bytes]:
    """Whole messages."""
    for path in sorted(_CORPUS.glob("*.eml")):
        yield path.read_bytes()
    for sample in sample_messages():
        yield sample.raw
    for construct in CONSTRUCTS.values():
        yield construct(_OF_A_CONSTRUCT)
    # distributions leave the standard library's tests out as they like
    found = importlib.util.find_spec("test.test_email") if importlib.util.find_spec("test") else None
    for place in (found.submodule_search_locations or ()) if found else ():
        for path in sorted(Path(place, "data").glob("msg_*.txt")):
            yield path.read_bytes()


def heads() -> Iterator[bytes]:
    """The header blocks of them."""
    for message in messages():
        yield message.replace(b"\r\n", b"\n").partition(b"\n\n")[0] + b"\n"
