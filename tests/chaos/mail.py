"""The mail that is delivered while polls are killed: each message with a Message-ID of its own, all from one seed.

Rules of this room:
- What the checks compare with is worked out here, from what was written, never from what the product says.
"""

from __future__ import annotations

import email.policy
import hashlib
import random
from dataclasses import dataclass, field
from email.message import EmailMessage

_KINDS = {"plain": 60, "attached": 24, "large": 5, "huge": 1, "copies": 10}


@dataclass(frozen=True)
class Letter:
    """One message as it is delivered, `copies` times; digests in hex."""

    account: str
    message_id: str
    raw: bytes = field(repr=False)
    attachments: tuple[str, ...]
    copies: int

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()


def write(account: str, serial: int, rng: random.Random) -> Letter:
    """The next message of an account: mostly small, some with attachments, a few large, a few identical copies."""
    (kind,) = rng.choices(list(_KINDS), list(_KINDS.values()))
    sizes = {
        "attached": [rng.randrange(1, 30_000) for _ in range(rng.randint(1, 3))],
        "large": [300_000],
        "huge": [1_200_000],  # above what leaves for the store in one piece
    }.get(kind, [])
    message_id = f"<{account}.{serial}@chaos.example>"
    mail = EmailMessage(policy=email.policy.SMTP)
    mail["From"], mail["To"] = "chaos@example.com", f"{account}@example.com"
    mail["Subject"] = f"{kind} no. {serial}"
    mail["Message-ID"] = message_id
    mail.set_content(f"Message {serial} for {account}\n.a leading dot\n" + "text\n" * rng.randrange(200))
    digests = []
    for number, size in enumerate(sizes):
        content = rng.randbytes(size)
        digests.append(hashlib.sha256(content).hexdigest())
        mail.add_attachment(content, maintype="application", subtype="octet-stream", filename=f"{number}.bin")
    copies = rng.randint(2, 3) if kind == "copies" else 1
    return Letter(account, message_id, mail.as_bytes(), tuple(digests), copies)
