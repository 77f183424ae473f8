"""A simulator in the foreground: started, said to be there, and ended by a signal.

Rules of this room:
- What is said is for people or, as one JSON value a line, for programs; the first line says where it listens.
- What is wrong before it serves is a `CannotServe`, with one line for a person. A behaviour that could not show on the
  connections asked for is wrong usage, lest a client seem to stand it.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TextIO

from ingest.simulator.behaviour import Behaviour, Certificate
from ingest.simulator.behaviours import Over
from ingest.simulator.log import Figures
from ingest.simulator.maildrop import Maildrop
from ingest.simulator.names import ALL, behaviour_named
from ingest.simulator.samples import sample_maildrops
from ingest.simulator.server import Contexts, Simulator


class CannotServe(Exception):
    """One line: what stands in the way."""


class WrongUsage(CannotServe):
    """One line: what is wrong with what was asked for."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What is to be served.

    Attributes:
        host, port: where to listen; port 0 takes a free one.
        password: of every account.
        behaviours: names, all of which play at once.
        latency_s: wait before each flight of replies.
        tls: "implicit", "starttls" or None.
        certificate: PEM file with certificate and key; None makes throw-away ones where TLS is asked for.
        ca_file: where the throw-away authority's certificate is written for clients.
        as_json: say everything in JSON.
    """

    host: str = "127.0.0.1"
    port: int = 0
    password: str = "sample"  # noqa: S105 - of sample mail, and said in the help
    behaviours: tuple[str, ...] = ()
    latency_s: float = 0.0
    tls: str | None = None
    certificate: str | None = None
    ca_file: str | None = None
    as_json: bool = False


def serve(wanted: Serving, out: TextIO) -> None:
    """Serve the sample mail until SIGINT or SIGTERM; CannotServe, WrongUsage."""
    maildrops = sample_maildrops()
    simulator = Simulator(
        {name: (wanted.password, maildrop) for name, maildrop in maildrops.items()},
        behaviour=_behaviour(wanted),
        host=wanted.host,
        port=wanted.port,
        tls=_contexts(wanted),
        implicit_tls=wanted.tls == "implicit",
    )
    try:
        simulator.start()
    except OSError as error:
        raise CannotServe(f"can't serve: {wanted.host} port {wanted.port}: {_why(error)}") from error
    ended = threading.Event()
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        out.write(_beginning(wanted, simulator.port, maildrops))
        out.flush()
        ended.wait()
    finally:
        simulator.stop()
        for number, handler in before.items():
            signal.signal(number, handler)
    out.write(_end(wanted, simulator.log))


def _behaviour(wanted: Serving) -> Behaviour:
    try:
        behaviour = behaviour_named(wanted.behaviours)
    except ValueError as error:
        raise WrongUsage(str(error)) from error
    for name in wanted.behaviours:
        over, shown = ALL[name].over, wanted.tls
        if (over is Over.TLS and shown is None) or (over is Over.STARTTLS and shown != "starttls"):
            raise WrongUsage(f"{name} shows over {over.value} only")
    if wanted.certificate is not None and behaviour.certificate is not Certificate.GOOD:
        raise WrongUsage(f"{', '.join(wanted.behaviours)}: needs a throw-away certificate")
    return replace(behaviour, latency_s=wanted.latency_s or behaviour.latency_s)


def _contexts(wanted: Serving) -> ssl.SSLContext | Contexts | None:
    if wanted.tls is None:
        return None
    if wanted.certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(wanted.certificate)
        except OSError as error:
            raise CannotServe(f"can't serve TLS: {wanted.certificate}: {_why(error)}") from error
        return context
    try:
        from ingest.simulator.authority import LOOPBACK, Authority  # noqa: PLC0415 - heavy, and seldom wanted

        authority = Authority(tuple(dict.fromkeys((*LOOPBACK, wanted.host))))
        if wanted.ca_file is not None:
            Path(wanted.ca_file).write_bytes(authority.ca_pem)
    except OSError as error:
        raise CannotServe(f"can't serve TLS: {wanted.ca_file}: {_why(error)}") from error
    return authority


def _why(error: OSError) -> str:
    """The system's words, without numbers, and without what Python adds."""
    if isinstance(error, ssl.SSLError):
        return "holds no certificate with its key in PEM"
    if error.errno is not None and error.errno > 0:  # a name that does not resolve has a number of its own kind
        return os.strerror(error.errno)
    return (error.strerror or str(error)).partition(" (while")[0]


def _beginning(wanted: Serving, port: int, maildrops: Mapping[str, Maildrop]) -> str:
    if wanted.as_json:
        what = {
            "host": wanted.host,
            "port": port,
            "tls": wanted.tls,
            "ca_file": wanted.ca_file,
            "behaviours": list(wanted.behaviours),
            "users": {name: len(maildrop) for name, maildrop in maildrops.items()},
        }
        return json.dumps(what) + "\n"
    security = {"implicit": "implicit TLS", "starttls": "STLS"}.get(wanted.tls or "", "no TLS")
    lines = [f"POP3 on {wanted.host} port {port} ({security}); Ctrl-C ends it"]
    if wanted.behaviours:
        lines.append(f"  behaves: {', '.join(wanted.behaviours)}")
    lines += [f"  user {name:<8} {len(maildrop):>2} messages" for name, maildrop in maildrops.items()]
    return "".join(f"{line}\n" for line in lines)


def _end(wanted: Serving, log: Figures) -> str:
    retrieved, deleted = sum(log.retrieved.values()), sum(log.deleted.values())
    if wanted.as_json:
        figures = {name: value for name, value in asdict(log).items() if isinstance(value, int)}
        return json.dumps({**figures, "retrieved": retrieved, "deleted": deleted}) + "\n"
    return f"{log.sessions} sessions, {log.logins} logins, {retrieved} messages retrieved, {deleted} deleted\n"
