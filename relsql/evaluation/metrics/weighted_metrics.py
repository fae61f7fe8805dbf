"""The metrics of a task under weights of its labels, from which their bootstrap intervals are computed.

Under equal weights each is what `relsql.evaluation.evaluate.task_metrics` returns by the same name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from relsql.evaluation.metrics.bootstrap import Floats, weighted_roc_auc
from relsql.evaluation.metrics.class_metrics import LEAST_PROBABILITY, label_losses
from relsql.evaluation.metrics.ranking_metrics import ranking_values
from relsql.tasks.kinds.classes import UNKNOWN
from relsql.tasks.target import MEAN, MEDIAN, quantile_level, target_metric
from relsql.tasks.task import Task

Weighted = Callable[[Floats], Floats]
"""weights [draws, labels] -> metric [draws]; NaN where it is not defined."""

MOST_CLASSES = 50
"""With more classes, means over classes get no intervals: each draw would sort every class."""


def weighted_metrics(task: Task, labels: npt.NDArray[Any], scores: npt.NDArray[np.float64]) -> dict[str, Weighted]:
    """The metrics of a task on some labels, by name; arguments as in `relsql.evaluation.evaluate.Predictions`.

    A multilabel task has none.
    """
    if task.is_multilabel:
        return {}
    if task.is_recommendation:
        return {name: _mean(values) for name, values in ranking_values(scores > 0, labels).items()}
    if task.is_multiclass:
        return _of_classes(labels, scores)
    values, found = labels.astype(np.float64), scores.astype(np.float64)
    if task.steps:
        error = np.abs(values - found)
        by_step = {f"mae_{step}": _mean(each) for step, each in enumerate(error.T, start=1)}
        return {"mae": _mean(error.mean(axis=1)), **by_step}
    if task.target is None:
        return _of_probabilities(values, found)
    return _of_values(values, found, task.target)


def _mean(values: Floats) -> Weighted:
    return lambda weights: _ratio(weights @ values, weights.sum(axis=1))


def _ratio(above: Floats, below: Floats) -> Floats:
    found = np.full(len(above), np.nan)
    np.divide(above, below, out=found, where=below != 0)
    return found


def _of_probabilities(labels: Floats, scores: Floats) -> dict[str, Weighted]:
    clipped = np.clip(scores, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    both = labels.min() < labels.max()
    ranking: dict[str, Weighted] = {
        "roc_auc": partial(weighted_roc_auc, labels, scores),
        "average_precision": partial(average_precision, labels, scores),
    }
    return (ranking if both else {}) | {
        "log_loss": _mean(-np.log(np.where(labels > 0, clipped, 1 - clipped))),
        "positive_rate": _mean(labels),
        "mean_score": _mean(scores),
    }


def average_precision(labels: Floats, scores: Floats, weights: Floats) -> Floats:
    """Average precision under each weighting; labels of equal scores are found together."""
    values, group = np.unique(-scores, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(values)))
    positive = np.add.reduceat((weights * labels)[:, order], starts, axis=1)
    found = np.cumsum(np.add.reduceat(weights[:, order], starts, axis=1), axis=1)
    precision = np.divide(np.cumsum(positive, axis=1), found, out=np.zeros_like(found), where=found > 0)
    return _ratio((positive * precision).sum(axis=1), positive.sum(axis=1))


def _of_values(labels: Floats, scores: Floats, target: str) -> dict[str, Weighted]:
    error, level = labels - scores, quantile_level(target)
    mean_label, squares, centred = _mean(labels), _mean(error**2), labels - labels.mean()
    metrics: dict[str, Weighted] = {
        "mae": _mean(np.abs(error)),
        "rmse": lambda weights: np.sqrt(squares(weights)),
        "r2": lambda weights: 1 - _ratio(squares(weights), _mean(centred**2)(weights) - _mean(centred)(weights) ** 2),
        "mean_label": mean_label,
        "mean_score": _mean(scores),
    }
    if level is not None and target != MEDIAN:
        metrics[target_metric(target)] = _mean(np.maximum(level * error, (level - 1) * error))
    if target == MEAN:
        return metrics | {"sum_ratio": lambda weights: _ratio(weights @ scores, weights @ labels)}
    return metrics | {"coverage": _mean((labels <= scores).astype(np.float64))}


def _of_classes(codes: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]) -> dict[str, Weighted]:
    metrics = {name: _mean(values) for name, values in label_losses(codes, probabilities).items()}
    if probabilities.shape[1] <= MOST_CLASSES:
        metrics["macro_f1"] = partial(_macro_f1, codes, probabilities.argmax(axis=1))
        metrics["roc_auc"] = partial(_one_against_rest, codes, probabilities)
    return metrics


def _macro_f1(codes: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], weights: Floats) -> Floats:
    """The mean F1 of the classes that a draw has among its labels or predictions."""
    total, present = np.zeros(len(weights)), np.zeros(len(weights))
    for code in np.unique([*np.unique(codes), *np.unique(predicted)]):
        true, guessed = codes == code, predicted == code
        either = weights @ true.astype(np.float64) + weights @ guessed.astype(np.float64)
        total += np.nan_to_num(_ratio(2 * weights @ (true & guessed).astype(np.float64), either))
        present += either > 0
    return _ratio(total, present)


def _one_against_rest(codes: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64], weights: Floats) -> Floats:
    """The mean ROC-AUC of the classes that some labels of a draw have and others do not."""
    present = [code for code in np.unique(codes) if code != UNKNOWN and not (codes == code).all()]
    if not present:
        return np.full(len(weights), np.nan)
    areas = [weighted_roc_auc((codes == code).astype(np.float64), probabilities[:, code], weights) for code in present]
    defined = ~np.isnan(areas)
    return _ratio(np.where(defined, areas, 0).sum(axis=0), defined.sum(axis=0).astype(np.float64))
