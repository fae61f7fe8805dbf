"""`relsql outcomes` and `relsql drift`."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from relsql.cli.label_options import label_options, open_for_labels
from relsql.cli.output import DatabasePath, note, note_findings, number, write_json, write_table
from relsql.cli.time_option import as_of_option, time_option
from relsql.errors import train_extra
from relsql.hints import command

if TYPE_CHECKING:
    import duckdb

    from relsql.monitoring.drift import Drift, DriftRow
    from relsql.monitoring.outcomes import Outcome, Outcomes
    from relsql.monitoring.realised import Period

_Command = TypeVar("_Command", bound=Callable[..., Any])

NOT_STORED = "the file is read-only: nothing was stored"

_PERIODS = ("day", "week", "month", "quarter", "year")


@click.command("outcomes", short_help="Compare past scores with what happened.")
@click.argument("file", type=DatabasePath())
@click.argument("model")
@click.option("--by", type=click.Choice(_PERIODS), default="month", show_default=True, help="Length of a period.")
@click.option("--recalibrate", is_flag=True, help="Write a new version with the temperature refitted on these labels.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@label_options
def outcomes_command(
    file: Path,
    model: str,
    by: Period,
    recalibrate: bool,
    as_json: bool,
    allow_external: bool,
    label_timeout: float,
    memory_limit: str | None,
) -> None:
    """Compare the scores of MODEL that relsql score --keep-history kept with what happened.

    A score is judged once its window is closed: its as_of plus the task's timedelta is at or before the newest event
    of the tables that the label query reads. The rows are also written to relsql's table outcomes, if FILE can be
    written.

    \b
    relsql score f1.duckdb dnf --into risk --overwrite --keep-history
    relsql outcomes f1.duckdb dnf --by quarter
    """  # noqa: D301
    from relsql.monitoring.outcomes import outcomes

    opened = _open(file, recalibrate, allow_external=allow_external, memory_limit=memory_limit)
    options: dict[str, Any] = {"allow_external": allow_external, "label_timeout_seconds": label_timeout}
    with closing(opened) as con:
        found = outcomes(con, model, by=by, **options)
        _print_outcomes(found, as_json)
        if recalibrate:
            with train_extra("relsql outcomes --recalibrate"):
                from relsql.monitoring.recalibrate import recalibrate as refit

                result = refit(con, model, **options)
    if not recalibrate:
        return
    if result.version == result.source:
        note(f"temperature {number(result.temperature)} is the best one for these labels: nothing to change")
        return
    losses = f"log loss {number(result.former_log_loss)} -> {number(result.log_loss)} on {result.labels:,} labels"
    temperatures = f"temperature {number(result.former_temperature)} -> {number(result.temperature)}"
    note(
        f"{result.model} version {result.version}, active now, is version {result.source} with {temperatures}: {losses}"
    )
    if result.published is not None:
        note(f"plain SQL still scores with version {result.published}: {command('publish', 'FILE', result.model)}")


def _open(file: Path, writes: bool, *, allow_external: bool, memory_limit: str | None) -> duckdb.DuckDBPyConnection:
    """Open FILE for writing; if it is read-only and nothing has to be written, open it for reading."""
    from relsql.errors import DatabaseError

    try:
        return open_for_labels(file, allow_external=allow_external, memory_limit=memory_limit)
    except DatabaseError:
        if writes:
            raise
        return open_for_labels(file, read_only=True, allow_external=allow_external, memory_limit=memory_limit)


def _print_outcomes(found: Outcomes, as_json: bool) -> None:
    note_findings(found.findings)
    if not found.stored:
        note(NOT_STORED)
    if as_json:
        write_json(dataclasses.asdict(found))
        return
    of_metric = ("version", found.by, "labels", "metric", "value", "95% interval", "validation")
    header = (*of_metric, "mean score", "mean label", "unlabelled", "open")
    write_table(header, map(_cells, found.outcomes), right=(0, 2, 4, 5, 6, 7, 8, 9, 10))


def _cells(each: Outcome) -> tuple[str, ...]:
    interval = " .. ".join(map(number, each.interval)) if each.interval else "-"
    return (
        *(str(each.version), f"{each.period:%Y-%m-%d}" if each.period else "all", f"{each.labels:,}", each.metric),
        *(number(each.value), interval, number(each.validation)),
        *(number(each.mean_score), number(each.mean_label), f"{each.unlabelled:,}", f"{each.unclosed:,}"),
    )


def _limit(name: str, default: float, text: str) -> Callable[[_Command], _Command]:
    kind = click.FloatRange(min=0, min_open=True)
    return click.option(name, type=kind, default=default, show_default=True, metavar="NUMBER", help=text)


@click.command("drift", short_help="Compare the data of today with those of training.")
@click.argument("file", type=DatabasePath())
@click.argument("model")
@time_option("--since", "Rows after this time are new. Default: the end of the training range.")
@as_of_option
@_limit("--max-psi", 0.25, "Largest PSI of a column or of the scores.")
@_limit("--max-missing", 0.1, "Largest change of a share of missing values.")
@_limit("--max-unseen", 0.05, "Largest share of rows with a value that training never saw.")
@_limit("--max-silence", 2.0, "Longest time without a row, as a multiple of a table's longest gap in training.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def drift_command(
    ctx: click.Context,
    file: Path,
    model: str,
    since: datetime.datetime | None,
    as_of: datetime.datetime | None,
    max_psi: float,
    max_missing: float,
    max_unseen: float,
    max_silence: float,
    as_json: bool,
) -> None:
    """Compare the rows that MODEL reads with those of its training range, the worst first.

    The exit code is 1 if something is beyond a limit, and more than chance explains for that many rows. The rows are
    also written to relsql's table drift, if FILE can be written.

    \b
    relsql drift f1.duckdb dnf
    relsql drift f1.duckdb dnf --since 2010-01-01 --max-psi 0.1 --json
    """  # noqa: D301
    from relsql.monitoring.drift import Limits, drift

    with closing(_open(file, writes=False, allow_external=True, memory_limit=None)) as con:
        found = drift(
            con, model, since=since, as_of=as_of, limits=Limits(max_psi, max_missing, max_unseen, max_silence)
        )
    _print_drift(found, as_json)
    if found.changed:
        ctx.exit(1)


def _print_drift(found: Drift, as_json: bool) -> None:
    ranges, changed = found.ranges, sum(row.changed for row in found.rows)
    compared = f"rows after {ranges.since} up to {ranges.newest} with those up to {ranges.until}"
    note(f"{found.model} version {found.version}: {compared}: {changed} of {len(found.rows)} beyond the limits")
    if found.untimed:
        note(f"not compared, because their rows have no time: {', '.join(found.untimed)}")
    if not found.stored:
        note(NOT_STORED)
    if as_json:
        write_json(dataclasses.asdict(found) | {"changed": found.changed})
        return
    header = (
        "table",
        "column",
        "kind",
        "PSI",
        "by chance",
        "missing then",
        "now",
        "rows then",
        "now",
        "a day then",
        "now",
    )
    right = tuple(range(3, len(header) + 1))
    write_table((*header, "age in days", "finding"), map(_drift_cells, found.rows), right=right)


def _drift_cells(row: DriftRow) -> tuple[str, ...]:
    rows = row.rows
    missing = ["-" if share is None else f"{share:.1%}" for share in (row.missing_then, row.missing_now)]
    per_day = (rows.per_day_then, rows.per_day_now, rows.age_days) if rows else (None, None, None)
    return (
        *(
            row.table or "(the scores)",
            row.column or "-",
            row.kind,
            number(row.psi),
            number(row.psi_by_chance),
            *missing,
        ),
        *(f"{row.rows_then:,}", f"{row.rows_now:,}", *map(number, per_day), row.finding or "-"),
    )
