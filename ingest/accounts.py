"""Accounts as written: an accounts file (TOML) or one JSON value in, `models.Account` out.

Rules of this room:
- Pure: text in, values out. A literal password (`plain:`) is sealed through the caller's function before it becomes
  part of a value; no message here repeats one.
- Every problem of a file is reported at once, one line each: file, account, key, what is wrong, what would be right.
  One problem, and nothing of the file is returned.
- `paused` is no key here: it belongs to `accounts pause`, and applying a file again must not undo that.
"""

from __future__ import annotations

import ipaddress
import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from typing import Any

from ingest.errors import ConfigurationError
from ingest.models import Account, Auth, OAuth, Tls
from ingest.oauth import NEEDED, read_oauth
from ingest.written import Reader, Seal, Wrong, breaks_lines, is_loopback, no_such_key

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_YEARS_S = 100 * 366 * 86400
_MAX_TAGS, _MAX_TAG_OCTETS = 32, 256
_MAX_USERNAME_OCTETS = 255
_FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}")
_MAX_FINGERPRINTS = 4
KEYS = ("id", "host", "port", "ca_file", "fingerprint", "tls", "allow_plaintext", "username", "password", "auth",
        "oauth", "keep", "first_poll", "poll_interval_s", "tags")  # fmt: skip


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
    problems = [f"{source}: {key}: {no_such_key(key, ['account'])}" for key in table if key != "account"]
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
        except Wrong as wrong:
            problems += [f"{whom}: {line}" for line in wrong.under(key)]
    problems += [f"{whom}: {key}: {no_such_key(key, KEYS)}" for key in entry if key not in KEYS]
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
        known = _known(Account, table)
        oauth = None if known.get("oauth") is None else OAuth(**_known(OAuth, known["oauth"]))
        made = {"tls": Tls(known["tls"]), "auth": Auth(known["auth"]), "oauth": oauth}
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
        same_secret: whether two `sealed:` references hide the same secret (sealing twice gives two references).
    """
    added: list[Account] = []
    changed: list[Account] = []
    unchanged: list[Account] = []
    for account in wanted:
        old = registered.get(account.id)
        if old is None:
            added.append(account)
            continue
        new = _with_seals_of(old, replace(account, paused=old.paused), same_secret)
        (unchanged if new == old else changed).append(new)
    removed = sorted(registered.keys() - {account.id for account in wanted}) if prune else []
    return Changes(tuple(added), tuple(changed), tuple(unchanged), tuple(removed))


def _with_seals_of(old: Account, new: Account, same_secret: Callable[[str, str], bool]) -> Account:
    """The new value, with the old one's references for secrets that are the same: sealed again they would differ."""

    def seal(after: str, before: str | None) -> str:
        both = before is not None and before.startswith("sealed:") and after.startswith("sealed:")
        return before if both and before and same_secret(before, after) else after

    if new.oauth and old.oauth:
        secret, refresh = new.oauth.client_secret, new.oauth.refresh_token
        oauth = replace(
            new.oauth,
            client_secret=secret and seal(secret, old.oauth.client_secret),
            refresh_token=refresh and seal(refresh, old.oauth.refresh_token),
        )
        new = replace(new, oauth=oauth)
    return replace(new, password=seal(new.password, old.password))


def as_written(account: Account) -> dict[str, Any]:
    """An account in the keys of the accounts file, for a person to read; a sealed secret is only named as such."""
    table = asdict(account)
    table["keep"] = keep_as_written(table.pop("keep_s"))
    pins = list(table.pop("fingerprints"))
    table["fingerprint"] = pins[0] if len(pins) == 1 else pins or None
    table["password"] = _shown(account.password) or None
    if table["oauth"]:
        table["oauth"] = {key: _shown(value) for key, value in table["oauth"].items() if value}
    return {key: table[key] for key in KEYS}


def _shown(reference: str) -> str:
    return "sealed" if reference.startswith("sealed:") else reference


def _known(kind: type[Account | OAuth], table: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: table[field.name] for field in fields(kind) if field.name in table}


def keep_as_written(keep_s: int | None) -> str:
    """`forever`, `delete`, or an age in the largest unit that divides it."""
    if not keep_s:
        return "forever" if keep_s is None else "delete"
    unit = next(unit for unit in "dhms" if keep_s % _UNITS[unit] == 0)
    return f"{keep_s // _UNITS[unit]}{unit}"


