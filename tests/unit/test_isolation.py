"""What we and the process of a message alone say to each other, without the process."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from ingest.errors import ConfigurationError, IngestError, SlowDown
from ingest.isolation import Confines, Phase, Task, Word, as_error, longest_word
from ingest.models import Account, Failure, MessageRef, OutgoingEvent
from ingest.pipeline import Processed

FIRST_SEEN = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
ACCOUNT = Account("a", "pop.example.com", 995, "u", "sealed:canary", tags={"team": "finance"}, keep_s=3)


def task(uidl: bytes | None) -> Task:
    return Task.of(
        ACCOUNT,
        MessageRef(1, 2, uidl),
        3,
        first_seen=FIRST_SEEN,
        settings={"storage_url": "file:///srv"},
        confines=Confines(1, 2, 3),
    )


@pytest.mark.parametrize("uidl", [None, b"", b"plain", bytes(range(256))])
def test_a_task_arrives_as_it_was_sent_whatever_octets_its_uidl_has(uidl: bytes | None) -> None:
    line = task(uidl).line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    got = Task.model_validate_json(line)
    assert got.ref == MessageRef(1, 2, uidl)
    assert got.first_seen.isoformat() == FIRST_SEEN.isoformat()
    assert (got.account.id, got.account.tags, got.account.keep_s) == ("a", {"team": "finance"}, 3)


def test_a_task_carries_no_password() -> None:
    assert b"canary" not in task(b"x").line()


@pytest.mark.parametrize(
    "said",
    [
        Phase.READING,
        Phase.STORING,
        Processed(OutgoingEvent("id", "type", '{"ä":\n"\0"}'.encode()), bytes(range(224, 256)), True, 3),
        Failure.of(SlowDown("wait", todo="for it", after_s=3.5)),
    ],
)
def test_each_word_arrives_as_it_was_said(said: Phase | Processed | Failure) -> None:
    line = Word(said=said).line()
    assert line.count(b"\n") == 1
    assert Word.model_validate_json(line).said == said


def test_the_longest_word_has_room_for_an_event_of_full_size() -> None:
    processed = Processed(OutgoingEvent("i" * 32, "t" * 100, b"\xff" * (1 << 20)), bytes(32), True, 1000)
    assert len(Word(said=processed).line()) < longest_word(1 << 20)


@pytest.mark.parametrize("kind", [*IngestError.__subclasses__(), IngestError], ids=lambda kind: kind.code)
def test_an_error_comes_back_as_the_class_it_was(kind: type[IngestError]) -> None:
    failed = Failure.of(kind(["wrong"]) if issubclass(kind, ConfigurationError) else kind("wrong", todo="mend"))
    error = as_error(Failure(**json.loads(Word(said=failed).line())["said"]))
    assert type(error) is kind
    assert error.what == "wrong"
    assert error.todo == failed.todo
