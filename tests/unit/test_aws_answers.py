"""What an answer of SQS or SNS confirms, and what it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import ResponseStreamingError
from botocore.parsers import ResponseParserError
from sink_stands import event, opened

from ingest.adapters.sinks.aws import send_batches
from ingest.errors import SinkUnavailable


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
