"""Applying an accounts file to the registry: the one way, for `accounts apply`, `up` and a worker's start.

Rules of this room:
- All of a file or nothing. Applying it again changes nothing, and wakes nobody; it only puts back a due time that was
  lost.
- New accounts are due now. Changed ones forget back-off and failures, and are due now. Paused ones stay paused.
"""

from __future__ import annotations

from pathlib import Path

from ingest.accounts import Changes, compare, parse_accounts
from ingest.errors import ConfigurationError, SecretUnavailable
from ingest.ports import AccountRegistry, Schedule, Secrets


def read_accounts(path: Path) -> str:
    """The text of an accounts file; ConfigurationError."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ConfigurationError([f"{path}: can't be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([f"{path}: is not UTF-8, as TOML must be"]) from None


def apply_accounts(
    text: str,
    source: str,
    *,
    registry: AccountRegistry,
    schedule: Schedule,
    secrets: Secrets,
    may_seal: bool,
    prune: bool,
) -> Changes:
    """Read, compare, write; ConfigurationError with every problem of the file.

    Args:
        text: the file's TOML.
        source: what to call the file in messages.
        registry: what is compared and written.
        schedule: where new and changed accounts become due.
        secrets: seals literal passwords, and tells whether two references mean one secret.
        may_seal: whether there is a key to seal with.
        prune: remove accounts that the file does not name.
    """
    wanted = parse_accounts(text, source, secrets.seal if may_seal else None)
    registered = {account.id: account for account in registry.all()}

    def same_secret(one: str, other: str) -> bool:
        try:
            return secrets.resolve(one).reveal() == secrets.resolve(other).reveal()
        except SecretUnavailable:  # the old one was sealed under another key
            return False

    changes = compare(registered, wanted, prune=prune, same_secret=same_secret)
    registry.put([*changes.added, *changes.changed])
    registry.remove(changes.removed)
    schedule.drop(changes.removed)
    there = [*changes.added, *changes.changed, *changes.unchanged]
    schedule.add(account.id for account in there if not account.paused)
    schedule.reset(account.id for account in changes.changed if not account.paused)
    return changes
