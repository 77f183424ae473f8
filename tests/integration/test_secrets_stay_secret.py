"""Canaries: a password, a client's secret, a refresh token, access tokens; searched for in all that polls leave behind.

The mail server repeats what it was told, raw and decoded; so does the token endpoint. The Redis is a real one.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
import redis
from click.testing import CliRunner
from pydantic import SecretStr
from servers.parrot import MODES, Parrot
from servers.tokens import TokenServer

from ingest.cli.main import mailsluice
from ingest.errors import IngestError
from ingest.settings import Settings
from ingest.wiring import Services, build

PASSWORD = "canary&pass+word/51aa0b"
CLIENT_SECRET = "canary&client+secret/72bb1c"
REFRESH_TOKEN = "canary&refresh+token/93cc2d"
ROTATED = "canary-rotated-refresh-token-14dd3e"
ACCESS_TOKEN = "canary-access-token-35ee4f"
ALL = (PASSWORD, CLIENT_SECRET, REFRESH_TOKEN, ROTATED, ACCESS_TOKEN)
KEY = "QUFB" * 10 + "QUE="
ACCOUNTS = ("by-password", "by-client", "by-refresh")
GOOD = {"access_token": ACCESS_TOKEN, "token_type": "Bearer", "refresh_token": ROTATED, "expires_in": 1}
# What an endpoint answers, with what it was asked in the place of %s.
ENDPOINT = {
    "refuses": (400, {"error": "invalid_grant", "error_description": "%s"}),
    "client": (401, {"error": "invalid_client", "error_description": "who is %s?"}),
    "code": (400, {"error": "%s", "error_description": "%s"}),
    "broken": (503, {"error": "server_error", "error_description": "%s"}),
    "other": (200, {"access_token": ACCESS_TOKEN, "token_type": "%s"}),
    "no-token": (200, {"refresh_token": ROTATED, "client_secret": "%s"}),
    "no-json": (400, "%s"),
}


class Endpoint(TokenServer):
    """Puts what it was asked into its answer."""

    repeats: tuple[int, object] = (200, GOOD)

    def token(self, fields: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        self.asked.append(dict(fields))
        told = " ".join(fields[name] for name in ("client_secret", "refresh_token") if name in fields)
        status, body = self.repeats
        return status, {"Retry-After": told}, json.dumps(body).replace("%s", told).encode()


def ways() -> list[str]:
    """How each canary may look: as it is, in a form, in base64 at each of the three offsets, in hex."""
    found = []
    for text in ALL:
        found += [text, quote_plus(text), json.dumps(text)[1:-1], text.encode().hex(), text[:16]]
        found += [base64.b64encode(b"x" * pad + text.encode()).decode()[4:-4] for pad in range(3)]
    return [way.lower() for way in found]


def assert_told_nowhere(what: Mapping[str, str]) -> None:
    told = [(name, way) for name, text in what.items() for way in ways() if way in text.lower()]
    assert not told


@dataclass(frozen=True)
class Stand:
    """One installation between a mail server and a token endpoint, neither of which keeps anything to itself."""

    services: Services
    parrot: Parrot
    endpoint: Endpoint
    redis_url: str
    directory: Path
    log: io.StringIO


@pytest.fixture
def stand(redis_url: str, tmp_path: Path) -> Iterator[Stand]:
    """One account of each kind, all secrets sealed in Redis."""
    with Parrot() as parrot, Endpoint() as endpoint:
        (tmp_path / "objects").mkdir()
        entry = f'host = "127.0.0.1"\nport = {parrot.port}\ntls = "none"\nusername = "u"\n'
        client = f'[account.oauth]\ntoken_url = "{endpoint.url}"\nclient_id = "app"\n'
        client += f'client_secret = "plain:{CLIENT_SECRET}"\n'
        (tmp_path / "accounts.toml").write_text(
            f'[[account]]\nid = "by-password"\n{entry}password = "plain:{PASSWORD}"\n'
            f'[[account]]\nid = "by-client"\n{entry}auth = "xoauth2"\n{client}'
            f'[[account]]\nid = "by-refresh"\n{entry}auth = "oauthbearer"\n{client}'
            f'refresh_token = "plain:{REFRESH_TOKEN}"\n'
        )
        settings = Settings(
            redis_url=redis_url,
            secret_key=SecretStr(KEY),
            storage_url=f"file://{tmp_path / 'objects'}",
            data_dir=tmp_path / "var",
            allowed_networks=(ip_network("127.0.0.0/8"), ip_network("::1/128")),
            read_timeout_s=2,
            log_level="debug",
            log_format="json",
        )
        services, log = build(settings), io.StringIO()
        with contextlib.redirect_stderr(log):
            assert services.telemetry  # a logger keeps the stream that it was made with
        services.apply_accounts_file(tmp_path / "accounts.toml")
        yield Stand(services, parrot, endpoint, redis_url, tmp_path, log)
        services.close()


def all_of_redis(url: str) -> dict[str, str]:
    """Each key with everything it holds, by database."""
    read: Mapping[bytes, Any] = {b"string": "get", b"hash": "hgetall", b"list": "lrange", b"stream": "xrange"}
    found = {}
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter():
            kind = client.type(key)
            more = (0, -1) if kind in {b"list", b"zset"} else ()
            found[f"redis {key!r}"] = f"{key!r} {getattr(client, read.get(kind, 'zrange'))(key, *more)!r}"
    return found


def all_files(directory: Path) -> dict[str, str]:
    return {str(path): path.read_bytes().decode("latin-1") for path in directory.rglob("*") if path.is_file()}


def leftovers(stand: Stand) -> dict[str, str]:
    """What lies about once polls are over: Redis, objects, spools, and what commands print."""
    runner, said = CliRunner(), {}
    commands = [["accounts", "list", "--json"], ["doctor", "--accounts", "--json"], ["doctor", "--accounts"]]
    for account in ACCOUNTS:
        commands += [["accounts", "show", account], ["accounts", "show", account, "--json"]]
    for command in commands:
        done = runner.invoke(mailsluice, command, obj=lambda: stand.services)
        said[" ".join(command)] = done.stdout + done.stderr
    files = all_files(stand.directory / "objects") | all_files(stand.directory / "var")
    return said | files | all_of_redis(stand.redis_url)


def poll_and_check(services: Services, account: str) -> dict[str, str]:
    """All that commands and errors say of one account."""
    runner, said = CliRunner(), {}
    for command in (
        ["poll", account],
        ["poll", account, "--json"],
        ["accounts", "check", account],
        ["accounts", "check", account, "--json"],
    ):
        done = runner.invoke(mailsluice, command, obj=lambda: services)
        assert done.exception is None or isinstance(done.exception, SystemExit)
        said[" ".join(command)] = done.stdout + done.stderr
    registered = services.registry.get([account])[account]
    try:
        report = services.poller.poll(registered)
        said["report"] = repr(report) + services.poller.poll(registered).account
        services.checker.check(registered)
    except IngestError as error:
        causes = [error.__cause__, error.__context__]  # also what `from None` hides from the traceback
        said["traceback"] = "".join(traceback.format_exception(error)) + repr([error, *causes])
    said["services"] = repr([vars(services), registered, vars(services.credentials), vars(services.dialer)])
    return said


def everything(stand: Stand) -> dict[str, str]:
    """All that is said while accounts are polled and checked, and then lies about."""
    said = {}
    for account in ACCOUNTS:
        said |= {f"{account}: {name}": text for name, text in poll_and_check(stand.services, account).items()}
    log = stand.log.getvalue()
    assert log.count('"event": "poll"') >= len(ACCOUNTS)
    return said | leftovers(stand) | {"log": log}


def polled(said: Mapping[str, str], account: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(said[f"{account}: poll {account} --json"].splitlines()[0])
    return report


@pytest.mark.parametrize("mode", MODES)
def test_no_secret_is_told_whatever_a_server_says_to_it(stand: Stand, mode: str) -> None:
    stand.parrot.behave(mode)
    said = everything(stand)
    assert_told_nowhere(said)
    assert {polled(said, account)["outcome"] for account in ACCOUNTS} == {"done" if mode == "good" else "failed"}
    asked = stand.endpoint.asked
    assert {form["client_secret"] for form in asked} == {CLIENT_SECRET}
    assert {form["refresh_token"] for form in asked if "refresh_token" in form} >= {REFRESH_TOKEN}


@pytest.mark.parametrize("answer", ENDPOINT)
def test_no_secret_is_told_whatever_a_token_endpoint_says_to_it(stand: Stand, answer: str) -> None:
    stand.endpoint.repeats = ENDPOINT[answer]
    said = everything(stand)
    assert_told_nowhere(said)
    assert all(polled(said, account)["failure"]["what"] for account in ("by-client", "by-refresh"))


def test_no_secret_is_told_where_nobody_listens_any_more(stand: Stand) -> None:
    stand.endpoint.__exit__()
    said = everything(stand)
    assert_told_nowhere(said)
    assert polled(said, "by-client")["failure"]["code"] == "token_unavailable"
