"""Frozen values that travel between the rooms.

Rules of this room:
- Values only: no I/O, no clock, no settings. Units stand in the name (`_s`, `_bytes`).
- A secret lives in `Secret`, whose every printed form is `****`.
"""

from ingest.models.account import Account, Auth, OAuth, Place, Secret, Tls
from ingest.models.check import AccountCheck, UidlForm, Uidls
from ingest.models.message import (
    Address,
    Body,
    Defect,
    Envelope,
    Label,
    ParsedMessage,
    Part,
    Scan,
    StoredPart,
    Verdict,
)
from ingest.models.pop3 import Capabilities, HostProfile, Listing, MessageRef, Sight
from ingest.models.report import Failure, Outcome, PollReport
from ingest.models.state import AccountState, Grant, Kind, OutgoingEvent, Record, Refusal, StreamEntry

__all__ = [
    "Account",
    "AccountCheck",
    "AccountState",
    "Address",
    "Auth",
    "Body",
    "Capabilities",
    "Defect",
    "Envelope",
    "Failure",
    "Grant",
    "HostProfile",
    "Kind",
    "Label",
    "Listing",
    "MessageRef",
    "OAuth",
    "Outcome",
    "OutgoingEvent",
    "ParsedMessage",
    "Part",
    "Place",
    "PollReport",
    "Record",
    "Refusal",
    "Scan",
    "Secret",
    "Sight",
    "StoredPart",
    "StreamEntry",
    "Tls",
    "UidlForm",
    "Uidls",
    "Verdict",
]
