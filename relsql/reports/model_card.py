"""The card of a model for people: what it answers, from which data, how well, and what not to use it for."""

from __future__ import annotations

import datetime
import hashlib
import json
from dataclasses import dataclass

import duckdb

from relsql.database.names import current_catalog
from relsql.registry.cards.card import ModelCard
from relsql.registry.function_names import all_names
from relsql.registry.models import active_card, find_model
from relsql.registry.publications import published
from relsql.registry.runs import recorded_findings
from relsql.registry.versions import suffix_of
from relsql.reports.card_pages import card_html, card_markdown
from relsql.reports.words import intended_use, limits, question
from relsql.schema.contents import table_content
from relsql.schema.finding import Finding
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema, Table
from relsql.schema.times.sentinels import event_bounds, find_sentinels
from relsql.tasks.kinds.static_rows import AT_RANDOM, split_reason
from relsql.tasks.splits import SPLITS
from relsql.tasks.task import Task

INTERVAL_ENDS = ("_low", "_high")
"""Suffixes of metric names that are the ends of another metric's interval."""


@dataclass(frozen=True, slots=True)
class TableData:
    """A table that a model reads, as it is now.

    Attributes:
        name: `Table.key`.
        rows: number of rows; None if the table can no longer be read as in training.
        columns: number of columns that the model may read.
        time: the time of its rows as it was declared; None if they have none.
        first, last: times of the first and last event as ISO text.
        sha256: digest of the rows, in any order, of the columns that the model may read.
    """

    name: str
    rows: int | None
    columns: int
    time: str | None
    first: str | None = None
    last: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """A model version for people; `dataclasses.asdict` of it can be written as JSON.

    Attributes:
        model, version, status: which version it is, and whether `predict_<model>` calls it.
        created: time of training, UTC.
        question: what a score answers.
        task, task_type, target, entity, horizon: the task, see `relsql.tasks.task.Task`; `target` is what a score is.
        predict: the question in one line, if it was asked so.
        label_sql: the query that computes the labels.
        functions: the SQL functions of the model.
        published_version: the version that plain SQL scores with; None if the model is not published.
        tables: what it reads, as it is now.
        paths: the link paths along which it reads.
        data_sha256: one digest of the content of all tables; None if one cannot be read.
        splits: the first moment of validation and of test, and how many moments each has.
        metrics: what training stored, including the options that it chose.
        intervals: by metric, both ends of its interval, where training stored it.
        findings: what training found doubtful.
        intended_use, limits: in plain words.
        regime: how old the data of a score may be.
        trained_from: SHA-256 of data, schema, task, options and code of the training run.
        schema_sha256, identity, artifacts: digests of the tables and links, of the version, and of its parts.
        parity: largest difference between torch and ONNX by part.
        versions: of relsql and of the libraries that trained it.
    """

    model: str
    version: int
    status: str
    created: datetime.datetime
    question: str
    task: str
    task_type: str
    target: str
    entity: str
    horizon: str
    predict: str | None
    label_sql: str
    functions: tuple[str, ...]
    published_version: int | None
    tables: tuple[TableData, ...]
    paths: tuple[str, ...]
    data_sha256: str | None
    splits: dict[str, str]
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    findings: tuple[Finding, ...]
    intended_use: tuple[str, ...]
    limits: tuple[str, ...]
    regime: str
    trained_from: str | None
    schema_sha256: str
    identity: str
    artifacts: dict[str, str]
    parity: dict[str, float]
    versions: dict[str, str]

    def markdown(self) -> str:
        """The card as Markdown."""
        return card_markdown(self)

    def _repr_html_(self) -> str:
        """The card in a notebook."""
        return card_html(self)


