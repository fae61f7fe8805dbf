"""The scores in the ledger joined to what happened, by the label query of the model's own task.

A score can be judged once its window is closed: its as_of plus the horizon is at or before the newest event of the
tables that the label query reads. The labels of a split end by the same rule.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Literal

import duckdb
import numpy as np
import numpy.typing as npt

from relsql.database.cursors import task_cursor
from relsql.database.names import unique_name
from relsql.database.queries.sealed import sealed
from relsql.registry.cards.card import ModelCard
from relsql.registry.predictions import ledger_moments, scores_sql
from relsql.schema.entity_keys import key_type
from relsql.schema.reading import read_schema
from relsql.sql_text import Cte, with_ctes
from relsql.tasks.kinds.supported import require_forecast
from relsql.tasks.labels.label_sandbox import LabelLimits
from relsql.tasks.labels.label_table import labels_at
from relsql.tasks.split_choice import tables_read
from relsql.tasks.splits import closed_windows, event_span
from relsql.tasks.task import Task
from relsql.typing import IntArray

Period = Literal["day", "week", "month", "quarter", "year"]
PERIODS: tuple[Period, ...] = ("day", "week", "month", "quarter", "year")


@dataclass(frozen=True, slots=True)
class Realised:
    """The scores of one model version in the ledger, each entity once for each as_of.

    Attributes:
        newest: the newest event of the tables that the label query reads.
        as_of: datetime64 [scores].
        period: datetime64 [scores], the beginning of the period that as_of is in.
        entity: int64 [scores], equal for scores of the same entity.
        scores: float64 [scores]; of classes their probabilities, float64 [scores, classes].
        labels: float64 [scores], of classes their codes, int64 [scores]; what `judged` leaves out has none.
        judged: bool [scores], whether a score has a label.
        closed: bool [scores], whether the window of the score is closed. An open one has no label.
    """

    newest: datetime.datetime
    as_of: npt.NDArray[np.datetime64]
    period: npt.NDArray[np.datetime64]
    entity: IntArray
    scores: npt.NDArray[np.float64]
    labels: npt.NDArray[Any]
    judged: npt.NDArray[np.bool_]
    closed: npt.NDArray[np.bool_]

    def unseen(self, task: Task) -> npt.NDArray[np.bool_]:
        """The scores with a label that training has not seen; its own labels end at the test timestamp."""
        return self.judged & (self.as_of >= np.datetime64(task.test_timestamp, "us"))


def realised_scores(
    con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, *, by: Period = "month", limits: LabelLimits
) -> Realised:
    """Join the scores of a model version, which the ledger must have, to what happened.

    Args:
        con: the user's connection; it does not change.
        catalog: the database with the model.
        card: the card of the version.
        by: the length of a period.
        limits: what the label query may do, and for how long.

    Raises:
        TaskError: the label query no longer runs, does something that is not allowed or takes too long.
    """
    task = card.task
    require_forecast(task, "a comparison with what happened")
    # The schema of the file, as the label query may read what the model does not.
    schema = read_schema(con, catalog).without_columns(task.removed)
    with task_cursor(con, catalog) as cursor:
        newest = event_span(cursor, catalog, tables_read(cursor, schema, task), task)[1]
        closed = closed_windows(cursor, task, ledger_moments(cursor, catalog, card), newest)
        happened = f"SELECT NULL::{key_type(card.entity)} AS entity, NULL::TIMESTAMP AS as_of, NULL AS label"
        if closed:
            relation = unique_name("relsql_labels")
            labels = labels_at(con, catalog, schema, task, closed, end=None, entities_until=None, limits=limits)
            cursor.register(relation, labels)
            happened = f"SELECT CAST(entity AS {key_type(card.entity)}) AS entity, as_of, label FROM {relation}"
        score = Cte("score", scores_sql(cursor, catalog, card), "Scores of the ledger")
        label = Cte("label", happened, "What happened after the moments whose windows are closed")
        kind = "VARCHAR" if card.classes else "DOUBLE"
        columns = (
            f"s.as_of, date_trunc('{by}', s.as_of)::TIMESTAMP AS period, s.score, s.probabilities, "
            f"dense_rank() OVER (ORDER BY s.entity ASC) AS entity, CAST(l.label AS {kind}) AS label"
        )
        joined = "FROM score s LEFT JOIN label l ON l.entity = s.entity AND l.as_of = s.as_of"
        query = with_ctes([score, label], f"SELECT {columns}\n{joined}\nORDER BY s.as_of ASC, s.entity ASC")
        found = cursor.sql(sealed(query)).to_arrow_table()
    as_of, label = np.asarray(found["as_of"], dtype="datetime64[us]"), found["label"]
    if card.classes:
        labels, judged = card.classes.codes(label), np.asarray(label.is_valid())
        scores = np.asarray(found["probabilities"].combine_chunks().flatten()).reshape(-1, len(card.classes))
    else:
        labels, scores = np.asarray(label.fill_null(np.nan)), np.asarray(found["score"])
        judged = ~np.isnan(labels)
    return Realised(
        newest,
        as_of,
        np.asarray(found["period"], dtype="datetime64[us]"),
        np.asarray(found["entity"], dtype=np.int64),
        scores,
        labels,
        judged,
        np.isin(as_of, np.array(closed, dtype="datetime64[us]")),
    )
