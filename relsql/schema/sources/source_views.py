"""Which views are read as tables: those that bring in data, not those that report on the tables of the same database.

A view over files or over another database is the only way to its rows, so it is read. If the connection has no access
to other files, a view is read only if its files are allowed (`relsql.database.sources.external_access`). Those that a
view names are allowed, except in `relsql inspect`. On such a connection, a view that reads no files is read only if the
functions that it calls are DuckDB's own and their results depend on nothing but their arguments: it must not call a
macro of the file, or a function that reveals something about the machine. A view over tables of its own database
repeats their rows, often summed up over all time, which would leak the future. It is read only if something is declared
about it.
"""

from __future__ import annotations

from collections.abc import Collection

import duckdb

from relsql.database.names import fold
from relsql.database.queries.row_expressions import pure_functions
from relsql.database.queries.syntax_tree import Tree, nodes
from relsql.database.relsql_schema import in_schema_sql
from relsql.database.sources.external_access import absolute_file, allowed_files, has_external_access
from relsql.database.sources.view_files import reader_files, scanned_files, view_tree
from relsql.schema.tables import table_key

_MAKE_ROWS = frozenset(("range", "generate_series", "unnest"))
"""Table functions that read nothing."""

Views = dict[tuple[str, str], str]
"""The definition of each view, by schema and name."""


def read_views(con: duckdb.DuckDBPyConnection, catalog: str, without: str | None) -> Views:
    """All views of a database except those in one schema, which is relsql's own."""
    others = "true" if without is None else f"NOT {in_schema_sql(without)}"
    query = f"""SELECT schema_name, view_name, sql FROM system.main.duckdb_views()
                WHERE database_name = ? AND NOT internal AND NOT temporary AND {others}
                ORDER BY schema_name ASC, view_name ASC"""
    rows = con.execute(query, [catalog]).fetchall()
    return {(schema_name, name): sql for schema_name, name, sql in rows}


def source_views(
    catalog: str,
    views: Views,
    tables: Collection[str],
    declared: Collection[str],
    *,
    allowed: Collection[str] | None,
    macros: Collection[str],
) -> set[tuple[str, str]]:
    """The views to read as tables, as (schema, name).

    Args:
        catalog: the database that holds the views.
        views: its views.
        tables: the keys of its tables.
        declared: names of tables about which something is declared.
        allowed: the files that the connection may read (`readable_files`).
        macros: the names of functions that are not DuckDB's (`user_functions`).
    """
    named = {fold(name) for name in declared}
    own = {fold(key) for key in tables} | {fold(table_key(*name)) for name in views}
    found = set()
    for name, sql in views.items():
        tree = view_tree(sql)
        wanted = fold(table_key(*name)) in named or _brings_data(tree, catalog, own)
        if wanted and (allowed is None or _may_be_read(tree, own, allowed, macros)):
            found.add(name)
    return found


def readable_files(con: duckdb.DuckDBPyConnection) -> Collection[str] | None:
    """The files that a connection may read besides its databases; None if it may read any."""
    return None if has_external_access(con) else allowed_files(con)


def user_functions(con: duckdb.DuckDBPyConnection) -> Collection[str]:
    """The names of functions that are not DuckDB's own, such as macros; a call by such a name may mean them."""
    query = "SELECT DISTINCT function_name FROM system.main.duckdb_functions() WHERE NOT internal"
    return frozenset(fold(name) for (name,) in con.execute(query).fetchall())


def reads_files(sql: str) -> bool:
    """True if the definition of a view names files, or calls a function that may read them."""
    tree = view_tree(sql)
    return tree is None or bool(_table_calls(tree)) or any(map(scanned_files, nodes(tree)))


def _table_calls(tree: Tree) -> list[Tree]:
    """The calls of table functions, except those that make rows of their arguments."""
    calls = [node["function"] for node in nodes(tree) if node.get("type") == "TABLE_FUNCTION"]
    return [call for call in calls if fold(call["function_name"]) not in _MAKE_ROWS]


def _may_be_read(tree: Tree | None, own: set[str], allowed: Collection[str], macros: Collection[str]) -> bool:
    """True if a view reads allowed files, or reads no files and calls only functions that may not do so either."""
    if tree is None:
        return False
    calls = _table_calls(tree)
    scans = [node for node in nodes(tree) if scanned_files(node) and fold(node["table_name"]) not in own]
    if not calls and not scans:
        called = {fold(node["function_name"]) for node in nodes(tree) if "function_name" in node}
        known = pure_functions("scalar", "aggregate", "window") | _MAKE_ROWS
        return called <= known and called.isdisjoint(macros)
    read = [*map(reader_files, calls), *map(scanned_files, scans)]
    return all(files and all(absolute_file(file) in allowed for file in files) for files in read)


def _brings_data(tree: Tree | None, catalog: str, own: set[str]) -> bool:
    """True if a query reads files or other databases, and nothing of its own database."""
    if tree is None:
        return False
    sources = [node for node in nodes(tree) if node.get("type") in ("BASE_TABLE", "TABLE_FUNCTION")]
    outside = [node for node in sources if node["type"] == "TABLE_FUNCTION" or not _is_own(node, catalog, own)]
    return bool(sources) and len(outside) == len(sources)


def _is_own(node: Tree, catalog: str, own: set[str]) -> bool:
    """True if a relation that a query names may be one of its own database."""
    database, schema_name, name = (node.get(part) or "" for part in ("catalog_name", "schema_name", "table_name"))
    if database:
        return fold(database) == fold(catalog)
    # The first of two parts is a schema or a database.
    keys = {name} if fold(schema_name) in ("", fold(catalog)) else {table_key(schema_name, name)}
    return any(fold(key) in own for key in keys)
