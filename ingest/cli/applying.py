"""Applying an accounts file to the registry: the one way, for `accounts apply` and `up`.

Rules of this room:
- All of a file or nothing. Applying it again changes nothing, and wakes nobody.
- New accounts are due now. Changed ones forget back-off and failures, and are due now. Paused ones stay paused.
"""

from __future__ import annotations

from pathlib import Path

from ingest.accounts import Changes, Seal, compare, parse_accounts
from ingest.errors import ConfigurationError, SecretUnavailable
from ingest.wiring import Services


def apply_file(services: Services, path: Path, *, prune: bool) -> Changes:
    """Read, compare, write; ConfigurationError with every problem of the file."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigurationError([f"{path}: can't be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([f"{path}: is not UTF-8, as TOML must be"]) from None
    wanted = parse_accounts(text, str(path), sealing(services))
    registered = {account.id: account for account in services.registry.all()}

    def same_secret(one: str, other: str) -> bool:
        try:
            return services.secrets.resolve(one).reveal() == services.secrets.resolve(other).reveal()
        except SecretUnavailable:  # the old one was sealed under another key
            return False

    changes = compare(registered, wanted, prune=prune, same_secret=same_secret)
    services.registry.put([*changes.added, *changes.changed])
    services.registry.remove(changes.removed)
    services.schedule.drop(changes.removed)
    active = [account.id for account in changes.changed if not account.paused]
    services.schedule.add([*(account.id for account in changes.added), *active])
    services.schedule.reset(active)
    return changes


def sealing(services: Services) -> Seal | None:
    """How literal passwords are encrypted here, None where there is no key to do it with."""
    return services.secrets.seal if services.settings.secret_key is not None else None
