"""`python -m chaos`: the long run, on servers of its own, with a table at the end. Exit 1 on any broken promise.

Rules of this room:
- The seed is printed first, and again with whatever is found.
"""

from __future__ import annotations

import random
import secrets
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import click
from servers.dovecot import DovecotServer
from servers.process import ServerUnavailable
from servers.redis import RedisServer
from servers.seaweed import SeaweedServer

from chaos.chain import Tally
from chaos.points import Point
from chaos.pollers import Poller
from chaos.rig import Rig
from chaos.siege import Outcome, besiege

_CHAINS = 2
_SHOWN = 20


@click.command(epilog="Example: python -m chaos --kills 1000 --seed 7")
@click.option("--kills", default=1000, show_default=True, help="How many polls to kill in all.")
@click.option("--each", default=2, show_default=True, help="How many at each point at least.")
@click.option("--accounts", default=60, show_default=True, help="How many maildrops to work on.")
@click.option("--seed", type=int, help="Of mail, accounts, points and arrivals. Made up and printed if not given.")
def main(kills: int, each: int, accounts: int, seed: int | None) -> None:
    """Kill polls at named points, then see whether anything was lost or came twice."""
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    click.echo(f"seed {seed}: {kills} kills over {len(Point)} points, {accounts} accounts")
    users = [f"c{number}" for number in range(accounts)]
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        directory.chmod(0o755)  # Dovecot serves mail as nobody
        try:
            redis_server = stack.enter_context(RedisServer(directory / "redis"))
            seaweed = stack.enter_context(SeaweedServer(directory / "seaweed"))
            dovecot = stack.enter_context(
                DovecotServer(directory / "dovecot", {user: secrets.token_hex(8) for user in users})
            )
        except ServerUnavailable as missing:
            raise click.ClickException(str(missing)) from None
        rig = Rig(
            directory,
            redis_url=redis_server.url(),
            dovecot=dovecot,
            seaweed=seaweed,
            storage_url=f"s3://{seaweed.bucket}/chaos",
            users=users,
        )
        stack.callback(rig.close)
        pollers = [
            stack.enter_context(Poller(rig.environment, directory / f"polls{number}.log")) for number in range(_CHAINS)
        ]
        outcome = besiege(rig, rig.maildrops, pollers, kills=kills, each=each, seed=seed, on_progress=_Progress(kills))
    _print(outcome, seed)
    short = outcome.tally.kills.total() < kills or any(outcome.tally.kills[point] < each for point in Point)
    if short:
        click.echo("some points were not killed at as often as asked for", err=True)
    sys.exit(bool(outcome.violations or short))


class _Progress:
    """A line now and then: on a terminal over the last one, else every ten seconds."""

    def __init__(self, kills: int) -> None:
        self._kills = kills
        self._started = self._said = time.monotonic()
        self._terminal = sys.stdout.isatty()

    def __call__(self, tally: Tally, counts: dict[str, int], violations: int) -> None:
        now = time.monotonic()
        if now - self._said < (0.5 if self._terminal else 10):
            return
        self._said = now
        start = "\r" if self._terminal else ""  # no backslash within an f-string before Python 3.12
        click.echo(
            f"{start}{tally.kills.total()} of {self._kills} kills, "
            f"{counts['messages']} messages, {counts['events']} events, {counts['deleted']} deleted, "
            f"{violations} broken promises, {now - self._started:.0f} s",
            nl=not self._terminal,
        )


def _print(outcome: Outcome, seed: int) -> None:
    tally = outcome.tally
    click.echo(f"\n{'killed':<36}{'kills':>7}{'armed':>7}")
    for point in Point:
        click.echo(f"{point:<36}{tally.kills[point]:>7}{tally.armed[point]:>7}")
    click.echo(f"{'in all':<36}{tally.kills.total():>7}{tally.armed.total():>7}")
    if tally.failed:
        click.echo(f"polls that failed by themselves: {dict(tally.failed)}")
    click.echo(
        f"{outcome.counts['messages']} messages delivered, {outcome.counts['events']} events "
        f"({outcome.counts['shared']} identical copies share one), "
        f"{outcome.counts['deleted']} deleted, {outcome.objects} objects compared, {outcome.seconds:.0f} s\n"
        f"{outcome.of('lost')} lost, {outcome.of('twice')} twice, {outcome.of('object')} objects missing or wrong, "
        f"{len(outcome.violations)} broken promises in all (seed {seed})"
    )
    for violation in outcome.violations[:_SHOWN]:
        click.echo(f"  {violation.kind}: {violation.what}")


if __name__ == "__main__":
    main()
