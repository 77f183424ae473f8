"""Redis under Sentinel: the master dies for good, the replica takes over, and polling goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from house import PASSWORD, house, mail
from integration.conftest import wait_for
from redis_house import RedisSide
from servers.redis_cluster import WatchedRedis

from ingest.adapters.redis_client import state_problem


def test_after_a_failover_polling_goes_on_and_what_was_settled_is_not_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)
    with (
        WatchedRedis(tmp_path) as servers,
        house(mail("one"), mail("two")) as h,
        RedisSide(h, servers.url, min_replicas=1) as side,
    ):
        assert state_problem(side.client) is None
        assert h.poll().events == 2

        servers.fail_over()
        h.maildrop.deliver(mail("three"))
        reports = [h.poll()]

        def told() -> bool:
            reports.append(h.poll())
            return reports[-1].events > 0

        wait_for(told, 90)
        assert len(side.events()) == 3

        # No replica is left to settle with: what was retrieved is committed, and the session ends without QUIT.
        report = reports[-1]
        assert report.failure is not None
        assert report.failure.code == "state_unavailable"
        assert "replicas" in report.failure.what
