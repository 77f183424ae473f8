"""Retrieving: many small messages over a long line, large ones next door, and the memory it takes.

Beside poplib and the programs that are installed (mpop pipelines, getmail6 and fetchmail don't).
Our session is one at a host that earlier polls got to know; the first one of all has a row of its own.
What is counted: of us and of poplib one session in this process, from connecting to QUIT; we hash each message and lay
it into a spool, poplib makes a list of lines in memory. Of a program all of its process; its start is shown apart.
The long line is a delay line in a process of its own, 25 ms each way; connecting takes its round trips too.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import ownclient
import peers
from contestants import log_in
from delayline import DelayLine
from mailserver import PASSWORD, USERNAME, Mail, MailServer
from ownprocess import search_path
from report import interleaved, measured, print_costs, print_table

from ingest.models import HostProfile

FIRST = "mailsluice, first poll"
SMALL_MESSAGES = 200
ONE_WAY_S = 0.025
# octets of the attachment, how many messages of it, rounds
LARGE = ((740_000, 40, 4), (37_000_000, 1, 4))
_MIB = 1 << 20


def ours(port: int, spool_directory: Path, known: HostProfile | None = None) -> int:
    """Octets retrieved into spools, hashed on the way."""
    return ownclient.retrieve_all(port, USERNAME, PASSWORD, spool_directory, known)[0]


def by_hand(server: MailServer, port: int) -> int:
    """Octets retrieved into memory, as poplib gives them: a list of lines."""
    session = log_in(server, port=port)
    octets = 0
    for line in session.uidl()[1]:
        octets += session.retr(int(line.split()[0]))[2]
    session.quit()
    return octets


def contestants(
    server: MailServer, directory: Path, ports: Mapping[str, int], programs: Mapping[str, peers.Fetch]
) -> dict[str, Callable[[int], object]]:
    """Each at the port that is given under its name; of us also a first session, where a port is given for it."""
    _, known = ownclient.retrieve_all(server.port, USERNAME, PASSWORD, directory)
    runs: dict[str, Callable[[int], object]] = {
        "mailsluice": lambda _: ours(ports["mailsluice"], directory, known),
        "poplib": lambda _: by_hand(server, ports["poplib"]),
    }
    if FIRST in ports:
        runs[FIRST] = lambda _: ours(ports[FIRST], directory)

    def of(fetch: peers.Fetch, name: str, _: int) -> None:
        with tempfile.TemporaryDirectory(dir=directory) as home:
            fetch(ports[name], Path(home))

    return runs | {name: partial(of, fetch, name) for name, fetch in programs.items()}


def far(directory: Path) -> None:
    programs = peers.installed(["mpop", "getmail6", "fetchmail"])
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(MailServer(directory / "small", {USERNAME: Mail("text", SMALL_MESSAGES)}))
        lines = {
            name: stack.enter_context(DelayLine(directory / name, server.port, ONE_WAY_S))
            for name in ("mailsluice", FIRST, "poplib", *programs)
        }
        runs = contestants(server, directory, {name: line.port for name, line in lines.items()}, programs)
        # Warmed up by that; of seconds of waiting one round is enough.
        costs = interleaved(runs, 1, programs=programs, warm_up=False)
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


def large(directory: Path, attachment_bytes: int, count: int, rounds: int) -> tuple[str, dict[str, int]]:
    """Prints what it costs; what it is, and resident KiB of our client alone."""
    programs = peers.installed(["mpop"])
    mail = Mail("attachment", count, attachment_bytes)
    with MailServer(directory / f"large{attachment_bytes}", {USERNAME: mail}) as server:
        megabytes = ours(server.port, directory) / 1e6
        ports = dict.fromkeys(("mailsluice", "poplib", *programs), server.port)
        costs = interleaved(contestants(server, directory, ports, programs), rounds, programs=programs)
        resident = resident_kib(server.port, directory)
    title = f"{count} x {megabytes / count:.0f} MB"
    print_costs(f"{title}, next door", costs, work=megabytes, unit="MB")
    return title, resident


def resident_kib(port: int, directory: Path) -> dict[str, int]:
    """Of our client in a process that has loaded nothing else, before its session (`loaded`) and at most (`peak`)."""
    done = subprocess.run(
        [sys.executable, ownclient.__file__, str(port), USERNAME, PASSWORD, str(directory)],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONPATH": search_path()},
    )
    figures: dict[str, int] = json.loads(done.stdout)
    return figures


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        far(directory)
        resident = dict(large(directory, *each) for each in LARGE)
    print_table(
        "resident MiB of a process with our client alone",
        ("", "loaded", "peak", "above loaded"),
        [
            (title, *(f"{kib * 1024 / _MIB:.1f}" for kib in (of["loaded"], of["peak"], of["peak"] - of["loaded"])))
            for title, of in resident.items()
        ],
    )
    if peers.installed(["mpop"]):
        with measured(resource.RUSAGE_CHILDREN) as start:
            subprocess.run(["mpop", "--version"], stdout=subprocess.DEVNULL, check=True)
        print(f"\nmpop's start alone takes {start.cpu_s:.3f} CPU s of its figures")
    for name in peers.missing(list(peers.PROGRAMS)):
        print(f"\n{name} is not installed and was left out (apt-get install {name})")


if __name__ == "__main__":
    main()
