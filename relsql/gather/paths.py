"""Which rows a seed reads: the entity's own row, and the last k rows along each link path.

A path is a walk over foreign keys that starts at the entity and ends at the rows that are read. A walk has at most two
hops, except for the last kind, which reaches the hub table in two hops and then reads that hub's rows:

    entity                      the row itself
    parents                     entity -> parent                            one row
    siblings                    entity -> parent <- rows                    last k rows of the parent
    children                    entity <- rows                              last k rows of the entity
    grandchildren               entity <- rows <- rows                      last k rows under those children
    hub                         entity <- last row -> hub <- rows           last k rows of the hub

A hub is a row that many seeds share, such as a team or a shop. On request, the hub may also be an event, which has a
time of its own: the race of the last result, the invoice of the last item. Then the rows are those of the table that
the walk came from: the other results of that race, the rest of that basket.

Every row that is read also brings the rows that its own foreign keys point at (`lookups`): one join each, no list. For
example, a race result carries its team and its race. A message along a path thus sees both hops at once, as in
RelGNN's dimension-fact-dimension routes (arXiv 2502.06784, section 4).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import duckdb

from relsql.database.queries.sealed import sealed
from relsql.errors import SchemaError
from relsql.hints import command
from relsql.schema.declared.text import columns_text
from relsql.schema.entity_keys import entity_parameters
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Link, Schema, Table
from relsql.schema.visibility import where_visible_sql
from relsql.sql_text import ident

PathKind = Literal["entity", "parents", "siblings", "children", "grandchildren", "hub"]

DEFAULT_FANOUT = 16
DEFAULT_HORIZON_DAYS = 30.0
COUNTED_HORIZONS = (1, 4, 16)
MAX_PATHS = 12
"""Default number of paths that a model reads; each one takes time in every score."""
MAX_HUB_ROWS = 5_000
"""Default bound on the rows of a hub, as a size-biased mean: each call reads the times of all older rows of its hub."""

RESERVED_NAMES = ("seed", "self", "id", "as_of")
"""Names that no path may have: the first CTEs of the gather query, and the parameters of scoring macros. Where the key
has several columns, their parameters are reserved too."""


@dataclass(frozen=True, slots=True)
class Path:
    """One walk from the entity to rows of `table`.

    Attributes:
        name: a plain identifier, unique in the plan; names CTEs and ONNX inputs.
        kind: shape of the walk, see the module's docstring.
        table: `Table.key` of the rows that are read.
        links: the foreign keys walked over, in order.
        fanout: maximum number of rows per seed; the latest ones are read.
        lookups: foreign keys of `table` whose parent row is joined to every row that is read.
        count_days: spans before as_of, in days, within which rows are counted, in addition to the count of all rows;
            empty if the table has no time.
        data_age: its rows carry how far the data lag behind as_of, see `relsql.gather.layout.DATA_AGE`.
    """

    name: str
    kind: PathKind
    table: str
    links: tuple[Link, ...]
    fanout: int
    lookups: tuple[Link, ...]
    count_days: tuple[float, ...] = ()
    data_age: bool = False

    @property
    def counted(self) -> bool:
        """True if the path can have many rows, so that their number carries information."""
        return self.kind not in ("entity", "parents")

    @property
    def shared(self) -> bool:
        """True if the rows belong to a hub, which many seeds share: they are read once per hub."""
        return self.kind in ("hub", "siblings")

    @property
    def grouped(self) -> bool:
        """True if an explanation reads the rows once for all seeds that are left with the same of them."""
        return self.shared or self.kind == "children"

    def describe(self) -> str:
        """The walk as people read it: `drivers <- results -> constructors <- results, last 16`."""
        if self.kind == "entity":
            return self.table
        text = self.links[0].child if self.kind in ("parents", "siblings") else self.links[0].parent
        for position, link in enumerate(self.links):
            forward = (self.kind in ("parents", "siblings") and position == 0) or (self.kind == "hub" and position == 1)
            text += f" -> {link.parent}" if forward else f" <- {link.child}"
        return text if self.kind == "parents" else f"{text}, last {self.fanout}"


@dataclass(frozen=True, slots=True)
class CrowdedPath:
    """A path that is not read because its hubs have too many rows: how many rows share the hub of a row, on average."""

    beyond: ClassVar[str] = "--max-hub-rows"

    path: str
    rows: float

    def __str__(self) -> str:
        return f"{self.path}: {self.rows:,.0f} rows share a hub"


@dataclass(frozen=True, slots=True)
class Candidates:
    """The paths that a model can read, the entity's own row first, and those that go through crowded hubs."""

    paths: tuple[Path, ...]
    crowded: tuple[CrowdedPath, ...] = ()


