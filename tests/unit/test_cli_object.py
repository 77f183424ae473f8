"""`mailsluice object`, over a directory and over memory: what it hands out, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from cli_harness import Harness, harness
from objects import key_of, put

from ingest.adapters.directory_store import DirectoryStore
from ingest.settings import Settings

MAIL = b"From: a@example.com\r\n\r\n\x1b]0;title\x07 \xff\xfe\r\n" * 40_000
METADATA = {"account": "billing", "uidl": "u1", "event-id": "e1", "first-seen": "2026-11-24T12:00:00+00:00"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "store"
    root.mkdir()
    return root


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cli(root: Path, tmp_path: Path) -> Harness:
    settings = Settings(storage_url=root.as_uri(), data_dir=tmp_path / "var", step_retry_s=0)
    return harness(settings)


@pytest.fixture
def url(root: Path) -> str:
    return put(DirectoryStore(root), MAIL, **METADATA).url


def attachment(root: Path, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return put(DirectoryStore(root), content, key=f"attachments/billing/{digest[:2]}/{digest}").url


def test_an_object_goes_to_stdout_octet_by_octet(cli: Harness, root: Path, url: str) -> None:
    for wanted, content in ((url, MAIL), (attachment(root, b"\0\r\n"), b"\0\r\n"), (attachment(root, b""), b"")):
        for arguments in ([], ["--output", "-"]):
            result = cli.run("object", wanted, *arguments)
            assert (result.exit_code, result.stdout_bytes, result.stderr) == (0, content, "")


def test_a_file_is_written_whole_for_its_owner_and_replaces_none(cli: Harness, url: str, tmp_path: Path) -> None:
    path = tmp_path / "message.eml"
    result = cli.run("object", url, "--output", str(path))
    assert (result.exit_code, result.output) == (0, "")
    assert path.read_bytes() == MAIL
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("mine")
    result = cli.run("object", url, "--output", str(path))
    assert result.exit_code == 2
    assert "is there already (--force)" in result.stderr
    assert path.read_text() == "mine"
    assert cli.run("object", url, "--output", str(path), "--force").exit_code == 0
    assert path.read_bytes() == MAIL
    assert sorted(each.name for each in tmp_path.iterdir()) == ["message.eml", "store", "var"]


def test_a_link_in_a_files_place_is_not_followed(cli: Harness, url: str, tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "message.eml", tmp_path / "elsewhere"
    path.symlink_to(elsewhere)
    assert cli.run("object", url, "--output", str(path)).exit_code == 2
    assert cli.run("object", url, "--output", str(path), "--force").exit_code == 0
    assert not elsewhere.exists()
    assert not path.is_symlink()


@pytest.mark.parametrize("arguments", [[], ["--output", "x"]])
@pytest.mark.usefixtures("in_tmp")
def test_what_is_not_what_its_key_says_is_not_handed_out(
    cli: Harness, root: Path, url: str, arguments: list[str], tmp_path: Path
) -> None:
    (root / key_of(MAIL)).write_bytes(MAIL[:-1] + b"!")
    result = cli.run("object", url, *arguments)
    assert (result.exit_code, result.stdout_bytes) == (1, b"")
    assert "its content is another, of SHA-256" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_info_tells_where_it_came_from(cli: Harness, url: str) -> None:
    result = cli.run("object", url, "--info")
    assert result.exit_code == 0
    for told in (url, "raw message", "billing", f"{len(MAIL)} octets", "u1", "e1", METADATA["first-seen"]):
        assert told in result.stdout
    told = json.loads(cli.run("object", url, "--json").stdout)
    digest = hashlib.sha256(MAIL).hexdigest()
    assert (told["kind"], told["account"], told["size"], told["sha256"]) == (
        "raw message",
        "billing",
        len(MAIL),
        digest,
    )
    assert (told["event_id"], told["uidl"], told["url"]) == ("e1", "u1", url)


def test_an_attachment_knows_its_account_and_no_event(cli: Harness, root: Path) -> None:
    told = json.loads(cli.run("object", attachment(root, b"pdf"), "--json").stdout)
    assert (told["kind"], told["account"], told["event_id"]) == ("attachment", "billing", None)


@pytest.mark.parametrize("arguments", [[], ["--info"], ["--json"], ["--link", "60"]])
def test_what_is_not_there_is_a_failure(cli: Harness, root: Path, arguments: list[str]) -> None:
    gone = DirectoryStore(root).url(key_of(b"gone"))
    result = cli.run("object", gone, *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no" in result.stderr


@pytest.mark.parametrize(
    "url",
    [
        "s3://mail/raw/billing/2c/" + "2c" * 32 + ".eml",
        "file:///etc/passwd",
        "raw/billing/x",
        "{root}/../etc/passwd",
        "{root}/raw/billing/2c/%2e%2e/passwd",
        "{root}/raw/billing/2c/" + "2c" * 32,
        "{root}/attachments/billing/2c/" + "2c" * 32 + ".eml",
        "{root}/identity/billing/2c/" + "2c" * 32,
        "{root}/raw/billing/2d/" + "2c" * 32 + ".eml",
        "http://someone:canary@example.com/",
    ],
)
def test_what_no_event_of_this_store_names_is_wrong_usage(cli: Harness, root: Path, url: str) -> None:
    result = cli.run("object", url.format(root=root.as_uri()))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is no message or attachment within" in result.stderr
    assert "canary" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--link", "60"], "a directory has no links"),
        (["--link", "0"], "1<=x<=604800"),
        (["--link", "604801"], "1<=x<=604800"),
        (["--output", "x", "--info"], "exclude each other"),
        (["--output", "x", "--link", "5"], "exclude each other"),
        (["--force"], "--force goes with --output"),
        (["--output", "none/x"], "there is no directory none"),
        (["--output", "."], "is there already"),
    ],
)
def test_wrong_usage_is_said(cli: Harness, url: str, arguments: list[str], why: str) -> None:
    result = cli.run("object", url, *arguments)
    assert result.exit_code == 2
    assert why in result.stderr


def test_a_terminal_gets_no_mail_unless_asked_for(cli: Harness, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _stream: True, raising=False)
    result = cli.run("object", url)
    assert (result.exit_code, result.stdout_bytes) == (2, b"")
    assert "not for a terminal" in result.stderr
    assert cli.run("object", url, "--output", "-").stdout_bytes == MAIL


def test_a_full_disk_leaves_no_half_file(
    cli: Harness, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    result = cli.run("object", url, "--output", str(tmp_path / "x.eml"))
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert sorted(each.name for each in tmp_path.iterdir()) == ["store", "var"]
