"""Bootstrap intervals of metrics (relsql.evaluation.bootstrap)."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from relsql.evaluation.bootstrap import metric_interval, weighted_mae, weighted_metric, weighted_roc_auc
from relsql.tasks.target import MEAN, MEDIAN, regression_loss, target_metric


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


@pytest.mark.parametrize("target", [MEAN, MEDIAN, "quantile(0.9)"])
def test_the_weighted_metric_of_a_target_is_its_loss(target: str) -> None:
    weighted = weighted_metric(target_metric(target), target)
    assert weighted
    labels, scores = np.random.default_rng(1).gamma(2, size=(2, 50))
    some = np.arange(50) < 20
    found = weighted(labels, scores, np.stack([np.ones(50), some.astype(float)]))
    expected = [regression_loss(target, labels[part], scores[part]) for part in (some | True, some)]
    assert found == pytest.approx(expected)


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


def test_the_loss_of_a_quantile_has_an_interval() -> None:
    labels, scores = np.random.default_rng(2).gamma(2, size=(2, 300))
    low, high = metric_interval(labels, scores, "pinball", list(range(300)), "quantile(0.9)") or (1.0, 0.0)
    assert low < regression_loss("quantile(0.9)", labels, scores) < high
