"""What `make fidelity` does, over the mail that needs no network."""

from __future__ import annotations

from pathlib import Path

import pytest
from fidelity.comparison import Comparison, Disagreement, listed
from fidelity.corpora import archives, at_hand
from fidelity.messages import of_folder

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
MESSAGE = b"From: a@x.example (Ann)\nSubject: one\nDate: Tue, 4 Mar 2025 10:00:00 +0100\n\ntext\n"


def test_both_readers_agree_on_the_mail_at_hand_but_for_what_is_listed() -> None:
    comparison = Comparison(listed())
    summaries = [comparison.of(name, messages) for name, messages in at_hand()]
    assert [summary.unlisted for summary in summaries] == [{}] * len(summaries)
    assert [summary.stale for summary in summaries] == [[]] * len(summaries)
    assert sum(summary.fields for summary in summaries) > 200


def test_every_listed_disagreement_has_a_reason_and_a_corpus() -> None:
    corpora = {"stdlib", "corpus", "samples", *(archive.name for archive in archives())}
    assert all(reason and found.corpus in corpora for found, reason in listed().items())


def test_a_listed_disagreement_that_is_gone_is_told() -> None:
    known = Disagreement("own", "1", "Subject")
    assert Comparison([known]).of("own", [("1", MESSAGE)]).stale == [known]


def test_a_disagreement_that_is_not_listed_is_told() -> None:
    named = b"Content-Type: text/plain; name=x.txt\n" + MESSAGE  # an attachment here, a body there
    assert list(Comparison([]).of("own", [("1", named)]).unlisted) == [Disagreement("own", "1", "text")]


def test_mail_is_found_in_files_of_any_name_and_in_mailboxes(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(MESSAGE)
    (tmp_path / "notes.eml").write_bytes(b"Subject: not a message\n")
    separator = b"From a@x.example Tue Mar  4 10:00:00 2025\n"
    (tmp_path / "box").write_bytes(b"\n".join([separator + MESSAGE] * 2))
    assert [name for name, _ in of_folder(tmp_path)] == ["box#1", "box#2", "one"]
