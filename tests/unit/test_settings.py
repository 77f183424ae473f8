import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from ingest.errors import ConfigurationError
from ingest.settings import Settings, masked


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MAILSLUICE_"):
            monkeypatch.delenv(name)


def load(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"MAILSLUICE_{name}", value)
    return Settings.load()


def problems(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(monkeypatch, variables)
    return caught.value.problems


def test_the_contract_s_defaults_hold() -> None:
    settings = Settings.load()
    assert settings.redis_url == "redis://127.0.0.1:6379/0"
    assert settings.broker_url == "redis://127.0.0.1:6379/1"
    assert settings.storage_url is None
    assert settings.data_dir == Path("var")
    assert (settings.shards, settings.min_replicas, settings.key_prefix) == (1, 0, "mailsluice")
    assert (settings.delete_grace_s, settings.lease_ttl_s, settings.tick_s) == (3600, 60, 5)
    assert (settings.max_poll_interval_s, settings.full_listing_s) == (900, 7200)
    assert (settings.connect_timeout_s, settings.read_timeout_s, settings.session_deadline_s) == (10, 30, 120)
    assert (settings.max_message_bytes, settings.stream_max_bytes) == (52428800, 1 << 30)
    assert settings.events_retention_s == 604800
    assert settings.mime.depth == 50


@pytest.mark.parametrize(
    ("redis_url", "broker_url"),
    [
        ("redis://10.0.0.1", "redis://10.0.0.1/1"),
        ("redis://:pw@redis:6380/3", "redis://:pw@redis:6380/1"),
        ("rediss://redis/0?ssl_ca_certs=/ca.pem", "rediss://redis/1?ssl_ca_certs=%2Fca.pem"),
        ("redis://redis?db=4", "redis://redis/1"),
    ],
)
def test_the_broker_is_database_1_of_the_same_redis(
    redis_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(monkeypatch, {"REDIS_URL": redis_url}).broker_url == broker_url


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("SHARDS", "many", "MAILSLUICE_SHARDS: 'many' is not a whole number (1 to 1024)"),
        ("SHARDS", "0", "MAILSLUICE_SHARDS: '0' is not a whole number (1 to 1024)"),
        ("LEASE_TTL_S", "4", "MAILSLUICE_LEASE_TTL_S: '4' is not a number (5 to 3600)"),
        ("TICK_S", "0", "MAILSLUICE_TICK_S: '0' is not a number (more than 0, at most 31536000)"),
        ("TICK_S", "nan", "MAILSLUICE_TICK_S: 'nan' is not a number (more than 0, at most 31536000)"),
        ("LOG_FORMAT", "xml", "MAILSLUICE_LOG_FORMAT: 'xml' is not one of json, console"),
        ("MIME__DEPTH", "deep", "MAILSLUICE_MIME__DEPTH: 'deep' is not a whole number (more than 0)"),
        ("MIME__DEPTH", "-1", "MAILSLUICE_MIME__DEPTH: -1 is not more than 0"),
        ("POP3", "{}", "MAILSLUICE_POP3: '{}' is not a table (set MAILSLUICE_POP3__DEADLINE_BYTES_PER_S and so on)"),
        (
            "KEY_PREFIX",
            "{a}",
            "MAILSLUICE_KEY_PREFIX: '{a}' is not a key prefix (letters, digits and . _ : -, at most 64)",
        ),
        (
            "STORAGE_URL",
            "/srv/mail",
            "MAILSLUICE_STORAGE_URL: '/srv/mail' is not a storage URL (s3://bucket/prefix or file:///directory)",
        ),
        (
            "REDIS_URL",
            "http://u:pw@redis",
            (
                "MAILSLUICE_REDIS_URL: 'http://u:****@redis' is not a Redis URL (redis://host:6379/0, also rediss, "
                "redis+sentinel, redis+cluster)"
            ),
        ),
        (
            "REDIS_URL",
            "redis://h:port",
            "MAILSLUICE_REDIS_URL: 'redis://h:port' has no such port (redis://host:6379/0)",
        ),
        ("REDIS_URL", "redis://h/x", "MAILSLUICE_REDIS_URL: '/x' is not a database number (redis://host:6379/0)"),
        (
            "REDIS_URL",
            "redis+cluster://h",
            "MAILSLUICE_BROKER_URL: must be set, since none follows from a redis+cluster:// URL (redis:// or amqp://)",
        ),
        (
            "REDIS_URL",
            "redis://h/1",
            "MAILSLUICE_BROKER_URL: is the database of the state itself (take another number, as in redis://host:6379/2)",
        ),
        (
            "BROKER_URL",
            "redis://127.0.0.1",
            "MAILSLUICE_BROKER_URL: is the database of the state itself (take another number, as in redis://host:6379/2)",
        ),
        (
            "ALLOWED_NETWORKS",
            "10.0.0.0/8",
            (
                "MAILSLUICE_ALLOWED_NETWORKS: '10.0.0.0/8' is not a JSON list of networks, as in "
                '["10.0.0.0/8", "fd00::/8"]'
            ),
        ),
        (
            "ALLOWED_NETWORKS",
            '["10.0.0.1/8"]',
            (
                "MAILSLUICE_ALLOWED_NETWORKS: 10.0.0.1/8 has host bits set (a JSON list of networks, as in "
                '["10.0.0.0/8", "fd00::/8"])'
            ),
        ),
        (
            "SECRET_KEY",
            "hunter2",
            "MAILSLUICE_SECRET_KEY: is not base64 of 32 octets (`openssl rand -base64 32` makes one)",
        ),
        ("CONFIG", "/nowhere.toml", "MAILSLUICE_CONFIG: can't read /nowhere.toml: No such file or directory"),
    ],
)
def test_a_wrong_value_has_its_line(name: str, value: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(monkeypatch, {name: value}) == (line,)


def test_every_wrong_key_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = problems(monkeypatch, {"SHARDS": "x", "TICK_S": "y", "LOG_LEVEL": "z", "STORAGE_URL": "ftp://x"})
    assert [line.partition(":")[0] for line in lines] == [
        "MAILSLUICE_STORAGE_URL",
        "MAILSLUICE_SHARDS",
        "MAILSLUICE_TICK_S",
        "MAILSLUICE_LOG_LEVEL",
    ]


def test_the_environment_wins_over_the_file_key_by_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "mailsluice.toml"
    file.write_text('shards = 4\ntick_s = 3\nallowed_networks = ["10.0.0.0/8"]\n[mime]\ndepth = 7\nparts = 70\n')
    settings = load(monkeypatch, {"CONFIG": str(file), "TICK_S": "2", "MIME__DEPTH": "9"})
    assert (settings.shards, settings.tick_s, settings.mime.depth, settings.mime.parts) == (4, 2, 9, 70)
    assert [str(network) for network in settings.allowed_networks] == ["10.0.0.0/8"]


def test_what_is_wrong_in_the_file_is_named_by_file_and_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "mailsluice.toml"
    file.write_text('shrads = 1\nshards = "many"\ntick_s = 3\n[mime]\ndepht = 1\n[pop3]\nmin_bytes_window_s = 0\n')
    assert problems(monkeypatch, {"CONFIG": str(file), "TICK_S": "x"}) == (
        f"{file}: shrads: no such setting (did you mean shards?)",
        f"{file}: mime.depht: no such setting (did you mean depth?)",
        f"{file}: shards: 'many' is not a whole number (1 to 1024)",
        "MAILSLUICE_TICK_S: 'x' is not a number (more than 0, at most 31536000)",
        f"{file}: pop3.min_bytes_window_s: 0.0 is not more than 0",
    )


def test_what_has_a_setting_outside_of_its_group_is_no_key_of_the_group(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    [stranger] = load(monkeypatch, {"POP3__READ_TIMEOUT_S": "5"}).strangers()
    assert stranger.startswith("MAILSLUICE_POP3__READ_TIMEOUT_S: no such setting")
    file = tmp_path / "mailsluice.toml"
    file.write_text("[pop3]\ndeadline_s = 5\n")
    [line] = problems(monkeypatch, {"CONFIG": str(file)})
    assert line.startswith(f"{file}: pop3.deadline_s: no such setting")


def test_a_broken_file_is_one_line_with_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "mailsluice.toml"
    file.write_text("shards =\n")
    assert problems(monkeypatch, {"CONFIG": str(file)}) == (f"{file}: Invalid value (at line 1, column 9)",)


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, {"SHARDS": "", "SECRET_KEY": "", "CONFIG": ""}).shards == 1


def test_likely_typos_are_named_and_what_kubernetes_injects_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        {
            "SHRADS": "4",
            "MIME__WEIGHT": "3",
            "BILLING_PASSWORD": "x",
            "REDIS_SERVICE_HOST": "10.0.0.1",
            "REDIS_SERVICE_PORT_REDIS": "6379",
            "REDIS_PORT": "tcp://10.0.0.1:6379",
            "REDIS_PORT_6379_TCP_ADDR": "10.0.0.1",
        },
    )
    assert settings.strangers() == [
        "MAILSLUICE_MIME__WEIGHT: no such setting",
        "MAILSLUICE_SHRADS: no such setting (did you mean MAILSLUICE_SHARDS?)",
    ]


