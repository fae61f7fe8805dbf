"""The latest rows of every path, in SQL: which rows each seed (entity, as_of) reads.

The one place that decides it, for training, evaluation and scoring, by onnxruntime and in plain SQL. What becomes of
the rows is up to the classes that build on it. The shape follows measurements (`docs/decisions/0001-one-gather.md`):

* hops are joins in FROM, never subqueries in WHERE, which decorrelate into cross products;
* seeds are numbered: one small integer tells whose rows they are (`docs/decisions/0007-speed.md`);
* the rows of groups are found by windows, heaps or cuts, see `relsql.gather.ranking`;
* hubs are gathered once per distinct (hub, as_of), not once per seed.

Training for a database that lags behind asks for *delayed* seeds: their data end at `_until`, at or before `_as_of`.
Models for such a database read how far it lags: the entity's row carries the age of the newest row of any table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from relsql.gather.node_inputs import NodeInputs
from relsql.gather.paths import Path
from relsql.gather.ranking import Reached, columns_of, cut_ctes, key_heap_ctes, row_key, time_heap_ctes, window_sql
from relsql.schema.indexes import Indexed
from relsql.schema.tables import Link, Schema, Table
from relsql.schema.times import event_times_sql
from relsql.schema.visibility import and_visible_sql, asof_visible_sql, opaque_sql
from relsql.sql import ident, indented, with_ctes

SEED = "_seed"
ENTITY = "_entity"
AS_OF = "_as_of"
UNTIL = "_until"
# Path names have no double underscore, so that these are nobody else's.
_EVENTS, NEWEST = "data__events", "data__newest"

TEXT_KEYS_ARE_EXACT = (
    "CASE WHEN current_setting('default_collation') IN ('', 'binary') THEN true\n"
    "    ELSE error('this default_collation takes different text keys for equal: SET default_collation = ''''') END"
)
"""A condition on seeds that fails where, after `SET default_collation = 'NOCASE'`, the key 'a' equals 'A'."""


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest rows of each group along a path, as CTEs of the query.

    Attributes:
        rows: CTE of the rows: the group's columns, the moments, a struct `r` of the row's columns, and `rank`.
        group: the columns that tell groups apart: the number of a seed, or those of a hub and its moments.
        ranked: where a window ranks the rows of seeds, CTE like `rows` of all that are visible.
        counted: of a shared path, and where rows are cut, the CTE of the group's columns and `counts`.
        hub: of a shared path the CTE with each seed's hub, and its columns that `group` starts with.
    """

    rows: str
    group: tuple[str, ...]
    ranked: str = ""
    counted: str = ""
    hub: tuple[str, list[str]] | None = None


