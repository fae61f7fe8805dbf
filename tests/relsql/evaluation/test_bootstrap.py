"""Bootstrap intervals of metrics (relsql.evaluation.bootstrap)."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from relsql.evaluation.bootstrap import metric_interval, weighted_mae, weighted_roc_auc


def drawn(labels: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    truth = (np.arange(labels) % 3 == 0).astype(np.float64)
    return truth, truth + random.normal(0, 1, labels)


def test_unweighted_metrics_are_the_usual_ones() -> None:
    labels, scores = drawn(200)
    scores = scores.round(1)
    even = np.ones((1, 200))
    assert weighted_roc_auc(labels, scores, even)[0] == pytest.approx(roc_auc_score(labels, scores))
    assert weighted_mae(labels, scores, even)[0] == pytest.approx(np.abs(labels - scores).mean())


def test_an_interval_holds_the_metric_and_narrows_with_labels() -> None:
    widths = []
    for count in (60, 2_000):
        labels, scores = drawn(count)
        low, high = metric_interval(labels, scores, "roc_auc", list(range(count))) or (1.0, 0.0)
        assert low < roc_auc_score(labels, scores) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 3


def test_labels_of_one_entity_are_resampled_together() -> None:
    """Ten equal labels of an entity say as much as one of them."""
    labels, scores = drawn(60)
    once = metric_interval(labels, scores, "mae", list(range(60)))
    repeated = metric_interval(np.repeat(labels, 10), np.repeat(scores, 10), "mae", list(np.repeat(range(60), 10)))
    assert repeated == pytest.approx(once)


def test_no_interval_without_both_classes_or_for_another_metric() -> None:
    labels, scores = drawn(60)
    assert metric_interval(np.zeros(60), scores, "roc_auc", list(range(60))) is None
    assert metric_interval(labels, scores, "log_loss", list(range(60))) is None
