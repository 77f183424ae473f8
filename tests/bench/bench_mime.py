"""How fast messages are read, beside other readers: `PYTHONPATH=. python tests/bench/bench_mime.py`.

Rules of this file:
- All contestants in turn, round after round, so that a slow moment of the machine hits each of them; CPU seconds of
  this process, the best round counts.
- Everybody is asked for the header fields of an event, text and html, and every attachment decoded and hashed.
- More messages than any cache of ours has places, each with ids, boundaries and names of its own: what is cached is
  what repeats in real mail.
"""

from __future__ import annotations

import argparse
import base64
import email
import email.policy
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import fast_mail_parser
import mailparser
from report import print_table
from rooms import Rooms
from sample_mail import large_message, small_message

from ingest.events.build import RawObject, received
from ingest.mime.decoders import decoded
from ingest.mime.identity import identity_digest
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message
from ingest.models import Account, OutgoingEvent, ParsedMessage, StoredPart

LIMITS = MimeLimits()
FIELDS = ("From", "To", "Cc", "Reply-To", "Sender", "Subject", "Date", "Message-ID", "In-Reply-To", "References")
PEER_FIELDS = ("headers", "subject", "from_", "to", "cc", "reply_to", "text_plain", "text_html")
MESSAGES = 600
SLOW = 20  # the slowest read every so manieth message: a round takes a second of them
PEER = "fast-mail-parser"
GOALS = {"4 KB": (0.30, 0.60), "1.4 MB": (1.4, 1.4)}
Reader = Callable[[bytes], object]


def ours(raw: bytes) -> tuple[ParsedMessage, bytes, list[StoredPart]]:
    """All that an event needs."""
    parsed = read_message(raw, LIMITS)
    stored = []
    for part in parsed.attachments:
        digest, size = hashlib.sha256(), 0
        for chunk in decoded(raw, part):
            digest.update(chunk)
            size += len(chunk)
        stored.append(StoredPart(part, "s3://mail/attachment", size, digest.hexdigest()))
    return parsed, identity_digest(raw, parsed.header_end, b"\0" * 32), stored


def ours_as_json(raw: bytes) -> OutgoingEvent:
    """And the event, ready for the stream."""
    parsed, identity, parts = ours(raw)
    return received(
        ACCOUNT,
        b"000000a3660a1b2c",
        parsed,
        identity=identity,
        raw=RawObject("s3://mail/raw", len(raw), "0" * 64),
        parts=parts,
        first_seen=NOW,
        time=NOW,
        max_bytes=1 << 20,
    )


def with_fast_mail_parser(raw: bytes) -> None:
    mail = fast_mail_parser.parse_email(raw)
    for name in (*PEER_FIELDS, "date_parsed"):
        getattr(mail, name)
    for part in mail.attachments:
        hashlib.sha256(part.content).hexdigest()


def with_mail_parser(raw: bytes) -> None:
    mail = mailparser.parse_from_bytes(raw)
    for name in (
        "headers",
        "subject",
        "from_",
        "to",
        "cc",
        "reply_to",
        "date",
        "message_id",
        "text_plain",
        "text_html",
    ):
        getattr(mail, name)
    for part in mail.attachments:
        encoded = part["content_transfer_encoding"] == "base64"
        hashlib.sha256(base64.b64decode(part["payload"]) if encoded else part["payload"].encode()).hexdigest()


def with_email_default(raw: bytes) -> None:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    for name in FIELDS:
        str(message[name])
    for kind in ("plain", "html"):
        body = message.get_body((kind,))
        if body is not None:
            body.get_content()
    for part in message.iter_attachments():
        hashlib.sha256(part.get_content()).hexdigest()


def with_email_compat32(raw: bytes) -> None:
    message = email.message_from_bytes(raw)
    for name in FIELDS:
        str(message[name])
    for part in message.walk():
        if not part.is_multipart():
            payload = part.get_payload(decode=True)
            if part.get_filename():
                hashlib.sha256(payload).hexdigest()


ACCOUNT = Account("billing", "mail.example.net", 995, "billing", "")
NOW = datetime(2025, 3, 3, 10, tzinfo=UTC)
CONTESTANTS: Mapping[str, tuple[Reader, int]] = {
    "mailsluice": (ours, 1),
    "mailsluice, with the event's JSON": (ours_as_json, 1),
    PEER: (with_fast_mail_parser, 1),
    "email compat32": (with_email_compat32, SLOW),
    "email policy.default": (with_email_default, SLOW),
    "mail-parser": (with_mail_parser, SLOW),
}


def best_seconds(corpus: Sequence[bytes], rounds: int) -> dict[str, float]:
    """CPU seconds a message, of each contestant's best round."""
    best = dict.fromkeys(CONTESTANTS, float("inf"))
    for _ in range(rounds):
        for name, (read, every) in CONTESTANTS.items():
            messages = corpus[::every]
            began = time.process_time()
            for raw in messages:
                read(raw)
            best[name] = min(best[name], (time.process_time() - began) / len(messages))
    return best


def profile(title: str, corpus: Sequence[bytes], seconds: float) -> None:
    """Where the time goes, by file of ours, with the libraries that it calls."""
    rooms, until = Rooms(), time.process_time() + seconds
    with rooms.watching():
        while time.process_time() < until:
            for raw in corpus:
                ours_as_json(raw)
    rooms.report_files(f"{title}, outside is hashing the attachments")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--profile-seconds", type=float, default=3.0)
    asked = arguments.parse_args()
    corpora = {
        **{
            f"4 KB, {shape}": [small_message(seed, shape=shape) for seed in range(MESSAGES)]
            for shape in ("text", "alternative", "attachment")
        },
        "1.4 MB, attachment": [large_message(seed) for seed in range(SLOW)],
    }
    for title, corpus in corpora.items():
        octets = sum(map(len, corpus)) / len(corpus)
        best = best_seconds(corpus, asked.rounds)
        goal, aim = GOALS[title.partition(",")[0]]
        print_table(
            f"{title}; of {PEER}'s speed the goal is {goal}, the aim {aim}",
            ("", "messages/s", "MB/s", f"of {PEER}", "our speed"),
            [
                (
                    name,
                    f"{1 / cost:,.0f}",
                    f"{octets / cost / 1e6:,.1f}",
                    f"{best[PEER] / cost:.2f}",
                    f"{cost / best['mailsluice']:.2f} x",
                )
                for name, cost in best.items()
            ],
        )
    for title, corpus in corpora.items():
        profile(title, corpus, asked.profile_seconds)


if __name__ == "__main__":
    main()
