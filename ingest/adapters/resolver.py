"""Host names to addresses, in time.

Rules of this room:
- The system's resolver has no deadline: it runs in a thread, which is left behind when it takes too long.
- One lookup of a name at a time; whoever wants the same name waits for the same answer, which is then good for a while.
- Nothing is judged here: an address that comes out is checked by whoever connects to it.
"""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from ingest.errors import AccountMisconfigured, HostUnreachable

# As long as other resolving clients do (Java's networkaddress.cache.ttl): what the system's resolver says has no TTL.
_GOOD_FOR_S = 30.0
_NAMES = 1024


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a host, as `socket.connect` takes it: a link-local one keeps its interface."""

    address: str
    family: int
    sockaddr: tuple[Any, ...]


_Answer = tuple[Endpoint, ...]
_Question = tuple[str, int]


class Resolver:
    """Asks the system. Safe to share between threads.

    Args:
        timeout_s: for one name.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._answers: dict[_Question, tuple[_Answer, float]] = {}
        self._asked: dict[_Question, Future[_Answer]] = {}
        self._lock = threading.Lock()

    def resolve(self, host: str, port: int) -> _Answer:
        """All addresses of a host; HostUnreachable, AccountMisconfigured where it can't be a host."""
        if (endpoint := _literal(host, port)) is not None:
            return (endpoint,)
        if "\0" in host:
            raise AccountMisconfigured(f"host {host!r} is not a host name")  # the resolver would read half of it
        try:
            return self._look_up((host, port))
        except TimeoutError:
            raise HostUnreachable(f"host {host} does not resolve in {self._timeout_s:.0f} s") from None
        except socket.gaierror as error:
            raise HostUnreachable(f"host {host} does not resolve", todo=error.strerror or "") from error
        except (UnicodeError, ValueError) as error:
            raise AccountMisconfigured(f"host {host!r} is not a host name") from error

    def forget(self, host: str, port: int) -> None:
        """Ask again next time: no address of it took a connection."""
        with self._lock:
            self._answers.pop((host, port), None)

    def _look_up(self, question: _Question) -> _Answer:
        with self._lock:
            answer, until = self._answers.get(question, ((), 0.0))
            if time.monotonic() < until:
                return answer
            asked = self._asked.get(question)
            if asked is None:
                asked = self._asked[question] = Future()
                threading.Thread(target=self._ask, args=(question, asked), name="resolver", daemon=True).start()
        try:
            return asked.result(self._timeout_s)
        except TimeoutError:
            self._done(question, asked)  # the next one does not wait for this thread
            raise

    def _ask(self, question: _Question, asked: Future[_Answer]) -> None:
        try:
            found = socket.getaddrinfo(*question, type=socket.SOCK_STREAM)
        except Exception as error:  # noqa: BLE001  # raised by whoever waits
            self._done(question, asked)
            asked.set_exception(error)
            return
        answer = tuple(dict.fromkeys(Endpoint(str(sockaddr[0]), family, sockaddr) for family, *_, sockaddr in found))
        self._done(question, asked, answer)
        asked.set_result(answer)

    def _done(self, question: _Question, asked: Future[_Answer], answer: _Answer = ()) -> None:
        with self._lock:
            if self._asked.get(question) is asked:
                del self._asked[question]
            if answer:
                self._answers.pop(question, None)
                self._answers[question] = answer, time.monotonic() + _GOOD_FOR_S
                while len(self._answers) > _NAMES:
                    del self._answers[next(iter(self._answers))]


def _literal(host: str, port: int) -> Endpoint | None:
    """An address that is written as one; other spellings (0x7f.1, 2130706433, fe80::1%eth0) are the system's."""
    try:
        return Endpoint(str(IPv4Address(host)), socket.AF_INET, (host, port))
    except ValueError:
        pass
    try:
        return None if "%" in host else Endpoint(str(IPv6Address(host)), socket.AF_INET6, (host, port))
    except ValueError:
        return None
