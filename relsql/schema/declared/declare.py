"""Declare the primary keys, time columns and links that DuckDB's constraints lack, each checked against the data first.

A declaration is a row of `relsql.schema_tables` or `relsql.schema_links`; the user's tables are not changed. The
functions that write expect the caller to own the transaction (`relsql.database.connections.transaction`), so that
several declarations are stored together or not at all.
"""

from __future__ import annotations

from dataclasses import replace

import duckdb

from relsql.database.connections import require_writable
from relsql.database.names import stored_name
from relsql.database.relsql_tables import ensure_table
from relsql.errors import SchemaError, nearest
from relsql.hints import command
from relsql.schema.checks import LinkCounts, check_link, check_primary_key, link_counts
from relsql.schema.declared.text import columns_text
from relsql.schema.discovery.names import words
from relsql.schema.reading import DeclaredTable, declared_times, read_declarations, read_schema
from relsql.schema.tables import Link, Origin, Schema, Table
from relsql.schema.times.readings import find_reading
from relsql.schema.times.row_times import DeclaredTime, RowTimes, without_row_times
from relsql.schema.types import TIME_TYPES

_SCHEMA_TABLE_ROW = "? AS table_name, ? AS primary_key, ? AS time_column, ? AS origin, ? AS known_column"


def declare_table(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    table_key: str,
    *,
    primary_key: tuple[str, ...] | None = None,
    time_column: str | None = None,
    known_column: str | None = None,
    origin: Origin = "declared",
) -> None:
    """Store a table's primary key, its time column, or both. The caller owns the transaction.

    Args:
        con: a connection that may write to `catalog`.
        catalog: name of the attached database.
        table_key: the table's `Table.key`, or any other way to write its name.
        primary_key: the key columns; None keeps what is stored, `()` stores that the table has no key.
        time_column: the time in one of the forms of `relsql.schema.times.row_times`; None keeps what is stored,
            `NO_TIME_COLUMN` stores that the table has none.
        known_column: the column or expression that says when a row became known; None keeps what is stored, an empty
            text removes it.
        origin: the source of the declaration.

    Raises:
        SchemaError: the table or a column does not exist, the key is not unique or has NULLs, or the time is neither a
            DATE nor a TIMESTAMP.
        DatabaseError: the database is read-only.
    """
    schema = read_schema(con, catalog, (table_key,))
    table = schema.table(table_key)
    table_key = table.key
    if primary_key:
        primary_key = tuple(table.column(name).name for name in primary_key)
        check_primary_key(con, catalog, table, primary_key)
    declared = read_declarations(con, catalog)[0]
    stored = declared.get(table_key, DeclaredTable((), DeclaredTime(None), origin))
    key = stored.primary_key if primary_key is None else primary_key
    time = stored.time.time if time_column is None else time_column
    known = stored.time.known if known_column is None else known_column
    if time_column:
        time_column = time = _with_reading(con, catalog, table, time_column)
    if known_column:
        known_column = known = _with_reading(con, catalog, table, known_column)
    if time_column or known_column:
        times = declared_times(schema, declared) | {table_key: DeclaredTime(time, known or None)}
        timed = RowTimes(con, catalog, without_row_times(schema), times).table(table_key)
        # A column is stored as the table spells it.
        time = timed.time_column if timed.row_time is None else time
    require_writable(con, catalog, "declaring a table")
    target = ensure_table(con, catalog, "schema_tables")
    con.execute(f"DELETE FROM {target} WHERE table_name = ?", [table_key])
    values = [table_key, list(key), time, origin, known or None]
    con.execute(f"INSERT INTO {target} BY NAME SELECT {_SCHEMA_TABLE_ROW}", values)


def _with_reading(con: duckdb.DuckDBPyConnection, catalog: str, table: Table, time: str) -> str:
    """A declared time; a column that is neither DATE nor TIMESTAMP becomes an expression that reads its values."""
    name = stored_name(time, table.stored_names)
    if name is None or table.column(name).type in TIME_TYPES:
        return time
    found = find_reading(con, catalog, table, table.column(name), frozenset((*words(name), "time")))
    return found.expression if found else time


