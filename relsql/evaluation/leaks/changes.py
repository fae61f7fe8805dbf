"""Copies of a database in which the rows after a moment are deleted, garbled or emptied.

The original decides which rows are later. A copy is built by one query per table, so the user's data are never
changed, and a change of one table cannot move the times of another.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import duckdb

from relsql.database.queries.sealed import sealed
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Column, Schema, Table
from relsql.schema.types import is_number
from relsql.schema.visibility import visible_sql
from relsql.sql_text import Cte, ident, literal, with_ctes
from relsql.tasks.labels.frozen_database import database_copy

How = Literal["deleted", "garbled", "emptied"]

_PLACE, _ROWS = ident("place among the later rows"), ident("number of later rows")
_ORDER = ident("order of the row")


@dataclass(frozen=True, slots=True)
class Kept:
    """Which rows of a table stay as they are.

    Attributes:
        table: the table, perhaps with another time than the declared one.
        condition: over a row `r`; never NULL.
        emptied: the columns that become NULL in the other rows, if the change empties them.
    """

    table: Table
    condition: str
    emptied: tuple[str, ...] = ()

    @classmethod
    def until(cls, table: Table, moment: datetime.datetime, *, unknown: bool = False) -> Kept:
        """Keep the rows up to a moment, inclusive; with `unknown` also rows whose time is not known."""
        return cls(table, f"coalesce({visible_sql(table, 'r', literal(moment))}, {literal(unknown)})")


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the rows outside `kept`, by `Table.key`; tables that are not in it are copied as they are."""

    how: How
    kept: Mapping[str, Kept]

    def of(self, key: str) -> Change:
        """The same change of one table only."""
        return Change(self.how, {key: self.kept[key]})


UNCHANGED = Change("deleted", {})


@contextmanager
def changed_database(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, change: Change) -> Iterator[str]:
    """Attach a copy of a database with a change, in memory, during the block; yields its name."""

    def rows(table: Table) -> str:
        kept = change.kept.get(table.key, Kept(table, "true"))
        return sealed(_rows_sql(catalog, schema, table, kept, change.how))

    with database_copy(con, schema.tables.values(), rows) as name:
        yield name


def _rows_sql(catalog: str, schema: Schema, table: Table, kept: Kept, how: How) -> str:
    source = f"{relation_sql(kept.table, catalog)} r"
    names = [ident(name) for name in table.stored_names]
    # Rows without a key are identified by their order in the table, which has to stay the same.
    keyed = table.primary_key or table.is_view or table.values_of
    if how == "garbled" and kept.condition != "true":
        return _garbled_sql(schema, table, kept, source, "NULL" if keyed else "r.rowid")
    cells = [f"r.{name}" for name in names]
    if how == "emptied":
        emptied = {ident(name) for name in kept.emptied}
        cells = [
            f"CASE WHEN {kept.condition} THEN r.{name} END AS {name}" if name in emptied else f"r.{name}"
            for name in names
        ]
    where = f" WHERE {kept.condition}" if how == "deleted" else ""
    return f"SELECT {', '.join(cells)} FROM {source}{where}{'' if keyed else ' ORDER BY r.rowid ASC'}"


def _garbled_sql(schema: Schema, table: Table, kept: Kept, source: str, order: str) -> str:
    """Rows that are kept, and later rows whose values are changed and whose foreign keys point elsewhere.

    Keys and times stay: a later row that took the key or the time of another would no longer be later.
    """
    fixed, links = _fixed_columns(schema, table), _link_columns(schema, table)
    names = [ident(name) for name in table.stored_names]
    columns = ", ".join(f"r.{name}" for name in names)
    place = f"row_number() OVER (ORDER BY hash({columns}) ASC, {columns}) - 1"
    later = f"SELECT {columns}, {order} AS {_ORDER}, {place} AS {_PLACE}, count(*) OVER () AS {_ROWS}"
    cells = []
    for column in table.columns:
        name = ident(column.name)
        if column.name not in table.stored_names:
            continue
        if column.name in fixed:
            cells.append(f"a.{name}")
        elif column.name in links:
            cells.append(f"c.{name}")
        else:
            cells.append(f"{_other_value(column, f'b.{name}')} AS {name}")
    joins = "".join(
        f" JOIN later {alias} ON {alias}.{_PLACE} = (a.{_PLACE} + {shift}) % a.{_ROWS}"
        for alias, shift in (("b", 1), ("c", 2))
    )
    ctes = [
        Cte("kept", f"SELECT {columns}, {order} AS {_ORDER} FROM {source} WHERE {kept.condition}", "Stay as they are."),
        Cte("later", f"{later} FROM {source} WHERE NOT {kept.condition}", "Are numbered in an order without meaning."),
        Cte(
            "garbled",
            f"SELECT {', '.join(cells)}, a.{_ORDER} FROM later a{joins}",
            "Have the values of one row, changed, and the foreign keys of another.",
        ),
    ]
    return with_ctes(
        ctes,
        f"SELECT {', '.join(names)} FROM (FROM kept UNION ALL FROM garbled) ORDER BY {_ORDER} ASC NULLS LAST",
        materialized=("later",),
    )


def _fixed_columns(schema: Schema, table: Table) -> set[str]:
    """Keys, and all columns from which the time of a row is computed."""
    fixed = {*table.primary_key, table.time_column or ""}
    fixed |= {name for link in schema.links_to(table.key) for name in link.parent_columns}
    if table.row_time:
        fixed |= set(table.row_time.link.child_columns) if table.row_time.link else set()
        written = table.row_time.expression + table.row_time.known
        fixed |= {name for name in table.stored_names if ident(name) in written}
    for other in schema.tables.values():
        if other.row_time and other.row_time.header and other.row_time.header.key == table.key:
            fixed |= set(other.row_time.header.stored_names)
        fixed |= {each.column for each in other.values_of if each.table.key == table.key}
    return fixed


def _link_columns(schema: Schema, table: Table) -> set[str]:
    return {name for link in schema.links_from(table.key) for name in link.child_columns}


def _other_value(column: Column, value: str) -> str:
    """Another value of the same type; for types without an obvious one the value itself, from another row."""
    if column.type == "BOOLEAN":
        return f"NOT {value}"
    if column.type == "VARCHAR":
        return f"concat(reverse({value}), ' garbled')"
    if is_number(column.type):
        return f"coalesce(TRY_CAST(TRY(-3 * CAST({value} AS DOUBLE) - 7) AS {column.type}), {value})"
    return value
