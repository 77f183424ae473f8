"""ONE message alone: what a suspect is processed by, and what we and the process that does it say to each other.

Rules of this room:
- A suspect was in hand when its worker died. It is run in a process of its own, so that only itself can die of it.
- What the process says is JSON that is checked against these models: a message that took it over gains nothing.
- No password travels: the account goes without its reference, the settings without what the pipeline does not need.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from ingest.errors import ConfigurationError, IngestError
from ingest.models import Account, Failure, MessageRef
from ingest.pipeline import Processed
from ingest.ports import Spool

_PROCESSED_BYTES = 64 << 10  # a last word without its event


class Isolation(Protocol):
    """Processes messages that may kill a process."""

    def process(
        self, account: Account, ref: MessageRef, spool: Spool, *, first_seen: datetime, beat: Callable[[], None]
    ) -> Processed:
        """Parse and store a sealed spool in a process of its own.

        `beat` is called while it runs; what it raises ends the process. MessageUnprocessable if the process died of
        the message or passed its limits; any other error is the pipeline's own, and not the message's fault unless it
        says so.
        """
        ...


@dataclass(frozen=True, slots=True)
class Confines:
    """What one message may take: octets of address space, seconds of CPU, seconds in each phase."""

    memory_bytes: int
    cpu_s: float
    deadline_s: float


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class Task(_Said):
    """What the process is given, one line; `size` octets of message follow. `settings` are what it builds from."""

    settings: Mapping[str, Any]
    confines: Confines
    account: Account
    ref: MessageRef
    first_seen: datetime
    size: int

    @classmethod
    def of(
        cls,
        account: Account,
        ref: MessageRef,
        size: int,
        *,
        first_seen: datetime,
        settings: Mapping[str, Any],
        confines: Confines,
    ) -> Task:
        """A task without the account's password reference."""
        return cls(
            settings=settings,
            confines=confines,
            account=replace(account, password=""),
            ref=ref,
            first_seen=first_seen,
            size=size,
        )

    def line(self) -> bytes:
        return self.model_dump_json().encode() + b"\n"


class Phase(enum.StrEnum):
    """How far the process is.

    READING: confined, and about to look at the message: whatever ends it from here on is the message's doing.
    STORING: the message is parsed; what takes long from here on is the store.
    """

    READING = "reading"
    STORING = "storing"


class Word(_Said):
    """One line of what the process says; a message in storage or a failure is its last."""

    said: Phase | Processed | Failure

    def line(self) -> bytes:
        return self.model_dump_json().encode() + b"\n"


def as_error(failure: Failure) -> IngestError:
    """A failure as the error that it was."""
    kinds = {kind.code: kind for kind in IngestError.__subclasses__()}
    kind = kinds.get(failure.code, IngestError)
    if issubclass(kind, ConfigurationError):
        return kind([failure.what])
    return kind(failure.what, todo=failure.todo, after_s=failure.after_s)


def longest_word(event_max_bytes: int) -> int:
    """No word is longer; base64 takes four octets for three."""
    return _PROCESSED_BYTES + event_max_bytes * 4 // 3
