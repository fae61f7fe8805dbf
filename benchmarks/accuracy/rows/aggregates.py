"""Aggregates of linked rows in SQL: generated features for any schema, without columns picked by hand.

The rows along a link path are a stream of events, each with a key and a time. A seed (entity, as_of) reads the stream
of one key (its own, its latest row's hub, its parent) up to as_of, over windows: the last k rows, the last few
horizons of the task, all time. Over each window: the number of rows, and mean, minimum, maximum, deviation and sum of
every number and share of every frequent category, of the row itself and of the rows it references.

Times are handled as elsewhere in relsql: a row counts if its time <= as_of, and never if its time is NULL. A row that
an event references counts if it was visible when the event happened.

One query per path, hops as joins in FROM: `history` holds one row per key and time with running aggregates (all time)
and the position n in the stream; an ASOF join finds it for each (key, as_of); the last k rows and the rows of the
last horizons are then those with n and time in range, aggregated once per distinct (key, as_of).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql.gather.node_inputs import NodeInputs, fit_node_inputs, number_sql
from relsql.gather.paths import Path, PathKind, plan_paths
from relsql.schema.tables import Link, Schema, Table
from relsql.schema.times.events import time_sql
from relsql.sql_text import Cte, ident, literal, with_ctes
from relsql.tasks.task import Task

Floats = npt.NDArray[np.float64]
Stat = Literal["count", "mean", "min", "max", "std", "sum"]

TOP_CATEGORIES = 4
SEEDS = "temp.main.relsql_seeds"
_FUNCTIONS = {"mean": "avg", "min": "min", "max": "max", "std": "stddev_samp", "sum": "sum"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which aggregates are computed.

    Attributes:
        kinds: kinds of the paths that are read.
        rows: windows over the latest rows, given by their numbers of rows.
        horizons: windows over the latest time, given in horizons of the task.
        stats: statistics of each number over each window.
        shares: also compute shares of categories.
        lookups: also read the rows that each row references.
        limit: maximum number of features; the simplest ones are kept.
    """

    kinds: tuple[PathKind, ...] = ("children", "grandchildren", "hub", "siblings")
    rows: tuple[int, ...] = (1, 4, 16)
    horizons: tuple[int, ...] = (1, 4, 12)
    stats: tuple[Stat, ...] = ("mean", "min", "max", "std", "sum")
    shares: bool = True
    lookups: bool = True
    limit: int = 400


@dataclass(frozen=True, slots=True)
class Window:
    """Rows of a stream up to as_of: the last `rows` rows, those of the last `horizons` horizons, or all."""

    rows: int | None = None
    horizons: int | None = None

    def __str__(self) -> str:
        return f"last {self.rows}" if self.rows else f"{self.horizons} horizons" if self.horizons else "all time"


@dataclass(frozen=True, slots=True)
class Value:
    """A DOUBLE of each event, NULL = missing; `sql` is over `r` (the row) and `p0`, `p1`, ... (the referenced rows).

    An age is stored as minus the days since 1970, to which a seed adds its as_of in days since 1970.
    """

    name: str
    sql: str
    kind: Literal["number", "share", "age"]
    is_lookup: bool = False


