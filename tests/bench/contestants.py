"""The contestants: Mailsluice as an installation wires it, and the worker that teams write by hand.

Rules of this file:
- The hand-written worker does the same work with the usual means: poplib, email, redis, boto3 with its defaults. It
  keeps seen UIDLs in a set, stores raw mail and attachments, adds one entry to a stream, and reports to nobody.
- It is not made slower than it need be: one Redis client, one S3 client and one TLS context for the whole process.
"""

from __future__ import annotations

import contextlib
import email
import email.policy
import hashlib
import json
import os
import poplib
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from email.policy import Policy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from mailserver import PASSWORD, USERNAME, MailServer

from ingest.models import Account, PollReport, Tls
from ingest.settings import Settings
from ingest.wiring import Services, build

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

Store = Callable[[str, bytes], str]
FIELDS = ("From", "To", "Cc", "Subject", "Date", "Message-ID", "References")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is that another process started: by its own name over TLS, else by its address."""

    host: str
    port: int
    ca_file: Path | None = None


@contextlib.contextmanager
def mailsluice(directory: Path, redis_url: str, storage_url: str, **settings: object) -> Iterator[Services]:
    """The services of one process over these, with a password file for `account_of`."""
    (directory / "password").write_text(PASSWORD)
    services = build(
        Settings(
            redis_url=redis_url,
            storage_url=storage_url,
            data_dir=directory / "var",
            allowed_networks=["127.0.0.0/8", "::1/128"],
            log_level="error",
            **settings,  # type: ignore[arg-type]  # whatever Settings takes
        )
    )
    try:
        yield services
    finally:
        services.close()


def account_of(
    server: Place | MailServer,
    id_: str,
    directory: Path,
    *,
    user: str = USERNAME,
    port: int | None = None,
    **keys: object,
) -> Account:
    """An account for a server's user."""
    encrypted = server.host == "localhost"
    return Account(
        id_,
        server.host,
        port or server.port,
        user,
        f"file:{directory / 'password'}",
        tls=Tls.IMPLICIT if encrypted else Tls.NONE,
        ca_file=str(server.ca_file) if encrypted else None,
        **keys,  # type: ignore[arg-type]  # whatever Account takes
    )


def poll(services: Services, account: Account, *, messages: int = 0) -> PollReport:
    """One poll that must come to its end with so many messages: a bench that measures failures says nothing."""
    report = services.poller.poll(account)
    if report.failure is not None or not report.messages == report.events == messages:
        raise RuntimeError(f"not the poll that was to be measured: {report}")
    return report


def log_in(
    server: Place | MailServer, context: ssl.SSLContext | None = None, *, user: str = USERNAME, port: int | None = None
) -> poplib.POP3:
    """A poplib session, as everybody begins."""
    if context is not None:
        session: poplib.POP3 = poplib.POP3_SSL(server.host, port or server.port, timeout=30, context=context)
    else:
        session = poplib.POP3(server.host, port or server.port, timeout=30)
    session.user(user)
    session.pass_(PASSWORD)
    return session


def new_by_hand(session: poplib.POP3, state: redis.Redis, account_id: str) -> list[tuple[int, str]]:
    """Number and UIDL of what is not in the set of seen ones."""
    lines = session.uidl()[1]
    seen = state.smembers(f"seen:{account_id}")
    listed = [line.split(b" ", 1) for line in lines]
    return [(int(number), uidl.decode()) for number, uidl in listed if uidl not in seen]


def poll_by_hand(
    server: Place | MailServer,
    state: redis.Redis,
    store: Store,
    policy: Policy[Any],
    account_id: str,
    *,
    user: str = USERNAME,
) -> int:
    """The hand-written worker's loop; how many messages it took."""
    session = log_in(server, user=user)
    new = new_by_hand(session, state, account_id)
    for number, uidl in new:
        raw = b"\r\n".join(session.retr(number)[1]) + b"\r\n"
        event = told_by_hand(email.message_from_bytes(raw, policy=policy), store)
        event |= {"account": account_id, "uidl": uidl, "size": len(raw), "raw": store("raw", raw)}
        state.xadd(f"stream:{account_id}", {"event": json.dumps(event)})
        state.sadd(f"seen:{account_id}", uidl)
    session.quit()
    return len(new)


def told_by_hand(message: Message, store: Store) -> dict[str, Any]:
    """The event's fields; attachments are stored on the way."""
    text, html, attachments = None, None, []
    for part in message.walk():
        if part.is_multipart():
            continue
        payload = part.get_payload(decode=True)
        if not isinstance(payload, bytes):
            continue
        if part.get_filename():
            attachments.append(
                {
                    "filename": part.get_filename(),
                    "content_type": part.get_content_type(),
                    "size": len(payload),
                    "url": store("attachments", payload),
                }
            )
        elif part.get_content_type() == "text/html":
            html = payload.decode(part.get_content_charset() or "utf-8", "replace")
        else:
            text = payload.decode(part.get_content_charset() or "utf-8", "replace")
    headers = [(name, str(value)) for name, value in message.items()]
    fields = {name.lower(): str(message[name]) for name in FIELDS if message[name]}
    return {**fields, "headers": headers, "text": text, "html": html, "attachments": attachments}


def to_directory(root: Path) -> Store:
    """Content-addressed files, flushed to the disk before anything is told of them."""

    def store(kind: str, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        path = root / kind / digest[:2] / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
        return path.as_uri()

    return store


def to_s3(client: S3Client, bucket: str, prefix: str) -> Store:
    """Content-addressed objects, with boto3's defaults."""

    def store(kind: str, content: bytes) -> str:
        key = f"{prefix}/{kind}/{hashlib.sha256(content).hexdigest()}"
        client.put_object(Bucket=bucket, Key=key, Body=content)
        return f"s3://{bucket}/{key}"

    return store
