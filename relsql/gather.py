"""The one SQL that gathers what the network reads: for each seed (entity, as_of) the last k rows of every path.

Training, evaluation and scoring all run the query built here; only the `seed` CTE differs. Its shape follows
measurements (`docs/decisions/0001-one-gather.md`):

* hops are joins in FROM, never subqueries in WHERE, which decorrelate into cross products;
* keys first: `max({time, key}, k)` keeps a heap of k per seed, values are joined back after the top k;
* the time is part of the key and the primary key breaks ties, so the answer does not depend on row order;
* a row counts when its time <= as_of; a row without time in a table that has a time column never counts;
* hubs are gathered once per distinct (hub, as_of), not once per seed.

Result: one row per seed, with `_entity`, `_as_of`, and for each path a list of STRUCT(rank, n0, n1, ..., c0, c1, ...)
in any order: recency rank (1 = latest), FLOAT numbers, INTEGER codes. The list is NULL when there are no rows; all are
NULL when the entity does not exist or is not visible. Beside each list of several rows stands `<path>__counts`, a
STRUCT(w0, w1, ...): how many visible rows there are in all, and how many within each of the path's `count_days`.

Training for a database that lags behind asks for *delayed* seeds: their data end at `_until`, at or before `_as_of`.
Models for such a database read how far it lags: the entity's row carries the age of the newest row of any table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from relsql.features import NodeInputs, NumberInput, age_sql, category_sql, number_sql, text_sql, time_sql
from relsql.paths import Path
from relsql.schema import Link, Schema, Table
from relsql.sql import ident, indented, with_ctes

ENTITY = "_entity"
AS_OF = "_as_of"
UNTIL = "_until"
_SHARED = ("hub", "siblings")
"""Kinds of paths whose rows many seeds have in common: they are gathered once for each hub and as_of."""

DATA_AGE = NumberInput("data age", "data_age")
"""Days between as_of and the newest visible row of any table that the model reads; NULL when there is none."""
# Path names have no double underscore, so that these are nobody else's.
_EVENTS, _NEWEST = "data__events", "data__newest"


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of a path's row that comes from one table: the row itself, or one of its lookups.

    Its numbers are a present flag (1.0, or 0.0 for a lookup that finds no visible row) and the table's number
    inputs; its codes are the table's textual categories and, if the table has text, the text id.
    """

    inputs: NodeInputs
    link: Link | None = None

    @property
    def numbers_width(self) -> int:
        """Number of FLOATs: the present flag and the number inputs."""
        return 1 + len(self.inputs.numbers)

    @property
    def codes_width(self) -> int:
        """Number of INTEGERs: category codes and the text id."""
        return len(self.inputs.categories) + self.has_text

    @property
    def has_text(self) -> bool:
        """True if the last code is a text id."""
        return bool(self.inputs.text_columns)


def segments(path: Path, inputs: dict[str, NodeInputs]) -> tuple[Segment, ...]:
    """The segments of a path's rows: the row's own table first, then its lookups in order."""
    own = inputs[path.table]
    if path.data_age:
        own = replace(own, numbers=(*own.numbers, DATA_AGE))
    return (Segment(own), *(Segment(inputs[link.parent], link) for link in path.lookups))


