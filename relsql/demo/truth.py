"""The best attainable accuracy on the demo league, from the file of true probabilities."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from relsql.database.connections import open_database
from relsql.demo.simulate import TEAM_LEVELS, level_transition, retirement_probability, swaps_between
from relsql.errors import TaskError

HORIZON = datetime.timedelta(days=30)

TABLES = {
    "retirement_probabilities": (
        "driver_id INTEGER, race_id INTEGER, team_id INTEGER, date DATE, probability DOUBLE, other_logit DOUBLE, "
        "team_level INTEGER, PRIMARY KEY (driver_id, race_id)"
    ),
}
"""One row per start. `probability` is the mean over the weather of
sigmoid(other_logit + TEAM_LEVELS[team_level] + weather)."""

Label = tuple[int, datetime.datetime, int]


@dataclass(frozen=True, slots=True)
class Starts:
    """All starts, in order of date: columns of `retirement_probabilities`, each of shape [n]."""

    driver_id: NDArray[np.int64]
    team_id: NDArray[np.int64]
    date: NDArray[np.datetime64]
    probability: NDArray[np.float64]
    other_logit: NDArray[np.float64]
    team_level: NDArray[np.int64]


def attainable_auc(
    truth: Path, labels: Iterable[Label], *, horizon: datetime.timedelta = HORIZON, foresight: bool = True
) -> float:
    """Compute the ROC-AUC that an oracle reaches on the labels of `driver-dnf`.

    The oracle, with or without foresight, knows the calendar, the entries, every fixed term and the distribution of the
    weather, but not the weather itself. Its score is 1 - prod(1 - p) over the driver's races in
    (timestamp, timestamp + horizon].

    Args:
        truth: the `.truth.duckdb` file of the league.
        labels: (driver_id, timestamp, label), label 0 or 1.
        horizon: length of the label window.
        foresight: True: p uses the team's level on the day of each race. False: p is the expectation given the team's
            level on the day of its last race at or before the timestamp.

    Raises:
        DatabaseError: the truth file is missing or not a DuckDB database.
        TaskError: the labels do not contain both classes.
    """
    rows = list(labels)
    starts = _read_starts(truth)
    row, start = _pairs(starts, rows, horizon)
    probability = starts.probability[start] if foresight else _forecast(starts, start, _timestamps(rows)[row])
    log_survival = np.bincount(row, weights=np.log1p(-probability), minlength=len(rows))
    return roc_auc([label for _, _, label in rows], -log_survival)


def roc_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Compute the area under the ROC curve from ranks; tied scores share their mean rank.

    Args:
        labels: 0 or 1, [n].
        scores: larger means more likely 1, [n].

    Raises:
        TaskError: the labels do not contain both classes.
    """
    positive = np.asarray(labels).astype(bool)
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        raise TaskError(f"ROC-AUC is undefined for {n_positive} positive and {n_negative} negative labels")
    _, group, counts = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[group]
    return float((rank[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def _read_starts(truth: Path) -> Starts:
    with open_database(truth, read_only=True) as con:
        names = ", ".join(Starts.__dataclass_fields__)
        query = f"SELECT {names} FROM retirement_probabilities ORDER BY date ASC, driver_id ASC"
        columns = list(zip(*con.execute(query).fetchall(), strict=True))
    types = ("int64", "int64", "datetime64[us]", "float64", "float64", "int64")
    return Starts(*(np.array(column, dtype=np.dtype(kind)) for column, kind in zip(columns, types, strict=True)))


def _timestamps(rows: list[Label]) -> NDArray[np.datetime64]:
    return np.array([timestamp for _, timestamp, _ in rows], dtype="datetime64[us]")


def _pairs(
    starts: Starts, rows: list[Label], horizon: datetime.timedelta
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair each label row with the driver's starts in its window: indices into `rows` and `starts`, int64[pairs]."""
    of_driver = {key: np.flatnonzero(starts.driver_id == key) for key in {row[0] for row in rows}}
    after, width = _timestamps(rows), np.timedelta64(horizon)
    found = []
    for (driver_id, _, _), time in zip(rows, after, strict=True):
        own = of_driver[driver_id]
        date = starts.date[own]
        found.append(own[(date > time) & (date <= time + width)])
    row = np.repeat(np.arange(len(rows)), [len(own) for own in found])
    return row, np.concatenate([np.empty(0, dtype=np.int64), *found])


def _forecast(starts: Starts, start: NDArray[np.int64], known_until: NDArray[np.datetime64]) -> NDArray[np.float64]:
    """Expected probability of each paired start, given its team's level at `known_until`, float64[pairs]."""
    levels = np.array(TEAM_LEVELS)
    given_level = retirement_probability(starts.other_logit[start][:, None] + levels)
    share = np.full(given_level.shape, 1.0 / len(levels))  # A team without an earlier race may be on any level.
    for pair, (index, time) in enumerate(zip(start, known_until, strict=True)):
        past = np.flatnonzero((starts.team_id == starts.team_id[index]) & (starts.date <= time))
        if len(past):
            swaps = swaps_between(starts.date[past[-1]].astype(object), starts.date[index].astype(object))
            share[pair] = level_transition(swaps)[starts.team_level[past[-1]]]
    return np.asarray(np.sum(share * given_level, axis=1))
