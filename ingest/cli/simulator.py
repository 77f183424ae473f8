"""`mailsluice simulator`: a POP3 server with sample mail that behaves as it is told, to test clients against.

Rules of this room:
- Options and exit codes only; what it does and says is ingest.simulator's.
- Not for mail: one password for everybody, and everything in memory.
"""

from __future__ import annotations

import sys

import click

from ingest.cli.output import as_json, complain, dump, table
from ingest.simulator.names import ALL
from ingest.simulator.serving import CannotServe, Serving, WrongUsage, serve

_COLUMNS = ("NAME", "THE SERVER", "EXPECTED", "OVER")


@click.command(epilog="Example: mailsluice simulator --behaviour uidl-none --behaviour list-zero --latency-ms 50")
@click.option("--behaviour", "behaviours", multiple=True, metavar="NAME", help="What it does; may be given again.")
@click.option("--latency-ms", default=0, type=click.IntRange(0, 600_000), help="Wait before each flight of replies.")
@click.option("--tls", type=click.Choice(("implicit", "starttls")), help="With a throw-away certificate or --cert.")
@click.option("--cert", metavar="FILE", help="Certificate and key in PEM, in the place of a throw-away one.")
@click.option("--ca-file", metavar="FILE", help="Write the throw-away authority's certificate there.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, type=click.IntRange(0, 65_535), help="Port to listen on; a free one without it.")
@click.option("--password", default="sample", show_default=True, help="Password of every account.")
@click.option("--list", "only_list", is_flag=True, help="List the behaviours and end.")
@as_json
def simulator(
    *,
    behaviours: tuple[str, ...],
    latency_ms: int,
    tls: str | None,
    cert: str | None,
    ca_file: str | None,
    host: str,
    port: int,
    password: str,
    only_list: bool,
    as_json: bool,
) -> None:
    """Serve sample mail over POP3, as well or as badly as asked for, until Ctrl-C."""
    if only_list:
        return _list(as_json=as_json)
    if cert is not None and (tls is None or ca_file is not None):
        raise click.UsageError("--cert needs --tls, and goes without --ca-file")
    if ca_file is not None and tls is None:
        raise click.UsageError("--ca-file needs --tls")
    wanted = Serving(
        host=host,
        port=port,
        password=password,
        behaviours=behaviours,
        latency_s=latency_ms / 1000,
        tls=tls,
        certificate=cert,
        ca_file=ca_file,
        as_json=as_json,
    )
    try:
        serve(wanted, sys.stdout)
    except WrongUsage as error:
        raise click.UsageError(str(error)) from error
    except CannotServe as error:
        complain(str(error))
        click.get_current_context().exit(1)
    return None


def _list(*, as_json: bool) -> None:
    rows = [(each.name, each.what, each.expected, each.over.value) for each in ALL.values()]
    if as_json:
        return dump([dict(zip(("name", "what", "expected", "over"), row, strict=True)) for row in rows])
    return table(_COLUMNS, rows)
