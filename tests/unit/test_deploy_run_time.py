"""What ships is enough to run: nothing that only the tests bring is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import check_locks

ROOT = Path(__file__).resolve().parents[2]

# Imports all of it, and what Celery loads by name, while every distribution outside of the arguments is hidden.
# But for what pytest itself loads: where that is imported, pytest is there.
_IMPORT_ALL = """
import importlib, importlib.metadata, pkgutil, re, sys

shipped = {"mailsluice", *sys.argv[1:]}
owners = importlib.metadata.packages_distributions()

class OnlyWhatShips:
    def find_spec(self, name, path=None, target=None):
        owner = {re.sub("[-_.]+", "-", found).lower() for found in owners.get(name.partition(".")[0], ())}
        if owner and not owner & shipped:
            raise ModuleNotFoundError(f"{name} does not ship", name=name)

sys.meta_path.insert(0, OnlyWhatShips())
for top in ("ingest", "workers"):
    for module in pkgutil.walk_packages(importlib.import_module(top).__path__, top + "."):
        if not module.name.endswith(("__main__", ".pytest_plugin")):
            importlib.import_module(module.name)

import boto3, celery.beat, celery.concurrency.thread, kombu
kombu.Connection("redis://127.0.0.1:1/1").transport
boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
"""


def _run(shipped: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _IMPORT_ALL, *shipped]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


def _shipped() -> list[str]:
    return list(check_locks.pins((ROOT / check_locks.SHIPPED).read_text()))


def test_everything_imports_with_nothing_but_what_ships() -> None:
    done = _run(_shipped())
    assert done.returncode == 0, done.stderr


def test_a_package_missing_from_what_ships_is_told() -> None:
    done = _run([name for name in _shipped() if name != "packaging"])
    assert "packaging does not ship" in done.stderr
