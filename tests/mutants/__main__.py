"""`make mutants`: plant each bug in a copy of the repository, and see the named tests fail of it.

Rules of this file:
- First all named tests must pass without a bug: a test that fails anyway catches nothing.
- A bug is caught only by a test that ran and failed; a test that could not be collected is an error.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mutants.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
_COPIED = ("ingest", "workers", "tests", "tools", "pyproject.toml")
_FAILED = 1  # pytest's exit code where tests ran and some failed


def planted(text: str, mutant: Mutant, file: str) -> str:
    """The text of a file with the mutant's edits; ValueError where one does not fit."""
    for edit in mutant.edits:
        if edit.file == file:
            if text.count(edit.old) != 1:
                raise ValueError(f"{mutant.name}: {text.count(edit.old)} places in {file} to plant it, not 1")
            text = text.replace(edit.old, edit.new)
    return text


def run(directory: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """These tests, over the code in a directory."""
    environment = {**os.environ, "PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1", "PROMISE_UNSHRUNK": "1"}
    command = [sys.executable, "-m", "pytest", "--no-cov", "-q", "-p", "no:cacheprovider", "--tb=line", *tests]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)


def copy(directory: Path) -> Path:
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=shutil.ignore_patterns("__pycache__", ".mypy_cache"))
        else:
            shutil.copy(source, directory / name)
    return directory


def caught(directory: Path, mutant: Mutant) -> str:
    """Empty if each named test fails under the bug; else what is wrong."""
    files = {edit.file: (directory / edit.file).read_text("utf-8") for edit in mutant.edits}
    try:
        for file, text in files.items():
            (directory / file).write_text(planted(text, mutant, file), "utf-8")
        done = run(directory, mutant.caught_by)
    finally:
        for file, text in files.items():
            (directory / file).write_text(text, "utf-8")
    failed = re.search(r"(\d+) failed", done.stdout)
    if (
        done.returncode == _FAILED
        and failed
        and int(failed[1]) >= len(mutant.caught_by)
        and not re.search(r"\d+ error", done.stdout)
    ):
        return ""
    return f"not caught: {done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr.strip()}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these")
    names = parser.parse_args().names
    mutants = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    if not mutants or len(names) > len(mutants):
        parser.error(f"no such mutant; there are {', '.join(mutant.name for mutant in MUTANTS)}")
    started, escaped = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as name:
        directory = copy(Path(name))
        sound = run(directory, sorted({test for mutant in mutants for test in mutant.caught_by}))
        if sound.returncode != 0:
            print(f"without any bug these tests do not pass:\n{sound.stdout[-2000:]}{sound.stderr[-2000:]}")
            return 1
        for mutant in mutants:
            problem = caught(directory, mutant)
            escaped += bool(problem)
            print(f"{'ESCAPED' if problem else 'caught '}  {mutant.name:32} {mutant.clause}")
            for test in mutant.caught_by:
                print(f"         by {test.rpartition('::')[2].replace('_', ' ')}")
            if problem:
                print(f"         {problem}")
            sys.stdout.flush()
    print(f"{len(mutants) - escaped} of {len(mutants)} caught in {time.monotonic() - started:.0f} s")
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
