"""What a virus scanner's word means for a message.

Rules of this room:
- Infected: told of, or the whole message goes into quarantine. A scanner that can't be asked: waited for, or told of.
- Waiting is our fault and never the message's: it stays on its server until the scanner is back. But what ends a
  scanner that worked is waited for only until that counts towards quarantine.
"""

from __future__ import annotations

from collections.abc import Callable

from ingest.errors import MessageInfected, MessageUnprocessable, ScannerUnavailable
from ingest.models import Part, Scan, Verdict
from ingest.ports import Scanner, Spool
from ingest.putting import reading
from ingest.retry import Steps


class Scanning:
    """Asks a scanner, and applies the policy.

    Args:
        scanner: whom to ask.
        steps: asks again while the scanner is only unavailable, where it is waited for.
        quarantines: whether a message with an infected part goes into quarantine.
        waits: whether a message waits for a scanner that can't be asked.
    """

    def __init__(self, scanner: Scanner, *, steps: Steps, quarantines: bool, waits: bool) -> None:
        self._scanner = scanner
        self._steps = steps
        self._quarantines = quarantines
        self._waits = waits

    def verdict(self, content: Spool, part: Part, beat: Callable[[], None]) -> Verdict:
        """The scanner's word on a part's decoded content; `beat` is called as it is read, and between two tries.

        MessageInfected, ScannerUnavailable, MessageUnprocessable, as the policy says.
        """

        def ask() -> Verdict:
            with reading(content, beat) as body:
                return self._scanner.scan(body, content.size)

        try:
            verdict = self._steps.beating(beat)(ask) if self._waits else ask()
        except (ScannerUnavailable, MessageUnprocessable) as error:
            if not self._waits:
                return Verdict(Scan.UNSCANNED, error.what)
            if isinstance(error, MessageUnprocessable):
                raise MessageUnprocessable(f"part {part.number} can't be scanned, {error.what}") from error
            raise
        if verdict.scan is Scan.INFECTED and self._quarantines:
            raise MessageInfected(f"part {part.number} is infected: {verdict.detail}")
        return verdict
