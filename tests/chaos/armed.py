"""A test build of the services: ports wrapped by objects that burn a fuse.

Rules of this room:
- A wrapper does what the port does, and nothing else, until its fuse strikes. What it doesn't know it passes on.
- Two points lie within a step: half a body has been sent to the store; a commit has been sent to Redis. There the
  client library's connection is replaced, in this process only, which is about to die.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from house import InProcess

from chaos.points import Fuse, Point
from ingest.isolation import Isolation
from ingest.models import Tls
from ingest.pipeline import Processed
from ingest.ports import ByteStream, Dialer, ObjectStore, Put
from ingest.wiring import Services

_ATTACHMENT = "attachments/"
_LISTINGS = (b"STAT", b"UIDL", b"LIST")


class Tripwire:
    """Burns a fuse before or after some calls of an object, passing on all of them.

    Args:
        inner: the object.
        fuse: what is burnt.
        before, after: points by the name of the method.
    """

    def __init__(
        self,
        inner: object,
        fuse: Fuse,
        *,
        before: Mapping[str, Point] | None = None,
        after: Mapping[str, Point] | None = None,
    ) -> None:
        self._inner: Any = inner
        self._fuse = fuse
        self._before = before or {}
        self._after = after or {}

    def __getattr__(self, name: str) -> object:
        found = getattr(self._inner, name)
        if name not in self._before and name not in self._after:
            return found

        def call(*args: object, **kwargs: object) -> object:
            if name in self._before:
                self._fuse.arrive(self._before[name])
            answer = found(*args, **kwargs)
            if name in self._after:
                self._fuse.arrive(self._after[name])
            return answer

        return call


class ArmedStore:
    """A store; its puts burn the points of an attachment's put or of the raw one."""

    def __init__(self, inner: ObjectStore, fuse: Fuse) -> None:
        self._inner: Any = inner
        self._fuse = fuse

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def put(self, key: str, body: BinaryIO, **of_it: object) -> Put:
        attachment = key.startswith(_ATTACHMENT)
        if self._fuse.strikes(Point.PUTTING_ATTACHMENT if attachment else Point.PUTTING_RAW):
            _die_with_half_a_body_sent(self._fuse)
        put = self._inner.put(key, body, **of_it)
        self._fuse.arrive(Point.PUT_ATTACHMENT if attachment else Point.PUT_RAW)
        return put


