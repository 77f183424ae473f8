"""Our POP3 client alone: one session that retrieves a whole maildrop into spools, hashed on the way.

Rules of this file:
- Nothing else of the product is imported: run as a program it says what the client adds to an interpreter that has
  loaded it. Arguments: a port on 127.0.0.1, user name, password, the directory for spools; prints resident KiB (JSON).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from resident import peak

from ingest.adapters.clock import SystemClock
from ingest.adapters.spool import Spools
from ingest.adapters.tcp import TcpDialer
from ingest.models import Auth, HostProfile, Secret, Tls
from ingest.pop3.session import Retrieved, Session, SessionLimits


def retrieve_all(
    port: int, username: str, password: str, spool_directory: Path, known: HostProfile | None = None
) -> tuple[int, HostProfile]:
    """Octets retrieved, and what was learnt of the host; the one place of this bench that knows how a session is used.

    Without `known` it is a first session: it asks for capabilities and waits behind the password.
    """
    stream = TcpDialer(allowed_networks=["127.0.0.0/8"]).dial("127.0.0.1", port, tls=Tls.NONE, ca_file=None)
    session = Session(stream, host="127.0.0.1", clock=SystemClock(), limits=SessionLimits())
    session.start(tls=Tls.NONE, known=known)
    listing = session.enter(username, Secret(password), Auth.AUTO, session.overview(), across=known is not None)
    octets = 0
    for got in session.retrieve(listing.messages, Spools(spool_directory), max_bytes=1 << 30):
        if not isinstance(got, Retrieved):
            raise TypeError("every message of the bench can be retrieved")
        octets += got.spool.size
        got.spool.close()
    session.quit()
    return octets, known or HostProfile(session.before, session.after, seen_at=0.0, across_login=True)


if __name__ == "__main__":
    port, username, password, directory = sys.argv[1:]
    print(json.dumps(peak(lambda: retrieve_all(int(port), username, password, Path(directory)))))
