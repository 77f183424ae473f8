"""Retrieving: many small messages over a long line, and large ones next door.

Beside poplib and, where it is installed, mpop (a C program that pipelines; its CPU is that of its process).
The long line is a delay line in a process of its own, 25 ms each way; connecting takes its round trips too.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from contestants import log_in
from delayline import DelayLine
from mailserver import PASSWORD, USERNAME, Mail, MailServer
from report import Cost, interleaved, print_costs, print_table

from ingest.adapters.clock import SystemClock
from ingest.adapters.spool import Spools
from ingest.adapters.tcp import TcpDialer
from ingest.models import Auth, Secret, Tls
from ingest.pop3.session import Retrieved, Session, SessionLimits

SMALL_MESSAGES = 200
ONE_WAY_S = 0.025
FAR_ROUNDS = 1
# octets of the attachment, how many messages of it, rounds
LARGE = ((740_000, 20, 3), (37_000_000, 1, 2))


def ours(port: int, spool_directory: Path) -> int:
    """Octets retrieved into spools, hashed on the way."""
    stream = TcpDialer(allowed_networks=["127.0.0.0/8"]).dial("127.0.0.1", port, tls=Tls.NONE, ca_file=None)
    session = Session(stream, host="127.0.0.1", clock=SystemClock(), limits=SessionLimits())
    session.start(tls=Tls.NONE)
    session.login(USERNAME, Secret(PASSWORD), Auth.AUTO)
    octets = 0
    for got in session.retrieve(session.listing().messages, Spools(spool_directory), max_bytes=1 << 30):
        if not isinstance(got, Retrieved):
            raise TypeError("every message of the bench can be retrieved")
        octets += got.spool.size
        got.spool.close()
    session.quit()
    return octets


def by_hand(server: MailServer, port: int) -> int:
    """Octets retrieved into memory, as poplib gives them: a list of lines."""
    session = log_in(server, port=port)
    octets = 0
    for line in session.uidl()[1]:
        octets += session.retr(int(line.split()[0]))[2]
    session.quit()
    return octets


def mpop(port: int, directory: Path) -> None:
    """The same with mpop, into a new maildir."""
    maildir = Path(tempfile.mkdtemp(dir=directory))
    for box in ("new", "cur", "tmp"):
        (maildir / box).mkdir()
    subprocess.run(
        [
            "mpop",
            "--host=127.0.0.1",
            f"--port={port}",
            f"--user={USERNAME}",
            f"--passwordeval=printf %s '{PASSWORD}'",
            "--auth=user",
            "--tls=off",
            "--keep=on",
            "--pipelining=on",
            "--received-header=off",
            f"--uidls-file={maildir}/uidls",
            f"--delivery=maildir,{maildir}",
            "--quiet",
        ],
        check=True,
        env={**os.environ, "HOME": str(directory)},
    )


def contestants(server: MailServer, directory: Path, ports: Mapping[str, int]) -> dict[str, Callable[[int], object]]:
    """Each at the port that is given under its name; without mpop where it is not installed."""
    all_: dict[str, Callable[[int], object]] = {
        "mailsluice": lambda _: ours(ports["mailsluice"], directory),
        "poplib": lambda _: by_hand(server, ports["poplib"]),
        "mpop": lambda _: mpop(ports["mpop"], directory),
    }
    return {name: run for name, run in all_.items() if name != "mpop" or shutil.which("mpop")}


def add_children(costs: dict[str, Cost], runs: Mapping[str, Callable[[int], object]], rounds: int) -> None:
    """The CPU of mpop is that of the process it was."""
    if "mpop" not in costs:
        return
    best = float("inf")
    for number in range(rounds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        runs["mpop"](number)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    costs["mpop"].cpu_s = best


def far(directory: Path) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(MailServer(directory / "small", {USERNAME: Mail("text", SMALL_MESSAGES)}))
        lines = {
            name: stack.enter_context(DelayLine(directory / name, server.port, ONE_WAY_S))
            for name in ("mailsluice", "poplib", "mpop")
        }
        runs = contestants(server, directory, {name: line.port for name, line in lines.items()})
        costs = interleaved(runs, FAR_ROUNDS)
        add_children(costs, runs, 1)
        flights = {name: lines[name].travelled()[-1].flights for name in costs}
    first = costs["mailsluice"].wall_s
    print_table(
        f"{SMALL_MESSAGES} messages of 4 KB at {2000 * ONE_WAY_S:.0f} ms round trip, connecting included",
        ("", "wall s", "flights", "CPU s", "our speed"),
        [
            (name, f"{cost.wall_s:.2f}", f"{flights[name]}", f"{cost.cpu_s:.3f}", f"{cost.wall_s / first:.1f} x")
            for name, cost in costs.items()
        ],
    )


def large(directory: Path, attachment_bytes: int, count: int, rounds: int) -> None:
    mail = Mail("attachment", count, attachment_bytes)
    with MailServer(directory / f"large{attachment_bytes}", {USERNAME: mail}) as server:
        megabytes = ours(server.port, directory) / 1e6
        runs = contestants(server, directory, dict.fromkeys(("mailsluice", "poplib", "mpop"), server.port))
        costs = interleaved(runs, rounds)
        add_children(costs, runs, rounds)
    print_costs(f"{count} x {megabytes / count:.0f} MB, next door", costs, work=megabytes, unit="MB")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        far(directory)
        for attachment_bytes, count, rounds in LARGE:
            large(directory, attachment_bytes, count, rounds)
    if not shutil.which("mpop"):
        print("\nmpop is not installed and was skipped (apt install mpop)")


if __name__ == "__main__":
    main()
