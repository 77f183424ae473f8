"""One account as commands show it; never its password."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from ingest.accounts import as_written
from ingest.cli.output import ago, dump, pairs, span
from ingest.errors import AccountMisconfigured
from ingest.models import Account, AccountState
from ingest.wiring import Services


def get_account(services: Services, account_id: str) -> Account:
    """The account of this id; AccountMisconfigured where there is none."""
    account = services.registry.get([account_id]).get(account_id)
    if account is None:
        raise unknown_account(account_id)
    return account


def unknown_account(account_id: str) -> AccountMisconfigured:
    """The error for an id that nobody has."""
    return AccountMisconfigured(f"{account_id}: no such account", todo="mailsluice accounts list")


def print_account(services: Services, account: Account, *, as_json: bool) -> None:
    """One account in full, with what its polls remember."""
    state = services.schedule.states([account.id])[account.id]
    due = services.schedule.due_in([account.id]).get(account.id)
    if as_json:
        dump(as_dict(account, state, due))
        return
    written: dict[str, Any] = as_written(account)
    written["tags"] = ", ".join(f"{name}={value}" for name, value in account.tags.items())
    pins = written["fingerprint"]
    written["fingerprint"] = ", ".join(pins) if isinstance(pins, list) else pins
    written["oauth"] = ", ".join(f"{name}={value}" for name, value in (written["oauth"] or {}).items())
    written["allow_plaintext"] = "yes" if account.allow_plaintext else None
    shown: dict[str, str | Text] = {key: str(value) for key, value in written.items() if value}
    shown["state"] = shown_state(account)
    shown["next poll"] = shown_due(due)
    shown["last poll"] = f"{ago(state.last_poll, services.clock.now())}, {state.last_outcome or 'none yet'}"
    if state.undeleted:
        shown["undeleted"] = f"the server kept {state.undeleted} times what was deleted"
    if state.failures:
        shown["failures"] = f"{state.failures} in a row: {state.last_error}"
    pairs(shown)


def as_dict(account: Account, state: AccountState, due_in_s: float | None) -> dict[str, Any]:
    """One account for programs."""
    return {**as_written(account), "paused": account.paused, "due_in_s": due_in_s, "state": state}


def shown_state(account: Account) -> Text:
    """Whether it is polled."""
    return Text("paused", "yellow") if account.paused else Text("active", "green")


def shown_due(in_s: float | None) -> str:
    """When its next poll is due."""
    return "-" if in_s is None else "now" if in_s <= 0 else f"in {span(in_s)}"
