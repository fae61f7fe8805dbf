"""Tests of relsql.tasks.target: spellings, levels and losses."""

from __future__ import annotations

import numpy as np
import pytest

from relsql.tasks.target import (
    METRIC_TARGETS,
    more_is_better,
    quantile_level,
    read_target,
    regression_loss,
    target_metric,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mean", "mean"),
        (" Median ", "median"),
        ("quantile(0.9)", "quantile(0.9)"),
        ("Quantile( .90 )", "quantile(0.9)"),
        ("quantile(0.5)", "median"),
        ("quantile(1e-3)", "quantile(0.001)"),
    ],
)
def test_spellings_of_a_target_are_one(text: str, expected: str) -> None:
    assert read_target(text) == expected
    assert read_target(expected) == expected


@pytest.mark.parametrize(
    "text", ["", "average", "quantile", "quantile(0)", "quantile(1)", "quantile(90)", "quantile(e)"]
)
def test_what_is_no_target(text: str) -> None:
    assert read_target(text) is None


def test_each_target_has_a_level_and_a_metric() -> None:
    targets = ("mean", "median", "quantile(0.9)")
    assert [quantile_level(target) for target in targets] == [None, 0.5, 0.9]
    assert [target_metric(target) for target in targets] == ["rmse", "mae", "pinball"]
    assert all(METRIC_TARGETS[target_metric(target)] == target for target in targets[:2])


@pytest.mark.parametrize("target", ["mean", "median", "quantile(0.9)", "quantile(0.2)"])
def test_a_target_is_the_constant_that_its_loss_is_least_for(target: str) -> None:
    labels = np.random.default_rng(0).lognormal(size=2000)
    constants = np.linspace(labels.min(), np.quantile(labels, 0.99), 2000)
    best = constants[np.argmin([regression_loss(target, labels, np.full(2000, each)) for each in constants])]
    level = quantile_level(target)
    assert best == pytest.approx(labels.mean() if level is None else np.quantile(labels, level), abs=0.02)


@pytest.mark.parametrize("metric", ["roc_auc", "val_roc_auc", "map", "accuracy", "r2"])
def test_more_is_better_for_rankings(metric: str) -> None:
    assert more_is_better(metric)


@pytest.mark.parametrize("metric", ["log_loss", "val_mae", "rmse", "pinball"])
def test_less_is_better_for_losses(metric: str) -> None:
    assert not more_is_better(metric)
