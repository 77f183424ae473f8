"""The scanner that settings name, and that a message which is processed alone meets the same one."""

from __future__ import annotations

from ingest.adapters.child import ChildProcess
from ingest.adapters.clamd import ClamdScanner
from ingest.settings import Settings
from ingest.wiring import build

SETTINGS = Settings(
    clamd_url="tcp://clamav:3310", clamd_timeout_s=7, scan_infected="quarantine", scan_unavailable="tag"
)


def test_without_a_url_nothing_is_scanned() -> None:
    assert build(Settings()).scanner is None


def test_a_url_makes_a_scanner_without_connecting_anywhere() -> None:
    assert isinstance(build(SETTINGS).scanner, ClamdScanner)


def test_a_message_alone_is_scanned_under_the_same_settings() -> None:
    isolation = build(SETTINGS).isolation
    assert isinstance(isolation, ChildProcess)
    told = Settings(**isolation._settings)
    names = ("clamd_url", "clamd_timeout_s", "scan_infected", "scan_unavailable")
    assert [getattr(told, name) for name in names] == [getattr(SETTINGS, name) for name in names]
