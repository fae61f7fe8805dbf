"""The baseline that every model has to beat: the columns of the entity table, without any linked rows.

Features are the node inputs of the entity table as of each label's time: numbers, flags, categories, the ages of its
dates, and the time itself. Texts and keys are left out. Gradient boosting is fitted on the training labels only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from relsql.database.queries.sealed import sealed
from relsql.errors import MissingExtraError
from relsql.evaluation.metrics.class_metrics import class_metrics
from relsql.evaluation.metrics.label_metrics import label_metrics
from relsql.gather.node_inputs import NodeInputs, category_sql, fit_node_inputs, number_sql
from relsql.schema.entity_keys import is_entity_sql
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Schema
from relsql.schema.visibility import and_visible_sql
from relsql.tasks.entity import entity_table
from relsql.tasks.kinds.classes import Classes
from relsql.tasks.labels.label_sandbox import DEFAULT_LIMITS, LabelLimits
from relsql.tasks.labels.label_table import LabelTable, label_table
from relsql.tasks.splits import Split
from relsql.tasks.target import MEDIAN, quantile_level, regression_loss
from relsql.tasks.task import Task

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

MAX_TRAIN_ROWS = 200_000
"""If there are more training labels, a subset is used that is evenly spread over time."""

MAX_CLASSES = 50
"""With more classes this baseline is left out: it would fit a tree for each class in each round."""


def entity_columns_auc(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    splits: Sequence[Split] = ("val", "test"),
    *,
    limits: LabelLimits = DEFAULT_LIMITS,
) -> dict[Split, float]:
    """The metric of the baseline on each of `splits`; arguments and errors are those of `entity_columns_scores`.

    It is the ROC-AUC of a binary classification or the metric of the target of a regression, see
    `relsql.tasks.target`.
    """
    scored = entity_columns_scores(con, catalog, schema, task, splits, limits=limits)
    return {split: _metric(task, *found) for split, found in scored.items()}


def entity_columns_scores(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    splits: Sequence[Split] = ("val", "test"),
    *,
    limits: LabelLimits = DEFAULT_LIMITS,
) -> dict[Split, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Fit the baseline on the training labels and score the labels of `splits`.

    Args:
        con: the user's connection; its state is not changed.
        catalog: name of the attached database.
        schema: its schema.
        task: the task.
        splits: the splits to evaluate on.
        limits: what the label query may do.

    Returns:
        For each split labels and scores, float64 [labels], in the order of `label_table`. A score of a classification
        is a probability; the baseline of a regression predicts the task's target.

    Raises:
        TaskError: the labels cannot be computed.
        MissingExtraError: scikit-learn is not installed.
    """
    train = label_table(con, catalog, schema, task, "train", limits=limits)
    fitted = _fit(con, catalog, schema, task, train)
    scored = {}
    for split in splits:
        x, y = fitted.read(con, label_table(con, catalog, schema, task, split, limits=limits))
        scored[split] = y, fitted.model.predict_proba(x)[:, 1] if task.is_classification else fitted.model.predict(x)
    return scored


def class_baselines(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    classes: Classes,
    split: Split,
    *,
    limits: LabelLimits = DEFAULT_LIMITS,
) -> tuple[dict[str, float], dict[str, float]]:
    """The metrics of two baselines of a task with classes, see `class_metrics` and `label_metrics`.

    Returns:
        Those of the columns of the entity table, empty if there are more than `MAX_CLASSES` classes; and those of the
        shares of the classes in the training labels.
    """
    schema = schema.without_columns(task.removed)
    if classes.thresholds is not None:
        return _label_baselines(con, catalog, schema, task, classes, split, limits)
    judged = label_table(con, catalog, schema, task, split, limits=limits)
    labels = classes.codes(judged.table.column("label"))
    shares = class_metrics(labels, np.tile(classes.prior, (len(labels), 1)))
    probabilities = class_probabilities(con, catalog, schema, task, classes, judged, limits)
    return {} if probabilities is None else class_metrics(labels, probabilities), shares


def class_probabilities(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    classes: Classes,
    judged: LabelTable,
    limits: LabelLimits = DEFAULT_LIMITS,
) -> NDArray[np.float64] | None:
    """The probabilities of the classes of a multiclass task by the columns of the entity table.

    float64 [labels, classes], in the order of the labels `judged`; None if there are more than `MAX_CLASSES` classes.
    """
    if len(classes) > MAX_CLASSES:
        return None
    train = label_table(con, catalog, schema, task, "train", limits=limits)
    fitted = _fit(con, catalog, schema, task, replace(train, table=classes.coded(classes.known(train.table))))
    x, _ = fitted.read(con, replace(judged, table=classes.coded(judged.table)))
    probabilities = np.zeros((len(x), len(classes)))
    probabilities[:, fitted.model.classes_.astype(np.int64)] = fitted.model.predict_proba(x)
    return probabilities


