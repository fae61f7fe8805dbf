"""How good the probabilities of classes are if a label holds any number of classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from relsql.evaluation.metrics.class_metrics import LEAST_PROBABILITY

Held = npt.NDArray[np.bool_]
Probabilities = npt.NDArray[np.floating]


def label_metrics(held: Held, probabilities: Probabilities, thresholds: tuple[float, ...]) -> dict[str, float]:
    """Log loss, average precision and F1 of a multilabel task.

    Average precision is `micro_ap` over all pairs of a label and a class, and `macro_ap` the mean over the classes that
    some labels hold and some do not. `micro_f1` is that of the classes above their thresholds.

    Args:
        held: which classes each label holds, bool [labels, classes], n > 0.
        probabilities: [labels, classes].
        thresholds: the probability at or above which each class is predicted.
    """
    from sklearn.metrics import average_precision_score

    clipped = np.clip(probabilities.astype(np.float64), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    metrics = {"log_loss": float(-np.where(held, np.log(clipped), np.log1p(-clipped)).mean())}
    if held.any():
        metrics["micro_ap"] = float(average_precision_score(held.ravel(), probabilities.ravel()))
    judged = np.flatnonzero(held.any(axis=0) & ~held.all(axis=0))
    if len(judged):
        metrics["macro_ap"] = float(
            np.mean([average_precision_score(held[:, code], probabilities[:, code]) for code in judged])
        )
    named = probabilities >= np.array(thresholds)
    total = held.sum() + named.sum()
    metrics["micro_f1"] = float(2 * (held & named).sum() / total) if total else 0.0
    return metrics


def best_thresholds(held: Held, probabilities: Probabilities) -> tuple[float, ...]:
    """The threshold of each class with the best F1; of a class that no label holds, one that no probability reaches.

    It lies halfway between two neighbouring probabilities, so rounding changes no prediction.
    """
    found = []
    for truth, scores in zip(held.T, probabilities.T.astype(np.float64), strict=True):
        order = np.argsort(-scores, kind="stable")
        ordered, hits = scores[order], np.cumsum(truth[order])
        f1 = 2 * hits / (np.arange(1, len(order) + 1) + truth.sum())
        # Equal probabilities are predicted together.
        f1[:-1] = np.where(ordered[:-1] == ordered[1:], -1.0, f1[:-1])
        best = int(np.argmax(f1))
        below = ordered[best + 1] if best + 1 < len(ordered) else 0.0
        found.append(float((ordered[best] + below) / 2) if truth.any() else 1.0)
    return tuple(found)
