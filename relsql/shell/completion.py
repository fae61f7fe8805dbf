"""Completion with Tab: columns of the tables in the statement, tables, models, functions and keywords."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from relsql.database.relsql_tables import users_objects_sql
from relsql.registry.function_names import is_table_name
from relsql.sql_text import ident
from relsql.statements.parse import KEYWORDS

_WORD = re.compile(r"""(?:(?P<parent>"(?:[^"]|"")*"|\w+)\.)?(?P<word>"[^"]*|\w*)$""")
_PIECES = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\w+|[^\s\w]""")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BEFORE_TABLES = frozenset({"from", "join", "into", "update", "table", "describe", "summarize", "each"})


@dataclass(frozen=True, slots=True)
class Names:
    """The names that exist on a connection.

    Attributes:
        keywords: SQL keywords.
        reserved: the keywords that cannot be used as a name without quotes, in lower case.
        functions: scalar, aggregate and window functions and macros.
        table_functions: table functions and table macros.
        models: scalar and table macros of models; they are suggested first.
        columns: columns by table or view, in order.
        schemas: names of the tables by schema, over all databases.
    """

    keywords: tuple[str, ...]
    reserved: frozenset[str]
    functions: tuple[str, ...]
    table_functions: tuple[str, ...]
    models: tuple[str, ...]
    columns: dict[str, tuple[str, ...]]
    schemas: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Text that may replace the last `length` characters before the cursor; `kind` is the kind of object it names."""

    text: str
    length: int
    kind: str


def read_names(con: duckdb.DuckDBPyConnection) -> Names:
    """Read the names that exist on a connection.

    Raises:
        duckdb.Error: the transaction of the connection was aborted.
    """
    keywords = con.execute(
        "SELECT keyword_name, keyword_category FROM system.main.duckdb_keywords() ORDER BY 1 ASC"
    ).fetchall()
    functions = con.execute(
        """SELECT DISTINCT function_name, system.main.starts_with(function_type, 'table'), database_name = 'temp'
           FROM system.main.duckdb_functions()
           WHERE (system.main.regexp_full_match(function_name, '\\w+') OR database_name = 'temp')
             AND function_type <> 'pragma'
             AND NOT (function_type = 'scalar' AND system.main.starts_with(function_name, 'relsql_')) ORDER BY 1 ASC"""
    ).fetchall()
    columns: dict[str, list[str]] = {}
    schemas: dict[str, set[str]] = {}
    query = f"""SELECT schema_name, table_name, column_name, {users_objects_sql(con)}
                FROM system.main.duckdb_columns()
                WHERE NOT internal ORDER BY database_name ASC, schema_name ASC, table_name ASC, column_index ASC"""
    for schema, table, column, of_user in con.execute(query).fetchall():
        schemas.setdefault(schema, set()).add(table)
        if of_user:
            columns.setdefault(table, []).append(column)
    return Names(
        keywords=tuple(sorted({name.lower() for name in KEYWORDS} | {name for name, _ in keywords})),
        reserved=frozenset(name for name, category in keywords if category != "unreserved"),
        functions=tuple(name for name, in_from, temp in functions if not in_from and not temp),
        table_functions=tuple(name for name, in_from, temp in functions if in_from and not temp),
        models=tuple(name for name, _, temp in functions if temp),
        columns={table: tuple(dict.fromkeys(found)) for table, found in columns.items()},
        schemas={schema: tuple(sorted(tables)) for schema, tables in schemas.items()},
    )


def suggest(before: str, after: str, names: Names) -> list[Suggestion]:
    """The suggestions at the cursor, best first.

    Args:
        before: the statement up to the cursor.
        after: the statement after the cursor, which may name the tables.
        names: the names that exist on the connection.
    """
    found = _WORD.search(before)
    assert found is not None
    word, parent = found["word"], found["parent"]
    typed = word.lstrip('"').lower()
    if parent is not None:
        offered = _below(_unquoted(parent), before + after, names)
    else:
        pieces = _PIECES.findall(before[: found.start()])
        offered = _offered(pieces[-1].lower() if pieces else "", before + after, names, bool(typed))
    seen: dict[str, Suggestion] = {}
    for name, kind in offered:
        if name.lower().startswith(typed):
            text = _spelled(name, kind, word, names.reserved)
            seen.setdefault(text, Suggestion(text, len(word), kind))
    return list(seen.values())


def _offered(previous: str, statement: str, names: Names, typed: bool) -> Iterator[tuple[str, str]]:
    """All names that may follow the word `previous`, with their kinds; only the likely ones if nothing is typed yet."""
    tables = [(table, "table") for table in names.columns]
    if previous in _BEFORE_TABLES:
        yield from tables
        yield from ((name, "model") for name in names.models if is_table_name(name))
        if typed:
            yield from ((name, "function") for name in names.table_functions)
            yield from ((schema, "schema") for schema in names.schemas)
            yield from ((keyword, "keyword") for keyword in names.keywords)
        return
    for table in dict.fromkeys(_tables_in(statement, names).values()):
        yield from ((column, "column") for column in names.columns[table])
    yield from ((name, "model") for name in names.models)
    if typed:
        yield from ((keyword, "keyword") for keyword in names.keywords)
        yield from tables
        yield from ((name, "function") for name in names.functions)
        yield from ((schema, "schema") for schema in names.schemas)
        for columns in names.columns.values():
            yield from ((column, "column") for column in columns)


def _below(parent: str, statement: str, names: Names) -> Iterator[tuple[str, str]]:
    """Columns of the table or alias `parent`, or tables of the schema `parent`."""
    table = _tables_in(statement, names).get(parent.lower())
    if table is not None:
        yield from ((column, "column") for column in names.columns[table])
    for schema, tables in names.schemas.items():
        if schema.lower() == parent.lower():
            yield from ((name, "table") for name in tables)


def _tables_in(statement: str, names: Names) -> dict[str, str]:
    """The tables in a statement, by their names and aliases in lower case."""
    by_name = {table.lower(): table for table in names.columns}
    pieces = [_unquoted(piece) for piece in _PIECES.findall(statement)]
    found = {}
    for i, piece in enumerate(pieces):
        table = by_name.get(piece.lower())
        if table is None:
            continue
        found[piece.lower()] = table
        following = [p for p in pieces[i + 1 : i + 3] if p.lower() != "as"]
        if following and _PLAIN.fullmatch(following[0]) and following[0].lower() not in names.reserved:
            found.setdefault(following[0].lower(), table)
    return found


def _spelled(name: str, kind: str, word: str, reserved: frozenset[str]) -> str:
    """The text to insert for a name: keywords follow the case of `word`, other names get quotes if SQL needs them."""
    if kind == "keyword":
        return name.lower() if word[:1].islower() else name.upper()
    if kind == "function":
        return name + "("
    plain = _PLAIN.fullmatch(name) and name.lower() not in reserved and not word.startswith('"')
    written = name if plain else ident(name)
    return written + "(" if kind == "model" else written


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if len(name) > 1 and name.startswith('"') else name
