"""The relational schema that relsql reads: tables, primary keys, time columns and links.

`read_schema` merges two sources, of which the second takes precedence: DuckDB's own constraints, and the rows of
`relsql.schema_tables` / `relsql.schema_links`, which the user has declared or confirmed.
`relsql.schema.discovery.propose` infers keys that are not declared.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Literal

from relsql.database.names import DEFAULT_SCHEMA, fold, split_name, stored_name
from relsql.errors import DatabaseError, SchemaError, nearest
from relsql.schema.picture import schema_html
from relsql.sql_text import ident, qualified

_ARRAY = re.compile(r"\[\d+\]")

Origin = Literal["constraint", "declared", "inferred"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column and its DuckDB type as written by `duckdb_columns()`, for example `DECIMAL(18,3)`.

    A `computed` column is not stored in the table: `relsql.schema.relations` adds it when rows are read.
    """

    name: str
    type: str
    computed: bool = False

    @property
    def holds_array(self) -> bool:
        """True if the type is an ARRAY (`FLOAT[3]`) or contains one, as `STRUCT(place FLOAT[3])` does."""
        return _ARRAY.search(self.type) is not None


@dataclass(frozen=True, slots=True)
class RowTime:
    """How the time of a row is computed, if it is not simply the value of one of its columns.

    Attributes:
        text: the declaration as the user writes it: `orders.order_date`, or `strptime(day, '%d.%m.%Y')`.
        expression: a sealed TIMESTAMP expression over the table's row, called `stored`; empty if the row has the time
            of its header.
        header: the table of the row that a row belongs to, such as the order of an order line.
        link: the foreign key to that table.
        known: a sealed TIMESTAMP expression over `stored`: when the row became known; empty if it is known at its time.
    """

    text: str
    expression: str = ""
    header: Table | None = None
    link: Link | None = None
    known: str = ""


@dataclass(frozen=True, slots=True)
class EventRange:
    """The range of a table's event times. Both ends are exclusive; None means no limit. Times outside are sentinels."""

    after: datetime.datetime | None = None
    before: datetime.datetime | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view of the user's database.

    `primary_key` is empty when there is none. Rows are visible to a seed when `time_column <= as_of`; a table
    without time column is always visible. If `row_time` is set, the time column is computed from it. A view has no
    `rowid` by which DuckDB identifies its rows. Times outside of `events` do not count as events, see
    `relsql.schema.times.sentinels`; `events` is None until sentinels have been searched for. If `values_of` is set, the
    table is not stored: its rows are the distinct values of these columns. Each value has the time of the first row
    that contains it.
    """

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    time_column: str | None = None
    schema_name: str = DEFAULT_SCHEMA
    key_origin: Origin | None = None
    row_time: RowTime | None = None
    is_view: bool = False
    events: EventRange | None = None
    values_of: tuple[ColumnValues, ...] = ()

    @property
    def key(self) -> str:
        """The name used in links, tasks and messages: `results`, or `staging.results` outside schema `main`."""
        return self.name if self.schema_name == DEFAULT_SCHEMA else f"{self.schema_name}.{self.name}"

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of all columns, in table order."""
        return tuple(column.name for column in self.columns)

    @property
    def stored_names(self) -> tuple[str, ...]:
        """Names of the columns that the table itself has, without computed ones."""
        return tuple(column.name for column in self.columns if not column.computed)

    @property
    def time_text(self) -> str | None:
        """The time column as it was declared; None if the table has no time."""
        return self.row_time.text if self.row_time else self.time_column

    def column(self, name: str) -> Column:
        """Return the column that `name` refers to, in upper or lower case.

        Raises:
            SchemaError: there is no such column.
        """
        found = stored_name(name, self.column_names)
        if found is None:
            raise SchemaError(f"table '{self.key}' has no column '{name}'", expected=nearest(name, self.column_names))
        return next(column for column in self.columns if column.name == found)

    def sql(self, catalog: str | None = None) -> str:
        """The quoted, qualified name: `"f1"."main"."results"`. Rows are read from `relation_sql` instead."""
        return qualified(catalog, self.schema_name, self.name)


@dataclass(frozen=True, slots=True)
class ColumnValues:
    """The values of one column of a table."""

    table: Table
    column: str


@dataclass(frozen=True, slots=True)
class Link:
    """A foreign key: `child_columns` of `child` hold keys of `parent`. Tables are named by `Table.key`."""

    child: str
    child_columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    origin: Origin = "declared"

    def __str__(self) -> str:
        parent = f"{self.parent}({', '.join(self.parent_columns)})" if self.parent_columns else self.parent
        return f"{self.child}({', '.join(self.child_columns)}) -> {parent}"

    def on_sql(self, child: str, parent: str) -> str:
        """The condition that a row of the child points at a row of the parent; both are aliases in the query."""
        pairs = zip(self.child_columns, self.parent_columns, strict=True)
        return " AND ".join(f"{child}.{ident(mine)} = {parent}.{ident(theirs)}" for mine, theirs in pairs)

    def same_columns(self, other: Link) -> bool:
        """True if both describe the same foreign key, whatever their origin, order of columns and case of letters."""
        return self._pairs() == other._pairs()

    def is_part_of(self, other: Link) -> bool:
        """True if `other` joins the same tables by these columns and at least one more."""
        mine, theirs = self._pairs(), other._pairs()
        return mine[:2] == theirs[:2] and {*mine[2]} < {*theirs[2]}

    def _pairs(self) -> tuple[str, str, list[tuple[str, str]]]:
        pairs = zip_longest(map(fold, self.child_columns), map(fold, self.parent_columns), fillvalue="")
        return fold(self.child), fold(self.parent), sorted(pairs)


