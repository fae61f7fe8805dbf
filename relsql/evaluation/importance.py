"""What a model is worth without a table or a column: its metric on labels, with and without it.

The scores without are those of `explain_<model>`: the rows of a table are out, or the values of a column are missing.
Unlike a permutation, this asks about rows as the model may meet them, and it gives the same numbers in every run.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np

from relsql.database.names import current_catalog
from relsql.evaluation.explained_labels import ExplainedLabels, explained_labels
from relsql.evaluation.metrics.bootstrap import (
    Floats,
    bootstrap_draws,
    percentile_interval,
    weighted_mae,
    weighted_roc_auc,
)
from relsql.registry.cards.card import ModelCard
from relsql.registry.models import active_card
from relsql.schema.reading import read_schema
from relsql.tasks.kinds.supported import require_one_number
from relsql.tasks.labels.label_sandbox import LABEL_TIMEOUT_SECONDS, LabelLimits
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.splits import Split
from relsql.tasks.target import more_is_better
from relsql.typing import IntArray
from udfs.attach import attach

IMPORTANCE_LEVELS = ("table", "column")


@dataclass(frozen=True, slots=True)
class Importance:
    """What one table or column brings.

    Attributes:
        level: `table` or `column`.
        table: the table.
        path: where scores meet it first.
        column: the column; None for a table.
        metric: `roc_auc`, or `mae` for a regression.
        whole: the metric of the scores as they are.
        without: the metric without it.
        gain: how much better the metric is with it.
        interval: the middle 95 % of the gain when entities are resampled with all their labels.
        labels: number of labels that have a score.
    """

    level: str
    table: str
    path: str
    column: str | None
    metric: str
    whole: float
    without: float
    gain: float
    interval: tuple[float, float]
    labels: int


def importance(
    con: duckdb.DuckDBPyConnection,
    model: str,
    split: Split = "val",
    *,
    allow_external: bool = False,
    label_timeout_seconds: float = LABEL_TIMEOUT_SECONDS,
) -> list[Importance]:
    """What each table and each column brings to a model on the labels of a split, the most important first.

    Args:
        con: a connection whose current database holds the model.
        model: its name, or a version of it, `dnf@2`.
        split: `train`, `val` or `test`.
        allow_external: let the label query read files and other databases, and call any function.
        label_timeout_seconds: stop the label query after this many seconds.

    Raises:
        ModelError: unknown model. TaskError: the label query no longer runs, does something that is not allowed or
            takes too long.
    """
    catalog = current_catalog(con)
    card = active_card(con, catalog, model)
    require_one_number(card.task, "importance")
    attach(con, models=[model])
    schema = read_schema(con, catalog).without_columns(card.task.removed)
    limits = LabelLimits(allow_external, label_timeout_seconds)
    labels = label_table(con, catalog, schema, card.task, split, limits=limits).table
    with explained_labels(con, card, labels, split) as explained:
        found = [each for level in IMPORTANCE_LEVELS for each in _of_level(explained, level)]
    return sorted(found, key=lambda each: (each.level != "table", -each.gain))


def _of_level(explained: ExplainedLabels, level: str) -> list[Importance]:
    selected = """e.table_name, e.path, e.column_name, dense_rank() OVER (ORDER BY l.entity ASC) AS entity, l.label,
                e.score, e.score - e.contribution AS without"""
    rows = explained.select(level, selected, "ORDER BY l.as_of ASC, l.entity ASC").fetchnumpy()
    names = list(zip(rows["table_name"], rows["path"], rows["column_name"], strict=True))
    columns = [None if np.ma.is_masked(name[2]) or name[2] is None else str(name[2]) for name in names]
    things = [(str(name[0]), str(name[1]), column) for name, column in zip(names, columns, strict=True)]
    numbers = [np.asarray(rows[name], dtype=np.float64) for name in ("label", "score", "without")]
    entity = np.asarray(rows["entity"], dtype=np.int64)
    found = []
    for thing in dict.fromkeys(things):
        chosen = np.array([each == thing for each in things])
        label, score, without = (values[chosen] for values in numbers)
        cluster: IntArray = np.unique(entity[chosen], return_inverse=True)[1].astype(np.int64)
        found.append(_importance(explained.card, level, thing, label, np.stack([score, without]), cluster))
    return found


def _importance(
    card: ModelCard, level: str, thing: tuple[str, str, str | None], labels: Floats, scores: Floats, cluster: IntArray
) -> Importance:
    name, metric = ("roc_auc", weighted_roc_auc) if card.task.is_classification else ("mae", weighted_mae)
    sign = 1 if more_is_better(name) else -1
    once = np.ones((1, len(labels)))
    whole, without = (float(metric(labels, each, once)[0]) for each in scores)
    # The draws of both are pairs, see `bootstrap_draws`.
    drawn = [bootstrap_draws(labels, each[None, :], cluster, metric) for each in scores]
    interval = percentile_interval(sign * (drawn[0] - drawn[1]))
    return Importance(level, *thing, name, whole, without, sign * (whole - without), interval, len(labels))
