"""However the octets of a server are cut, the same events come of them, and they mean what the transcript notes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pop3_reference import ACROSS_LOGIN, Body, Ended, Reference, Told
from transcripts import STATUS_LINE_BYTES, Played, Transcript, load_all, octets, play

from ingest.errors import ListingFailed
from ingest.models import Capabilities, Listing
from ingest.pop3.capabilities import parse_capabilities
from ingest.pop3.connection import Command, Greeting, Reply, State
from ingest.pop3.limits import SessionLimits
from ingest.pop3.linebuffer import LineBuffer
from ingest.pop3.listing import LIST_LINE, UIDL_LINE, NumberedLines, assemble, read_stat
from ingest.pop3.replies import Cleaner, refusal

TRANSCRIPTS = load_all()
TRAILING = (b"", b"\r\n", b"-ERR idle too long\r\n", b".\r\n", b"+OK\r\n.\r\n")
EACH = pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda transcript: transcript.name)


def outcome(played: Played) -> tuple[list[list[Told]], str]:
    """What must not depend on cuts. Of a body that broke off, the octets that could have been its end are open."""
    turns = [
        [event for event in turn if not (isinstance(event, Body) and event.command is None)] for turn in played.turns
    ]
    return turns, f"{type(played.error).__name__}: {played.error}"


@EACH
@pytest.mark.parametrize("trailing", TRAILING)
def test_octet_by_octet_is_as_whole(transcript: Transcript, trailing: bytes) -> None:
    whole = play(transcript, trailing=trailing)
    assert outcome(play(transcript, range(transcript.size + len(trailing)), trailing=trailing)) == outcome(whole)


@EACH
def test_a_cut_at_any_one_place_is_as_none(transcript: Transcript) -> None:
    whole = outcome(play(transcript))
    for place in range(1, transcript.size):
        assert outcome(play(transcript, [place])) == whole, f"cut at {place}"


@given(st.sampled_from(TRANSCRIPTS), st.sampled_from(TRAILING), st.lists(st.integers(0, 1 << 16), max_size=40))
def test_any_cuts_are_as_none(transcript: Transcript, trailing: bytes, places: list[int]) -> None:
    spread = [place % (transcript.size + len(trailing) + 1) for place in places]
    assert outcome(play(transcript, spread, trailing=trailing)) == outcome(play(transcript, trailing=trailing))


@EACH
def test_whole_lines_and_bodies_tell_the_same(transcript: Transcript) -> None:
    reference, turns, code = Reference(STATUS_LINE_BYTES), list[list[Told]](), None
    try:
        for turn in transcript.turns:
            turns.append([])
            if turn.across:
                reference.barriers = ACROSS_LOGIN
            if turn.encrypt:
                reference.start_tls()
            for say in turn.says:
                if say.command is None:
                    reference.respond(*say.arguments)
                else:
                    reference.send(say.command, say.arguments)
            for heard in (turn.heard, b"") if turn.gone else (turn.heard,):
                if reference.state is not State.CLOSED:
                    turns[-1] += reference.hear(heard)
    except Ended as ended:
        turns[-1] += ended.told
        code = ended.code
    played = play(transcript)
    assert outcome(played)[0] == turns
    assert (played.error and played.error.code) == code


@EACH
def test_a_session_means_what_its_transcript_notes(transcript: Transcript) -> None:
    played = play(transcript)
    meanings = Meanings()
    for turn, events in zip(transcript.turns, played.turns, strict=False):
        meanings.see(events)
        last = events is played.turns[-1] and played.error
        found = [*meanings.of(events, turn.notes), *([f"error {played.error.code}"] if last and played.error else [])]
        assert sorted(found) == sorted(octets(note).decode("latin-1") for note in turn.notes)
    rest = transcript.turns[len(played.turns) :]
    assert not rest or played.error, "a session that ends early ends with an error"


class Meanings:
    """What a session's events mean, in the words of the transcripts' notes."""

    def __init__(self) -> None:
        self._stat = b""
        self._bodies: dict[Command, bytes | None] = {}

    def see(self, events: list[Told]) -> None:
        for event in events:
            match event:
                case Reply(Command.STAT, ok=True):
                    self._stat = event.text
                case Reply(command, ok=False):
                    self._bodies[command] = None
                case Body(Command() as command, body):
                    self._bodies[command] = body

    def of(self, events: list[Told], notes: list[str]) -> Iterator[str]:
        for event in events:
            match event:
                case Reply(ok=False) | Greeting(ok=False):
                    yield self._refusal(event)
                case Body(Command.CAPA, body):
                    yield from self._capabilities(parse_capabilities(body))
                case Body(Command.RETR | Command.TOP as command, body):
                    yield f"octets {command.name} {len(body)}"
        if any(note.startswith("listing") for note in notes):
            yield from self._listing()

    def _refusal(self, event: Reply | Greeting) -> str:
        command = event.command if isinstance(event, Reply) else None
        error = refusal(command, event.text, host="pop.example.com", clean=Cleaner())
        wait = "" if error.after_s is None else f" after {error.after_s:.0f}"
        return f"refused {command.name if command else 'greeting'} {error.code}{wait}"

    def _capabilities(self, found: Capabilities) -> Iterator[str]:
        yield " ".join(["capabilities", *sorted(found.names)])
        if "SASL" in found:
            yield " ".join(["sasl", *sorted(found.sasl)])
        for name in ("implementation", "login_delay_s", "expire_days"):
            if getattr(found, name) is not None:
                yield f"{name} {getattr(found, name)}"
        if found.per_user:
            yield "per_user"

    def _listing(self) -> Iterator[str]:
        try:
            listing = self._assembled()
        except ListingFailed:
            yield "listing_failed"
            return
        yield f"listing {len(listing.messages)} {'complete' if listing.complete else 'partial'}"
        for message in listing.messages:
            uidl = f" {message.uidl.decode('latin-1')}" if message.uidl else ""
            yield f"message {message.number} {message.size}{uidl}"

    def _assembled(self) -> Listing:
        uidls = NumberedLines("UIDL", UIDL_LINE, SessionLimits())
        sizes = NumberedLines("LIST", LIST_LINE, SessionLimits())
        body = self._bodies.get(Command.UIDL)
        uidls.feed(body or b"")
        sizes.feed(self._bodies.get(Command.LIST) or b"")
        found = None if body is None else uidls.found
        return assemble(*read_stat(self._stat), found, sizes.found, uidl_bytes=255)


def stuffed(message: bytes) -> bytes:
    """As RFC 1939, 3 says it, a line at a time."""
    return b"".join((b"." if line[:1] == b"." else b"") + line + b"\r\n" for line in message.split(b"\r\n")) + b".\r\n"


@given(
    st.lists(st.sampled_from([b".", b"\r", b"\n", b"\r\n", b"\r\n.", b"x", b"\0"]), max_size=60).map(b"".join),
    st.lists(st.integers(0, 200), max_size=12),
    st.binary(max_size=8),
)
def test_what_was_stuffed_comes_out_as_it_was(message: bytes, places: list[int], trailing: bytes) -> None:
    buffer = LineBuffer(100)
    data = stuffed(message) + trailing
    out, ended, at = b"", False, 0
    for edge in [*sorted(places), len(data)]:
        buffer.feed(data[at:edge])
        at = max(at, min(edge, len(data)))
        while not ended and (chunk := buffer.data()) is not None:
            ended = chunk == b""
            out += chunk
    assert ended
    assert out == message + b"\r\n"
    assert len(buffer) == len(trailing)
