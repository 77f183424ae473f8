"""A helper of the benches in a process of its own, with the module search path of this one."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from servers.process import Server, free_ports


def search_path() -> str:
    """PYTHONPATH and the current directory, made absolute: servers run in directories of their own."""
    return os.pathsep.join(str(Path(part).absolute()) for part in ("", *os.environ.get("PYTHONPATH", "").split(":")))


class OwnProcess(Server):
    """Answers once something listens on its `port`, a free one on 127.0.0.1."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, start_timeout_s=60)
        (self.port,) = free_ports(1)
        self.environment_variables = {"PYTHONPATH": search_path()}

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
