"""The targets by name: what runs one input, how long inputs get, and where they start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pop3_reference import Body
from transcripts import Transcript, load_all, play

from fuzz import connection, listing, replies, session
from fuzz.score import ACROSS, ACT, COMMAND, GONE, RESPONSE, TLS, score
from ingest.pop3.connection import Command, Greeting, Reply

KEPT = Path(__file__).parents[1] / "corpus" / "fuzz"


@dataclass(frozen=True)
class Target:
    """Where inputs go.

    Args:
        name: of the target.
        run: raises for a finding.
        most_bytes: of an input.
        seed: the inputs that a transcript gives.
        more: inputs that are no transcript's.
    """

    name: str
    run: Callable[[bytes], None]
    most_bytes: int
    seed: Callable[[Transcript], Iterator[bytes]]
    more: Sequence[bytes] = ()

    def seeds(self) -> set[bytes]:
        """What every run starts from."""
        return {case[: self.most_bytes] for transcript in load_all() for case in self.seed(transcript)} | {*self.more}

    def kept(self) -> list[bytes]:
        """Inputs that earlier runs found worth keeping; in their file a line each, in Python's escapes."""
        path = KEPT / f"{self.name}.txt"
        lines = path.read_text("ascii").splitlines() if path.exists() else []
        return [line.encode("ascii").decode("unicode_escape").encode("latin-1") for line in lines]

    def keep(self, cases: set[bytes]) -> Path:
        """Write the kept inputs anew."""
        lines = [case.decode("latin-1").encode("unicode_escape").decode("ascii") for case in cases]
        path = KEPT / f"{self.name}.txt"
        path.write_text("".join(f"{line}\n" for line in sorted(lines, key=lambda line: (len(line), line))), "ascii")
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


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target("connection", connection.run, 2048, _connection_seeds),
        Target("session", session.run, 4096, _session_seeds, tuple(session.scripted())),
        Target("listing", listing.run, 512, _listing_seeds),
        Target("replies", replies.run, 512, _replies_seeds),
    )
}