def used_tables(paths: Sequence[Path]) -> set[str]:
    """The tables on the paths, and the tables that their rows are joined with."""
    used = {path.table for path in paths} | {link.parent for path in paths for link in path.lookups}
    return used | {table for path in paths for link in path.links for table in (link.child, link.parent)}


def candidate_paths(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    entity_table: str,
    *,
    fanout: int = DEFAULT_FANOUT,
    horizon_days: float = DEFAULT_HORIZON_DAYS,
    until: datetime.datetime | None = None,
    event_hubs: bool = False,
    max_hub_rows: int = MAX_HUB_ROWS,
) -> Candidates:
    """List all paths of an entity table.

    Args:
        con: connection; the degree of hub tables is measured on the data.
        catalog: database that holds the tables.
        schema: its tables and links.
        entity_table: `Table.key` of the table whose rows are scored.
        fanout: rows per seed and path.
        horizon_days: horizon of the task; rows are counted over 1, 4 and 16 horizons before as_of.
        until: only rows with time <= `until` count when tables and hubs are measured; default: all rows count.
        event_hubs: tables with a time are hubs too, for rows of the table that the walk comes from.
        max_hub_rows: paths whose hubs have more rows, see `MAX_HUB_ROWS`, are not read.

    Raises:
        SchemaError: the entity table does not exist or has no primary key.
    """
    entity = schema.table(entity_table)
    if not entity.primary_key:
        raise SchemaError(
            f"table '{entity.key}' has no primary key",
            expected="a key, by which entities are scored",
            fix=command("init", "FILE", "--primary-key", columns_text(entity.key, "COLUMN")),
        )
    paths = [Path("entity", "entity", entity.key, (), 1, ())]
    paths += [_path("parents", schema, (link,), 1) for link in schema.links_from(entity.key)]
    children = [_path("children", schema, (link,), fanout) for link in schema.links_to(entity.key)]
    paths += children
    paths += [
        _path("grandchildren", schema, (*p.links, link), fanout)
        for p in children
        for link in _links_to_rows_of(schema, p)
    ]
    sizes, crowded = _Sizes(con, catalog, until), []
    for path in _hub_paths(sizes, schema, entity, children, fanout, event_hubs):
        rows = sizes.hub_rows(schema, path.links[-1])
        if rows > max_hub_rows:
            crowded.append(CrowdedPath(path.describe(), rows))
        else:
            paths.append(path)
    for i, path in enumerate(paths):
        if path.counted and schema.table(path.table).time_column:
            paths[i] = replace(path, count_days=tuple(horizon_days * n for n in COUNTED_HORIZONS))
    named = _unique_names(paths, reserved=(*RESERVED_NAMES, *entity_parameters(entity)))
    return Candidates(named, tuple(crowded))


def plan_paths(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    entity_table: str,
    *,
    fanout: int = DEFAULT_FANOUT,
    horizon_days: float = DEFAULT_HORIZON_DAYS,
    until: datetime.datetime | None = None,
    event_hubs: bool = False,
) -> tuple[Path, ...]:
    """The first `MAX_PATHS` of `candidate_paths`, with the same arguments: a plan that needs no labels.

    Raises:
        SchemaError: as `candidate_paths`, or the rows of a table on a path cannot be told apart.
    """
    found = candidate_paths(
        con,
        catalog,
        schema,
        entity_table,
        fanout=fanout,
        horizon_days=horizon_days,
        until=until,
        event_hubs=event_hubs,
    )
    paths = found.paths[:MAX_PATHS]
    require_row_keys(schema, paths)
    return paths


def require_row_keys(schema: Schema, paths: tuple[Path, ...]) -> None:
    """Raise SchemaError if the rows of a table on a path cannot be told apart."""
    for path in paths:
        _require_row_key(schema.table(path.table))


def _require_row_key(table: Table) -> None:
    """Without a primary key, DuckDB's `rowid` identifies rows; a column of that name hides it."""
    if not table.primary_key and not table.is_view and "rowid" in map(str.lower, table.column_names):
        raise SchemaError(
            f"table '{table.key}' has no primary key, and a column 'rowid' that hides DuckDB's own",
            expected="a primary key, or no column called 'rowid'",
            fix=command("init", "FILE", "--primary-key", columns_text(table.key, "COLUMN")),
        )


