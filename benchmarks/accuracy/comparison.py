"""Compare relsql with the baselines of the same run, from the stored scores: paired differences, ranks, and means.

All functions are pure. A baseline is any other row that was run on the same labels; quoted results do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from benchmarks.accuracy.rows import DEFAULT, PRETRAINED
from benchmarks.data.problems import Regime
from relsql.evaluation.metrics.bootstrap import bootstrap_draws, percentile_interval, weighted_mae, weighted_roc_auc

Floats = npt.NDArray[np.float64]
Verdict = Literal["ahead", "equal", "behind", "unknown"]

REFERENCE = "lightgbm-aggregates"
"""The baseline that relsql should be ahead of in the mean over tasks."""

_METRICS = {"roc_auc": (weighted_roc_auc, 1.0), "mae": (weighted_mae, -1.0)}
"""Each metric under weights, and 1 if higher is better, -1 if lower is."""


@dataclass(frozen=True)
class Scored:
    """The test labels of a problem, and the scores that its rows have for them.

    Attributes:
        dataset: the data set.
        task: the task.
        regime: the regime.
        metric: `roc_auc` or `mae`.
        labels: float64 [labels].
        cluster: int64 [labels], from 0: labels of a cluster are resampled together.
        unit: what a cluster is, `timestamp` or `entity`.
        scores: by row, float64 [seeds, labels].
    """

    dataset: str
    task: str
    regime: Regime
    metric: str
    labels: Floats
    cluster: npt.NDArray[np.int64]
    unit: str
    scores: dict[str, Floats]


@dataclass(frozen=True)
class Difference:
    """The metric of one row compared with that of another, means over seeds; a positive gain is better.

    Attributes:
        row: the row.
        baseline: the row that it is compared with.
        value: metric of the row.
        baseline_value: metric of the baseline.
        gain: the difference, with the sign changed if lower is better.
        interval: bootstrap interval of the gain; None if there is a single cluster.
        error: standard error of the gain, of the same draws.
        verdict: whether the gain is above or below zero by more than half a standard error.
    """

    row: str
    baseline: str
    value: float
    baseline_value: float
    gain: float
    interval: tuple[float, float] | None
    error: float | None
    verdict: Verdict


def mean_metric(problem: Scored, row: str) -> float:
    """The metric of a row, mean over its seeds."""
    metric, _ = _METRICS[problem.metric]
    even = np.ones((1, len(problem.labels)))
    return float(np.mean([metric(problem.labels, scores, even)[0] for scores in problem.scores[row]]))


def best_baseline(problem: Scored, row: str = DEFAULT) -> str | None:
    """The best other row by its test metric, in favour of the baselines; None if no other row was run.

    relsql with pre-training does not count as a baseline.
    """
    _, sign = _METRICS[problem.metric]
    others = [name for name in problem.scores if name not in (row, PRETRAINED)]
    return max(others, key=lambda name: sign * mean_metric(problem, name), default=None)


def compare(problem: Scored, baseline: str, row: str = DEFAULT) -> Difference:
    """The paired difference of a row and a baseline: both are measured on the same resampled clusters."""
    metric, sign = _METRICS[problem.metric]
    value, baseline_value = mean_metric(problem, row), mean_metric(problem, baseline)
    gain = sign * (value - baseline_value)
    draws = [bootstrap_draws(problem.labels, problem.scores[r], problem.cluster, metric) for r in (row, baseline)]
    gains = sign * (draws[0] - draws[1])
    gains = gains[np.isfinite(gains)]
    if problem.cluster.max() == 0 or len(gains) < 2:
        return Difference(row, baseline, value, baseline_value, gain, None, None, "unknown")
    error = float(gains.std(ddof=1))
    interval = percentile_interval(gains)
    return Difference(row, baseline, value, baseline_value, gain, interval, error, _verdict(gain, error))


def _verdict(gain: float, error: float) -> Verdict:
    if abs(gain) <= error / 2:
        return "equal"
    return "ahead" if gain > 0 else "behind"


def mean_ranks(problems: Sequence[Scored]) -> list[tuple[str, float, int]]:
    """Each row with its mean rank and the number of problems that it was run on, best first; 1 is best, ties share."""
    found: dict[str, list[float]] = {}
    for problem in problems:
        _, sign = _METRICS[problem.metric]
        values = {row: sign * mean_metric(problem, row) for row in problem.scores}
        for row, value in values.items():
            better = sum(other > value for other in values.values())
            equal = sum(other == value for other in values.values())
            found.setdefault(row, []).append(better + (equal + 1) / 2)
    ranks = [(row, float(np.mean(each)), len(each)) for row, each in found.items()]
    return sorted(ranks, key=lambda rank: rank[1])


@dataclass(frozen=True)
class Lead:
    """How far a row is ahead of another in the mean over problems; a negative number is behind.

    Attributes:
        metric: `roc_auc` or `mae`.
        gain: mean difference of ROC-AUC, or mean reduction of the error as a share of the baseline's.
        problems: the number of problems.
    """

    metric: str
    gain: float
    problems: int


def leads(problems: Sequence[Scored], baseline: str = REFERENCE, row: str = DEFAULT) -> list[Lead]:
    """The lead in each metric, over the problems that both rows were run on."""
    found: dict[str, list[float]] = {}
    for problem in problems:
        if {row, baseline} <= problem.scores.keys():
            value, other = mean_metric(problem, row), mean_metric(problem, baseline)
            gain = value - other if problem.metric == "roc_auc" else (other - value) / other
            found.setdefault(problem.metric, []).append(gain)
    return [Lead(metric, float(np.mean(gains)), len(gains)) for metric, gains in sorted(found.items(), reverse=True)]
