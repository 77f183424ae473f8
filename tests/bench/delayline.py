"""A line with a length: what goes in at one end comes out at the other so much later, however much it is.

Rules of this file:
- A connection is made as far away as its octets travel: its greeting comes after two round trips, as over TCP.
- For each connection one line of JSON is written at its end: octets each way, and flights (the times that the client
  spoke after it had been answered; the greeting is no flight).
"""

from __future__ import annotations

import json
import queue
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ownprocess import OwnProcess
from servers.process import wait_until

_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Travelled:
    """What one connection carried, as the client sees it."""

    sent: int
    received: int
    flights: int


class DelayLine(OwnProcess):
    """Forwards `port` to a server's port.

    Args:
        directory: its log and what its connections carried.
        to_port: on 127.0.0.1.
        one_way_s: how long octets travel, in each direction.
    """

    name = "delayline"

    def __init__(self, directory: Path, to_port: int, one_way_s: float = 0.0) -> None:
        super().__init__(directory)
        self._to_port = to_port
        self._one_way_s = one_way_s
        self._ledger = directory / "travelled.jsonl"
        self._ledger.touch()

    def command(self) -> Sequence[str]:
        return [sys.executable, __file__, str(self.port), str(self._to_port), str(self._one_way_s), str(self._ledger)]

    def travelled(self) -> list[Travelled]:
        """Of all connections that carried anything, in order; waits until one did and all have ended."""
        lines: list[str] = []

        def all_ended() -> bool:
            lines[:] = self._ledger.read_text().splitlines()
            return bool(lines) and lines[-1] == "{}" and any(line != "{}" for line in lines)

        wait_until(all_ended, alive=lambda: self.running, timeout_s=10, what="the delay line")
        return [Travelled(**json.loads(line)) for line in lines if line != "{}"]


class _Line:
    """One connection's two directions."""

    def __init__(self, client: socket.socket, to_port: int, one_way_s: float) -> None:
        self._client = client
        self._one_way_s = one_way_s
        self._sent = self._received = self._flights = 0
        self._server_spoke_last = True
        accepted = time.monotonic()
        _sleep_until(accepted + 3 * one_way_s)  # SYN, SYN-ACK, ACK
        self._server = socket.create_connection(("127.0.0.1", to_port))
        for end in (client, self._server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> Travelled:
        ways = [
            threading.Thread(target=self._carry, args=ends)
            for ends in ((self._client, self._server), (self._server, self._client))
        ]
        for way in ways:
            way.start()
        for way in ways:
            way.join()
        self._client.close()
        self._server.close()
        return Travelled(self._sent, self._received, self._flights)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        under_way: queue.Queue[tuple[float, bytes]] = queue.Queue()
        arriving = threading.Thread(target=self._deliver, args=(target, under_way))
        arriving.start()
        while True:
            try:
                data = source.recv(_CHUNK_BYTES)
            except OSError:
                data = b""
            if source is self._client:
                self._count_sent(data)
            under_way.put((time.monotonic() + self._one_way_s, data))
            if not data:
                break
        arriving.join()

    def _count_sent(self, data: bytes) -> None:
        self._sent += len(data)
        if data and self._server_spoke_last:
            self._flights += 1
            self._server_spoke_last = False

    def _deliver(self, target: socket.socket, under_way: queue.Queue[tuple[float, bytes]]) -> None:
        while True:
            at, data = under_way.get()
            _sleep_until(at)
            try:
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return
                if target is self._client:
                    self._received += len(data)
                    self._server_spoke_last = True
                target.sendall(data)
            except OSError:  # that end has left
                if not data:
                    return


def _sleep_until(at: float) -> None:
    left = at - time.monotonic()
    if left > 0:
        time.sleep(left)


def main() -> None:
    port, to_port, one_way_s, ledger = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    writing = threading.Lock()
    running = 0

    def serve(client: socket.socket) -> None:
        nonlocal running
        travelled = _Line(client, to_port, one_way_s).run()
        with writing, ledger.open("a") as out:
            running -= 1
            if travelled.sent:
                out.write(json.dumps({name: getattr(travelled, name) for name in Travelled.__slots__}) + "\n")
            if not running:
                out.write("{}\n")

    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            client, _ = listener.accept()
            with writing:
                running += 1
            threading.Thread(target=serve, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main()
