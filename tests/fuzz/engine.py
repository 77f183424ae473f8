"""`python -m fuzz.engine LAUNCHER TARGET [libFuzzer's arguments]`: one target under atheris, a process of its own.

The launcher is a program that starts this one with the first two arguments in place: libFuzzer calls itself by it.
Nothing that is fuzzed may be imported before atheris can instrument it.
"""

from __future__ import annotations

import sys

import atheris

_INSTRUMENTED = ["ingest.pop3", "ingest.errors", "ingest.mime", "ingest.events.build"]


def main() -> None:
    launcher, name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=_INSTRUMENTED, enable_loader_override=False):
        from fuzz.targets import TARGETS  # noqa: PLC0415 - see above
    atheris.Setup([launcher, *arguments], TARGETS[name].run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
