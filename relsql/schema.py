"""The relational schema that relsql reads: tables, primary keys, time columns and links.

`read_schema` merges three sources, the later ones winning: DuckDB's own constraints, the rows of
`relsql.schema_tables` / `relsql.schema_links` (declared or confirmed by the user), and the arguments of
`Schema` methods in Python. Guessing keys where none are declared is `relsql.inference`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Literal

import duckdb

from relsql.errors import SchemaError, nearest
from relsql.sql import ident, qualified

RELSQL_SCHEMA = "relsql"
DEFAULT_SCHEMA = "main"

Origin = Literal["constraint", "declared", "inferred"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column and its DuckDB type as written by `duckdb_columns()`, for example `DECIMAL(18,3)`."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the user's database.

    `primary_key` is empty when there is none. Rows are visible to a seed when `time_column <= as_of`; a table
    without time column is always visible.
    """

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    time_column: str | None = None
    schema_name: str = DEFAULT_SCHEMA
    key_origin: Origin | None = None

    @property
    def key(self) -> str:
        """The name used in links, tasks and messages: `results`, or `staging.results` outside schema `main`."""
        return self.name if self.schema_name == DEFAULT_SCHEMA else f"{self.schema_name}.{self.name}"

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of all columns, in table order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return the column called `name`.

        Raises:
            SchemaError: there is no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise SchemaError(f"table '{self.key}' has no column '{name}'", expected=nearest(name, self.column_names))

    def sql(self, catalog: str | None = None) -> str:
        """The quoted, qualified name: `"f1"."main"."results"`."""
        return qualified(catalog, self.schema_name, self.name)


@dataclass(frozen=True, slots=True)
class Link:
    """A foreign key: `child_columns` of `child` hold keys of `parent`. Tables are named by `Table.key`."""

    child: str
    child_columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    origin: Origin = "declared"

    def __str__(self) -> str:
        return f"{self.child}({', '.join(self.child_columns)}) -> {self.parent}({', '.join(self.parent_columns)})"

    def same_columns(self, other: Link) -> bool:
        """True if both describe the same foreign key, wherever it is known from."""
        mine = (self.child, self.child_columns, self.parent, self.parent_columns)
        return mine == (other.child, other.child_columns, other.parent, other.parent_columns)


@dataclass(frozen=True, slots=True)
class Schema:
    """Tables by `Table.key`, and the links between them."""

    tables: dict[str, Table]
    links: tuple[Link, ...] = field(default=())

    def table(self, name: str) -> Table:
        """Return the table called `name`.

        Raises:
            SchemaError: there is no such table.
        """
        try:
            return self.tables[name]
        except KeyError:
            raise SchemaError(
                f"table '{name}' does not exist", expected=nearest(name, self.tables), fix="relsql inspect FILE"
            ) from None

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

    def without_columns(self, removed: tuple[tuple[str, str], ...]) -> Schema:
        """A schema that hides the (table, column) pairs in `removed`, for tasks that must not see them."""
        hidden = set(removed)
        tables = {}
        for key, table in self.tables.items():
            gone = {column for name, column in hidden if name == key}
            tables[key] = replace(
                table,
                columns=tuple(c for c in table.columns if c.name not in gone),
                primary_key=() if gone & {*table.primary_key} else table.primary_key,
                time_column=None if table.time_column in gone else table.time_column,
            )
        links = tuple(
            link
            for link in self.links
            if not any((link.child, c) in hidden for c in link.child_columns)
            and not any((link.parent, c) in hidden for c in link.parent_columns)
        )
        return replace(self, tables=tables, links=links)

    def fingerprint(self, tables: tuple[str, ...] | None = None) -> str:
        """SHA-256 over names, types, keys, time columns and links of `tables` (default: all)."""
        chosen = sorted(self.tables if tables is None else tables)
        digest = hashlib.sha256()
        for key in chosen:
            table = self.tables[key]
            columns = ",".join(f"{c.name}:{c.type}" for c in sorted(table.columns, key=lambda c: c.name))
            digest.update(f"{key}|{columns}|{table.primary_key}|{table.time_column}\n".encode())
        for link in sorted(str(link) for link in self.links if link.child in chosen and link.parent in chosen):
            digest.update(link.encode() + b"\n")
        return digest.hexdigest()


def read_schema(con: duckdb.DuckDBPyConnection, catalog: str | None = None) -> Schema:
    """Read tables, constraints and relsql's own declarations of one attached database.

    Args:
        con: an open connection; nothing is written.
        catalog: name of the attached database; default: the connection's current one.

    Tables in schema `relsql`, in DuckDB's internal schemas and temporary tables are left out; views too.
    """
    catalog = catalog or current_catalog(con)
    tables = _read_tables(con, catalog)
    keys, links = _read_constraints(con, catalog)
    for key, columns in keys.items():
        if key in tables:
            tables[key] = replace(tables[key], primary_key=columns, key_origin="constraint")
    declared_tables, declared_links, removed_links = read_declarations(con, catalog)
    for key, (primary_key, time_column, origin) in declared_tables.items():
        if key in tables:
            table = tables[key]
            if primary_key:
                table = replace(table, primary_key=primary_key, key_origin=origin)
            tables[key] = replace(table, time_column=time_column or None)
    merged = [link for link in links if not any(link.same_columns(other) for other in removed_links)]
    merged += [link for link in declared_links if not any(link.same_columns(other) for other in merged)]
    known = tuple(link for link in merged if link.child in tables and link.parent in tables)
    return Schema(tables, known)


