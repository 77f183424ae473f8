"""A DNS server on loopback that says what a test wants, over UDP only.

Rules of this room:
- Names are absolute without their final dot. What is not in the zone does not exist (NXDOMAIN); a name that is there
  without the type asked for gets an empty answer.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = Mapping[tuple[str, str], Sequence[str]]  # name and type, to records as a zone file has them
Twist = Callable[[bytes], bytes | None]  # the reply that would be sent, to that which is; None for silence


class DnsServer:
    """A context manager; `port` is a free one, `asked` what was asked for.

    Args:
        zone: what it knows.
        rcode: answered to everything where not NOERROR.
        twist: spoils replies.
    """

    def __init__(self, zone: Zone, *, rcode: str = "NOERROR", twist: Twist = lambda reply: reply) -> None:
        self._zone = zone
        self._rcode = dns.rcode.from_text(rcode)
        self._twist = twist
        self.asked: list[tuple[str, str]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            wire, client = self._socket.recvfrom(4096)
            if not wire:
                return
            reply = self._twist(self._answer(dns.message.from_wire(wire)).to_wire())
            if reply is not None:
                self._socket.sendto(reply, client)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        reply.set_rcode(self._rcode)
        if self._rcode == dns.rcode.NOERROR:
            if not any(known == name for known, _ in self._zone):
                reply.set_rcode(dns.rcode.NXDOMAIN)
            elif records := self._zone.get((name, kind)):
                reply.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", kind, list(records)))
        return reply
