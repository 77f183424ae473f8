"""How the cost of hostile messages grows: CPU seconds at n, 2n, 4n of each construct, and the worst at the cap.

Rules of this file:
- CPU seconds of this process for `read_message` and the decoding of all attachments; sizes take turns, round after
  round, and the best one counts.
- Sizes are octets, not counts: whatever a construct is made of, a message of 50 MiB may be full of it. Behind a limit
  (a header block ends at 1 MiB) cost stops growing, so sizes begin far below it.
"""

from __future__ import annotations

import math
import time

from hostile import CONSTRUCTS, HEADERS, PARAMETERS, Construct
from report import print_table

from ingest.mime.decoders import decoded
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message

LIMITS = MimeLimits()
GOAL_A_DOUBLING = 2.5
GOAL_S = 8.0  # the promise for one message
CAP_BYTES = 50 << 20  # MAILSLUICE_MAX_MESSAGE_BYTES
_IN_A_BLOCK_BYTES = 128 << 10  # four times that is half of a header block's limit
_IN_A_MESSAGE_BYTES = 1 << 20
_ROUNDS = 5
_ENOUGH_S = 0.002  # below, the clock and what costs the same for every message say more than the construct
_SHOWN = 12


def of_size(construct: Construct, octets: int) -> bytes:
    """So many of a construct that they take about so many octets."""
    sample = 4000
    return construct(max(1, octets * sample // len(construct(sample))))


def seconds(raw: bytes) -> float:
    """CPU for reading and decoding."""
    start = time.process_time()
    for part in read_message(raw, LIMITS).attachments:
        for _chunk in decoded(raw, part):
            pass
    return time.process_time() - start


def main() -> None:
    rows, worst_ratio = [], 0.0
    for name, construct in CONSTRUCTS.items():
        octets = _IN_A_BLOCK_BYTES if name in HEADERS or name in PARAMETERS else _IN_A_MESSAGE_BYTES
        raws = [of_size(construct, octets * times) for times in (1, 2, 4)]
        seconds(raws[0])
        costs = [min(taken) for taken in zip(*[[seconds(raw) for raw in raws] for _ in range(_ROUNDS)], strict=True)]
        # to a doubling in octets: counts with more digits are longer
        ratios = [
            (costs[at + 1] / costs[at]) ** (1 / _doublings(raws[at], raws[at + 1])) if costs[at] > _ENOUGH_S else None
            for at in range(2)
        ]
        worst_ratio = max(worst_ratio, *(ratio or 0 for ratio in ratios))
        rows.append(
            (name, *(f"{cost:.4f}" for cost in costs), *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios))
        )
    print_table("CPU seconds at n, 2n, 4n", ("construct", "n", "2n", "4n", "n to 2n", "2n to 4n"), rows)
    verdict = "reached" if worst_ratio < GOAL_A_DOUBLING else "missed"
    print(f"\n  most for a doubling: {worst_ratio:.2f}; goal: less than {GOAL_A_DOUBLING}: {verdict}")
    at_cap = sorted(
        ((seconds(of_size(construct, CAP_BYTES)), name) for name, construct in CONSTRUCTS.items()), reverse=True
    )
    print_table(
        f"CPU seconds of {CAP_BYTES >> 20} MiB, the worst {_SHOWN} of {len(at_cap)}",
        ("construct", "seconds"),
        [(name, f"{cost:.2f}") for cost, name in at_cap[:_SHOWN]],
    )
    verdict = "reached" if at_cap[0][0] < GOAL_S else "missed"
    print(f"\n  most: {at_cap[0][0]:.2f} s; goal: less than {GOAL_S:.0f} s: {verdict}")


def _doublings(less: bytes, more: bytes) -> float:
    return math.log2(len(more) / len(less))


if __name__ == "__main__":
    main()
