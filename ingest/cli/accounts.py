"""`mailsluice accounts`: the registry, and what each account's polls remember.

Rules of this room:
- No command prints a password, or takes one as an argument (arguments stand in process lists and shell histories).
- Removing an account keeps its ledger, so that adding it again repeats no mail; `--erase` forgets that too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from ingest.accounts import as_written, build_account
from ingest.cli.output import ago, as_json, check_line, clean, dump, pairs, size, span, table
from ingest.cli.services import pass_services
from ingest.errors import AccountMisconfigured, ConfigurationError, StateRefused
from ingest.ledger import NO_IDENTITY
from ingest.models import Account, AccountState, Auth, Tls
from ingest.wiring import Services


@click.group()
def accounts() -> None:
    """The maildrops to poll."""


@accounts.command(epilog="Example: mailsluice accounts apply accounts.toml --prune")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--prune", is_flag=True, help="Remove accounts that are not in the file (their ledgers stay).")
@as_json
@pass_services
def apply(services: Services, *, file: Path, prune: bool, as_json: bool) -> None:
    """Make the registry hold what FILE says. Applying it again changes nothing.

    mailsluice accounts apply accounts.toml
    """
    changes = services.apply_accounts_file(file, prune=prune)
    done = {
        "added": [account.id for account in changes.added],
        "changed": [account.id for account in changes.changed],
        "unchanged": [account.id for account in changes.unchanged],
        "removed": list(changes.removed),
    }
    if as_json:
        dump(done)
        return
    for what, ids in done.items():
        for account_id in ids if what != "unchanged" else ():
            click.echo(f"{what} {account_id}")
    click.echo(", ".join(f"{len(ids)} {what}" for what, ids in done.items()))


@accounts.command(
    epilog="Example: mailsluice accounts add billing --host pop.example.com --username billing@example.com "
    "--password env:BILLING_PASSWORD"
)
@click.argument("account_id", metavar="ID")
@click.option("--host", required=True, help="The POP3 server.")
@click.option("--username", required=True)
@click.option("--password", help="Where the password is: env:NAME or file:PATH.")
@click.option("--prompt", is_flag=True, help="Ask for the password; it is stored encrypted (MAILSLUICE_SECRET_KEY).")
@click.option("--tls", type=click.Choice([str(tls) for tls in Tls]), help="Default: implicit.")
@click.option("--port", type=int, help="Default: 995 for implicit TLS, else 110.")
@click.option("--auth", type=click.Choice([str(auth) for auth in Auth]), help="Default: auto.")
@click.option("--keep", help="forever (default), delete, or an age such as 14d.")
@click.option("--first-poll", help="all (default), new, or a date such as 2026-01-31.")
@click.option("--poll-interval-s", type=int, help="Shortest interval; default: 60.")
@click.option("--ca-file", help="CA bundle of this server.")
@click.option(
    "--fingerprint", multiple=True, metavar="sha256:HEX", help="Accept this certificate only, whoever issued it."
)
@click.option("--allow-plaintext", is_flag=True, default=None, help="Accept --tls none beyond this machine.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Copied into every event; may be repeated.")
@as_json
@pass_services
def add(
    services: Services,
    /,
    *,
    account_id: str,
    prompt: bool,
    tags: tuple[str, ...],
    fingerprint: tuple[str, ...],
    as_json: bool,
    **given: str | int | bool | None,
) -> None:
    """Add one account; it is due now."""
    if prompt == (given["password"] is not None):
        raise click.UsageError("give either --password or --prompt")
    if prompt:
        given["password"] = f"plain:{click.prompt('Password', hide_input=True, err=True)}"
    elif str(given["password"]).startswith("plain:"):
        raise ConfigurationError([f"{account_id}: password: a literal shows in the process list (use --prompt)"])
    entry: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    entry |= {"id": account_id, "tags": _tags(tags), "fingerprint": list(fingerprint)}
    account = build_account(entry, account_id, services.secrets.seal if services.may_seal else None)
    if services.registry.get([account_id]):
        raise AccountMisconfigured(f"{account_id}: there is one of this id", todo="accounts apply changes it")
    services.registry.put([account])
    services.schedule.add([account_id])
    _print(services, account, as_json=as_json)


@accounts.command("list", epilog="Example: mailsluice accounts list --json")
@as_json
@pass_services
def list_(services: Services, *, as_json: bool) -> None:
    """All accounts with their next poll and last outcome."""
    every = services.registry.all()
    ids = [account.id for account in every]
    due, states, now = services.schedule.due_in(ids), services.schedule.states(ids), services.clock.now()
    if as_json:
        dump([_as_dict(account, states[account.id], due.get(account.id)) for account in every])
        return
    table(
        ("ID", "HOST", "TLS", "USER", "STATE", "NEXT POLL", "LAST POLL", "OUTCOME", "FAILURES"),
        (
            (
                account.id,
                f"{account.host}:{account.port}",
                account.tls,
                account.username,
                _state(account),
                _due(due.get(account.id)),
                ago(states[account.id].last_poll, now),
                _outcome(states[account.id]),
                str(states[account.id].failures),
            )
            for account in every
        ),
        numbers=("FAILURES",),
    )


@accounts.command(epilog="Example: mailsluice accounts show billing")
@click.argument("account_id", metavar="ID")
@click.option("--ledger", is_flag=True, help="What is remembered of its mail, a record a line, the oldest first.")
@as_json
@pass_services
def show(services: Services, *, account_id: str, ledger: bool, as_json: bool) -> None:
    """One account in full, without its password.

    mailsluice accounts show billing
    """
    if ledger:
        _print_ledger(services, account_id, as_json=as_json)
    else:
        _print(services, _get(services, account_id), as_json=as_json)


@accounts.command(epilog="Example: mailsluice accounts pause billing")
@click.argument("account_id", metavar="ID")
@pass_services
def pause(services: Services, *, account_id: str) -> None:
    """Poll an account no more until it is resumed."""
    services.registry.put([replace(_get(services, account_id), paused=True)])
    services.schedule.drop([account_id])
    click.echo(f"{account_id} is paused")


@accounts.command(epilog="Example: mailsluice accounts resume billing")
@click.argument("account_id", metavar="ID")
@pass_services
def resume(services: Services, *, account_id: str) -> None:
    """Poll a paused account again, from now on."""
    services.registry.put([replace(_get(services, account_id), paused=False)])
    services.schedule.add([account_id])
    click.echo(f"{account_id} is active")


@accounts.command(epilog="Example: mailsluice accounts remove billing")
@click.argument("account_id", metavar="ID")
@click.option("--erase", is_flag=True, help="Forget its ledger too: added again, it repeats all its mail.")
@pass_services
def remove(services: Services, *, account_id: str, erase: bool) -> None:
    """Remove an account. Its mail, objects, events and (without --erase) its ledger stay."""
    if not services.registry.get([account_id]) and not (erase and _is_remembered(services, account_id)):
        raise _unknown(account_id)
    services.registry.remove([account_id])
    services.schedule.drop([account_id])
    if erase:
        services.schedule.erase(account_id)
    click.echo(f"{account_id} is removed" + (", with its ledger" if erase else "; its ledger is kept"))


@accounts.command(epilog="Example: mailsluice accounts check billing")
@click.argument("account_id", metavar="ID")
@as_json
@pass_services
def check(services: Services, *, account_id: str, as_json: bool) -> None:
    """Log in, and say what the server is and can do. Nothing is retrieved or changed.

    mailsluice accounts check billing
    """
    found = services.checker.check(_get(services, account_id))
    if as_json:
        dump(found)
        return
    can = found.capabilities
    until, days = found.certificate_not_after, found.certificate_days_left
    pairs(
        {
            "server": check_line(found),
            "software": can.implementation or "it doesn't say",
            "certificate": f"valid until {until:%Y-%m-%d}, {days} days left" if until else "none",
            "fingerprint": found.certificate_sha256 or "none",
            "capabilities": " ".join(sorted(can.names)) or "it doesn't say",
            "mechanisms": " ".join(sorted(can.sasl)) or "USER",
            "login delay": span(can.login_delay_s) if can.login_delay_s is not None else "none",
            "mail": f"{found.messages} messages, {size(found.octets)}",
            "UIDL": found.uidl_form or "none seen",
        }
    )


def _tags(given: tuple[str, ...]) -> dict[str, str]:
    """Each --tag as a name and a value."""
    for tag in given:
        if tag.find("=") < 1:
            raise click.BadParameter(f"{tag!r} is not NAME=VALUE", param_hint="--tag")
    return dict(tag.partition("=")[::2] for tag in given)


def _get(services: Services, account_id: str) -> Account:
    account = services.registry.get([account_id]).get(account_id)
    if account is None:
        raise _unknown(account_id)
    return account


def _unknown(account_id: str) -> AccountMisconfigured:
    return AccountMisconfigured(f"{account_id}: no such account", todo="mailsluice accounts list")


def _is_remembered(services: Services, account_id: str) -> bool:
    """Whether it has a ledger, if only a damaged one; also that of an account that was removed is kept."""
    try:
        return services.ledger.load(account_id).exists
    except StateRefused:
        return True


def _print(services: Services, account: Account, *, as_json: bool) -> None:
    state = services.schedule.states([account.id])[account.id]
    due = services.schedule.due_in([account.id]).get(account.id)
    if as_json:
        dump(_as_dict(account, state, due))
        return
    written: dict[str, Any] = as_written(account)
    written["tags"] = ", ".join(f"{name}={value}" for name, value in account.tags.items())
    pins = written["fingerprint"]
    written["fingerprint"] = ", ".join(pins) if isinstance(pins, list) else pins
    written["allow_plaintext"] = "yes" if account.allow_plaintext else None
    shown: dict[str, str | Text] = {key: str(value) for key, value in written.items() if value}
    shown["state"] = _state(account)
    shown["next poll"] = _due(due)
    shown["last poll"] = f"{ago(state.last_poll, services.clock.now())}, {state.last_outcome or 'none yet'}"
    if state.undeleted:
        shown["undeleted"] = f"the server kept {state.undeleted} times what was deleted"
    if state.failures:
        shown["failures"] = f"{state.failures} in a row: {state.last_error}"
    pairs(shown)


def _print_ledger(services: Services, account_id: str, *, as_json: bool) -> None:
    """Also of an account that was removed: its ledger is kept."""
    image = services.ledger.load(account_id)
    if not image.exists:
        _get(services, account_id)
    records = sorted(image.records(), key=lambda record: record.minutes)
    shown = [
        {
            "uidl_digest": record.uidl.hex(),
            "identity_digest": None if record.identity == NO_IDENTITY else record.identity.hex(),
            "kind": record.kind.name.lower(),
            "since": datetime.fromtimestamp(record.minutes * 60, UTC).isoformat(),
        }
        for record in records
    ]
    if as_json:
        dump({"account": account_id, "octets": image.value_bytes, "records": shown})
        return
    table(
        ("UIDL DIGEST", "IDENTITY", "KIND", "SINCE"),
        (
            (row["uidl_digest"] or "", row["identity_digest"] or "-", row["kind"] or "", row["since"] or "")
            for row in shown
        ),
    )
    counts = Counter(record.kind.name.lower() for record in records)
    click.echo(
        f"{len(records)} records, {size(image.value_bytes)}: "
        + ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        if records
        else "nothing is remembered"
    )


def _as_dict(account: Account, state: AccountState, due_in_s: float | None) -> dict[str, Any]:
    return {**as_written(account), "paused": account.paused, "due_in_s": due_in_s, "state": state}


def _state(account: Account) -> Text:
    return Text("paused", "yellow") if account.paused else Text("active", "green")


def _outcome(state: AccountState) -> Text:
    return Text(clean(state.last_outcome or "-"), "red" if state.failures else "")


def _due(in_s: float | None) -> str:
    return "-" if in_s is None else "now" if in_s <= 0 else f"in {span(in_s)}"
