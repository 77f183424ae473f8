"""`mailsluice relay`: from the stream to the sink, as a process of its own.

Rules of this room:
- It runs until SIGTERM or Ctrl-C, then finishes the events that are on their way, and ends with exit code 0. A sink
  that is down ends nothing: it is waited for.
- A thread a shard; a fault of ours in one of them ends them all, so that whoever runs us sees it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import click

from ingest.cli.output import as_json, complain, dump
from ingest.cli.services import pass_logging_services
from ingest.cli.stack import stop_requests
from ingest.relay import Relay, Relayed
from ingest.wiring import Services

_LOOK_S = 0.2


@click.command(epilog="Example: MAILSLUICE_SINK_URL=https://hooks.example.com/mail mailsluice relay")
@click.option("--once", is_flag=True, help="End when nothing waits that the sink takes now.")
@as_json
@pass_logging_services
def relay(services: Services, *, once: bool, as_json: bool) -> None:
    """Bring events from the stream to MAILSLUICE_SINK_URL until it is asked to stop.

    An event is acknowledged once the sink confirmed it. Several relays may run: one works, the others stand by.
    With --once, exit code 1 if anything failed or was refused.
    """
    with stop_requests() as asked:
        services.drain = asked
        services.sink  # noqa: B018 - a wrong setting is said before Redis is waited for
        services.wait_for_state()
        done = _run(services.relays, asked, once=once)
    sent, dead, left = (sum(getattr(each, figure) for each in done) for figure in ("sent", "dead", "left"))
    busy = sum(each.busy for each in done)
    if as_json:
        dump({"sent": sent, "dead": dead, "left": left, "busy": busy}, indent=None)
    else:
        others = f"; another relay has {busy} of {len(done)} shards" if busy else ""
        click.echo(f"{sent} sent, {dead} to the dead letters, {left} left{others}")
    if once and (dead or any(each.failure for each in done)):
        for line in dict.fromkeys(str(each.failure) for each in done if each.failure):
            complain(line)
        click.get_current_context().exit(1)


def _run(relays: Sequence[Relay], asked: threading.Event, *, once: bool) -> list[Relayed]:
    with ThreadPoolExecutor(len(relays), thread_name_prefix="relay") as threads:
        running = [threads.submit(each.run, once=once) for each in relays]
        while wait(running, _LOOK_S, FIRST_EXCEPTION).not_done:  # a signal does not end a wait without end for certain
            if any(each.done() and each.exception() for each in running):
                asked.set()
    return [each.result() for each in running]
