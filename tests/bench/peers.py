"""Programs that fetch mail over POP3, each told to take a whole maildrop once and to leave it on the server.

Rules of this file:
- Each delivers by the cheapest means it has. A program that is not installed is named, and that is no error.
- getmail6 delivers nothing as root: there it runs as nobody.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from mailserver import PASSWORD, USERNAME

Fetch = Callable[[int, Path], None]


def mpop(port: int, directory: Path) -> None:
    """C, pipelines; into a maildir."""
    maildir = _maildir(directory)
    _run(
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
        directory,
    )


def fetchmail(port: int, directory: Path) -> None:
    """C; into one file of batched SMTP, so that no process is started for a message."""
    config = directory / "fetchmailrc"
    config.write_text(
        f"poll 127.0.0.1 protocol pop3 port {port} no dns no uidl:\n"
        f'  username "{USERNAME}" password "{PASSWORD}" fetchall keep sslproto "" bsmtp "{directory}/fetched"\n'
    )
    config.chmod(0o600)
    _run(["fetchmail", f"--fetchmailrc={config}", "--silent", "--nodetach", f"--pidfile={directory}/pid"], directory)


def getmail6(port: int, directory: Path) -> None:
    """Python; into a maildir, which takes a process for each message."""
    with tempfile.TemporaryDirectory() as name:  # where nobody may go, too
        home = Path(name)
        maildir = _maildir(home)
        config = home / "getmailrc"
        config.write_text(
            f"[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {port}\n"
            f"username = {USERNAME}\npassword = {PASSWORD}\n"
            f"[destination]\ntype = Maildir\npath = {maildir}/\n"
            "[options]\nread_all = true\ndelete = false\nverbose = 0\ndelivered_to = false\nreceived = false\n"
        )
        config.chmod(0o600)
        user = "nobody" if os.geteuid() == 0 else None
        if user:
            for path in (home, *home.rglob("*")):
                shutil.chown(path, user)
        _run(["getmail", f"--getmaildir={home}", f"--rcfile={config}"], home, user=user)
        if not any((maildir / "new").iterdir()):
            raise RuntimeError("getmail6 delivered nothing")


PROGRAMS: dict[str, tuple[str, Fetch]] = {
    "mpop": ("mpop", mpop),
    "getmail6": ("getmail", getmail6),
    "fetchmail": ("fetchmail", fetchmail),
}


def installed(names: Sequence[str]) -> dict[str, Fetch]:
    """Those of the programs that are there."""
    return {name: PROGRAMS[name][1] for name in names if shutil.which(PROGRAMS[name][0])}


def missing(names: Sequence[str]) -> list[str]:
    """The others."""
    return [name for name in names if not shutil.which(PROGRAMS[name][0])]


def _maildir(directory: Path) -> Path:
    maildir = Path(tempfile.mkdtemp(dir=directory))
    for box in ("new", "cur", "tmp"):
        (maildir / box).mkdir()
    return maildir


def _run(command: Sequence[str], home: Path, *, user: str | None = None) -> None:
    done = subprocess.run(
        command,
        cwd=home,
        env={**os.environ, "HOME": str(home), "FETCHMAILHOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
        user=user,
        extra_groups=[] if user else None,
        group="nogroup" if user else None,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout.decode(errors='replace').strip()}")