def test_storage_is_asked_for_only_by_those_who_need_it() -> None:
    with pytest.raises(ConfigurationError, match="MAILSLUICE_STORAGE_URL: is not set"):
        Settings.load().require_storage()


def test_no_printed_form_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    canary = "canary9f2c" + "A" * 33 + "="
    settings = load(monkeypatch, {"SECRET_KEY": canary, "REDIS_URL": f"redis://:{canary}@h/0"})
    assert canary not in repr(settings)
    assert canary not in str(settings)
    lines = problems(monkeypatch, {"REDIS_URL": f"ftp://u:{canary}@h", "SHARDS": "x", "BROKER_URL": f"x:{canary}@h"})
    assert canary not in "".join(lines)


@pytest.mark.parametrize(
    "url",
    ["unix:///run/clamav/clamd.ctl", "tcp://clamav:3310", "tcp://127.0.0.1:3310/", "tcp://[::1]:3310"],
)
def test_clamd_is_named_by_a_socket_or_by_host_and_port(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, {"CLAMD_URL": url}).clamd_url == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://clamav:3310", "http://clamav:3310"),
        ("/run/clamav/clamd.ctl", "/run/clamav/clamd.ctl"),
        ("unix://run/clamd.ctl", "unix://run/clamd.ctl"),
        ("unix:///", "unix:///"),
        ("tcp://clamav", "tcp://clamav"),
        ("tcp://clamav:", "tcp://clamav:"),
        ("tcp://clamav:0", "tcp://clamav:0"),
        ("tcp://clamav:65536", "tcp://clamav:65536"),
        ("tcp://clamav:3310/scan", "tcp://clamav:3310/scan"),
        ("tcp://::1:3310", "tcp://::1:3310"),
        ("tcp://user:pass@clamav:3310", "tcp://user:****@clamav:3310"),
    ],
)
def test_what_is_no_address_of_clamd_is_told_with_what_would_be_right(
    url: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(problems(monkeypatch, {"CLAMD_URL": url})) == [
        f"MAILSLUICE_CLAMD_URL: '{shown}' is not clamd's address (unix:///run/clamav/clamd.ctl or tcp://host:3310)"
    ]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pw@h:1/0", "redis://:****@h:1/0"),
        ("redis://user:p@ss/w:rd@h:1/0", "redis://user:****@h:1/0"),
        ("redis://h:1/0?password=pw&db=2", "redis://h:1/0?password=****&db=2"),
        ("redis+sentinel://:pw@a:1,b:2/name/0", "redis+sentinel://:****@a:1,b:2/name/0"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
    ],
)
def test_a_masked_url_shows_everything_but_its_password(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_settings_are_frozen_and_take_plain_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILSLUICE_SHARDS", "7")
    settings = Settings(redis_url="redis://h/0")
    assert settings.shards == 1
    with pytest.raises(ValueError, match="frozen"):
        settings.shards = 2  # type: ignore[misc]
