"""Passwords come by reference, and no failure tells them."""

from __future__ import annotations

import base64
import os
import re
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest import ports
from ingest.adapters.secrets import SecretStore
from ingest.errors import AccountMisconfigured, ConfigurationError, IngestError, SecretUnavailable
from ingest.models import Secret

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(range(32, 64))).decode()
CANARY = "canary-8f3a1c"


def test_it_is_what_the_port_asks_for() -> None:
    secrets: ports.Secrets = SecretStore(KEY)
    assert secrets.seal("x").startswith("sealed:")


def test_an_environment_variable_is_read_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    store = SecretStore(None)
    for value in ("first", "second"):
        monkeypatch.setenv("BILLING_PASSWORD", value)
        assert store.resolve("env:BILLING_PASSWORD").reveal() == value


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (b"pw", "pw"),
        (b"pw\n", "pw"),
        (b"pw\r\n", "pw"),
        (b"pw\n\n", "pw\n"),
        (b" p w ", " p w "),
        ("pä".encode(), "pä"),
    ],
)
def test_a_file_gives_its_content_without_one_line_end(tmp_path: Path, content: bytes, password: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    assert SecretStore(None).resolve(f"file:{path}").reveal() == password


def test_a_file_behind_a_link_is_read_as_clusters_mount_them(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("pw")
    (tmp_path / "link").symlink_to("data")
    assert SecretStore(None).resolve(f"file:{tmp_path}/link").reveal() == "pw"


@pytest.mark.parametrize("key", [KEY, base64.urlsafe_b64encode(b"\xfb\xff" * 16).decode(), f" {KEY}\n"])
def test_what_was_sealed_is_unsealed_by_the_same_key(key: str) -> None:
    sealed = SecretStore(key).seal(CANARY)
    assert sealed.startswith("sealed:")
    assert CANARY not in sealed
    assert SecretStore(key).resolve(sealed).reveal() == CANARY


def test_both_base64_alphabets_name_the_same_key() -> None:
    raw = b"\xfb\xff" * 16
    sealed = SecretStore(base64.b64encode(raw).decode()).seal(CANARY)
    assert SecretStore(base64.urlsafe_b64encode(raw).decode()).resolve(sealed).reveal() == CANARY


def test_sealing_twice_never_looks_the_same() -> None:
    store = SecretStore(KEY)
    assert store.seal(CANARY) != store.seal(CANARY)


@pytest.mark.parametrize(
    "key", ["", CANARY, KEY[:-4], base64.b64encode(bytes(31)).decode(), base64.b64encode(bytes(33)).decode(), "ü" * 44]
)
def test_a_key_that_is_none_is_named_with_the_command_that_makes_one(key: str) -> None:
    with pytest.raises(ConfigurationError, match=r"MAILSLUICE_SECRET_KEY: .*openssl rand -base64 32") as caught:
        SecretStore(key)
    assert not key or key not in tell_all(caught.value)


def test_a_literal_without_a_key_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"MAILSLUICE_SECRET_KEY: not set, .*openssl rand -base64 32"):
        SecretStore(None).seal(CANARY)


def _directory(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _too_large(path: Path) -> None:
    path.write_bytes(CANARY.encode() * 6000)


def _not_text(path: Path) -> None:
    path.write_bytes(CANARY.encode() + b"\xff")


def _empty(path: Path) -> None:
    path.write_bytes(b"\n")


def _missing(path: Path) -> None:
    assert not path.exists()


@pytest.mark.parametrize("make", [_directory, _pipe, _too_large, _not_text, _empty, _missing])
def test_a_file_that_is_no_password_is_named_but_not_told(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "password"
    make(path)
    with pytest.raises(SecretUnavailable, match=str(path)) as caught:
        SecretStore(None).resolve(f"file:{path}")
    assert CANARY not in tell_all(caught.value)


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_unset_or_empty_is_named(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("BILLING_PASSWORD", raising=False)
    if value is not None:
        monkeypatch.setenv("BILLING_PASSWORD", value)
    with pytest.raises(SecretUnavailable, match="BILLING_PASSWORD"):
        SecretStore(None).resolve("env:BILLING_PASSWORD")


@pytest.mark.parametrize("key", [None, OTHER_KEY])
def test_without_its_key_a_sealed_password_is_unavailable(key: str | None) -> None:
    sealed = SecretStore(KEY).seal(CANARY)
    with pytest.raises(SecretUnavailable, match="sealed") as caught:
        SecretStore(key).resolve(sealed)
    for part in (CANARY, sealed, KEY, OTHER_KEY):
        assert part not in tell_all(caught.value)


@pytest.mark.parametrize("token", ["", CANARY, "ü", "gAAAAA=="])
def test_a_broken_seal_is_unavailable(token: str) -> None:
    with pytest.raises(SecretUnavailable) as caught:
        SecretStore(KEY).resolve(f"sealed:{token}")
    assert CANARY not in tell_all(caught.value)


@pytest.mark.parametrize("reference", [CANARY, f"{CANARY}:x", f"plain:{CANARY}", f"ENV:{CANARY}", ""])
def test_what_is_no_reference_may_be_a_password_and_is_not_repeated(reference: str) -> None:
    with pytest.raises(AccountMisconfigured, match=r"env:NAME, file:PATH") as caught:
        SecretStore(KEY).resolve(reference)
    assert CANARY not in tell_all(caught.value)


def test_neither_store_nor_secret_tell_what_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P", CANARY)
    store = SecretStore(KEY)
    secret = store.resolve("env:P")
    for text in (repr(store), str(store), repr(secret), str(secret), f"{secret}", f"{secret!r:>40}"):
        assert CANARY not in text
        assert KEY not in text


def tell_all(error: IngestError) -> str:
    """Everything that a log could print of an error, its whole chain included."""
    parts = [repr(error), str(error), error.what, error.todo, *traceback.format_exception(error)]
    link: BaseException | None = error
    while link is not None:
        parts += [repr(link), repr(link.args), repr(vars(link))]
        link = link.__cause__ or link.__context__  # suppressed or not
    return "\n".join(parts)


def test_a_mark_tells_secrets_and_accounts_apart_and_is_the_same_again() -> None:
    pairs = [(account_id, Secret(password)) for account_id in ("a", "b") for password in ("one", "two", "\u20ac")]
    marks = [SecretStore(KEY).mark(*pair) for pair in pairs]
    assert len(set(marks)) == 6
    assert all(re.fullmatch("[0-9a-f]{16}", mark or "") for mark in marks)
    assert [SecretStore(KEY).mark(*pair) for pair in pairs] == marks


def test_without_our_key_nobody_can_make_the_mark_of_a_guess() -> None:
    secret = Secret("one")
    assert SecretStore(OTHER_KEY).mark("a", secret) != SecretStore(KEY).mark("a", secret)
    assert SecretStore(None).mark("a", secret) is None
