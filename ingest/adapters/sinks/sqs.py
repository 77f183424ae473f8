"""Events in an SQS queue, ten a request.

Rules of this file:
- A FIFO queue keeps each account's order (MessageGroupId), so of an account one event is on its way at a time. It drops
  what it took in the last five minutes under the same event id (MessageDeduplicationId).
- A standard queue has no order, so nothing is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

from botocore.exceptions import ClientError

from ingest.adapters.s3_errors import code_of
from ingest.adapters.sinks.aws import NO_ANSWER, aws_client, body_of, of_error, send_batches, size_of
from ingest.errors import IngestError
from ingest.events.order import account_of, always
from ingest.models import OutgoingEvent

_DENIED = frozenset({"AccessDenied", "AccessDeniedException"})
_LEAST_LIMIT = 256 << 10  # of all queues before August 2025, and of those whose attributes we may not read


class SqsSink:
    """Implements `ports.EventSink`.

    Args:
        owner: the AWS account whose queue it is.
        name: of the queue; one that ends in .fifo is FIFO.
        timeout_s: to connect, and for each piece of an answer.
    """

    def __init__(self, owner: str, name: str, timeout_s: float) -> None:
        self._owner = owner
        self._name = name
        self._fifo = name.endswith(".fifo")
        self._where = f"SQS queue {name}"
        self._client = aws_client("sqs", timeout_s)
        self._found: tuple[str, int] | None = None
        self._lock = Lock()

    @property
    def max_bytes(self) -> int:
        return self._queue()[1]

    def size(self, event: OutgoingEvent) -> int:
        return size_of(event)

    def send(self, events: Sequence[OutgoingEvent], go_on: Callable[[], bool] = always) -> Sequence[IngestError | None]:
        try:
            url, max_bytes = self._queue()
        except IngestError as error:
            return [error] * len(events)

        def ask(batch: Sequence[OutgoingEvent]) -> Mapping[str, Any]:
            entries = [self._entry(str(at), event) for at, event in enumerate(batch)]
            answer: Mapping[str, Any] = self._client.send_message_batch(QueueUrl=url, Entries=entries)
            return answer

        return send_batches(events, ask, where=self._where, max_bytes=max_bytes, ordered=self._fifo, go_on=go_on)

    def ping(self) -> None:
        """Ask for the queue."""
        self._found = None
        self._queue()

    def close(self) -> None:
        self._client.close()

    def _entry(self, id_: str, event: OutgoingEvent) -> dict[str, str]:
        entry = {"Id": id_, "MessageBody": body_of(event)}
        if self._fifo:
            entry |= {"MessageGroupId": account_of(event) or "-", "MessageDeduplicationId": event.id}
        return entry

    def _queue(self) -> tuple[str, int]:
        """Its URL, and the largest message it takes; asked for once."""
        with self._lock:
            if self._found is None:
                try:
                    url = self._client.get_queue_url(QueueName=self._name, QueueOwnerAWSAccountId=self._owner)[
                        "QueueUrl"
                    ]
                    self._found = url, self._limit(url)
                except (ClientError, *NO_ANSWER) as error:
                    raise of_error(error, self._where) from None
            return self._found

    def _limit(self, url: str) -> int:
        try:
            answer = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=["MaximumMessageSize"])
        except ClientError as error:
            if code_of(error) not in _DENIED:
                raise
            return _LEAST_LIMIT
        return int(answer.get("Attributes", {}).get("MaximumMessageSize", _LEAST_LIMIT))
