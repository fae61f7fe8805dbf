"""Every metric of every kind of task has an interval, which holds the metric."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from relsql.evaluation.evaluate import task_metrics
from relsql.evaluation.metrics.intervals import metric_intervals
from relsql.evaluation.metrics.weighted_metrics import weighted_metrics
from relsql.tasks.task import Task
from tests.odd_data import CHURN

LABELS = 400


def value_task(target: str) -> Task:
    return replace(CHURN, task_type="regression", target=target)


def drawn(task: Task) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    if task.is_multiclass:
        probabilities = random.dirichlet([1, 1, 1], LABELS)
        codes = (random.random((LABELS, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
        codes[:3] = -1  # Of classes that the model does not know.
        return codes, probabilities
    scores = random.random(LABELS).round(2)
    if task.is_regression:
        return random.poisson(5 * scores).astype(np.float64), 5 * scores
    return (random.random(LABELS) < scores).astype(np.float64), scores


TASKS = {
    "probability": CHURN,
    "classes": replace(CHURN, task_type="multiclass_classification"),
    **{target: value_task(target) for target in ("mean", "median", "quantile(0.9)")},
}


@pytest.mark.parametrize("kind", TASKS)
def test_equal_weights_give_the_metrics(kind: str) -> None:
    labels, scores = drawn(TASKS[kind])
    expected = task_metrics(TASKS[kind], labels, scores)
    found = weighted_metrics(TASKS[kind], labels, scores)
    assert found.keys() == expected.keys()
    for name, metric in found.items():
        assert metric(np.ones((1, LABELS)))[0] == pytest.approx(expected[name], abs=1e-9), name


@pytest.mark.parametrize("kind", TASKS)
def test_a_weight_of_two_is_a_label_twice(kind: str) -> None:
    labels, scores = drawn(TASKS[kind])
    twice = np.random.default_rng(6).integers(0, 3, LABELS)
    expected = task_metrics(TASKS[kind], np.repeat(labels, twice), np.repeat(scores, twice, axis=0))
    for name, metric in weighted_metrics(TASKS[kind], labels, scores).items():
        assert metric(twice[None].astype(np.float64))[0] == pytest.approx(expected[name], abs=1e-9), name


@pytest.mark.parametrize("kind", TASKS)
def test_intervals_hold_the_metrics_and_those_of_a_sample_are_about_as_wide(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, scores = drawn(TASKS[kind])
    metrics = task_metrics(TASKS[kind], labels, scores)
    whole = metric_intervals(TASKS[kind], labels, scores, list(range(LABELS)))
    monkeypatch.setattr("relsql.evaluation.metrics.bootstrap.MOST_RESAMPLED", LABELS // 2)
    part = metric_intervals(TASKS[kind], labels, scores, list(range(LABELS)))
    assert whole.keys() == part.keys() == metrics.keys()
    for name, (low, high) in whole.items():
        assert low < metrics[name] < high, name
        assert part[name][1] - part[name][0] == pytest.approx(high - low, rel=0.4), name


def test_what_no_draw_defines_has_no_interval() -> None:
    ones, scores = np.ones(30), np.linspace(0, 1, 30)
    found = metric_intervals(CHURN, ones, scores, list(range(30)))
    assert found.keys() == {"log_loss", "positive_rate", "mean_score"}
