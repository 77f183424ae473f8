"""How long and how much a session listens to a server. Every limit is a setting; each breach is one named error."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Limits of one session.

    Args:
        read_timeout_s: longest silence while something is awaited.
        deadline_s: all waiting of one session together; our own work between two waits does not count.
        deadline_bytes_per_s: the deadline grows by a second for each so many octets received.
        min_bytes: octets that must arrive in each `min_bytes_window_s` of waiting for the body of a reply.
        min_bytes_window_s: see `min_bytes`; together 1 KiB/s over 30 s.
        login_guard_s: longest silence behind a good login where it is tried whether the server keeps what came along.
        status_line_bytes: longest status line, and longest line of a listing.
        listing_lines: most lines of a UIDL or LIST reply.
        listing_bytes: most octets of a UIDL or LIST reply.
        uidl_bytes: longest UIDL that is believed (RFC 1939 says 70); a longer one counts as none.
        window_messages: most commands under way at once, where the server pipelines.
        window_bytes: most octets under way at once, by the sizes LIST gave; a larger message travels alone.
        window_command_bytes: most octets of commands under way at once, so that no buffer on the way fills up.
        top_bytes: most octets of one TOP reply that are kept.
        top_dropped_bytes: most octets behind them that are read over; more break the session.
    """

    read_timeout_s: float = 30
    deadline_s: float = 120
    deadline_bytes_per_s: int = 64 * KIB
    min_bytes: int = 30 * KIB
    min_bytes_window_s: float = 30
    login_guard_s: float = 3
    status_line_bytes: int = 4 * KIB
    listing_lines: int = 1_000_000
    listing_bytes: int = 64 * MIB
    uidl_bytes: int = 255
    window_messages: int = 128
    window_bytes: int = MIB
    window_command_bytes: int = 4 * KIB
    top_bytes: int = MIB + 64 * KIB
    top_dropped_bytes: int = 64 * MIB
