"""The planted bugs still fit the code, and the tests that must catch them are there. `make mutants` plants them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutants.__main__ import planted
from mutants.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_bug_fits_its_place_and_names_tests_that_are_there(mutant: Mutant) -> None:
    for file in {edit.file for edit in mutant.edits}:
        text = (ROOT / file).read_text("utf-8")
        assert planted(text, mutant, file) != text
    for test in mutant.caught_by:
        file, _, name = test.partition("::")
        names = {
            node.name
            for node in ast.walk(ast.parse((ROOT / file).read_text("utf-8")))
            if isinstance(node, ast.FunctionDef)
        }
        assert name.partition("[")[0] in names or name == "TestPromise::runTest"  # hypothesis makes that one


@pytest.mark.parametrize(
    ("name", "said"), [("count-after-the-work", "1 of 1 caught"), ("no-such-bug", "no such mutant")]
)
def test_a_planted_bug_is_caught_and_an_unknown_one_is_said(name: str, said: str) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, "-m", "mutants", name]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert said in done.stdout + done.stderr


def test_a_bug_that_no_longer_fits_is_a_failure() -> None:
    with pytest.raises(ValueError, match="0 places"):
        planted("", MUTANTS[0], MUTANTS[0].edits[0].file)