def current_catalog(con: duckdb.DuckDBPyConnection) -> str:
    """Name of the connection's current database."""
    # Fetching all rows ends the query; after fetchone() the connection would stay busy.
    [(name,)] = con.execute("SELECT current_database()").fetchall()
    return str(name)


def table_key(schema_name: str, table_name: str) -> str:
    """The `Table.key` of a table in a DuckDB schema."""
    return table_name if schema_name == DEFAULT_SCHEMA else f"{schema_name}.{table_name}"


def has_relsql_table(con: duckdb.DuckDBPyConnection, catalog: str, name: str) -> bool:
    """True if `relsql.<name>` exists in the database `catalog`."""
    return has_table(con, catalog, RELSQL_SCHEMA, name)


def has_table(con: duckdb.DuckDBPyConnection, catalog: str, schema_name: str, name: str) -> bool:
    """True if the table exists in the database `catalog`."""
    query = "SELECT count(*) FROM duckdb_tables() WHERE database_name = ? AND schema_name = ? AND table_name = ?"
    [(count,)] = con.execute(query, [catalog, schema_name, name]).fetchall()
    return bool(count)


def _read_tables(con: duckdb.DuckDBPyConnection, catalog: str) -> dict[str, Table]:
    rows = con.execute(
        """
        SELECT c.schema_name, c.table_name, list(c.column_name ORDER BY c.column_index),
               list(c.data_type ORDER BY c.column_index)
        FROM duckdb_columns() c
        JOIN duckdb_tables() t ON (t.database_name, t.schema_name, t.table_name)
                                = (c.database_name, c.schema_name, c.table_name)
        WHERE c.database_name = ? AND c.schema_name <> ? AND NOT t.internal AND NOT t.temporary
        GROUP BY ALL ORDER BY ALL
        """,
        [catalog, RELSQL_SCHEMA],
    ).fetchall()
    tables = {}
    for schema_name, name, columns, types in rows:
        parsed = tuple(Column(c, t) for c, t in zip(columns, types, strict=True))
        tables[table_key(schema_name, name)] = Table(name, parsed, schema_name=schema_name)
    return tables


def _read_constraints(
    con: duckdb.DuckDBPyConnection, catalog: str
) -> tuple[dict[str, tuple[str, ...]], tuple[Link, ...]]:
    rows = con.execute(
        """
        SELECT schema_name, table_name, constraint_type, constraint_column_names, referenced_table,
               referenced_column_names
        FROM duckdb_constraints()
        WHERE database_name = ? AND constraint_type IN ('PRIMARY KEY', 'FOREIGN KEY')
        ORDER BY schema_name, table_name, constraint_index
        """,
        [catalog],
    ).fetchall()
    keys: dict[str, tuple[str, ...]] = {}
    links: list[Link] = []
    for schema_name, name, kind, columns, parent, parent_columns in rows:
        child = table_key(schema_name, name)
        if kind == "PRIMARY KEY":
            keys[child] = tuple(columns)
        else:
            # DuckDB allows foreign keys only within one schema.
            parent_key = table_key(schema_name, parent)
            links.append(Link(child, tuple(columns), parent_key, tuple(parent_columns), "constraint"))
    return keys, tuple(links)


def read_declarations(
    con: duckdb.DuckDBPyConnection, catalog: str
) -> tuple[dict[str, tuple[tuple[str, ...], str | None, Origin]], tuple[Link, ...], tuple[Link, ...]]:
    """Read `relsql.schema_tables` and `relsql.schema_links`.

    Returns:
        Declared (primary key, time column, origin) by table, links that hold, links that the user removed.
    """
    tables: dict[str, tuple[tuple[str, ...], str | None, Origin]] = {}
    links: list[Link] = []
    removed: list[Link] = []
    prefix = f"{ident(catalog)}.{RELSQL_SCHEMA}"
    if has_relsql_table(con, catalog, "schema_tables"):
        query = f"SELECT table_name, primary_key, time_column, origin FROM {prefix}.schema_tables"
        for name, primary_key, time_column, origin in con.execute(query).fetchall():
            _require_names("schema_tables", "table_name", [name, *(primary_key or ())])
            tables[name] = (tuple(primary_key or ()), time_column, origin)
    if has_relsql_table(con, catalog, "schema_links"):
        query = f"""SELECT child_table, child_columns, parent_table, parent_columns, origin, removed
                    FROM {prefix}.schema_links ORDER BY ALL"""
        for child, child_columns, parent, parent_columns, origin, is_removed in con.execute(query).fetchall():
            names = [child, parent, *(child_columns or [None]), *(parent_columns or [None])]
            _require_names("schema_links", "child_table", names)
            link = Link(child, tuple(child_columns), parent, tuple(parent_columns), origin)
            (removed if is_removed else links).append(link)
    return tables, tuple(links), tuple(removed)


def _require_names(table: str, key: str, names: list[str | None]) -> None:
    """Raise SchemaError if a declaration was damaged: a name in it is gone."""
    if None in names:
        known = next((name for name in names if name), None)
        condition = f"{key} = '{known}'" if names[0] else f"{key} IS NULL"
        raise SchemaError(
            f"relsql.{table} has a row {f'of {known} ' if known else ''}that lacks a name",
            expected="a table and its columns",
            fix=f"DELETE FROM relsql.{table} WHERE {condition}, then relsql init FILE",
        )
