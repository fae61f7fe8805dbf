"""`relsql demo`: the whole way from data to scores, on a randomly generated league."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relsql.cli.commands.prompts.query import Statement, run_statement
from relsql.cli.commands.training import train_with_progress
from relsql.cli.output import note, write_table
from relsql.hints import command

if TYPE_CHECKING:
    import duckdb

    from relsql.tasks.task import Task

MODEL = "dnf"
TASK = "driver-dnf"


@click.command("demo", short_help="Draw a racing league, train on it, score it in SQL.")
@click.argument("path", type=click.Path(path_type=Path), default=Path("demo.duckdb"), required=False)
@click.option("--seed", type=int, help="Seed of the league. Default: 7.")
@click.option("--seasons", type=click.IntRange(min=4), help="Length of the league. Default: 12.")
@click.option("--overwrite", is_flag=True, help="Replace PATH if it exists.")
def demo_command(path: Path, seed: int | None, seasons: int | None, overwrite: bool) -> None:
    """Draw a racing league, train a model on it and score it in SQL.

    The league is written to PATH (default: demo.duckdb), and its true probabilities to a second file in the same
    folder. If PATH already holds a league, it is used again, and so is its model.

    The results are the ten drivers most likely to retire from a race in the next 30 days, and the accuracy on the test
    labels: of the model, of a baseline that reads only the columns of table drivers, and of the true probabilities.
    """
    from relsql.database.connections import open_database
    from relsql.database.names import current_catalog
    from relsql.registry.function_names import predict_name
    from udfs.attach import attach

    options = {key: value for key, value in (("seed", seed), ("seasons", seasons)) if value is not None}
    _prepare_league(path, options, overwrite)
    with closing(open_database(path)) as con:
        catalog = current_catalog(con)
        task = _prepare_model(con, catalog, path)
        attach(con)
        query = f"SELECT driver_id, {predict_name(MODEL)}(driver_id) AS risk FROM drivers ORDER BY risk DESC LIMIT 10"
        note(f"$ {command('sql', path, query)}")
        run_statement(con, Statement(query, reads=True, selects=True), "table")
        click.echo()
        _write_accuracy(con, catalog, task, path)
    note(f"the database is {path}: {command('inspect', path)}")


def _prepare_league(path: Path, options: dict[str, int], overwrite: bool) -> None:
    """Draw the league, unless `path` already holds one.

    Raises:
        DatabaseError: `path` exists and is not a league.
    """
    from relsql.demo.league import create_league

    if path.exists() and not overwrite:
        _require_league(path)
        ignored = f"; {', '.join(f'--{name}' for name in options)} ignored" if options else ""
        note(f"using the league that {path} holds (--overwrite draws a new one{ignored})")
    else:
        create_league(path, overwrite=overwrite, **options)
        note(f"drew a league into {path}")


def _require_league(path: Path) -> None:
    from relsql.database.connections import open_database
    from relsql.database.names import current_catalog
    from relsql.errors import DatabaseError
    from relsql.tasks.stored_tasks import read_tasks

    with closing(open_database(path, read_only=True)) as con:
        if TASK not in read_tasks(con, current_catalog(con)):
            raise DatabaseError(
                f"file '{path}' exists and is not a demo league",
                expected="a new file",
                fix="relsql demo OTHER.duckdb, or relsql demo --overwrite to replace the file",
            )


def _prepare_model(con: duckdb.DuckDBPyConnection, catalog: str, path: Path) -> Task:
    """Train the model, unless the database already holds it."""
    from relsql.registry.models import active_card, read_models
    from relsql.tasks.stored_tasks import read_task

    task = read_task(con, catalog, TASK)
    if MODEL in {model.name for model in read_models(con, catalog)}:
        note(f"using model {MODEL} version {active_card(con, catalog, MODEL).version} that {path} holds")
    else:
        train_with_progress(con, task, MODEL)
    return task


def _write_accuracy(con: duckdb.DuckDBPyConnection, catalog: str, task: Task, path: Path) -> None:
    """Write the test ROC-AUC of a simple baseline, of the model, and the best attainable one."""
    from relsql.demo.league import truth_path
    from relsql.demo.truth import attainable_auc
    from relsql.evaluation.baseline import entity_columns_auc
    from relsql.evaluation.evaluate import evaluate
    from relsql.registry.function_names import predict_name
    from relsql.schema.reading import read_schema
    from relsql.tasks.labels.label_table import label_table

    schema = read_schema(con, catalog)
    baseline = entity_columns_auc(con, catalog, schema, task, ("test",))["test"]
    rows = [
        ("drivers' own columns only", f"{baseline:.3f}"),
        (f"relsql, {predict_name(MODEL)}", f"{evaluate(con, MODEL, 'test').metrics['roc_auc']:.3f}"),
    ]
    if truth_path(path).exists():
        labels = label_table(con, catalog, schema, task, "test").table
        columns = (labels.column(name).to_pylist() for name in ("entity", "as_of", "label"))
        rows.append(("best attainable", f"{attainable_auc(truth_path(path), zip(*columns, strict=True)):.3f}"))
    write_table(("predictor", "test ROC-AUC"), rows, right=(1,))
