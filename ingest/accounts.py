"""Accounts as written: an accounts file (TOML) or one JSON value in, `models.Account` out.

Rules of this room:
- Pure: text in, values out. A literal password (`plain:`) is sealed through the caller's function before it becomes
  part of a value; no message here repeats one.
- Every problem of a file is reported at once, one line each: file, account, key, what is wrong, what would be right.
  One problem, and nothing of the file is returned.
- `paused` is no key here: it belongs to `accounts pause`, and applying a file again must not undo that.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from typing import Any

from ingest.errors import ConfigurationError
from ingest.models import Account, Auth, Tls

Seal = Callable[[str], str]

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NOT_YET_AUTH = ("xoauth2", "oauthbearer")
_YEARS_S = 100 * 366 * 86400
_MAX_TAGS, _MAX_TAG_OCTETS = 32, 256
_MAX_USERNAME_OCTETS = 255
_FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}")
_MAX_FINGERPRINTS = 4
KEYS = ("id", "host", "port", "ca_file", "fingerprint", "tls", "allow_plaintext", "username", "password", "auth",
        "keep", "first_poll", "poll_interval_s", "tags")  # fmt: skip


class _Wrong(Exception):
    """One key is wrong; the text says what, and what would be right."""


def parse_accounts(text: str, source: str, seal: Seal | None) -> list[Account]:
    """The accounts of a file, in its order.

    Args:
        text: TOML with one [[account]] table each.
        source: what to call the file in messages.
        seal: turns a literal password into a `sealed:` reference; None where there is no MAILSLUICE_SECRET_KEY.

    Raises:
        ConfigurationError: every problem, one line each.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"{source}: {_place(str(error))}"]) from None
    problems = [f"{source}: {key}: no such key{_nearest(key, ['account'])}" for key in table if key != "account"]
    entries = table.get("account", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigurationError([*problems, f"{source}: account: must be written [[account]], once for each account"])
    accounts: list[Account] = []
    seen: set[str] = set()
    for position, entry in enumerate(entries, 1):
        given = entry.get("id")
        whom = given if isinstance(given, str) and _ID.fullmatch(given) else f"account {position}"
        if whom in seen:
            problems.append(f"{source}: {whom}: id: stands twice (each account needs an id of its own)")
        seen.add(whom)
        try:
            accounts.append(build_account(entry, f"{source}: {whom}", seal))
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(problems)
    return accounts


def build_account(entry: Mapping[str, Any], whom: str, seal: Seal | None) -> Account:
    """One account from its keys as written; ConfigurationError with every problem, each line behind `whom`."""
    reader, problems = _Fields(entry, seal), []
    values: dict[str, Any] = {}
    for key in KEYS:
        try:
            values[key] = getattr(reader, key)()
        except _Wrong as wrong:
            problems.append(f"{whom}: {key}: {wrong}")
    for key in (key for key in entry if key not in KEYS):
        what = "is not built yet" if key == "oauth" else f"no such key{_nearest(key, KEYS)}"
        problems.append(f"{whom}: {key}: {what}")
    if problems:
        raise ConfigurationError(problems)
    return Account(keep_s=values.pop("keep"), fingerprints=values.pop("fingerprint"), **values)


def account_to_json(account: Account) -> str:
    """An account as the registry keeps it: no secret, only the reference to one."""
    return json.dumps(asdict(account), separators=(",", ":"), ensure_ascii=False)


def account_from_json(text: str | bytes) -> Account:
    """The account that `account_to_json` wrote; keys of a newer version are left aside.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        table = json.loads(text)
        known = {field.name: table[field.name] for field in fields(Account) if field.name in table}
        made = {"tls": Tls(known["tls"]), "auth": Auth(known["auth"])}
        return Account(**{**known, **made, "fingerprints": tuple(known.get("fingerprints", ()))})
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigurationError([f"registry: not an account ({type(error).__name__}: {error})"]) from None


@dataclass(frozen=True, slots=True)
class Changes:
    """What applying accounts does to the registry."""

    added: tuple[Account, ...]
    changed: tuple[Account, ...]
    unchanged: tuple[Account, ...]
    removed: tuple[str, ...]


def compare(
    registered: Mapping[str, Account],
    wanted: Sequence[Account],
    *,
    prune: bool,
    same_secret: Callable[[str, str], bool],
) -> Changes:
    """What must change so that the registry holds `wanted`; ids that are not in it stay, unless `prune`.

    Args:
        registered: the accounts there are, by id. One that is paused stays paused.
        wanted: the accounts of a file.
        prune: remove all others.
        same_secret: whether two `sealed:` references hide the same password (sealing twice gives two references).
    """
    added: list[Account] = []
    changed: list[Account] = []
    unchanged: list[Account] = []
    for account in wanted:
        old = registered.get(account.id)
        if old is None:
            added.append(account)
            continue
        new = replace(account, paused=old.paused)
        sealed = new.password.startswith("sealed:") and old.password.startswith("sealed:")
        if sealed and same_secret(old.password, new.password):
            new = replace(new, password=old.password)
        (unchanged if new == old else changed).append(new)
    removed = sorted(registered.keys() - {account.id for account in wanted}) if prune else []
    return Changes(tuple(added), tuple(changed), tuple(unchanged), tuple(removed))


def as_written(account: Account) -> dict[str, Any]:
    """An account in the keys of the accounts file, for a person to read; a sealed password is only named as such."""
    table = asdict(account)
    table["keep"] = keep_as_written(table.pop("keep_s"))
    pins = list(table.pop("fingerprints"))
    table["fingerprint"] = pins[0] if len(pins) == 1 else pins or None
    if account.password.startswith("sealed:"):
        table["password"] = "sealed"  # noqa: S105 - the word, not a password
    return {key: table[key] for key in KEYS}


def keep_as_written(keep_s: int | None) -> str:
    """`forever`, `delete`, or an age in the largest unit that divides it."""
    if not keep_s:
        return "forever" if keep_s is None else "delete"
    unit = next(unit for unit in "dhms" if keep_s % _UNITS[unit] == 0)
    return f"{keep_s // _UNITS[unit]}{unit}"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its very name, so that plaintext stays on it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


class _Fields:
    """Reads each key of one account; a method a key, which returns its value or raises _Wrong."""

    def __init__(self, entry: Mapping[str, Any], seal: Seal | None) -> None:
        self._entry = entry
        self._seal = seal

    def id(self) -> str:
        text = self._text("id", required=True)
        if not _ID.fullmatch(text):
            raise _Wrong(f"{text[:80]!r} is no id (a-z, 0-9, then also . _ -, at most 64 characters)")
        return text

    def host(self) -> str:
        host = self._text("host", required=True)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            if not _HOST.fullmatch(host):
                raise _Wrong(f"{host[:80]!r} is no host name or address (the port has a key of its own)") from None
        return host

    def port(self) -> int:
        return self._whole("port", 995 if self._tls() is Tls.IMPLICIT else 110, 1, 65535)

    def ca_file(self) -> str | None:
        return self._text("ca_file") or None

    def fingerprint(self) -> tuple[str, ...]:
        given = self._entry.get("fingerprint", ())
        pins = [given] if isinstance(given, str) else given
        if not isinstance(pins, list | tuple) or not all(isinstance(pin, str) for pin in pins):
            raise _Wrong('must be a text, or a list of texts: "sha256:" and 64 hex digits')
        if len(pins) > _MAX_FINGERPRINTS:
            raise _Wrong(f"at most {_MAX_FINGERPRINTS} certificates")
        found = tuple(_canonical(pin) for pin in pins)
        if found and self._tls() is Tls.NONE:
            raise _Wrong("pins a certificate, and tls = 'none' has none (implicit or starttls)")
        if found and "ca_file" in self._entry:
            raise _Wrong("stands in place of a CA bundle (leave out either this or ca_file)")
        return found

    def tls(self) -> Tls:
        tls, host = self._tls(), self._entry.get("host")
        allowed = self._entry.get("allow_plaintext") is True or not isinstance(host, str) or is_loopback(host)
        if tls is Tls.NONE and not allowed:
            raise _Wrong(
                f"'none' would send the password to {host} in plaintext (implicit or starttls; where plaintext is "
                "meant, allow_plaintext = true)"
            )
        if tls is None:
            raise _Wrong(f"{self._entry['tls']!r} is not one of {', '.join(Tls)}")
        return tls

    def allow_plaintext(self) -> bool:
        return self._flag("allow_plaintext")

    def username(self) -> str:
        name = self._text("username", required=True)
        if re.search(r"[\r\n\0]", name):
            raise _Wrong("holds a line break or NUL, which would be a command of its own")
        if len(name.encode()) > _MAX_USERNAME_OCTETS:
            raise _Wrong(f"is longer than {_MAX_USERNAME_OCTETS} octets")
        return name

    def password(self) -> str:
        reference = self._text("password", required=True)
        scheme, colon, rest = reference.partition(":")
        if scheme == "aws-secret":
            raise _Wrong("aws-secret: is not built yet (env:NAME or file:PATH)")
        if not colon or scheme not in {"env", "file", "plain"}:
            raise _Wrong("is not a reference (env:NAME or file:PATH; a literal as plain:…)")
        if not rest:
            raise _Wrong(f"nothing stands behind {scheme}: (env:NAME, file:PATH or plain:…)")
        if scheme == "env" and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", rest):
            raise _Wrong("env: must be followed by the name of a variable, as in env:BILLING_PASSWORD")
        if scheme != "plain":
            return reference
        if re.search(r"[\r\n\0]", rest):
            raise _Wrong("holds a line break or NUL, which would be a command of its own")
        if self._seal is None:
            raise _Wrong("plain: needs MAILSLUICE_SECRET_KEY to be stored encrypted (set it, or use env: or file:)")
        return self._seal(rest)

    def auth(self) -> Auth:
        name = self._text("auth", "auto")
        if name in _NOT_YET_AUTH:
            raise _Wrong(f"{name} is not built yet (one of {', '.join(Auth)})")
        try:
            return Auth(name)
        except ValueError:
            raise _Wrong(f"{name[:80]!r} is not one of {', '.join(Auth)}") from None

    def keep(self) -> int | None:
        text = self._text("keep", "forever")
        if text in {"forever", "delete"}:
            return None if text == "forever" else 0
        match = re.fullmatch(r"([1-9][0-9]{0,9})([smhd])", text)
        age = int(match[1]) * _UNITS[match[2]] if match else 0
        if not 0 < age <= _YEARS_S:
            raise _Wrong(f"{text[:80]!r} is not forever, delete or an age such as 14d (units d, h, m, s)")
        return age

    def first_poll(self) -> str:
        value = self._entry.get("first_poll", "all")
        if type(value) is date:  # TOML has dates of its own
            return value.isoformat()
        if isinstance(value, str) and (value in {"all", "new"} or _is_date(value)):
            return value
        raise _Wrong(f"{str(value)[:80]!r} is not all, new or a date such as 2026-01-31")

    def poll_interval_s(self) -> int:
        return self._whole("poll_interval_s", 60, 1, 86400)

    def tags(self) -> dict[str, str]:
        tags = self._entry.get("tags", {})
        if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
            raise _Wrong('must be a table of texts, as in { team = "finance" }')
        if len(tags) > _MAX_TAGS or any(len(text.encode()) > _MAX_TAG_OCTETS for pair in tags.items() for text in pair):
            raise _Wrong(f"at most {_MAX_TAGS} tags, names and values of at most {_MAX_TAG_OCTETS} octets")
        return dict(tags)

    def _tls(self) -> Tls | None:
        try:
            return Tls(self._entry.get("tls", "implicit"))
        except ValueError:
            return None

    def _text(self, key: str, default: str = "", *, required: bool = False) -> str:
        if key not in self._entry and not required:
            return default
        value = self._entry.get(key)
        if not isinstance(value, str) or not value.strip():
            raise _Wrong("is missing" if value is None else "must be a text" + ("" if value == "" else " in quotes"))
        return value

    def _whole(self, key: str, default: int, low: int, high: int) -> int:
        value = self._entry.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _Wrong(f"{value!r:.80} is not a whole number ({low} to {high})")
        return value

    def _flag(self, key: str) -> bool:
        value = self._entry.get(key, False)
        if not isinstance(value, bool):
            raise _Wrong(f"{value!r:.80} is not true or false")
        return value


def _canonical(pin: str) -> str:
    """A fingerprint in the one form that is compared: openssl prints capitals, and colons in between."""
    text = pin.strip().lower()
    found = "sha256:" + text.removeprefix("sha256:").replace(":", "")
    if not text.startswith("sha256:") or not _FINGERPRINT.fullmatch(found):
        raise _Wrong(f"{pin[:80]!r} is not sha256: and 64 hex digits (mailsluice accounts check prints it)")
    return found


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _place(text: str) -> str:
    """Tomllib's message with line and column in front: 'Invalid value (at line 3, column 8)'."""
    match = re.fullmatch(r"(.*) \(at (line \d+, column \d+|end of document)\)", text, re.DOTALL)
    return f"{match[2]}: {match[1]}" if match else text


def _nearest(key: str, known: Iterable[str]) -> str:
    match = difflib.get_close_matches(key, list(known), n=1, cutoff=0.6)
    return f" (did you mean {match[0]}?)" if match else ""
