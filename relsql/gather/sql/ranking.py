"""The latest rows of each group, in SQL: five ways to find the same rows.

A group is a seed, or a hub at a moment. The cheapest way depends on the groups:

* A window ranks all rows of each group and carries their values. For entities: they have few rows, most of them wanted.
* A heap of times, `max(time, k)`, finds the time from which rows are wanted, and a window ranks only those. For hubs,
  which have many rows.
* A heap of keys, `max({time, key}, k)`, keeps k keys, and their values are joined. For hubs in a call. The heap itself
  is slower, but a window emits its rows in chunks, which are small in a call, and the text function runs once per
  chunk.
* A cut orders the rows of each entity or hub once and cuts them at each moment; an ASOF join finds how many rows come
  before a moment. For groups that share rows and differ only in the moment, such as the seeds of training.
* A window over the groups with nothing left out, from which each group takes the rows that remain for it
  (`relsql.gather.sql.removals.conditions`). For many groups that share rows and differ only in what they leave out.

All of them order by time first and break ties by the primary key, so the result does not depend on row order. A row
counts if its time <= the end of the data. In a table with a time column, a row without a time never counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from relsql.gather.paths import Path
from relsql.gather.row_plan import row_key
from relsql.schema.tables import Link, Table
from relsql.schema.times.events import time_sql
from relsql.schema.visibility import asof_visible_sql, known_time_sql, since_sql
from relsql.sql_text import Cte, ident, indented

Ctes = list[Cte]


LATEST_ROWS = "The latest rows that each group may see; rank 1 is the latest."


@dataclass(frozen=True, slots=True)
class Reached:
    """The rows at the end of a path, as `r`, for the groups of a relation.

    Attributes:
        path: the path that ends at the rows.
        table: the table of the rows.
        relation: the relation to read for the table, in SQL.
        link: the foreign key by which the rows point at the groups.
        source: the relation of the groups.
        keys: expressions over `source` that the rows point at.
        group: columns of `source` that identify a group.
        moments: columns of `source` that determine what the group may see; the first is its as_of.
        end: the one of them that is the end of its data.
        visible: condition on `r` and `source` under which a row counts, starting with AND; empty if all rows count.
        columns: the columns of a row to return in the struct `r`.
        onward: the columns to return separately as well, as `r.<column>`.
        seen_by: `visible` for a given relation of groups.
    """

    path: Path
    table: Table
    relation: str
    link: Link
    source: str
    keys: tuple[str, ...]
    group: tuple[str, ...]
    moments: tuple[str, ...]
    end: str
    visible: str
    columns: tuple[str, ...]
    onward: tuple[str, ...]
    seen_by: Callable[[str], str]

    @property
    def carried(self) -> tuple[str, ...]:
        """The columns of `source` that are kept with each row."""
        return tuple(dict.fromkeys([*self.group, *self.moments]))

    def joined(self) -> str:
        """FROM and JOIN clauses for the visible rows."""
        return f"FROM {self.source}\nJOIN {self.relation} r ON {self.points_at(self.keys)}{self.visible}"

    def points_at(self, keys: Iterable[str]) -> str:
        """The condition that a row points at keys."""
        return " AND ".join(f"r.{ident(c)} = {key}" for c, key in zip(self.link.child_columns, keys, strict=True))

    def onward_sql(self) -> str:
        """The columns `onward` for a select list, one per line."""
        return "".join(f"    r.{ident(c)} AS {ident('r.' + c)},\n" for c in self.onward)

    def struct(self) -> str:
        """The columns `columns` of a row as a struct."""
        return struct_sql(self.table, self.columns)

    def order(self) -> list[str]:
        """The terms that rows are ordered by: the time, if the table has one, then the key."""
        return ([time_sql(self.table, "r")] if self.table.time_column else []) + self.row_key()

    def row_key(self) -> list[str]:
        """The columns that identify a row `r`."""
        return [_column(self.table, c) for c in row_key(self.table)]


def window_sql(reached: Reached, more: str = "") -> str:
    """A query for all visible rows of each group with their ranks; `more` are further columns of `r`, with a comma."""
    group = columns_of(reached.source, reached.group)
    order = ", ".join(f"{term} DESC NULLS LAST" for term in reached.order())
    return (
        f"SELECT {columns_of(reached.source, reached.carried)}, {reached.struct()} AS r,\n"
        f"{reached.onward_sql()}"
        f"    row_number() OVER (PARTITION BY {group} ORDER BY {order}) AS rank{more}\n"
        f"{reached.joined()}"
    )


def time_heap_ctes(reached: Reached, latest: str, counted: str) -> Ctes:
    """The CTE `counted` with each group's `counts`, and the CTE `latest` with its last rows and their ranks.

    The first columns of `reached.group` must be the keys that the rows point at.
    """
    first = reached.order()[0]
    heap = _heap_sql(reached, f"list_aggregate(max({first}, {reached.path.fanout}), 'min') AS since")
    keys = tuple(f"{counted}.{key}" for key in reached.group[: len(reached.keys)])
    visible = f"{reached.seen_by(counted)} AND {first} >= {counted}.since"
    wanted = replace(reached, source=counted, keys=keys, visible=visible)
    ranked = f"FROM (\n{indented(window_sql(wanted))}\n) ranked"
    cut = f"SELECT *\n{ranked}\nWHERE ranked.rank <= {reached.path.fanout}"
    return [
        Cte(counted, heap, "How many rows each group may see, and since when rows are wanted."),
        Cte(latest, cut, LATEST_ROWS),
    ]


def key_heap_ctes(reached: Reached, latest: str, counted: str) -> Ctes:
    """The same CTEs as `time_heap_ctes`, from a heap of keys."""
    fields = [f"k{i}: {column}" for i, column in enumerate(reached.row_key())]
    fields = [f"t: {time_sql(reached.table, 'r')}", *fields] if reached.table.time_column else fields
    heap = _heap_sql(reached, f"max({{{', '.join(fields)}}}, {reached.path.fanout}) AS top")
    names = ", ".join(reached.group)
    on = " AND ".join(f"{column} = top.key.k{i}" for i, column in enumerate(reached.row_key()))
    found = (
        f"SELECT {columns_of('top', reached.group)}, {reached.struct()} AS r, top.rank\n"
        f"FROM (SELECT {names}, unnest(top) AS key, unnest(range(1, len(top) + 1)) AS rank FROM {counted}) top\n"
        f"JOIN {reached.relation} r ON {on}{reached.seen_by('top')}"
    )
    return [
        Cte(counted, heap, "How many rows each group may see, and the keys of the latest ones."),
        Cte(latest, found, LATEST_ROWS),
    ]


def _heap_sql(reached: Reached, heap: str) -> str:
    """A query for a heap over the visible rows of each group, and their counts."""
    group, as_of = columns_of(reached.source, reached.group), f"{reached.source}.{reached.moments[0]}"
    return (
        f"SELECT {group}, {heap},\n"
        f"    {counts_sql(reached.path, reached.table, 'r', as_of)} AS counts\n"
        f"{reached.joined()}\n"
        f"GROUP BY {group}"
    )


def cut_ctes(reached: Reached, latest: str, counted: str) -> Ctes:
    """The CTEs of `time_heap_ctes`, preceded by two: all rows in order, and how many there are up to each time."""
    name, keys = reached.path.name, [f"key{i}" for i in range(len(reached.keys))]
    ordered, up_to = f"{name}__ordered", f"{name}__up_to"
    listed, timed = ", ".join(keys), reached.table.time_column is not None
    asked = ", ".join(f"{value} AS {key}" for value, key in zip(reached.keys, keys, strict=True))
    counts = _counts_at_ends_sql(reached, asked, keys, up_to) if timed else _counts_of_all_sql(reached, keys, up_to)
    onward = "".join(f"ordered.{ident('r.' + column)}, " for column in reached.onward)
    on = " AND ".join(f"ordered.{key} = last.{key}" for key in [*keys, "nth"])
    nths = f"unnest(range(greatest(counts.w0 - {reached.path.fanout}, 0) + 1, counts.w0 + 1)) AS nth"
    last = (
        f"SELECT {columns_of('last', reached.carried)}, ordered.r, {onward}last.counts.w0 - last.nth + 1 AS rank\n"
        f"FROM (SELECT *, {nths} FROM {counted}) last\n"
        f"JOIN {ordered} ordered ON {on}"
    )
    time, by = (", t", f"{listed}, t") if timed else ("", listed)
    rows_up_to = f"SELECT {listed}{time}, max(nth) AS rows\nFROM {ordered}\nGROUP BY {by}"
    return [
        Cte(ordered, _ordered_sql(reached, asked, keys), "All rows of each key, numbered from the oldest on."),
        Cte(up_to, rows_up_to, "How many rows each key has up to each moment."),
        Cte(counted, counts, "How many rows each group may see."),
        Cte(latest, last, LATEST_ROWS),
    ]


def _ordered_sql(reached: Reached, asked: str, keys: list[str]) -> str:
    """The rows that point at any of the keys, numbered per key from the oldest: nth = 1, 2, ..."""
    on = reached.points_at(f"asked.{key}" for key in keys)
    time, where = "", ""
    if reached.table.time_column:
        moment = time_sql(reached.table, "r")
        time, where = f", {moment} AS t", f"\nWHERE {known_time_sql(moment)}"
    part = columns_of("asked", keys)
    order = ", ".join(f"{term} ASC NULLS LAST" for term in reached.order())
    return (
        f"SELECT {part}{time}, {reached.struct()} AS r,\n"
        f"{reached.onward_sql()}"
        f"    row_number() OVER (PARTITION BY {part} ORDER BY {order}) AS nth\n"
        f"FROM (SELECT DISTINCT {asked} FROM {reached.source}) asked\n"
        f"JOIN {reached.relation} r ON {on}{where}"
    )


def _counts_at_ends_sql(reached: Reached, asked: str, keys: list[str], up_to: str) -> str:
    """Each group's counts: rows up to the end of its data; for a span, minus the rows up to where the span begins."""
    source, as_of, end = reached.source, reached.moments[0], reached.end
    begins = [f"{source}.{as_of} - to_seconds({_span_seconds(days)})" for days in reached.path.count_days]
    ends = indented(indented(",\n".join([f"{source}.{end}", *begins])))
    bounds = (
        f"SELECT {columns_of(source, reached.carried)}, {asked},\n"
        f"    unnest([\n{ends}\n    ]) AS until,\n"
        f"    unnest(range({1 + len(begins)})) AS bound\n"
        f"FROM {source}"
    )
    seen, *before = (f"max(up_to.rows) FILTER (WHERE bound = {i})" for i in range(1 + len(begins)))
    counts = [f"w0: {seen}"]
    # If the database lags, a span may begin after the end of the data; its count is then 0.
    counts += [f"w{i}: greatest({seen} - coalesce({rows}, 0), 0)" for i, rows in enumerate(before, start=1)]
    listed = ",\n        ".join(counts)
    carried = columns_of("bounds", [*reached.carried, *keys])
    on = " AND ".join([*(f"up_to.{key} = bounds.{key}" for key in keys), asof_visible_sql("bounds.until", "up_to.t")])
    return (
        f"SELECT {carried}, {{\n        {listed}\n    }} AS counts\n"
        f"FROM (\n{indented(bounds)}\n) bounds\n"
        f"ASOF JOIN {up_to} up_to ON {on}\n"
        f"GROUP BY {carried}\n"
        f"HAVING {seen} > 0"
    )


