"""Evaluate scores: RelBench's metric, a bootstrap interval, calibration.

The metric is ROC-AUC for binary classification and the mean absolute error for regression. Both are computed by
`evaluate` of RelBench's task object on RelBench's label table, so that the results equal those of its leaderboard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.data.problems import Problem, dataset_folder
from relsql.errors import TaskError
from relsql.evaluation.metrics.bootstrap import clustered_bootstrap, weighted_mae, weighted_roc_auc
from relsql.tasks.splits import Split
from relsql.tasks.target import regression_loss

Floats = npt.NDArray[np.float64]

MIN_CLUSTERS = 10
BINS = 15
COVERAGE = 0.8


class Judge:
    """Evaluates scores of the val and test labels of one problem.

    Raises:
        TaskError: the problem's labels differ from RelBench's.
    """

    def __init__(self, problem: Problem) -> None:
        import relbench

        self._task: Any = relbench.load_dataset(str(dataset_folder(problem.dataset))).load_task(problem.task.name)
        self._tables: dict[Split, Any] = {}
        self._positions: dict[Split, npt.NDArray[np.int64]] = {}
        for split in ("val", "test"):
            self._tables[split] = self._task.get_table(split, mask_input_cols=False)
            self._positions[split] = _positions(problem, split, self._tables[split].df)
        self._metrics = self._task.metrics if problem.task.is_classification else [mae, *self._task.metrics]

    def metrics(self, split: Split, scores: Floats) -> dict[str, float]:
        """Evaluate one score per label of `split`, in the order of the problem's labels.

        Returns:
            `roc_auc`, or `mae` and RelBench's `nmae` (the same, divided by the deviation of the train labels).

        Raises:
            ValueError: a score is missing or not finite.
        """
        if scores.shape != self._positions[split].shape or not np.isfinite(scores).all():
            raise ValueError(f"expected {len(self._positions[split])} finite scores for {split}, got {scores.shape}")
        found = self._task.evaluate(scores[self._positions[split]], self._tables[split], metrics=self._metrics)
        return {name: float(value) for name, value in found.items()}


def mae(true: Floats, pred: Floats) -> float:
    """Mean absolute error, in the unit of the label."""
    return float(np.abs(true - pred).mean())


def _positions(problem: Problem, split: Split, expected: Any) -> npt.NDArray[np.int64]:
    """Position among the problem's labels of each row of RelBench's label table."""
    task, ours = problem.task, problem.labels[split]
    keys = zip(ours["entity"].to_pylist(), ours["as_of"].to_pylist(), strict=True)
    index = {key: position for position, key in enumerate(keys)}
    times = [time.to_pydatetime() for time in expected[task.time_col]]
    found = [index.get(key, -1) for key in zip(expected[task.entity_col].tolist(), times, strict=True)]
    positions = np.array(found, dtype=np.int64)
    same_rows = len(index) == len(found) and np.array_equal(np.sort(positions), np.arange(ours.num_rows))
    if not same_rows or not np.allclose(
        problem.targets(split)[positions], expected[task.target_col].to_numpy(np.float64), rtol=1e-9
    ):
        raise TaskError(
            f"task '{task.name}': the {ours.num_rows} {split} labels differ from the {len(found)} of RelBench",
            expected="the same entities, times and labels",
        )
    return positions


def loss(problem: Problem, split: Split, scores: Floats) -> float:
    """The loss that choices on val minimise: minus the ROC-AUC, or that of the task's target."""
    even = np.ones((1, len(scores)))
    if problem.task.target is None:
        return -float(weighted_roc_auc(problem.targets(split), scores, even)[0])
    return regression_loss(problem.task.target, problem.targets(split), scores)


@dataclass(frozen=True, slots=True)
class Interval:
    """A bootstrap interval, both ends included; `unit` is what was resampled: `timestamp` or `entity`."""

    low: float
    high: float
    unit: str


def clusters(problem: Problem, split: Split) -> tuple[npt.NDArray[np.int64], str]:
    """The labels that are resampled together, int64 [labels] from 0, and what they share: `timestamp` or `entity`.

    Labels of one timestamp are correlated, so timestamps are resampled, with replacement. If a split has fewer than
    `MIN_CLUSTERS` timestamps, there are too few to resample, and entities are resampled instead; an interval then
    ignores variation that all entities of a timestamp share, and is too narrow.
    """
    table = problem.labels[split]
    _, cluster = np.unique(np.asarray(table["as_of"]), return_inverse=True)
    if cluster.max() + 1 >= MIN_CLUSTERS:
        return cluster, "timestamp"
    _, cluster = np.unique(np.asarray(table["entity"]), return_inverse=True)
    return cluster, "entity"


def bootstrap_interval(problem: Problem, split: Split, scores: Floats) -> Interval:
    """Bootstrap interval of the metric, averaged over seeds, under resampling of the clusters of a split.

    Args:
        problem: the labels.
        split: `val` or `test`.
        scores: float64 [seeds, labels].
    """
    cluster, unit = clusters(problem, split)
    metric = weighted_roc_auc if problem.task.is_classification else weighted_mae
    low, high = clustered_bootstrap(problem.targets(split), scores, cluster, metric)
    return Interval(low, high, unit)


@dataclass(frozen=True, slots=True)
class Bin:
    """Labels with similar scores: their number, mean score and rate of positives."""

    count: int
    mean_score: float
    positive_rate: float


def reliability(labels: Floats, scores: Floats, bins: int = BINS) -> tuple[Bin, ...]:
    """Divide the scores into bins of equal mass, lowest first. Equal scores share a bin, so there may be fewer bins."""
    edges = np.unique(np.quantile(scores, np.arange(1, bins) / bins))
    bin_of = np.searchsorted(edges, scores, side="left")
    chosen = [bin_of == each for each in np.unique(bin_of)]
    return tuple(Bin(int(c.sum()), float(scores[c].mean()), float(labels[c].mean())) for c in chosen)


def expected_calibration_error(table: tuple[Bin, ...]) -> float:
    """Mean distance of score and rate over the labels (Naeini et al. 2015, with bins of equal mass)."""
    total = sum(each.count for each in table)
    return sum(each.count * abs(each.mean_score - each.positive_rate) for each in table) / total


@dataclass(frozen=True, slots=True)
class IntervalCheck:
    """How well the errors of a regression on val describe those on test.

    Attributes:
        level: nominal share of test labels inside the interval.
        coverage: actual share inside; the interval is the score plus the central quantiles of the errors on val.
        width: length of the interval, in the unit of the label.
        bias: mean of score - label on test.
    """

    level: float
    coverage: float
    width: float
    bias: float


def interval_check(val_labels: Floats, val_scores: Floats, labels: Floats, scores: Floats) -> IntervalCheck:
    """Build an interval of `COVERAGE` from the errors on val and count the test labels inside; all float64 [n]."""
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(val_labels - val_scores, [tail, 1 - tail])
    error = labels - scores
    inside = (error >= low) & (error <= high)
    return IntervalCheck(COVERAGE, float(inside.mean()), float(high - low), float(-error.mean()))
