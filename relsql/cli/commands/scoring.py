"""`relsql evaluate` and `relsql score`."""

from __future__ import annotations

import dataclasses
import datetime
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relsql.cli.commands.prompts.query import Statement, run_statement
from relsql.cli.failures import on_interrupt
from relsql.cli.label_options import label_options, limit_memory, memory_option, open_for_labels
from relsql.cli.output import DatabasePath, note, note_findings, number, write_json, write_table
from relsql.cli.progress import PhaseProgress
from relsql.cli.time_option import as_of_option
from relsql.errors import train_extra
from relsql.hints import counted
from relsql.tasks.regime import REGIMES
from relsql.tasks.target import CLASS, CLASSES, ITEMS, PROBABILITY

if TYPE_CHECKING:
    import duckdb

    from relsql.tasks.labels.label_sandbox import LabelLimits
    from relsql.tasks.regime import Regime
    from relsql.tasks.splits import Split


OWN_COLUMNS, PRIOR = "own columns only", "prior"
"""The baselines of `relsql evaluate`."""


@click.command("evaluate", short_help="Compare the scores of a model with what happened.")
@click.argument("file", type=DatabasePath())
@click.argument("model")
@click.option("--split", type=click.Choice(["test", "val", "train"]), default="test", show_default=True, help="Labels.")
@click.option("--regime", type=click.Choice(REGIMES), help="Default: the one that MODEL was trained for.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@label_options
def evaluate_command(
    file: Path,
    model: str,
    split: Split,
    regime: Regime | None,
    as_json: bool,
    allow_external: bool,
    label_timeout: float,
    memory_limit: str | None,
) -> None:
    """Compare the scores of MODEL with what happened, on one split of its task's labels.

    Each label is scored as of its own time: with all rows up to that time (regime seed-time), or with a copy of the
    database in memory that ends where the split starts (regime frozen). The model is compared with a baseline that
    reads only the columns of the entity table, and a model of several classes also with their shares in training. A
    forecast in steps is compared with the last value, and with the values of one horizon earlier.
    """
    from relsql.tasks.labels.label_sandbox import LabelLimits

    opened = open_for_labels(file, read_only=True, allow_external=allow_external, memory_limit=memory_limit)
    with train_extra("relsql evaluate"), closing(opened) as con:
        from relsql.evaluation.evaluate import evaluate

        result = evaluate(con, model, split, regime, allow_external=allow_external, label_timeout_seconds=label_timeout)
        baselines = result.baselines or _baselines(con, model, split, LabelLimits(allow_external, label_timeout))
    if as_json and result.baselines:
        write_json(dataclasses.asdict(result))
        return
    if as_json:
        prior = {"prior": baselines[PRIOR]} if PRIOR in baselines else {}
        write_json(
            {key: value for key, value in dataclasses.asdict(result).items() if key != "baselines"}
            | {"baseline": baselines[OWN_COLUMNS]}
            | prior
        )
        return
    unscored = f", {result.unscored:,} more without score" if result.unscored else ""
    target = "" if result.target in (PROBABILITY, CLASS, CLASSES, ITEMS) else f" ({result.target})"
    which = f"{result.model} version {result.version} on {result.task}{target}, {split}, {result.regime}"
    note(f"{which}: {result.rows:,} labels{unscored}")
    note_findings(result.findings)
    rows = [
        (name, number(value), *(number(baseline.get(name)) for baseline in baselines.values()))
        for name, value in result.metrics.items()
    ]
    header: tuple[str, ...] = ("metric", "model", *baselines)
    if result.intervals:
        ends = {name: f"{number(low)} .. {number(high)}" for name, (low, high) in result.intervals.items()}
        rows = [(name, value, ends.get(name, "-"), *others) for name, value, *others in rows]
        header = ("metric", "model", "95% interval", *baselines)
    write_table(header, rows, right=tuple(range(1, len(header))))


def _baselines(
    con: duckdb.DuckDBPyConnection, model: str, split: Split, limits: LabelLimits
) -> dict[str, dict[str, float]]:
    """The metrics of the baselines: of the columns of the entity table, and of the shares of classes in training."""
    from relsql.database.names import current_catalog
    from relsql.evaluation.baseline import class_baselines, entity_columns_auc
    from relsql.registry.models import active_card
    from relsql.schema.reading import read_schema
    from relsql.tasks.target import target_metric

    catalog = current_catalog(con)
    card, schema = active_card(con, catalog, model), read_schema(con, catalog)
    task = card.task
    if card.classes:
        own, prior = class_baselines(con, catalog, schema, task, card.classes, split, limits=limits)
        return {OWN_COLUMNS: own, PRIOR: prior}
    metric = entity_columns_auc(con, catalog, schema, task, (split,), limits=limits)[split]
    return {OWN_COLUMNS: {"roc_auc" if task.target is None else target_metric(task.target): metric}}


@click.command("score", short_help="Score every entity, to a file, a table or stdout.")
@click.argument("file", type=DatabasePath())
@click.argument("model")
@as_of_option
@click.option("--output", metavar="OUT", help="A .parquet or .csv file, or the name of a table in FILE.")
@click.option("--into", metavar="TABLE", help="A table in FILE, filled in chunks by a job that can be stopped.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file, or a table that relsql score wrote.")
@click.option("--changed-only", is_flag=True, help="With --into: score only entities whose data changed.")
@click.option("--keep-history", is_flag=True, help="With --into: keep each score, for relsql outcomes and drift.")
@click.option(
    "--chunk-rows",
    type=click.IntRange(min=1),
    help="With --into: entities in a chunk. Default: 250,000, or that of the job to continue.",
)
@memory_option
def score_command(
    file: Path,
    model: str,
    as_of: datetime.datetime | None,
    output: str | None,
    into: str | None,
    overwrite: bool,
    changed_only: bool,
    keep_history: bool,
    chunk_rows: int | None,
    memory_limit: str | None,
) -> None:
    """Score every entity with MODEL.

    Without --output or --into the scores go to stdout as CSV.

    With --into, each chunk of entities is one transaction. A job that is stopped, for any reason, loses at most the
    running chunk: the same command continues it, with the same as_of. With --changed-only, a finished table is updated:
    only entities whose data changed are scored, and entities that no longer exist are removed. With --keep-history,
    each score is also appended to relsql's table predictions, which no later job changes.

    \b
    relsql score f1.duckdb dnf --as-of 2009-06-01 --output risk.parquet
    relsql score f1.duckdb dnf --as-of 2009-06-01 --into risk
    """  # noqa: D301
    from relsql.database.connections import open_database
    from relsql.scoring.score_output import batch_query, is_table, score_to

    if into is not None and output is not None:
        raise click.UsageError("--into and --output exclude each other.")
    if into is None and (changed_only or chunk_rows or keep_history):
        raise click.UsageError("--changed-only, --keep-history and --chunk-rows need --into.")
    writes = into is not None or (output is not None and is_table(output))
    with closing(open_database(file, read_only=not writes)) as con:
        if memory_limit is not None:
            limit_memory(con, memory_limit)
        if into is not None:
            options = {"chunk_rows": chunk_rows, "changed_only": changed_only, "keep_history": keep_history}
            _score_into(con, model, into, as_of=as_of, overwrite=overwrite, **options)
            return
        if output is None:
            query = batch_query(con, model, as_of)
            run_statement(con, Statement(query, reads=True, selects=True), "csv")
            return
        rows = score_to(con, model, output, as_of=as_of, overwrite=overwrite)
    note(f"{counted(rows, 'row')} written to {output}")


def _score_into(con: duckdb.DuckDBPyConnection, model: str, into: str, **options: Any) -> None:
    """Run a job to its end; `options` are those of `open_job`."""
    from relsql.scoring.score_table import open_job, run_job

    on_interrupt("finished chunks are kept; the same command continues")
    opened = open_job(con, model, into, **options)
    job = opened.job
    if opened.resumed:
        note(f"continuing after {job.chunks_done} of {job.chunks} chunks, as of {job.as_of}")
    if opened.all_because:
        note(f"scoring all entities: {opened.all_because}")
    with PhaseProgress() as progress:
        job = run_job(con, job, progress)
    if job.changed_only and not opened.all_because:
        note(f"{job.scored:,} of {job.entities:,} entities changed, {into} is up to date as of {job.as_of}")
    else:
        note(f"{counted(job.scored, 'row')} written to {into} as of {job.as_of}")
