"""Which account an event is about, whatever it is."""

from __future__ import annotations

import json

import pytest
from sink_stands import event

from ingest.events.order import account_of
from ingest.models import OutgoingEvent


def foreign(body: bytes) -> OutgoingEvent:
    return OutgoingEvent("id", "type", body)


def test_an_event_of_ours_names_its_account() -> None:
    told = event(1, "billing.eu-1_x")
    assert account_of(told) == "billing.eu-1_x"
    assert account_of(foreign(json.dumps(json.loads(told.json), indent=1).encode())) == "billing.eu-1_x"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[" * 200_000,
        b"[1]",
        b'{"source": 7}',
        b'{"source": "elsewhere/a"}',
        b'{"source": "mailsluice/../../etc"}',
        b'{"source": "mailsluice/' + b"a" * 65 + b'"}',
        b'{"specversion":"1.0","id":"x","source":"mailsluice/..hidden"}',
    ],
)
def test_what_names_no_account_as_one_may_be_called_is_of_none(body: bytes) -> None:
    assert account_of(foreign(body)) == ""
