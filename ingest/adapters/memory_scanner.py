"""A virus scanner in memory, for unit tests: the same contract as clamd's, and what the test says is a virus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO

from ingest.errors import ScannerUnavailable
from ingest.models import Scan, Verdict


class MemoryScanner:
    """Implements `ports.Scanner`.

    Args:
        signatures: the octets that make a body infected, and each one's name.
        max_bytes: a larger body is UNSCANNED.

    Attributes:
        down: while true it is unavailable.
        scanned: the sizes of the bodies that were looked at.
    """

    def __init__(self, signatures: Mapping[bytes, str], max_bytes: int = 50 << 20) -> None:
        self._signatures = dict(signatures)
        self._max_bytes = max_bytes
        self.down = False
        self.scanned: list[int] = []

    def scan(self, body: BinaryIO, size: int) -> Verdict:
        self.ping()
        if size > self._max_bytes:
            return Verdict(Scan.UNSCANNED, f"larger than {self._max_bytes} octets")
        body.seek(0)
        content = body.read(size)
        self.scanned.append(len(content))
        for octets, name in self._signatures.items():
            if octets in content:
                return Verdict(Scan.INFECTED, name)
        return Verdict(Scan.CLEAN)

    def ping(self) -> None:
        if self.down:
            raise ScannerUnavailable("the scanner is down", todo="set `down` to False")

    def close(self) -> None:
        """Nothing to give back."""
