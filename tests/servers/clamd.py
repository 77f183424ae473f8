"""A real clamd in a directory of its own, with one signature: EICAR's test string. No freshclam, no network.

Rules of this room:
- The test string never stands whole in a file: scanners would delete the checkout. The signature file is written at
  start, and is hexadecimal.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from servers.process import Server, ServerUnavailable, free_ports

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
SIGNATURE = "Mailsluice.Eicar"
STREAM_MAX_BYTES = 40 << 20

_CONFIG = """\
Foreground yes
DatabaseDirectory {d}/signatures
LocalSocket {d}/clamd.ctl
TCPSocket {port}
TCPAddr 127.0.0.1
TemporaryDirectory {d}
User {user}
StreamMaxLength {stream_max_bytes}
MaxFileSize {max_file_bytes}
MaxScanSize {max_file_bytes}
SelfCheck 3600
ConcurrentDatabaseReload no
{settings}
"""


class ClamdServer(Server):
    """INSTREAM by the socket at `unix_url` and by TCP at `tcp_url`.

    Args:
        directory: of its own, its path short (the Unix socket lies in it).
        stream_max_bytes: StreamMaxLength, in octets.
        max_file_bytes: MaxFileSize and MaxScanSize, in octets.
        settings: further lines of clamd.conf.
    """

    name = "clamd"

    def __init__(
        self,
        directory: Path,
        *,
        stream_max_bytes: int = STREAM_MAX_BYTES,
        max_file_bytes: int = STREAM_MAX_BYTES,
        settings: str = "",
    ) -> None:
        self._clamd = _find_clamd()
        super().__init__(directory.resolve(), start_timeout_s=60)
        [self.port] = free_ports(1)
        self.socket = self.directory / "clamd.ctl"
        self.unix_url = f"unix://{self.socket}"
        self.tcp_url = f"tcp://127.0.0.1:{self.port}"
        signatures = self.directory / "signatures"
        signatures.mkdir(exist_ok=True)
        (signatures / "own.ndb").write_text(f"{SIGNATURE}:0:*:{EICAR.hex()}\n")
        self._config = self.directory / "clamd.conf"
        self._config.write_text(
            _CONFIG.format(
                d=self.directory,
                port=self.port,
                user=pwd.getpwuid(os.geteuid()).pw_name,
                stream_max_bytes=stream_max_bytes,
                max_file_bytes=max_file_bytes,
                settings=settings,
            )
        )

    def command(self) -> Sequence[str]:
        self.socket.unlink(missing_ok=True)  # left behind by one that was killed
        return [self._clamd, f"--config-file={self._config}"]

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2.0) as connection:
                connection.sendall(b"zPING\0")
                return connection.recv(64) == b"PONG\0" and self.socket.exists()
        except OSError:
            return False


def _find_clamd() -> str:
    found = shutil.which("clamd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ServerUnavailable("clamd is missing: apt install clamav-daemon")
    return found
