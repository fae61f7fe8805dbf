"""Run statements about models on a connection; each returns a relation, as a query does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from relsql.database.connections import require_no_transaction
from relsql.database.names import current_catalog, fold, stored_name
from relsql.errors import ModelError
from relsql.registry.function_names import batch_name, function_names, predict_name
from relsql.registry.models import active_card, find_model, read_models
from relsql.registry.promote import drop
from relsql.registry.publications import published
from relsql.registry.versions import ACTIVE, ModelRow, main_metric, parse_reference
from relsql.schema.reading import read_schema
from relsql.sql_text import ident
from relsql.statements.options import task_and_options
from relsql.statements.syntax import CreateModel, DescribeModel, DropModel, Predict, ShowModels, Statement
from relsql.tasks.predict.tokens import quoted_name, scan
from relsql.tasks.task import Task
from relsql.training.options import TrainOptions
from udfs.attach import attach

if TYPE_CHECKING:
    from relsql.training.train import TrainedModel

Trainer = Callable[[duckdb.DuckDBPyConnection, Task, str, TrainOptions], object]
"""Trains a task under a model name; a program can show its progress there."""


def run_statement(
    con: duckdb.DuckDBPyConnection, statement: Statement, *, trainer: Trainer | None = None
) -> duckdb.DuckDBPyRelation:
    """Run a statement about models in the connection's current database.

    Args:
        con: an open connection; models that the statement trains or uses are callable on it afterwards.
        statement: what to run.
        trainer: trains models; default: `relsql.train`.

    Returns:
        What the statement shows: the models, one model, the model that was created or dropped, or the scores.

    Raises:
        RelsqlError: the model exists already or does not exist, or it cannot be trained, see `relsql.errors`.
    """
    trainer = trainer or _train
    match statement:
        case ShowModels():
            return _relation(con, _shown(read_models(con, current_catalog(con))))
        case DescribeModel(model):
            return _relation(con, _described(con, model))
        case DropModel(model, if_exists):
            return _relation(con, _dropped(con, model, if_exists=if_exists))
        case CreateModel():
            return _relation(con, _created(con, statement, trainer))
        case Predict():
            return _scores(con, statement, trainer)


def _train(con: duckdb.DuckDBPyConnection, task: Task, name: str, options: TrainOptions) -> TrainedModel:
    from relsql.training.train import train

    return train(con, task, name=name, options=options)


def _relation(con: duckdb.DuckDBPyConnection, table: pa.Table) -> duckdb.DuckDBPyRelation:
    return con.from_arrow(table)


def _shown(models: Sequence[ModelRow]) -> pa.Table:
    """One row per version, as `relsql models` lists them; `function` calls it if it is active."""
    metrics = [main_metric(model.metrics) for model in models]
    return pa.table(
        {
            "model": pa.array([model.name for model in models], pa.string()),
            "version": pa.array([model.version for model in models], pa.int32()),
            "status": pa.array([model.status for model in models], pa.string()),
            "function": pa.array(
                [predict_name(model.name) if model.status == ACTIVE else None for model in models], pa.string()
            ),
            "task": pa.array([model.task for model in models], pa.string()),
            "predicts": pa.array([model.target for model in models], pa.string()),
            "metric": pa.array(metrics, pa.string()),
            "value": pa.array(
                [model.metrics[name] if name else None for model, name in zip(models, metrics, strict=True)],
                pa.float64(),
            ),
            "created": pa.array([model.created for model in models], pa.timestamp("us")),
        }
    )


def _described(con: duckdb.DuckDBPyConnection, reference: str) -> pa.Table:
    """What is known of a version: one row per property."""
    catalog = current_catalog(con)
    model = find_model(con, catalog, reference)
    card = active_card(con, catalog, reference, recommendations=True)
    task, plain = card.task, published(con, catalog, model.name)
    metrics = (f"{name} {value:.4g}" for name, value in sorted(model.metrics.items()))
    properties = {
        "model": f"{model.name}@{model.version}",
        "status": model.status,
        "functions": ", ".join(function_names(model.name)) if model.status == ACTIVE else None,
        "published": f"version {plain[0]}" if plain else None,
        "question": task.predict or f"task {task.name}",
        "predicts": task.predicts,
        "entity": f"{task.entity_table}({task.entity_col})",
        "horizon": task.timedelta or task.moment,
        "metrics": ", ".join(metrics),
        "trained until": f"{card.trained_until:%Y-%m-%d}",
        "tables": ", ".join(sorted(card.schema.tables)),
        "created": f"{card.created:%Y-%m-%d %H:%M}",
        "relsql version": card.relsql_version,
    }
    return pa.table({"property": list(properties), "value": pa.array(properties.values(), pa.string())})


def _dropped(con: duckdb.DuckDBPyConnection, reference: str, *, if_exists: bool) -> pa.Table:
    """The versions that were dropped; a name without a version is the whole model."""
    wanted = parse_reference(reference)
    require_no_transaction(con, "DROP MODEL")
    if if_exists and not _exists(con, reference):
        return pa.table({"model": pa.array([], pa.string()), "version": pa.array([], pa.int32())})
    versions = drop(con, reference, all_versions=wanted.version is None)
    return pa.table({"model": [wanted.name] * len(versions), "version": pa.array(versions, pa.int32())})


def _created(con: duckdb.DuckDBPyConnection, statement: CreateModel, trainer: Trainer) -> pa.Table:
    """The version that was created, or that `IF NOT EXISTS` has kept."""
    known = _known(con, statement.name)
    if known and not (statement.replace or statement.if_missing):
        raise ModelError(
            f"model '{known}' exists already",
            expected="another name",
            fix=f"CREATE OR REPLACE MODEL {quoted_name(known)} trains another version of it",
        )
    if not (known and statement.if_missing):
        require_no_transaction(con, "CREATE MODEL")
        task, options = task_and_options(statement.name, statement.line, statement.options)
        trainer(con, task, statement.name, options)
    attach(con, models=[statement.name])
    return _shown([find_model(con, current_catalog(con), statement.name)])


def _scores(con: duckdb.DuckDBPyConnection, statement: Predict, trainer: Trainer) -> duckdb.DuckDBPyRelation:
    """The scores of all entities now, by a model of the line, which is trained if there is none."""
    name = None if statement.options else _answering(con, statement.line)
    if name is None:
        options = "".join(f"{option}={value!r};" for option, value in sorted(statement.options.items()))
        asked = " ".join(_words(statement.line)) + options
        name = f"question_{hashlib.sha256(asked.encode()).hexdigest()[:8]}"
        if _known(con, name) is None:
            require_no_transaction(con, "a PREDICT that has to train")
            trainer(con, *_named(name, statement))
    attach(con, models=[name])
    task = active_card(con, current_catalog(con), name, recommendations=True).task
    return con.sql(f"FROM {ident(batch_name(name))}({f'k := {task.k}' if task.k else ''})")


def _named(name: str, statement: Predict) -> tuple[Task, str, TrainOptions]:
    task, options = task_and_options(name, statement.line, statement.options)
    return task, name, options


def _answering(con: duckdb.DuckDBPyConnection, line: str) -> str | None:
    """The model whose active version answers the line with default options; of several, the one trained last."""
    catalog, asked = current_catalog(con), _words(line)
    asks, options = task_and_options("question", line, {})
    plain = asks.resolved(read_schema(con, catalog))
    active = [model for model in read_models(con, catalog) if model.status == ACTIVE]
    for model in sorted(active, key=lambda model: model.created or datetime.min, reverse=True):
        card = active_card(con, catalog, model.name, recommendations=True)
        task = card.task
        mine, theirs = ((each.kind, each.split, each.target, each.visible) for each in (task, plain))
        if mine == theirs and card.regime == options.regime and task.predict and _words(task.predict) == asked:
            return model.name
    return None


def _words(line: str) -> list[str]:
    """The tokens of a line, ignoring spaces and the case of words."""
    return [fold(token.text) if token.kind == "word" else token.text for token in scan(line) if token.text != ";"]


def _exists(con: duckdb.DuckDBPyConnection, reference: str) -> bool:
    """True if there is such a model, or such a version of it."""
    try:
        find_model(con, current_catalog(con), reference)
    except ModelError:
        return False
    return True


def _known(con: duckdb.DuckDBPyConnection, name: str) -> str | None:
    """The stored name of a model, in upper or lower case; None if there is no such model."""
    return stored_name(name, {model.name for model in read_models(con, current_catalog(con))})
