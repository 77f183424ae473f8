"""`python -m fidelity`: this reader and the standard library's over real mail. Exit 1 on anything not listed.

Rules of this room:
- A folder of one's own mail can be compared, too; what is found there is told and never kept.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import click
from fidelity.comparison import Comparison, Summary, listed
from fidelity.corpora import NO_NPM, archives, at_hand, fetch, read
from fidelity.messages import of_folder

_HEADINGS = ("messages", "fields", "aside", "agree", "listed", "unlisted", "stale")


@click.command(epilog="Example: python -m fidelity ~/Maildir/cur")
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folders: tuple[Path, ...]) -> None:
    """Compare the pinned corpora, or only the mail in FOLDERS.

    `aside`: fields that the standard library reports a defect of. `stale`: listed, and no longer so.
    """
    warnings.simplefilter("ignore")  # the standard library's, about the mail
    comparison = Comparison(listed())
    click.echo(f"{'corpus':<18}" + "".join(f"{heading:>10}" for heading in _HEADINGS))
    summaries = [_told(comparison.of(folder.name, of_folder(folder))) for folder in folders]
    missing = False
    if not folders:
        summaries = [_told(comparison.of(name, messages)) for name, messages in at_hand()]
        for archive in archives():
            if failed := fetch(archive):
                click.echo(f"{archive.name:<18}not fetched: {failed}")
                missing |= failed != NO_NPM
            else:
                summaries.append(_told(comparison.of(archive.name, read(archive))))
    _row("all", *(sum(column) for column in zip(*map(_counts, summaries), strict=True)))
    for summary in summaries:
        for found, sides in summary.unlisted.items():
            click.echo(f"\nunlisted: {' | '.join(found)}\n{sides}")
        for stale in summary.stale:
            click.echo(f"\nlisted, and no longer so: {' | '.join(stale)}")
    sys.exit(missing or any(summary.unlisted or summary.stale for summary in summaries))


def _counts(summary: Summary) -> tuple[int, ...]:
    rest = (summary.agreed, summary.listed, len(summary.unlisted), len(summary.stale))
    return (summary.messages, summary.fields, summary.aside, *rest)


def _told(summary: Summary) -> Summary:
    _row(summary.corpus, *_counts(summary))
    return summary


def _row(name: str, *counts: int) -> None:
    click.echo(f"{name:<18}" + "".join(f"{count:>10}" for count in counts))


if __name__ == "__main__":
    main()
