"""Measure time and memory of training by phase: `python -m benchmarks.speed.training`.

Each training runs in a separate process, on a copy of its database, with the default options of `relsql train`. Besides
the RelBench tasks, generated databases of several sizes show how the cost grows with the number of rows: their labels
are always those of 2,000 customers.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click

from benchmarks.data.problems import DEFAULT_CACHE, cache_folder, database_file, list_datasets
from benchmarks.data.shop import CHURN, Size, create
from benchmarks.speed.report import Target, target_lines, write_formatted
from benchmarks.speed.timing import in_new_process, peak_bytes, reset_peak
from relsql.database.connections import open_database
from relsql.database.names import current_catalog
from relsql.errors import DatabaseError
from relsql.schema.reading import read_schema
from relsql.training.options import TrainOptions

PROBLEMS = "rel-f1/driver-dnf,rel-retail/customer-return"
GOAL = "rel-f1/driver-dnf"


@dataclass(frozen=True, slots=True)
class PhaseCost:
    """Time of one phase of training, and the peak resident memory of the process during it."""

    name: str
    seconds: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """Cost of one training run.

    Attributes:
        name: name of the database and its task.
        rows: number of rows of all tables.
        seconds: total time, including the import of torch.
        phases: costs of the phases, in order.
    """

    name: str
    rows: int
    seconds: float
    phases: tuple[PhaseCost, ...]

    @property
    def peak_bytes(self) -> int:
        """Largest resident memory of the process."""
        return max(phase.peak_bytes for phase in self.phases)


@dataclass(slots=True)
class PhaseMemory:
    """Progress callback that records the peak resident memory of each phase, in bytes.

    If the system cannot reset the peak, it is the peak since the start of the process.
    """

    peaks: dict[str, int] = field(default_factory=dict)

    def __call__(self, phase: str, fraction: float, metrics: dict[str, float]) -> None:
        """See `relsql.typing.PhaseProgress`."""
        if fraction == 0.0:
            reset_peak()
        elif fraction == 1.0:
            self.peaks[phase] = peak_bytes()


def train_once(name: str, database: Path, task: str, options: TrainOptions) -> TrainingCost:
    """Train on a copy of a database, in this process, and return the cost."""
    start = time.perf_counter()
    # Imported here, because the time of the import counts.
    from relsql.training.train import train

    memory = PhaseMemory()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copy(database, folder))
        with closing(open_database(path)) as con:
            trained = train(con, task, name="model", options=options, force=True, progress=memory)
            seconds = time.perf_counter() - start
            tables = read_schema(con).tables.values()
            catalog = current_catalog(con)
            counts = [con.execute(f"SELECT count(*) FROM {table.sql(catalog)}").fetchall()[0][0] for table in tables]
    phases = tuple(PhaseCost(phase, trained.phases[phase], peak) for phase, peak in memory.peaks.items())
    return TrainingCost(name, sum(counts), seconds, phases)


def measure(
    problems: Sequence[tuple[str, Path, str]], options: TrainOptions, report: Path | None = None
) -> list[TrainingCost]:
    """Train for each (name, database, task), one process after the other; results so far are written to `report`."""
    results = []
    for name, database, task in problems:
        results.append(in_new_process(train_once, name, database, task, options))
        print(f"{name}: {results[-1].seconds:.1f} s, {results[-1].peak_bytes / 1e9:.2f} GB", file=sys.stderr)
        if report:
            content = [{**asdict(cost), "peak_bytes": cost.peak_bytes} for cost in results]
            found = [{**asdict(target), "met": target.met} for target in targets(results)]
            write_formatted(report, {"processors": os.cpu_count(), "trainings": content, "targets": found})
    return results


def table(results: Sequence[TrainingCost]) -> str:
    """A Markdown table: seconds and peak memory of each phase, a column per training."""
    names = list(dict.fromkeys(phase.name for cost in results for phase in cost.phases))
    lines = [
        f"| s, peak GB | {' | '.join(f'{cost.name}, {cost.rows:,} rows' for cost in results)} |",
        f"|{' --- |' * (1 + len(results))}",
    ]
    for name in names:
        phases = [next((phase for phase in cost.phases if phase.name == name), None) for cost in results]
        cells = [f"{phase.seconds:.1f}, {phase.peak_bytes / 1e9:.2f}" if phase else "" for phase in phases]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    totals = (f"{cost.seconds:.1f}, {cost.peak_bytes / 1e9:.2f}" for cost in results)
    return "\n".join([*lines, f"| in all | {' | '.join(totals)} |"])


def targets(results: Iterable[TrainingCost]) -> list[Target]:
    """The targets for these results."""
    return [
        target
        for cost in results
        if cost.name == GOAL
        for target in (
            Target(f"train {GOAL}, s", "<=", 480, cost.seconds),
            Target(f"train {GOAL}, peak GB", "<=", 4, cost.peak_bytes / 1e9),
        )
    ]


def chosen_problems(problems: str, sizes: str, cache: Path) -> list[tuple[str, Path, str]]:
    """Name, database and task of each training; RelBench tasks are left out if their data are not available.

    Raises:
        DatabaseError: a database cannot be imported.
    """
    try:
        known = list_datasets()
    except DatabaseError:
        known = ()
    found = []
    for name in filter(None, problems.split(",")):
        dataset, _, task = name.partition("/")
        if dataset in known:
            found.append((name, database_file(dataset, cache), task))
        else:
            print(f"{name} is left out: its data are not there", file=sys.stderr)
    for customers in sorted(int(size) for size in sizes.split(",") if size):
        path = cache / "speed" / Size(customers).file_name
        create(path, Size(customers))
        found.append((f"one-hop, {customers:,} customers", path, CHURN.name))
    return found


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--problems", default=PROBLEMS, help="DATASET/TASK of RelBench, with commas between; may be empty.")
@click.option("--sizes", default="2000,10000,50000", help="Customers of generated databases; may be empty.")
@click.option("--threads", type=click.IntRange(min=1), help="Torch threads.  [default: as many as torch chooses]")
@click.option("--out", default=DEFAULT_CACHE / "training.json", type=click.Path(path_type=Path), help="Results file.")
@click.option("--cache", default=DEFAULT_CACHE, type=click.Path(path_type=Path), help="Folder of the databases.")
def main(problems: str, sizes: str, threads: int | None, out: Path, cache: Path) -> None:
    """Time training and its memory, print them by phase with the targets, and store the figures."""
    chosen = chosen_problems(problems, sizes, cache_folder(cache))
    results = measure(chosen, TrainOptions(threads=threads), out)
    click.echo(f"{table(results)}\n\n{target_lines(targets(results))}")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.speed.training")
