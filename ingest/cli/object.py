"""`mailsluice object`: what lies behind the URL in an event.

Rules of this file:
- Objects of the configured store only, and only those that events name: raw messages and attachments.
- Nothing is handed out whose SHA-256 is not that of its key: it is read whole into a spool first, in bounded memory.
- A file appears whole or not at all, for its owner alone, and replaces none unless told to.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import click

from ingest.cli.output import as_json, dump, pairs
from ingest.cli.output import size as in_units
from ingest.cli.services import pass_services
from ingest.errors import StoreRefused
from ingest.ports import Spool
from ingest.settings import masked
from ingest.wiring import Services

_KEY = re.compile(r"(raw|attachments)/([^/]+)/([0-9a-f]{2})/(\3[0-9a-f]{62})(\.eml)?")
_SECONDS = click.IntRange(1, 604_800)  # SigV4's own bounds
_CHUNK_BYTES = 1 << 18
_HERE = "-"


@dataclass(frozen=True, slots=True)
class _Object:
    """An object by its URL and what its key says of it."""

    url: str
    key: str
    kind: str
    account: str
    sha256: str

    @property
    def filename(self) -> str:
        """A name that says nothing of the content and harms no disk."""
        return f"{self.sha256[:16]}.{'eml' if self.kind == 'raw message' else 'bin'}"


@click.command("object", epilog="Example: mailsluice object s3://mail/raw/billing/3f/3f02…e1.eml --output message.eml")
@click.argument("url")
@click.option("-o", "--output", metavar="FILE", help="Into this file instead of stdout; - is stdout, be it a terminal.")
@click.option("--force", is_flag=True, help="Let --output replace a file.")
@click.option("--link", "link_s", type=_SECONDS, metavar="SECONDS", help="Print a link to download it, good that long.")
@click.option("--info", is_flag=True, help="Print its size and where it came from.")
@as_json
@pass_services
def stored_object(
    services: Services,
    *,
    url: str,
    output: str | None,
    force: bool,
    link_s: int | None,
    info: bool,
    as_json: bool,
) -> None:
    """Read a stored message or attachment by the URL that its event carries.

    Its SHA-256 is checked before anything is written; exit code 1 if it is another. A link lets somebody without
    credentials of the store download this one object (S3 only).
    """
    found = _find(services, url)
    if (output is not None) + (link_s is not None) + (info or as_json) > 1:
        raise click.UsageError("--output, --link and --info exclude each other")
    if force and output in (None, _HERE):
        raise click.UsageError("--force goes with --output FILE")
    if info or as_json:
        _tell(_look(services, found), as_json=as_json)
    elif link_s is not None:
        _look(services, found)  # a link to nothing would help nobody
        link = services.store.link(found.key, link_s, filename=found.filename)
        if link is None:
            raise click.UsageError("--link: a directory has no links; S3 has")
        click.echo(link)
    elif output in (None, _HERE):
        if output is None and sys.stdout.isatty():
            raise click.UsageError("mail is not for a terminal: use --output FILE or a pipe")
        with _verified(services, found) as content:
            _copy(content, sys.stdout.buffer)
    else:
        _save(services, found, Path(str(output)), force=force)


def _find(services: Services, url: str) -> _Object:
    """What the URL stands for; wrong usage if that is not an object of this store."""
    key = services.store.key_of(url)
    match = _KEY.fullmatch(key or "")
    if key is None or match is None or (match[1] == "raw") is not (match[5] == ".eml"):
        where = masked(services.settings.require_storage())
        raise click.BadParameter(f"{masked(url)[:200]!r} is no message or attachment within {where}", param_hint="URL")
    return _Object(url, key, "raw message" if match[1] == "raw" else "attachment", match[2], match[4])


def _look(services: Services, found: _Object) -> dict[str, Any]:
    """What the store knows of it, by name; None for what it does not say."""
    info = services.steps(services.store.head, found.key)
    if info is None:
        raise _missing(found)
    return {
        "url": found.url,
        "kind": found.kind,
        "account": found.account,
        "size": info.size,
        "sha256": found.sha256,
        "event_id": info.metadata.get("event-id"),
        "uidl": info.metadata.get("uidl"),
        "first_seen": info.metadata.get("first-seen"),
    }


def _missing(found: _Object) -> StoreRefused:
    return StoreRefused(f"{found.url}: there is no such object", todo="was it deleted, or did it expire?")


def _tell(known: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        dump(known)
        return
    shown = {name.replace("_", " "): str(value) for name, value in known.items() if value is not None}
    pairs({**shown, "size": f"{known['size']} octets ({in_units(known['size'])})"})


@contextmanager
def _verified(services: Services, found: _Object) -> Iterator[BinaryIO]:
    """Its octets, all there and checked."""
    spool: Spool = services.raw_mail.read(found.key, lambda: None)
    try:
        if spool.sha256.hex() != found.sha256:
            raise StoreRefused(
                f"{found.url}: its content is another, of SHA-256 {spool.sha256.hex()}", todo="restore the object"
            )
        with spool.open() as content:
            yield content
    finally:
        spool.close()


def _save(services: Services, found: _Object, path: Path, *, force: bool) -> None:
    if not path.parent.is_dir():
        raise click.UsageError(f"--output: there is no directory {path.parent}")
    if path.is_dir() or (os.path.lexists(path) and not force):
        raise click.UsageError(f"--output: {path} is there already" + ("" if path.is_dir() else " (--force)"))
    with _verified(services, found) as content:
        try:
            _write(content, path, force=force)
        except FileExistsError:
            raise click.UsageError(f"--output: {path} is there already (--force)") from None
        except OSError as error:
            raise StoreRefused(f"{path}: {error.strerror or error}", todo="look at that disk") from error


def _write(content: BinaryIO, path: Path, *, force: bool) -> None:
    """Written beside its place under another name, flushed to the disk, then named."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".mailsluice-")
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor has no Path
            _copy(content, file)
            file.flush()
            os.fsync(descriptor)
        if force:
            os.replace(name, path)  # noqa: PTH105 - a name, not a Path
        else:
            os.link(name, path)  # unlike a rename, it replaces nothing
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)  # noqa: PTH108 - likewise


def _copy(content: BinaryIO, target: BinaryIO) -> None:
    while chunk := content.read(_CHUNK_BYTES):
        target.write(chunk)
    target.flush()
