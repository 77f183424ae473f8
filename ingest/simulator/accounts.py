"""Who may log in, and what is remembered of them.

Rules of this room:
- A password is compared in constant time, and an unknown user costs the same comparison.
- Names and passwords are octets (UTF-8 of what was configured). Nothing here is ever printed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping

from ingest.simulator.maildrop import Maildrop
from ingest.simulator.past import Past


class Accounts:
    """The users of a server.

    Args:
        users: by name, the password and the maildrop (which several names may share).
        clock: seconds that never go back.
    """

    def __init__(self, users: Mapping[str, tuple[str, Maildrop]], clock: Callable[[], float]) -> None:
        self._users = {name.encode(): (password.encode(), maildrop) for name, (password, maildrop) in users.items()}
        self._pasts = {name: Past(clock) for name in self._users}

    def maildrop(self, name: bytes) -> Maildrop:
        """The maildrop of a user who was verified."""
        return self._users[name][1]

    def past(self, name: bytes) -> Past:
        """What is remembered of a user who was verified."""
        return self._pasts[name]

    def verify(self, name: bytes, password: bytes) -> bool:
        """Whether this is the user's password."""
        known, _ = self._users.get(name, (b"\0", None))
        return hmac.compare_digest(known, password) and name in self._users

    def verify_apop(self, name: bytes, timestamp: bytes, digest: bytes) -> bool:
        """Whether this is MD5 of the timestamp and the user's password, in hex (RFC 1939, 7)."""
        known, _ = self._users.get(name, (b"\0", None))
        # RFC 1939 knows no other hash; the flag lets FIPS builds run it
        expected = hashlib.md5(timestamp + known, usedforsecurity=False).hexdigest().encode()
        return hmac.compare_digest(expected, digest) and name in self._users
