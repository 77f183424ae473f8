"""Events to an SNS topic, ten a request.

Rules of this file:
- A FIFO topic keeps each account's order and drops repeats, as a FIFO queue does (see `sqs`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from ingest.adapters.sinks.aws import NO_ANSWER, aws_client, body_of, of_error, send_batches, size_of
from ingest.errors import IngestError
from ingest.events.order import account_of, always
from ingest.models import OutgoingEvent


class SnsSink:
    """Implements `ports.EventSink`.

    Args:
        owner: the AWS account whose topic it is.
        name: of the topic; one that ends in .fifo is FIFO.
        timeout_s: to connect, and for each piece of an answer.
    """

    max_bytes = 256 << 10

    def __init__(self, owner: str, name: str, timeout_s: float) -> None:
        self._fifo = name.endswith(".fifo")
        self._where = f"SNS topic {name}"
        self._client = aws_client("sns", timeout_s)
        self._arn = f"arn:{self._client.meta.partition}:sns:{self._client.meta.region_name}:{owner}:{name}"

    def size(self, event: OutgoingEvent) -> int:
        return size_of(event)

    def send(self, events: Sequence[OutgoingEvent], go_on: Callable[[], bool] = always) -> Sequence[IngestError | None]:
        return send_batches(
            events, self._ask, where=self._where, max_bytes=self.max_bytes, ordered=self._fifo, go_on=go_on
        )

    def ping(self) -> None:
        """Ask for the topic."""
        try:
            self._client.get_topic_attributes(TopicArn=self._arn)
        except (ClientError, *NO_ANSWER) as error:
            raise of_error(error, self._where) from None

    def close(self) -> None:
        self._client.close()

    def _ask(self, batch: Sequence[OutgoingEvent]) -> Mapping[str, Any]:
        entries = [self._entry(str(at), event) for at, event in enumerate(batch)]
        answer: Mapping[str, Any] = self._client.publish_batch(TopicArn=self._arn, PublishBatchRequestEntries=entries)
        return answer

    def _entry(self, id_: str, event: OutgoingEvent) -> dict[str, str]:
        entry = {"Id": id_, "Message": body_of(event)}
        if self._fifo:
            entry |= {"MessageGroupId": account_of(event) or "-", "MessageDeduplicationId": event.id}
        return entry