class _Fields(Reader):
    """Reads each key of one account; a method a key, which returns its value or raises Wrong."""

    def id(self) -> str:
        text = self._text("id", required=True)
        if not _ID.fullmatch(text):
            raise Wrong(f"{text[:80]!r} is no id (a-z, 0-9, then also . _ -, at most 64 characters)")
        return text

    def host(self) -> str:
        host = self._text("host", required=True)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            if not _HOST.fullmatch(host):
                raise Wrong(f"{host[:80]!r} is no host name or address (the port has a key of its own)") from None
        return host

    def port(self) -> int:
        return self._whole("port", 995 if self._tls() is Tls.IMPLICIT else 110, 1, 65535)

    def ca_file(self) -> str | None:
        return self._text("ca_file") or None

    def fingerprint(self) -> tuple[str, ...]:
        given = self._entry.get("fingerprint", ())
        pins = [given] if isinstance(given, str) else given
        if not isinstance(pins, list | tuple) or not all(isinstance(pin, str) for pin in pins):
            raise Wrong('must be a text, or a list of texts: "sha256:" and 64 hex digits')
        if len(pins) > _MAX_FINGERPRINTS:
            raise Wrong(f"at most {_MAX_FINGERPRINTS} certificates")
        found = tuple(_canonical(pin) for pin in pins)
        if found and self._tls() is Tls.NONE:
            raise Wrong("pins a certificate, and tls = 'none' has none (implicit or starttls)")
        if found and "ca_file" in self._entry:
            raise Wrong("stands in place of a CA bundle (leave out either this or ca_file)")
        return found

    def tls(self) -> Tls:
        tls, host = self._tls(), self._entry.get("host")
        allowed = self._entry.get("allow_plaintext") is True or not isinstance(host, str) or is_loopback(host)
        if tls is Tls.NONE and not allowed:
            raise Wrong(
                f"'none' would send the password to {host} in plaintext (implicit or starttls; where plaintext is "
                "meant, allow_plaintext = true)"
            )
        if tls is None:
            raise Wrong(f"{self._entry['tls']!r} is not one of {', '.join(Tls)}")
        return tls

    def allow_plaintext(self) -> bool:
        return self._flag("allow_plaintext")

    def username(self) -> str:
        name = self._text("username", required=True)
        if breaks_lines(name):
            raise Wrong("holds a line break or NUL, which would be a command of its own")
        if len(name.encode()) > _MAX_USERNAME_OCTETS:
            raise Wrong(f"is longer than {_MAX_USERNAME_OCTETS} octets")
        return name

    def password(self) -> str:
        if self._by_token():
            if "password" in self._entry:
                raise Wrong(f"does not go with auth = {self._entry['auth']!r}: its secrets stand in [account.oauth]")
            return ""
        return self._reference("password")

    def auth(self) -> Auth:
        name = self._text("auth", "auto")
        try:
            return Auth(name)
        except ValueError:
            raise Wrong(f"{name[:80]!r} is not one of {', '.join(Auth)}") from None

    def oauth(self) -> OAuth | None:
        given = self._entry.get("oauth")
        if not self._by_token():
            if given is not None:
                raise Wrong(f"needs auth = {str(Auth.XOAUTH2)!r} or {str(Auth.OAUTHBEARER)!r}")
            return None
        if not isinstance(given, dict):
            what = "is missing" if given is None else "must be a table"
            raise Wrong(f"{what}: [account.oauth] with {NEEDED}")
        return read_oauth(given, self._seal)

    def keep(self) -> int | None:
        text = self._text("keep", "forever")
        if text in {"forever", "delete"}:
            return None if text == "forever" else 0
        match = re.fullmatch(r"([1-9][0-9]{0,9})([smhd])", text)
        age = int(match[1]) * _UNITS[match[2]] if match else 0
        if not 0 < age <= _YEARS_S:
            raise Wrong(f"{text[:80]!r} is not forever, delete or an age such as 14d (units d, h, m, s)")
        return age

    def first_poll(self) -> str:
        value = self._entry.get("first_poll", "all")
        if type(value) is date:  # TOML has dates of its own
            return value.isoformat()
        if isinstance(value, str) and (value in {"all", "new"} or _is_date(value)):
            return value
        raise Wrong(f"{str(value)[:80]!r} is not all, new or a date such as 2026-01-31")

    def poll_interval_s(self) -> int:
        return self._whole("poll_interval_s", 60, 1, 86400)

    def tags(self) -> dict[str, str]:
        tags = self._entry.get("tags", {})
        if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
            raise Wrong('must be a table of texts, as in { team = "finance" }')
        if len(tags) > _MAX_TAGS or any(len(text.encode()) > _MAX_TAG_OCTETS for pair in tags.items() for text in pair):
            raise Wrong(f"at most {_MAX_TAGS} tags, names and values of at most {_MAX_TAG_OCTETS} octets")
        return dict(tags)

    def _by_token(self) -> bool:
        return self._entry.get("auth") in {Auth.XOAUTH2, Auth.OAUTHBEARER}

    def _tls(self) -> Tls | None:
        try:
            return Tls(self._entry.get("tls", "implicit"))
        except ValueError:
            return None


def _canonical(pin: str) -> str:
    """A fingerprint in the one form that is compared: openssl prints capitals, and colons in between."""
    text = pin.strip().lower()
    found = "sha256:" + text.removeprefix("sha256:").replace(":", "")
    if not text.startswith("sha256:") or not _FINGERPRINT.fullmatch(found):
        raise Wrong(f"{pin[:80]!r} is not sha256: and 64 hex digits (mailsluice accounts check prints it)")
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
