"""Tests of paired comparisons, ranks and means on made-up scores (benchmarks.accuracy.comparison)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.accuracy import report
from benchmarks.accuracy.comparison import Scored, best_baseline, compare, leads, mean_metric, mean_ranks
from benchmarks.accuracy.results import Results

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.normal(0, 1, 400)


def regression(errors: dict[str, list[float]], *, labels: np.ndarray = LABELS, per_cluster: int = 1) -> Scored:
    """A regression in which each seed of each row is wrong by the same amount everywhere."""
    scores = {row: np.stack([labels + error for error in each]) for row, each in errors.items()}
    cluster = np.arange(len(labels)) // per_cluster
    return Scored("rel-x", "usd", "seed-time", "mae", labels, cluster, "entity", scores)


def noisy(spread: float, *, per_cluster: int = 1) -> Scored:
    """relsql is better by .1 in the mean, by a difference that varies from cluster to cluster."""
    problem = regression({"relsql": [100.0], "rdl": [100.0]}, per_cluster=per_cluster)
    deviations = RANDOM.normal(0, 1, problem.cluster.max() + 1)
    gains = 0.1 + spread * (deviations - deviations.mean()) / deviations.std()
    return replace(problem, scores={**problem.scores, "rdl": (LABELS + 100 + gains[problem.cluster])[None]})


def test_a_difference_that_is_the_same_everywhere_has_no_standard_error() -> None:
    found = compare(regression({"relsql": [0.4, 0.6], "rdl": [1.0]}), "rdl")
    assert (found.value, found.baseline_value) == (pytest.approx(0.5), pytest.approx(1.0))
    assert found.gain == pytest.approx(0.5)
    assert found.error == pytest.approx(0.0, abs=1e-9)
    assert found.interval == pytest.approx((0.5, 0.5))
    assert found.verdict == "ahead"


def test_the_standard_error_is_that_of_a_mean_of_paired_differences() -> None:
    """The labels vary far more than the differences do: pairs leave that out."""
    found = compare(noisy(0.3), "rdl")
    assert found.gain == pytest.approx(0.1)
    assert found.error == pytest.approx(0.3 / np.sqrt(400), rel=0.1)
    assert found.interval == pytest.approx((0.1 - 1.96 * 0.015, 0.1 + 1.96 * 0.015), abs=0.004)


def test_labels_of_a_cluster_count_once() -> None:
    found = compare(noisy(0.3, per_cluster=10), "rdl")
    assert found.error == pytest.approx(0.3 / np.sqrt(40), rel=0.15)


@pytest.mark.parametrize(("spread", "verdict"), [(1.0, "ahead"), (6.0, "equal")])
def test_a_gain_of_less_than_half_a_standard_error_is_equal(spread: float, verdict: str) -> None:
    problem = noisy(spread)
    found = compare(problem, "rdl")
    assert found.error == pytest.approx(spread / 20, rel=0.1)
    assert found.verdict == verdict
    turned = compare(problem, "relsql", row="rdl")
    assert turned.gain == pytest.approx(-found.gain)
    assert turned.verdict == {"ahead": "behind", "equal": "equal"}[verdict]


def test_rows_with_the_same_scores_are_equal() -> None:
    found = compare(regression({"relsql": [0.5], "rdl": [0.5, 0.5]}), "rdl")
    assert (found.gain, found.error, found.verdict) == (0.0, 0.0, "equal")


def test_a_single_cluster_gives_no_verdict() -> None:
    found = compare(regression({"relsql": [0.1], "rdl": [1.0]}, per_cluster=400), "rdl")
    assert found.gain == pytest.approx(0.9)
    assert (found.interval, found.error, found.verdict) == (None, None, "unknown")


def test_higher_is_better_in_a_classification() -> None:
    labels = np.arange(60) % 2 * 1.0
    good, bad = labels + RANDOM.normal(0, 0.5, 60), labels + RANDOM.normal(0, 2.0, 60)
    scores = {"relsql": bad[None], "rdl": good[None], "recency": bad[None]}
    problem = Scored("rel-x", "churn", "frozen", "roc_auc", labels, np.arange(60), "entity", scores)
    assert best_baseline(problem) == "rdl"
    found = compare(problem, "rdl")
    assert found.gain == pytest.approx(mean_metric(problem, "relsql") - mean_metric(problem, "rdl"))
    assert found.gain < 0 and found.verdict == "behind"
    assert mean_ranks([problem]) == [("rdl", 1.0, 1), ("relsql", 2.5, 1), ("recency", 2.5, 1)]


def test_the_best_baseline_is_the_best_other_row() -> None:
    assert best_baseline(regression({"relsql": [0.1], "rdl": [0.5, 0.9], "recency": [0.6]})) == "recency"
    assert best_baseline(regression({"relsql": [0.1]})) is None


def test_ranks_and_leads_are_means_over_the_problems_of_a_row() -> None:
    first = regression({"relsql": [0.5], "lightgbm-aggregates": [1.0], "recency": [2.0]})
    second = regression({"relsql": [2.2], "lightgbm-aggregates": [2.0]})
    third = regression({"recency": [2.2]})
    assert mean_ranks([first, second, third]) == [
        ("relsql", 1.5, 2),
        ("lightgbm-aggregates", 1.5, 2),
        ("recency", 2.0, 2),
    ]
    [lead] = leads([first, second, third])
    assert (lead.metric, lead.problems) == ("mae", 2)
    assert lead.gain == pytest.approx((0.5 / 1.0 - 0.2 / 2.0) / 2)


def test_the_comparison_comes_first_in_the_report() -> None:
    problem = regression({"relsql": [0.5], "lightgbm-aggregates": [1.0]})
    names = {"relsql": "relsql default", "lightgbm-aggregates": "LightGBM"}
    written = "\n\n".join(report.comparisons([problem], names))
    expected = (
        "| rel-x usd | seed-time | mean absolute error | 0.500 | LightGBM, 1.000 | +0.5000 "
        "| +0.5000 to +0.5000, by entity | 0.0000 | ahead |"
    )
    assert expected in written
    assert "Gain over LightGBM: +50.0 % of its mean absolute error, mean over 1 task (goal +3 %)." in written
    assert "| relsql default | 1.00 | 1 |\n| LightGBM | 2.00 | 1 |" in written
    assert report.comparisons([regression({"relsql": [0.5]})], names) == []
    assert report.render(Results()).startswith("Environment")