def model_card(con: duckdb.DuckDBPyConnection, model: str, *, catalog: str | None = None) -> Card:
    """The card of a version of a model. Its tables are counted and hashed as they are now; nothing is written.

    Args:
        con: a connection to the database that holds the model.
        model: its name, or a version of it, `dnf@2`.
        catalog: the database; default: the current one.

    Raises:
        ModelError: unknown model. ArtifactError: its card is damaged.
    """
    catalog = catalog or current_catalog(con)
    card, row = active_card(con, catalog, model), find_model(con, catalog, model)
    task, entity = card.task, card.entity
    schema = read_schema(con, catalog)
    tables = tuple(_table_data(con, catalog, schema, table) for table in read_tables(card))
    metrics, intervals = split_intervals(card.metrics)
    plain_sql = published(con, catalog, card.name)
    return Card(
        model=card.name,
        version=card.version,
        status=row.status,
        created=card.created,
        question=question(task),
        task=task.name,
        task_type=task.task_type,
        target=task.predicts,
        entity=f"{entity.key}({', '.join(entity.primary_key)})",
        horizon=task.moment,
        predict=task.predict,
        label_sql=task.label_sql,
        functions=all_names(suffix_of(model, card.name, card.version)),
        published_version=plain_sql[0] if plain_sql else None,
        tables=tables,
        paths=tuple(path.describe() for path in card.paths),
        data_sha256=_digest_of(tables),
        splits=_splits(card),
        metrics=metrics,
        intervals=intervals,
        findings=recorded_findings(con, catalog, card.name, card.version),
        intended_use=intended_use(card),
        limits=limits(card),
        regime=card.regime,
        trained_from=row.request,
        schema_sha256=card.fingerprint,
        identity=card.identity,
        artifacts=card.sha256,
        parity=card.parity,
        versions={"relsql": card.relsql_version, **card.versions},
    )


def read_tables(card: ModelCard) -> tuple[Table, ...]:
    """The tables that a model reads, in the order of the schema: those of its paths, and what their rows point at."""
    read = {name for path in card.paths for name in (path.table, *(link.parent for link in path.lookups))}
    read |= {name for path in card.paths for link in path.links for name in (link.child, link.parent)}
    return tuple(table for key, table in card.schema.tables.items() if key in {*read, card.task.entity_table})


def split_intervals(metrics: dict[str, float]) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Metrics without the ends of intervals, and the intervals by metric."""
    low, high = INTERVAL_ENDS
    intervals = {
        name: (metrics[name + low], metrics[name + high])
        for name in metrics
        if name + low in metrics and name + high in metrics
    }
    ends = {name + end for name in intervals for end in INTERVAL_ENDS}
    return {name: value for name, value in metrics.items() if name not in ends}, intervals


def _table_data(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, table: Table) -> TableData:
    empty = TableData(table.key, None, len(table.columns), table.time_text)
    if schema.find(table.key) is None and not table.values_of:
        return empty
    try:
        content = table_content(con, catalog, table)
        bounds = event_bounds(con, catalog, table, find_sentinels(con, catalog, table)) if table.time_column else ()
    except duckdb.Error:
        return empty  # A column is gone or has another type.
    first, last = bounds or (None, None)
    digest = hashlib.sha256(json.dumps([table.key, table.stored_names, content]).encode()).hexdigest()
    return TableData(table.key, int(content[0]), len(table.columns), table.time_text, first, last, digest)


def _digest_of(tables: tuple[TableData, ...]) -> str | None:
    digests = [table.sha256 for table in tables]
    return None if None in digests else hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def _splits(card: ModelCard) -> dict[str, str]:
    task, moments = card.task, _moments(card.task)
    if task.is_static:
        return dict.fromkeys(SPLITS, split_reason(task.entity_table, task.split or AT_RANDOM))
    starts = {"val": task.val_timestamp, "test": task.test_timestamp}
    found = {split: f"from {start}, {moments}" for split, start in starts.items() if start}
    return {"train": f"before {task.val_timestamp}", **found} if task.val_timestamp else found


def _moments(task: Task) -> str:
    if task.asked.own_time:
        return "rows at their own times"
    number = task.num_eval_timestamps
    return f"up to {number} moments, {task.timedelta} apart" if number > 1 else "one moment"
