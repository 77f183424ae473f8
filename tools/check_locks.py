"""Holds the lock files to their rules, without a network.

- A lock names packages, versions and hashes: no address, no file, no index option. uv.lock and pylock.toml record
  addresses, so they are never committed.
- Each lock is in step with pyproject.toml: what is asked for there is pinned here to a version that fits, with hashes,
  and nothing is pinned here because of a requirement that is gone.
- What ships (requirements.lock) and what builds it (requirements-build.lock) are pinned as in what was tested.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TESTED = "requirements-dev.lock"
SHIPPED = "requirements.lock"
BUILD = "requirements-build.lock"
_ADDRESS = re.compile(r"https?://|file:|--(extra-)?index|--find[-]links|git\+|ssh://", re.IGNORECASE)
_ADDRESS_LOCKS = ("uv.lock", "pylock.toml")
_VIA_PROJECT = "mailsluice (pyproject.toml"


@dataclass(frozen=True, slots=True)
class Pin:
    """One package in a lock: its version, how many hashes, and whether pyproject.toml itself asks for it."""

    version: str
    hashes: int
    asked_for: bool


def is_lock(path: str) -> bool:
    """Whether a committed file is a lock: *.lock, requirements*.txt."""
    name = Path(path).name
    return name.endswith(".lock") or (name.startswith("requirements") and name.endswith(".txt"))


def addresses(path: str, text: str) -> Iterator[str]:
    """Lines of a lock that say where to fetch from."""
    for number, line in enumerate(text.splitlines(), 1):
        if _ADDRESS.search(line):
            yield f"{path}:{number}: a lock names no address, index or file: {line.strip()}"


def pins(text: str) -> dict[str, Pin]:
    """The packages of a lock, by normalised name."""
    found: dict[str, Pin] = {}
    for block in re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE):
        head = re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", block)
        if head:
            found[canonicalize_name(head[1])] = Pin(head[2], block.count("--hash=sha256:"), _VIA_PROJECT in block)
    return found


def asked_for(project: dict[str, Any], *, group: str | None, extras: bool, run_time: bool) -> list[Requirement]:
    """What pyproject.toml asks for: run-time dependencies, all extras, one dependency group with those it includes."""
    table = project["project"]
    wanted: list[str] = list(table["dependencies"]) if run_time else []
    if extras:
        wanted += [line for lines in table.get("optional-dependencies", {}).values() for line in lines]
    if group:
        wanted += _group(project["dependency-groups"], group)
    return [Requirement(line) for line in wanted]


def out_of_step(path: str, lock: dict[str, Pin], wanted: Iterable[Requirement]) -> Iterator[str]:
    """Where a lock and the requirements it was made from disagree."""
    names: set[str] = set()
    for requirement in wanted:
        name: str = canonicalize_name(requirement.name)
        names.add(name)
        pin = lock.get(name)
        if pin is None:
            yield f"{path}: {name} is in pyproject.toml but not locked: make lock"
        elif not requirement.specifier.contains(pin.version, prereleases=True):
            yield f"{path}: {name}=={pin.version} does not fit '{requirement}': make lock"
    for name, pin in lock.items():
        if not pin.hashes:
            yield f"{path}: {name} has no hash"
        if pin.asked_for and name not in names:
            yield f"{path}: {name} is locked for pyproject.toml, which no longer asks for it: make lock"


def differing(path: str, lock: dict[str, Pin], tested: dict[str, Pin]) -> Iterator[str]:
    """Packages of a lock that are not pinned as in what was tested."""
    for name, pin in lock.items():
        other = tested.get(name)
        if other is None or other.version != pin.version:
            yield f"{path}: {name}=={pin.version} is not what {TESTED} tests: make lock"


def problems(root: Path, committed: Iterable[str]) -> Iterator[str]:
    """Everything wrong with the committed locks under `root`, one line each."""
    for path in committed:
        if Path(path).name in _ADDRESS_LOCKS:
            yield f"{path}: records registry addresses, never commit it (make lock writes {TESTED})"
        elif is_lock(path):
            yield from addresses(path, (root / path).read_text(encoding="utf-8"))
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    tested, shipped, build = (pins((root / name).read_text(encoding="utf-8")) for name in (TESTED, SHIPPED, BUILD))
    yield from out_of_step(TESTED, tested, asked_for(project, group="dev", extras=True, run_time=True))
    yield from out_of_step(SHIPPED, shipped, asked_for(project, group=None, extras=False, run_time=True))
    yield from out_of_step(BUILD, build, asked_for(project, group="build", extras=False, run_time=False))
    yield from differing(SHIPPED, shipped, tested)
    yield from differing(BUILD, build, tested)


def committed_files(root: Path) -> list[str]:
    """Files that git tracks, and new ones it does not ignore."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        check=True,
        capture_output=True,
    )
    return [name for name in listing.stdout.decode().split("\0") if name and (root / name).is_file()]


def _group(groups: dict[str, list[Any]], name: str) -> list[str]:
    lines: list[str] = []
    for entry in groups[name]:
        lines += _group(groups, entry["include-group"]) if isinstance(entry, dict) else [entry]
    return lines


def main() -> int:
    """Check the checkout this file lies in; one line a problem."""
    root = Path(__file__).resolve().parent.parent
    found = list(problems(root, committed_files(root)))
    for line in found:
        print(line, file=sys.stderr)
    if not found:
        print("locks: in step with pyproject.toml, no addresses")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
