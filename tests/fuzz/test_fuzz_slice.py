"""A short slice of `make fuzz`, the same everywhere: the kept corpus, and mutations of it from one seed."""

from __future__ import annotations

import importlib.util
import random
import re
from email.utils import getaddresses
from pathlib import Path

import pytest
from click.testing import CliRunner

from fuzz import headers
from fuzz.__main__ import main
from fuzz.mutate import Mutator, tokens
from fuzz.score import pieces, score
from fuzz.targets import TARGETS, Target
from ingest.events import build
from ingest.mime import delimiters, filenames, tnef, words
from ingest.mime.limits import MimeLimits
from ingest.mime.structure import Leaf
from ingest.models import Address
from ingest.pop3.connection import Connection
from ingest.pop3.exchange import Exchange
from ingest.pop3.listing import NumberedLines
from ingest.pop3.replies import Cleaner

EACH = pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
MUTATIONS = 4000
MUTATIONS_OF_MAIL = 1000  # each is read five times over


def cases(target: Target) -> list[bytes]:
    return sorted({*target.seeds(), *target.kept()})


def mutator(target: Target) -> Mutator:
    return Mutator(random.Random(4), cases(target), tokens(target.words()), target.most_bytes)


def mutations(target: Target) -> int:
    return MUTATIONS if target.dictionary == "pop3.dict" else MUTATIONS_OF_MAIL


@EACH
def test_the_kept_corpus_and_the_transcripts_find_nothing(target: Target) -> None:
    assert target.kept()
    for case in cases(target):
        target.run(case)


@EACH
def test_some_thousand_mutations_find_nothing(target: Target) -> None:
    mutate = mutator(target)
    for _ in range(mutations(target)):
        target.run(mutate())


receive = Connection.receive


def unstuffs_twice(self: Connection, data: bytes) -> None:
    receive(self, data.replace(b"\r\n..", b"\r\n."))


def forgets_where_it_was(self: Connection, data: bytes) -> None:
    receive(self, data.removeprefix(b"."))


def stays_open(self: Connection) -> None:
    self._sent.clear()
    self._in_body = self._challenged = False


def waits_for_ever(self: Exchange) -> float:
    return 30.0


def keeps_all(self: NumberedLines, chunk: bytes) -> None:
    self._rest += chunk


def shows_all(self: Cleaner, text: bytes) -> str:
    return text.decode("latin-1")


def ends_before_it_begins(self: Leaf, end: int) -> None:
    self.end = end


def reads_as_the_standard_library_does(raw: str, limits: MimeLimits) -> tuple[tuple[Address, ...], None]:
    return tuple(Address(name, address) for name, address in getaddresses([raw]) if address), None


@pytest.mark.parametrize(
    ("name", "where", "what", "bug"),
    [
        ("connection", Connection, "receive", unstuffs_twice),
        ("connection", Connection, "receive", forgets_where_it_was),
        ("connection", Connection, "close", stays_open),
        ("session", Exchange, "_patience_s", waits_for_ever),
        ("listing", NumberedLines, "feed", keeps_all),
        ("replies", Cleaner, "__call__", shows_all),
        ("reader", delimiters, "_LOOKAHEAD_BYTES", 1),
        ("reader", Leaf, "close", ends_before_it_begins),
        ("headers", words, "_CONTROL", re.compile("\n")),
        ("headers", headers, "parse_addresses", reads_as_the_standard_library_does),
        ("filenames", filenames, "_UNWANTED", {"Cc", "Cs"}),
        ("filenames", filenames, "_DEVICE", re.compile("con")),
        ("tnef", tnef, "_TYPE", re.compile(".*", re.DOTALL)),
        ("events", build, "_DROPS", ()),
    ],
)
def test_a_planted_bug_is_found(
    name: str, where: object, what: str, bug: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = TARGETS[name]
    mutate = mutator(target)
    monkeypatch.setattr(where, what, bug)

    def search() -> None:
        for case in [*cases(target), *(mutate() for _ in range(mutations(target)))]:
            target.run(case)

    with pytest.raises(AssertionError):
        search()


def test_a_kept_input_comes_back_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.targets.KEPT", tmp_path)
    inputs = {b"", bytes(range(256)), b"a\r\n\\n'\"", b"\\"}
    target = TARGETS["replies"]
    target.keep(inputs)
    assert set(target.kept()) == inputs


def test_an_input_is_made_of_its_pieces() -> None:
    assert pieces(score([b"a", b"", b"b\x1ec"])) == [b"a", b"", b"bc"]
    assert b"\r\n.\r\n" in tokens(TARGETS["session"].words())


def test_without_atheris_make_fuzz_says_so_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = CliRunner().invoke(main, ["--seconds", "1"])
    assert done.exit_code == 1
    assert "make fuzz needs atheris" in done.output


def test_make_fuzz_runs_wherever_atheris_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.__main__.BUILD", tmp_path)
    done = CliRunner().invoke(main, ["--seconds", "1", "--target", "listing"])
    if importlib.util.find_spec("atheris") is None:
        assert "make fuzz needs atheris" in done.output
    else:
        assert done.exit_code == 0, done.output
        name, inputs, runs, *_, findings = done.output.splitlines()[-1].split()
        assert (name, findings) == ("listing", "0")
        assert int(inputs) >= len(cases(TARGETS["listing"]))
        assert int(runs) > int(inputs)


def test_a_finding_can_be_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = tmp_path / "crash"
    case.write_bytes(b"\2canary-5f3a")
    assert CliRunner().invoke(main, ["--target", "replies", str(case)]).exit_code == 0
    monkeypatch.setattr(Cleaner, "__call__", shows_all)
    done = CliRunner().invoke(main, ["--target", "replies", str(case)])
    assert done.exit_code == 1
    assert "AssertionError" in done.output
