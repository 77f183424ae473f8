"""What SQS and SNS have in common: the client, batches with an answer for each entry, and errors as ours.

Rules of this file:
- Endpoint, region and credentials come from the standard AWS chain and from nowhere else. botocore does not retry: the
  relay does.
- A request that is refused for what is in it is sent again entry by entry, so that one event stops no other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import boto3.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own, which is not an OSError
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from ingest.adapters.s3_errors import code_of, one_line
from ingest.errors import ConfigurationError, EventRefused, IngestError, SinkRefused, SinkUnavailable
from ingest.events.order import NOT_BEGUN, always, in_waves, pieces
from ingest.models import OutgoingEvent

BATCH_ENTRIES = 10
_PASSING = (ConnectionError, HTTPClientError, IncompleteReadError, CredentialRetrievalError, MetadataRetrievalError)
_GARBLED = (ResponseParserError, KeyError, AttributeError, TypeError)  # some proxy's page, or half an answer
NO_ANSWER = (BotoCoreError, *_GARBLED)
_BUSY = re.compile(r"thrott|limitexceeded|timeout|unavailable|internal|slowdown|overlimit", re.IGNORECASE)
_EVENTS_FAULT = frozenset({
    "InvalidMessageContents",
    "InvalidParameterValue",
    "InvalidParameter",
    "BatchRequestTooLong",
    "AWS.SimpleQueueService.BatchRequestTooLong",
})  # fmt: skip
_TOO_MANY, _SERVERS = 429, 500
# Characters that XML 1.0 has no place for, and that neither service takes; JSON has escapes for them.
_NOT_IN_XML = re.compile("[\ufffe\uffff]")
Entry = Mapping[str, Any]
Outcome = IngestError | None


def aws_client(service: str, timeout_s: float) -> Any:  # noqa: ANN401 - one for each service; the callers know which
    """A client (thread-safe); ConfigurationError where the AWS chain is broken."""
    config = Config(connect_timeout=timeout_s, read_timeout=timeout_s, retries={"total_max_attempts": 1})
    try:
        return boto3.session.Session().client(service, config=config)  # type: ignore[call-overload]  # any service
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError([f"AWS settings: {one_line(error)}"]) from error


def body_of(event: OutgoingEvent) -> str:
    """The event's JSON as a text that both services take."""
    return _NOT_IN_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", event.json.decode("utf-8", "replace"))


def size_of(event: OutgoingEvent) -> int:
    """Octets of that text, which may be more than the event has."""
    return len(body_of(event).encode())


def send_batches(
    events: Sequence[OutgoingEvent],
    ask: Callable[[Sequence[OutgoingEvent]], Mapping[str, Any]],
    *,
    where: str,
    max_bytes: int,
    ordered: bool,
    go_on: Callable[[], bool] = always,
) -> list[Outcome]:
    """Send them in batches, by `ask`; the entries of its answer have the place in the batch as Id."""

    def send(wave: Sequence[OutgoingEvent]) -> list[Outcome]:
        return [outcome for batch in pieces(wave, BATCH_ENTRIES, max_bytes, size_of) for outcome in once(batch)]

    def once(batch: Sequence[OutgoingEvent]) -> Sequence[Outcome]:
        if not go_on():
            return [NOT_BEGUN] * len(batch)
        if len(batch) == 1 and (size := size_of(batch[0])) > max_bytes:
            return [EventRefused(f"{where}: {size} octets, and it takes {max_bytes}")]
        try:
            answer = ask(batch)
        except ClientError as error:
            if code_of(error) not in _EVENTS_FAULT:
                return [of_error(error, where)] * len(batch)
            if len(batch) > 1:
                return [outcome for event in batch for outcome in once([event])]
            return [EventRefused(f"{where}: {one_line(error)}")]
        except NO_ANSWER as error:
            return [of_error(error, where)] * len(batch)
        return _of_answer(answer, len(batch), where)

    return in_waves(events, send, go_on) if ordered else send(events)


def of_error(error: Exception, where: str) -> IngestError:
    """What was answered, or why nothing was."""
    if isinstance(error, ClientError):
        code = code_of(error)
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        said = f"{where}: {code}: {one_line(error.response.get('Error', {}).get('Message', ''))}"
        if status in {0, _TOO_MANY} or status >= _SERVERS or _BUSY.search(code):
            return SinkUnavailable(said)
        return SinkRefused(said, todo="correct MAILSLUICE_SINK_URL, the region, or what these credentials may do")
    untrusted = isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error)
    if isinstance(error, _GARBLED):
        return SinkUnavailable(f"{where}: no answer that AWS would give", todo="is the endpoint right?")
    if isinstance(error, _PASSING) and not untrusted:
        return SinkUnavailable(f"{where}: {one_line(error)}", todo="is it up, and the endpoint right?")
    return SinkRefused(f"{where}: {one_line(error)}", todo="correct the AWS settings")


def _of_answer(answer: Mapping[str, Any], count: int, where: str) -> list[Outcome]:
    """Confirmed is what the answer names as such, and nothing else."""
    outcomes: list[Outcome] = [SinkUnavailable(f"{where}: no answer for it") for _ in range(count)]
    for entry in answer.get("Successful", ()):
        if (at := _place(entry, count)) is not None:
            outcomes[at] = None
    for entry in answer.get("Failed", ()):
        if (at := _place(entry, count)) is not None:
            outcomes[at] = _of_entry(entry, where)
    return outcomes


def _place(entry: Entry, count: int) -> int | None:
    id_ = str(entry.get("Id", ""))
    return int(id_) if id_.isascii() and id_.isdecimal() and int(id_) < count else None


def _of_entry(entry: Entry, where: str) -> IngestError:
    """What one entry of a batch failed of."""
    code, said = str(entry.get("Code", "")), f"{where}: {entry.get('Code')}: {one_line(entry.get('Message', ''))}"
    if entry.get("SenderFault") and code in _EVENTS_FAULT:
        return EventRefused(said)
    if entry.get("SenderFault") and not _BUSY.search(code):
        return SinkRefused(said, todo="see what these credentials, and the key of the queue, may do")
    return SinkUnavailable(said)