@dataclass(frozen=True, slots=True)
class Gather:
    """Builds the gather query of one model.

    Attributes:
        catalog: the attached database that holds the tables; every name in the SQL is qualified with it.
        schema: its tables and links.
        paths: the plan; `paths[0]` is the entity itself.
        inputs: node inputs by table.
        text_function: name of the function VARCHAR -> INTEGER that numbers row texts.
        delayed: seeds carry `_until`: only rows with time <= `_until` count, while ages run to `_as_of`.
    """

    catalog: str
    schema: Schema
    paths: tuple[Path, ...]
    inputs: dict[str, NodeInputs]
    text_function: str
    delayed: bool = False

    @property
    def _moments(self) -> tuple[str, ...]:
        """The columns that say when a seed asks and, if that differs, when its data end."""
        return (AS_OF, UNTIL) if self.delayed else (AS_OF,)

    @property
    def _end(self) -> str:
        """The column that says when a seed's data end."""
        return self._moments[-1]

    @property
    def _seed_columns(self) -> str:
        return ", ".join((ENTITY, *self._moments))

    def query(self, seed_sql: str, select: str | None = None) -> str:
        """The whole query.

        Args:
            seed_sql: a query with the columns `_entity` and `_as_of` (TIMESTAMP), and `_until` when delayed; each
                combination once.
            select: the select list over the gathered columns; default: all of them.
        """
        ctes = [("seed", seed_sql), ("self", self._self_sql())]
        if self.paths[0].data_age:
            events = event_times_sql(self.schema, self.catalog, tuple(self.inputs))
            ctes += [(_EVENTS, events), (_NEWEST, self._newest_sql())]
        for path in self.paths:
            ctes += self._path_ctes(path, [name for name, _ in ctes])
        columns = select or ", ".join([self._seed_columns, *map(ident, self.columns())])
        joins = "\n".join(f"LEFT JOIN {ident(path.name)} USING ({self._seed_columns})" for path in self.paths)
        return with_ctes(ctes, f"SELECT {columns}\nFROM seed\n{joins}")

    def columns(self) -> list[str]:
        """Names of the gathered columns: of each path its rows, and their counts where it has several."""
        return [
            name
            for path in self.paths
            for name in ([path.name, counts_name(path.name)] if path.counted else [path.name])
        ]

    def qualified_columns(self) -> dict[str, str]:
        """The gathered columns as expressions within `query`'s select list."""
        of_path = {name: path.name for path in self.paths for name in (path.name, counts_name(path.name))}
        return {name: f"{ident(of_path[name])}.{ident(name)}" for name in self.columns()}

    def _self_sql(self) -> str:
        """The seeds whose entity exists and is visible, with the entity's columns that paths start from."""
        entity = self._table(self.paths[0].table)
        anchors = sorted({c for p in self.paths[1:] for c in _start_columns(p)} - set(entity.primary_key))
        columns = "".join(f", r.{ident(c)} AS {ident('self.' + c)}" for c in anchors)
        return (
            f"SELECT {_of('seed', (ENTITY, *self._moments))}{columns}\n"
            f"FROM seed\n"
            f"JOIN {entity.sql(self.catalog)} r ON r.{ident(entity.primary_key[0])} = seed.{ENTITY}"
            f"{self._visible(entity, 'r', 'seed')}"
        )

    def _newest_sql(self) -> str:
        """The newest event that seeds of one moment may see."""
        return (
            f"SELECT {_of('moment', self._moments)}, {_EVENTS}.t\n"
            f"FROM (SELECT DISTINCT {', '.join(self._moments)} FROM seed) moment\n"
            f"ASOF LEFT JOIN {_EVENTS} ON moment.{self._end} >= {_EVENTS}.t"
        )

    def _path_ctes(self, path: Path, known: list[str]) -> list[tuple[str, str]]:
        row = self._table(path.table)
        if path.kind == "entity":
            return [(ident(path.name), self._rows_sql(path, "self", {row.primary_key[0]: f"self.{ENTITY}"}))]
        if path.kind == "parents":
            link = path.links[0]
            pairs = zip(link.parent_columns, link.child_columns, strict=True)
            return [
                (ident(path.name), self._rows_sql(path, "self", {p: f"self.{ident('self.' + c)}" for p, c in pairs}))
            ]
        ctes: list[tuple[str, str]] = []
        source, keys = "self", self._self_keys(path.links[0])
        if path.kind in _SHARED:
            source, keys = self._hub(path)
            if source not in known:
                ctes.append((source, self._hub_sql(path)))
        elif path.kind == "grandchildren":
            source, keys = f"{self._child_path(path)}__keys", []
        first = tuple(f"hub{i}" for i in range(len(keys))) if path.kind in _SHARED else (ENTITY,)
        group = (*first, *self._moments)
        # Path names have no double underscore, so that these are nobody else's.
        top, top_keys, rows = f"{path.name}__top", f"{path.name}__keys", f"{path.name}__rows"
        ctes.append((top, self._top_sql(path, source, keys)))
        unnested = "counts, unnest(top) AS key, generate_subscripts(top, 1) AS rank"
        ctes.append((top_keys, f"SELECT {', '.join(group)}, {unnested}\nFROM {top}"))
        start = {c: f"{top_keys}.key.k{i}" for i, c in enumerate(_row_key(row))}
        listed = self._rows_sql(path, top_keys, start, group, rank=f"{top_keys}.rank")
        if path.kind not in _SHARED:
            return [*ctes, (ident(path.name), listed)]
        return [*ctes, (rows, listed), (ident(path.name), self._spread_sql(path, source, keys, rows))]

    def _spread_sql(self, path: Path, source: str, keys: list[str], rows: str) -> str:
        """The rows of each hub, for every seed that is at the hub."""
        on = " AND ".join(
            [f"{rows}.hub{i} = {key}" for i, key in enumerate(keys)]
            + [f"{rows}.{moment} = {source}.{moment}" for moment in self._moments]
        )
        found = _of(rows, (ident(path.name), ident(counts_name(path.name))))
        return f"SELECT {_of(source, (ENTITY, *self._moments))}, {found}\nFROM {source}\nJOIN {rows} ON {on}"

    def _top_sql(self, path: Path, source: str, keys: list[str]) -> str:
        """The keys of the last k rows per group: per seed, or per distinct hub and as_of."""
        row, link = self._table(path.table), path.links[-1]
        key = ", ".join(f"k{i}: {_column(row, c, 'r')}" for i, c in enumerate(_row_key(row)))
        if row.time_column:
            key = f"t: {time_sql(row, 'r')}, {key}"
        group, origin, joined = _of(source, (ENTITY, *self._moments)), source, keys
        if path.kind in _SHARED:
            group = _of("hubs", (*(f"hub{i}" for i in range(len(keys))), *self._moments))
            hubs = ", ".join(f"{k} AS hub{i}" for i, k in enumerate(keys))
            origin = f"(SELECT DISTINCT {hubs}, {_of(source, self._moments)} FROM {source}) hubs"
            source, joined = "hubs", [f"hubs.hub{i}" for i in range(len(keys))]
        middle = ""
        if path.kind == "grandchildren":
            # The children are joined by their key; the link to them may use another unique column.
            child = self._table(link.parent)
            on = " AND ".join(f"{_column(child, c, 'c')} = {source}.key.k{i}" for i, c in enumerate(_row_key(child)))
            middle = f"\nJOIN {child.sql(self.catalog)} c ON {on}"
            joined = [f"c.{ident(c)}" for c in link.parent_columns]
        on = " AND ".join(f"r.{ident(c)} = {j}" for c, j in zip(link.child_columns, joined, strict=True))
        return (
            f"SELECT {group}, max({{{key}}}, {path.fanout}) AS top,\n"
            f"    {self._counts_sql(path, source)} AS counts\n"
            f"FROM {origin}{middle}\n"
            f"JOIN {row.sql(self.catalog)} r ON {on}{self._visible(row, 'r', source)}\n"
            f"GROUP BY {group}"
        )

    def _counts_sql(self, path: Path, source: str) -> str:
        """How many visible rows there are, in all and within each of the path's spans before as_of."""
        row = self._table(path.table)
        counts = ["count(*)"]
        if row.time_column:
            since = f"{time_sql(row, 'r')} > {source}.{AS_OF}"
            spans = (f"to_seconds({round(days * 86_400)})" for days in path.count_days)
            counts += [f"count(*) FILTER (WHERE {since} - {span})" for span in spans]
        return "{" + ", ".join(f"w{i}: {count}" for i, count in enumerate(counts)) + "}"

    def _hub(self, path: Path) -> tuple[str, list[str]]:
        """Name of the CTE with each seed's hub, and the columns that the hub's rows point at."""
        origin = self._child_path(path) if path.kind == "hub" else "self"
        name = f"{origin}__hub{self.schema.links.index(path.links[-2])}"
        return name, [f"{name}.{ident('hub.' + c)}" for c in path.links[-1].parent_columns]

    def _hub_sql(self, path: Path) -> str:
        """The hub that the entity itself, or the seed's latest child row, points at."""
        *walk, to_hub, _ = path.links
        hub = self._table(to_hub.parent)
        wanted = {c for p in self.paths if p.links[:-1] == path.links[:-1] for c in p.links[-1].parent_columns}
        columns = ", ".join(f"h.{ident(c)} AS {ident('hub.' + c)}" for c in sorted(wanted))
        origin, source = "self", "self"
        keys = [f"self.{ident('self.' + c)}" for c in to_hub.child_columns]
        if walk:
            child, child_keys = self._table(to_hub.child), f"{self._child_path(path)}__keys"
            source = "latest"
            on = " AND ".join(f"{_column(child, c, 'c')} = latest.key.k{i}" for i, c in enumerate(_row_key(child)))
            origin = (
                f"(SELECT {self._seed_columns}, key FROM {child_keys} WHERE rank = 1) latest\n"
                f"JOIN {child.sql(self.catalog)} c ON {on}"
            )
            keys = [f"c.{ident(c)}" for c in to_hub.child_columns]
        match = " AND ".join(f"h.{ident(p)} = {key}" for p, key in zip(to_hub.parent_columns, keys, strict=True))
        return (
            f"SELECT {_of(source, (ENTITY, *self._moments))}, {columns}\n"
            f"FROM {origin}\n"
            f"JOIN {hub.sql(self.catalog)} h ON {match}"
        )

    def _rows_sql(
        self, path: Path, source: str, start: dict[str, str], group: tuple[str, ...] = (), rank: str = "1"
    ) -> str:
        """Join the values back to the chosen keys, look up the rows they point at, and list them per group.

        Args:
            path: the rows to read.
            source: CTE with the chosen keys; it has the columns `group` and `_as_of`.
            start: expression over `source` that each column of the row's key equals.
            group: columns of `source`, one list for each combination; default: those of a seed.
            rank: expression for the recency rank.
        """
        row, group = self._table(path.table), group or (ENTITY, *self._moments)
        on = " AND ".join(f"{_column(row, column, 'r')} = {value}" for column, value in start.items())
        on += self._visible(row, "r", source)
        joins = [f"JOIN {row.sql(self.catalog)} r ON {on}"]
        if path.data_age:
            same = " AND ".join(f"{_NEWEST}.{moment} = {source}.{moment}" for moment in self._moments)
            joins.append(f"LEFT JOIN {_NEWEST} ON {same}")
        for i, link in enumerate(path.lookups):
            parent = self._table(link.parent)
            match = " AND ".join(
                f"p{i}.{ident(p)} = r.{ident(c)}" for c, p in zip(link.child_columns, link.parent_columns, strict=True)
            )
            joins.append(
                f"LEFT JOIN {parent.sql(self.catalog)} p{i} ON {match}{self._visible(parent, f'p{i}', source)}"
            )
        struct = self._row_struct(path, rank, f"{source}.{AS_OF}")
        grouped = _of(source, group)
        counts = f",\n    any_value({source}.counts) AS {ident(counts_name(path.name))}" if path.counted else ""
        return (
            f"SELECT {grouped},\n"
            f"    list({struct}) AS {ident(path.name)}{counts}\n"
            f"FROM {source}\n" + "\n".join(joins) + f"\nGROUP BY {grouped}"
        )

    def _row_struct(self, path: Path, rank: str, as_of: str) -> str:
        numbers: list[str] = []
        codes: list[str] = []
        for i, segment in enumerate(segments(path, self.inputs)):
            table = self._table(segment.inputs.table)
            alias = f"p{i - 1}" if segment.link else "r"
            present = f"{alias}.{ident(segment.link.parent_columns[0])} IS NOT NULL" if segment.link else "true"
            numbers.append(f"CAST({present} AS FLOAT)")
            for n in segment.inputs.numbers:
                number = age_sql(f"{_NEWEST}.t", as_of) if n == DATA_AGE else number_sql(table, n, alias, as_of)
                numbers.append(f"CAST({number} AS FLOAT)")
            codes += [category_sql(category, alias) for category in segment.inputs.categories]
            if segment.has_text:
                text = text_sql(table, segment.inputs, alias)
                codes.append(f"{self.text_function}(CASE WHEN {present} THEN {text} END)")
        fields = [f"rank: CAST({rank} AS INTEGER)"]
        fields += [f"n{i}: {number}" for i, number in enumerate(numbers)]
        fields += [f"c{i}: {code}" for i, code in enumerate(codes)]
        return "{" + ", ".join(fields) + "}"

    def _table(self, key: str) -> Table:
        return self.schema.table(key)

    def _visible(self, table: Table, alias: str, source: str) -> str:
        """The condition that a row may be seen by the seed; empty for a table without time."""
        return f" AND {time_sql(table, alias)} <= {source}.{self._end}" if table.time_column else ""

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


