"""`python -m ingest.simulator`: serves the sample mail until Ctrl-C.

Rules of this room:
- Arguments, output and signals only; the first line of output says where it listens, for people and for scripts.
"""

from __future__ import annotations

import argparse
import signal
import ssl
import sys
import threading
from collections.abc import Sequence
from typing import TextIO

from ingest.simulator.samples import sample_maildrops
from ingest.simulator.server import Simulator


def main(arguments: Sequence[str] | None = None, out: TextIO = sys.stdout) -> int:
    """Serve until SIGINT or SIGTERM.

    Args:
        arguments: the command line's; None takes the process's own.
        out: where the output goes.

    Returns:
        The exit code: 0, or 1 where the address can't be had.
    """
    parser = argparse.ArgumentParser(prog="python -m ingest.simulator", description="A POP3 server with sample mail.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--password", default="sample", help="password of every account (default: %(default)s)")
    parser.add_argument("--cert", metavar="FILE", help="certificate and key in PEM: offers STLS")
    parser.add_argument("--implicit-tls", action="store_true", help="TLS from the first octet; needs --cert")
    options = parser.parse_args(arguments)
    if options.implicit_tls and not options.cert:
        parser.error("--implicit-tls needs --cert")

    maildrops = sample_maildrops()
    try:
        simulator = Simulator(
            {name: (options.password, maildrop) for name, maildrop in maildrops.items()},
            host=options.host,
            port=options.port,
            tls=_server_context(options.cert) if options.cert else None,
            implicit_tls=options.implicit_tls,
        )
        simulator.start()
    except OSError as error:
        sys.stderr.write(f"can't serve: {error}\n")
        return 1
    ended = threading.Event()
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        security = "implicit TLS" if options.implicit_tls else "STLS" if options.cert else "no TLS"
        out.write(f"POP3 on {options.host} port {simulator.port} ({security}); Ctrl-C ends it\n")
        out.writelines(f"  user {name:<8} {len(maildrop):>2} messages\n" for name, maildrop in maildrops.items())
        out.flush()
        ended.wait()
    finally:
        simulator.stop()
        for number, handler in before.items():
            signal.signal(number, handler)
    log = simulator.log
    out.write(
        f"{log.sessions} sessions, {log.logins} logins, {sum(log.retrieved.values())} messages retrieved, "
        f"{sum(log.deleted.values())} deleted\n"
    )
    return 0


def _server_context(certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


if __name__ == "__main__":
    sys.exit(main())
