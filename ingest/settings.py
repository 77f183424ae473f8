"""Settings: `MAILSLUICE_*` from the environment (nested with `__`), or a TOML file named by MAILSLUICE_CONFIG.

Rules of this room:
- The environment wins over the file; an empty variable counts as unset. Only `load()` looks at either:
  `Settings(…)` takes plain arguments and reads nothing.
- Every wrong key is reported at once, one line each: which key, what is wrong, what would be right. No value of a
  secret is echoed, and passwords within URLs are masked.
- An unknown key in the file is an error. An unknown variable is not (Kubernetes injects MAILSLUICE_…_SERVICE_HOST);
  `strangers()` names those for `doctor`.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from annotated_types import Ge, Gt, Le
from pydantic import BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from ingest.errors import ConfigurationError
from ingest.mime.limits import MimeLimits
from ingest.pop3.limits import SessionLimits
from ingest.s3_settings import S3Settings
from ingest.sink_settings import SinkSettings

PREFIX = "MAILSLUICE_"
CONFIG = "MAILSLUICE_CONFIG"
_YEAR_S = 31_536_000
# Fields of a group that have a setting of their own outside of it.
_ELSEWHERE = frozenset({("pop3", "read_timeout_s"), ("pop3", "deadline_s")})
_CLAMD = re.compile(r"unix:///[^?#\0]+|tcp://([^:/@?#\[\]\s]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,5})/?")
_KUBERNETES = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Seconds = Annotated[float, Field(gt=0, le=_YEAR_S, allow_inf_nan=False)]
SecondsOrNone = Annotated[float, Field(ge=0, le=_YEAR_S, allow_inf_nan=False)]
Octets = Annotated[int, Field(ge=1, le=1 << 50)]
Lower = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)


def masked(url: str) -> str:
    """A URL fit to print: without its password, be it before the host or in the query."""
    url = re.sub(r"(://[^:/@]*):.*@", r"\1:****@", url, flags=re.DOTALL)
    return re.sub(r"([?&](?:\w*password|\w*secret\w*|\w*token)=)[^&#]*", r"\1****", url, flags=re.IGNORECASE)


class _KeyErrors(ValueError):
    """Several keys of one table are wrong: (key, line) pairs."""

    def __init__(self, lines: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(line for _, line in lines))
        self.lines = lines


class Settings(SinkSettings, S3Settings):
    """All settings; names, meanings and defaults are those of the contract (docs/operations). Units are in the names.

    Raises (on construction): pydantic.ValidationError; `load()` turns that into ConfigurationError.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        enable_decoding=False,
        hide_input_in_errors=True,
    )

    # State, queue, storage
    redis_url: str = Field("redis://127.0.0.1:6379/0", repr=False)
    broker_url: str = Field("", repr=False, validate_default=True)
    secret_key: SecretStr | None = None
    storage_url: str | None = Field(None, repr=False)
    data_dir: Path = Path("var")
    accounts_file: Path | None = None
    key_prefix: str = "mailsluice"
    shards: int = Field(1, ge=1, le=1024)
    min_replicas: int = Field(0, ge=0, le=16)
    stream_max_bytes: Octets = 1 << 30
    events_retention_s: Seconds = 604_800
    dispatch_stop_share: float = Field(0.8, gt=0.5, le=1, allow_inf_nan=False)
    group_idle_s: Seconds = 86_400
    event_max_bytes: int = Field(1 << 20, ge=16 << 10, le=512 << 20)
    redis_timeout_s: Seconds = 5
    store_connect_timeout_s: Seconds = 5
    store_read_timeout_s: Seconds = 30
    step_retry_s: SecondsOrNone = 20
    uploads_at_once: int = Field(4, ge=1, le=64)

    # Virus scanner
    clamd_url: str | None = None
    clamd_timeout_s: Seconds = 30
    scan_infected: Annotated[Literal["tag", "quarantine"], Lower] = "tag"
    scan_unavailable: Annotated[Literal["wait", "tag"], Lower] = "wait"

    # When and how much to poll
    tick_s: Seconds = 5
    claim_ttl_s: Seconds = 120
    lease_ttl_s: float = Field(60, ge=5, le=3600, allow_inf_nan=False)
    max_poll_interval_s: Seconds = 900
    full_listing_s: Seconds = 7200
    delete_grace_s: SecondsOrNone = 3600
    poll_batch_accounts: int = Field(10, ge=1, le=1000)
    poll_batch_budget_s: Seconds = 30
    poll_max_messages: int = Field(1000, ge=1, le=1_000_000)
    poll_max_bytes: Octets = 1 << 30
    poll_max_s: Seconds = 300
    quarantine_attempts: int = Field(3, ge=1, le=100)
    prune_listings: int = Field(3, ge=2, le=100)
    prune_apart_s: Seconds = 30 * 86400
    suspect_memory_bytes: int = Field(1 << 30, ge=256 << 20, le=1 << 50)
    suspect_cpu_s: Seconds = 8
    suspect_deadline_s: Seconds = 60
    worker_threads: int = Field(16, ge=1, le=1000)

    # Towards POP3 servers
    allowed_networks: tuple[Network, ...] = ()
    ca_file: Path | None = None
    connect_timeout_s: Seconds = 10
    read_timeout_s: Seconds = 30
    session_deadline_s: Seconds = 120
    max_message_bytes: Octets = 50 << 20
    spool_memory_bytes: Octets = 1 << 20
    mime: MimeLimits = MimeLimits()
    pop3: SessionLimits = SessionLimits()

    # Logs
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Lower] = "info"
    log_format: Annotated[Literal["json", "console"], Lower] = Field(
        default_factory=lambda: "console" if sys.stderr.isatty() else "json"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's hook
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - read by load() alone
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments only."""
        return (init_settings,)

    @classmethod
    def load(cls) -> Settings:
        """Read file and environment.

        Raises:
            ConfigurationError: one line for each wrong key.
        """
        environment = EnvSettingsSource(cls)()
        file, table = _read_toml(os.environ.get(CONFIG) or None)
        problems = [f"{file}: {line}" for line in _unknown_keys(table)]
        values = {**table, **environment}
        for group, keys in _groups().items():
            inner, ours = table.get(group, {}), environment.get(group, {})
            if (group in table or group in environment) and isinstance(inner, dict) and isinstance(ours, dict):
                values[group] = {key: value for key, value in {**inner, **ours}.items() if key in keys}
        try:
            settings = cls(**{key: value for key, value in values.items() if key in cls.model_fields})
        except ValidationError as error:
            problems += [line for details in error.errors() for line in _lines(details, environment, table, file)]
        else:
            if not problems:
                return settings
        raise ConfigurationError(problems) from None

    def require_storage(self) -> str:
        """The storage URL; ConfigurationError where none is set."""
        if self.storage_url is None:
            raise ConfigurationError(
                [
                    f"{PREFIX}STORAGE_URL: is not set, so there is nowhere to put mail (s3://bucket/prefix or file:///dir)"
                ]
            )
        return self.storage_url

    def strangers(self) -> list[str]:
        """Variables that were probably meant as settings: nearly one's name, or within a group of ours. A line each."""
        names = [*type(self).model_fields, *(f"{group}__{key}" for group, keys in _groups().items() for key in keys)]
        known = {name.upper() for name in names} | {CONFIG.removeprefix(PREFIX)}
        strange = {
            name: _nearest(name.upper().removeprefix(PREFIX), known, PREFIX)
            for name in sorted(os.environ)
            if name.upper().startswith(PREFIX) and not _KUBERNETES.fullmatch(name)
        }
        return [
            f"{name}: no such setting{near}"
            for name, near in strange.items()
            if name.upper().removeprefix(PREFIX) not in known and (near or "__" in name)
        ]

    @field_validator("redis_url")
    @classmethod
    def _redis_url_names_a_redis(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"redis", "rediss", "redis+sentinel", "redis+cluster"} or not parts.netloc:
            raise ValueError(f"{masked(url)!r} is not a Redis URL (redis://host:6379/0, also rediss, redis+sentinel, "
                             "redis+cluster)")  # fmt: skip
        if parts.scheme in {"redis", "rediss"} and not re.fullmatch(r"/?\d*/?", parts.path):
            raise ValueError(f"{parts.path!r} is not a database number (redis://host:6379/0)")
        if parts.scheme in {"redis", "rediss"} and not re.search(
            r"^[^:]*(:\d{1,5})?$|\](:\d{1,5})?$", _host(parts.netloc)
        ):
            raise ValueError(f"{masked(url)!r} has no such port (redis://host:6379/0)")
        return url

    @field_validator("broker_url")
    @classmethod
    def _broker_has_a_database_of_its_own(cls, url: str, info: ValidationInfo) -> str:
        redis_url = info.data.get("redis_url")
        if redis_url is None:  # it is wrong itself, and reported
            return url
        state = urlsplit(redis_url)
        if not url:
            if state.scheme in {"redis+sentinel", "redis+cluster"}:
                raise ValueError(f"must be set, since none follows from a {state.scheme}:// URL (redis:// or amqp://)")
            query = urlencode([(key, value) for key, value in parse_qsl(state.query) if key != "db"])
            url = urlunsplit(state._replace(path="/1", query=query))
        if not re.match(r"[a-z][a-z0-9+.-]*://", url):
            raise ValueError(f"{masked(url)!r} is not a broker URL (redis://host:6379/1, amqp://…)")
        broker = urlsplit(url)
        if broker.scheme in {"redis", "rediss"} and _place(broker.netloc, broker.path, broker.query) == _place(
            state.netloc, state.path, state.query
        ):
            raise ValueError("is the database of the state itself (take another number, as in redis://host:6379/2)")
        return url

    @field_validator("storage_url")
    @classmethod
    def _storage_url_names_a_place(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "")
        fits = {"s3": bool(parts.netloc), "file": not parts.netloc and len(parts.path) > 1, "": url is None}
        if not fits.get(parts.scheme):
            raise ValueError(f"{masked(url or '')!r} is not a storage URL (s3://bucket/prefix or file:///directory)")
        return url

    @field_validator("clamd_url")
    @classmethod
    def _clamd_url_names_a_socket(cls, url: str | None) -> str | None:
        found = _CLAMD.fullmatch(url or "")
        if url is None or (found and 0 < int(found["port"] or 1) < 1 << 16):
            return url
        raise ValueError(f"{masked(url)!r} is not clamd's address (unix:///run/clamav/clamd.ctl or tcp://host:3310)")

    @field_validator("secret_key")
    @classmethod
    def _secret_key_is_a_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is None or re.fullmatch(r"[A-Za-z0-9+/_-]{43}=", key.get_secret_value().strip()):
            return key
        raise ValueError("is not base64 of 32 octets (`openssl rand -base64 32` makes one)")

    @field_validator("key_prefix")
    @classmethod
    def _key_prefix_is_plain(cls, prefix: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", prefix):
            raise ValueError(f"{prefix[:80]!r} is not a key prefix (letters, digits and . _ : -, at most 64)")
        return prefix

    @field_validator("data_dir", "accounts_file", "ca_file")
    @classmethod
    def _home_is_expanded(cls, path: Path | None) -> Path | None:
        try:
            return path.expanduser() if path else None
        except RuntimeError:
            raise ValueError(f"{str(path)!r} names a home that is not there") from None

    @field_validator("allowed_networks", mode="before")
    @classmethod
    def _networks_are_networks(cls, value: object) -> tuple[Network, ...]:
        right = 'a JSON list of networks, as in ["10.0.0.0/8", "fd00::/8"]'
        try:
            listed = json.loads(value) if isinstance(value, str) else value
        except ValueError:
            listed = None
        if not isinstance(listed, list | tuple):
            raise ValueError(f"{str(value)[:80]!r} is not {right}")  # noqa: TRY004 - pydantic collects ValueErrors
        try:
            return tuple(ipaddress.ip_network(item) for item in listed)
        except ValueError as error:
            raise ValueError(f"{error} ({right})") from None

    @field_validator("mime", "pop3")
    @classmethod
    def _limits_are_positive(cls, limits: MimeLimits | SessionLimits) -> MimeLimits | SessionLimits:
        values = dataclasses.asdict(limits)
        wrong = [
            (key, f"{value} is not more than 0")
            for key, value in values.items()
            if isinstance(value, int | float) and value <= 0 and not isinstance(value, bool)
        ]
        if wrong:
            raise _KeyErrors(wrong)
        return limits


def _host(netloc: str) -> str:
    return netloc.rpartition("@")[2].lower()


def _place(netloc: str, path: str, query: str) -> tuple[str, str]:
    """Host with port and database, by which two Redis URLs are told apart."""
    host = _host(netloc)
    database = dict(parse_qsl(query)).get("db", path.strip("/")) or "0"
    return (host if re.search(r":\d+$", host) else f"{host}:6379"), database


def _read_toml(name: str | None) -> tuple[str, dict[str, Any]]:
    if name is None:
        return "", {}
    try:
        return name, tomllib.loads(Path(name).read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError([f"{CONFIG}: can't read {name}: {error.strerror}"]) from None
    except ValueError as error:  # not UTF-8, or not TOML
        raise ConfigurationError([f"{name}: {error}"]) from None


def _groups() -> dict[str, dict[str, Any]]:
    """The nested groups: their keys and the types of those."""
    fields = {key: field.annotation for key, field in Settings.model_fields.items()}
    groups = {key: get_type_hints(kind) for key, kind in fields.items() if dataclasses.is_dataclass(kind)}
    return {group: {key: keys[key] for key in keys if (group, key) not in _ELSEWHERE} for group, keys in groups.items()}


def _nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f" (did you mean {prefix}{match[0]}?)" if match else ""


def _unknown_keys(table: Mapping[str, Any]) -> list[str]:
    fields = Settings.model_fields
    lines = [f"{key}: no such setting{_nearest(key, fields)}" for key in table if key not in fields]
    for group, keys in _groups().items():
        inner = table.get(group)
        if isinstance(inner, dict):
            lines += [f"{group}.{key}: no such setting{_nearest(key, keys)}" for key in inner if key not in keys]
    return lines


def _lines(details: ErrorDetails, environment: Mapping[str, Any], table: Mapping[str, Any], file: str) -> list[str]:
    """One wrong value (or several of one group) as lines for a person."""
    key, *inner = (str(step) for step in details["loc"])
    error = details.get("ctx", {}).get("error")
    if isinstance(error, _KeyErrors):
        return [f"{_name([key, name], environment, table, file)}: {line}" for name, line in error.lines]
    name = _name([key, *inner[:1]], environment, table, file)
    if isinstance(error, ValueError):
        return [f"{name}: {error}"]
    shown = "the value" if key == "secret_key" else repr(masked(str(details["input"]))[:80])
    return [f"{name}: {shown} is not {_wanted(key, inner)}"]


def _name(path: list[str], environment: Mapping[str, Any], table: Mapping[str, Any], file: str) -> str:
    """Where a wrong value came from: the variable, or file and key."""
    key, inner = path[0], path[1:]
    ours = environment.get(key)
    in_environment = ours is not None and (not inner or not isinstance(ours, dict) or inner[0] in ours)
    if key in table and not in_environment:
        return f"{file}: {'.'.join(path)}"
    return PREFIX + "__".join(path).upper() if key in Settings.model_fields else key


def _wanted(key: str, inner: list[str]) -> str:
    """What would be right, from the field's type and bounds."""
    field = Settings.model_fields[key]
    nested = _groups().get(key, {})
    if nested and not inner:
        return f"a table (set {PREFIX}{key.upper()}__{next(iter(nested)).upper()} and so on)"
    kind, metadata = (nested[inner[0]], [Gt(0)]) if inner and nested else (field.annotation, field.metadata)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    words: dict[Any, str] = {int: "a whole number", float: "a number", Path: "a path", bool: "true or false"}
    return words.get(kind, "text") + _range(metadata)


def _range(metadata: Sequence[object]) -> str:
    low = [f"{m.ge}" for m in metadata if isinstance(m, Ge)]
    above = [f"more than {m.gt}" for m in metadata if isinstance(m, Gt)]
    high = [f"at most {m.le}" if above else f"{m.le}" for m in metadata if isinstance(m, Le)]
    words = ", ".join(above + high) if above else " to ".join(low + high)
    return f" ({words})" if words else ""
