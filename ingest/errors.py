"""What every failure answers: retry, and when? Whose fault?

Rules of this room:
- A class fixes its answers; an instance adds one line for a person (`what`) and what to do about it (`todo`).
- `Retry.SOON` is for tenacity, inside one step, in seconds. `Retry.LATER` is for the due set, in minutes. Never both
  on one error: a step that used up its tries raises the same error on, and whoever schedules reads it as LATER.
- Tasks and commands act on `fault` and `retry` and on nothing else. No text here carries a secret.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar


class Fault(enum.StrEnum):
    """Whose fault a failure is, and so who backs off."""

    MESSAGE = "message"
    EVENT = "event"
    ACCOUNT = "account"
    HOST = "host"
    OURS = "ours"


class Retry(enum.StrEnum):
    """When it makes sense to try again."""

    SOON = "soon"
    LATER = "later"
    NEVER = "never"


class IngestError(Exception):
    """A failure with answers.

    Args:
        what: what failed, in one line, without the account's name (the reader adds for whom).
        todo: what a person can do, in one line; empty if nothing.
        after_s: seconds the other side asked us to wait, if it said so.
    """

    code: ClassVar[str] = "internal"
    fault: ClassVar[Fault] = Fault.OURS
    retry: ClassVar[Retry] = Retry.LATER

    def __init__(self, what: str, *, todo: str = "", after_s: float | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.todo = todo
        self.after_s = after_s

    def __str__(self) -> str:
        return f"{self.what} ({self.todo})" if self.todo else self.what


class ConfigurationError(IngestError):
    """Settings or an accounts file are wrong; nothing was applied. `problems` has one line a wrong key."""

    code = "configuration"
    retry = Retry.NEVER

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


# The account's own.


class AccountMisconfigured(IngestError):
    """This account can't work as it is written: plaintext not allowed, a forbidden address, a bad user name."""

    code = "account_misconfigured"
    fault = Fault.ACCOUNT


class SecretUnavailable(IngestError):
    """The account's password can't be fetched: variable unset, file missing, sealed under another key."""

    code = "secret_unavailable"
    fault = Fault.ACCOUNT


class TokenUnavailable(IngestError):
    """No access token for now: the token endpoint can't be reached, is out of order, or wants us to wait."""

    code = "token_unavailable"
    fault = Fault.HOST


class CredentialsRejected(IngestError):
    """The server refused user name or password. The only class that opens the account's breaker."""

    code = "credentials"
    fault = Fault.ACCOUNT


class MaildropBusy(IngestError):
    """Another session holds the maildrop ([IN-USE] and its free wordings)."""

    code = "maildrop_busy"
    fault = Fault.ACCOUNT


class SlowDown(IngestError):
    """The server wants fewer logins ([LOGIN-DELAY] and its free wordings); `after_s` if it said how long."""

    code = "slow_down"
    fault = Fault.ACCOUNT


class ServerRefused(IngestError):
    """The server refused for good ([SYS/PERM], a command it must support): a person must look."""

    code = "server_refused"
    fault = Fault.ACCOUNT


# The host's.


class HostUnreachable(IngestError):
    """No connection: the name doesn't resolve, nobody listens, or no answer in time."""

    code = "host_unreachable"
    fault = Fault.HOST


class CertificateRejected(IngestError):
    """TLS failed: expired, another name, an unknown issuer, or no common version."""

    code = "certificate"
    fault = Fault.HOST


class TlsNotOffered(IngestError):
    """STLS was asked for and is not offered. There is no fall-back to plaintext."""

    code = "tls_not_offered"
    fault = Fault.HOST


class ConnectionLost(IngestError):
    """The connection broke, or a wait in it ran out."""

    code = "connection_lost"
    fault = Fault.HOST


class ProtocolError(IngestError):
    """The server said something that is not POP3, or passed a limit."""

    code = "protocol"
    fault = Fault.HOST


class ListingFailed(IngestError):
    """UIDL or LIST broke off, contradicts itself or is too long. No state changes."""

    code = "listing_failed"
    fault = Fault.HOST


class ServerTemporary(IngestError):
    """The server has a passing trouble ([SYS/TEMP] and its free wordings)."""

    code = "server_temporary"
    fault = Fault.HOST


class LoginsRefused(IngestError):
    """The server refuses user name or password of many accounts at once: it is at fault, not they."""

    code = "logins_refused"
    fault = Fault.HOST


# One message's.


class MessageRefused(IngestError):
    """The server lists this message but refuses to hand it over."""

    code = "message_refused"
    fault = Fault.MESSAGE


class MessageTooLarge(IngestError):
    """More octets than the cap. It is skipped, and left on the server."""

    code = "message_too_large"
    fault = Fault.MESSAGE
    retry = Retry.NEVER


class MessageUnprocessable(IngestError):
    """Parsing took too long or hit a bug of ours: counted towards quarantine."""

    code = "message_unprocessable"
    fault = Fault.MESSAGE


class MessageInfected(IngestError):
    """A virus scanner found something, and the policy is to quarantine: at once, since trying again finds it again."""

    code = "message_infected"
    fault = Fault.MESSAGE
    retry = Retry.NEVER


@contextmanager
def own_fault(what: str) -> Iterator[None]:
    """A bug of ours that one message brings out must not stop the messages behind it: MessageUnprocessable."""
    try:
        yield
    except IngestError:
        raise
    except Exception as error:
        raise MessageUnprocessable(f"the message can't be {what}: {type(error).__name__}") from error


# One event's.


class EventRefused(IngestError):
    """A sink refuses this event for what it is (too large, not acceptable): it goes to the dead letters."""

    code = "event_refused"
    fault = Fault.EVENT
    retry = Retry.NEVER


# Ours.


class SinkUnavailable(IngestError):
    """The sink can't be reached, is slow, throttled or down: events wait in the stream."""

    code = "sink_unavailable"
    retry = Retry.SOON


class SinkRefused(IngestError):
    """The sink says no to whatever comes: queue missing, wrong secret, access denied. Events wait in the stream."""

    code = "sink_refused"


class ScannerUnavailable(IngestError):
    """The virus scanner can't be reached, is busy or broken, and the policy is to wait for it."""

    code = "scanner_unavailable"
    retry = Retry.SOON


class StoreUnavailable(IngestError):
    """Object storage is slow, throttled or down."""

    code = "store_unavailable"
    retry = Retry.SOON


class StoreRefused(IngestError):
    """Object storage says no: bucket missing, wrong key, access denied, disk full."""

    code = "store_refused"


class ObjectWrong(StoreRefused):
    """This one object is at fault, not the store: it is not there, or not what it should be."""


class StateUnavailable(IngestError):
    """Redis can't be reached, or can't for now: loading, too few replicas, a failed snapshot, a busy script."""

    code = "state_unavailable"
    retry = Retry.SOON


class StateRefused(IngestError):
    """Redis says no: wrong key type, ACL, eviction policy, version."""

    code = "state_refused"


class StateFull(IngestError):
    """Redis or the stream is full: polling stops, the mail waits on its server."""

    code = "state_full"


class BrokerUnavailable(IngestError):
    """The queue of polls can't be reached."""

    code = "broker_unavailable"


class LeaseLost(IngestError):
    """Our fencing token no longer holds: it ran out, or another poller took over. Drop everything, without QUIT."""

    code = "lease_lost"


class LedgerMoved(IngestError):
    """The ledger is not as we read it: a stale writer was refused. The next poll reads it anew."""

    code = "ledger_moved"
