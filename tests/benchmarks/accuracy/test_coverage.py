"""What the coverage benchmark counts."""

from __future__ import annotations

import numpy as np

from benchmarks.accuracy.coverage import by_year, groups_within, in_set
from relsql.registry.cards.uncertainty import Uncertainty


def test_a_set_is_the_likely_classes_and_at_least_the_likeliest_one() -> None:
    probabilities = np.array([[0.5, 0.4, 0.1], [0.35, 0.33, 0.32], [0.1, 0.1, 0.8]])
    inside, size = in_set(Uncertainty(0.9, 100, least=0.4), np.array([1, 0, -1]), probabilities)
    assert inside.tolist() == [True, True, False] and size == (2 + 1 + 1) / 3


def test_years_with_few_labels_are_counted_but_not_shown() -> None:
    years = np.repeat([2020, 2021], [100, 20])
    assert by_year(np.arange(120) < 90, years) == "75.0% (2020 90.0%)"


def test_groups_are_within_their_ends_or_not() -> None:
    random = np.random.default_rng(0)
    scores = random.random(5_000)
    labels = (random.random(5_000) < scores).astype(np.float64)
    bounds = tuple(np.linspace(0.1, 0.9, 9).tolist())
    right = Uncertainty(0.9, 100, bounds, (0.0, *bounds), (*bounds, 1.0))
    assert groups_within(right, labels, scores).endswith("; 10 of 10 groups")
    high = Uncertainty(0.9, 100, (), (0.9,), (1.0,))
    assert not groups_within(high, labels, scores).endswith("; 10 of 10 groups")
