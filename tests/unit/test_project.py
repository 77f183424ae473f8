"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path

import check_locks
import pytest

from ingest.events.shipped import files

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("ingest", "workers")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENTRY_POINTS = [
    EntryPoint(name, value, group)
    for group, points in {"console_scripts": PROJECT["scripts"], **PROJECT["entry-points"]}.items()
    for name, value in points.items()
]
# In pieces, so that this file does not hold them.
NEVER_SAID = [
    ("exactly" + " once", "what nobody can promise"),
    ("pypi" + ".org", "a package registry's address"),
    ("pythonhosted" + ".org", "a package registry's address"),
    ("registry." + "npmjs", "a package registry's address"),
    ("/work" + "/main", "a path of one machine"),
]


def _named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=_named)
def test_a_module_is_one_idea_that_states_its_rules(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(ast.parse(text)), "the first lines of a file state the rules of the room"


@pytest.mark.parametrize(("phrase", "reason"), NEVER_SAID)
def test_no_committed_text_says_what_must_not_be_said(phrase: str, reason: str) -> None:
    files = [ROOT / name for name in check_locks.committed_files(ROOT)]
    saying = [
        _named(path)
        for path in files
        if phrase in " ".join(path.read_text(encoding="utf-8", errors="replace").lower().split())
    ]
    assert saying == [], reason


@pytest.mark.parametrize("point", ENTRY_POINTS, ids=lambda point: point.name)
def test_what_is_installed_can_be_loaded(point: EntryPoint) -> None:
    assert callable(point.load()) == (point.group != "pytest11")  # pytest wants a module


def test_the_wheel_carries_every_committed_file_of_its_packages(tmp_path: Path) -> None:
    hatchling = Path(sys.executable).with_name("hatchling")
    subprocess.run([hatchling, "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    committed = {
        name for name in check_locks.committed_files(ROOT) if name.startswith(tuple(f"{p}/" for p in PACKAGES))
    }
    assert {f"{package}/py.typed" for package in PACKAGES} <= committed
    assert {_named(path) for path in files()} <= committed, "what consumers read of the events"
    assert committed <= inside
