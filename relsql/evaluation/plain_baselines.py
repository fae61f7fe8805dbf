"""Plain baselines: own columns, the best single column, and each entity's mean label.

All are fitted on labels that are known when a model is trained; backtests and training compare models with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql.errors import TaskError
from relsql.evaluation.baseline import class_probabilities, entity_columns_scores
from relsql.evaluation.copied_labels import SingleColumn
from relsql.evaluation.screening import separation
from relsql.schema.finding import column_object
from relsql.schema.tables import Schema
from relsql.tasks.kinds.classes import UNKNOWN, Classes
from relsql.tasks.labels.label_sandbox import LabelLimits
from relsql.tasks.labels.label_table import label_entities, label_table
from relsql.tasks.target import constant_of
from relsql.tasks.task import Task

Floats = npt.NDArray[np.float64]

BINS = 10
"""A column predicts a label by the mean of the labels in its bin; bins hold equal numbers of training labels."""


@dataclass(frozen=True, slots=True)
class BestColumn:
    """The best single column by the known labels: its name, and its scores of the labels to predict."""

    name: str
    scores: Floats


def own_columns(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    limits: LabelLimits,
    classes: Classes | None = None,
) -> Floats | None:
    """The scores of boosted trees on the columns of the entity table, float64 [test labels]; None without columns.

    Of a multiclass task they are the probabilities of its classes, float64 [test labels, classes].
    """
    try:
        if classes:
            judged = label_table(con, catalog, schema, task, "test", limits=limits)
            return class_probabilities(con, catalog, schema, task, classes, judged, limits)
        return entity_columns_scores(con, catalog, schema, task, ("test",), limits=limits)["test"][1]
    except (ValueError, TaskError):
        return None  # Training labels of one kind, or no columns.


def entity_means(task: Task, known: pa.Table, entities: Sequence[object]) -> Floats:
    """The best constant for each entity's earlier labels, or for all labels if it had none, float64 [entities]."""
    labels = np.asarray(known.column("label"), dtype=np.float64)
    overall = constant(task, labels)
    sums: dict[object, list[float]] = {}
    for entity, label in zip(label_entities(known), labels, strict=True):
        sums.setdefault(entity, []).append(float(label))
    own = {entity: constant(task, np.array(values)) for entity, values in sums.items()}
    return np.array([own.get(each, overall) for each in entities])


def entity_shares(classes: Classes, known: pa.Table, entities: Sequence[object]) -> Floats:
    """The shares of the classes in each entity's earlier labels, float64 [entities, classes].

    The shares in all training labels count as one more label, so that no class has the probability 0.
    """
    sums: dict[object, Floats] = {}
    for entity, code in zip(label_entities(known), classes.codes(known.column("label")), strict=True):
        if code != UNKNOWN:
            sums.setdefault(entity, classes.prior.copy())[code] += 1
    found = np.array([sums.get(each, classes.prior) for each in entities]).reshape(-1, len(classes))
    shares: Floats = found / found.sum(axis=1, keepdims=True)
    return shares


def constant(task: Task, labels: Floats) -> float:
    """The best score of labels [n], n > 0, when nothing else is known: their target, or their mean."""
    return constant_of(task.target, labels) if task.target else float(labels.mean())


def best_column(task: Task, columns: Iterable[SingleColumn], known: int, labels: Floats) -> BestColumn | None:
    """The column that ranks the known labels best, and the scores that it alone gives to the others.

    Args:
        task: the task.
        columns: their values are those of the known labels first, then those of the labels to predict.
        known: number of known labels.
        labels: the known labels, float64 [known].
    """
    best, column = 0.0, None
    for each in columns:
        found = separation(each.values[:known], labels, classification=task.is_classification)
        if found > best:
            best, column = found, each
    if column is None:
        return None
    name = column_object(column.table, column.name) if column.name else f"number of {column.table}"
    return BestColumn(name, _binned(task, column.values[:known], labels, column.values[known:]))


def _binned(task: Task, train: Floats, labels: Floats, test: Floats) -> Floats:
    """The mean (for a regression: the target) of the training labels in the bin of each test value."""
    known = np.isfinite(train)
    edges = np.unique(np.quantile(train[known], np.linspace(0, 1, BINS + 1)[1:-1])) if known.any() else np.array([])
    mine, theirs = _bin(train, edges), _bin(test, edges)
    values = np.full(len(edges) + 2, constant(task, labels))
    for i in np.unique(mine):
        values[i] = constant(task, labels[mine == i])
    found: Floats = values[theirs]
    return found


def _bin(values: Floats, edges: Floats) -> npt.NDArray[np.int64]:
    """The bin of each value, from 1 on; 0 where it is missing."""
    return np.where(np.isfinite(values), np.searchsorted(edges, values, side="right") + 1, 0)
