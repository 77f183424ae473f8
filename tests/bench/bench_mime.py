"""How fast messages are read, beside the standard library: `python tests/bench/bench_mime.py`.

Rules of this file:
- All contestants in turn, round after round, so that a slow moment of the machine hits each of them.
- CPU seconds of this process; the best round counts.
- The standard library is asked for what the event needs as well: header fields, text, decoded attachments.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import hashlib
import random
import time
from collections.abc import Callable
from email.message import EmailMessage

from ingest.mime.decoders import decoded
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message

LIMITS = MimeLimits()
FIELDS = ("From", "To", "Cc", "Subject", "Date", "Message-ID", "References")


def small_message(seed: int, *, shape: str) -> bytes:
    """About 4 KB with the header of a message that went through three relays."""
    rng = random.Random(seed)
    words = ["invoice", "order", "shipping", "total", "amount", "customer", "number", "please", "find", "thank", "you"]
    message = EmailMessage()
    for hop in range(3):
        message["Received"] = (
            f"from mx{hop}.example.com (mx{hop}.example.com [192.0.2.{hop}]) by mail{hop}.example.net (Postfix) "
            f"with ESMTPS id {rng.getrandbits(48):012X} for <billing@example.net>; Mon, 03 Mar 2025 10:0{hop}:00 +0000"
        )
    signature = " ".join(f"{rng.getrandbits(256):x}" for _ in range(5))
    message["DKIM-Signature"] = f"v=1; a=rsa-sha256; d=example.com; s=s1; h=from:to:subject; b={signature}"
    message["Authentication-Results"] = "mail.example.net; dkim=pass header.d=example.com; spf=pass smtp.mailfrom=a"
    message["From"] = f"Jane Example {seed} <jane{seed}@example.com>"
    message["To"] = '"Billing, Example" <billing@example.net>, orders@example.net'
    message["Cc"] = "Räksmörgås Ltd <info@example.org>"
    message["Subject"] = f"Rechnung Nº {seed} für März" if seed % 2 else f"Invoice {seed} for March"
    message["Date"] = "Mon, 03 Mar 2025 10:00:00 +0000"
    message["Message-ID"] = f"<{rng.getrandbits(64):x}@example.com>"
    message["References"] = f"<{rng.getrandbits(64):x}@example.com> <{rng.getrandbits(64):x}@example.com>"
    text = "\n".join(" ".join(rng.choices(words, k=10)) for _ in range(36 if shape == "plain" else 16)) + "\n"
    message.set_content(text + ("Grüße\n" if seed % 2 else ""))
    if shape != "plain":
        message.add_alternative(f"<html><body><p>{text}</p></body></html>\n", subtype="html")
    if shape == "attachment":
        message.add_attachment(rng.randbytes(256), maintype="application", subtype="pdf", filename="Rechnung März.pdf")
    return message.as_bytes(policy=email.policy.SMTP)


def large_message() -> bytes:
    """1.4 MB, nearly all of it one attachment."""
    message = EmailMessage()
    message["From"], message["Subject"] = "Jane Example <jane@example.com>", "Scan"
    message.set_content("See the attachment.\n")
    data = random.Random(1).randbytes(1_000_000)
    message.add_attachment(data, maintype="application", subtype="pdf", filename="scan.pdf")
    return message.as_bytes(policy=email.policy.SMTP)


def ours(raw: bytes) -> None:
    parsed = read_message(raw, LIMITS)
    for part in parsed.attachments:
        digest = hashlib.sha256()
        for chunk in decoded(raw, part):
            digest.update(chunk)


def email_default(raw: bytes) -> None:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    for name in FIELDS:
        str(message[name])
    for kind in ("plain", "html"):
        body = message.get_body((kind,))
        if body is not None:
            body.get_content()
    for part in message.iter_attachments():
        hashlib.sha256(part.get_content()).digest()


def email_compat32(raw: bytes) -> None:
    message = email.message_from_bytes(raw)
    for name in FIELDS:
        str(message[name])
    for part in message.walk():
        if not part.is_multipart():
            payload = part.get_payload(decode=True)
            if part.get_filename():
                hashlib.sha256(payload).digest()


CONTESTANTS: dict[str, Callable[[bytes], None]] = {
    "mailsluice": ours,
    "email compat32": email_compat32,
    "email policy.default": email_default,
}


def best_seconds(corpus: list[bytes], rounds: int) -> dict[str, float]:
    """CPU seconds of each contestant's best round over the corpus."""
    best = dict.fromkeys(CONTESTANTS, float("inf"))
    for _ in range(rounds):
        for name, read in CONTESTANTS.items():
            began = time.process_time()
            for raw in corpus:
                read(raw)
            best[name] = min(best[name], time.process_time() - began)
    return best


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=7)
    rounds = arguments.parse_args().rounds
    print(f"{'messages':<24}{'reader':<24}{'messages/s':>12}{'MB/s':>9}{'ratio':>8}")
    for title, corpus in (
        ("4 KB, text", [small_message(seed, shape="plain") for seed in range(100)]),
        ("4 KB, alternative", [small_message(seed, shape="alternative") for seed in range(100)]),
        ("4 KB, attachment", [small_message(seed, shape="attachment") for seed in range(100)]),
        ("1.4 MB, attachment", [large_message()] * 5),
    ):
        size = sum(map(len, corpus))
        best = best_seconds(corpus, rounds)
        for name, seconds in best.items():
            ratio = best["mailsluice"] / seconds
            line = f"{len(corpus) / seconds:>12,.0f}{size / seconds / 1e6:>9,.0f}{ratio:>8.2f}"
            print(f"{title:<24}{name:<24}{line}")


if __name__ == "__main__":
    main()
