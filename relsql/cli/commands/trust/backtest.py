"""`relsql backtest`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from relsql.cli.failures import on_interrupt
from relsql.cli.label_options import label_options, open_for_labels
from relsql.cli.output import DatabasePath, note, number, write_csv, write_json, write_table
from relsql.cli.progress import PhaseProgress
from relsql.errors import train_extra
from relsql.hints import counted

if TYPE_CHECKING:
    from relsql.backtests.backtest import Backtest
    from relsql.backtests.store import BacktestRow

_DEFAULT_CUTOFFS = 8
"""A copy of `DEFAULT_CUTOFFS`, so that `relsql --help` does not load DuckDB; a test compares the two."""

_PLOT_WIDTH = 32
_HEADER = ("cutoff", "labels", "positives", "model", "95% interval")
_BASELINES = {"own_columns": "own columns", "single_column": "single column", "entity_mean": "entity's mean"}
_RANKINGS = {"popularity": "popular", "past_visits": "had before", "popular_among_similar": "similar entities"}
"""The columns of baselines by their fields: those of numbers and classes, and those of recommendations."""


@click.command("backtest", short_help="Train at moments of the past, and score what came next.")
@click.argument("file", type=DatabasePath())
@click.argument("task")
@click.option("--cutoffs", type=click.IntRange(min=1), default=_DEFAULT_CUTOFFS, show_default=True, help="How many.")
@click.option("--every", metavar="INTERVAL", help="Time between cutoffs, such as 90d. Default: one horizon.")
@click.option(
    "--window",
    type=click.Choice(["expanding", "sliding"]),
    default="expanding",
    show_default=True,
    help="Train on all labels since the first event, or on equally long periods.",
)
@click.option("--retrain", is_flag=True, help="Train at every cutoff (default).")
@click.option("--model", metavar="MODEL", help="Score with this model at every cutoff, without training.")
@click.option("--baselines/--no-baselines", default=True, help="Also compute plain baselines (default).")
@click.option("--seed", type=int, help="Seed of all randomness.")
@click.option(
    "--encoder-steps", type=click.IntRange(min=0), help="Steps of the row encoder. Default: depends on its texts."
)
@click.option("--epochs", type=click.IntRange(min=1), help="Maximum number of passes over the training labels.")
@click.option("--fanout", type=click.IntRange(min=1), help="Maximum number of rows read along each link path.")
@click.option("--channels", type=click.IntRange(min=1), help="Width of the network.")
@click.option("--trees/--no-trees", default=None, help="Mix in boosted trees (default), or the network alone.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads to use.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True, help="Output."
)
@label_options
def backtest_command(
    file: Path,
    task: str,
    cutoffs: int,
    every: str | None,
    window: Literal["expanding", "sliding"],
    retrain: bool,
    model: str | None,
    baselines: bool,
    form: Literal["table", "json", "csv"],
    allow_external: bool,
    label_timeout: float,
    memory_limit: str | None,
    **options: Any,
) -> None:
    """At each cutoff, train on what was known then, and score the window that follows.

    TASK is the name of a task in FILE, the path of a task manifest (.yaml), or a question in one line. The windows of
    all training labels end by the cutoff. Models are trained in a copy of FILE in memory; only results are written to
    FILE, to relsql's tables backtests and backtest_scores, one transaction per cutoff. The same command continues a run
    that was stopped: cutoffs that are stored are not computed again.

    \b
    relsql backtest f1.duckdb driver-dnf --cutoffs 6 --every 365d
    relsql backtest f1.duckdb driver-dnf --model dnf
    """  # noqa: D301
    if retrain and model:
        raise click.UsageError("--retrain and --model exclude each other.")
    from relsql.cli.commands.training import resolve_task
    from relsql.database.names import current_catalog

    on_interrupt("finished cutoffs are kept; the same command continues")
    opened = open_for_labels(file, allow_external=allow_external, memory_limit=memory_limit)
    with train_extra("a backtest"), closing(opened) as con, PhaseProgress() as progress:
        from relsql.backtests.backtest import backtest
        from relsql.training.options import TrainOptions

        found = backtest(
            con,
            resolve_task(con, current_catalog(con), task, "backtest"),
            cutoffs=cutoffs,
            every=every,
            window=window,
            model=model,
            options=TrainOptions(**{key: value for key, value in options.items() if value is not None}),
            baselines=baselines,
            progress=progress,
            allow_external=allow_external,
            label_timeout_seconds=label_timeout,
        )
    on_interrupt("the results are stored")
    _write(found, form)
    _write_notes(found)


def _write(found: Backtest, form: Literal["table", "json", "csv"]) -> None:
    if form == "json":
        write_json(dataclasses.asdict(found))
        return
    baselines = _RANKINGS if any(row.popularity is not None for row in found.rows) else _BASELINES
    header = (*_HEADER, *baselines.values())
    rows = [_cells(row, baselines) for row in found.rows]
    if form == "csv":
        write_csv(header, rows)
        return
    plots = _plots(found.rows)
    shown = [
        (*("-" if cell is None else cell for cell in cells), plot) for cells, plot in zip(rows, plots, strict=True)
    ]
    write_table((*header, found.metric), shown, right=(1, 2, 3, 5, 6, 7))


def _cells(row: BacktestRow, baselines: Iterable[str]) -> tuple[str | None, ...]:
    ends = None if row.low is None else f"{number(row.low)} .. {number(row.high)}"
    values = (getattr(row, name) for name in baselines)
    model = None if row.value is None else number(row.value) + (" seen" if row.seen else "")
    others = (None if value is None else number(value) for value in values)
    positives = None if row.positives is None else f"{row.positives:,}"
    return str(row.cutoff), f"{row.labels:,}", positives, model, ends, *others


def _plots(rows: tuple[BacktestRow, ...]) -> list[str]:
    """A line per cutoff, all on one scale: `*` the model, `-` its interval, `o` the best baseline."""
    every = [x for row in rows for x in (row.value, row.low, row.high, row.best_baseline) if x is not None]
    if not every:
        return [""] * len(rows)
    low, width = min(every), (max(every) - min(every)) or 1.0

    def place(value: float) -> int:
        return round((value - low) / width * (_PLOT_WIDTH - 1))

    plots = []
    for row in rows:
        line = [" "] * _PLOT_WIDTH
        if row.low is not None and row.high is not None:
            for i in range(place(row.low), place(row.high) + 1):
                line[i] = "-"
        if row.best_baseline is not None:
            line[place(row.best_baseline)] = "o"
        if row.value is not None:
            line[place(row.value)] = "*"
        plots.append("".join(line).rstrip())
    return plots


def _write_notes(found: Backtest) -> None:
    if found.missing:
        note(f"{counted(found.missing, 'cutoff')} left out: too little is known before")
    for cutoff, reason in found.skipped:
        note(f"no result at {cutoff}: {reason}")
    if found.reused:
        note(f"{counted(found.reused, 'cutoff')} had been computed before")
    if found.seen:
        until = found.seen[0].trained_until
        note(
            f"warning: {counted(len(found.seen), 'cutoff')} of {len(found.rows)} lie before {until}, until when the "
            "model has seen labels (trained_until in backtests): the values marked 'seen' are too good"
        )
    ahead = found.ahead()
    if ahead:
        note(str(ahead))
    note(f"the plot of {found.metric}: * the model, - its interval, o the best baseline of the cutoff")
    note(f"stored as backtest {found.backtest} in relsql's tables backtests and backtest_scores")
