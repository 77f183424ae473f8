"""A property made at its first use, by one thread (functools.cached_property lost its lock in Python 3.12)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Making(Protocol):
    """What such properties may belong to."""

    making: threading.RLock


S = TypeVar("S", bound=Making)
T = TypeVar("T")


class once(Generic[S, T]):  # noqa: N801  # a decorator
    """Makes the value under the owner's lock, and keeps it in the owner's `__dict__`, where a test may put another."""

    def __init__(self, make: Callable[[S], T]) -> None:
        self._make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, services: S, owner: type | None = None) -> T:
        with services.making:
            if self._name not in services.__dict__:
                services.__dict__[self._name] = self._make(services)
        made: T = services.__dict__[self._name]
        return made
