"""moto's server: SQS and SNS on loopback. It keeps nothing over a restart, so tests cut the line to it instead."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3.session

from servers.process import Server, free_ports

ACCOUNT = "123456789012"
REGION = "eu-central-1"
# Else each answer waits 40 ms for an acknowledgement of its header.
_PROGRAM = """\
from moto.server import main
from werkzeug.serving import WSGIRequestHandler
WSGIRequestHandler.disable_nagle_algorithm = True
main()
"""


class MotoServer(Server):
    """A clean one at each start.

    Args:
        directory: its log.
    """

    name = "moto_server"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, start_timeout_s=60)
        (self.port,) = free_ports(1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        return [sys.executable, "-c", _PROGRAM, "-H", "127.0.0.1", "-p", str(self.port)]

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/moto-api/data.json", timeout=2) as answer:  # noqa: S310 - ours
                return bool(answer.status == 200)
        except OSError:
            return False

    def client(self, service: str) -> Any:  # noqa: ANN401 - one for each service
        """One of our own, past any proxy."""
        return boto3.session.Session(aws_access_key_id="AK", aws_secret_access_key="SK", region_name=REGION).client(
            service, endpoint_url=self.url
        )  # type: ignore[call-overload]  # any service
