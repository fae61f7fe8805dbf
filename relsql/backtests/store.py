"""The results of backtests, in relsql's tables `backtests` and `backtest_scores`: one transaction per cutoff."""

from __future__ import annotations

import datetime
from dataclasses import astuple, dataclass, fields

import duckdb
import numpy as np
import pyarrow as pa

from relsql.database.connections import transaction
from relsql.database.names import unique_name
from relsql.database.relsql_tables import ensure_table, has_relsql_table, rows_sql
from relsql.evaluation.metrics.class_metrics import confidence
from relsql.evaluation.metrics.ranking_metrics import ranking_values
from relsql.evaluation.predictions import Predictions
from relsql.registry.cards.card import ModelCard
from relsql.tasks.target import more_is_better

BASELINES = {
    "own_columns": "own columns",
    "single_column": "best single column",
    "entity_mean": "entity's mean label",
    "popularity": "most popular items",
    "past_visits": "items that the entity had before",
    "popular_among_similar": "items of similar entities",
}
"""The columns of `backtests` that hold baselines, and the names that people read."""


@dataclass(frozen=True, slots=True)
class BacktestRow:
    """One metric at one cutoff; the columns of `backtests`.

    Attributes:
        backtest: identifies the request: data, task, options, and what is scored.
        cutoff: training sees only what was known then; the windows of the scored labels begin here.
        metric: name of the task's metric.
        value: the model's; None if it is not defined, such as a ROC-AUC of labels of one kind.
        low, high: ends of its 95 % interval, resampled by entity; None if it is not known.
        labels, positives: number of labels, and of those above 0; None for classes.
        own_columns, single_column, entity_mean: the metric of the baselines, see `relsql.evaluation.plain_baselines`.
        task, model: name of the task; name and version of the model, None where one was trained for each cutoff.
        trained_until: end of the last label window that the model was trained on, or chosen and calibrated by.
        seen: whether that is after the cutoff, so that the value is too good.
        single_column_name: the single column, `TABLE(COLUMN)`.
        seconds: time that the cutoff took.
        created: when it was stored, UTC.
        popularity, past_visits, popular_among_similar: of a recommendation, the metric of rankings without a model.
    """

    backtest: str
    cutoff: datetime.datetime
    metric: str
    value: float | None
    low: float | None
    high: float | None
    labels: int
    positives: int | None
    own_columns: float | None
    single_column: float | None
    entity_mean: float | None
    task: str
    model: str | None
    trained_until: datetime.datetime
    seen: bool
    single_column_name: str | None
    seconds: float
    created: datetime.datetime
    popularity: float | None = None
    past_visits: float | None = None
    popular_among_similar: float | None = None

    @property
    def best_baseline(self) -> float | None:
        """The value of the best baseline; None without baselines."""
        known: list[float] = [value for name in BASELINES if (value := getattr(self, name)) is not None]
        if not known:
            return None
        return max(known) if more_is_better(self.metric) else min(known)


_COLUMNS = ", ".join(field.name for field in fields(BacktestRow))


def stored_rows(con: duckdb.DuckDBPyConnection, catalog: str, backtest: str) -> list[BacktestRow]:
    """The finished cutoffs of a backtest, in order of time."""
    if not has_relsql_table(con, catalog, "backtests"):
        return []
    query = f"SELECT {_COLUMNS} FROM {rows_sql(con, catalog, 'backtests')} WHERE backtest = ? ORDER BY cutoff ASC"
    return [BacktestRow(*row) for row in con.execute(query, [backtest]).fetchall()]


def scores_table(predicted: Predictions, card: ModelCard) -> pa.Table:
    """The scores of a cutoff as rows of `backtest_scores`: entity, score, label, class, label_class."""
    nothing = pa.nulls(len(predicted.entities), pa.string())
    score, label, named, happened = predicted.scores, predicted.labels, nothing, nothing
    if card.classes:
        score, label = confidence(predicted.labels, predicted.scores)
        names = card.classes.array.cast(pa.string())
        likeliest = np.nan_to_num(predicted.scores, nan=-1).argmax(axis=1)
        named = names.take(pa.array(likeliest, mask=~predicted.scored))
        happened = predicted.seeds.column("label").cast(pa.string())
    if card.ranker:
        known = np.nan_to_num(predicted.scores) > 0
        found = ranking_values(known, np.maximum(predicted.labels, 1))
        score, label = np.where(predicted.scored, found["map"], np.nan), found["recall"]
    entity = [str(each) for each in predicted.entities]
    columns = {"entity": entity, "score": score, "label": label, "class": named, "label_class": happened}
    return pa.table(columns)


def store_cutoff(con: duckdb.DuckDBPyConnection, catalog: str, row: BacktestRow, scores: pa.Table) -> None:
    """Store a cutoff in one transaction, in place of an earlier result; `scores` are rows of `backtest_scores`."""
    relation = unique_name("relsql_scores")
    con.register(relation, scores)
    try:
        with transaction(con):
            for name in ("backtests", "backtest_scores"):
                table = ensure_table(con, catalog, name)
                con.execute(f"DELETE FROM {table} WHERE backtest = ? AND cutoff = ?", [row.backtest, row.cutoff])
            places = ", ".join("?" for _ in fields(BacktestRow))
            con.execute(
                f"INSERT INTO {ensure_table(con, catalog, 'backtests')} ({_COLUMNS}) VALUES ({places})", astuple(row)
            )
            con.execute(
                f"""INSERT INTO {ensure_table(con, catalog, "backtest_scores")}
                    (backtest, cutoff, entity, score, label, class, label_class)
                    SELECT ?, ?, CAST(entity AS VARCHAR), score, label, class, label_class FROM {relation}""",
                [row.backtest, row.cutoff],
            )
    finally:
        con.unregister(relation)
