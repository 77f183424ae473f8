"""The files that ship for consumers, all generated: a JSON Schema a type, and the AsyncAPI document.

`python -m ingest.events.shipped` writes them; a test fails when what ships is not what the models say.
"""

from __future__ import annotations

import json
from pathlib import Path

from ingest.events.asyncapi import document
from ingest.events.models import EventType
from ingest.events.schema import FOLDER, path_of, schema_of

ASYNCAPI = FOLDER / "asyncapi.json"


def files() -> dict[Path, str]:
    """Each file and what it holds."""
    found = {**{path_of(each): schema_of(each) for each in EventType}, ASYNCAPI: document()}
    return {path: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for path, content in found.items()}


if __name__ == "__main__":
    for each, text in files().items():
        each.write_text(text, "utf-8")
