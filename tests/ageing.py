"""Time passes for an account in Redis: what its ledger and its state say of times becomes older."""

from __future__ import annotations

from typing import Any

import redis

from ingest.ledger import HEADER_BYTES, decode, encode
from ingest.models import Record

_TIMES = ("delete_at", "listed_at")


def let_pass(client: redis.Redis, ledger: str, state: str, minutes: int) -> tuple[list[Record], float]:
    """So many minutes, in one step that a late commit makes start again.

    Returns:
        The records as they are now, and the time in seconds before which commits were made older.
    """

    def older(step: Any) -> tuple[list[Record], float]:  # noqa: ANN401 - a pipeline that watches answers at once
        seconds, micros = step.time()
        value = step.get(ledger) or b""
        times = dict(zip(_TIMES, step.hmget(state, _TIMES), strict=True))
        records = [Record(r.uidl, r.identity, r.kind, r.minutes - minutes) for r in decode(value)]
        step.multi()
        if records:
            step.set(ledger, value[:HEADER_BYTES] + encode(records))
        for name, at in times.items():
            if at:
                step.hset(state, name, f"{float(at) - 60 * minutes:.3f}")
        return records, int(seconds) + int(micros) / 1e6

    return client.transaction(older, ledger, state, value_from_callable=True)  # type: ignore[no-any-return]
