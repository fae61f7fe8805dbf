"""Simple baselines that any useful model has to beat: the mean label of each entity, and the best single column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks.accuracy.judge import Floats, loss
from benchmarks.accuracy.rows import Scores
from benchmarks.accuracy.rows.aggregates import Feature, Recipe, Stream, plan_streams, read_streams
from benchmarks.data.problems import Problem
from relsql.tasks.splits import SPLITS, Split
from relsql.tasks.target import MEAN, constant_of

SHRINKAGES = (1.0, 4.0, 16.0, 64.0)
MAX_BINS = 32
MIN_BIN = 30

_COLUMNS = Recipe(
    kinds=("children", "hub"), rows=(1, 4, 8, 16), stats=("mean",), shares=False, lookups=False, limit=10_000
)


class EntityMean:
    """The mean of an entity's earlier labels, shrunk towards the overall mean; the shrinkage is chosen on val."""

    name = "mean label of the entity"

    def scores(self, problem: Problem, seed: int) -> Scores:
        """See `Row`; the seed changes nothing."""
        fits = [_entity_means(problem, ("train",), "val", shrinkage) for shrinkage in SHRINKAGES]
        best = int(np.argmin([loss(problem, "val", fit) for fit in fits]))
        return {"val": fits[best], "test": _entity_means(problem, ("train", "val"), "test", SHRINKAGES[best])}


def _entity_means(problem: Problem, known: tuple[Split, ...], split: Split, shrinkage: float) -> Floats:
    entities = [entity for each in known for entity in problem.labels[each]["entity"].to_pylist()]
    values = np.concatenate([problem.targets(each) for each in known])
    index = {entity: i for i, entity in enumerate(dict.fromkeys(entities))}
    position = np.array([index[entity] for entity in entities])
    counts = np.bincount(position)
    means = (np.bincount(position, weights=values) + shrinkage * values.mean()) / (counts + shrinkage)
    asked = problem.labels[split]["entity"].to_pylist()
    return np.array([means[index[entity]] if entity in index else values.mean() for entity in asked])


class Recency:
    """One column, chosen on val: a mean over the last rows, the days since the last one, or a number of rows.

    The columns are the numbers of the rows that point at the entity and of the latest row's hub; the windows are the
    last 1, 4, 8 and 16 rows.
    """

    name = "best single column"

    def scores(self, problem: Problem, seed: int) -> Scores:
        """See `Row`; the seed changes nothing."""
        with problem.open("train") as (con, catalog):
            planned = plan_streams(con, catalog, problem.schema, problem.task, problem.labels["train"], _COLUMNS)
        streams = tuple(replace(s, features=tuple(f for f in s.features if _is_recent(f))) for s in planned)
        x = {split: _read(problem, streams, split) for split in SPLITS}
        y = {split: problem.targets(split) for split in SPLITS}
        columns = range(x["train"].shape[1])
        fits = [_fit(problem, x["train"][:, i], y["train"]) for i in columns]
        predicted = [fit.predict(x["val"][:, i]) for i, fit in zip(columns, fits, strict=True)]
        best = int(np.argmin([loss(problem, "val", each) for each in predicted]))
        both = np.concatenate([x["train"][:, best], x["val"][:, best]])
        final = _fit(problem, both, np.concatenate([y["train"], y["val"]]))
        return {"val": predicted[best], "test": final.predict(x["test"][:, best])}


def _is_recent(feature: Feature) -> bool:
    """Means over the last rows, counts, and the age of the last row (the least of all ages)."""
    return feature.value is None or feature.window.rows is not None or feature.stat == "min"


def _read(problem: Problem, streams: tuple[Stream, ...], split: Split) -> Floats:
    with problem.open(split) as (con, catalog):
        return read_streams(con, catalog, problem.schema, problem.task, streams, problem.labels[split])


class _Fit(Protocol):
    def predict(self, column: Floats) -> Floats: ...


@dataclass(frozen=True, slots=True)
class _Logistic:
    """Probability as a logistic function of one column; `missing` if there is no value."""

    slope: float
    intercept: float
    missing: float

    def predict(self, column: Floats) -> Floats:
        # 1 / (1 + exp(-logit)), without overflow.
        known = np.exp(-np.logaddexp(0, -(self.slope * np.nan_to_num(column) + self.intercept)))
        return np.where(np.isnan(column), self.missing, known)


@dataclass(frozen=True, slots=True)
class _Segments:
    """Line segments through the target of each bin's labels, constant outside; `missing` if there is no value."""

    x: Floats
    y: Floats
    missing: float

    def predict(self, column: Floats) -> Floats:
        return np.where(np.isnan(column), self.missing, np.interp(np.nan_to_num(column), self.x, self.y))


def _fit(problem: Problem, column: Floats, labels: Floats) -> _Fit:
    """Fit labels on one column; rows without a value get the mean label of such rows, or the task's target."""
    is_missing = np.isnan(column)

    def typical(labels: Floats) -> float:
        return constant_of(problem.task.target or MEAN, labels)

    missing = typical(labels[is_missing] if is_missing.sum() >= MIN_BIN else labels)
    x, y = column[~is_missing], labels[~is_missing]
    if len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
        return _Segments(np.zeros(1), np.full(1, typical(y) if len(y) else missing), missing)
    if not problem.task.is_classification:
        return _Segments(*_bins(x, y, typical), missing)
    scale = float(x.std())
    model = LogisticRegression().fit(((x - x.mean()) / scale)[:, None], y)
    slope = float(model.coef_[0, 0]) / scale
    return _Logistic(slope, float(model.intercept_[0]) - slope * float(x.mean()), missing)


def _bins(x: Floats, y: Floats, typical: Callable[[Floats], float]) -> tuple[Floats, Floats]:
    """The median of x and the typical y in bins of equal mass; equal x share a bin."""
    bins = max(1, min(MAX_BINS, len(x) // MIN_BIN))
    edges = np.unique(np.quantile(x, np.arange(1, bins) / bins))
    bin_of = np.searchsorted(edges, x, side="left")
    found = [(float(np.median(x[bin_of == b])), typical(y[bin_of == b])) for b in np.unique(bin_of)]
    return np.array([a for a, _ in found]), np.array([b for _, b in found])
