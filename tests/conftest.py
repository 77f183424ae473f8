"""Real servers as fixtures: started when first asked for, one each a test session, stopped at its end.

A test that asks for one is marked `real`. A server that this machine can't have skips its tests by its name, and fails
them where CI=true.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
import redis
from servers.clamd import ClamdServer
from servers.dovecot import DovecotServer
from servers.moto import MotoServer
from servers.process import ServerUnavailable
from servers.rabbitmq import RabbitServer
from servers.redis import RedisServer
from servers.seaweed import SeaweedServer
from servers.tokens import TokenServer

_REAL = frozenset({
    "redis_server",
    "seaweed_server",
    "dovecot_server",
    "token_dovecot",
    "clamd_server",
    "moto_server",
    "rabbit_server",
})  # fmt: skip


def pytest_configure() -> None:
    """How long an example takes says how busy the machine is; with CI=true Hypothesis sees it so by itself."""
    hypothesis.settings.register_profile(
        "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _REAL & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.real)


@contextmanager
def available() -> Iterator[None]:
    """Turn a missing server into a skip that names it; into a failure in CI, where all of them are installed."""
    try:
        yield
    except ServerUnavailable as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"in CI nothing may be missing: {missing}", pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with available(), RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Database 0 of an empty Redis (all databases are flushed, so 1 is free for a broker)."""
    with redis.Redis.from_url(redis_server.url()) as client:
        client.flushall()
    return redis_server.url()


@pytest.fixture(scope="session")
def seaweed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    with available(), SeaweedServer(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture
def s3_store_url(seaweed_server: SeaweedServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A prefix of this test's own; endpoint and credentials stand in the environment."""
    for name, value in seaweed_server.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://{seaweed_server.bucket}/{secrets.token_hex(8)}"


@pytest.fixture(scope="session")
def dovecot_server() -> Iterator[DovecotServer]:
    """With users u0 to u399 (`.users` has their passwords). Not below tmp_path, which is closed to its user nobody."""
    with (
        available(),
        tempfile.TemporaryDirectory(prefix="dovecot-") as directory,
        DovecotServer(Path(directory), {f"u{n}": secrets.token_hex(8) for n in range(400)}) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def rabbit_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    with available(), RabbitServer(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    """SQS and SNS."""
    with available(), MotoServer(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def clamd_server() -> Iterator[ClamdServer]:
    """Knows one virus, `servers.clamd.EICAR`."""
    with (
        available(),
        tempfile.TemporaryDirectory(prefix="clamd-") as directory,
        ClamdServer(Path(directory)) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def token_server() -> Iterator[TokenServer]:
    """A token endpoint, which also tells Dovecot whose a token is."""
    with TokenServer() as server:
        yield server


@pytest.fixture(scope="session")
def token_dovecot(token_server: TokenServer) -> Iterator[DovecotServer]:
    """Takes passwords, and the tokens of `token_server`."""
    with (
        available(),
        tempfile.TemporaryDirectory(prefix="dovecot-") as directory,
        DovecotServer(
            Path(directory), {"u": "canary pass/word"}, introspection_url=token_server.introspection_url
        ) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def fresh_users(dovecot_server: DovecotServer) -> Iterator[str]:
    return iter(list(dovecot_server.users))


@pytest.fixture
def dovecot_user(fresh_users: Iterator[str]) -> str:
    """A user whose maildrop is empty and that no other test gets: `set_users` takes Dovecot up to a second to see."""
    return next(fresh_users)
