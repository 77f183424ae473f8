"""`mailsluice accounts add`: one account, its server named, or found by its address.

Rules of this room:
- No password is taken as an argument: arguments stand in process lists and shell histories.
- What was found is said before anything is stored, and a person says yes, on the terminal or with --yes. A host that
  only DNS records name, outside of the address' domain, needs a yes of its own (RFC 6186, 6): --trust-srv.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import click
from rich.text import Text

from ingest.accounts import build_account
from ingest.advice import credentials_for
from ingest.cli.account_view import as_dict, print_account
from ingest.cli.output import as_json, clean, console, dump, pairs, table
from ingest.cli.services import pass_services
from ingest.discovery import Candidate, Discovery, Trial, id_of
from ingest.errors import AccountMisconfigured, ConfigurationError, HostUnreachable
from ingest.models import Account, Auth, Tls
from ingest.wiring import Services

_OF_A_HOST = ("port", "tls", "allow_plaintext", "fingerprint")


@click.command(
    epilog="Examples: mailsluice accounts add someone@example.com --password env:SOMEONES_PASSWORD\n\n"
    "mailsluice accounts add billing --host pop.example.com --username billing@example.com --password "
    "env:BILLING_PASSWORD"
)
@click.argument("whom", metavar="ID|ADDRESS")
@click.option("--id", "account_id", help="Of an address; default: made of it (someone-example.com).")
@click.option("--host", help="The POP3 server; default with an address: looked for.")
@click.option("--username", help="Default with an address: the whole address.")
@click.option("--password", help="Where the password is: env:NAME or file:PATH.")
@click.option("--prompt", is_flag=True, help="Ask for the password; it is stored encrypted (MAILSLUICE_SECRET_KEY).")
@click.option("--yes", is_flag=True, help="Store what was found without asking.")
@click.option("--trust-srv", is_flag=True, help="With --yes: also a host outside of the domain that only DNS names.")
@click.option("--tls", type=click.Choice([str(tls) for tls in Tls]), help="Default: implicit.")
@click.option("--port", type=int, help="Default: 995 for implicit TLS, else 110.")
@click.option("--auth", type=click.Choice([str(auth) for auth in Auth if not auth.by_token]), help="Default: auto.")
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
    whom: str,
    account_id: str | None,
    prompt: bool,
    yes: bool,
    trust_srv: bool,
    tags: tuple[str, ...],
    fingerprint: tuple[str, ...],
    as_json: bool,
    **given: str | int | bool | None,
) -> None:
    """Add one account; it is due now. With an ADDRESS its server is looked for: SRV records, then the usual names."""
    is_address = "@" in whom
    account_id = account_id or (id_of(whom) if is_address else whom)
    if prompt == (given["password"] is not None):
        raise click.UsageError("give either --password or --prompt")
    if str(given["password"]).startswith("plain:"):
        raise ConfigurationError([f"{account_id}: password: a literal shows in the process list (use --prompt)"])
    entry: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    entry |= {"id": account_id, "tags": _tags(tags)} | ({"fingerprint": list(fingerprint)} if fingerprint else {})
    if is_address:
        entry.setdefault("username", whom)
    for key in ("host", "username"):
        if key not in entry and not is_address:
            raise click.UsageError(f"an id needs --{key}; an address (someone@example.com) needs neither it nor --host")
    if "host" in entry:
        if prompt:
            entry["password"] = _ask_password()
        account = _build(services, entry)
        _store(services, account)
        print_account(services, account, as_json=as_json)
        return
    if wrong := [key for key in _OF_A_HOST if key in entry]:
        raise click.UsageError(f"--{wrong[0].replace('_', '-')} goes with --host; without it the server is looked for")
    # Whatever is wrong with the rest is said before the network is asked.
    _build(services, entry | {"host": "localhost"} | ({"password": "plain:x"} if prompt else {}))
    _refuse_taken(services, account_id)
    found = services.finder.find(whom, ca_file=entry.get("ca_file"), on_trial=_say_trial)
    _add_found(services, entry, found, ask_password=prompt, yes=yes, trust_srv=trust_srv, as_json=as_json)


def _add_found(
    services: Services,
    entry: dict[str, Any],
    found: Discovery,
    *,
    ask_password: bool,
    yes: bool,
    trust_srv: bool,
    as_json: bool,
) -> None:
    chosen = found.chosen
    stored: Account | None = None
    if not as_json:
        _print_found(found, entry)
    try:
        if chosen is None:
            raise _none_found(found)
        _get_a_yes(chosen.candidate, found, entry, yes=yes, trust_srv=trust_srv, may_ask=not as_json and _on_terminal())
        server = chosen.candidate
        entry |= {"host": server.host, "port": server.port, "tls": server.tls.value}
        if ask_password:
            entry["password"] = _ask_password()
        stored = _build(services, entry)
        _store(services, stored)
    finally:
        if as_json:
            _dump_found(services, found, stored)
    if not as_json:
        click.echo()
        print_account(services, stored, as_json=False)


def _get_a_yes(
    server: Candidate, found: Discovery, entry: dict[str, Any], *, yes: bool, trust_srv: bool, may_ask: bool
) -> None:
    """Return if a person agrees to store it; else end the command."""
    outside = f"{server.host} is not within {found.domain}, and only a DNS record names it, which can be forged"
    if yes and server.foreign and not trust_srv:
        raise click.UsageError(f"nothing was stored: {outside}; if it is right, add --trust-srv")
    if yes:
        return
    if not may_ask:
        more = " and --trust-srv" if server.foreign else ""
        raise click.UsageError(f"nothing was stored: there is no terminal to ask on; if it is right, add --yes{more}")
    if server.foreign:
        click.echo(f"{outside}. Whoever runs it will get the password.", err=True)
    if not click.confirm(f"Store {entry['id']} with {server.host}:{server.port}?", err=True):
        click.echo("nothing was stored", err=True)
        click.get_current_context().exit(1)


def _print_found(found: Discovery, entry: dict[str, Any]) -> None:
    table(("SERVER", "TLS", "FOUND BY", "ANSWER"), (_row(trial) for trial in found.trials))
    for note in found.notes:
        console().print(Text(f"note: {clean(note)}", "yellow"))
    if found.chosen is None:
        return
    server = found.chosen.candidate
    click.echo()
    shown: dict[str, str | Text] = {
        "id": entry["id"],
        "server": f"{server.host}:{server.port}, {server.tls} TLS"
        if server.tls is Tls.IMPLICIT
        else f"{server.host}:{server.port}, TLS by STLS",
        "user name": entry["username"]
        + (" (the whole address; --username takes another)" if entry["username"] == found.address else ""),
    }
    if wanted := credentials_for(server.host):
        shown["password"] = Text(wanted, "yellow")
    pairs(shown)


def _row(trial: Trial) -> tuple[str | Text, ...]:
    server, seen, failure = trial.candidate, trial.seen, trial.failure
    source = ", ".join(server.sources) + (" (outside)" if server.foreign else "")
    if seen is None:
        todo = f" ({failure.todo})" if failure and failure.todo else ""
        answer = Text(clean(f"{failure.what}{todo}" if failure else ""), "red")
    else:
        until = f", good until {seen.certificate_not_after:%Y-%m-%d}" if seen.certificate_not_after else ""
        answer = Text(clean(f"{seen.tls_version}, certificate verified{until}: {seen.greeting or '+OK'}"), "green")
    return f"{server.host}:{server.port}", server.tls, source, answer


def _dump_found(services: Services, found: Discovery, stored: Account | None) -> None:
    shown = dataclasses.asdict(found)
    chosen = found.chosen.candidate if found.chosen else None
    state = None
    if stored is not None:
        state = as_dict(
            stored,
            services.schedule.states([stored.id])[stored.id],
            services.schedule.due_in([stored.id]).get(stored.id),
        )
    dump({**shown, "chosen": chosen, "stored": state})


def _none_found(found: Discovery) -> HostUnreachable:
    if not found.trials:
        return HostUnreachable(
            f"{found.domain} says by its DNS records that it offers no POP3", todo="--host names a server all the same"
        )
    return HostUnreachable(f"no POP3 server was found for {found.address}", todo="--host names one")


def _build(services: Services, entry: dict[str, Any]) -> Account:
    return build_account(entry, str(entry["id"]), services.secrets.seal if services.may_seal else None)


def _store(services: Services, account: Account) -> None:
    _refuse_taken(services, account.id)
    services.registry.put([account])
    services.schedule.add([account.id])


def _refuse_taken(services: Services, account_id: str) -> None:
    if services.registry.get([account_id]):
        raise AccountMisconfigured(f"{account_id}: there is one of this id", todo="accounts apply changes it")


def _ask_password() -> str:
    return f"plain:{click.prompt('Password', hide_input=True, err=True)}"


def _say_trial(candidate: Candidate) -> None:
    """Names that lead nowhere take seconds: somebody who watches is told what for."""
    if sys.stderr.isatty():
        click.echo(f"trying {candidate.host}:{candidate.port} …", err=True)


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _tags(given: tuple[str, ...]) -> dict[str, str]:
    """Each --tag as a name and a value."""
    for tag in given:
        if tag.find("=") < 1:
            raise click.BadParameter(f"{tag!r} is not NAME=VALUE", param_hint="--tag")
    return dict(tag.partition("=")[::2] for tag in given)