def _label_baselines(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    classes: Classes,
    split: Split,
    limits: LabelLimits,
) -> tuple[dict[str, float], dict[str, float]]:
    """`class_baselines` of a multilabel task: a model for each class, and its share of the training labels."""
    train, judged = (label_table(con, catalog, schema, task, each, limits=limits) for each in ("train", split))
    known, held = (classes.hits(each.table.column("label")) for each in (train, judged))
    probabilities = np.tile(known.mean(axis=0), (len(held), 1))
    thresholds = classes.thresholds or ()
    shares = label_metrics(held, probabilities, thresholds)
    if len(classes) > MAX_CLASSES:
        return {}, shares
    for code in np.flatnonzero(known.any(axis=0) & ~known.all(axis=0)):
        fitted = _fit(con, catalog, schema, task, _of_one_class(train, known[:, code]))
        x, _ = fitted.read(con, _of_one_class(judged, held[:, code]))
        probabilities[:, code] = fitted.model.predict_proba(x)[:, 1]
    return label_metrics(held, probabilities, thresholds), shares


def _of_one_class(labels: LabelTable, held: NDArray[np.bool_]) -> LabelTable:
    """The labels of a multilabel task, as 1 where they hold a class and 0 where not."""
    place = labels.table.column_names.index("label")
    return replace(labels, table=labels.table.set_column(place, "label", pa.array(held.astype(np.int64))))


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A fitted baseline, and what it reads; `empty` are the features without any value in training, bool [features]."""

    catalog: str
    schema: Schema
    task: Task
    inputs: NodeInputs
    model: Any
    empty: NDArray[np.bool_]

    def read(
        self, con: duckdb.DuckDBPyConnection, labels: LabelTable
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The features that the model reads of each label, and the labels, see `features`."""
        x, y = features(con, self.catalog, self.schema, self.task, self.inputs, labels)
        return np.where(self.empty, 0.0, x), y


def _fit(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, train: LabelTable) -> _Fitted:
    until = train.table.column("as_of")[-1].as_py()
    # What is hidden from the model in the entity's own row is hidden from the baseline.
    hidden = (*task.remove_columns, *task.removed, *((task.entity_table, column) for column in task.asked.hidden))
    read = schema.without_columns(hidden)
    inputs = fit_node_inputs(con, catalog, read, read.table(task.entity_table).key, until=until)
    model = _model(task, len(inputs.numbers) + 1, len(inputs.categories))
    x, y = features(con, catalog, schema, task, inputs, train)
    step = -(-len(y) // MAX_TRAIN_ROWS)
    x, y = x[::step], y[::step]
    # scikit-learn's gradient boosting rejects columns without any value.
    empty = np.logical_and.reduce(np.isnan(x), axis=0)
    model.fit(np.where(empty, 0.0, x), y)
    return _Fitted(catalog, schema, task, inputs, model, empty)


def features(
    con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, inputs: NodeInputs, labels: LabelTable
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read the features of each label.

    Returns:
        x: float64 [labels, 1 + numbers + categories]; the first column is as_of in days since 1970, NaN means missing.
        y: float64 [labels]. Both are in the order of `labels`.
    """
    table = entity_table(schema, task)
    numbers = [f"CAST({number_sql(table, each, 'e', 'l.as_of')} AS DOUBLE)" for each in inputs.numbers]
    categories = [f"CAST({category_sql(each, 'e')} AS DOUBLE)" for each in inputs.categories]
    cells = ["epoch(l.as_of) / 86400.0", *numbers, *categories, "CAST(l.label AS DOUBLE)"]
    selected = ", ".join(f"{cell} AS c{i}" for i, cell in enumerate(cells))
    # An entity that is not visible yet has no feature values.
    found = f"{is_entity_sql(table, 'e', 'l.entity')}{and_visible_sql(table, 'e', 'l.as_of')}"
    query = f"""SELECT {selected} FROM relsql_labels l LEFT JOIN {relation_sql(table, catalog)} e ON {found}
                ORDER BY l.as_of ASC, l.entity ASC"""
    with con.cursor() as cursor:
        cursor.register("relsql_labels", labels.table)
        result = cursor.sql(sealed(query)).to_arrow_table()
        cursor.unregister("relsql_labels")
    columns = [np.asarray(column.to_numpy(), dtype=np.float64) for column in result.columns]
    return np.column_stack(columns[:-1]), columns[-1]


def _model(task: Task, numbers: int, categories: int) -> HistGradientBoostingClassifier | HistGradientBoostingRegressor:
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    except ImportError as error:
        raise MissingExtraError.for_extra("train", "the baseline") from error
    options: dict[str, Any] = {
        "learning_rate": 0.05,
        "max_iter": 100,
        "max_leaf_nodes": 8,
        "categorical_features": [False] * numbers + [True] * categories,
        "early_stopping": False,
        "random_state": 0,
    }
    if task.is_classification:
        return HistGradientBoostingClassifier(**options)
    assert task.target is not None
    level = quantile_level(task.target)
    if task.target == MEDIAN:
        return HistGradientBoostingRegressor(loss="absolute_error", **options)
    return HistGradientBoostingRegressor(
        loss="squared_error" if level is None else "quantile", quantile=level, **options
    )


def _metric(task: Task, labels: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    if task.target is not None:
        return regression_loss(task.target, labels, scores)
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, scores))