def _row_key(table: Table) -> tuple[str, ...]:
    """Columns that identify a row; without a primary key the position in storage does."""
    return table.primary_key or ("rowid",)


def _column(table: Table, name: str, alias: str) -> str:
    return f"{alias}.rowid" if not table.primary_key and name == "rowid" else f"{alias}.{ident(name)}"


def counts_name(path_name: str) -> str:
    """Name of the column with a path's counts."""
    return f"{path_name}__counts"


def _of(source: str, columns: Iterable[str]) -> str:
    """Columns of one relation as a select list."""
    return ", ".join(f"{source}.{column}" for column in columns)


def event_times_sql(schema: Schema, catalog: str, tables: tuple[str, ...]) -> str:
    """A query for the times `t` of all events in `tables`, if any has a time; infinite times are no events."""
    timed = [schema.table(key) for key in dict.fromkeys(tables) if schema.table(key).time_column]
    if not timed:
        return "SELECT CAST(NULL AS TIMESTAMP) AS t WHERE false"
    parts = [f"SELECT {time_sql(table, 'r')} AS t FROM {table.sql(catalog)} r" for table in timed]
    return "SELECT t\nFROM (\n" + indented("\nUNION ALL ".join(parts)) + "\n)\nWHERE isfinite(t)"


def latest_event_sql(schema: Schema, catalog: str, tables: tuple[str, ...]) -> str:
    """A query for the time of the latest event in `tables`; NULL when there is none."""
    return f"SELECT max(t) FROM ({event_times_sql(schema, catalog, tables)})"
