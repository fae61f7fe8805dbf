"""Intervals of all metrics of a task, from one bootstrap of its labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from relsql.evaluation.metrics.bootstrap import Floats, cluster_weights, percentile_interval, sampled, widened
from relsql.evaluation.metrics.weighted_metrics import Weighted, weighted_metrics
from relsql.tasks.task import Task


def metric_intervals(
    task: Task, labels: npt.NDArray[Any], scores: npt.NDArray[np.float64], entities: Sequence[object]
) -> dict[str, tuple[float, float]]:
    """The middle 95 % of each metric when entities are resampled with all their labels; by the metric's name.

    Many labels are sampled, see `relsql.evaluation.metrics.bootstrap.sampled`.

    Args:
        task: the task.
        labels: as in `relsql.evaluation.evaluate.Predictions`, at least one.
        scores: as there.
        entities: the entity of each label.
    """
    entity = numbered(entities)
    chosen = sampled(entity)
    cluster = np.unique(entity[chosen], return_inverse=True)[1].astype(np.int64)
    part = weighted_metrics(task, labels[chosen], scores[chosen])
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


def gain_interval(
    metrics: tuple[Weighted, Weighted], entity: npt.NDArray[np.int64], *, more_is_better: bool
) -> tuple[float, tuple[float, float]]:
    """By how much the first of two metrics of the same labels is better, and the middle 95 % of that.

    Both metrics use the same resamples, so what makes labels easy or hard for both does not widen the interval.

    Args:
        metrics: the metrics under weights of the labels.
        entity: int64 [labels], from 0, equal for labels of the same entity.
        more_is_better: whether a larger metric is better.
    """
    sign, (mine, theirs) = (1 if more_is_better else -1), metrics
    draws = [sign * (mine(weights) - theirs(weights)) for weights in cluster_weights(entity)]
    gain = sign * (_of_all(mine, len(entity)) - _of_all(theirs, len(entity)))
    return gain, percentile_interval(np.concatenate(draws))


def _of_all(metric: Weighted, labels: int) -> float:
    return float(metric(np.ones((1, labels)))[0])
