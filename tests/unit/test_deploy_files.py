"""deploy/ holds, and each of its validators can fail: a broken copy is reported by what is wrong with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import check_deploy
import pytest

from ingest.settings import Settings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


@pytest.fixture
def broken(tmp_path: Path) -> Callable[[str, str, str], list[str]]:
    """The problems of a copy of deploy/ in which one text was replaced in one file."""
    copy = tmp_path / "deploy"
    shutil.copytree(DEPLOY, copy)

    def problems(name: str, old: str, new: str) -> list[str]:
        text = (copy / name).read_text()
        assert old in text
        (copy / name).write_text(text.replace(old, new))
        return list(check_deploy.problems(copy))

    return problems


def test_what_is_deployed_holds() -> None:
    assert list(check_deploy.problems(DEPLOY)) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        pytest.param("Containerfile", ":3.11-slim-bookworm AS", " AS", "DL3006", id="unpinned base"),
        pytest.param("Containerfile", "WORKDIR /src", "WORKDIR src", "DL3000", id="relative workdir"),
        pytest.param("Containerfile", 'CMD ["--help"]', "CMD --help", "DL3025", id="shell form"),
        pytest.param("compose.yaml", "healthcheck:", "heathcheck:", "heathcheck", id="misspelt key"),
        pytest.param("compose.yaml", "restart: on-failure", "restart: perhaps", "perhaps", id="unknown restart policy"),
        pytest.param("compose.yaml", "interval: 5s", "interval: often", "often", id="not a duration"),
        pytest.param("compose.yaml", "  s3: {}\n", "", "volume s3", id="volume that is not declared"),
        pytest.param("compose.yaml", "  s3: {cond", "  s4: {cond", "depends on s4", id="dependency that is no service"),
        pytest.param(
            "compose.yaml", "networks: [state]", "networks: [stat]", "stat", id="network that is not declared"
        ),
        pytest.param("compose.yaml", "redis:7.4-alpine", "redis", "names no version", id="untagged image"),
        pytest.param("compose.yaml", "redis:7.4-alpine", "redis:latest", "names no version", id="latest"),
        pytest.param("compose.yaml", "read_only: true\n    cap_drop", "cap_drop", "not read_only", id="writable root"),
        pytest.param("compose.yaml", "redis:6379/1", "redis:6379/0", "BROKER_URL", id="broker in the state's database"),
        pytest.param("compose.yaml", "REDIS_PASSWORD:?", "REDIS_PASS:?", "REDIS_PASS", id="variable nobody sets"),
        pytest.param("compose.yaml", "MAILSLUICE_REDIS_URL", "MAILSLUICE_REDIS", "no such setting", id="no setting"),
        pytest.param("compose.yaml", "=mailsluice.tick", "=mailsluice.tock", "nobody consumes", id="queue left alone"),
        pytest.param("compose.yaml", "=mailsluice.tick", "=mailsluice.tock", "is no queue", id="queue that is none"),
        pytest.param("example.env", "s3://mail/mailsluice", "mail", "STORAGE_URL", id="storage without a scheme"),
        pytest.param("example.env", "MAILSLUICE_STORAGE_URL", "STORAGE_URL", "STORAGE_URL", id="no storage"),
        pytest.param("example.env", "LOG_LEVEL=info", "LOG_LEVEL=chatty", "LOG_LEVEL", id="unknown log level"),
        pytest.param("example.env", "WORKER_THREADS", "WORKER_TREADS", "WORKER_TREADS", id="misspelt setting"),
        pytest.param("example.env", "BILLING_PASSWORD=", "", "BILLING_PASSWORD", id="password nobody sets"),
        pytest.param("accounts.example.toml", '"starttls"', '"perhaps"', "orders", id="unknown tls mode"),
        pytest.param("accounts.example.toml", 'id = "archive"', 'id = "billing"', "billing", id="id twice"),
        pytest.param("accounts.example.toml", "host = ", "hots = ", "hots", id="misspelt account key"),
    ],
)
def test_a_broken_copy_is_told_by_what_is_wrong_with_it(
    broken: Callable[[str, str, str], list[str]], name: str, old: str, new: str, said: str
) -> None:
    assert any(said in line for line in broken(name, old, new))


def test_the_image_runs_as_a_numbered_user_and_stops_on_sigterm() -> None:
    final = (DEPLOY / "Containerfile").read_text().split("\nFROM ")[-1]
    assert "\nUSER 10001:10001\n" in final
    assert "\nSTOPSIGNAL SIGTERM\n" in final
    assert '\nENTRYPOINT ["mailsluice"]\n' in final


def test_the_scanner_looks_at_whatever_a_message_may_hold() -> None:
    lines = [line.split() for line in (DEPLOY / "clamd.conf").read_text().splitlines() if not line.startswith("#")]
    said = dict(lines)
    settings = Settings()
    sizes = [int(said[key].removesuffix("M")) << 20 for key in ("StreamMaxLength", "MaxFileSize", "MaxScanSize")]
    assert min(sizes) >= settings.max_message_bytes
    assert said["AlertExceedsMax"] == "yes"
    assert int(said["MaxScanTime"]) < settings.clamd_timeout_s * 1000


def test_the_scanner_s_address_in_the_example_is_one_and_its_service_s() -> None:
    [line] = [each for each in (DEPLOY / "example.env").read_text().splitlines() if "CLAMD_URL" in each]
    url = line.partition("=")[2]
    assert Settings(clamd_url=url).clamd_url == "tcp://clamav:3310"
    assert "\n  clamav:\n    profiles: [clamav]\n" in (DEPLOY / "compose.yaml").read_text()


def test_no_secret_has_a_value_in_the_example() -> None:
    lines = (DEPLOY / "example.env").read_text().splitlines()
    secrets = [line for line in lines if not line.startswith("#") and ("PASSWORD" in line or "KEY" in line)]
    assert len(secrets) >= 4
    assert all(line.endswith("=") for line in secrets)
