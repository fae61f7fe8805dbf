"""What moves between machines when a table is scored on Spark: `python -m benchmarks.scale.simulate`.

Rows of customers lie in files by time, so each task reads some rows of many customers. The sizes of customers follow a
Zipf law, and those of hubs a steeper one. Three ways to find the last k rows of each are compared:

    all rows           rows move to the task of their key, which ranks them
    last k             each task keeps k rows of a key before it sends them (`relsql/spark/rows.py`), and sums counts
    one task           the most that one task receives of one key

Expected values, without sampling: the number of rows of a key with n rows in one of T tasks is Poisson(n / T).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click
import numpy as np
import numpy.typing as npt

ROW_BYTES = 60
"""Bytes of a row that is sent: key, time, key of the row, a number, two foreign keys; compressed."""

COUNT_BYTES = 40
"""Bytes of the counts of a key from one task."""

_Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moved:
    """Bytes that move in all, and the most that one task receives of one key."""

    total: float
    largest: float


def sizes(rows: float, keys: float, exponent: float) -> tuple[_Numbers, _Numbers]:
    """Keys by a Zipf law in classes of about the same size: rows of a key, and number of such keys."""
    bounds = np.unique(np.round(np.geomspace(1, keys + 1, 400)))
    middle, number = np.sqrt(bounds[:-1] * (bounds[1:] - 1).clip(1)), np.diff(bounds)
    weight = middle**-exponent
    return weight * rows / (weight * number).sum(), number


def kept(rows_in_task: _Numbers, k: int) -> _Numbers:
    """The expected rows of a key that a task keeps: E[min(k, Poisson)]."""
    total, term, below = np.zeros_like(rows_in_task), np.exp(-rows_in_task), np.zeros_like(rows_in_task)
    for j in range(k):
        below = below + term
        total += 1 - below.clip(max=1)
        term = term * rows_in_task / (j + 1)
    return total


def moved(rows: float, keys: float, exponent: float, tasks: float, k: int | None) -> Moved:
    """What moves for one path; without k, all rows move."""
    of_key, number = sizes(rows, keys, exponent)
    if k is None:
        return Moved(float((of_key * number).sum()) * ROW_BYTES, float(of_key.max()) * ROW_BYTES)
    sent = tasks * (kept(of_key / tasks, k) * ROW_BYTES + (1 - np.exp(-of_key / tasks)) * COUNT_BYTES)
    return Moved(float((sent * number).sum()), float(sent.max()))


def readable_bytes(value: float) -> str:
    """Bytes in the unit that has one to three digits before the point."""
    power = 0
    while value >= 1000 and power < 4:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {('B', 'KB', 'MB', 'GB', 'TB')[power]}"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--rows", multiple=True, type=float, default=(1e7, 1e9, 1e11), help="Rows of the largest table.")
@click.option("--rows-of-a-customer", "mean", default=20.0, help="Mean rows of a customer.")
@click.option("--rows-of-a-task", "in_task", default=2e6, help="Rows that a task reads: a file of 128 MB.")
@click.option("--fanout", default=16, help="The last rows that a model reads.")
def main(rows: Sequence[float], mean: float, in_task: float, fanout: int) -> None:
    """Print what moves for a path to rows of customers, and for one to rows of hubs."""
    click.echo("| rows | path | all rows | one task | last k | one task |\n| --- | --- | --- | --- | --- | --- |")
    for count in rows:
        paths = (("customers", count / mean, 0.6), ("hubs", count / 1_000, 0.9))
        for name, keys, exponent in paths:
            tasks = max(1.0, count / in_task)
            every, last = (moved(count, keys, exponent, tasks, k) for k in (None, fanout))
            found = (every.total, every.largest, last.total, last.largest)
            click.echo(f"| {count:.0e} | {name} | {' | '.join(map(readable_bytes, found))} |")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.scale.simulate")
