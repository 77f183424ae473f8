"""The connection to Redis: one client a process, its errors translated at this edge.

Rules of this room:
- No retries in the client: tenacity holds the one layer of them, a step above.
- The state must be in a Redis that evicts nothing, 7.0 or newer: `check_state` says what is wrong.
- Keys of one atomic step share the hash tag of the account's shard.
"""

from __future__ import annotations

import importlib.resources
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from ingest.errors import ConfigurationError, IngestError, StateFull, StateRefused, StateUnavailable
from ingest.models import Place

Client = redis.Redis
DEFAULT_SENTINEL_PORT = 26379
MIN_VERSION = (7, 0)
_NOT_READY = (
    exceptions.BusyLoadingError,
    exceptions.ClusterDownError,
    exceptions.RedisClusterException,
    exceptions.TryAgainError,
)
_PASSING = re.compile(r"-?(NOREPLICAS|MISCONF|BUSY|TRYAGAIN|MASTERDOWN|LOADING) ")
_SCRIPT = re.compile(r",? script: [0-9a-f]{40}\b.*")


def connect(url: str, timeout_s: float) -> Client:
    """A client for redis://, rediss://, redis+sentinel://host:port,…/NAME/db or redis+cluster://host:port."""
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
    }
    parts = urlsplit(url)
    if parts.scheme == "redis+sentinel":
        return _through_sentinel(parts.netloc, parts.path, options)
    if parts.scheme == "redis+cluster":
        with translated():
            cluster: Any = redis.RedisCluster.from_url(urlunsplit(parts._replace(scheme="redis")), **options)
        return cluster  # type: ignore[no-any-return]  # the commands used here are the same on both
    return redis.Redis.from_url(url, **options)


def _through_sentinel(netloc: str, path: str, options: dict[str, Any]) -> Client:
    credentials, _, hosts = netloc.rpartition("@")
    name, _, db = path.strip("/").partition("/")
    if not name:
        raise ConfigurationError(["MAILSLUICE_REDIS_URL: no master's name; use redis+sentinel://host:port,…/NAME/db"])
    sentinels = [_address(host) for host in hosts.split(",")]
    user, _, password = map(unquote, credentials.partition(":"))
    if credentials:
        options |= {"username": user or None, "password": password}
    sentinel: Any = Sentinel(sentinels, socket_timeout=options["socket_timeout"])  # type: ignore[no-untyped-call]
    master: Client = sentinel.master_for(name, db=int(db or 0), **options)
    return master


def _address(host: str) -> tuple[str, int]:
    name, port = re.fullmatch(r"\[?(.*?)\]?(?::(\d+))?", host).groups()  # type: ignore[union-attr]  # matches all text
    return name, int(port or DEFAULT_SENTINEL_PORT)


def node_of(client: Client, key: str) -> Client:
    """A client of the one server that holds this key: a Redis Cluster's own refuses scripts and WAIT in a flight."""
    any_client: Any = client  # a cluster's only passes for a Client (see connect)
    if isinstance(any_client, redis.RedisCluster):
        node = any_client.get_node_from_key(key)  # type: ignore[no-untyped-call]  # the library's
        found: Client = any_client.get_redis_connection(node)
        return found
    return client


def is_cluster(client: Client) -> bool:
    """Whether keys of several shards may lie on several servers, so that no command takes them together."""
    any_client: Any = client  # see node_of
    return isinstance(any_client, redis.RedisCluster)


