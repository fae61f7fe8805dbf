"""`relsql evaluate`, `relsql score` and `relsql models`."""

from __future__ import annotations

import dataclasses
import datetime
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relsql.cli.failures import train_extra
from relsql.cli.output import note, number, write_json, write_table
from relsql.cli.query import Statement, run_statement
from relsql.regime import REGIMES

if TYPE_CHECKING:
    import duckdb

    from relsql.regime import Regime
    from relsql.splits import Split


def _timestamp(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime.datetime | None:
    """Read a date or time in ISO form as zone-less datetime; one with a zone is converted to UTC."""
    if value is None:
        return None
    from relsql.errors import TaskError
    from relsql.task import as_timestamp

    try:
        return as_timestamp(value, "score", "as_of")
    except TaskError:
        raise click.BadParameter(f"{value!r} is no time; give one such as 2009-06-01 or '2009-06-01 12:00'") from None


@click.command("evaluate", short_help="Compare the scores of a model with what happened.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("model")
@click.option("--split", type=click.Choice(["test", "val", "train"]), default="test", show_default=True, help="Labels.")
@click.option("--regime", type=click.Choice(REGIMES), help="Default: the one that MODEL was trained for.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate_command(file: Path, model: str, split: Split, regime: Regime | None, as_json: bool) -> None:
    """Compare the scores of MODEL with what happened, on one split of its task's labels.

    Each label is scored as of its own time: with all rows up to it (regime seed-time), or with a copy in memory of the
    database that ends where the split starts (regime frozen). Beside it stands a baseline that sees the entity table's
    own columns only.
    """
    from relsql.store import open_database

    with train_extra("relsql evaluate"), closing(open_database(file, read_only=True)) as con:
        from relsql.evaluation import evaluate

        result = evaluate(con, model, split, regime)
        baseline = _baseline(con, model, split)
    if as_json:
        write_json(dataclasses.asdict(result) | {"baseline": baseline})
        return
    unscored = f", {result.unscored:,} more without score" if result.unscored else ""
    note(
        f"{model} version {result.version} on {result.task}, {split}, {result.regime}: {result.rows:,} labels{unscored}"
    )
    rows = [(name, number(value), number(baseline.get(name))) for name, value in result.metrics.items()]
    write_table(("metric", "model", "own columns only"), rows, right=(1, 2))


def _baseline(con: duckdb.DuckDBPyConnection, model: str, split: Split) -> dict[str, float]:
    """The metric that the entity table's own columns reach, by its name."""
    from relsql.baseline import entity_columns_auc
    from relsql.registry import active_card
    from relsql.schema import current_catalog, read_schema

    catalog = current_catalog(con)
    task = active_card(con, catalog, model).task
    metric = entity_columns_auc(con, catalog, read_schema(con, catalog), task, (split,))[split]
    return {"roc_auc" if task.is_classification else "mae": metric}


@click.command("score", short_help="Score every entity, to a file, a table or stdout.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("model")
@click.option("--as-of", "as_of", callback=_timestamp, metavar="TIME", help="Default: the latest event in FILE.")
@click.option("--output", metavar="OUT", help="A .parquet or .csv file, or the name of a table in FILE.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
def score_command(file: Path, model: str, as_of: datetime.datetime | None, output: str | None, overwrite: bool) -> None:
    """Score every entity with MODEL.

    Without --output the scores go to stdout as CSV.

    \b
    relsql score f1.duckdb dnf --as-of 2009-06-01 --output risk.parquet
    """  # noqa: D301
    from relsql.scores import batch_query, is_table, score_to
    from relsql.store import open_database

    writes = output is not None and is_table(output)
    with closing(open_database(file, read_only=not writes)) as con:
        if output is None:
            query = batch_query(con, model, as_of)
            run_statement(con, Statement(query, reads=True, selects=True), "csv")
            return
        rows = score_to(con, model, output, as_of=as_of, overwrite=overwrite)
    note(f"{rows:,} {'row' if rows == 1 else 'rows'} written to {output}")


@click.command("models", short_help="List the models of a file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models_command(file: Path, as_json: bool) -> None:
    """List the models of FILE, all versions; `predict_NAME` calls the active one."""
    from relsql.registry import read_models
    from relsql.schema import current_catalog
    from relsql.store import open_database

    with closing(open_database(file, read_only=True)) as con:
        models = read_models(con, current_catalog(con))
    if as_json:
        write_json(models)
        return
    rows = [
        (
            model.name,
            str(model.version),
            model.status,
            model.task,
            model.task_type,
            f"{model.created:%Y-%m-%d %H:%M}",
            ", ".join(f"{name} {number(value)}" for name, value in model.metrics.items()),
        )
        for model in models
    ]
    write_table(("model", "version", "status", "task", "type", "created", "metrics"), rows, right=(1,))
    if not models:
        note(f"no models yet: relsql train {file} TASK --name NAME")
