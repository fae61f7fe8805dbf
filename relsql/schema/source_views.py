"""Which views are read as tables: those that bring in data, not those that report on the tables of the same database.

A view over files or over another database is the only way to its rows. Views that call functions,
such as those over files, are read where the connection may read files: `relsql inspect` and label queries may not,
unless they are allowed to. A view over tables of its own
database repeats their rows, often summed up over all time, which would leak the future; it is read only if something is
declared of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import duckdb

from relsql.database.names import fold
from relsql.database.relsql_schema import in_schema_sql
from relsql.database.sealed import parser
from relsql.database.syntax_tree import NotOneSelectError, Tree, nodes, parse
from relsql.schema.tables import table_key

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


def reads_files(con: duckdb.DuckDBPyConnection) -> bool:
    """True if the connection may read files other than its databases."""
    query = "SELECT CAST(system.main.current_setting('enable_external_access') AS BOOLEAN)"
    return bool(con.execute(query).fetchall()[0][0])


def source_views(
    catalog: str, views: Views, tables: Collection[str], declared: Collection[str], *, files: bool
) -> set[tuple[str, str]]:
    """The views to read as tables, as (schema, name).

    Args:
        catalog: the database that holds the views.
        views: its views.
        tables: the keys of its tables.
        declared: names of tables of which something is declared.
        files: whether views that call functions are read.
    """
    named = {fold(name) for name in declared}
    own = {fold(key) for key in tables} | {fold(table_key(*name)) for name in views}
    found = set()
    for name, sql in views.items():
        tree = _selected(sql)
        wanted = fold(table_key(*name)) in named or _brings_data(tree, catalog, own)
        if wanted and (files or not calls_functions(tree)):
            found.add(name)
    return found


def calls_functions(tree: Tree | None) -> bool:
    """True if a query calls any function, such as those that read files, or cannot be parsed."""
    return tree is None or any("function_name" in node for node in nodes(tree))


def _selected(sql: str) -> Tree | None:
    """The query of a view's definition; None if it cannot be parsed."""
    for found in re.finditer(r"\bAS\b", sql, re.IGNORECASE):
        try:
            return parse(parser(), sql[found.end() :])
        except NotOneSelectError:
            continue
    return None


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
