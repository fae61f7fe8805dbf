"""How good a forecast in steps is: the errors of each window, beside forecasts that need no model.

The mean absolute scaled error of a window is its mean absolute error, divided by the mean absolute change from one
window to the next in the training labels (Hyndman and Koehler 2006, doi.org/10.1016/j.ijforecast.2006.03.001). A value
below 1 is better than repeating the last known value for one window ahead.
"""

from __future__ import annotations

import datetime

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from relsql.database.cursors import task_cursor
from relsql.database.queries.sealed import sealed
from relsql.schema.tables import Schema
from relsql.tasks.kinds.steps import step_values
from relsql.tasks.labels.label_sandbox import LabelLimits
from relsql.tasks.labels.label_table import label_entities, label_table, labels_at
from relsql.tasks.splits import step_sql
from relsql.tasks.target import constant_of, regression_loss, target_metric
from relsql.tasks.task import Task

Floats = NDArray[np.float64]

LAST_VALUE, LAST_HORIZON, CONSTANT = "last value", "last horizon", "training labels"
"""The baselines: the value of the window before as_of; that of the same window one horizon earlier; and for each window
the mean, median or quantile of the training labels, which stands for what the first two do not know."""


def judge_steps(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    judged: pa.Table,
    scores: Floats,
    limits: LabelLimits,
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """The metrics of scores [labels, steps] of a label table, and those of the baselines by name."""
    known = step_values(label_table(con, catalog, schema, task, "train", limits=limits).table.column("label"))
    change, labels = float(np.abs(np.diff(known, axis=1)).mean()), step_values(judged.column("label"))
    others = _baselines(con, catalog, schema, task, judged, known, limits)
    baselines = {name: step_metrics(task, labels, found, change) for name, found in others.items()}
    return step_metrics(task, labels, scores, change), baselines


def step_metrics(task: Task, labels: Floats, scores: Floats, change: float) -> dict[str, float]:
    """The metric of the target, MAE, RMSE and MASE over all windows, the means, then MAE and MASE of each window.

    Args:
        task: the task.
        labels: [labels, steps], at least one.
        scores: likewise.
        change: the divisor of errors in MASE; if it is 0, MASE is left out.
    """
    assert task.target is not None
    error = np.abs(scores - labels)
    by_step = {f"_{step}": float(each) for step, each in enumerate(error.mean(axis=0), start=1)}
    found = {"": float(error.mean()), **by_step}
    scaled = {f"mase{name}": value / change for name, value in found.items()} if change else {}
    return {
        target_metric(task.target): regression_loss(task.target, labels, scores),
        "mae": found[""],
        "rmse": float(np.sqrt((error**2).mean())),
        **{name: value for name, value in scaled.items() if name == "mase"},
        "mean_label": float(labels.mean()),
        "mean_score": float(scores.mean()),
        **{f"mae{name}": value for name, value in by_step.items()},
        **{name: value for name, value in scaled.items() if name != "mase"},
    }


def _baselines(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    judged: pa.Table,
    known: Floats,
    limits: LabelLimits,
) -> dict[str, Floats]:
    """The forecasts of the baselines for a label table, [labels, steps] each; `known` are the training labels."""
    assert task.target is not None
    constant = np.array([constant_of(task.target, values) for values in known.T])
    as_of = judged.column("as_of").to_pylist()
    begins = _horizon_before(con, catalog, task, sorted(set(as_of)))
    # If a label is computed as of one horizon earlier, its windows end at as_of.
    earlier = labels_at(
        con, catalog, schema, task, sorted(set(begins.values())), end=None, entities_until=None, limits=limits
    )
    places = zip(label_entities(earlier), earlier.column("as_of").to_pylist(), strict=True)
    place = {key: row for row, key in enumerate(places)}
    rows = [place.get((entity, begins[at])) for entity, at in zip(label_entities(judged), as_of, strict=True)]
    past = np.tile(constant, (len(rows), 1))
    last, found = past.copy(), [row is not None for row in rows]
    if any(found):
        values = step_values(earlier.column("label"))[[row for row in rows if row is not None]]
        past[found], last[found] = values, values[:, -1:]
    return {LAST_VALUE: last, LAST_HORIZON: past, CONSTANT: np.tile(constant, (len(rows), 1))}


def _horizon_before(
    con: duckdb.DuckDBPyConnection, catalog: str, task: Task, moments: list[datetime.datetime]
) -> dict[datetime.datetime, datetime.datetime]:
    """The moment one horizon before each moment."""
    query = f"SELECT t, t - {step_sql(task)} FROM (SELECT unnest(?::TIMESTAMP[]) AS t)"
    with task_cursor(con, catalog) as cursor:
        return dict(cursor.execute(sealed(query), [moments]).fetchall())
