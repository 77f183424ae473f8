"""What an answer of SQS or SNS confirms, and what it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ResponseStreamingError
from botocore.parsers import ResponseParserError
from sink_stands import event, opened

from ingest.adapters.directory_store import DirectoryStore
from ingest.adapters.sinks.aws import body_of, send_batches
from ingest.adapters.sinks.claim_check import ClaimCheckSink
from ingest.errors import EventRefused, SinkUnavailable
from ingest.models import OutgoingEvent


def outcomes(ask: Callable[..., Mapping[str, Any]], count: int = 3) -> list[Any]:
    events = [event(n) for n in range(count)]
    return send_batches(events, ask, where="queue", max_bytes=1 << 20, ordered=False)


def test_confirmed_is_what_the_answer_names() -> None:
    answer = {"Successful": [{"Id": "1"}, {"Id": "7"}, {"Id": "x"}, {}], "Failed": [{"Id": "2", "Code": "Internal"}]}
    found = outcomes(lambda _: answer)
    assert [type(outcome) for outcome in found] == [SinkUnavailable, type(None), SinkUnavailable]
    assert "no answer for it" in str(found[0])


def test_an_answer_without_entries_confirms_nothing() -> None:
    assert all(isinstance(outcome, SinkUnavailable) for outcome in outcomes(lambda _: {}))


@pytest.mark.parametrize("error", [ResponseParserError("<html>"), KeyError("Id"), ResponseStreamingError(error="cut")])
def test_what_is_no_answer_is_waited_out(error: Exception) -> None:
    def ask(_: object) -> Mapping[str, Any]:
        raise error

    assert all(isinstance(outcome, SinkUnavailable) for outcome in outcomes(ask))


@pytest.mark.parametrize("url", ["sqs://123456789012/q", "sns://123456789012/t"])
def test_a_ping_that_gets_no_answer_says_so(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    sink = opened(url)

    def broken(*_: object, **__: object) -> object:
        raise ResponseParserError("<html>")

    monkeypatch.setattr(sink._client, "_make_api_call", broken)  # type: ignore[attr-defined]
    with pytest.raises(SinkUnavailable):
        sink.ping()
    sink.close()


def test_limits_are_of_the_text_that_is_sent() -> None:
    """U+FFFE has three octets in an event and six in the text for these services."""
    events = [event(n, text="\ufffe" * 1000) for n in range(4)]
    most, asked = 2 * len(body_of(events[0]).encode()), list[int]()

    def ask(batch: Sequence[OutgoingEvent]) -> Mapping[str, Any]:
        asked.append(sum(len(body_of(told).encode()) for told in batch))
        return {"Successful": [{"Id": str(at)} for at in range(len(batch))]}

    assert send_batches(events, ask, where="queue", max_bytes=most, ordered=False) == [None] * 4
    assert asked == [most, most]
    [outcome] = send_batches(events[:1], ask, where="queue", max_bytes=most // 2 - 1, ordered=False)
    assert isinstance(outcome, EventRefused)
    assert len(asked) == 2


def test_an_event_that_grows_beyond_the_limit_goes_by_way_of_object_storage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    queue, sent = opened("sns://123456789012/t"), list[OutgoingEvent]()
    monkeypatch.setattr(queue, "send", lambda events, _: sent.extend(events) or [None] * len(events))
    told = event(1, text="\uffff" * 60_000)
    assert len(told.json) < (queue.max_bytes or 0)
    assert ClaimCheckSink(queue, lambda: DirectoryStore(tmp_path)).send([told]) == [None]
    assert b"dataref" in sent[0].json
    queue.close()