def declare_link(con: duckdb.DuckDBPyConnection, catalog: str, link: Link) -> LinkCounts:
    """Store a link, or restore a removed one. The caller owns the transaction.

    Empty `parent_columns` mean the parent's primary key. Dangling keys are allowed.

    Returns:
        The counts of NULL and dangling keys.

    Raises:
        SchemaError: a table or column does not exist, types differ, or the parent columns are not unique.
        DatabaseError: the database is read-only.
    """
    schema = read_schema(con, catalog, (link.child, link.parent))
    link = resolve_link(schema, link)
    check_link(con, catalog, schema, link)
    counts = link_counts(con, catalog, schema, link)
    require_writable(con, catalog, "declaring a link")
    _delete_link(con, catalog, link)
    # A link from a constraint needs no row: it is valid again once the row that removed it is deleted.
    if not any(link.same_columns(other) for other in read_schema(con, catalog).links):
        _insert_link(con, catalog, link, removed=False)
    return counts


def remove_link(con: duckdb.DuckDBPyConnection, catalog: str, link: Link) -> None:
    """Delete a declared link; a link from a constraint or from inference is stored as removed, so that it stays away.

    The caller owns the transaction.

    Raises:
        SchemaError: the link does not exist.
        DatabaseError: the database is read-only.
    """
    schema = read_schema(con, catalog)
    link = resolve_link(schema, link)
    found = next((other for other in schema.links if link.same_columns(other)), None)
    if found is None:
        raise SchemaError(f"link '{link}' does not exist", expected=nearest(str(link), map(str, schema.links)))
    require_writable(con, catalog, "removing a link")
    _delete_link(con, catalog, found)
    if found.origin != "declared":
        _insert_link(con, catalog, found, removed=True)


def _delete_link(con: duckdb.DuckDBPyConnection, catalog: str, link: Link) -> None:
    """Delete a link as it is stored: in any order of its columns, and however its names are spelled."""
    target = ensure_table(con, catalog, "schema_links")
    _, valid, removed = read_declarations(con, catalog)
    for stored in (*valid, *removed):
        if link.same_columns(stored):
            con.execute(
                f"""DELETE FROM {target}
                    WHERE child_table = ? AND child_columns = ? AND parent_table = ? AND parent_columns = ?""",
                [stored.child, list(stored.child_columns), stored.parent, list(stored.parent_columns)],
            )


def _insert_link(con: duckdb.DuckDBPyConnection, catalog: str, link: Link, *, removed: bool) -> None:
    values = [link.child, list(link.child_columns), link.parent, list(link.parent_columns), link.origin, removed]
    con.execute(f"INSERT INTO {ensure_table(con, catalog, 'schema_links')} VALUES (?, ?, ?, ?, ?, ?)", values)


def resolve_link(schema: Schema, link: Link) -> Link:
    """Spell a link as the schema does, and fill empty `parent_columns` with the parent's primary key.

    Raises:
        SchemaError: a table or column does not exist, or the parent has no primary key.
    """
    child, parent = schema.table(link.child), schema.table(link.parent)
    mine = tuple(child.column(name).name for name in link.child_columns)
    theirs = tuple(parent.column(name).name for name in link.parent_columns)
    link = replace(link, child=child.key, child_columns=mine, parent=parent.key, parent_columns=theirs)
    if link.parent_columns:
        return link
    if not parent.primary_key:
        raise SchemaError(
            f"table '{link.parent}' has no primary key",
            expected=f"the parent columns, as in '{link.child}({', '.join(link.child_columns)}) -> {link.parent}(id)'",
            fix=command("init", "FILE", "--primary-key", columns_text(parent.key, "COLUMN")),
        )
    return replace(link, parent_columns=parent.primary_key)
