"""`python -m fuzz`: each target a share of the time, from its seeds and the kept corpus. Exit 1 on any finding.

Rules of this room:
- What a run finds lies in build/fuzz: inputs that reached something new, findings, libFuzzer's own words.
- Only `--keep` changes the kept corpus: the fewest inputs that reach all that is reached so far.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import click

from fuzz.targets import TARGETS, Target

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "fuzz"
_NO_ATHERIS = (
    "make fuzz needs atheris, which is not installed here. It comes with make setup on Linux x86_64 with Python 3.11 "
    "or 3.12; elsewhere tests/fuzz/test_fuzz_slice.py runs the kept corpus and mutations of it"
)
_STATISTICS = re.compile(r"^stat::(\w+):\s+(\d+)$", re.MULTILINE)
_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+)")


@dataclass(frozen=True)
class Outcome:
    """What a run of one target came to."""

    executions: int
    per_second: int
    branches: int
    features: int
    findings: list[Path]


@click.command(epilog="Example: python -m fuzz --seconds 60 --target connection")
@click.argument("cases", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seconds", default=600, show_default=True, help="For all targets together.")
@click.option("--target", "names", multiple=True, type=click.Choice(list(TARGETS)), help="Only this one; repeatable.")
@click.option("--keep", is_flag=True, help="Then write the kept corpus anew.")
def main(cases: tuple[Path, ...], seconds: int, names: tuple[str, ...], keep: bool) -> None:
    """Fuzz the POP3 client and the MIME reader; with CASES, run these inputs and nothing else."""
    targets = [TARGETS[name] for name in names or TARGETS]
    if cases:
        sys.exit(_repeat(targets, cases))
    if importlib.util.find_spec("atheris") is None:
        raise click.ClickException(_NO_ATHERIS)
    headings = ("inputs", "runs", "a second", "branches", "features", "findings")
    click.echo(f"{'target':<12}" + "".join(f"{heading:>10}" for heading in headings))
    found: list[tuple[Target, Path]] = []
    for target in targets:
        outcome = fuzz(target, max(1, seconds // len(targets)))
        found += [(target, path) for path in outcome.findings]
        inputs = len(list(_corpus(target).iterdir()))
        figures = (inputs, outcome.executions, outcome.per_second, outcome.branches, outcome.features)
        click.echo(f"{target.name:<12}" + "".join(f"{figure:>10}" for figure in (*figures, len(outcome.findings))))
    for target, path in found:
        where = os.path.relpath(path, ROOT)
        click.echo(f"{target.name}: {where} (again: PYTHONPATH=tests python -m fuzz --target {target.name} {where})")
    if found:
        sys.exit(1)
    if keep:
        for target in targets:
            path = target.keep(_fewest(target))
            click.echo(f"kept {len(target.kept())} inputs in {path.relative_to(ROOT)}")


def fuzz(target: Target, seconds: int) -> Outcome:
    """Run one target for so long, or until its first finding."""
    corpus, findings = _corpus(target), BUILD / target.name / "findings"
    findings.mkdir(parents=True, exist_ok=True)
    _write(corpus, {*target.seeds(), *target.kept()})
    before = set(findings.iterdir())
    done = _engine(
        target,
        str(corpus),
        f"-max_total_time={seconds}",
        f"-artifact_prefix={findings}/",
        f"-dict={target.words()}",
        "-timeout=10",
        "-print_final_stats=1",
    )
    new = sorted(set(findings.iterdir()) - before)
    if done.returncode and not new:
        raise click.ClickException(f"{target.name} did not run:\n{done.stderr[-2000:]}")
    if new:
        click.echo(done.stdout[-3000:])
    figures = {name: int(value) for name, value in _STATISTICS.findall(done.stderr)}
    branches, features = ([(0, 0), *map(_pair, _COVERAGE.findall(done.stderr))])[-1]
    return Outcome(
        figures.get("number_of_executed_units", 0), figures.get("average_exec_per_sec", 0), branches, features, new
    )


def _engine(target: Target, *arguments: str) -> subprocess.CompletedProcess[str]:
    launcher = BUILD / target.name / "engine"
    started = shlex.join([sys.executable, "-m", "fuzz.engine", str(launcher), target.name])
    launcher.write_text(f'#!/bin/sh\nexec {started} "$@"\n', "utf-8")
    launcher.chmod(0o755)
    done = subprocess.run(
        [launcher, *arguments, f"-max_len={target.most_bytes}", "-rss_limit_mb=1024"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    (BUILD / target.name / "log").write_text(done.stdout + done.stderr, "utf-8")
    return done


def _fewest(target: Target) -> set[bytes]:
    """The fewest inputs that reach all that the corpus reaches, beside the seeds."""
    fewest = BUILD / target.name / "fewest"
    fewest.mkdir(exist_ok=True)
    for path in fewest.iterdir():
        path.unlink()
    _write(fewest, target.seeds())
    seeds = set(fewest.iterdir())
    done = _engine(target, "-merge=1", str(fewest), str(_corpus(target)))
    if done.returncode:
        raise click.ClickException(f"{target.name} could not be merged:\n{done.stderr[-2000:]}")
    return {path.read_bytes() for path in set(fewest.iterdir()) - seeds}


def _repeat(targets: list[Target], cases: tuple[Path, ...]) -> int:
    failed = 0
    for target in targets:
        for case in cases:
            try:
                target.run(case.read_bytes())
            except Exception:  # noqa: BLE001 - any exception is the finding
                failed += 1
                click.echo(f"{target.name}: {case}\n{traceback.format_exc()}")
    click.echo(f"{failed} of {len(targets) * len(cases)} failed")
    return 1 if failed else 0


def _corpus(target: Target) -> Path:
    path = BUILD / target.name / "corpus"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _write(directory: Path, cases: set[bytes]) -> None:
    for case in cases:
        (directory / hashlib.sha256(case).hexdigest()[:40]).write_bytes(case)


def _pair(found: tuple[str, str]) -> tuple[int, int]:
    return int(found[0]), int(found[1])


if __name__ == "__main__":
    main()
