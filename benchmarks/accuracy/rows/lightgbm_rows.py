"""LightGBM on features of each seed (`benchmarks.accuracy.rows.features`): own columns, or aggregates too.

The number of rounds is found by early stopping on val. Of a few settings and sets of features, those with the best
metric on val are chosen, and that model predicts val. Test is predicted with the same choice, fitted on train and val.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np

from benchmarks.accuracy.judge import Floats
from benchmarks.accuracy.rows import Scores
from benchmarks.accuracy.rows.features import Features, FeatureSet, aggregate_features, own_features
from benchmarks.data.problems import Problem
from relsql.tasks.splits import Split
from relsql.tasks.target import quantile_level

MAX_ROUNDS = 1_000
PATIENCE = 50
SETTINGS: tuple[dict[str, Any], ...] = (
    {"num_leaves": 4, "learning_rate": 0.05, "min_data_in_leaf": 20},
    {"num_leaves": 15, "learning_rate": 0.05, "min_data_in_leaf": 50},
    {"num_leaves": 63, "learning_rate": 0.05, "min_data_in_leaf": 100},
)


class OwnColumns:
    """LightGBM on the entity's own columns, its parents' columns and the date: no linked rows of the past."""

    name = "LightGBM, own columns"

    def scores(self, problem: Problem, seed: int) -> Scores:
        """See `Row`; the seed draws the columns and rows of each tree."""
        return fit_and_score(problem, [own_features.of(problem)], seed)


class Aggregates:
    """LightGBM on the same columns and on aggregates of linked rows, read by `benchmarks.accuracy.rows.aggregates`.

    Two sets of features are tried: rows that reference the entity, and the rows along all paths.
    """

    name = "LightGBM, SQL aggregates"

    def scores(self, problem: Problem, seed: int) -> Scores:
        """See `Row`; the seed draws the columns and rows of each tree."""
        return fit_and_score(problem, aggregate_features.of(problem), seed)


def fit_and_score(problem: Problem, sets: Sequence[FeatureSet], seed: int) -> Scores:
    """Choose the set of features, the setting and the rounds on val, and predict val and test."""
    metric = _objective(problem)["metric"]
    fits: list[tuple[float, int, _Fit]] = []
    for features in sets:
        train, val = (_dataset(problem, features, split) for split in (("train",), ("val",)))
        for setting in SETTINGS:
            parameters = _parameters(problem, setting, seed)
            stop = lgb.early_stopping(PATIENCE, verbose=False)
            model = lgb.train(parameters, train, MAX_ROUNDS, valid_sets=[val], callbacks=[stop])
            value = model.best_score["valid_0"][metric]
            fits.append((-value if metric == "auc" else value, len(fits), _Fit(features, parameters, model)))
    best = min(fits, key=lambda fit: fit[:2])[-1]
    both = _dataset(problem, best.features, ("train", "val"))
    final = lgb.train(best.parameters, both, max(1, best.model.best_iteration))
    return {"val": _predict(best.model, best.features["val"]), "test": _predict(final, best.features["test"])}


@dataclass(frozen=True, slots=True)
class _Fit:
    features: FeatureSet
    parameters: dict[str, Any]
    model: lgb.Booster


def _objective(problem: Problem) -> dict[str, Any]:
    """LightGBM's objective and metric for the task: a regression predicts the task's target."""
    if problem.task.target is None:
        return {"objective": "binary", "metric": "auc"}
    level = quantile_level(problem.task.target)
    if level is None:
        return {"objective": "regression", "metric": "rmse"}
    if level == 0.5:
        return {"objective": "regression_l1", "metric": "l1"}
    return {"objective": "quantile", "metric": "quantile", "alpha": level}


def _parameters(problem: Problem, setting: dict[str, Any], seed: int) -> dict[str, Any]:
    return {
        **_objective(problem),
        "feature_fraction": 0.5,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "feature_pre_filter": False,
        "deterministic": True,
        "force_col_wise": True,
        # On data of this size a second thread gains little, and on a busy machine it makes training much slower.
        "num_threads": 1,
        "seed": seed,
        "verbose": -1,
        **setting,
    }


def _dataset(problem: Problem, features: FeatureSet, splits: tuple[Split, ...]) -> lgb.Dataset:
    x = np.vstack([features[split].x for split in splits])
    y = np.concatenate([problem.targets(split) for split in splits])
    # Settings differ in min_data_in_leaf; without filtering by it, all of them can use one dataset.
    parameters = {"feature_pre_filter": False, "verbose": -1}
    return lgb.Dataset(x, y, categorical_feature=features[splits[0]].categorical, params=parameters)


def _predict(model: lgb.Booster, features: Features) -> Floats:
    return np.asarray(model.predict(features.x, num_iteration=model.best_iteration or None), dtype=np.float64)
