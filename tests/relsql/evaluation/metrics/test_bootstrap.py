"""Bootstrap intervals of metrics (relsql.evaluation.metrics.bootstrap)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from relsql.evaluation.metrics.bootstrap import weighted_mae, weighted_roc_auc
from relsql.evaluation.metrics.intervals import metric_intervals
from relsql.tasks.task import Task
from tests.odd_data import CHURN

AMOUNT = replace(CHURN, task_type="regression", target="median")


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


def intervals(labels: np.ndarray, scores: np.ndarray, entities: list[int], task: Task = CHURN) -> dict[str, Any]:
    return metric_intervals(task, labels, scores, entities)


def test_an_interval_holds_the_metric_and_narrows_with_labels() -> None:
    widths = []
    for count in (60, 2_000):
        labels, scores = drawn(count)
        low, high = intervals(labels, scores, list(range(count)))["roc_auc"]
        assert low < roc_auc_score(labels, scores) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 3


def test_labels_of_one_entity_are_resampled_together() -> None:
    """Ten equal labels of an entity say as much as one of them."""
    labels, scores = drawn(60)
    once = intervals(labels, scores, list(range(60)), AMOUNT)["mae"]
    repeated = intervals(np.repeat(labels, 10), np.repeat(scores, 10), list(np.repeat(range(60), 10)), AMOUNT)["mae"]
    assert repeated == pytest.approx(once)
