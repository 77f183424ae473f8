"""Every named behaviour of the simulator against the whole client, in plaintext and over TLS.

Whatever the server does: each poll ends soon and in few octets, in the error that the name promises and in no other;
nothing is deleted unread; and when the server behaves again, every message is told of, once.
"""

from __future__ import annotations

import hashlib
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from house import House, mail

from ingest.adapters.tcp import TcpDialer
from ingest.models import Auth, Outcome, PollReport, Tls
from ingest.pop3.session import SessionLimits
from ingest.ports import ByteStream, TlsInfo
from ingest.simulator.authority import Authority
from ingest.simulator.behaviour import Behaviour
from ingest.simulator.behaviours import SKIPPED, WORKS, Named, Over, combined
from ingest.simulator.maildrop import Maildrop, Message
from ingest.simulator.names import ALL
from ingest.simulator.quirks import QUIRKS
from ingest.simulator.server import Simulator

# Several at once: where one takes away what the answer to the other rests upon.
TOGETHER = (
    "capa-none+uidl-none",
    "pipelining-none+uidl-none-top-none",
    "uidl-none+list-zero",
    "uidl-none+list-changes",
    "uidl-none+stat-differs",
    "uidl-none+empty-at-times",
    "uidl-none+dele-refused",
    "uidl-none+expire-0",
    "uidl-none+retr-refused",
    "uidl-absent+list-larger",
    "uidl-twins+expire-0",
    "uidl-twins+list-smaller",
    "uidl-twins+retr-refused",
    "uidl-anew+expire-0",
    "uidl-anew+empty-at-times",
    "uidl-anew+dele-ignored",
    "uidl-8bit+segments-of-one",
    "window-hides+uidl-twins",
    "window-hides+uidl-none",
    "window-hides+quit-silent",
    "window-hides+expire-0",
    "expire-0+dele-ignored",
    "expire-0+quit-silent",
    "uidl-none+retr-breaks-off",
    "uidl-none+retr-silent",
    "uidl-twins+retr-breaks-off",
    "uidl-none+closes-after-retrs",
    "uidl-none+listing-cut",
    "uidl-twins+listing-silent",
    "pipelining-none+retr-no-crlf",
    "expire-0+retr-endless",
    "expire-0+closes-after-retrs",
    "list-zero+retr-endless-line",
    "pipelining-none+status-long",
)

STAMP = "Mon, 3 Mar 2025 10:00:0%d +0000"
DOTS = ".one\r\n..two\r\n.\r\nbehind a lone dot\r\n"
MESSAGES = (
    mail("first", received=STAMP % 1),
    mail("second", "y" * 3000 + "\r\n", received=STAMP % 2),
    mail("dots", DOTS, received=STAMP % 3),
    "From: a@example.com\r\nSubject: grüße\r\n\r\nÄußerst\r\n".encode(),
    mail("fifth"),
)
LATE = mail("late", received=STAMP % 6)  # comes behind the first poll
SUBJECTS = ("first", "second", "dots", "grüße", "fifth", "late")
LIMITS = SessionLimits(
    read_timeout_s=5,
    deadline_s=5,
    login_guard_s=0.5,
    min_bytes_window_s=0.6,
    listing_lines=2_000,
    listing_bytes=64 << 10,
    top_bytes=64 << 10,
    top_dropped_bytes=64 << 10,
)
# Only where silence is to be expected: a busy machine may be silent, too.
SHORT_S = 0.5
SILENT = {"connection_lost", "listing_failed"}
CAP_BYTES = 100 << 10
MOST_BYTES = 600 << 10  # of one poll: the largest cap, and what a chunk may bring above it
MOST_SECONDS = 10.0
MOST_MEMORY = 4 << 20
POLLS = 3
MORE_POLLS = 8
# Quicker than their names' own values.
TIMES: Mapping[str, Mapping[str, float | bool]] = {
    "closes-after-seconds": {"session_s": 0.8, "latency_s": 0.08, "pipelining": False},
}
# Too long for PASS, so that SASL is taken; its response has no room in the AUTH command, and so is asked for.
LONG_PASSWORD = "long " * 50
BEHIND_THE_WINDOW = set(SUBJECTS[2:])
# These can't hand over everything for as long as they play.
HOLDS_BACK: dict[str, set[str]] = {
    "window-listing": BEHIND_THE_WINDOW,
    "retr-refused": {"second"},
    "retr-breaks-off": {"second"},
    "retr-drips": {"second"},
    "retr-silent": {"second"},
    "retr-one-no-crlf": {"second"},
}
# Where mail is kept, the window never moves.
HOLDS_BACK_KEPT = HOLDS_BACK | {"window": BEHIND_THE_WINDOW}
# These break off each session, and yet hand over something in each.
GETS_ON = {
    "top-endless",
    "closes-after-retrs",
    "closes-after-seconds",
    "retr-breaks-off",
    "retr-drips",
    "retr-one-no-crlf",
    "retr-silent",
}
# What else these may end in: alone, with no reply behind it, a message that never ends is silence.
OR_ELSE = {"retr-one-no-crlf": "connection_lost"}
# The third refusal would put a message into quarantine; silence takes its time.
FEWER_POLLS = {"retr-refused", "uidl-drips", "listing-silent"}
# What arrives is not what lies in the maildrop.
OTHER_OCTETS = {"headers-change", "dots-everywhere", "dots-unstuffed"}


