"""The targets by name: what runs one input, how long inputs get, and where they start from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from pop3_reference import Body
from transcripts import Transcript, load_all, play

from fuzz import connection, events, filenames, headers, listing, mail, reader, replies, session, tnef
from fuzz.score import ACROSS, ACT, COMMAND, GONE, RESPONSE, TLS, score
from ingest.pop3.connection import Command, Greeting, Reply

_KEPT_BYTES = 64 * 1024
KEPT = Path(__file__).parents[1] / "corpus" / "fuzz"


@dataclass(frozen=True)
class Target:
    """Where inputs go.

    Args:
        name: of the target.
        run: raises for a finding.
        most_bytes: of an input.
        starts: gives the inputs that every run starts from.
        dictionary: of the words that inputs are made of, a file of this directory.
    """

    name: str
    run: Callable[[bytes], None]
    most_bytes: int
    starts: Callable[[], Iterable[bytes]]
    dictionary: str = "mime.dict"

    def seeds(self) -> set[bytes]:
        """What every run starts from, where it is not too long: what is cut would be another message."""
        return {case for case in self.starts() if len(case) <= self.most_bytes}

    def words(self) -> Path:
        """The dictionary."""
        return Path(__file__).with_name(self.dictionary)

    def kept(self) -> list[bytes]:
        """Inputs that earlier runs found worth keeping; in their file a line each, in Python's escapes."""
        path = KEPT / f"{self.name}.txt"
        lines = path.read_text("ascii").splitlines() if path.exists() else []
        return [line.encode("ascii").decode("unicode_escape").encode("latin-1") for line in lines]

    def keep(self, cases: set[bytes]) -> Path:
        """Write the kept inputs anew, the shortest first, up to `_KEPT_BYTES`."""
        lines = [case.decode("latin-1").encode("unicode_escape").decode("ascii") + "\n" for case in cases]
        lines.sort(key=lambda line: (len(line), line))
        ends = accumulate(map(len, lines))
        path = KEPT / f"{self.name}.txt"
        path.write_text("".join(line for line, end in zip(lines, ends, strict=True) if end <= _KEPT_BYTES), "ascii")
        return path


def _connection_seeds(transcript: Transcript) -> Iterator[bytes]:
    parts = []
    for turn in transcript.turns:
        parts += [*[ACROSS] * turn.across, *[TLS] * turn.encrypt]
        for say in turn.says:
            words = say.arguments if say.command is None else (say.command.value, *say.arguments)
            parts.append((RESPONSE if say.command is None else COMMAND) + b" ".join(words))
        parts += [turn.heard, *[GONE] * turn.gone]
    yield score(parts)


def _session_seeds(transcript: Transcript) -> Iterator[bytes]:
    heard = [turn.heard for turn in transcript.turns]
    for plan in session.PLANS:
        yield score([plan, *heard])


def _listing_seeds(transcript: Transcript) -> Iterator[bytes]:
    events = [event for turn in play(transcript).turns for event in turn]
    stat = b"".join(event.text for event in events if isinstance(event, Reply) and event.command is Command.STAT)
    bodies = {event.command: event.octets for event in events if isinstance(event, Body)}
    if Command.LIST in bodies:
        uidls = [bodies[Command.UIDL], ACT] if Command.UIDL in bodies else []
        yield score([stat, *uidls, bodies[Command.LIST]])


def _replies_seeds(transcript: Transcript) -> Iterator[bytes]:
    for event in (event for turn in play(transcript).turns for event in turn):
        match event:
            case Body(Command.CAPA, body):
                yield b"\0" + body
            case Greeting(text=text):
                yield b"\1" + text
            case Reply(command, ok=False, text=text):
                yield bytes([list(Command).index(command) + len(Command)]) + text


def _from(seed: Callable[[Transcript], Iterator[bytes]], more: Iterable[bytes] = ()) -> Callable[[], Iterable[bytes]]:
    """What the transcripts of POP3 sessions give, and more."""
    return lambda: [*(case for transcript in load_all() for case in seed(transcript)), *more]


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target("connection", connection.run, 2048, _from(_connection_seeds), "pop3.dict"),
        Target("session", session.run, 4096, _from(_session_seeds, session.scripted()), "pop3.dict"),
        Target("listing", listing.run, 512, _from(_listing_seeds), "pop3.dict"),
        Target("replies", replies.run, 512, _from(_replies_seeds), "pop3.dict"),
        Target("reader", reader.run, 4096, mail.messages),
        Target("headers", headers.run, 2048, mail.heads),
        Target("filenames", filenames.run, 512, filenames.seeds),
        Target("tnef", tnef.run, tnef.MOST_BYTES, tnef.seeds),
        Target("events", events.run, 4096, lambda: [*mail.messages(), *mail.heads()]),
    )
}