def _links_to_rows_of(schema: Schema, path: Path) -> tuple[Link, ...]:
    """Links that point at the rows of a children path, except those from the entity table."""
    return tuple(link for link in schema.links_to(path.table) if link.child != path.links[0].parent)


def _path(kind: PathKind, schema: Schema, links: tuple[Link, ...], fanout: int) -> Path:
    last = links[-1]
    table = last.parent if kind == "parents" else last.child
    # The row's link back along the walk adds nothing: its parent is where the walk came from.
    came_along = None if kind == "parents" else last
    lookups = tuple(link for link in schema.links_from(table) if link != came_along)
    stem = {
        "parents": f"{table}",
        "siblings": f"{last.parent}_{table}",
        "children": table,
        "grandchildren": f"{last.parent}_{table}",
        "hub": f"{last.parent}_{table}",
    }[kind]
    return Path(stem, kind, table, links, fanout, lookups)


def _hub_paths(
    sizes: _Sizes,
    schema: Schema,
    entity: Table,
    children: list[Path],
    fanout: int,
    event_hubs: bool,
) -> list[Path]:
    """Paths through hubs that the entity or its children point at: tables without time, or all with `event_hubs`."""
    walks: list[tuple[PathKind, tuple[Link, ...]]] = [("siblings", (link,)) for link in schema.links_from(entity.key)]
    for path in sorted(children, key=lambda p: -sizes.rows(schema.table(p.table))):
        if schema.table(path.table).time_column:
            walks += [("hub", (path.links[0], link)) for link in path.lookups]
    paths: list[Path] = []
    reached: set[Link] = set()
    for kind, walk in walks:
        to_hub = walk[-1]
        event = schema.table(to_hub.parent).time_column is not None
        if to_hub.parent == entity.key or (event and not event_hubs):
            continue
        for link in schema.links_to(to_hub.parent):
            timed = schema.table(link.child).time_column is not None
            # Rows of another table in the same event are reached by the entity's own rows of that table.
            if not timed or link in reached or (event and link.child != to_hub.child):
                continue
            reached.add(link)
            paths.append(_path(kind, schema, (*walk, link), fanout))
    return paths


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Sizes of tables and hubs, over the rows up to `until`."""

    con: duckdb.DuckDBPyConnection
    catalog: str
    until: datetime.datetime | None

    def rows(self, table: Table) -> int:
        """Number of rows."""
        # fetchall() ends the query; after fetchone() the connection would stay busy.
        [(rows,)] = self.con.execute(sealed(f"SELECT count(*) FROM {self._source(table)}")).fetchall()
        return int(rows)

    def hub_rows(self, schema: Schema, link: Link) -> float:
        """Mean over the rows of `link.child` of how many rows share the row's hub (the size-biased mean degree)."""
        columns = ", ".join(map(ident, link.child_columns))
        known = " AND ".join(f"{ident(column)} IS NOT NULL" for column in link.child_columns)
        query = f"""
            SELECT sum(rows_of_hub * rows_of_hub) / sum(rows_of_hub)
            FROM (
                SELECT count(*)::DOUBLE AS rows_of_hub FROM {self._source(schema.table(link.child))}
                WHERE {known} GROUP BY {columns}
            )"""
        [(degree,)] = self.con.execute(sealed(query)).fetchall()
        return float(degree or 0.0)

    def _source(self, table: Table) -> str:
        if self.until is None or not table.time_column:
            return relation_sql(table, self.catalog)
        return f"(SELECT * FROM {relation_sql(table, self.catalog)} r{where_visible_sql(table, 'r', self.until)})"


def _unique_names(paths: list[Path], reserved: Iterable[str]) -> tuple[Path, ...]:
    named: list[Path] = []
    taken = set(reserved)
    for path in paths:
        # Single underscores only: the other CTEs of the gather query have double ones in their names.
        stem = re.sub(r"[^a-z0-9]+", "_", path.name.lower()).strip("_") or "rows"
        stem = f"rows_{stem}" if stem[0].isdigit() else stem
        name, count = stem, 1
        while name in taken:
            count += 1
            name = f"{stem}_{count}"
        taken.add(name)
        named.append(replace(path, name=name))
    return tuple(named)
