"""Run the whole corpus on a file with a trained model `churn`; exits 1 if a case fails."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from tests.damage.outcomes import Corpus, all_cases, prepare, run_cases

CASES_PER_PROCESS = 200
"""Scoring functions, and the networks behind them, stay in memory for the life of a process."""


@click.command()
@click.option(
    "--file", type=click.Path(path_type=Path), help="A shop with a model (tests/shop.py); default: train one."
)
@click.option("--sample", type=int, help="Maximum number of cases, drawn at random.")
@click.option("--seed", default=0, help="Seed of the sample.")
@click.option("--part", type=(int, int), hidden=True)
def main(file: Path | None, sample: int | None, seed: int, part: tuple[int, int] | None) -> None:
    """Damage a file in every way and print the outcomes."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = prepare(file or _trained(Path(folder)), Path(folder))
        cases = all_cases(corpus)
        if sample:
            cases = random.Random(seed).sample(cases, sample)
        if part:
            _run_part(corpus, cases[part[0] : part[1]])
            return
        failed = _run_parts(corpus, len(cases), ["--seed", str(seed), *(["--sample", str(sample)] if sample else [])])
    sys.exit(failed)


def _run_part(corpus: Corpus, cases: list) -> None:  # type: ignore[type-arg]
    report = run_cases(corpus, cases)
    for failure in report.failures:
        click.echo(f"FAILED {failure}")
    click.echo("\n".join(f"count\t{outcome}\t{count}" for outcome, count in report.counts.items()))


def _run_parts(corpus: Corpus, count: int, options: list[str]) -> bool:
    totals: dict[str, int] = {}
    failed = False
    for start in range(0, count, CASES_PER_PROCESS):
        command = [sys.executable, "-m", "tests.damage", "--file", str(corpus.path), *options]
        command += ["--part", str(start), str(start + CASES_PER_PROCESS)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        for line in done.stdout.splitlines():
            if line.startswith("count\t"):
                _, outcome, number = line.split("\t")
                totals[outcome] = totals.get(outcome, 0) + int(number)
            else:
                click.echo(line)
                failed = True
        if done.returncode:
            click.echo(f"FAILED cases {start} to {start + CASES_PER_PROCESS}: exit code {done.returncode}")
            failed = True
        click.echo(f"{min(start + CASES_PER_PROCESS, count)} of {count}: {totals}", err=True)
    click.echo(f"{count} cases: {totals}")
    return failed


def _trained(folder: Path) -> Path:
    import duckdb

    from tests.shop import create_shop, train_quickly

    path = folder / "shop.duckdb"
    create_shop(path)
    with duckdb.connect(str(path)) as con:
        train_quickly(con, "churn")
    return path


if __name__ == "__main__":
    main()
