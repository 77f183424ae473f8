"""Holds deploy/ to what reads it: hadolint, the Compose schema, and our own parsers of settings and accounts.

Each check takes a text or a path and yields one line a problem, so that tests can feed it a broken copy.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from compose_spec import PyCompose
from dotenv import dotenv_values

from ingest.accounts import parse_accounts
from ingest.errors import ConfigurationError
from ingest.settings import CONFIG, PREFIX, Settings
from workers.app import POLL_QUEUE, TICK_QUEUE

_VARIABLE = re.compile(rf"\b{PREFIX}[A-Z][A-Z0-9_]*")
_SUBSTITUTION = re.compile(r"\$\{(?P<name>\w+)(?::(?P<how>[?-])(?P<word>[^}]*))?\}")
_FILLED_IN = base64.b64encode(bytes(32)).decode()  # fits each empty line of example.env, the secret key too
_FLOATING_IMAGE = re.compile(r"[^:]*|.*:latest")


def containerfile(path: Path) -> Iterator[str]:
    """What hadolint says."""
    tool = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or "hadolint"
    done = subprocess.run([tool, "--no-color", str(path)], check=False, capture_output=True, text=True)
    if done.returncode:
        yield from (done.stdout + done.stderr).splitlines()


def compose(text: str) -> Iterator[str]:
    """What is wrong by the Compose schema, dangling names, floating image versions, containers that may gain rights."""
    try:
        parsed = PyCompose.from_yaml(text)
        parsed.validate()
    except (ValueError, TypeError) as error:
        yield f"compose: {error}"
        return
    whole = parsed.to_dict()
    for name, service in whole["services"].items():
        # The schema's reader checks networks, but not these.
        for other in service.get("depends_on", {}):
            if other not in whole["services"]:
                yield f"compose: {name}: depends on {other}, which is no service"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0] if isinstance(volume, str) else "."
            if source[0] not in "./" and source not in whole["volumes"]:
                yield f"compose: {name}: volume {source} is not declared"
        if _FLOATING_IMAGE.fullmatch(service.get("image", "")):
            yield f"compose: {name}: image {service.get('image')!r} names no version"
        if "no-new-privileges:true" not in service.get("security_opt", []):
            yield f"compose: {name}: security_opt lacks no-new-privileges:true"
        if not service.get("read_only"):
            yield f"compose: {name}: the root file system is not read_only"


def environment(compose_text: str, env_text: str) -> Iterator[str]:
    """Whether each Mailsluice container gets settings that hold, from the example.env as filled in and compose.yaml."""
    values = dotenv_values(stream=io.StringIO(env_text), interpolate=False)
    filled = {name: value or _FILLED_IN for name, value in values.items()}
    services: dict[str, Any] = PyCompose.from_yaml(compose_text).to_dict()["services"]
    for name, service in services.items():
        for variable, how in _wanted(service):
            if variable not in values and how != "-":
                yield f"compose: {name}: ${{{variable}}} does not stand in example.env"
        if "env_file" not in service:
            continue
        inside = {key: _substituted(str(value), filled) for key, value in service.get("environment", {}).items()}
        with mock.patch.dict("os.environ", {**filled, **inside}, clear=True):
            try:
                settings = Settings.load()
                settings.require_storage()
            except ConfigurationError as error:
                yield from (f"compose: {name}: {line}" for line in error.problems)


def queues(compose_text: str) -> Iterator[str]:
    """Whether every queue of the Celery application has a consumer, and every consumer a queue that exists."""
    services: dict[str, Any] = PyCompose.from_yaml(compose_text).to_dict()["services"]
    words = [str(word) for service in services.values() for word in service.get("command", [])]
    options = [word.removeprefix("--queues=") for word in words if word.startswith("--queues=")]
    consumed, known = {queue for option in options for queue in option.split(",")}, {TICK_QUEUE, POLL_QUEUE}
    yield from (f"compose: nobody consumes {queue}" for queue in sorted(known - consumed))
    yield from (f"compose: {queue} is no queue of workers.app" for queue in sorted(consumed - known))


def variables(path: str, text: str) -> Iterator[str]:
    """Variables with our prefix that are no setting."""
    known = {CONFIG}
    for name, field in Settings.model_fields.items():
        known.add(f"{PREFIX}{name}".upper())
        if isinstance(field.annotation, type) and dataclasses.is_dataclass(field.annotation):
            known |= {f"{PREFIX}{name}__{inner.name}".upper() for inner in dataclasses.fields(field.annotation)}
    yield from (f"{path}: {name}: no such setting" for name in sorted(set(_VARIABLE.findall(text)) - known))


def accounts(text: str, env_text: str) -> Iterator[str]:
    """Whether the accounts file is read, and whether each `env:` password stands in example.env."""
    try:
        parsed = parse_accounts(text, "accounts.example.toml", None)
    except ConfigurationError as error:
        yield from error.problems
        return
    named = dotenv_values(stream=io.StringIO(env_text), interpolate=False)
    for account in parsed:
        scheme, _, name = account.password.partition(":")
        if scheme == "env" and name not in named:
            yield f"accounts.example.toml: {account.id}: {name} does not stand in example.env"


def problems(deploy: Path) -> Iterator[str]:
    """Everything wrong in a deploy directory."""
    files = ("compose.yaml", "example.env", "accounts.example.toml")
    compose_text, env_text, accounts_text = ((deploy / name).read_text(encoding="utf-8") for name in files)
    yield from containerfile(deploy / "Containerfile")
    broken = list(compose(compose_text))
    yield from broken
    if not broken:
        yield from environment(compose_text, env_text)
        yield from queues(compose_text)
    yield from accounts(accounts_text, env_text)
    for path in sorted(deploy.rglob("*")):
        if path.is_file():
            yield from variables(str(path.relative_to(deploy.parent)), path.read_text(encoding="utf-8"))


def _wanted(service: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """The variables that Compose fills into a service, and what it does where one is unset."""
    for match in _SUBSTITUTION.finditer(str(service)):
        yield match["name"], match["how"]


def _substituted(value: str, values: dict[str, str]) -> str:
    return _SUBSTITUTION.sub(
        lambda found: values.get(found["name"]) or ((found["word"] or "") if found["how"] == "-" else ""), value
    )


def main() -> int:
    """Check deploy/ of the checkout this file lies in; one line a problem."""
    found = list(problems(Path(__file__).resolve().parent.parent / "deploy"))
    for line in found:
        print(line, file=sys.stderr)
    if not found:
        print("deploy: Containerfile, compose.yaml, example.env and accounts.example.toml hold")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
