"""What a model is worth without a table or a column: its metric on labels, with and without it.

The scores without it come from `explain_<model>`: the rows of a table are left out, or the values of a column are
missing. Unlike a permutation, this asks about rows as the model may meet them, and it gives the same numbers in every
run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql.database.names import current_catalog
from relsql.evaluation.explanations.explained_labels import ExplainedLabels, explained_labels
from relsql.evaluation.metrics.intervals import gain_over
from relsql.registry.models import active_card
from relsql.schema.reading import read_schema
from relsql.tasks.kinds.supported import require_one_answer
from relsql.tasks.labels.label_sandbox import LABEL_TIMEOUT_SECONDS, LabelLimits
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.splits import Split
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
        metric: that of the task, see `relsql.tasks.task.Task.metric`.
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
    require_one_answer(card.task, "importance")
    attach(con, models=[model])
    schema = read_schema(con, catalog).without_columns(card.task.removed)
    limits = LabelLimits(allow_external, label_timeout_seconds)
    labels = label_table(con, catalog, schema, card.task, split, limits=limits).table
    with explained_labels(con, card, labels, split) as explained:
        found = [each for level in IMPORTANCE_LEVELS for each in _of_level(explained, level)]
    return sorted(found, key=lambda each: (each.level != "table", -each.gain))


def _of_level(explained: ExplainedLabels, level: str) -> Iterator[Importance]:
    classes, task = explained.card.classes, explained.card.task
    scores = "e.score, e.score - e.contribution AS without"
    if classes:
        scores = "map_values(e.probabilities) AS score, map_values(e.probabilities_without) AS without"
    selected = f"""e.table_name, e.path, e.column_name, dense_rank() OVER (ORDER BY l.entity ASC) AS entity, l.label,
                {scores}"""
    rows = explained.select(level, selected, "ORDER BY l.as_of ASC, l.entity ASC").to_arrow_table()
    things = list(zip(*(rows.column(name).to_pylist() for name in ("table_name", "path", "column_name")), strict=True))
    label = rows.column("label")
    labels = classes.codes(label) if classes else np.asarray(label, dtype=np.float64)
    whole, without = (_scores(rows.column(name)) for name in ("score", "without"))
    entity = np.asarray(rows.column("entity"), dtype=np.int64)
    for thing in dict.fromkeys(things):
        table, path, column = thing
        chosen = np.array([each == thing for each in things])
        cluster = np.unique(entity[chosen], return_inverse=True)[1].astype(np.int64)
        gain = gain_over(task, labels[chosen], whole[chosen], without[chosen], cluster)
        if gain:
            compared = (gain.metric, gain.value, gain.other, gain.gain, gain.interval)
            yield Importance(level, table, path, column, *compared, int(chosen.sum()))


def _scores(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Scores, float64 [labels], or the probabilities of classes, float64 [labels, classes]."""
    values = column.combine_chunks()
    if not pa.types.is_list(values.type):
        return np.asarray(values, dtype=np.float64)
    return np.asarray(values.flatten(), dtype=np.float64).reshape(len(values), -1)