@dataclass
class Counted:
    """A stream that counts what it receives."""

    inner: ByteStream
    dialer: CountingDialer

    def send(self, data: bytes, timeout_s: float) -> None:
        self.inner.send(data, timeout_s)

    def receive_into(self, room: memoryview, timeout_s: float) -> int:
        count = self.inner.receive_into(room, timeout_s)
        self.dialer.received += count
        return count

    def start_tls(self) -> None:
        self.inner.start_tls()

    @property
    def tls(self) -> TlsInfo | None:
        return self.inner.tls

    def close(self) -> None:
        self.inner.close()


@dataclass
class CountingDialer:
    """Real connections; `received` octets since it was last set."""

    inner: TcpDialer = field(default_factory=lambda: TcpDialer(connect_timeout_s=0.5, allowed_networks=["127.0.0.0/8"]))
    received: int = 0

    def dial(
        self, host: str, port: int, *, tls: Tls, ca_file: str | None, fingerprints: tuple[str, ...] = ()
    ) -> ByteStream:
        return Counted(self.inner.dial(host, port, tls=tls, ca_file=ca_file, fingerprints=fingerprints), self)


@dataclass
class Play:
    """A house around a server that misbehaves, and what its polls came to."""

    house: House
    dialer: CountingDialer
    keep_s: int | None = 0
    codes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.messages: tuple[Message, ...] = self.house.maildrop.messages()

    def deliver(self, raw: bytes) -> None:
        self.house.maildrop.deliver(raw)
        self.messages = (*self.messages, self.house.maildrop.messages()[-1])

    def told(self) -> list[str]:
        """The types of the events that tell of a message."""
        types = [event["type"] for event in self.house.events()]
        return [each for each in types if ".message." in each]

    def poll(self) -> PollReport:
        """One poll, held to its bounds."""
        self.house.clock.forward(hours=2)
        self.dialer.received, started = 0, time.monotonic()
        report = self.house.poll(account={"keep_s": self.keep_s}, max_message_bytes=CAP_BYTES)
        assert time.monotonic() - started < MOST_SECONDS
        assert self.dialer.received < MOST_BYTES
        assert report.failure is not None or report.outcome is Outcome.DONE
        if report.failure is not None:
            assert report.failure.what.count("\n") == 0
            assert report.next_due_s is not None
            assert report.next_due_s > 0 or report.committed  # it backs off, unless it gets on
            self.codes.append(report.failure.code)
        gone = set(self.messages) - set(self.house.maildrop.messages())
        read = self.house.subjects()
        assert {subject for subject, message in zip(SUBJECTS, self.messages, strict=False) if message in gone} <= set(
            read
        )
        return report

    def until_quiet(self) -> None:
        """The server behaves again: poll until nothing is left to do."""
        self.house.server.behaviour = Behaviour()
        for _ in range(MORE_POLLS):
            report = self.poll()
            assert report.failure is None, report.failure
            if not (report.events or report.more or report.deleted):
                return
        pytest.fail("it never becomes quiet")


@dataclass(frozen=True)
class Trust:
    """Who certifies the servers, and where clients find that out."""

    authority: Authority
    ca_file: str


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    authority, path = Authority(), tmp_path_factory.mktemp("ca") / "ca.pem"
    path.write_bytes(authority.ca_pem)
    return Trust(authority, str(path))


