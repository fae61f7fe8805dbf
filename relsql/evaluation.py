"""Evaluate a model and write its scores: all of it through the SQL functions that users call."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt

from relsql.labels import Split, label_table
from relsql.registry import find_model, read_card
from relsql.schema import current_catalog
from relsql.sql import ident

_LABELS = "relsql_labels"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics of one model version on one split; `unscored` rows had no score and are left out."""

    model: str
    version: int
    task: str
    split: str
    rows: int
    unscored: int
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Predictions:
    """Scores beside labels: entity and as_of as Python values, labels and scores float64 [rows], NaN = no score."""

    entities: list[object]
    as_of: list[datetime.datetime]
    labels: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]


def predict_split(con: duckdb.DuckDBPyConnection, model: str, split: Split) -> Predictions:
    """Score every label row of a split: `SELECT predict_<model>(entity, as_of := time)`.

    Raises:
        ModelError: unknown model. TaskError: the label query no longer runs.
    """
    from udfs.attach import attach

    catalog = current_catalog(con)
    row = find_model(con, catalog, model)
    card = read_card(con, catalog, model, row.version)
    labels = label_table(con, catalog, card.schema, card.task, split).table
    attach(con, models=[model])
    con.register(_LABELS, labels)
    try:
        query = f"SELECT entity, as_of, label, {ident('predict_' + model)}(entity, as_of := as_of) FROM {_LABELS}"
        rows = con.execute(f"{query} ORDER BY as_of, entity").fetchall()
    finally:
        con.unregister(_LABELS)
    entities, times, values, scores = zip(*rows, strict=True)
    found = np.array([np.nan if score is None else score for score in scores], dtype=np.float64)
    return Predictions(list(entities), list(times), np.array(values, dtype=np.float64), found)


def evaluate(con: duckdb.DuckDBPyConnection, model: str, split: Split = "test") -> Evaluation:
    """Metrics of the active version of a model on `train`, `val` or `test`.

    Every row is scored at its own timestamp, with all rows of the database up to it (the seed-time regime).

    Raises:
        ModelError: unknown model. TaskError: the label query no longer runs.
    """
    catalog = current_catalog(con)
    row = find_model(con, catalog, model)
    predictions = predict_split(con, model, split)
    scored = np.isfinite(predictions.scores)
    labels, scores = predictions.labels[scored], predictions.scores[scored]
    metrics = classification_metrics(labels, scores) if row.task_type == "binary_classification" else {}
    if not metrics:
        metrics = regression_metrics(labels, scores)
    return Evaluation(model, row.version, row.task, split, len(labels), int((~scored).sum()), metrics)


def classification_metrics(labels: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> dict[str, float]:
    """ROC-AUC, average precision, log loss and the rate of positives."""
    from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

    clipped = np.clip(scores, 1e-7, 1 - 1e-7)
    return {
        "roc_auc": float(roc_auc_score(labels, scores)),
        "average_precision": float(average_precision_score(labels, scores)),
        "log_loss": float(log_loss(labels, clipped, labels=[0.0, 1.0])),
        "positive_rate": float(labels.mean()),
        "mean_score": float(scores.mean()),
    }


def regression_metrics(labels: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> dict[str, float]:
    """MAE, RMSE, R2 and the means."""
    error = scores - labels
    spread = float(((labels - labels.mean()) ** 2).sum())
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "r2": 1 - float((error**2).sum()) / spread if spread else float("nan"),
        "mean_label": float(labels.mean()),
        "mean_score": float(scores.mean()),
    }
