"""The installation under fire: real servers, its accounts, and what this harness does to it from outside.

Rules of this room:
- A dead poll's lease is waited for, never deleted.
- Time passes for a ledger by making its records older, in one step that a late commit of a dead poll makes start again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import redis
from ageing import let_pass
from servers.dovecot import DovecotServer
from servers.process import wait_until
from servers.seaweed import SeaweedServer

from ingest.adapters.redis_client import Keys
from ingest.ledger import uidl_digest
from ingest.models import Account, Tls
from ingest.settings import Settings
from ingest.wiring import build

LEASE_TTL_S = 5  # the least that settings allow


@dataclass(frozen=True)
class Maildrop:
    """An account under fire. `grace_s` None keeps mail for ever; `at_once`: messages a poll may take."""

    id: str
    grace_s: int | None
    at_once: int

    @property
    def settings(self) -> dict[str, object]:
        """What its polls are set up with, beside what is common to all."""
        return {"delete_grace_s": self.grace_s or 0, "poll_max_messages": self.at_once}

    @property
    def grace_minutes(self) -> float:
        return (self.grace_s or 0) / 60


class Rig:
    """Servers and accounts.

    Args:
        directory: for passwords and spools.
        redis_url: an empty Redis.
        dovecot, seaweed, storage_url: the other servers, running, and the prefix for objects.
        users: of Dovecot, an empty maildrop each.
    """

    def __init__(
        self,
        directory: Path,
        *,
        redis_url: str,
        dovecot: DovecotServer,
        seaweed: SeaweedServer,
        storage_url: str,
        users: list[str],
    ) -> None:
        self.directory = directory
        self.dovecot = dovecot
        self.seaweed = seaweed
        self.redis = redis.Redis.from_url(redis_url)
        self.environment = {
            **seaweed.environment(),
            "MAILSLUICE_REDIS_URL": redis_url,
            "MAILSLUICE_STORAGE_URL": storage_url,
            "MAILSLUICE_DATA_DIR": str(directory / "var"),
            "MAILSLUICE_ALLOWED_NETWORKS": '["127.0.0.0/8", "::1/128"]',
            "MAILSLUICE_LEASE_TTL_S": str(LEASE_TTL_S),
            # A message that we kill its poller with, time and again, must not be found guilty of that.
            "MAILSLUICE_QUARANTINE_ATTEMPTS": "100",
            "MAILSLUICE_SPOOL_MEMORY_BYTES": str(128 << 10),
            "MAILSLUICE_LOG_LEVEL": "error",
        }
        self.maildrops = [
            Maildrop(user, grace_s=(None, 1, 90)[index % 3], at_once=(1000, 3, 8)[index // 3 % 3])
            for index, user in enumerate(users)
        ]
        self._keys = Keys("mailsluice", 1)
        self._services = build(
            Settings(redis_url=redis_url, storage_url=storage_url, data_dir=directory / "var", log_level="error")
        )
        self._services.registry.put(self._account(user, index) for index, user in enumerate(users))

    def close(self) -> None:
        self._services.close()
        self.redis.close()

    def is_free(self, maildrop: Maildrop) -> bool:
        """Whether nobody holds its lease, alive or dead."""
        return not self.redis.exists(self._keys.of_account("lease", maildrop.id))

    def wait_for_lease(self, maildrop: Maildrop) -> None:
        wait_until(
            lambda: self.is_free(maildrop), alive=lambda: True, timeout_s=LEASE_TTL_S * 4, what=f"{maildrop.id}'s lease"
        )

    def let_time_pass(self, maildrop: Maildrop) -> int:
        """A minute, for its account. The time in ms before which commits were made older by that."""
        keys = (self._keys.of_account(kind, maildrop.id) for kind in ("ledger", "state"))
        return int(let_pass(self.redis, *keys, 1)[1] * 1000)

    def unrecorded(self, maildrop: Maildrop) -> list[bytes]:
        """UIDLs that are listed and have no record."""
        image = self._services.ledger.load(maildrop.id)
        return [uidl for uidl in self.dovecot.uidls(maildrop.id) if not image.of_uidl(uidl_digest(uidl))]

    def object(self, url: str) -> bytes | None:
        """An object's bytes, None where there is none; read with a client that is not the product's."""
        bucket, _, key = url.removeprefix("s3://").partition("/")
        client = self.seaweed.client()
        try:
            return client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except client.exceptions.NoSuchKey:
            return None

    def _account(self, user: str, index: int) -> Account:
        password = self.directory / f"{user}.password"
        password.write_text(self.dovecot.users[user])
        plain = index % 4 == 3
        return Account(
            id=user,
            host="localhost",
            port=self.dovecot.port if plain else self.dovecot.tls_port,
            username=user,
            password=f"file:{password}",
            tls=Tls.NONE if plain else Tls.IMPLICIT,
            ca_file=str(self.dovecot.ca_file),
            keep_s=None if self.maildrops[index].grace_s is None else 0,
        )
