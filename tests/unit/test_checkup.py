"""What doctor says of settings that don't fit each other."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.checkup import check_lease
from ingest.settings import Settings


def test_the_default_lease_outlasts_each_wait_that_can_t_renew_it() -> None:
    assert check_lease(Settings()) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lease_ttl_s": 20}, "TTL_S=45"),
        ({"read_timeout_s": 60}, "60 s for a word of a server and lose its lease: MAILSLUICE_LEASE_TTL_S=90"),
        ({"connect_timeout_s": 15}, "45 s for a connection to a server and lose its lease: MAILSLUICE_LEASE_TTL_S=68"),
        ({"step_retry_s": 60}, "70 s for a Redis that is away and lose its lease: MAILSLUICE_LEASE_TTL_S=105"),
    ],
)
def test_a_lease_that_is_shorter_than_such_a_wait_is_noted_and_fails_nothing(
    changed: dict[str, Any], said: str
) -> None:
    [check] = check_lease(Settings(**changed))
    assert (check.ok, check.note) == (True, True)
    assert said in check.line


def test_waits_for_store_and_scanner_need_no_longer_lease() -> None:
    assert check_lease(Settings(store_read_timeout_s=300, clamd_timeout_s=300)) == []
