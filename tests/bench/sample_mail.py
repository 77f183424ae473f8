"""Made-up messages for the benchmarks: the same seed gives the same message (but for its boundaries)."""

from __future__ import annotations

import email.policy
import random
from email.message import EmailMessage

WORDS = ("invoice", "order", "shipping", "total", "amount", "customer", "number", "please", "find", "thank", "you")


def small_message(seed: int, *, shape: str) -> bytes:
    """About 4 KB with the header of a message that went through three relays."""
    rng = random.Random(seed)
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
    message["Cc"] = f"Räksmörgås {seed} Ltd <info{seed}@example.org>"
    message["Subject"] = f"Rechnung Nº {seed} für März" if seed % 2 else f"Invoice {seed} for March"
    message["Date"] = f"Mon, 03 Mar 2025 10:{seed // 60 % 60:02}:{seed % 60:02} +0000"
    message["Message-ID"] = f"<{rng.getrandbits(64):x}@example.com>"
    message["References"] = f"<{rng.getrandbits(64):x}@example.com> <{rng.getrandbits(64):x}@example.com>"
    text = "\n".join(" ".join(rng.choices(WORDS, k=10)) for _ in range(36 if shape == "text" else 16)) + "\n"
    message.set_content(text + ("Grüße\n" if seed % 2 else ""))
    if shape != "text":
        message.add_alternative(f"<html><body><p>{text}</p></body></html>\n", subtype="html")
    if shape == "attachment":
        name = f"Rechnung März {seed}.pdf"
        message.add_attachment(rng.randbytes(256), maintype="application", subtype="pdf", filename=name)
    return message.as_bytes(policy=email.policy.SMTP)


def large_message(seed: int) -> bytes:
    """1.4 MB, nearly all of it one attachment."""
    message = EmailMessage()
    message["From"], message["Subject"] = "Jane Example <jane@example.com>", "Scan"
    message.set_content("See the attachment.\n")
    data = random.Random(seed).randbytes(1_000_000)
    message.add_attachment(data, maintype="application", subtype="pdf", filename="scan.pdf")
    return message.as_bytes(policy=email.policy.SMTP)