@contextmanager
def play(named: Named, tls: Tls, trust: Trust, spool: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    patience_s = SHORT_S if named.expected in SILENT or named.name in OR_ELSE else LIMITS.read_timeout_s
    maildrop = Maildrop(MESSAGES)
    dialer = CountingDialer(TcpDialer(patience_s, allowed_networks=["127.0.0.0/8"]))
    password = LONG_PASSWORD if named.name.startswith("sasl-") else "correct horse"
    monkeypatch.setenv("HOUSE_PASSWORD", password)
    behaviour = replace(named.behaviour, pace_s=0.02, **TIMES.get(named.name, {}))
    with Simulator(
        {"u": (password, maildrop)},
        behaviour=behaviour,
        tls=None if tls is Tls.NONE else trust.authority,
        implicit_tls=tls is Tls.IMPLICIT,
    ) as server:
        house = House(maildrop, server, spool, dialer=dialer, session_limits=replace(LIMITS, read_timeout_s=patience_s))
        house.account = replace(
            house.account,
            tls=tls,
            ca_file=None if tls is Tls.NONE else trust.ca_file,
            auth=Auth.PLAIN if named.name.startswith("sasl") else Auth.AUTO,
        )
        yield Play(house, dialer)


def shows(named: Named) -> list[Tls]:
    """The connections on which a behaviour shows."""
    return {
        Over.ANY: [Tls.NONE, Tls.IMPLICIT],
        Over.TLS: [Tls.IMPLICIT, Tls.STARTTLS],
        Over.STARTTLS: [Tls.STARTTLS],
    }[named.over]


def check(named: Named, it: Play) -> None:
    """The whole of what is promised of a behaviour."""
    waits = named.expected == "connection_lost"
    it.poll()
    it.deliver(LATE)
    for _ in range(1 if waits or is_one_of(named, FEWER_POLLS) else POLLS - 1):
        it.poll()
    if is_one_of(named, GETS_ON) or named.expected in {WORKS, SKIPPED}:
        holds_back = HOLDS_BACK_KEPT if it.keep_s is None else HOLDS_BACK
        held_back = set().union(*(holds_back.get(name, set()) for name in named.name.split("+")))
        wanted = len(set(SUBJECTS) - held_back)
        for _ in range(MORE_POLLS):
            if len(it.told()) >= wanted:
                break
            it.poll()
        else:
            pytest.fail(f"it does not get on: {it.house.subjects()}")
    assert set(it.codes) - {OR_ELSE.get(named.name)} == ({named.expected} - {WORKS, SKIPPED})
    it.until_quiet()
    told = Counter(it.house.subjects())
    skipped = len(it.house.subjects("skipped"))
    assert set(told) <= set(SUBJECTS)
    assert set(told.values()) <= {1}, told
    assert told.total() + skipped == len(SUBJECTS), (told, skipped)
    assert len(it.told()) == len(SUBJECTS)
    assert bool(skipped) == (named.expected == SKIPPED)
    if not is_one_of(named, OTHER_OCTETS):
        sent = {hashlib.sha256(message.octets).hexdigest() for message in it.messages}
        assert {event["data"]["sha256"] for event in it.house.events() if ".received." in event["type"]} <= sent


def together(names: str) -> Named:
    """Several behaviours as one; what should come of it is what should come of the last."""
    each = [ALL[name] for name in names.split("+")]
    return Named(names, "", combined(one.behaviour for one in each), each[-1].expected)


def is_one_of(named: Named, names: Iterable[str]) -> bool:
    return not set(named.name.split("+")).isdisjoint(names)


@pytest.mark.parametrize(
    ("named", "tls"),
    [pytest.param(named, tls, id=f"{named.name}-{tls.value}") for named in ALL.values() for tls in shows(named)],
)
def test_a_behaviour_costs_little_ends_as_it_should_and_loses_nothing(
    named: Named, tls: Tls, trust: Trust, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with play(named, tls, trust, tmp_path, monkeypatch) as it:
        check(named, it)


@pytest.mark.parametrize("names", TOGETHER)
def test_behaviours_together_lose_nothing_either(
    names: str, trust: Trust, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = together(names)
    with play(named, Tls.NONE, trust, tmp_path, monkeypatch) as it:
        check(named, it)


@pytest.mark.parametrize("named", QUIRKS, ids=lambda named: named.name)
def test_a_quirk_loses_nothing_where_mail_is_kept_either(
    named: Named, trust: Trust, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with play(named, Tls.NONE, trust, tmp_path, monkeypatch) as it:
        it.keep_s = None
        check(named, it)
        assert it.house.server.log.deleted == {}


@pytest.mark.parametrize(
    "name", [name for name in ALL if name.endswith(("-endless", "-endless-line", "-endless-octets", "-long", "-huge"))]
)
def test_what_has_no_end_takes_little_memory(
    name: str, trust: Trust, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with play(ALL[name], Tls.NONE, trust, tmp_path, monkeypatch) as it:
        it.poll()
        tracemalloc.start()
        try:
            it.poll()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < MOST_MEMORY
