"""A POP3 server in memory: it parses what is sent, answers into a buffer, and lies or breaks where a fault strikes.

Rules of this file:
- A command takes effect when it is sent: that is one step of the world. The reply is read later, in pieces.
- The view of the maildrop is fixed at login, UIDLs and octets too. QUIT is the one way to delete.
- The server tells the book what it hands over and what it removes, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ingest.errors import ConnectionLost, HostUnreachable
from ingest.models import Tls
from ingest.ports import ByteStream, TlsInfo
from simulation.baton import Actor
from simulation.mail import Mail, Maildrop

if TYPE_CHECKING:
    from simulation.world import World

_LINGERS_S = 100.0
_PIECES = (65536, 65536, 65536, 700, 61)


@dataclass(frozen=True, slots=True)
class Seen:
    """One message as a session sees it."""

    mail: Mail
    uidl: bytes
    octets: bytes
    size: int


class SimulatedDialer:
    """Implements `ports.Dialer` for one worker; the user name of the session says which maildrop it is."""

    def __init__(self, world: World, actor: Actor) -> None:
        self._world = world
        self._actor = actor

    def dial(
        self, host: str, port: int, *, tls: Tls, ca_file: str | None, fingerprints: tuple[str, ...] = ()
    ) -> ByteStream:
        self._world.step(self._actor, "dial", host)
        if self._world.faults.strikes("dial_refused"):
            raise HostUnreachable(f"{host} refuses connections")
        stream = SimulatedStream(self._world, self._actor, self._world.drops[host])
        self._world.streams.append(stream)
        return stream


class SimulatedStream:
    """Implements `ports.ByteStream`, with the server's session behind it."""

    tls: TlsInfo | None = None

    def __init__(self, world: World, actor: Actor, drop: Maildrop) -> None:
        self.actor = actor
        self.closed = False
        self._world = world
        self._drop = drop
        self._piece = world.rng.choice(_PIECES)
        self._heard = b""
        self._out = b"+OK ready\r\n"
        self._dead = ""  # how the connection ended, seen from the client
        self._in = False
        self._view: list[Seen] = []
        self._count_lies = 0
        self._breaks_in_listing = False
        self._asked_all = False
        self.quitted = False
        self.shown: set[bytes] = set()
        self.removed: set[bytes] = set()
        self._marked: list[Seen] = []
        self._retrieved: list[Seen] = []

    @property
    def complete(self) -> bool:
        """Whether the client could take its listing for all there is."""
        return self._asked_all and not (self._count_lies or self._breaks_in_listing)

    # The client's side

    def send(self, data: bytes, timeout_s: float) -> None:
        self._world.step(self.actor, "send", data)
        if self._dead and self._dead != "silence":
            raise ConnectionLost("the connection is gone")
        self._heard += data
        while not self._dead and b"\r\n" in self._heard:
            line, _, self._heard = self._heard.partition(b"\r\n")
            self._serve(line)
            if line.startswith(b"PASS ") and self._world.faults.strikes("loses_behind_pass"):
                self._heard = b""

    def receive_into(self, room: memoryview, timeout_s: float) -> int:
        self._world.step(self.actor, "receive", b"")
        if self._out:
            count = min(self._piece, len(room), len(self._out))
            room[:count], self._out = self._out[:count], self._out[count:]
            return count
        if self._dead == "end":
            return 0
        if self._dead == "reset":
            raise ConnectionLost("the connection was reset")
        self._world.sleep(self.actor, timeout_s)
        raise ConnectionLost(f"no answer within {timeout_s:.0f} s")

    def start_tls(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._let_go()

    # The server's side

    def _serve(self, line: bytes) -> None:
        faults = self._world.faults
        name, _, argument = line.partition(b" ")
        if faults.strikes("drop_before"):
            self._break("end" if self._world.rng.random() < 0.5 else "reset")
            return
        before = len(self._out)
        command = self._COMMANDS.get(name)
        if command is None or (self._in == (name in {b"USER", b"PASS"}) and name != b"CAPA"):
            self._out += b"-ERR unknown command\r\n"
        else:
            command(self, argument)
        if name == b"QUIT" and not self._dead:
            lost = faults.strikes("quit_reply_lost")
            self._out = self._out[:before] if lost else self._out
            self._break("end")
        elif faults.strikes("drop_after"):
            self._out = self._out[: self._world.rng.randint(before, len(self._out))]
            self._break("end" if self._world.rng.random() < 0.5 else "reset")
        elif faults.strikes("silence"):
            self._out = self._out[:before]
            self._dead = "silence"

    def _break(self, how: str) -> None:
        self._dead = self._dead or how
        self._let_go()

    def _let_go(self) -> None:
        """The session is over without QUIT, or after it."""
        drop = self._drop
        if drop.held_by is self:
            drop.held_by = None
            if self._in and self._world.faults.strikes("lock_lingers"):
                drop.held_until = self._world.clock.seconds + _LINGERS_S
        self._in = False

    def _capa(self, _: bytes) -> None:
        drop, faults = self._drop, self._world.faults
        if not drop.capa:
            self._out += b"-ERR what?\r\n"
            return
        self._out += b"+OK\r\nUSER\r\n"
        self._out += b"TOP\r\n" if drop.top else b""
        self._out += b"" if "without_uidl" in faults.names else b"UIDL\r\n"
        self._out += b"PIPELINING\r\n" if drop.pipelining else b""
        self._out += b"EXPIRE 0\r\n" if "expire_0" in faults.names else b""
        self._out += b".\r\n"

    def _user(self, _: bytes) -> None:
        self._out += b"+OK\r\n"

    def _pass(self, _: bytes) -> None:
        drop, clock = self._drop, self._world.clock
        if drop.exclusive and (drop.held_by is not None or drop.held_until > clock.seconds):
            self._out += b"-ERR [IN-USE] another session has it\r\n"
            return
        if drop.exclusive:
            drop.held_by = self
        self._in = True
        self._view = [Seen(mail, mail.uidl, mail.octets, mail.size) for mail in drop.mails]
        self._distort()
        self._out += b"+OK in\r\n"

    def _distort(self) -> None:
        """What of the maildrop this session is shown."""
        faults, rng = self._world.faults, self._world.rng
        if faults.strikes("listing_empty"):
            self._view = []
        if len(self._view) > 1 and faults.strikes("listing_window"):
            self._view = self._view[-rng.randint(1, len(self._view) - 1) :]
        if len(self._view) > 1 and faults.strikes("listing_short"):
            self._count_lies = rng.randint(1, len(self._view) - 1)
        self._breaks_in_listing = faults.strikes("listing_broken")
        self.shown = {seen.uidl for seen in self._view}
        self._drop.free -= self.shown

    def _stat(self, _: bytes) -> None:
        self._out += b"+OK %d %d\r\n" % (len(self._view), sum(seen.size for seen in self._view))

    def _uidl(self, argument: bytes) -> None:
        if "without_uidl" in self._world.faults.names:
            self._out += b"-ERR unknown command\r\n"
        elif not argument:
            self._list_with(lambda seen: seen.uidl)
        elif int(argument) > len(self._view):
            self._out += b"-ERR no such message\r\n"
        else:
            self._out += b"+OK %s %s\r\n" % (argument, self._one(argument).uidl)

    def _list(self, _: bytes) -> None:
        self._asked_all = True
        self._list_with(lambda seen: b"%d" % seen.size)

    def _list_with(self, value: Callable[[Seen], bytes]) -> None:
        lines = [b"%d %s\r\n" % (at, value(seen)) for at, seen in enumerate(self._view, 1)]
        lines = lines[self._count_lies :]
        if self._breaks_in_listing:
            self._out += b"+OK\r\n" + b"".join(lines[: len(lines) // 2])
            self._break("end")
        else:
            self._out += b"+OK\r\n" + b"".join(lines) + b".\r\n"

    def _one(self, argument: bytes) -> Seen:
        return self._view[int(argument.split()[0]) - 1]

    def _retr(self, argument: bytes) -> None:
        seen = self._one(argument)
        if self._world.faults.strikes("retr_refused"):
            seen.mail.refused += 1
            self._out += b"-ERR this message can't be read\r\n"
            return
        self._world.book.hands_over(seen.mail, seen.octets)
        self._retrieved.append(seen)
        self._out += b"+OK\r\n" + _stuffed(seen.octets) + b".\r\n"
        if len(self._retrieved) > 1 and self._world.faults.strikes("short_sessions"):
            self._break("end")

    def _top(self, argument: bytes) -> None:
        if self._drop.top:
            self._out += b"+OK\r\n" + _stuffed(self._one(argument).octets.partition(b"\r\n\r\n")[0]) + b"\r\n\r\n.\r\n"
        else:
            self._out += b"-ERR unknown command\r\n"

    def _dele(self, argument: bytes) -> None:
        if self._world.faults.strikes("dele_refused"):
            self._out += b"-ERR not now\r\n"
            return
        self._marked.append(self._one(argument))
        self._out += b"+OK\r\n"

    def _quit(self, _: bytes) -> None:
        self._out += b"+OK bye\r\n"
        if not self._in:
            return
        self.quitted = True
        faults = self._world.faults
        if not self._marked or not faults.strikes("quit_ignored"):
            for seen in self._marked:
                self._remove(seen, "deleted")
        if faults.strikes("hides_retrieved") or ("expire_0" in faults.names and faults.strikes("expire_0")):
            for seen in self._retrieved:
                self._remove(seen, "hidden")

    def _remove(self, seen: Seen, why: str) -> None:
        if seen.mail in self._drop.mails:
            self._drop.remove(seen.mail, why)
            self.removed.add(seen.uidl)
            self._world.book.removes(self._drop.account_id, seen.mail, seen.uidl, why, self.actor)

    _COMMANDS: ClassVar[Mapping[bytes, Callable[[SimulatedStream, bytes], None]]] = {
        b"CAPA": _capa,
        b"USER": _user,
        b"PASS": _pass,
        b"STAT": _stat,
        b"UIDL": _uidl,
        b"LIST": _list,
        b"RETR": _retr,
        b"TOP": _top,
        b"DELE": _dele,
        b"QUIT": _quit,
    }


def _stuffed(octets: bytes) -> bytes:
    octets = octets.replace(b"\r\n.", b"\r\n..")
    return b"." + octets if octets.startswith(b".") else octets
