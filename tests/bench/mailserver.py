"""The simulated POP3 server in a process of its own, so that its CPU is not counted as a contestant's.

Rules of this file:
- Run as a program it serves what its argument (JSON) says; its messages depend on that alone.
"""

from __future__ import annotations

import base64
import json
import random
import signal
import ssl
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import trustme
from ownprocess import OwnProcess
from sample_mail import small_message
from shapes import SHAPES

from ingest.simulator.behaviour import Behaviour
from ingest.simulator.maildrop import Maildrop
from ingest.simulator.server import Simulator

PASSWORD = "correct horse"
USERNAME = "u"
_LINE_OCTETS = 57  # of content in a base64 line of 76


@dataclass(frozen=True, slots=True)
class Mail:
    """So many messages of one kind: `tiny` (headers only), `text` (4 KB), or `attachment` with so many octets in it.

    Or one of `shapes`, of so many octets.
    """

    kind: str
    count: int
    attachment_bytes: int = 0


class MailServer(OwnProcess):
    """POP3 on `port`, for the name localhost; every user name of `mail` has the same password.

    Args:
        directory: its log and, with `tls`, its certificate and `ca_file`.
        mail: by user name, what lies in the maildrop.
        tls: TLS from the first octet.
        newest: the newest version of it; None for what there is.
    """

    name = "mailserver"

    def __init__(
        self,
        directory: Path,
        mail: Mapping[str, Mail],
        *,
        tls: bool = False,
        newest: ssl.TLSVersion | None = None,
    ) -> None:
        super().__init__(directory)
        self.host = "localhost" if tls else "127.0.0.1"
        self.ca_file = directory / "ca.pem"
        self._certificate = directory / "server.pem" if tls else None
        self._mail = mail
        self._newest = newest
        if self._certificate is not None:
            authority = trustme.CA()
            authority.cert_pem.write_to_path(str(self.ca_file))
            authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(self._certificate))

    def command(self) -> Sequence[str]:
        specification = {
            "port": self.port,
            "certificate": str(self._certificate) if self._certificate else None,
            "newest": self._newest.name if self._newest else None,
            "mail": {user: asdict(mail) for user, mail in self._mail.items()},
        }
        return [sys.executable, __file__, json.dumps(specification)]


def message(mail: Mail, number: int) -> bytes:
    """The message of that number, each different from the others."""
    if mail.kind == "tiny":
        return f"From: a@example.com\r\nSubject: {number}\r\n\r\n".encode()
    if mail.kind == "text":
        return small_message(number, shape="text")
    if mail.kind in SHAPES:
        return SHAPES[mail.kind](mail.attachment_bytes)
    head = (
        f"From: Jane Example <jane@example.com>\r\nTo: billing@example.net\r\nSubject: Scan {number}\r\n"
        f"Date: Mon, 03 Mar 2025 10:00:00 +0000\r\nMessage-ID: <{number}@example.com>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="=_b"\r\n\r\n'
        "--=_b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nSee the attachment.\r\n"
        "--=_b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
        'Content-Disposition: attachment; filename="scan.pdf"\r\n\r\n'
    )
    content = random.Random(number).randbytes(mail.attachment_bytes)
    encoded = base64.b64encode(content)
    width = _LINE_OCTETS * 4 // 3
    lines = b"\r\n".join(encoded[at : at + width] for at in range(0, len(encoded), width))
    return head.encode() + lines + b"\r\n--=_b--\r\n"


def main() -> None:
    specification = json.loads(sys.argv[1])
    users = {}
    for user, fields in specification["mail"].items():
        mail = Mail(**fields)
        users[user] = (PASSWORD, Maildrop(message(mail, number) for number in range(mail.count)))
    context = None
    if specification["certificate"]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(specification["certificate"])
        if specification["newest"]:
            context.maximum_version = ssl.TLSVersion[specification["newest"]]
    behaviour = Behaviour(exclusive=False)  # contestants follow at once on one another
    server = Simulator(
        users, behaviour=behaviour, port=specification["port"], tls=context, implicit_tls=context is not None
    )
    with server:
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