def _die_with_half_a_body_sent(fuse: Fuse) -> None:
    """The next PUT of this process sends its head and half of its first block."""
    plain = http.client.HTTPConnection.send

    def send(connection: http.client.HTTPConnection, data: bytes) -> None:
        head, blank, body = data.partition(b"\r\n\r\n") if data.startswith(b"PUT ") else (b"", b"", data)
        plain(connection, head + blank + body[: len(body) // 2])
        if body:
            fuse.blow()

    http.client.HTTPConnection.send = send  # type: ignore[method-assign,assignment]


class ArmedDialer:
    """A dialer whose connections burn the points that are said on the wire."""

    def __init__(self, inner: Dialer, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def dial(
        self, host: str, port: int, *, tls: Tls, ca_file: str | None, fingerprints: tuple[str, ...] = ()
    ) -> ByteStream:
        stream = self._inner.dial(host, port, tls=tls, ca_file=ca_file, fingerprints=fingerprints)
        self._fuse.arrive(Point.CONNECTED)
        return ArmedStream(stream, self._fuse)


class ArmedStream:
    """A connection that is watched for what is said. The points around QUIT count only behind DELE."""

    def __init__(self, inner: ByteStream, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse
        self._listed = self._marked = self._left = self._answered = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def send(self, data: bytes, timeout_s: float) -> None:
        lines = data.split(b"\r\n")
        if not self._listed and any(line[:4] in _LISTINGS for line in lines):
            self._listed = True
            self._fuse.arrive(Point.LOGGED_IN)
        if not self._marked and any(line.startswith(b"DELE ") for line in lines):
            self._marked = True
            self._fuse.arrive(Point.DELETING)
        self._left = self._marked and b"QUIT" in lines
        if self._left and self._fuse.strikes(Point.MARKED):
            marks, _, _ = data.partition(b"QUIT\r\n")
            if marks:
                self._inner.send(marks, timeout_s)
            self._fuse.blow()
        self._inner.send(data, timeout_s)
        if self._left:
            self._fuse.arrive(Point.QUIT_SENT)

    def receive_into(self, room: memoryview, timeout_s: float) -> int:
        count = self._inner.receive_into(room, timeout_s)
        self._answered = self._left and count > 0
        return count

    def close(self) -> None:
        if self._answered:
            self._fuse.arrive(Point.QUIT_ANSWERED)
        self._inner.close()


class ArmedLedger(Tripwire):
    """A ledger; a commit may be cut off between request and reply.

    Args:
        cut: told the point when a commit is to be cut off.
    """

    def __init__(self, inner: object, fuse: Fuse, cut: Callable[[Point], None]) -> None:
        super().__init__(
            inner,
            fuse,
            before={"settle": Point.SETTLING, "rewrite": Point.REWRITING},
            after={"rewrite": Point.REWRITTEN, "mark": Point.IN_HAND, "count": Point.COUNTED},
        )
        self._cut = cut

    def commit(self, *args: object, **kwargs: object) -> None:
        for point in (Point.COMMIT_SENT, Point.COMMIT_UNREAD):
            if self._fuse.strikes(point):
                self._cut(point)
        self._inner.commit(*args, **kwargs)
        self._fuse.arrive(Point.COMMITTED)


class ArmedIsolation:
    """Processes of their own for suspects; one may lose its parent while it works."""

    def __init__(self, inner: Isolation, fuse: Fuse) -> None:
        self._inner: Any = inner
        self._fuse = fuse

    def process(self, *args: object, beat: Callable[[], None], **kwargs: object) -> Processed:
        def heard() -> None:
            self._fuse.arrive(Point.ALONE)
            beat()

        processed: Processed = self._inner.process(*args, beat=heard, **kwargs)
        return processed


class _Cut:
    """Makes the connections to Redis die at the next command: once it is sent, or once its reply lies there unread."""

    def __init__(self, services: Services, fuse: Fuse) -> None:
        self._point: Point | None = None
        pool: Any = services.redis.connection_pool
        pool.connection_class = self._cutting(pool.connection_class, fuse)

    def __call__(self, point: Point) -> None:
        self._point = point

    def _cutting(self, base: type, fuse: Fuse) -> type:
        cut = self

        class Cutting(base):
            def send_packed_command(self, *args: object, **kwargs: object) -> None:
                super().send_packed_command(*args, **kwargs)
                if cut._point is Point.COMMIT_UNREAD:
                    self.can_read(timeout=10)
                if cut._point is not None:
                    fuse.blow()

        return Cutting


def arm(services: Services, fuse: Fuse, *, alone: bool) -> None:
    """Wrap the ports. Only before anything of these services was used, but for a store that was made already.

    With `alone`, suspects are run in processes of their own, as ever: a second of imports each, and out of reach for
    the fuse. Else they are run in this one.
    """
    made = services.__dict__
    cut = _Cut(services, fuse)
    made["store"] = ArmedStore(services.store, fuse)
    made["lease"] = Tripwire(
        services.lease,
        fuse,
        before={"release": Point.RELEASING},
        after={"acquire": Point.LEASE_TAKEN, "release": Point.RELEASED},
    )
    made["ledger"] = ArmedLedger(services.ledger, fuse, cut)
    made["dialer"] = ArmedDialer(services.dialer, fuse)
    made["pipeline"] = Tripwire(services.pipeline, fuse, before={"read": Point.RETRIEVED})
    made["isolation"] = ArmedIsolation(services.isolation if alone else InProcess(services.pipeline), fuse)
