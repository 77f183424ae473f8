"""`mailsluice accounts check`: what a server is and can do, and what would go wrong with it.

Rules of this room:
- Exit code 1 only where the login fails. Advice alone fails nothing.
"""

from __future__ import annotations

from datetime import datetime

import click
from rich.text import Text

from ingest.advice import Advice, advise, advise_failure
from ingest.cli.account_view import get_account
from ingest.cli.output import advice_lines, as_json, complain, dump, pairs, size, span
from ingest.cli.services import pass_services
from ingest.errors import ConfigurationError, IngestError
from ingest.models import AccountCheck, Capabilities, Failure, UidlForm
from ingest.wiring import Services

_MS = 1000
_FORMS = {
    UidlForm.NONE: "none",
    UidlForm.POSITION: "the messages' numbers, it seems",
    UidlForm.COUNTER: "a plain counter",
    UidlForm.OPAQUE: "opaque",
}


@click.command(epilog="Example: mailsluice accounts check billing")
@click.argument("account_id", metavar="ID")
@as_json
@pass_services
def check(services: Services, *, account_id: str, as_json: bool) -> None:
    """Log in, and say what the server is and can do, and what to mind. Nothing is retrieved or changed."""
    account = get_account(services, account_id)
    try:
        found = services.checker.check(account)
    except ConfigurationError:
        raise
    except IngestError as error:
        advice = advise_failure(account, error)
        complain(f"error: {error}")
        if as_json:
            dump({"account": account_id, "found": None, "failure": Failure.of(error), "advice": advice})
        else:
            _print_advice(advice)
        click.get_current_context().exit(1)
    now = services.clock.now()
    advice = advise(account, found, now=now)
    if as_json:
        dump({"account": account_id, "found": found, "failure": None, "advice": advice})
        return
    _print_found(found, now)
    _print_advice(advice)


def _print_found(found: AccountCheck, now: datetime) -> None:
    before, after, can = found.capabilities, found.capabilities_after_login, found.can
    shown: dict[str, str | Text] = {
        "server": f"{found.host}:{found.port}",
        "software": can.implementation or before.implementation or "it doesn't say",
        "greeting": found.greeting or "bare",
        "encryption": f"{found.tls_version}, {found.tls}" if found.tls_version else "none: plaintext",
        "certificate": _certificate(found.certificate_not_after, now),
        "before login": _names(before),
        "after login": "not asked" if after is None else "the same" if after.names == before.names else _names(after),
        "mechanisms": " ".join(_mechanisms(found)),
        "PIPELINING": _yes("PIPELINING" in can),
        "UTF8": _yes("UTF8" in before or "UTF8" in can),
        "LOGIN-DELAY": span(can.login_delay_s) if can.login_delay_s is not None else "none",
        "EXPIRE": _expire(can),
        "mail": f"{found.messages} messages, {size(found.octets)}, the largest {size(found.largest_bytes)}",
        "UIDL": _uidls(found),
        "round trip": f"{found.round_trip_s * _MS:.0f} ms; the login took {found.login_s * _MS:.0f} ms",
    }
    pairs(shown)
    if found.certificate_sha256:  # not in a column, which would break it in two: it is there to be copied
        click.echo(f"fingerprint   {found.certificate_sha256}")


def _print_advice(advice: list[Advice]) -> None:
    if advice:
        click.echo()
        advice_lines(advice)


def _certificate(until: datetime | None, now: datetime) -> str:
    return f"good until {until:%Y-%m-%d}, {(until - now).days} days" if until else "none"


def _names(can: Capabilities) -> str:
    return " ".join(sorted(can.names)) if can.known else "no CAPA"


def _mechanisms(found: AccountCheck) -> list[str]:
    """USER stands for itself where a server has no CAPA: all have it."""
    can = found.capabilities
    user = ["USER"] if "USER" in can or not can.known else []
    return [*user, *(["APOP"] if found.apop else []), *sorted(can.sasl)] or ["none named"]


def _expire(can: Capabilities) -> str:
    if can.expire_days is None:
        return "never, or it doesn't say"
    return f"after {can.expire_days} days" if can.expire_days else "0: what was retrieved goes with QUIT"


def _uidls(found: AccountCheck) -> str:
    uidls = found.uidls
    if uidls.example is None:
        return "none" if found.messages else "none seen: the maildrop is empty"
    return f"{uidls.example} ({_FORMS[uidls.form]})"


def _yes(yes: bool) -> str:
    return "yes" if yes else "no"