def _counts_of_all_sql(reached: Reached, keys: list[str], up_to: str) -> str:
    """Each group's counts in a table without a time column: all rows count."""
    on = " AND ".join(f"up_to.{key} = {value}" for key, value in zip(keys, reached.keys, strict=True))
    carried = f"{columns_of(reached.source, reached.carried)}, {columns_of('up_to', keys)}"
    return f"SELECT {carried}, {{w0: up_to.rows}} AS counts\nFROM {reached.source}\nJOIN {up_to} up_to ON {on}"


def counts_sql(path: Path, table: Table, row: str, as_of: str) -> str:
    """How many rows are visible, in total and within each of the path's spans before as_of, as a struct."""
    counts = ["count(*)"]
    if table.time_column:
        begins = (f"{as_of} - to_seconds({_span_seconds(days)})" for days in path.count_days)
        counts += [f"count(*) FILTER (WHERE {since_sql(time_sql(table, row), begin)})" for begin in begins]
    return "{" + ", ".join(f"w{i}: {count}" for i, count in enumerate(counts)) + "}"


def _span_seconds(days: float) -> int:
    return round(days * 86_400)


def struct_sql(table: Table, columns: Iterable[str]) -> str:
    """Columns of a row `r` as a struct."""
    return "{" + ", ".join(f"{ident(c)}: {_column(table, c)}" for c in columns) + "}"


def _column(table: Table, name: str) -> str:
    return "r.rowid" if not table.primary_key and not table.is_view and name == "rowid" else f"r.{ident(name)}"


def columns_of(source: str, columns: Iterable[str]) -> str:
    """Columns of one relation for a select list."""
    return ", ".join(f"{source}.{column}" for column in columns)
