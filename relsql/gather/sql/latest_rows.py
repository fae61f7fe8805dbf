"""The latest rows of every path, in DuckDB's SQL: which rows each seed (entity, as_of) reads.

Only this module turns a plan of rows into a query, for training, evaluation and scoring, with onnxruntime and in plain
SQL. A `PathColumns` decides which columns are computed from the rows. The form of the query follows measurements
(`docs/decisions/0001-one-gather.md`):

* hops are joins in FROM, never subqueries in WHERE, which decorrelate into cross products;
* seeds are numbered, so that one small integer identifies the seed of a row (`docs/decisions/0007-speed.md`);
* the rows of groups are found by windows, heaps or cuts, see `relsql.gather.sql.ranking`;
* hubs are gathered once per distinct (hub, as_of), not once per seed.

What many seeds share, the rows of hubs and the newest event of the data, can also be computed beforehand, for all hubs
at a moment, and stored as tables that the query then joins (`LatestRows.given`). A query over a part of the entities
then needs only the rows of these (`docs/decisions/0032-shards.md`).

Training for a database that lags uses *delayed* seeds: their data end at `_until`, at or before `_as_of`. Models for
such a database read how far it lags: the entity's row carries the age of the newest row of any table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from relsql.gather.paths import Path
from relsql.gather.row_plan import RowPlan, keyless_view
from relsql.gather.sql.newest import NEWEST, newest_ctes
from relsql.gather.sql.path_columns import Latest, PathColumns, of_hubs
from relsql.gather.sql.ranking import (
    LATEST_ROWS,
    Ctes,
    Reached,
    columns_of,
    cut_ctes,
    key_heap_ctes,
    time_heap_ctes,
    window_sql,
)
from relsql.gather.sql.removals.conditions import OUT, and_kept_sql
from relsql.gather.sql.removals.rows import latest_left_cte, left_ctes, ordered_rows, reader_ctes
from relsql.schema.entity_keys import is_entity_sql, key_parts
from relsql.schema.indexes import Indexed
from relsql.schema.relations import emptied_sql, relation_sql
from relsql.schema.tables import Table
from relsql.schema.visibility import (
    VisibilityRule,
    and_at_own_time_sql,
    and_visible_sql,
    end_before_sql,
    opaque_sql,
)
from relsql.sql_text import Cte, ident, indented, with_ctes

SEED = "_seed"
ENTITY = "_entity"
AS_OF = "_as_of"
UNTIL = "_until"

TEXT_KEYS_ARE_EXACT = (
    "CASE WHEN current_setting('default_collation') IN ('', 'binary') THEN true\n"
    "    ELSE error('this default_collation takes different text keys for equal: SET default_collation = ''''') END"
)
"""A condition on seeds that raises an error if text keys compare inexactly.

For example, 'a' equals 'A' after `SET default_collation = 'NOCASE'`.
"""


SeedKind = Literal["batch", "call", "moments"]
"""The kind of seeds that a query is for. It decides how rows are found; the rows are the same.

