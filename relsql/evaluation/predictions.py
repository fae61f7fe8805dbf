"""Score labels through the same SQL functions that users call."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql.database.names import current_catalog, unique_name
from relsql.evaluation.explanations.explained_labels import scored_tables
from relsql.evaluation.recommendations import MODEL, recommend
from relsql.registry.cards.card import ModelCard
from relsql.registry.function_names import full_name, predict_name
from relsql.registry.models import active_card
from relsql.registry.versions import suffix_of
from relsql.schema.entity_keys import key_arguments_sql
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema, Table
from relsql.sql_text import ident
from relsql.tasks.kinds.classes import Classes
from relsql.tasks.kinds.steps import step_values
from relsql.tasks.labels.label_sandbox import LABEL_TIMEOUT_SECONDS, LabelLimits
from relsql.tasks.labels.label_table import label_entities, label_table
from relsql.tasks.regime import Regime
from relsql.tasks.splits import Split
from udfs.attach import attach, attach_model


@dataclass(frozen=True, slots=True)
class Predictions:
    """Scores and labels: entity and as_of as Python values, labels and scores float64 [rows], NaN = no score.

    For a multiclass task, labels are positions in `ModelCard.classes`, or `UNKNOWN`, int64 [rows]; for a multilabel
    task they are bool [rows, classes]. Scores are the probabilities of the classes, float64 [rows, classes]. For a
    recommendation, labels are the numbers of items, int64 [rows], and scores say which of the first k items were among
    them, 1 or 0, float64 [rows, k]. For a forecast in steps, labels and scores are float64 [rows, steps].
    `seeds` is the label table that was scored, in the same order, see `LabelTable`.
    """

    entities: list[object]
    as_of: list[datetime.datetime]
    labels: npt.NDArray[Any]
    scores: npt.NDArray[np.float64]
    seeds: pa.Table

    @property
    def scored(self) -> npt.NDArray[np.bool_]:
        """Which rows have a score, bool [rows]."""
        finite = np.isfinite(self.scores)
        return finite if finite.ndim == 1 else np.logical_and.reduce(finite, axis=1)


def predict_split(
    con: duckdb.DuckDBPyConnection,
    model: str,
    split: Split,
    regime: Regime | None = None,
    *,
    allow_external: bool = False,
    label_timeout_seconds: float = LABEL_TIMEOUT_SECONDS,
) -> Predictions:
    """Score every label row of a split: `SELECT predict_<model>_full(entity, as_of := time)`.

    Args:
        con: a connection whose current database holds the model.
        model: its name, or a version of it, `dnf@2`.
        split: `train`, `val` or `test`.
        regime: `seed-time` reads the database up to each row's as_of, `frozen` a copy in memory that ends where the
            split starts; default: the regime that the model was trained for.
        allow_external: let the label query read files and other databases, and call any function.
        label_timeout_seconds: stop the label query after this many seconds.

    Raises:
        ModelError: unknown model. TaskError: the label query no longer runs, does something that is not allowed or
            takes too long, or the regime does not exist.
    """
    limits = LabelLimits(allow_external, label_timeout_seconds)
    catalog = current_catalog(con)
    card = active_card(con, catalog, model)
    labels = split_labels(con, card, read_schema(con, catalog), split, limits)
    return predict_among(con, model, card, labels, split, regime)


def split_labels(
    con: duckdb.DuckDBPyConnection, card: ModelCard, schema: Schema, split: Split, limits: LabelLimits
) -> pa.Table:
    """The labels of a split; `schema` is that of the file, as the label query may read what the model does not."""
    schema = schema.without_columns(card.task.removed)
    return label_table(con, current_catalog(con), schema, card.task, split, limits=limits).table


def predict_among(
    con: duckdb.DuckDBPyConnection,
    model: str,
    card: ModelCard,
    labels: pa.Table,
    split: Split,
    regime: Regime | None,
) -> Predictions:
    """See `predict_split`; `card` is the card of the version that `model` names, `labels` are those of the split."""
    catalog = current_catalog(con)
    with con.cursor() as cursor, scored_tables(cursor, catalog, card, split, regime) as tables:
        if tables != catalog:
            attach_model(cursor, catalog, card, tables_from=tables)
            return score_labels(cursor, card, card.name, labels)
    attach(con, models=[model])
    return score_labels(con, card, suffix_of(model, card.name, card.version), labels)


def score_labels(con: duckdb.DuckDBPyConnection, card: ModelCard, suffix: str, labels: pa.Table) -> Predictions:
    """Score labels (entity, as_of, label), at least one, by the functions of an attached model."""
    if card.ranker:
        return _hits(con, card, labels)
    if card.classes:
        return _class_predictions(con, suffix, card.entity, labels, card.classes)
    if card.task.steps:
        return _step_predictions(con, suffix, card.entity, labels, card.task.steps)
    return predict_labels(con, suffix, card.entity, labels)


def _hits(con: duckdb.DuckDBPyConnection, card: ModelCard, labels: pa.Table) -> Predictions:
    """Like `score_labels`, for a recommendation."""
    found = recommend(con, current_catalog(con), card, labels, (MODEL,))
    hits, counts = np.full((labels.num_rows, found.k), np.nan), np.zeros(labels.num_rows, dtype=np.int64)
    hits[found.known], counts[found.known] = found.hits(MODEL), found.counts
    return Predictions(label_entities(labels), labels.column("as_of").to_pylist(), counts, hits, labels)


def predict_labels(con: duckdb.DuckDBPyConnection, suffix: str, entity: Table, labels: pa.Table) -> Predictions:
    """Score labels (entity, as_of, label), at least one, by the functions of an attached model.

    `entity` is the entity table, whose key may have several columns.
    """
    scores = _answers(con, f"{ident(predict_name(suffix))}({_arguments(entity)})", labels)
    values = np.array(labels.column("label").to_pylist(), dtype=np.float64)
    found = np.array(scores.fill_null(np.nan), dtype=np.float64)
    return Predictions(label_entities(labels), labels.column("as_of").to_pylist(), values, found, labels)


def _arguments(entity: Table) -> str:
    return f"{key_arguments_sql(entity, 'entity')}, as_of := as_of"


def _answers(con: duckdb.DuckDBPyConnection, expression: str, labels: pa.Table) -> pa.Array:
    """An expression for each label, in the order of the labels."""
    relation = unique_name("relsql_labels")
    con.register(relation, labels.append_column("position", pa.array(range(labels.num_rows))))
    try:
        query = f"SELECT {expression} AS answer FROM {relation} ORDER BY position ASC"
        return con.sql(query).to_arrow_table().column("answer").combine_chunks()
    finally:
        con.unregister(relation)


def _class_predictions(
    con: duckdb.DuckDBPyConnection, suffix: str, entity: Table, labels: pa.Table, classes: Classes
) -> Predictions:
    """Like `predict_labels`, for a multiclass task."""
    score = f"{ident(full_name(suffix))}({_arguments(entity)})"
    found = _rows(_answers(con, f"map_values({score}.probabilities)", labels), len(classes))
    codes = classes.hits(labels.column("label")) if classes.many else classes.codes(labels.column("label"))
    return Predictions(label_entities(labels), labels.column("as_of").to_pylist(), codes, found, labels)


def _step_predictions(
    con: duckdb.DuckDBPyConnection, suffix: str, entity: Table, labels: pa.Table, steps: int
) -> Predictions:
    """Like `predict_labels`, for a forecast in steps."""
    found = _rows(_answers(con, f"{ident(full_name(suffix))}({_arguments(entity)}).score", labels), steps)
    values = step_values(labels.column("label"))
    return Predictions(label_entities(labels), labels.column("as_of").to_pylist(), values, found, labels)


def _rows(lists: pa.Array, width: int) -> npt.NDArray[np.float64]:
    """Lists of equal length as an array [rows, width]; NaN where one is NULL."""
    found = np.full((len(lists), width), np.nan)
    found[np.asarray(lists.is_valid())] = np.asarray(lists.flatten()).reshape(-1, width)
    return found