@dataclass(frozen=True, slots=True)
class Feature:
    """One aggregate; `value` is the position in the stream's values, None for the number of rows."""

    stat: Stat
    window: Window
    value: int | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """The events along a path, and the features computed from them."""

    path: Path
    values: tuple[Value, ...]
    features: tuple[Feature, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Readable names of the features."""
        return tuple(
            f"{self.path.name}: {f.stat}{'' if f.value is None else ' ' + self.values[f.value].name}, {f.window}"
            for f in self.features
        )


def plan_streams(
    con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, labels: pa.Table, recipe: Recipe
) -> tuple[Stream, ...]:
    """Choose the aggregates of a task, looking only at rows up to the last training label.

    Args:
        con: connection to the data.
        catalog: database that holds the tables.
        schema: its tables and links.
        task: the task.
        labels: the training labels.
        recipe: which aggregates; if there are more than its limit, the more informative statistics come first.
    """
    until = labels["as_of"][-1].as_py()
    inputs: dict[str, NodeInputs] = {}
    streams = []
    for path in plan_paths(con, catalog, schema, task.entity_table):
        if path.kind in recipe.kinds:
            for key in (path.table, *(link.parent for link in path.lookups)):
                if key not in inputs:
                    inputs[key] = fit_node_inputs(con, catalog, schema, key, until=until)
            values = tuple(_values(schema, path, inputs, recipe))
            streams.append(Stream(path, values, tuple(_candidates(values, recipe))))
    ranked = sorted(
        (_rank(stream.values, feature), position, i)
        for i, stream in enumerate(streams)
        for position, feature in enumerate(stream.features)
    )
    kept = {(i, position) for _, position, i in ranked[: recipe.limit]}
    return tuple(
        Stream(s.path, s.values, tuple(f for position, f in enumerate(s.features) if (i, position) in kept))
        for i, s in enumerate(streams)
    )


def _values(schema: Schema, path: Path, inputs: dict[str, NodeInputs], recipe: Recipe) -> Iterator[Value]:
    """Numbers and shares of the path's row, then of the rows it references."""
    sources: list[tuple[str, str, Link | None]] = [(path.table, "r", None)]
    if recipe.lookups:
        sources += [(link.parent, f"p{i}", link) for i, link in enumerate(path.lookups)]
    for key, alias, link in sources:
        table, prefix = schema.table(key), f"{', '.join(link.child_columns)}." if link else ""
        for number in inputs[key].numbers:
            raw = f"CAST({number_sql(table, number, alias, 'TIMESTAMP ' + literal('1970-01-01'))} AS DOUBLE)"
            kind: Literal["number", "age"] = "age" if number.kind == "age" else "number"
            yield Value(prefix + number.column, f"CASE WHEN isfinite({raw}) THEN {raw} END", kind, link is not None)
        if recipe.shares:
            yield from _shares(inputs[key], alias, prefix)


def _shares(inputs: NodeInputs, alias: str, prefix: str) -> Iterator[Value]:
    """For each frequent value of each category 1 or 0; NULL if the column is NULL."""
    columns: list[tuple[str, tuple[object, ...]]] = [(n.column, n.categories) for n in inputs.numbers if n.categories]
    columns += [(category.column, category.values) for category in inputs.categories]
    for column, values in columns:
        for value in values[:TOP_CATEGORIES]:
            is_value = f"CAST({alias}.{ident(column)} AS {'DOUBLE' if isinstance(value, float) else 'VARCHAR'})"
            sql = f"CAST({is_value} = {literal(value)} AS DOUBLE)"
            yield Value(f"{prefix}{column} = {value}", sql, "share", alias != "r")


def _candidates(values: tuple[Value, ...], recipe: Recipe) -> Iterator[Feature]:
    """All aggregates of a stream, without duplicates: over a single row all statistics are the same."""
    every = Window()
    spans = [every, *(Window(horizons=h) for h in recipe.horizons)]
    windows = [*spans, *(Window(rows=k) for k in recipe.rows)]
    yield from (Feature("count", window) for window in spans)
    for i, value in enumerate(values):
        if value.kind == "age" and i == 0 and not value.is_lookup:
            # The age of a row itself: of the latest, the first and the k-th latest row.
            yield from (Feature("min", every, i), Feature("max", every, i))
            yield from (Feature("max", Window(rows=k), i) for k in recipe.rows if k > 1)
            continue
        stats = recipe.stats if value.kind == "number" else recipe.stats[:1]
        yield from (Feature(s, w, i) for s in stats for w in windows if s == recipe.stats[0] or w.rows != 1)


def _rank(values: tuple[Value, ...], feature: Feature) -> int:
    """Rank of a feature, low is better: counts and recency, means, shares, spreads, sums; then those of lookups."""
    if feature.value is None:
        return 0
    value = values[feature.value]
    rank = {"mean": 1, "count": 1, "std": 3, "min": 4, "max": 4, "sum": 5}[feature.stat]
    if value.kind == "share":
        rank = 2
    if value.kind == "age" and feature.stat != "mean":
        rank = 0
    return rank + 2 * value.is_lookup


def read_streams(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    streams: tuple[Stream, ...],
    labels: pa.Table,
) -> Floats:
    """Compute the features of labelled seeds.

    Returns:
        float64 [labels, features of all streams], NaN is missing, in the order of `labels`.
    """
    create_seeds(con, labels)
    blocks = [np.empty((labels.num_rows, 0))]
    blocks += [_read(con, _Query(catalog, schema, task, s).sql()) for s in streams if s.features]
    con.execute(f"DROP TABLE {SEEDS}")
    return np.hstack(blocks)


def create_seeds(con: duckdb.DuckDBPyConnection, labels: pa.Table) -> None:
    """Store the seeds in a temporary table with the columns position, entity and as_of."""
    con.register("relsql_labels", labels.append_column("position", pa.array(np.arange(labels.num_rows))))
    con.execute("CREATE TEMP TABLE relsql_seeds AS SELECT position, entity, as_of FROM relsql_labels")
    con.unregister("relsql_labels")


def _read(con: duckdb.DuckDBPyConnection, sql: str) -> Floats:
    table = con.sql(sql).to_arrow_table()
    return np.column_stack([np.asarray(column.to_numpy(), dtype=np.float64) for column in table.columns])


@dataclass(frozen=True, slots=True)
class _Query:
    """Builds the query of one stream: one row per seed, one column per feature, ordered by position."""

    catalog: str
    schema: Schema
    task: Task
    stream: Stream

    def sql(self) -> str:
        ctes = [
            Cte("seeds", self._seeds_sql()),
            Cte("events", self._events_sql()),
            Cte("history", self._history_sql()),
            Cte("now", self._now_sql()),
            Cte("recent", self._recent_sql()),
        ]
        columns = ",\n    ".join(self._output(i, feature) for i, feature in enumerate(self.stream.features))
        body = f"""SELECT
    {columns}
FROM {SEEDS} s
LEFT JOIN seeds ON seeds.position = s.position
LEFT JOIN now ON now.k = seeds.k AND now.as_of = seeds.as_of
LEFT JOIN recent ON recent.k = seeds.k AND recent.as_of = seeds.as_of
ORDER BY s.position"""
        return with_ctes(ctes, body)

    def _seeds_sql(self) -> str:
        """The key `k` of the stream that each seed reads; seeds without one are left out."""
        links = self.stream.path.links
        entity = self.schema.table(self.task.entity_table)
        origin = (
            f"FROM {SEEDS} s\n"
            f"JOIN {entity.sql(self.catalog)} e ON e.{ident(entity.primary_key[0])} = s.entity{_seen(entity, 'e')}"
        )
        if self.stream.path.kind in ("children", "grandchildren"):
            return f"SELECT s.position, s.as_of, {_key('e', links[0].parent_columns)} AS k\n{origin}"
        hub = self.schema.table(links[-1].parent)
        found = _key("e", links[0].child_columns)
        if self.stream.path.kind == "hub":
            origin += (
                f"\nASOF JOIN ({self._latest_sql()}) c\n"
                f"    ON c.k = {_key('e', links[0].parent_columns)} AND s.as_of >= c.t"
            )
            found = "c.hub"
        return (
            f"SELECT s.position, s.as_of, {_key('h', links[-1].parent_columns)} AS k\n{origin}\n"
            f"JOIN {hub.sql(self.catalog)} h ON {_key('h', links[-2].parent_columns)} = {found}"
        )

    def _latest_sql(self) -> str:
        """For each entity and time of a child row the hub that it references; the greatest key breaks ties."""
        to_entity, to_hub, _ = self.stream.path.links
        child = self.schema.table(to_entity.child)
        hub = f"arg_max({_key('c', to_hub.child_columns)}, row({', '.join(_row_key(child, 'c'))}))"
        time = time_sql(child, "c")
        return (
            f"SELECT {_key('c', to_entity.child_columns)} AS k, {time} AS t, {hub} AS hub "
            f"FROM {child.sql(self.catalog)} c WHERE {time} IS NOT NULL GROUP BY 1, 2"
        )

    def _events_sql(self) -> str:
        """All events: key `k`, time `t`, position `n` among the events of the key, and the values."""
        path = self.stream.path
        row, link = self.schema.table(path.table), path.links[-1]
        tables, origin, key = [(row, "r")], f"{row.sql(self.catalog)} r", _key("r", link.child_columns)
        if path.kind == "grandchildren":
            child, to_entity = self.schema.table(link.parent), path.links[0]
            tables.append((child, "c"))
            matched = f"{_key('r', link.child_columns)} = {_key('c', link.parent_columns)}"
            origin, key = f"{child.sql(self.catalog)} c\nJOIN {origin} ON {matched}", _key("c", to_entity.child_columns)
        times = [time_sql(table, alias) for table, alias in tables if table.time_column]
        # Rows of tables without a time are always visible, so they come before all others.
        time = f"greatest({', '.join(times)})" if times else "TIMESTAMP '-infinity'"
        for i, lookup in enumerate(path.lookups):
            parent = self.schema.table(lookup.parent)
            seen = f" AND {time_sql(parent, f'p{i}')} <= {time}" if parent.time_column else ""
            matched = f"{_key(f'p{i}', lookup.parent_columns)} = {_key('r', lookup.child_columns)}"
            origin += f"\nLEFT JOIN {parent.sql(self.catalog)} p{i} ON {matched}{seen}"
        ties = ", ".join(name for table, alias in tables for name in _row_key(table, alias))
        values = "".join(f",\n    {self.stream.values[i].sql} AS v{i}" for i in self._used())
        known = " AND ".join(f"{each} IS NOT NULL" for each in [key, *times])
        return (
            f"SELECT {key} AS k, {time} AS t,\n"
            f"    row_number() OVER (PARTITION BY {key} ORDER BY {time}, {ties}) AS n{values}\n"
            f"FROM {origin}\nWHERE {known}"
        )

    def _history_sql(self) -> str:
        """The position of the last event and the all-time aggregates, for each key and time."""
        running = "".join(
            f",\n    {_aggregate(feature)} OVER so_far AS f{i}"
            for i, feature in enumerate(self.stream.features)
            if feature.window == Window() and feature.value is not None
        )
        return (
            f"SELECT k, t, n{running}\nFROM events\n"
            "WINDOW so_far AS (PARTITION BY k ORDER BY n ROWS UNBOUNDED PRECEDING)\n"
            "QUALIFY lead(t) OVER (PARTITION BY k ORDER BY n) IS DISTINCT FROM t"
        )

    def _now_sql(self) -> str:
        """The history of each distinct (key, as_of), and where the windows of the last horizons start (exclusive)."""
        spans = sorted({f.window.horizons for f in self.stream.features if f.window.horizons})
        step = f"CAST({literal(self.task.timedelta)} AS INTERVAL)"
        since = "".join(f", s.as_of - {horizons} * {step} AS since{horizons}" for horizons in spans)
        return (
            f"SELECT s.as_of, h.*{since}\nFROM (SELECT DISTINCT k, as_of FROM seeds) s\n"
            "ASOF JOIN history h ON h.k = s.k AND s.as_of >= h.t"
        )

    def _recent_sql(self) -> str:
        """Aggregates over the last rows and the last horizons of each distinct (key, as_of)."""
        chosen = [(i, f) for i, f in enumerate(self.stream.features) if f.window != Window()]
        windows = {feature.window for _, feature in chosen}
        in_reach = " OR ".join(sorted(_inside(window) for window in windows)) or "false"
        columns = "".join(
            f",\n    {_aggregate(feature)} FILTER (WHERE {_inside(feature.window)}) AS f{i}" for i, feature in chosen
        )
        return (
            f"SELECT now.k, now.as_of{columns}\nFROM now\n"
            f"JOIN events ON events.k = now.k AND events.n <= now.n AND ({in_reach})\nGROUP BY now.k, now.as_of"
        )

    def _output(self, i: int, feature: Feature) -> str:
        if feature.value is None:
            column = "now.n" if feature.window == Window() else f"recent.f{i}"
            return f"coalesce({column}, 0) AS f{i}"
        column = f"{'now' if feature.window == Window() else 'recent'}.f{i}"
        is_age = self.stream.values[feature.value].kind == "age"
        return f"{'epoch(s.as_of) / 86400.0 + ' if is_age else ''}{column} AS f{i}"

    def _used(self) -> list[int]:
        return sorted({f.value for f in self.stream.features if f.value is not None})


def _key(alias: str, columns: tuple[str, ...]) -> str:
    """One value for the columns of a key; NULL if one of them is NULL."""
    names = [f"{alias}.{ident(column)}" for column in columns]
    if len(names) == 1:
        return names[0]
    return f"CASE WHEN {' AND '.join(f'{name} IS NOT NULL' for name in names)} THEN row({', '.join(names)}) END"


def _row_key(table: Table, alias: str) -> list[str]:
    """Columns that identify a row of a table; without a primary key it is the position in storage."""
    return [f"{alias}.{ident(column)}" for column in table.primary_key] or [f"{alias}.rowid"]


def _seen(table: Table, alias: str) -> str:
    return f" AND {time_sql(table, alias)} <= s.as_of" if table.time_column else ""


def _inside(window: Window) -> str:
    """The condition that an event up to as_of is in a window."""
    return f"events.n > now.n - {window.rows}" if window.rows else f"events.t > now.since{window.horizons}"


def _aggregate(feature: Feature) -> str:
    return "count(*)" if feature.value is None else f"{_FUNCTIONS[feature.stat]}(v{feature.value})"
