"""Intervals and sets cover what they promise, and both engines read the same table."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import msgspec
import numpy as np
import pytest

from relsql.evaluation.uncertainty import FEWEST_LABELS, fit_uncertainty
from relsql.registry.cards.uncertainty import Uncertainty
from relsql.tasks.task import Task
from tests.odd_data import CHURN

PROBABILITY = CHURN
VALUE = replace(CHURN, task_type="regression")
CLASSES = replace(CHURN, task_type="multiclass_classification")


def fitted(task: Task, labels: np.ndarray, scores: np.ndarray) -> Uncertainty:
    found = fit_uncertainty(task, labels, scores)
    assert found is not None
    return found


def test_intervals_cover_later_values_however_their_scale_changes() -> None:
    random, covered, widths = np.random.default_rng(1), [], []
    for _ in range(30):
        scores = random.gamma(2, 3, 2_000)
        labels = random.poisson(scores).astype(np.float64)
        low, high = fitted(VALUE, labels[:600], scores[:600]).ends(scores[600:], probability=False)
        covered.append(((labels[600:] >= low) & (labels[600:] <= high)).mean())
        order = np.argsort(scores[600:])
        widths.append((high - low)[order[-100:]].mean() / (high - low)[order[:100]].mean())
        assert low.min() >= 0  # No label was negative.
    assert 0.88 <= np.mean(covered) <= 0.92
    assert min(widths) > 2


def test_sets_hold_the_class_of_later_labels() -> None:
    random = np.random.default_rng(2)
    probabilities = random.dirichlet([1, 1, 1, 1], 6_000)
    codes = (random.random((6_000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    table = fitted(CLASSES, codes[:2_000], probabilities[:2_000])
    inside = probabilities[2_000:] >= table.least
    assert 0.88 <= inside[np.arange(4_000), codes[2_000:]].mean() <= 0.92
    assert inside.sum(axis=1).mean() < 3


def test_the_interval_of_a_probability_is_that_of_two_isotonic_fits() -> None:
    from sklearn.isotonic import IsotonicRegression

    random = np.random.default_rng(3)
    scores = random.random(400)
    labels = (random.random(400) < scores**2).astype(np.float64)
    table = fitted(PROBABILITY, labels, scores)
    steps = np.searchsorted(table.bounds, scores, side="right")
    for step in range(len(table.bounds) + 1):
        for label, ends in ((0.0, table.low), (1.0, table.high)):
            fit = IsotonicRegression().fit(np.append(steps, step), np.append(labels, label))
            assert fit.predict([step])[0] == pytest.approx(ends[step], abs=1e-9)
    low, high = table.ends(scores, probability=True)
    assert (low < high).all() and low.mean() < labels.mean() < high.mean()


def test_sql_reads_the_table_as_numpy_does() -> None:
    random = np.random.default_rng(4)
    scores = random.random(500) * 10
    tables = {
        False: fitted(VALUE, random.poisson(scores).astype(np.float64), scores),
        True: fitted(PROBABILITY, (random.random(500) * 10 < scores).astype(np.float64), scores / 10),
    }
    with duckdb.connect() as con:
        for probability, table in tables.items():
            values = [*table.bounds, *np.linspace(-1, 12, 100)]
            con.execute("CREATE OR REPLACE TABLE t AS SELECT unnest(?::DOUBLE[]) AS score", [values])
            low, high = table.ends_sql("score", probability=probability)
            found = con.execute(f"SELECT {low}, {high} FROM t").fetchnumpy()
            expected = table.ends(np.array(values), probability=probability)
            for mine, theirs in zip(found.values(), expected, strict=True):
                np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12)
            assert con.execute(f"SELECT {low} FROM (SELECT NULL::DOUBLE AS score)").fetchall() == [(None,)]


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.98])
def test_intervals_cover_as_many_labels_as_they_are_asked_to(coverage: float) -> None:
    random = np.random.default_rng(2)
    scores = random.gamma(2, 3, 12_000)
    labels = random.poisson(scores).astype(np.float64)
    table = fit_uncertainty(VALUE, labels[:6_000], scores[:6_000], coverage)
    assert table is not None and table.coverage == coverage
    low, high = table.ends(scores[6_000:], probability=False)
    inside = (labels[6_000:] >= low) & (labels[6_000:] <= high)
    assert inside.mean() == pytest.approx(coverage, abs=0.03)
    # Four labels have to be beyond.
    few = round(3 / (1 - coverage)) if coverage > 0.9 else FEWEST_LABELS - 1
    assert fit_uncertainty(VALUE, labels[:few], scores[:few], coverage) is None


def test_few_labels_infinite_scores_and_labels_without_error() -> None:
    few = np.arange(FEWEST_LABELS - 1, dtype=np.float64)
    assert fit_uncertainty(VALUE, few, few) is None
    huge = 1.7e308 * np.linspace(-1.0, 1.0, 300)
    assert fit_uncertainty(VALUE, huge, -huge) is None
    assert fit_uncertainty(VALUE, huge, huge * np.inf) is None
    exact = np.arange(300, dtype=np.float64)
    low, high = fitted(VALUE, exact, exact).ends(exact, probability=False)
    assert (low == exact).all() and (high == exact).all()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"coverage": 1.0}, "not a table"),
        ({"low": (0.0,)}, "1 and 2 ends for 2 bands"),
        ({"bounds": (float("nan"),)}, "not a table"),
        ({"bounds": (2.0, 1.0), "low": (0.0,) * 3, "high": (0.0,) * 3}, "do not ascend"),
        ({"low": (1.0, 0.0)}, "ends before it begins"),
        ({"least": 0.1}, "2 and 2 ends for 0 bands"),
    ],
)
def test_a_damaged_table_is_named(changes: dict[str, object], problem: str) -> None:
    right = Uncertainty(0.9, 100, (1.0,), (0.0, 0.0), (0.5, 0.5))
    assert not list(right.problems())
    assert problem in next(msgspec.structs.replace(right, **changes).problems())