@dataclass(frozen=True, slots=True)
class Schema:
    """Tables by `Table.key`, and the links between them."""

    tables: dict[str, Table]
    links: tuple[Link, ...] = field(default=())

    def _repr_html_(self) -> str:
        """The picture of the schema in a notebook."""
        return schema_html(self)

    def find(self, name: str) -> Table | None:
        """Return the table that `name` refers to; `name` is its key or another spelling, such as `Main."Results"`."""
        if name in self.tables:
            return self.tables[name]
        key = stored_name(name, self.tables) or stored_name(_key_of(name), self.tables)
        return None if key is None else self.tables[key]

    def table(self, name: str) -> Table:
        """Return the table that `name` refers to, see `find`.

        Raises:
            SchemaError: there is no such table.
        """
        found = self.find(name)
        if found is None:
            raise SchemaError(
                f"table '{name}' does not exist", expected=nearest(name, self.tables), fix="relsql inspect FILE"
            )
        return found

    def links_to(self, table: str) -> tuple[Link, ...]:
        """Links whose parent is `table`: its children point at it."""
        return tuple(link for link in self.links if link.parent == table)

    def links_from(self, table: str) -> tuple[Link, ...]:
        """Links whose child is `table`: it points at its parents."""
        return tuple(link for link in self.links if link.child == table)

    @property
    def timed_tables(self) -> tuple[Table, ...]:
        """Tables that have a time column."""
        return tuple(table for table in self.tables.values() if table.time_column)

    def read_for(self, tables: Iterable[str]) -> Schema:
        """The part of the schema that is read for some tables: these, their headers, and the tables of their values."""
        found, waiting = set[str](), list(tables)
        while waiting:
            table = self.table(waiting.pop())
            if table.key not in found:
                found.add(table.key)
                waiting += [each.table.key for each in table.values_of]
                waiting += [table.row_time.header.key] if table.row_time and table.row_time.header else []
        return replace(self, tables={key: self.tables[key] for key in sorted(found)})

    def without_columns(self, removed: tuple[tuple[str, str], ...]) -> Schema:
        """A schema that hides the (table, column) pairs in `removed`, for tasks that must not see them.

        Pairs that do not exist are ignored here; `Task.resolved` refuses them.
        """
        hidden = set(self._stored_columns(removed))
        tables = {}
        for key, table in self.tables.items():
            gone = {column for name, column in hidden if name == key}
            tables[key] = replace(
                table,
                columns=tuple(c for c in table.columns if c.name not in gone),
                primary_key=() if gone & {*table.primary_key} else table.primary_key,
                time_column=None if table.time_column in gone else table.time_column,
                row_time=None if table.time_column in gone else table.row_time,
            )
        links = tuple(
            link
            for link in self.links
            if not any((link.child, c) in hidden for c in link.child_columns)
            and not any((link.parent, c) in hidden for c in link.parent_columns)
        )
        return replace(self, tables=tables, links=links)

    def _stored_columns(self, named: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, str]]:
        """The (table, column) pairs that exist, spelled as they are stored."""
        for name, column in named:
            table = self.find(name)
            found = table and stored_name(column, table.column_names)
            if table and found:
                yield table.key, found

    def fingerprint(self, tables: tuple[str, ...] | None = None) -> str:
        """SHA-256 over names, types, keys, time columns and links of `tables` (default: all)."""
        chosen = sorted(self.tables if tables is None else tables)
        digest = hashlib.sha256()
        for key in chosen:
            table = self.tables[key]
            columns = ",".join(f"{c.name}:{c.type}" for c in sorted(table.columns, key=lambda c: c.name))
            digest.update(f"{key}|{columns}|{table.primary_key}|{table.time_column}\n".encode())
            if table.values_of:
                digest.update(f"{[(each.table.key, each.column) for each in table.values_of]}\n".encode())
            if table.row_time:
                digest.update(f"{table.row_time}\n".encode())
        for link in sorted(str(link) for link in self.links if link.child in chosen and link.parent in chosen):
            digest.update(link.encode() + b"\n")
        return digest.hexdigest()


def table_key(schema_name: str, table_name: str) -> str:
    """The `Table.key` of a table in a DuckDB schema."""
    return table_name if schema_name == DEFAULT_SCHEMA else f"{schema_name}.{table_name}"


def used_schema(schema: Schema, tables: Sequence[str], columns: Mapping[str, Sequence[str]]) -> Schema:
    """The part of a schema that a model reads: the given tables with their keys, times, link and input columns."""
    chosen = {}
    links = tuple(link for link in schema.links if link.child in tables and link.parent in tables)
    for key in tables:
        table = schema.table(key)
        needed = {*table.primary_key, table.time_column, *columns.get(key, ())}
        needed |= {c for link in links if link.child == key for c in link.child_columns}
        needed |= {c for link in links if link.parent == key for c in link.parent_columns}
        # A view without a key is ordered by all its columns, because it has no rowid either.
        needed |= set(table.column_names) if table.is_view and not table.primary_key else set()
        chosen[key] = replace(table, columns=tuple(c for c in table.columns if c.name in needed))
    return Schema(chosen, links)


def _key_of(text: str) -> str:
    """The `Table.key` of a qualified name, quoted or not."""
    try:
        *outside, name = split_name(text)
    except DatabaseError:
        return text
    if len(outside) > 1:
        return text  # A schema does not know the name of its database.
    schema_name = outside[-1] if outside else DEFAULT_SCHEMA
    return table_key(DEFAULT_SCHEMA if fold(schema_name) == DEFAULT_SCHEMA else schema_name, name)
