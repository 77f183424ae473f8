"""Puts into S3 (SeaweedFS): the store's own beside a bare boto3 `put_object` with the same guarantees asked for.

Both send the SHA-256 of the body and replace nothing; the digest is known beforehand, as it is in the pipeline, which
hashes a message while it arrives. By plain HTTP and by TLS, to the same server and, by TLS, with the same CA bundle.
CPU is the client's alone.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import trustme
from botocore.config import Config
from report import interleaved, print_table
from servers.seaweed import SeaweedServer

from ingest.adapters.s3_client import s3_client
from ingest.adapters.s3_store import S3Store

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

BUCKET = "mail"
ROUNDS = 5
SIZES = {"4 KB": (4_000, 200), "1 MB": (1_000_000, 60), "10 MB": (10_000_000, 8)}
# What it does on its own beyond a SHA-256 that is given would be its own cost: trailing CRCs, retries.
PLAIN = Config(retries={"total_max_attempts": 1}, request_checksum_calculation="when_required")


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        certificate = certified(Path(name))
        with SeaweedServer(Path(name), bucket=BUCKET, certificate=certificate) as seaweed:
            os.environ.update(seaweed.environment())
            for by, endpoint in (("HTTP", seaweed.endpoint), ("TLS", seaweed.tls_endpoint)):
                os.environ["AWS_ENDPOINT_URL_S3"] = endpoint
                store, bare = S3Store(s3_client(), BUCKET, by), boto3.client("s3", config=PLAIN)
                rows += [(f"{title}, {by}", *row(store, bare, f"bare-{by}", title)) for title in SIZES]
                store.close()
                bare.close()
    print_table(
        "Puts", ("body", "ours, per CPU s", "ours, per s", "boto3, per CPU s", "boto3, per s", "overhead"), rows
    )


def certified(directory: Path) -> tuple[Path, Path]:
    """A chain and its key for 127.0.0.1, whose CA the AWS chain is told of."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    bundle, chain, key = (directory / name for name in ("ca.pem", "chain.pem", "key.pem"))
    authority.cert_pem.write_to_path(bundle)
    issued.private_key_pem.write_to_path(key)
    for pem in issued.cert_chain_pems:
        pem.write_to_path(chain, append=True)
    os.environ["AWS_CA_BUNDLE"] = str(bundle)
    return chain, key


def row(store: S3Store, bare: S3Client, prefix: str, title: str) -> tuple[str, ...]:
    size, count = SIZES[title]
    content = os.urandom(size)
    digest = hashlib.sha256(content).digest()
    checksum = base64.b64encode(digest).decode()

    def ours(number: int) -> None:
        for n in range(count):
            store.put(
                f"raw/{size}/{number}/{n}",
                io.BytesIO(content),
                size=size,
                sha256=digest,
                content_type="message/rfc822",
                metadata={"account": "billing"},
            )

    def by_hand(number: int) -> None:
        for n in range(count):
            bare.put_object(
                Bucket=BUCKET,
                Key=f"{prefix}/{size}/{number}/{n}",
                Body=io.BytesIO(content),
                ContentType="message/rfc822",
                ChecksumSHA256=checksum,
                IfNoneMatch="*",
                Metadata={"account": "billing"},
            )

    costs = interleaved({"ours": ours, "boto3": by_hand}, ROUNDS)
    mine, theirs = costs["ours"], costs["boto3"]
    return (
        f"{count / mine.cpu_s:,.0f}",
        f"{count / mine.wall_s:,.0f}",
        f"{count / theirs.cpu_s:,.0f}",
        f"{count / theirs.wall_s:,.0f}",
        f"{100 * (mine.cpu_s / theirs.cpu_s - 1):+.0f} %",
    )


if __name__ == "__main__":
    main()
