"""A real RabbitMQ on loopback, its node, data and epmd its own. Loses nothing that it confirmed when it is killed.

Rules of this file:
- epmd is started here, in the foreground: else RabbitMQ starts one that stays behind.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import trustme

from servers.process import Server, ServerUnavailable, executable, free_ports

MAX_MESSAGE_BYTES = 2 << 20
_SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
_CONFIG = """\
listeners.tcp.default = 127.0.0.1:{port}
listeners.ssl.default = 127.0.0.1:{tls_port}
ssl_options.certfile = {directory}/cert.pem
ssl_options.keyfile = {directory}/key.pem
ssl_options.verify = verify_none
max_message_size = {max_message_bytes}
log.console = true
log.console.level = warning
log.file = false
"""


class _Epmd(Server):
    name = "epmd"

    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(directory)
        self.port = port

    def command(self) -> Sequence[str]:
        return [executable("epmd", how="apt install rabbitmq-server"), "-port", str(self.port), "-address", "127.0.0.1"]

    def answers(self) -> bool:
        return _listens(self.port)


class RabbitServer(Server):
    """User guest, vhost /; at `url`, and over TLS at `tls_url` for whoever trusts `ca_file`.

    Args:
        directory: of its own.
    """

    name = "rabbitmq-server"

    def __init__(self, directory: Path) -> None:
        if not os.access(_SERVER, os.X_OK):
            raise ServerUnavailable("rabbitmq-server is missing: apt install rabbitmq-server")
        super().__init__(directory.resolve(), start_timeout_s=90)
        self.port, self.tls_port, dist_port, epmd_port = free_ports(4)
        self._epmd = _Epmd(self.directory / "epmd", epmd_port)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"
        self.tls_url = f"amqps://guest:guest@localhost:{self.tls_port}/%2F"
        self.ca_file = self.directory / "ca.pem"
        self._write_certificate()
        config = self.directory / "rabbitmq.conf"
        config.write_text(
            _CONFIG.format(
                port=self.port,
                tls_port=self.tls_port,
                directory=self.directory,
                max_message_bytes=MAX_MESSAGE_BYTES,
            )
        )
        (self.directory / "plugins").write_text("[].\n")
        self.environment_variables = {
            "HOME": str(self.directory),
            "RABBITMQ_NODENAME": f"mailsluice{self.port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "data"),
            "RABBITMQ_LOG_BASE": str(self.directory / "logs"),
            "RABBITMQ_PID_FILE": str(self.directory / "pid"),
            "RABBITMQ_DIST_PORT": str(dist_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def command(self) -> Sequence[str]:
        return [_SERVER]

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(b"AMQP\0\0\x09\x01")
                return connection.recv(1) == b"\x01"
        except OSError:
            return False

    def start(self) -> Self:
        self._epmd.start()
        return super().start()

    def stop(self, timeout_s: float = 10.0) -> None:
        super().stop(timeout_s)
        self._epmd.stop()

    def _write_certificate(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        issued = authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(str(self.directory / "key.pem"))
        issued.cert_chain_pems[0].write_to_path(str(self.directory / "cert.pem"))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
