"""Which sink a URL names."""

from __future__ import annotations

import pytest
from sink_stands import opened


@pytest.mark.parametrize(
    ("url", "kind"),
    [("HTTPS://hooks.example.com/mail", "WebhookSink"), ("AMQP://localhost/?queue=mail", "AmqpSink")],
)
def test_a_scheme_may_be_in_capitals(url: str, kind: str) -> None:
    sink = opened(url)
    assert type(sink).__name__ == kind
    sink.close()
