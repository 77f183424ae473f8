"""The lock guard passes what is committed and can fail: each rule is shown a lock that breaks it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import check_locks
import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements-dev.lock", "requirements.lock", "requirements-build.lock")


@pytest.fixture
def broken(tmp_path: Path) -> Callable[[str, str, str], list[str]]:
    """The problems of a checkout in which one text was replaced in one file."""
    for name in ("pyproject.toml", *LOCKS):
        shutil.copy(ROOT / name, tmp_path / name)

    def problems(name: str, old: str, new: str) -> list[str]:
        text = (tmp_path / name).read_text()
        assert old in text
        (tmp_path / name).write_text(text.replace(old, new, 1))
        return list(check_locks.problems(tmp_path, LOCKS))

    return problems


def test_what_is_committed_passes() -> None:
    assert list(check_locks.problems(ROOT, check_locks.committed_files(ROOT))) == []


@pytest.mark.parametrize(
    "line",
    [
        # in pieces, so that no committed line looks like one of these
        "--index" + "-url index.example",
        "--extra-index" + "-url index.example",
        "--find" + "-links ./wheels",
        "celery @ file" + ":///tmp/celery.whl",
        "celery @ https" + "://files.example/celery.zip",
        "    # from HTTPS" + "://index.example",
    ],
)
def test_a_lock_that_says_where_to_fetch_from_is_refused(
    broken: Callable[[str, str, str], list[str]], line: str
) -> None:
    assert any("names no address" in found for found in broken("requirements.lock", "amqp==", f"{line}\namqp=="))


@pytest.mark.parametrize("name", ["uv.lock", "pylock.toml", "docs/uv.lock"])
def test_a_lock_of_the_kind_that_records_addresses_is_never_committed(name: str) -> None:
    found = list(check_locks.problems(ROOT, [name]))
    assert len(found) == 1
    assert "never commit" in found[0]


@pytest.mark.parametrize("name", ["requirements.txt", "deploy/requirements-worker.txt", "other.lock"])
def test_every_kind_of_requirements_file_counts_as_a_lock(name: str) -> None:
    assert check_locks.is_lock(name)


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        pytest.param("pyproject.toml", '"tenacity>=9.0"', '"tenacity>=9.0", "left-pad"', "left-pad", id="not locked"),
        pytest.param("pyproject.toml", '"mypy>=1.14"', '"mypy>=1.14", "left-pad"', "left-pad", id="dev, not locked"),
        pytest.param("pyproject.toml", '"tenacity>=9.0"', '"tenacity>=99"', "tenacity", id="locked too old"),
        pytest.param("pyproject.toml", '"tenacity>=9.0",', "", "no longer asks", id="gone from the project"),
        pytest.param("requirements.lock", "tenacity==", "tenacity==0.", "is not what", id="ships another version"),
        pytest.param(
            "requirements-build.lock", "hatchling==", "hatchling==0.", "is not what", id="builds with another"
        ),
        pytest.param("requirements.lock", "vine==", "left-pad==1\nvine==", "left-pad has no hash", id="without a hash"),
    ],
)
def test_a_lock_out_of_step_is_told(
    broken: Callable[[str, str, str], list[str]], name: str, old: str, new: str, said: str
) -> None:
    assert any(said in line for line in broken(name, old, new))
