"""The account registry in Redis: one hash, account id to its JSON. Passwords in it are references or sealed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ingest.accounts import account_from_json, account_to_json
from ingest.adapters.redis_client import Client, Keys, translated
from ingest.models import Account


class RedisAccounts:
    """Implements `ports.AccountRegistry`."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._key = keys.accounts

    def get(self, account_ids: Sequence[str]) -> dict[str, Account]:
        if not account_ids:
            return {}
        with translated(self._client):
            values: list[Any] = self._client.hmget(self._key, list(account_ids))
        return {id_: account_from_json(value) for id_, value in zip(account_ids, values, strict=True) if value}

    def all(self) -> list[Account]:
        with translated(self._client):
            values: list[Any] = self._client.hvals(self._key)
        return sorted((account_from_json(value) for value in values), key=lambda account: account.id)

    def put(self, accounts: Iterable[Account]) -> None:
        fields: dict[Any, Any] = {account.id: account_to_json(account) for account in accounts}
        if fields:
            with translated(self._client):
                self._client.hset(self._key, mapping=fields)

    def remove(self, account_ids: Iterable[str]) -> None:
        ids = list(account_ids)
        if ids:
            with translated(self._client):
                self._client.hdel(self._key, *ids)
