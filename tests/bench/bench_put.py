"""Puts into S3 (SeaweedFS): the store's own beside a bare boto3 `put_object` with the same guarantees asked for.

Both send the SHA-256 of the body and replace nothing; the digest is known beforehand, as it is in the pipeline, which
hashes a message while it arrives. CPU is the client's alone.
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
from botocore.config import Config
from report import interleaved, print_table
from servers.seaweed import SeaweedServer

from ingest.adapters.s3_client import s3_client
from ingest.adapters.s3_store import S3Store

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

ROUNDS = 5
SIZES = {"4 KB": (4_000, 200), "1 MB": (1_000_000, 60), "10 MB": (10_000_000, 8)}
# What it does on its own beyond a SHA-256 that is given would be its own cost: trailing CRCs, retries.
PLAIN = Config(retries={"total_max_attempts": 1}, request_checksum_calculation="when_required")


def main() -> None:
    with tempfile.TemporaryDirectory() as name, SeaweedServer(Path(name)) as seaweed:
        os.environ.update(seaweed.environment())
        store, bare = S3Store(s3_client(), seaweed.bucket, "ours"), boto3.client("s3", config=PLAIN)
        rows = [row(store, bare, seaweed.bucket, title) for title in SIZES]
        store.close()
        bare.close()
    print_table(
        "Puts", ("body", "ours, per CPU s", "ours, per s", "boto3, per CPU s", "boto3, per s", "overhead"), rows
    )


def row(store: S3Store, bare: S3Client, bucket: str, title: str) -> tuple[str, ...]:
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
                Bucket=bucket,
                Key=f"theirs/{size}/{number}/{n}",
                Body=io.BytesIO(content),
                ContentType="message/rfc822",
                ChecksumSHA256=checksum,
                IfNoneMatch="*",
                Metadata={"account": "billing"},
            )

    costs = interleaved({"ours": ours, "boto3": by_hand}, ROUNDS)
    mine, theirs = costs["ours"], costs["boto3"]
    return (
        title,
        f"{count / mine.cpu_s:,.0f}",
        f"{count / mine.wall_s:,.0f}",
        f"{count / theirs.cpu_s:,.0f}",
        f"{count / theirs.wall_s:,.0f}",
        f"{100 * (mine.cpu_s / theirs.cpu_s - 1):+.0f} %",
    )


if __name__ == "__main__":
    main()