@dataclass(frozen=True, slots=True)
class LatestRows(ABC):
    """Builds queries over the latest rows of every path.

    Attributes:
        catalog: the attached database that holds the tables; every name in the SQL is qualified with it.
        schema: its tables and links.
        paths: the plan; `paths[0]` is the entity itself.
        inputs: node inputs by table.
        delayed: seeds carry `_until`: only rows with time <= `_until` count, while ages run to `_as_of`.
        sources: by table, the relation to read in its place, in SQL; default: the table in `catalog`.
        per_call: the query is the body of a call, which has one seed: DuckDB runs all calls of a statement together.
        indexed: columns by whose index rows are found, of use where the query is a call.
        many_moments: seeds of one entity or hub ask at many moments: rows are put in order once and cut at each.
    """

    catalog: str
    schema: Schema
    paths: tuple[Path, ...]
    inputs: dict[str, NodeInputs]
    delayed: bool = field(default=False, kw_only=True)
    sources: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    per_call: bool = field(default=False, kw_only=True)
    indexed: Indexed = field(default=frozenset(), kw_only=True)
    many_moments: bool = field(default=False, kw_only=True)

    @property
    def _moments(self) -> tuple[str, ...]:
        """The columns that say when a seed asks and, if that differs, when its data end."""
        return (AS_OF, UNTIL) if self.delayed else (AS_OF,)

    @property
    def _end(self) -> str:
        """The column that says when a seed's data end."""
        return self._moments[-1]

    def query(self, seed_sql: str, select: str | None = None) -> str:
        """The whole query.

        Args:
            seed_sql: a query with the columns `_entity` and `_as_of` (TIMESTAMP), and `_until` when delayed; each
                combination once.
            select: the select list over the gathered columns; default: all of them.
        """
        return self.written(self.ctes(seed_sql), self.select_sql(select))

    def written(self, ctes: Iterable[tuple[str, str]], body: str) -> str:
        """A query over `ctes`, those of `ctes()` among them: seeds have the same numbers wherever they are read."""
        return with_ctes(ctes, body, materialized=["seed"])

    def ctes(self, seed_sql: str) -> list[tuple[str, str]]:
        """The common table expressions of `query`, by name."""
        ctes = [("seed", self._numbered_sql(seed_sql)), ("self", self._self_sql())]
        if self.paths[0].data_age:
            events = event_times_sql([self._table(key) for key in self.inputs], self.source)
            ctes += [(_EVENTS, events), (NEWEST, self._newest_sql())]
        found = {}
        for path in self.paths:
            latest, found[path.name] = self._latest_ctes(path, [name for name, _ in ctes])
            ctes += latest
        ctes += self._common_ctes(found)
        for path in self.paths:
            ctes += self._column_ctes(path, found[path.name])
        return ctes

    def select_sql(self, select: str | None = None) -> str:
        """The query over the common table expressions; the argument is that of `query`."""
        columns = select or ", ".join([ENTITY, *self._moments, *map(ident, self.columns())])
        joins = "\n".join(f"LEFT JOIN {ident(path.name)} USING ({SEED})" for path in self.paths)
        return f"SELECT {columns}\nFROM seed\n{joins}"

    def source(self, table: Table) -> str:
        """The relation that is read for a table, in SQL."""
        return self.sources.get(table.key) or table.sql_without_arrays(self.catalog)

    def columns(self) -> list[str]:
        """Names of all columns but those of the seed."""
        return [name for path in self.paths for name in self._columns_of(path)]

    @abstractmethod
    def _columns_of(self, path: Path) -> list[str]:
        """Names of a path's columns."""

    def _numbered_sql(self, seed_sql: str) -> str:
        """The seeds, each with a number of its own."""
        # A statement's calls have different arguments, by which DuckDB tells them apart.
        number = "CAST(1 AS UINTEGER)" if self.per_call else "CAST(row_number() OVER () AS UINTEGER)"
        guard = f"\nWHERE {TEXT_KEYS_ARE_EXACT}" if self._has_text_keys() else ""
        return f"SELECT {number} AS {SEED}, *\nFROM (\n{indented(seed_sql)}\n){guard}"

    def _has_text_keys(self) -> bool:
        """True if rows are told apart, or linked, by text."""
        keys = {(key, column) for key, table in self.schema.tables.items() for column in table.primary_key}
        for link in self.schema.links:
            keys |= {(link.child, column) for column in link.child_columns}
            keys |= {(link.parent, column) for column in link.parent_columns}
        return any("VARCHAR" in self._table(key).column(column).type for key, column in keys)

    def _self_sql(self) -> str:
        """The seeds whose entity exists and is visible, with the entity's columns that paths start from."""
        entity = self._table(self.paths[0].table)
        anchors = sorted({c for p in self.paths[1:] for c in _start_columns(p)} - set(entity.primary_key))
        columns = "".join(f", r.{ident(c)} AS {ident('self.' + c)}" for c in anchors)
        return (
            f"SELECT {columns_of('seed', (SEED, ENTITY, *self._moments))}{columns}\n"
            f"FROM seed\n"
            f"JOIN {self.source(entity)} r ON r.{ident(entity.primary_key[0])} = seed.{ENTITY}"
            f"{self._found_visible(entity, entity.primary_key, 'seed')}"
        )

    def _newest_sql(self) -> str:
        """The newest event that seeds of one moment may see."""
        return (
            f"SELECT {columns_of('moment', self._moments)}, {_EVENTS}.t\n"
            f"FROM (SELECT DISTINCT {', '.join(self._moments)} FROM seed) moment\n"
            f"ASOF LEFT JOIN {_EVENTS} ON {asof_visible_sql(f'moment.{self._end}', f'{_EVENTS}.t')}"
        )

    def _latest_ctes(self, path: Path, known: list[str]) -> tuple[list[tuple[str, str]], Latest]:
        """The CTEs of a path's latest rows; those called `known` are there."""
        if not path.counted:
            latest = f"{path.name}__latest"
            return self._single_ctes(path, latest), Latest(latest, (SEED,))
        if path.shared:
            return self._hub_ctes(path, known)
        source, keys = "self", self._self_keys(path.links[0])
        if path.kind == "grandchildren":
            source = f"{self._child_path(path)}__latest"
            keys = [f"{source}.{ident('r.' + c)}" for c in path.links[1].parent_columns]
        ranked, latest = f"{path.name}__ranked", f"{path.name}__latest"
        reached = self._reached(path, source, keys, (SEED,))
        if self.many_moments and path.kind == "children":
            counted = f"{path.name}__counted"
            return cut_ctes(reached, latest, counted), Latest(latest, (SEED,), counted=counted)
        ctes = [(ranked, window_sql(reached))]
        if self._needs_latest(path):
            ctes.append((latest, f"SELECT *\nFROM {ranked}\nWHERE rank <= {path.fanout}"))
        return ctes, Latest(latest, (SEED,), ranked)

    def _hub_ctes(self, path: Path, known: list[str]) -> tuple[list[tuple[str, str]], Latest]:
        """The CTEs of the latest rows of a shared path's hubs; those called `known` are there."""
        ctes: list[tuple[str, str]] = []
        latest, counted = f"{path.name}__latest", f"{path.name}__counted"
        source, keys = self._hub(path)
        distinct = self._distinct_hubs(path)
        if source not in known:
            ctes.append((source, self._hub_sql(path)))
        if distinct not in known:
            hubs = ", ".join(f"{key} AS hub{i}" for i, key in enumerate(keys))
            ctes.append((distinct, f"SELECT DISTINCT {hubs}, {columns_of(source, self._moments)}\nFROM {source}"))
        group = (*(f"hub{i}" for i in range(len(keys))), *self._moments)
        reached = self._reached(path, distinct, [f"{distinct}.hub{i}" for i in range(len(keys))], group)
        in_batch = cut_ctes if self.many_moments else time_heap_ctes
        ctes += (key_heap_ctes if self.per_call else in_batch)(reached, latest, counted)
        return ctes, Latest(latest, group, counted=counted, hub=(source, keys))

    def _common_ctes(self, found: Mapping[str, Latest]) -> list[tuple[str, str]]:
        """CTEs over the latest rows of several paths, by path name; there need not be any."""
        return []

    @abstractmethod
    def _column_ctes(self, path: Path, latest: Latest) -> list[tuple[str, str]]:
        """The CTEs that end with the path's own: its columns for every seed."""

    @abstractmethod
    def _single_ctes(self, path: Path, latest: str) -> list[tuple[str, str]]:
        """The CTE `latest` of the one row of each seed along a path that is not counted; none if nobody asks for it."""

    def _spread_sql(self, path: Path, source: str, keys: list[str], rows: str) -> str:
        """The rows of each hub, for every seed that is at the hub."""
        on = " AND ".join(
            [f"{rows}.hub{i} = {key}" for i, key in enumerate(keys)]
            + [f"{rows}.{moment} = {source}.{moment}" for moment in self._moments]
        )
        found = columns_of(rows, map(ident, self._columns_of(path)))
        return f"SELECT {source}.{SEED}, {found}\nFROM {source}\nJOIN {rows} ON {on}"

    def _needs_latest(self, path: Path) -> bool:
        """True if the last k rows of a seed stand in a CTE of their own: other paths lead on from there."""
        return bool(self._onward_columns(path))

    def _reached(self, path: Path, source: str, keys: list[str], group: tuple[str, ...]) -> Reached:
        """The rows of a path: those that point at the keys of a row of `source`."""
        table, link = self._table(path.table), path.links[-1]
        visible = self._found_visible(table, () if path.shared else link.child_columns, source)
        return Reached(
            path,
            table,
            self.source(table),
            link,
            source,
            tuple(keys),
            group,
            self._moments,
            visible,
            self._listed_columns(path),
            self._onward_columns(path),
        )

    def _listed_columns(self, path: Path) -> tuple[str, ...]:
        """The columns of a path's rows that its list is made of, one at least."""
        table = self._table(path.table)
        names = [*self.inputs[path.table].columns, *(c for link in path.lookups for c in link.child_columns)]
        names += [table.time_column] if table.time_column else []
        return tuple(dict.fromkeys(names or row_key(table)))

    def _onward_columns(self, path: Path) -> tuple[str, ...]:
        """Columns of a children path's rows that lead on to grandchildren and hubs."""
        names: list[str] = []
        for other in self.paths:
            if path.kind == "children" and len(other.links) > 1 and other.links[0] == path.links[0]:
                names += other.links[1].child_columns if other.kind == "hub" else other.links[1].parent_columns
        return tuple(dict.fromkeys(names))

    def _hub(self, path: Path) -> tuple[str, list[str]]:
        """Name of the CTE with each seed's hub, and the columns that the hub's rows point at."""
        origin = self._child_path(path) if path.kind == "hub" else "self"
        name = f"{origin}__hub{self.schema.links.index(path.links[-2])}"
        return name, [f"{name}.{ident('hub.' + c)}" for c in path.links[-1].parent_columns]

    def _distinct_hubs(self, path: Path) -> str:
        """Name of the CTE with the distinct hubs and moments of all seeds, for the paths that read the same columns."""
        read = {p.links[-1].parent_columns for p in self.paths if p.shared and p.links[:-1] == path.links[:-1]}
        return f"{self._hub(path)[0]}s{sorted(read).index(path.links[-1].parent_columns) or ''}"

    def _hub_sql(self, path: Path) -> str:
        """The hub that the entity itself, or the seed's latest child row, points at."""
        *walk, to_hub, _ = path.links
        hub = self._table(to_hub.parent)
        wanted = {c for p in self.paths if p.links[:-1] == path.links[:-1] for c in p.links[-1].parent_columns}
        columns = ", ".join(f"h.{ident(c)} AS {ident('hub.' + c)}" for c in sorted(wanted))
        origin, source = "self", "self"
        keys = [f"self.{ident('self.' + c)}" for c in to_hub.child_columns]
        if walk:
            source = "latest"
            origin = f"(SELECT * FROM {self._child_path(path)}__latest WHERE rank = 1) latest"
            keys = [f"latest.{ident('r.' + c)}" for c in to_hub.child_columns]
        match = " AND ".join(f"h.{ident(p)} = {key}" for p, key in zip(to_hub.parent_columns, keys, strict=True))
        seed = columns_of(source, (SEED, *self._moments))
        return f"SELECT {seed}, {columns}\nFROM {origin}\nJOIN {self.source(hub)} h ON {match}"

    def _single_from(self, path: Path) -> str:
        """FROM and JOIN of the one row `r` of each seed along a path that is not counted."""
        row, link = self._table(path.table), path.links[0] if path.links else None
        key = {row.primary_key[0]: f"self.{ENTITY}"} if link is None else {}
        if link is not None:
            pairs = zip(link.parent_columns, link.child_columns, strict=True)
            key = {parent: f"self.{ident('self.' + child)}" for parent, child in pairs}
        on = " AND ".join(f"r.{ident(column)} = {value}" for column, value in key.items())
        return f"FROM self\nJOIN {self.source(row)} r ON {on}{self._found_visible(row, tuple(key), 'self')}"

    def _newest_join(self, path: Path, source: str) -> str:
        """The join of the newest event that a row's reader may see, where the path's rows carry its age."""
        if not path.data_age:
            return ""
        same = " AND ".join(f"{NEWEST}.{moment} = {source}.{moment}" for moment in self._moments)
        return f"LEFT JOIN {NEWEST} ON {same}\n"

    def _table(self, key: str) -> Table:
        return self.schema.table(key)

    def _visible(self, table: Table, alias: str, source: str) -> str:
        """The condition that a row may be seen by the seed; empty for a table without time."""
        return and_visible_sql(table, alias, f"{source}.{self._end}")

    def _found_visible(self, table: Table, key: tuple[str, ...], source: str) -> str:
        """`_visible` for rows `r` that a join finds by their `key`.

        DuckDB 2.0 finds rows by an index where the key is the only filter on a scan. It pushes a comparison of columns
        into the scan, where it skips blocks of rows that are not needed, but no CASE.
        """
        visible = self._visible(table, "r", source)
        if visible and len(key) == 1 and (table.key, key[0]) in self.indexed:
            return f" AND {opaque_sql(visible.removeprefix(' AND '))}"
        return visible

    def _child_path(self, path: Path) -> str:
        """Name of the children path that a grandchildren or hub path walks through."""
        return next(p.name for p in self.paths if p.kind == "children" and p.links == path.links[:1])

    def _self_keys(self, link: Link) -> list[str]:
        """The entity's values that `link`'s children point at."""
        key = self._table(self.paths[0].table).primary_key
        return [f"self.{ENTITY}" if (c,) == key else f"self.{ident('self.' + c)}" for c in link.parent_columns]


def _start_columns(path: Path) -> tuple[str, ...]:
    """Columns of the entity that a path starts from."""
    link = path.links[0]
    return link.child_columns if path.kind in ("parents", "siblings") else link.parent_columns
