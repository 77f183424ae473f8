"""Polls over TLS that find nothing new, beside poplib as people write it.

Rules of this file:
- The certificate is checked by everybody, against a CA set as large as the system's: ours stands at its end.
- First the way there alone, connect to greeting, at the simulator; then whole polls at a real Dovecot.
"""

from __future__ import annotations

import poplib
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

from contestants import PASSWORD, USERNAME, Place, account_of, mailsluice, poll
from mailserver import Mail, MailServer, message
from report import interleaved, print_table
from rooms import Rooms
from servers.dovecot import DovecotServer
from servers.redis import RedisServer

from ingest.adapters.tcp import TcpDialer
from ingest.models import Tls
from ingest.wiring import Services

MESSAGES = 5
POLLS = 40
DIALS = 40
ROUNDS = 3
LOOPBACK = ["127.0.0.0/8", "::1/128"]
Contestants = dict[str, Callable[[int], object]]


def as_large_as_the_system_s(ca_file: Path, directory: Path) -> Path:
    """A bundle of this CA behind the system's, so that a context costs what it does everywhere."""
    system = ssl.get_default_verify_paths()
    bundle = directory / "bundle.pem"
    found = [Path(path) for path in (system.cafile, "/etc/ssl/certs/ca-certificates.crt") if path]
    first = next((path.read_bytes() for path in found if path.exists()), b"")
    bundle.write_bytes(first + b"\n" + ca_file.read_bytes())
    return bundle


def times(count: int, what: Callable[[], object]) -> Callable[[int], None]:
    def run(_: int) -> None:
        for _ in range(count):
            what()

    return run


def log_in(place: Place, context: ssl.SSLContext) -> poplib.POP3_SSL:
    return poplib.POP3_SSL(place.host, place.port, timeout=30, context=context)


def poll_by_hand(place: Place, context: ssl.SSLContext) -> None:
    """As in every tutorial."""
    session = log_in(place, context)
    session.user(USERNAME)
    session.pass_(PASSWORD)
    count, _ = session.stat()
    listed = session.uidl()[1]
    if not count == len(listed) == MESSAGES:
        raise RuntimeError("not the maildrop that was to be measured")
    session.quit()


def ways_there(place: Place) -> Contestants:
    """Connect, shake hands, hear the greeting, hang up."""
    ca_file = str(place.ca_file)
    resuming, shared = TcpDialer(10, ca_file, LOOPBACK), ssl.create_default_context(cafile=ca_file)

    room = memoryview(bytearray(512))

    def dial(dialer: TcpDialer) -> None:
        stream = dialer.dial(place.host, place.port, tls=Tls.IMPLICIT, ca_file=None)
        stream.receive_into(room, 10)
        stream.close()

    def forgetful() -> None:
        for _, trust in resuming._trusts._by_ca_file.values():
            trust._sessions._kept.clear()
        dial(resuming)

    return {
        "mailsluice, resumed": times(DIALS, lambda: dial(resuming)),
        "mailsluice, in full": times(DIALS, forgetful),
        "poplib, one context": times(DIALS, lambda: log_in(place, shared).close()),
        "poplib, a context each": times(
            DIALS, lambda: log_in(place, ssl.create_default_context(cafile=ca_file)).close()
        ),
    }


def polls(place: Place, services: Services, directory: Path) -> Contestants:
    account = account_of(place, "tls", directory, first_poll="new")
    shared = ssl.create_default_context(cafile=str(place.ca_file))
    poll(services, account)
    return {
        "mailsluice": times(POLLS, lambda: poll(services, account)),
        "poplib, one context": times(POLLS, lambda: poll_by_hand(place, shared)),
        "poplib, a context each": times(
            POLLS, lambda: poll_by_hand(place, ssl.create_default_context(cafile=str(place.ca_file)))
        ),
    }


def compare(title: str, contestants: Contestants, work: int) -> None:
    costs = interleaved(contestants, ROUNDS)
    first = next(iter(costs.values()))
    print_table(
        title,
        ("", "CPU ms", "a CPU second", "wall ms", "our speed"),
        [
            (
                name,
                f"{1000 * cost.cpu_s / work:.2f}",
                f"{work / cost.cpu_s:,.0f}",
                f"{1000 * cost.wall_s / work:.2f}",
                f"{cost.cpu_s / first.cpu_s:.2f} x",
            )
            for name, cost in costs.items()
        ],
    )


def the_way_there(directory: Path) -> None:
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        mail = {USERNAME: Mail("tiny", MESSAGES)}
        with MailServer(directory / version.name, mail, tls=True, newest=version) as server:
            bundle = as_large_as_the_system_s(server.ca_file, server.directory)
            contest = ways_there(Place("localhost", server.port, bundle))
            compare(f"{version.name}: connect, handshake, greeting", contest, DIALS)


def whole_polls(directory: Path) -> None:
    with (
        RedisServer(directory / "redis") as redis_server,
        mailsluice(directory, redis_server.url(), (directory / "store").as_uri()) as services,
        DovecotServer(directory / "dovecot", {USERNAME: PASSWORD}) as server,
    ):
        bundle = as_large_as_the_system_s(server.ca_file, server.directory)
        for number in range(MESSAGES):
            server.deliver(USERNAME, message(Mail("tiny", MESSAGES), number))
        contest = polls(Place("localhost", server.tls_port, bundle), services, directory)
        compare(f"Dovecot, TLS 1.3: polls of {MESSAGES} seen messages", contest, POLLS)
        rooms = Rooms()
        with rooms.watching():
            for number in range(ROUNDS):
                contest["mailsluice"](number)
        rooms.report("mailsluice, idle over TLS")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="mb") as name:
        directory = Path(name)
        directory.chmod(0o755)  # Dovecot's mail belongs to nobody
        (directory / "store").mkdir()
        the_way_there(directory)
        whole_polls(directory)


if __name__ == "__main__":
    main()
