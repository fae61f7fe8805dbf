"""Tests of benchmarks.accuracy.judge: weighted metrics, the bootstrap, calibration, and agreement with RelBench."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.accuracy.judge import (
    Judge,
    bootstrap_interval,
    clustered_bootstrap,
    expected_calibration_error,
    interval_check,
    loss,
    reliability,
    weighted_mae,
    weighted_roc_auc,
)
from benchmarks.data.problems import Problem, load_problem
from relsql.errors import TaskError

metrics = pytest.importorskip("sklearn.metrics")


@pytest.fixture(scope="module")
def problem(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return load_problem("rel-f1", "driver-top3", "seed-time", tmp_path_factory.mktemp("judge"))


def test_weighted_roc_auc_is_the_roc_auc_of_repeated_rows() -> None:
    random = np.random.default_rng(1)
    labels = (random.random(60) < 0.4).astype(float)
    scores = np.round(random.random(60) + 0.3 * labels, 1)
    weights = random.integers(0, 4, (20, 60)).astype(float)
    expected = [metrics.roc_auc_score(labels.repeat(w.astype(int)), scores.repeat(w.astype(int))) for w in weights]
    assert weighted_roc_auc(labels, scores, weights) == pytest.approx(np.array(expected), abs=1e-12)


def test_weighted_roc_auc_of_one_class_is_missing() -> None:
    weights = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    found = weighted_roc_auc(np.array([1.0, 0.0, 1.0]), np.array([0.9, 0.1, 0.8]), weights)
    assert np.isnan(found[0]) and found[1] == 1.0


def test_bootstrap_of_a_mean_has_the_width_of_the_normal_interval() -> None:
    random = np.random.default_rng(2)
    errors = random.exponential(2.0, 400)
    low, high = clustered_bootstrap(np.zeros(400), errors[None], np.arange(400), weighted_mae)
    half = 1.96 * errors.std() / np.sqrt(400)
    assert low == pytest.approx(errors.mean() - half, abs=0.05)
    assert high == pytest.approx(errors.mean() + half, abs=0.05)


def test_copies_of_rows_within_a_cluster_do_not_narrow_the_interval() -> None:
    random = np.random.default_rng(3)
    errors = random.exponential(2.0, 50)
    once = clustered_bootstrap(np.zeros(50), errors[None], np.arange(50), weighted_mae)
    tenfold = clustered_bootstrap(np.zeros(500), errors.repeat(10)[None], np.arange(50).repeat(10), weighted_mae)
    unclustered = clustered_bootstrap(np.zeros(500), errors.repeat(10)[None], np.arange(500), weighted_mae)
    assert tenfold == pytest.approx(once)
    assert unclustered[1] - unclustered[0] < 0.5 * (once[1] - once[0])


def test_bootstrap_averages_the_metric_over_seeds() -> None:
    seeds = np.stack([np.full(30, 1.0), np.full(30, 3.0)])
    assert clustered_bootstrap(np.zeros(30), seeds, np.arange(30), weighted_mae) == pytest.approx((2.0, 2.0))


def test_bootstrap_makes_as_many_draws_as_asked() -> None:
    drawn = []

    def metric(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
        drawn.append(len(weights))
        assert (weights.sum(axis=1) == 5).all()
        return weighted_mae(labels, scores, weights)

    clustered_bootstrap(np.zeros(5), np.ones((1, 5)), np.arange(5), metric, draws=250)
    assert sum(drawn) == 250


def test_calibrated_scores_have_a_small_calibration_error_and_overconfident_ones_a_large_one() -> None:
    random = np.random.default_rng(4)
    truth = random.random(30_000)
    labels = (random.random(30_000) < truth).astype(float)
    bins = reliability(labels, truth)
    assert len(bins) == 15
    assert all(each.count == 2_000 for each in bins)
    assert expected_calibration_error(bins) < 0.015
    extreme = np.clip(0.5 + 2 * (truth - 0.5), 0.01, 0.99)
    assert expected_calibration_error(reliability(labels, extreme)) == pytest.approx(0.125, abs=0.02)


def test_equal_scores_share_a_bin() -> None:
    labels = np.array([1.0, 0.0] * 500)
    [only] = reliability(labels, np.full(1_000, 0.5))
    assert (only.count, only.mean_score, only.positive_rate) == (1_000, 0.5, 0.5)


def test_interval_check_counts_the_test_labels_within_the_errors_on_val() -> None:
    random = np.random.default_rng(5)
    val, test = random.normal(0, 1, 20_000), random.normal(0, 1, 20_000)
    same = interval_check(val, np.zeros_like(val), test, np.zeros_like(test))
    assert same.coverage == pytest.approx(0.8, abs=0.01)
    assert same.width == pytest.approx(2 * 1.2816, abs=0.05)
    assert same.bias == pytest.approx(0.0, abs=0.02)
    shifted = interval_check(val, np.zeros_like(val), test, np.full_like(test, 2.0))
    assert shifted.coverage < 0.4
    assert shifted.bias == pytest.approx(2.0, abs=0.02)


def test_judge_measures_in_the_order_of_the_labels(problem: Problem) -> None:
    judge = Judge(problem)
    scores = np.random.default_rng(6).random(len(problem.targets("test"))) + problem.targets("test")
    expected = metrics.roc_auc_score(problem.targets("test"), scores)
    assert judge.metrics("test", scores) == {"roc_auc": pytest.approx(expected)}
    assert loss(problem, "test", scores) == pytest.approx(-expected)
    interval = bootstrap_interval(problem, "test", scores[None])
    assert interval.low <= expected <= interval.high
    assert interval.unit == "timestamp"


def test_judge_refuses_scores_that_are_missing(problem: Problem) -> None:
    judge = Judge(problem)
    with pytest.raises(ValueError, match="588 finite scores for val"):
        judge.metrics("val", np.full(588, np.nan))
    with pytest.raises(ValueError, match="588 finite scores for val"):
        judge.metrics("val", np.zeros(587))


@pytest.mark.parametrize("change", ["label", "row"])
def test_judge_refuses_labels_that_are_not_those_of_relbench(problem: Problem, change: str) -> None:
    val = problem.labels["val"]
    if change == "label":
        flipped = pa.array(1 - np.asarray(val["label"]))
        val = val.set_column(val.schema.get_field_index("label"), "label", flipped)
    else:
        val = val.slice(1)
    with pytest.raises(TaskError, match=f"the {val.num_rows} val labels differ from the 588 of RelBench"):
        Judge(replace(problem, labels={**problem.labels, "val": val}))
