"""Intervals of all metrics of a task, from one bootstrap of its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from relsql.evaluation.metrics.bootstrap import Floats, cluster_weights, percentile_interval, sampled, widened
from relsql.evaluation.metrics.weighted_metrics import Weighted, weighted_metrics
from relsql.tasks.target import more_is_better
from relsql.tasks.task import Task


def metric_intervals(
    task: Task,
    labels: npt.NDArray[Any],
    scores: npt.NDArray[np.float64],
    entities: Sequence[object],
    names: Sequence[str] | None = None,
) -> dict[str, tuple[float, float]]:
    """The middle 95 % of each metric when entities are resampled with all their labels; by the metric's name.

    Many labels are sampled, see `relsql.evaluation.metrics.bootstrap.sampled`.

    Args:
        task: the task.
        labels: as in `relsql.evaluation.evaluate.Predictions`, at least one.
        scores: as there.
        entities: the entity of each label.
        names: the metrics; default: all.
    """
    entity = numbered(entities)
    chosen = sampled(entity)
    cluster = np.unique(entity[chosen], return_inverse=True)[1].astype(np.int64)
    found_metrics = weighted_metrics(task, labels[chosen], scores[chosen])
    part = {name: metric for name, metric in found_metrics.items() if names is None or name in names}
    draws: dict[str, list[Floats]] = {name: [] for name in part}
    for weights in cluster_weights(cluster):
        for name, metric in part.items():
            draws[name].append(metric(weights))
    found = {name: np.concatenate(values) for name, values in draws.items()}
    ends = {name: percentile_interval(values) for name, values in found.items() if not np.isnan(values).all()}
    if chosen.all():
        return ends
    whole = weighted_metrics(task, labels, scores)
    value = {name: (_of_all(part[name], chosen.sum()), _of_all(whole[name], len(labels))) for name in ends}
    return {name: widened(ends[name], *value[name], float(chosen.mean())) for name in ends}


def numbered(entities: Sequence[object]) -> npt.NDArray[np.int64]:
    """A number from 0 for each entity, int64 [labels]."""
    positions: dict[object, int] = {}
    return np.array([positions.setdefault(each, len(positions)) for each in entities], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Gain:
    """By how much scores are better than others of the same labels, by the metric of the task.

    Attributes:
        metric: its name.
        value: the metric of the scores.
        other: that of the others.
        gain: by how much the first is better; negative if it is worse.
        interval: the middle 95 % of the gain when entities are resampled with all their labels.
    """

    metric: str
    value: float
    other: float
    gain: float
    interval: tuple[float, float]


def gain_over(
    task: Task,
    labels: npt.NDArray[Any],
    scores: npt.NDArray[np.float64],
    others: npt.NDArray[np.float64],
    entity: npt.NDArray[np.int64],
) -> Gain | None:
    """Compare scores with others of the same labels; None where the metric of the task is not defined.

    Both metrics use the same resamples, so what makes labels easy or hard for both does not widen the interval.

    Args:
        task: the task.
        labels: as in `relsql.evaluation.evaluate.Predictions`, at least one.
        scores: as there.
        others: scores of the same form.
        entity: int64 [labels], from 0, equal for labels of the same entity.
    """
    mine, theirs = (weighted_metrics(task, labels, each).get(task.metric) for each in (scores, others))
    if mine is None or theirs is None:
        return None
    sign = 1 if more_is_better(task.metric) else -1
    draws = [sign * (mine(weights) - theirs(weights)) for weights in cluster_weights(entity)]
    value, other = _of_all(mine, len(labels)), _of_all(theirs, len(labels))
    return Gain(task.metric, value, other, sign * (value - other), percentile_interval(np.concatenate(draws)))


def main_value(task: Task, labels: npt.NDArray[Any], scores: npt.NDArray[np.float64]) -> float | None:
    """The metric of the task, see `Task.metric`; None where it is not defined."""
    metric = weighted_metrics(task, labels, scores).get(task.metric)
    return None if metric is None else _of_all(metric, len(labels))


def _of_all(metric: Weighted, labels: int) -> float:
    return float(metric(np.ones((1, labels)))[0])
