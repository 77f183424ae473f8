"""Where a poll's own thread would wait for another machine, another thread does."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from ingest.settings import Settings
from ingest.wiring import build


@pytest.mark.parametrize(
    ("settings", "aside"),
    [
        ({"storage_url": "file:///nowhere"}, False),
        ({"storage_url": "s3://mail"}, True),
        ({"storage_url": "file:///nowhere", "clamd_url": "tcp://clamav:3310"}, True),
    ],
)
def test_a_step_is_done_aside_where_it_may_wait_for_another_machine(settings: dict[str, str], *, aside: bool) -> None:
    with closing(build(Settings(**settings))) as services:
        worker = services.crew.wait(lambda: None, lambda _: threading.get_ident())
    assert (worker != threading.get_ident()) is aside
