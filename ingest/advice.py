"""What to mind with a server that was looked at: facts in, lines for a person out.

Rules of this room:
- Pure. Each line says what is or will be, and what to do about it; "nothing" is an answer where we cope by ourselves.
- WRONG: mail or deletes will go wrong. CARE: they may, or it costs much. NOTE: good to know.
- Of providers only what their own pages say, or their servers showed. What they do is theirs to change.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ingest.accounts import is_loopback, keep_as_written
from ingest.errors import CredentialsRejected, IngestError, MaildropBusy, ServerRefused, SlowDown
from ingest.models import Account, AccountCheck, UidlForm
from ingest.providers import Provider, recognise

_DAY_S = 86_400
_CERTIFICATE_DAYS = 14
_SLOW_S = 10.0
_GMAIL_WINDOW = 200  # it lists about 250
_YAHOO_INTERVAL_S = 300
_BATCH = 1000


class Severity(enum.StrEnum):
    """How much a line matters, the worst first."""

    WRONG = "wrong"
    CARE = "care"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Advice:
    """One line, and what to do."""

    severity: Severity
    line: str
    todo: str


def advise(account: Account, found: AccountCheck, *, now: datetime) -> list[Advice]:
    """What would go wrong with this account as it is written, the worst first."""
    lines = [
        *_of_encryption(found, now),
        *_of_capabilities(account, found),
        *_of_uidls(found),
        *_of_messages(found),
        *_of_provider(account, found),
    ]
    return sorted(lines, key=lambda advice: list(Severity).index(advice.severity))


def advise_failure(account: Account, error: IngestError) -> list[Advice]:
    """What may stand behind a failed login; empty where the error says all there is."""
    provider = recognise(account.host, str(error))
    wrong = Severity.WRONG
    match error:
        case CredentialsRejected() | ServerRefused() if provider is not None:
            likely, *others = _refused_by(provider, account)
            return [Advice(wrong, *likely), *(Advice(Severity.CARE, *line) for line in others)]
        case CredentialsRejected() if "@" not in account.username:
            return [Advice(wrong, "many servers want the whole address as user name", "username = the whole address")]
        case CredentialsRejected():
            local = account.username.partition("@")[0]
            return [Advice(wrong, "some servers want only what stands before the @", f'username = "{local}"')]
        case MaildropBusy():
            return [
                Advice(Severity.NOTE, "another session holds the maildrop", "nothing: polls come back by themselves")
            ]
        case SlowDown():
            return [
                Advice(
                    Severity.CARE, "this server counts logins", "check less often; a longer poll_interval_s if it stays"
                )
            ]
        case _:
            return []


def credentials_for(host: str) -> str | None:
    """What a provider wants as password, where it is not the usual one; None for all others."""
    match recognise(host):
        case Provider.GMAIL:
            return "Gmail takes an app password (its account needs 2-step verification) or OAuth, and POP switched on"
        case Provider.MICROSOFT:
            return "Microsoft 365 takes no password over POP3, only OAuth, and POP switched on for the mailbox"
        case Provider.YAHOO:
            return "Yahoo takes an app password, not that of the account"
        case _:
            return None


def _of_encryption(found: AccountCheck, now: datetime) -> Iterator[Advice]:
    if found.tls_version is None and not is_loopback(found.host):
        offered = "STLS" in found.capabilities
        todo = 'tls = "starttls": the server offers it' if offered else 'tls = "implicit", where the server has it'
        yield Advice(Severity.WRONG, "password and mail cross the network in plaintext", todo)
    if found.certificate_not_after is not None:
        days = (found.certificate_not_after - now).total_seconds() / _DAY_S
        if days < _CERTIFICATE_DAYS:
            yield Advice(
                Severity.CARE,
                f"the certificate ends in {max(0, int(days))} days; polls fail from then on",
                "whoever runs the server must renew it",
            )


def _of_capabilities(account: Account, found: AccountCheck) -> Iterator[Advice]:
    can = found.can
    if not can.known:
        yield Advice(
            Severity.NOTE,
            "no CAPA: what the server can do shows only by trying",
            "nothing: a command at a time is sent",
        )
    if can.expire_days == 0:
        yield Advice(
            Severity.CARE,
            "EXPIRE 0: a QUIT deletes what its session retrieved",
            "nothing: sessions that retrieved end without QUIT; deletes wait for one that retrieves nothing",
        )
    elif can.expire_days is not None and (account.keep_s is None or account.keep_s > can.expire_days * _DAY_S):
        yield Advice(
            Severity.NOTE,
            f"EXPIRE {can.expire_days}: the server removes mail after {can.expire_days} days, whatever keep says",
            f"nothing, if keep = {keep_as_written(account.keep_s)!r} is not what others rely on",
        )
    if can.login_delay_s is not None and can.login_delay_s > account.poll_interval_s:
        yield Advice(
            Severity.NOTE,
            f"LOGIN-DELAY {can.login_delay_s}: polls stay that many seconds apart",
            f"nothing; poll_interval_s = {can.login_delay_s} would say so",
        )
    if can.known and "PIPELINING" not in can:
        cost_s = _BATCH * found.round_trip_s
        yield Advice(
            Severity.CARE if cost_s > _SLOW_S else Severity.NOTE,
            f"no PIPELINING: each message costs a round trip, {_BATCH} of them {cost_s:.0f} s",
            'first_poll = "new" or a date, where old mail isn\'t needed',
        )
    if can.known and "TOP" not in can and account.first_poll not in {"all", "new"}:
        yield Advice(
            Severity.WRONG, "no TOP: it can't be seen what mail is older than first_poll", 'first_poll = "all" or "new"'
        )


def _of_uidls(found: AccountCheck) -> Iterator[Advice]:
    uidls, count = found.uidls, found.messages
    if not count:
        yield Advice(
            Severity.NOTE, "no message is listed, so its UIDLs can't be judged", "check again when mail is there"
        )
    elif uidls.missing == count:
        yield Advice(
            Severity.CARE,
            "no UIDL: known messages are told by their headers and content, at each poll anew",
            "a longer poll_interval_s, and few messages left on the server",
        )
    elif uidls.missing:
        yield Advice(
            Severity.NOTE, f"{uidls.missing} messages have no usable UIDL", "nothing: they are known by their content"
        )
    if uidls.long:
        yield Advice(Severity.NOTE, f"{uidls.long} UIDLs are over the 70 octets of RFC 1939", "nothing: they work here")
    if uidls.repeated:
        yield Advice(
            Severity.CARE, f"{uidls.repeated} messages share another's UIDL", "nothing: they are told apart by content"
        )
    if uidls.form is UidlForm.POSITION:
        yield Advice(
            Severity.CARE,
            "UIDLs are the messages' numbers (1, 2, 3), or look so: after a delete they may name other mail, which is "
            "then taken for known",
            "check again after a delete: 1 must not come back; if it does, ask for another UIDL format",
        )
    elif uidls.form is UidlForm.COUNTER:
        yield Advice(
            Severity.NOTE,
            "UIDLs are a plain counter: rebuilt or migrated, the maildrop may count anew, and name other mail so",
            "before a migration poll once more; after it look at accounts show ID --ledger",
        )


def _of_messages(found: AccountCheck) -> Iterator[Advice]:
    if not found.complete:
        yield Advice(
            Severity.CARE,
            "UIDL, LIST and STAT differ: while they do, nothing is deleted on the server",
            "check again; if it stays, ask its provider",
        )
    if found.too_large:
        yield Advice(
            Severity.CARE,
            f"{found.too_large} of {found.messages} messages are over MAILSLUICE_MAX_MESSAGE_BYTES (the largest has "
            f"{found.largest_bytes} octets): they are skipped, with an event, and stay on the server",
            "raise it where the workers run, before they are polled",
        )


def _of_provider(account: Account, found: AccountCheck) -> Iterator[Advice]:
    match recognise(found.host, f"{found.greeting} {found.capabilities.implementation or ''}"):
        case Provider.GMAIL:
            yield from _of_gmail(account, found)
        case Provider.MICROSOFT:
            yield Advice(
                Severity.NOTE,
                "Microsoft 365 throttles sessions, of a mailbox and of an application",
                "poll_interval_s = 300",
            )
        case Provider.YAHOO if account.poll_interval_s < _YAHOO_INTERVAL_S:
            yield Advice(
                Severity.CARE, "Yahoo locks out who logs in too often", f"poll_interval_s = {_YAHOO_INTERVAL_S} or more"
            )
        case _:
            pass


def _of_gmail(account: Account, found: AccountCheck) -> Iterator[Advice]:
    recent = account.username.lower().startswith("recent:")
    if recent and account.keep_s is not None:
        yield Advice(
            Severity.WRONG,
            "recent: is for several readers, and this account deletes",
            'keep = "forever", or no recent:',
        )
    elif account.keep_s is not None:
        yield Advice(
            Severity.CARE,
            "what a delete does is for Gmail's own setting (archive, trash or keep) to say",
            'its settings, POP: "When messages are accessed with POP"',
        )
    if not recent:
        yield Advice(
            Severity.CARE,
            "Gmail hides what any POP session retrieved and ended with QUIT from all later ones",
            f'username = "recent:{account.username}" lists 30 days to every reader; or let this be the only one',
        )
    if found.messages >= _GMAIL_WINDOW:
        yield Advice(
            Severity.CARE,
            "Gmail lists a window of about 250 messages; newer ones show as these leave it",
            "many polls for an old mailbox; or in Gmail's settings: POP for mail that arrives from now on",
        )
    if not found.messages:
        yield Advice(Severity.NOTE, "an empty listing may be a POP setting of Gmail", "its settings, POP: for all mail")


def _refused_by(provider: Provider, account: Account) -> Iterator[tuple[str, str]]:
    """Line and advice for a login that a provider refused, the likeliest reason first."""
    oauth = account.auth.value in {"xoauth2", "oauthbearer"}
    match provider:
        case Provider.GMAIL if oauth:
            yield (
                "Gmail refused the token",
                "its scope must be https://mail.google.com/, and POP switched on for the account",
            )
        case Provider.GMAIL:
            yield (
                "Gmail takes no account password here: an app password (needs 2-step verification) or OAuth",
                'make an app password, or auth = "xoauth2"',
            )
            yield (
                "Gmail's POP is off until it is switched on",
                "its settings, Forwarding and POP/IMAP; in Workspace the admin's too",
            )
        case Provider.MICROSOFT if oauth:
            yield (
                "POP may be off for the mailbox, or the application may not open it",
                "Set-CASMailbox -PopEnabled $true; POP.AccessAsApp, and the service principal's right on the mailbox",
            )
        case Provider.MICROSOFT:
            yield (
                "Microsoft 365 takes no passwords over POP3 since October 2022, only OAuth",
                'auth = "xoauth2" with a token for POP.AccessAsUser.All or POP.AccessAsApp',
            )
            yield (
                "POP may be off for the mailbox too",
                "Set-CASMailbox -PopEnabled $true; for outlook.com: its settings, POP",
            )
        case Provider.YAHOO:
            yield "Yahoo takes an app password, not that of the account", "make one in its account security settings"
            yield (
                "after too many logins it refuses good ones for a while",
                "wait an hour, then poll_interval_s = 300 or more",
            )
