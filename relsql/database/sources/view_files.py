"""The files that views read: `SELECT * FROM 'orders.parquet'`, `read_csv(['a.csv', 'b.csv'])`.

A view is part of the database, so whoever created it decided that its files are read. This covers only files on this
machine that the text of the view names and that are read as tables. A computed name, the address of a server, or
reading a file as plain text is not covered and needs `--allow-external`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb

from relsql.database.names import fold
from relsql.database.queries.sealed import parser
from relsql.database.queries.syntax_tree import NotOneSelectError, Tree, nodes, parse
from relsql.database.sources.file_kinds import kind_by_name

_READERS = frozenset(
    (
        *("parquet_scan", "read_parquet", "read_csv", "read_csv_auto"),
        *("read_json", "read_json_auto", "read_ndjson", "read_ndjson_auto"),
    )
)
"""DuckDB's functions that read files as tables."""

_ADDRESS = re.compile(r"\w[\w+.-]*:")
_HEAD = re.compile(r'(?:"(?:[^"]|"")*"|[^"])*?\sAS\s', re.IGNORECASE)
"""The text of a view up to its query. AS is a reserved word: as a name it would be in quotes."""


def view_query(sql: str) -> str:
    """The query of a view's definition, `CREATE VIEW v AS SELECT ...`."""
    return _HEAD.sub("", sql, count=1)


def view_tree(sql: str) -> Tree | None:
    """The syntax tree of a view's query; None if it cannot be parsed."""
    try:
        return parse(parser(), view_query(sql))
    except NotOneSelectError:
        return None


def view_files(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Paths and patterns of the files that the views of all attached databases read."""
    query = "SELECT sql FROM system.main.duckdb_views() WHERE NOT internal AND NOT temporary ORDER BY ALL ASC"
    found: dict[str, None] = {}
    for (sql,) in con.execute(query).fetchall():
        for node in nodes(view_tree(sql or "")):
            files = reader_files(node["function"]) if node.get("type") == "TABLE_FUNCTION" else scanned_files(node)
            found.update(dict.fromkeys(files))
    return list(found)


def scanned_files(node: Tree) -> list[str]:
    """The file of this machine that a query reads by its name, as in `FROM 'orders.parquet'`.

    DuckDB reads a relation of that name instead if there is one; the caller has to check this.
    """
    name = node.get("table_name") or ""
    named_alone = node.get("type") == "BASE_TABLE" and not node.get("schema_name") and not node.get("catalog_name")
    return [name] if named_alone and kind_by_name(Path(name)) and _is_local(name) else []


def reader_files(function: Tree) -> list[str]:
    """The files of this machine that a call of a table function reads as a table; none unless they are constants."""
    if fold(function["function_name"]) not in _READERS or fold(function.get("schema") or "main") != "main":
        return []
    return _constant_files(function)


def _constant_files(function: Tree) -> list[str]:
    """The first argument of a reader, which is a text or a list of texts."""
    first = next(_arguments(function), {})
    is_list = first.get("class") == "FUNCTION" and fold(first["function_name"]) == "list_value"
    files = [_text(value) for value in (_arguments(first) if is_list else (first,))]
    return [file for file in files if file] if all(file and _is_local(file) for file in files) else []


def _arguments(function: Tree) -> Iterator[Tree]:
    """The arguments of a function, as DuckDB 2.0 or 1.5 writes them."""
    for argument in function.get("arguments") or function.get("children") or ():
        yield argument.get("expression", argument)


def _text(node: Tree) -> str | None:
    """The text of a constant, as DuckDB 2.0 or 1.5 writes it."""
    if node.get("class") != "CONSTANT":
        return None
    if "literal" in node:
        text = node["literal"].get("text") if node["literal"].get("kind") == "STRING" else None
    else:
        text = node["value"].get("value")
    return text if isinstance(text, str) else None


def _is_local(file: str) -> bool:
    return not _ADDRESS.match(file)
