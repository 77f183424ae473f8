"""Redis under Sentinel: the master dies for good, the replica takes over, and polling goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from house import PASSWORD, house, mail
from integration.conftest import wait_for
from servers.redis_cluster import WatchedRedis

from ingest.adapters.redis_client import Keys, connect, state_problem
from ingest.adapters.redis_events import RedisEvents
from ingest.adapters.redis_lease import RedisLease
from ingest.adapters.redis_ledger import RedisLedger
from ingest.adapters.redis_schedule import RedisSchedule


def test_after_a_failover_polling_goes_on_and_what_was_settled_is_not_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)
    with WatchedRedis(tmp_path) as servers, house(mail("one"), mail("two")) as h:
        client, keys = connect(servers.url, 2), Keys("t", 1)
        h.lease = RedisLease(client, keys, ttl_s=60, claim_ttl_s=120)
        h.ledger = RedisLedger(client, keys, lease_ttl_s=60, stream_max_bytes=1 << 30, min_replicas=1, settle_s=1)
        h.schedule = RedisSchedule(client, keys, claim_ttl_s=120)
        events = RedisEvents(client, keys, timeout_s=2, max_bytes=1 << 30, retention_s=3600)
        h.schedule.add(["a"])
        assert state_problem(client) is None
        assert h.poll().events == 2

        servers.fail_over()
        h.maildrop.deliver(mail("three"))
        reports = [h.poll()]

        def told() -> bool:
            reports.append(h.poll())
            return reports[-1].events > 0

        wait_for(told, 30)
        assert events.length() == 3

        # No replica is left to settle with: what was retrieved is committed, and the session ends without QUIT.
        report = reports[-1]
        assert report.failure is not None
        assert report.failure.code == "state_unavailable"
        assert "replicas" in report.failure.what
        client.close()