batch: many seeds, most of them at the same moment.
call: the body of a function, written for one seed. DuckDB runs all calls of a statement together.
moments: many moments per entity or hub. Rows are ordered once and cut at each moment.
"""


@dataclass(frozen=True, slots=True)
class LatestRows:
    """Builds queries over the latest rows of every path of a plan.

    Attributes:
        plan: the plan of rows to read.
        catalog: the attached database that holds the tables; every name in the SQL is qualified with it.
        sources: by table, the relation to read instead, in SQL; default: the table in `catalog`.
        seed_kind: the kind of seeds that the query is for.
        delayed: seeds carry `_until`: only rows with time <= `_until` count, while ages run to `_as_of`.
        visible: whether rows at as_of itself count.
        indexed: columns whose index is used to find rows, which helps in a call.
        removals: seeds carry what they leave out, see `relsql.gather.sql.removals`; not for the kind `moments`.
        given: relations that hold the rows of CTEs of the query, by the name of the CTE: `of_hubs` of a shared path, or
            `NEWEST`. They are read instead, see `relsql.gather.sql.query.Gather.given_queries`.
    """

    plan: RowPlan
    catalog: str
    sources: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    seed_kind: SeedKind = field(default="batch", kw_only=True)
    delayed: bool = field(default=False, kw_only=True)
    visible: VisibilityRule = field(default="at-or-before", kw_only=True)
    indexed: Indexed = field(default=frozenset(), kw_only=True)
    removals: bool = field(default=False, kw_only=True)
    given: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    @property
    def moments(self) -> tuple[str, ...]:
        """The columns that say what a seed may see: as_of, the end of its data if it differs, and what is left out."""
        return (AS_OF, *([UNTIL] if self.end == UNTIL else []), *(OUT if self.removals else ()))

    @property
    def end(self) -> str:
        """The column with the end of a seed's data."""
        return UNTIL if self.delayed or self.visible == "before" else AS_OF

    def query(self, columns: PathColumns, seed_sql: str, select: str | None = None) -> str:
        """The whole query.

        Args:
            columns: what to compute from the rows.
            seed_sql: a query with the columns `_entity` and `_as_of` (TIMESTAMP), and `_until` when delayed; each
                combination must occur only once.
            select: the select list over the gathered columns; default: all of them.
        """
        return self.written(self.ctes(columns, seed_sql), self.select_sql(columns, select))

    def written(self, ctes: Iterable[Cte], body: str) -> str:
        """A query over `ctes`, which include those of `ctes()`.

        The CTE `seed` is materialized so that seeds have the same numbers wherever they are read.
        """
        return with_ctes(ctes, body, materialized=["seed"])

    def ctes(self, columns: PathColumns, seed_sql: str) -> Ctes:
        """The common table expressions of `query`, in order."""
        ctes = [
            Cte("seed", self._numbered_sql(seed_sql), "The seeds: which entity, and at which moment."),
            Cte("self", self._self_sql(), "The seeds whose entity exists and may be seen."),
        ]
        if self.plan.paths[0].data_age:
            ctes += self.newest_ctes("seed")
        found = {}
        for path in self.plan.paths:
            latest, found[path.name] = self._latest_ctes(columns, path, [cte.name for cte in ctes])
            ctes += latest
        ctes += columns.common_ctes({name: latest for name, latest in found.items() if latest.rows})
        for path in self.plan.paths:
            ctes += columns.ctes_of(path, found[path.name])
        return ctes

    def newest_ctes(self, moments: str) -> Ctes:
        """CTEs up to `NEWEST`, for the moments of a relation."""
        if NEWEST in self.given:
            return [self.given_cte(NEWEST)]
        return newest_ctes(self.plan, self.source, moments, self.moments, self.end)

    def given_cte(self, name: str) -> Cte:
        """A CTE whose rows were stored beforehand."""
        return Cte(name, f"SELECT *\nFROM {self.given[name]}", "Stored beforehand, for all hubs and moments.")

    def select_sql(self, columns: PathColumns, select: str | None = None) -> str:
        """The main SELECT of `query`, over its common table expressions; the arguments are those of `query`."""
        names = [name for path in self.plan.paths for name in columns.names(path)]
        select = select or ", ".join([ENTITY, *self.moments, *map(ident, names)])
        joins = "\n".join(f"LEFT JOIN {ident(path.name)} USING ({SEED})" for path in self.plan.paths)
        return f"SELECT {select}\nFROM seed\n{joins}"

    def source(self, table: Table) -> str:
        """The relation to read for a table, in SQL."""
        return self.sources.get(table.key) or relation_sql(table, self.catalog, arrays_as_text=True)

    def own_source(self) -> str:
        """The relation to read for the entity's own row, in which hidden columns are empty.

        Other rows of the table are read in full.
        """
        return emptied_sql(self.plan.entity, self.source(self.plan.entity), self.plan.asked.hidden)

    def _numbered_sql(self, seed_sql: str) -> str:
        """The seeds, each with a unique number."""
        # A call has one seed. DuckDB tells the calls of a statement apart by their arguments.
        number = "CAST(1 AS UINTEGER)" if self.seed_kind == "call" else "CAST(row_number() OVER () AS UINTEGER)"
        return self.ended_sql(seed_sql, f"{number} AS {SEED}, ")

    def ended_sql(self, query: str, first: str = "") -> str:
        """A query's rows with `_as_of` and the end of their data where that differs, after the columns `first`."""
        guard = f"\nWHERE {TEXT_KEYS_ARE_EXACT}" if self.plan.has_text_keys() else ""
        columns = "*"
        if self.visible == "before":
            end = end_before_sql(AS_OF)
            columns = f"* REPLACE (least({UNTIL}, {end}) AS {UNTIL})" if self.delayed else f"*, {end} AS {UNTIL}"
        return f"SELECT {first}{columns}\nFROM (\n{indented(query)}\n){guard}"

    def _self_sql(self) -> str:
        """The seeds whose entity exists and is visible, with the columns of the entity that paths start from."""
        entity = self.plan.entity
        columns = "".join(f", r.{ident(c)} AS {ident('self.' + c)}" for c in self.plan.start_columns())
        return (
            f"SELECT {columns_of('seed', (SEED, ENTITY, *self.moments))}{columns}\n"
            f"FROM seed\n"
            f"JOIN {self.own_source()} r ON {is_entity_sql(entity, 'r', f'seed.{ENTITY}')}"
            f"{self._own_visible('seed')}"
        )

    def _latest_ctes(self, columns: PathColumns, path: Path, known: list[str]) -> tuple[Ctes, Latest]:
        """The CTEs for a path's latest rows; `known` are the names of CTEs that already exist."""
        if not path.counted:
            latest = f"{path.name}__latest"
            return columns.single_ctes(path, latest), Latest(latest, (SEED,))
        if path.shared:
            return self._hub_ctes(columns, path, known)
        source, keys = "self", self._self_values(path.links[0].parent_columns)
        if path.kind == "grandchildren":
            source = f"{self.plan.child_path(path)}__latest"
            keys = [f"{source}.{ident('r.' + c)}" for c in path.links[1].parent_columns]
        ranked, latest = f"{path.name}__ranked", f"{path.name}__latest"
        if self.removals and path.kind == "children":
            ctes, left = self._left_ctes(columns, path, source, keys)
            if left.hub and self.plan.onward_columns(path):
                onward = [f"r.{column}" for column in self.plan.onward_columns(path)]
                spread = self.spread_sql(["rank", *onward], *left.hub, left.rows)
                moments = columns_of("self", self.moments)
                of_seeds = f"SELECT spread.*, {moments}\nFROM (\n{indented(spread)}\n) spread\nJOIN self USING ({SEED})"
                ctes.append(Cte(latest, of_seeds, LATEST_ROWS))
            return ctes, left
        reached = self._reached(path, source, keys, (SEED,))
        if self.seed_kind == "moments" and path.kind == "children":
            counted = f"{path.name}__counted"
            return cut_ctes(reached, latest, counted), Latest(latest, (SEED,), counted=counted)
        ctes = [Cte(ranked, window_sql(reached), "All rows that each seed may see; rank 1 is the latest.")]
        if self.plan.onward_columns(path) or columns.needs_latest(path):
            ctes.append(Cte(latest, f"SELECT *\nFROM {ranked}\nWHERE rank <= {path.fanout}", LATEST_ROWS))
        return ctes, Latest(latest, (SEED,), ranked)

    def _hub_ctes(self, columns: PathColumns, path: Path, known: list[str]) -> tuple[Ctes, Latest]:
        """The CTEs for the latest rows of a shared path's hubs; `known` are the names of CTEs that already exist."""
        ctes: Ctes = []
        source, keys = self._hub(path)
        distinct = self._distinct_hubs(path)
        if source not in known:
            ctes.append(Cte(source, self._hub_sql(path), "The hub of each seed."))
        if self.removals:
            left, what_is_left = self._left_ctes(columns, path, source, keys)
            return [*ctes, *left], what_is_left
        if of_hubs(path) in self.given:
            return ctes, Latest("", (), hub=(source, keys))
        if distinct not in known:
            hubs = ", ".join(f"{key} AS hub{i}" for i, key in enumerate(keys))
            query = f"SELECT DISTINCT {hubs}, {columns_of(source, self.moments)}\nFROM {source}"
            ctes.append(Cte(distinct, query, "The hubs, each once for each moment."))
        latest_ctes, latest = self.latest_of_hubs(path, distinct)
        return ctes + latest_ctes, replace(latest, hub=(source, keys))

    def latest_of_hubs(self, path: Path, hubs: str) -> tuple[Ctes, Latest]:
        """The CTEs for the latest rows of the hubs in the CTE `hubs`: hub0, hub1, ..., and the moments."""
        latest, counted = f"{path.name}__latest", f"{path.name}__counted"
        keys = [f"hub{i}" for i in range(len(path.links[-1].parent_columns))]
        group = (*keys, *self.moments)
        reached = self._reached(path, hubs, [f"{hubs}.{key}" for key in keys], group)
        found = {"batch": time_heap_ctes, "call": key_heap_ctes, "moments": cut_ctes}[self.seed_kind]
        # Rows of a view without a key may be equal, so their values do not lead back to them.
        found = time_heap_ctes if found is key_heap_ctes and keyless_view(reached.table) else found
        return found(reached, latest, counted), Latest(latest, group, counted=counted)

    def _left_ctes(self, columns: PathColumns, path: Path, seeds: str, keys: Sequence[str]) -> tuple[Ctes, Latest]:
        """The CTEs for the latest rows of a path whose seeds leave something out; `keys` are what its rows point at."""
        latest, counted, groups = (f"{path.name}__{part}" for part in ("left", "counted", "groups"))
        ctes, reader, keys = reader_ctes(self.plan, path, seeds, keys, self.moments, self.source, SEED)
        group = (*(f"hub{i}" for i in range(len(keys))), *self.moments)
        distinct = f"SELECT DISTINCT {', '.join(group)}\nFROM {reader}"
        ctes.append(Cte(groups, distinct, "Keys, moments and what is left out, each once."))
        as_they_are = replace(self, removals=False)
        reached = as_they_are._reached(path, groups, [f"{groups}.hub{i}" for i in range(len(keys))], group)
        reached = replace(reached, moments=self.moments)
        ctes += left_ctes(self.plan, reached, counted)
        if columns.needs_left(path) or self.plan.onward_columns(path):
            ctes.append(latest_left_cte(reached, latest, counted))
        return ctes, Latest(latest, group, counted=counted, ordered=ordered_rows(path), hub=(reader, keys))

    def spread_sql(self, columns: Iterable[str], source: str, keys: list[str], rows: str) -> str:
        """A query for the columns of each hub, in the CTE `rows`, repeated for every seed of the hub."""
        on = " AND ".join(
            [f"{rows}.hub{i} = {key}" for i, key in enumerate(keys)]
            + [f"{rows}.{moment} = {source}.{moment}" for moment in self.moments]
        )
        found = columns_of(rows, map(ident, columns))
        return f"SELECT {source}.{SEED}, {found}\nFROM {source}\nJOIN {rows} ON {on}"

    def _reached(self, path: Path, source: str, keys: list[str], group: tuple[str, ...]) -> Reached:
        """The rows at the end of a path: those that point at the keys of a row of `source`."""
        table, link = self.plan.table(path.table), path.links[-1]
        visible = self._found_visible(table, () if path.shared else link.child_columns, source)
        return Reached(
            path,
            table,
            self.source(table),
            link,
            source,
            tuple(keys),
            group,
            self.moments,
            self.end,
            visible,
            self.plan.listed_columns(path),
            self.plan.onward_columns(path),
            partial(self.and_visible, table, "r"),
        )

    def _hub(self, path: Path) -> tuple[str, list[str]]:
        """Name of the CTE with each seed's hub, and the columns that the hub's rows point at."""
        origin = self.plan.child_path(path) if path.kind == "hub" else "self"
        name = f"{origin}__hub{self.plan.link_number(path.links[-2])}"
        return name, [f"{name}.{ident('hub.' + c)}" for c in path.links[-1].parent_columns]

    def _distinct_hubs(self, path: Path) -> str:
        """Name of the CTE with the distinct hubs and moments of all seeds; paths with the same columns share it."""
        read = {p.links[-1].parent_columns for p in self.plan.paths_of_hub(path) if p.shared}
        return f"{self._hub(path)[0]}s{sorted(read).index(path.links[-1].parent_columns) or ''}"

    def _hub_sql(self, path: Path) -> str:
        """The hub that the entity itself, or the seed's latest child row, points at, if it may be seen."""
        *walk, to_hub, _ = path.links
        hub = self.plan.table(to_hub.parent)
        wanted = {c for p in self.plan.paths_of_hub(path) for c in p.links[-1].parent_columns}
        columns = ", ".join(f"h.{ident(c)} AS {ident('hub.' + c)}" for c in sorted(wanted))
        origin, source = "self", "self"
        keys = self._self_values(to_hub.child_columns)
        if walk:
            source = "latest"
            origin = f"(SELECT * FROM {self.plan.child_path(path)}__latest WHERE rank = 1) latest"
            keys = [f"latest.{ident('r.' + c)}" for c in to_hub.child_columns]
        match = " AND ".join(f"h.{ident(p)} = {key}" for p, key in zip(to_hub.parent_columns, keys, strict=True))
        seed = columns_of(source, (SEED, *self.moments))
        visible = self._found_visible(hub, to_hub.parent_columns, source, alias="h")
        return f"SELECT {seed}, {columns}\nFROM {origin}\nJOIN {self.source(hub)} h ON {match}{visible}"

    def single_from(self, path: Path) -> str:
        """FROM and JOIN clauses for the one row `r` of each seed, for a path that is not counted."""
        row, link = self.plan.table(path.table), path.links[0] if path.links else None
        key = key_parts(row, f"self.{ENTITY}")
        if link is not None:
            key = dict(zip(link.parent_columns, self._self_values(link.child_columns), strict=True))
        on = " AND ".join(f"r.{ident(column)} = {value}" for column, value in key.items())
        source = self.own_source() if link is None else self.source(row)
        visible = self._own_visible("self") if link is None else self._found_visible(row, tuple(key), "self")
        return f"FROM self\nJOIN {source} r ON {on}{visible}"

    def newest_join(self, path: Path, source: str) -> str:
        """The join to the newest event that a row's reader may see, if the path's rows carry its age; else empty."""
        if not path.data_age:
            return ""
        same = " AND ".join(f"{NEWEST}.{moment} = {source}.{moment}" for moment in self.moments)
        return f"LEFT JOIN {NEWEST} ON {same}\n"

    def and_visible(self, table: Table, alias: str, source: str, end: str | None = None) -> str:
        """The condition that a row may be seen by the seed; empty if all rows may.

        `end` is the column with the end of the data, which differs for the entity's own row.
        """
        visible = and_visible_sql(table, alias, f"{source}.{end or self.end}")
        return visible + self.and_kept(table, alias, source)

    def and_kept(self, table: Table, alias: str, source: str) -> str:
        """The condition that a row is not left out by the seed; empty where seeds leave nothing out."""
        return and_kept_sql(self.plan, table, alias, source) if self.removals else ""

    def _found_visible(
        self, table: Table, key: tuple[str, ...], source: str, end: str | None = None, alias: str = "r"
    ) -> str:
        """`and_visible` for rows that a join finds by their `key`."""
        visible = and_visible_sql(table, alias, f"{source}.{end or self.end}")
        return self._opaque_if_indexed(table, key, visible) + self.and_kept(table, alias, source)

    def _opaque_if_indexed(self, table: Table, key: tuple[str, ...], visible: str) -> str:
        """A condition on rows that a join finds by their `key`, starting with AND.

        DuckDB 2.0 uses an index only if the key is the only filter on a scan. It pushes a comparison of columns into
        the scan, where it skips blocks of rows that are not needed, but it does not push a CASE. Where there is an
        index, the condition is therefore made opaque.
        """
        if visible and len(key) == 1 and (table.key, key[0]) in self.indexed:
            return f" AND {opaque_sql(visible.removeprefix(' AND '))}"
        return visible

    def _own_visible(self, source: str) -> str:
        """The condition that the entity's own row `r` is there for the seeds of `source`."""
        entity = self.plan.entity
        if self.plan.asked.own_time:
            condition = and_at_own_time_sql(entity, "r", f"{source}.{AS_OF}")
            return self._opaque_if_indexed(entity, entity.primary_key, condition) + self.and_kept(entity, "r", source)
        end = self.end if self.delayed else AS_OF
        return self._found_visible(entity, entity.primary_key, source, end)

    def _self_values(self, columns: Iterable[str]) -> list[str]:
        """The entity's values in some columns, as expressions over `self`."""
        key = key_parts(self.plan.entity, f"self.{ENTITY}")
        return [key.get(column, f"self.{ident('self.' + column)}") for column in columns]
