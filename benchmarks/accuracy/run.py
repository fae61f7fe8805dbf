"""Measure all rows of the accuracy table, each on the same splits: `python -m benchmarks.accuracy`.

Every run is stored when it is done; after an interruption the same command continues. The results become tables by
`python -m benchmarks.accuracy.report`.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path

import click

from benchmarks.accuracy.judge import Judge
from benchmarks.accuracy.results import ProblemKey, Store
from benchmarks.accuracy.rows import DETERMINISTIC, ROWS, make_row
from benchmarks.accuracy.rows.features import take_spared_seconds
from benchmarks.data.problems import DEFAULT_CACHE, REGIMES, Regime, list_datasets, list_tasks, load_problem
from relsql.errors import RelsqlError, TaskError, nearest


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--dataset", "datasets", multiple=True, help="Data set; repeatable. Default: all.")
@click.option("--task", "tasks", multiple=True, help="Task; repeatable. Default: all of the data sets.")
@click.option("--regime", "regimes", multiple=True, type=click.Choice(REGIMES), help="Default: both if they differ.")
@click.option("--rows", multiple=True, help=f"{', '.join(ROWS)}; separated by commas. Default: all.")
@click.option("--seeds", default=5, type=click.IntRange(min=1), help="Seeds 0, 1, ... of each row.")
@click.option("--out", default=DEFAULT_CACHE / "accuracy.json", type=click.Path(path_type=Path), help="Results file.")
@click.option("--cache", default=DEFAULT_CACHE, type=click.Path(path_type=Path), help="Folder of imported data sets.")
@click.option("--again", is_flag=True, help="Run what was asked for again, also if it is stored.")
@click.option("--fresh", is_flag=True, help="Forget the results in the file.")
@click.option("--cores", type=click.IntRange(min=1), help="Number of cores to run on (Linux).  [default: all]")
def main(
    datasets: tuple[str, ...],
    tasks: tuple[str, ...],
    regimes: tuple[Regime, ...],
    rows: tuple[str, ...],
    seeds: int,
    out: Path,
    cache: Path,
    again: bool,
    fresh: bool,
    cores: int | None,
) -> None:
    """Run rows of the accuracy table and store their results.

    Runs that are stored are not run again, except those of relsql by other code. One run follows another.

    The name of a row with a text encoder may be followed by a pre-trained encoder (a path or hub name):
    paper-bart-frozen@PATH. The exit code is 1 if a row failed.
    """
    names = _row_names(rows)
    if cores:
        _use_cores(cores)
    failed = 0
    try:
        store = Store(out, fresh=fresh)
        for dataset, task in _chosen_tasks(datasets, tasks, cache):
            for regime in regimes or REGIMES:
                runs = _runs(store, (dataset, task, regime), names, seeds, again=again)
                failed += _run_problem(store, dataset, task, regime, runs, cache, explicit=bool(regimes))
    except RelsqlError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"results in {out}", err=True)
    sys.exit(1 if failed else 0)


def _row_names(given: tuple[str, ...]) -> list[str]:
    names = [name.strip() for part in given for name in part.split(",")] or list(ROWS)
    for name in names:
        if name.partition("@")[0] not in ROWS:
            raise click.BadParameter(f"there is no row '{name}'; {nearest(name, ROWS)}", param_hint="--rows")
    return names


def _chosen_tasks(datasets: tuple[str, ...], tasks: tuple[str, ...], cache: Path) -> list[tuple[str, str]]:
    """The (data set, task) pairs asked for.

    Raises:
        TaskError: none of the data sets has the task.
    """
    known = [(dataset, task) for dataset in datasets or list_datasets() for task in list_tasks(dataset, cache)]
    for task in tasks:
        if task not in {name for _, name in known}:
            raise TaskError(f"there is no task '{task}'", expected=nearest(task, {name for _, name in known}))
    return [(dataset, task) for dataset, task in known if not tasks or task in tasks]


def _use_cores(count: int) -> None:
    """Restrict the process to some of its cores, for all libraries at once.

    Raises:
        click.BadParameter: the process has fewer, or the system cannot do it.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise click.BadParameter("this system cannot restrict a process to some cores", param_hint="--cores")
    free = sorted(os.sched_getaffinity(0))
    if count > len(free):
        raise click.BadParameter(f"this process may use {len(free)} cores", param_hint="--cores")
    os.sched_setaffinity(0, free[:count])


def _runs(store: Store, problem: ProblemKey, names: list[str], seeds: int, *, again: bool) -> list[tuple[str, int]]:
    """The rows and seeds of a problem that are still to be run."""
    asked = [(name, seed) for name in names for seed in range(1 if name in DETERMINISTIC else seeds)]
    return [(name, seed) for name, seed in asked if again or not store.has((*problem, name), seed)]


def _run_problem(
    store: Store,
    dataset: str,
    task: str,
    regime: Regime,
    runs: list[tuple[str, int]],
    cache: Path,
    *,
    explicit: bool,
) -> int:
    """Run rows of one problem and return the number of runs that failed."""
    if not runs:
        return 0
    problem = load_problem(dataset, task, regime, cache)
    if regime == "frozen" and problem.regimes_coincide and not explicit:
        click.echo(f"{dataset} {task}: the frozen regime is the seed-time regime", err=True)
        return 0
    judge = Judge(problem)
    failed = 0
    for name, seed in runs:
        try:
            row = make_row(name)
            take_spared_seconds()
            start = time.perf_counter()
            scores = row.scores(problem, seed)
            # The time that the run would take on its own, even if an earlier run has read its features.
            seconds = time.perf_counter() - start + take_spared_seconds()
            run = store.add(problem, judge, name, row.name, seed, seconds, scores)
        except Exception:
            failed += 1
            click.echo(f"{dataset} {task} {regime}  {name}, seed {seed} failed:\n{traceback.format_exc()}", err=True)
            continue
        metrics = "  ".join(f"{split} {_first(values):.4f}" for split, values in (("val", run.val), ("test", run.test)))
        click.echo(f"{dataset} {task} {regime}  {row.name}, seed {seed}: {metrics}  {run.seconds:.1f} s", err=True)
    return failed


def _first(metrics: dict[str, float]) -> float:
    return next(iter(metrics.values()))