@contextmanager
def translated(client: Client | None = None) -> Iterator[None]:
    """Redis' errors as ours. A client whose server turned into a replica drops its connections, to find the master."""
    try:
        yield
    except exceptions.ReadOnlyError:
        if client is not None:
            client.connection_pool.disconnect()
        raise StateUnavailable("this Redis is a replica (READONLY)", todo="wait for the failover to end") from None
    except exceptions.OutOfMemoryError:
        raise StateFull(
            "Redis is full (maxmemory)", todo="let consumers catch up, trim the stream or raise maxmemory"
        ) from None
    except (exceptions.AuthenticationError, exceptions.NoPermissionError) as error:
        raise StateRefused(
            f"Redis refuses us: {_first_line(error)}", todo="check user, password and ACL in the Redis URL"
        ) from None
    except _NOT_READY as error:
        raise StateUnavailable(f"Redis is not ready: {_first_line(error)}") from None
    except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
        raise StateUnavailable(
            f"Redis is unreachable: {_first_line(error)}", todo="start it or check MAILSLUICE_REDIS_URL"
        ) from None
    except exceptions.ResponseError as error:
        raise _of_answer(error) from None
    except exceptions.RedisError as error:
        raise StateUnavailable(f"Redis can't be used: {_first_line(error)}") from None


def _of_answer(error: exceptions.ResponseError) -> IngestError:
    """What redis-py has no class for."""
    if "-OOM" in str(error) or str(error).startswith("OOM"):
        return StateFull("Redis is full (maxmemory)", todo="let consumers catch up, trim the stream or raise maxmemory")
    if _PASSING.match(str(error)):
        return StateUnavailable(f"Redis is not ready: {_first_line(error)}")
    return StateRefused(f"Redis refused a step: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return _SCRIPT.sub("", line)[:200]  # the script's hash and line tell an operator nothing


def check_state(client: Client) -> None:
    """Raise unless this Redis may hold state: 7.0 or newer, noeviction, writable."""
    problem = state_problem(client)
    if problem is not None:
        raise problem


def state_problem(client: Client) -> IngestError | None:
    """What stands in the way of holding state here, read from INFO (managed Redis blocks CONFIG)."""
    try:
        with translated():
            info = _any_node(client.info())
    except IngestError as error:
        return error
    version = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < MIN_VERSION:
        return StateRefused(f"Redis is {version}", todo="use 7.0 or newer")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        return StateRefused(
            f"Redis evicts keys (maxmemory_policy {policy}): the ledger would be lost",
            todo="set maxmemory-policy noeviction",
        )
    if info.get("role") == "slave":
        return StateUnavailable("this Redis is a replica", todo="point MAILSLUICE_REDIS_URL at the master")
    return None


def _any_node(info: dict[str, Any]) -> dict[str, Any]:
    """INFO of a cluster client comes a node each; the strictest answer is any node that evicts."""
    if "redis_version" in info:
        return info
    nodes = [node for node in info.values() if isinstance(node, dict)]
    evicting = [node for node in nodes if node.get("maxmemory_policy", "noeviction") != "noeviction"]
    return (evicting or nodes or [{}])[0]


class Keys:
    """Names of keys. `{sN}` is the shard of the account: CRC-32 of its id modulo the number of shards."""

    def __init__(self, prefix: str, shards: int) -> None:
        self._prefix = prefix
        self.shards = shards

    def shard_of(self, account_id: str) -> int:
        return zlib.crc32(account_id.encode()) % self.shards

    def by_shard(self, account_ids: list[str]) -> dict[int, list[str]]:
        grouped: dict[int, list[str]] = {}
        for account_id in account_ids:
            grouped.setdefault(self.shard_of(account_id), []).append(account_id)
        return grouped

    def of_account(self, kind: str, account_id: str) -> str:
        return f"{self._prefix}:{{s{self.shard_of(account_id)}}}:{kind}:{account_id}"

    def of_shard(self, kind: str, shard: int) -> str:
        return f"{self._prefix}:{{s{shard}}}:{kind}"

    def of_place(self, place: Place, kind: str = "") -> str:
        """All keys of one place carry its own hash tag."""
        return f"{self._prefix}:host:{{{place.host}:{place.port}:{place.tls}}}" + (kind and f":{kind}")

    @property
    def accounts(self) -> str:
        return f"{self._prefix}:accounts"


def lua(name: str) -> str:
    """The text of a script that lies beside the adapters."""
    return importlib.resources.files("ingest.adapters").joinpath(f"{name}.lua").read_text("utf-8")
