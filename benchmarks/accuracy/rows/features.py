"""Features of labelled seeds, for rows that learn from a table: own columns, and SQL aggregates of linked rows.

Several rows and seeds learn from the same features, so these are read once per problem.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.accuracy.judge import Floats
from benchmarks.accuracy.rows.aggregates import SEEDS, Recipe, Stream, create_seeds, plan_streams, read_streams
from benchmarks.data.problems import Problem
from relsql.gather.node_inputs import NodeInputs, category_sql, fit_node_inputs, number_sql
from relsql.gather.paths import Path, plan_paths
from relsql.schema.times.events import time_sql
from relsql.sql_text import ident
from relsql.tasks.splits import SPLITS, Split

_YEAR = 365.2425
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Features:
    """Features of labelled seeds: `x` float64 [labels, features], NaN = missing, and which columns are categories."""

    x: Floats
    categorical: list[int]


FeatureSet = dict[Split, Features]
"""The same features of the labels of all splits."""


class OncePerProblem(Generic[_Found]):
    """A function of a problem whose latest result is remembered: the rows and seeds of a problem run in turn."""

    def __init__(self, compute: Callable[[Problem], _Found]) -> None:
        self._compute = compute
        self._latest: tuple[Problem, _Found, float] | None = None

    def of(self, problem: Problem) -> _Found:
        """The result for a problem; its time counts as spared if it is not computed again."""
        if self._latest is None or self._latest[0] is not problem:
            start, before = time.perf_counter(), len(_spared)
            found = self._compute(problem)
            # Its inputs may have been remembered. A run on its own would have needed the time for them too.
            self._latest = (problem, found, time.perf_counter() - start + sum(_spared[before:]))
        else:
            _spared.append(self._latest[2])
        return self._latest[1]


_spared: list[float] = []


def take_spared_seconds() -> float:
    """The seconds saved by results of earlier runs since the last call; a run on its own would need them too."""
    total = sum(_spared)
    _spared.clear()
    return total


def read_own_features(problem: Problem) -> FeatureSet:
    """Numbers and categories of the entity and the rows it references, the date and the season."""
    with problem.open("train") as (con, catalog):
        paths = plan_paths(con, catalog, problem.schema, problem.task.entity_table)
        chosen = [path for path in paths if path.kind in ("entity", "parents")]
        until = problem.labels["train"]["as_of"][-1].as_py()
        inputs = [fit_node_inputs(con, catalog, problem.schema, path.table, until=until) for path in chosen]
    kinds = [is_code for each in inputs for is_code in [False] * len(each.numbers) + [True] * len(each.categories)]
    categorical = [i for i, is_code in enumerate(kinds) if is_code]
    features: FeatureSet = {}
    for split in SPLITS:
        labels = problem.labels[split]
        with problem.open(split) as (con, catalog):
            x = _read_rows(con, catalog, problem, list(zip(chosen, inputs, strict=True)), labels)
        features[split] = Features(np.hstack([x, _dates(labels)]), categorical)
    return features


own_features = OncePerProblem(read_own_features)
"""Own columns, and the columns of the rows that the entity references."""


def read_aggregate_features(problem: Problem) -> list[FeatureSet]:
    """Own columns with aggregates of rows that reference the entity; then, if there are more, with those of all paths.

    The aggregates are those of `benchmarks.accuracy.rows.aggregates`, from the rows that the labels of a split may see.
    """
    own = own_features.of(problem)
    with problem.open("train") as (con, catalog):
        streams = plan_streams(con, catalog, problem.schema, problem.task, problem.labels["train"], Recipe())
    near = np.array([stream.path.kind == "children" for stream in streams for _ in stream.features])
    chosen = [near] if near.all() else [near, np.ones_like(near)]
    linked = {split: _aggregates(problem, streams, split) for split in SPLITS}

    def with_linked(columns: npt.NDArray[np.bool_]) -> FeatureSet:
        return {s: Features(np.hstack([own[s].x, linked[s][:, columns]]), own[s].categorical) for s in SPLITS}

    return [with_linked(columns) for columns in chosen]


aggregate_features = OncePerProblem(read_aggregate_features)
"""Sets of own columns and aggregates; the last set has all of them."""


def _aggregates(problem: Problem, streams: tuple[Stream, ...], split: Split) -> Floats:
    with problem.open(split) as (con, catalog):
        return read_streams(con, catalog, problem.schema, problem.task, streams, problem.labels[split])


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
    days = as_of_days(labels)
    angle = 2 * np.pi * days / _YEAR
    return np.column_stack([days, np.sin(angle), np.cos(angle)])


def as_of_days(labels: pa.Table) -> Floats:
    """The as_of of labels in days since 1970, float64 [labels]."""
    return np.asarray(labels["as_of"]).astype("datetime64[s]").astype(np.float64) / 86_400
