"""LightGBM on features of each seed: the entity's own columns, alone or with aggregates of linked rows.

The number of rounds is found by early stopping on val. Of a few settings and sets of features, those with the best
metric on val are chosen, and that model predicts val. Test is predicted with the same choice, fitted on train and val.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import lightgbm as lgb
import numpy as np
import pyarrow as pa

from benchmarks.accuracy.judge import Floats
from benchmarks.accuracy.rows import Scores
from benchmarks.accuracy.rows.aggregates import SEEDS, Recipe, Stream, create_seeds, plan_streams, read_streams
from benchmarks.data.problems import Problem
from relsql.gather.node_inputs import NodeInputs, category_sql, fit_node_inputs, number_sql
from relsql.gather.paths import Path, plan_paths
from relsql.schema.times.events import time_sql
from relsql.sql import ident
from relsql.tasks.splits import SPLITS, Split
from relsql.tasks.target import quantile_level

MAX_ROUNDS = 1_000
PATIENCE = 50
SETTINGS: tuple[dict[str, Any], ...] = (
    {"num_leaves": 4, "learning_rate": 0.05, "min_data_in_leaf": 20},
    {"num_leaves": 15, "learning_rate": 0.05, "min_data_in_leaf": 50},
    {"num_leaves": 63, "learning_rate": 0.05, "min_data_in_leaf": 100},
)
_YEAR = 365.2425


@dataclass(frozen=True, slots=True)
class Features:
    """Features of labelled seeds: `x` float64 [labels, features], NaN = missing, and which columns are categories."""

    x: Floats
    categorical: list[int]


class OwnColumns:
    """LightGBM on the entity's own columns, its parents' columns and the date: no linked rows of the past."""

    name = "LightGBM, own columns"

    def scores(self, problem: Problem, seed: int) -> Scores:
        """See `Row`; the seed draws the columns and rows of each tree."""
        return fit_and_score(problem, [{split: own_features(problem, split) for split in SPLITS}], seed)


class Aggregates:
    """LightGBM on the same columns and on aggregates of linked rows, computed by `benchmarks.accuracy.rows.aggregates`.

    Two sets of features are tried: rows that reference the entity, and the rows along all paths.
    """

    name = "LightGBM, SQL aggregates"

    def scores(self, problem: Problem, seed: int) -> Scores:
        """See `Row`; the seed draws the columns and rows of each tree."""
        with problem.open("train") as (con, catalog):
            streams = plan_streams(con, catalog, problem.schema, problem.task, problem.labels["train"], Recipe())
        near = np.array([stream.path.kind == "children" for stream in streams for _ in stream.features])
        sets: list[dict[Split, Features]] = [{}, {}] if not near.all() else [{}]
        for split in SPLITS:
            own, linked = own_features(problem, split), aggregates(problem, streams, split)
            for chosen, columns in zip(sets, (near, np.ones_like(near)), strict=False):
                chosen[split] = Features(np.hstack([own.x, linked[:, columns]]), own.categorical)
        return fit_and_score(problem, sets, seed)


def aggregates(problem: Problem, streams: tuple[Stream, ...], split: Split) -> Floats:
    """The features of `streams` for the labels of `split`, from the rows that these labels may see."""
    with problem.open(split) as (con, catalog):
        return read_streams(con, catalog, problem.schema, problem.task, streams, problem.labels[split])


def own_features(problem: Problem, split: Split) -> Features:
    """Numbers and categories of the entity and the rows it references, the date and the season."""
    with problem.open("train") as (con, catalog):
        paths = plan_paths(con, catalog, problem.schema, problem.task.entity_table)
        chosen = [path for path in paths if path.kind in ("entity", "parents")]
        until = problem.labels["train"]["as_of"][-1].as_py()
        inputs = [fit_node_inputs(con, catalog, problem.schema, path.table, until=until) for path in chosen]
    labels = problem.labels[split]
    with problem.open(split) as (con, catalog):
        x = _read_rows(con, catalog, problem, list(zip(chosen, inputs, strict=True)), labels)
    kinds = [is_code for each in inputs for is_code in [False] * len(each.numbers) + [True] * len(each.categories)]
    return Features(np.hstack([x, _dates(labels)]), [i for i, is_code in enumerate(kinds) if is_code])


def _read_rows(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    problem: Problem,
    chosen: list[tuple[Path, NodeInputs]],
    labels: pa.Table,
) -> Floats:
    create_seeds(con, labels)
    cells: list[str] = []
    joins = []
    for i, (path, inputs) in enumerate(chosen):
        table, alias = problem.schema.table(path.table), f"t{i}"
        pairs = [(table.primary_key[0], "s.entity")]
        if path.kind == "parents":
            link = path.links[0]
            pairs = [(p, f"t0.{ident(c)}") for p, c in zip(link.parent_columns, link.child_columns, strict=True)]
        on = " AND ".join(f"{alias}.{ident(column)} = {value}" for column, value in pairs)
        on += f" AND {time_sql(table, alias)} <= s.as_of" if table.time_column else ""
        joins.append(f"LEFT JOIN {table.sql(catalog)} {alias} ON {on}")
        cells += [number_sql(table, number, alias, "s.as_of") for number in inputs.numbers]
        cells += [category_sql(category, alias) for category in inputs.categories]
    columns = "".join(f", CAST({cell} AS DOUBLE) AS c{i}" for i, cell in enumerate(cells))
    found = con.sql(f"SELECT s.position{columns} FROM {SEEDS} s {' '.join(joins)} ORDER BY s.position").to_arrow_table()
    con.execute(f"DROP TABLE {SEEDS}")
    x = np.column_stack([np.asarray(column.to_numpy(), dtype=np.float64) for column in found.columns])[:, 1:]
    return np.where(np.isfinite(x), x, np.nan)


def _dates(labels: pa.Table) -> Floats:
    """Days since 1970, and the season as a point on a circle."""
    days = np.asarray(labels["as_of"]).astype("datetime64[s]").astype(np.float64) / 86_400
    angle = 2 * np.pi * days / _YEAR
    return np.column_stack([days, np.sin(angle), np.cos(angle)])


def fit_and_score(problem: Problem, sets: Sequence[dict[Split, Features]], seed: int) -> Scores:
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
    features: dict[Split, Features]
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


def _dataset(problem: Problem, features: dict[Split, Features], splits: tuple[Split, ...]) -> lgb.Dataset:
    x = np.vstack([features[split].x for split in splits])
    y = np.concatenate([problem.targets(split) for split in splits])
    # Settings differ in min_data_in_leaf; without filtering by it, all of them can use one dataset.
    parameters = {"feature_pre_filter": False, "verbose": -1}
    return lgb.Dataset(x, y, categorical_feature=features[splits[0]].categorical, params=parameters)


def _predict(model: lgb.Booster, features: Features) -> Floats:
    return np.asarray(model.predict(features.x, num_iteration=model.best_iteration or None), dtype=np.float64)
