"""Check on its syntax tree what the query of a task would do, before it runs.

A task may come from somebody else, and so may the views and macros of a copied file. DuckDB itself parses the query,
and the query is checked together with all views and macros that it uses: it must be one SELECT, read only relations of
the database, and call only built-in functions that return the same result each time. Whatever is not known to be
harmless is refused.

A read-only transaction alone is not enough: inside one, DuckDB still reads and writes files, attaches databases and
loads extensions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import duckdb

from relsql.database.names import DEFAULT_SCHEMA, fold
from relsql.database.queries.syntax_tree import MODIFIERS, SOURCES, NotOneSelectError, Tree, nodes, parse, unknown_kind
from relsql.database.sources.attach_sources import read_sources
from relsql.database.sources.view_files import reader_files, scanned_files, view_query
from relsql.errors import TaskError, nearest
from relsql.hints import correct

_KNOWN_NODES = SOURCES | MODIFIERS | {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE"}

_TABLE_FUNCTIONS = frozenset({"generate_series", "json_each", "json_tree", "range", "unnest"})
"""Table functions that read nothing but their arguments."""

_NOT_OF_THE_DATA = re.compile(
    r"current_.*|get_current_.*|getenv|getvariable|ago|user|session_user|version|inet_.*|pg_.*|has_.*_privilege"
    r"|.*_description|format_type|reservoir_quantile|json_serialize_.*|json_deserialize_.*|json_execute_.*"
)
"""Functions that depend on the clock, the session, the catalog or chance, and those that read SQL, although DuckDB
classifies many as consistent: `json_serialize_plan` binds a query, and for that it opens the files that the query
names."""

_CLOCK_COLUMNS = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
"""Names that mean the current time where no column has that name."""

_EXPECTED = "one SELECT over tables, views and macros of the database, with DuckDB's own, repeatable functions"
_FIX = f"{correct('sql')}, or pass --allow-external (allow_external=True) if you trust the task"


@dataclass(frozen=True, slots=True)
class Relations:
    """What the names in a query can refer to; all names except `catalog` are folded.

    Attributes:
        catalog: name of the database.
        views: the query of each view by (schema, relation); None for a table.
        macros: the queries of all macros of a name, in any attached database, by (name, whether it is a table macro).
        types: the types that the database defines.
        sources: names of the databases that its views read.
    """

    catalog: str
    views: dict[tuple[str, str], str | None]
    macros: dict[tuple[str, bool], list[str]]
    types: frozenset[str]
    sources: frozenset[str] = frozenset()


def read_relations(cursor: duckdb.DuckDBPyConnection, catalog: str) -> Relations:
    """Read the tables, views, macros and types that a query in the database `catalog` can refer to."""
    tables = """SELECT schema_name, table_name, NULL FROM system.main.duckdb_tables()
                WHERE database_name = $1 AND NOT internal
                UNION ALL
                SELECT schema_name, view_name, sql FROM system.main.duckdb_views()
                WHERE database_name = $1 AND NOT internal"""
    views = {
        (fold(schema), fold(name)): None if sql is None else view_query(sql)
        for schema, name, sql in cursor.execute(tables, [catalog]).fetchall()
    }
    macros: dict[tuple[str, bool], list[str]] = {}
    for name, is_table, body in cursor.execute(
        """SELECT function_name, function_type = 'table_macro', macro_definition FROM system.main.duckdb_functions()
           WHERE function_type IN ('macro', 'table_macro') AND NOT internal"""
    ).fetchall():
        macros.setdefault((fold(name), is_table), []).append(body if is_table else f"SELECT {body}")
    types = "SELECT type_name FROM system.main.duckdb_types() WHERE database_name = $1 AND NOT internal"
    own = frozenset(fold(name) for (name,) in cursor.execute(types, [catalog]).fetchall())
    sources = frozenset(fold(source.name) for source in read_sources(cursor, catalog))
    return Relations(catalog, views, macros, own, sources)


def parse_select(cursor: duckdb.DuckDBPyConnection, task_name: str, sql: str) -> Tree:
    """The syntax tree of a label query.

    Raises:
        TaskError: it is not one SELECT, or writes in one of its parts.
    """
    tree = _tree(cursor, task_name, "the label query", sql)
    for node in nodes(tree["statements"]):
        _check_kind(node, task_name, "the label query")
    return tree


def check_query(
    cursor: duckdb.DuckDBPyConnection, task_name: str, tree: Tree, relations: Relations, given: frozenset[str]
) -> None:
    """Check that a query, with all views and macros that it uses, reads only the database and is repeatable.

    Args:
        cursor: parses the views and macros.
        task_name: the task's name, for messages.
        tree: the query, see `parse_select`.
        relations: what its names can refer to.
        given: folded names of temporary relations that it may also read.

    Raises:
        TaskError: the query does anything else.
    """
    check = _Check(task_name, relations, given)
    check.query(tree, "the label query", (DEFAULT_SCHEMA,))
    while check.waiting:
        where, sql, schemas, check.in_view = check.waiting.pop()
        check.query(_tree(cursor, task_name, where, sql), where, schemas)


def _tree(cursor: duckdb.DuckDBPyConnection, task_name: str, where: str, sql: str) -> Tree:
    try:
        return parse(cursor, sql)
    except NotOneSelectError as error:
        problem = f"fails: Parser Error: {error}" if error.is_syntax else f"is not one SELECT ({error})"
        raise TaskError(
            f"task '{task_name}': {where} {problem}",
            expected="one SELECT; a PIVOT needs the list of its columns, ON column IN (...)",
            fix=correct("sql"),
        ) from None


def _check_kind(node: Tree, task_name: str, where: str) -> None:
    """Refuse all parts of a statement that are not known to belong to a SELECT, such as an INSERT in a CTE."""
    if (kind := unknown_kind(node, _KNOWN_NODES)) is not None:
        what = kind.removesuffix("_QUERY_NODE")
        raise TaskError(
            f"task '{task_name}': {where} has a part of the kind {what}",
            expected="one SELECT, without parameters, that writes nowhere",
            fix=correct("sql"),
        )


Scope = frozenset[str]
"""Folded names of the CTEs that are visible."""


def _scoped_nodes(tree: Any, scope: Scope = frozenset()) -> Iterator[tuple[Tree, Scope, bool]]:
    """All nodes of a tree, each with the CTEs that are visible to it and whether it is called as a table function."""
    waiting: list[tuple[Any, Scope, bool]] = [(tree, scope, False)]
    while waiting:
        node, scope, in_from = waiting.pop()
        if isinstance(node, list):
            waiting += [(child, scope, False) for child in node]
        elif isinstance(node, dict):
            yield node, scope, in_from
            # A CTE sees the CTEs before it. Its own name refers to a table, except in the recursive part.
            for cte in (node.get("cte_map") or {}).get("map", ()):
                waiting.append((cte["value"], scope, False))
                scope |= {fold(cte["key"])}
            for key, child in node.items():
                if key == "cte_map":
                    continue
                recursive = node.get("type") == "RECURSIVE_CTE_NODE" and key == "right"
                seen = scope | {fold(node["cte_name"])} if recursive else scope
                waiting.append((child, seen, node.get("type") == "TABLE_FUNCTION" and key == "function"))


@dataclass(slots=True)
class _Check:
    """The check of one query; `waiting` are the views and macros to check next: description, SQL, schemas, is view."""

    task_name: str
    relations: Relations
    given: frozenset[str]
    waiting: list[tuple[str, str, tuple[str, ...], bool]] = field(default_factory=list)
    in_view: bool = False
    met: set[str] = field(default_factory=set)

    def query(self, tree: Tree, where: str, schemas: tuple[str, ...]) -> None:
        for node, scope, in_from in _scoped_nodes(tree["statements"]):
            _check_kind(node, self.task_name, where)
            if node.get("type") == "BASE_TABLE":
                self._table(node, scope, where, schemas)
            elif "function_name" in node:
                self._function(node, in_from, where)
            elif node.get("class") == "COLUMN_REF":
                self._column(node, where)
            self._sample(node, where)
            self._type(node, where)

    def _table(self, node: Tree, scope: Scope, where: str, schemas: tuple[str, ...]) -> None:
        """Refuse unknown relations: DuckDB would try a file, a Python variable or a relation of another database."""
        catalog, schema, name = (fold(node[key] or "") for key in ("catalog_name", "schema_name", "table_name"))
        path = node.get("qualified_name", {}).get("path", ())
        if not schema and not catalog and name in scope | self.given:
            return
        if (catalog, schema) == ("", DEFAULT_SCHEMA) and name in self.given:
            return
        if schema and not catalog:
            # `f1.results` is the table results of the schema f1, or of the schema main of the database f1.
            schemas = (schema, DEFAULT_SCHEMA) if schema == fold(self.relations.catalog) else (schema,)
        elif catalog:
            schemas = (schema,) if catalog == fold(self.relations.catalog) else ()
        # A view may read the sources of the database; the query itself reads them through the view, which is cut.
        if where != "the label query" and (catalog or schema) in self.relations.sources:
            return
        found = [key for key in ((each, name) for each in schemas) if key in self.relations.views]
        # The files that a view names were decided on in the schema. No relation hides them: `found` is empty.
        if self.in_view and not found and scanned_files(node):
            return
        if not found or len(path) > 3:
            written = ".".join(part for part in (node["catalog_name"], node["schema_name"], node["table_name"]) if part)
            problem = f"reads '{written}', which is not a relation of the database"
            known = (key[1] if key[0] == DEFAULT_SCHEMA else ".".join(key) for key in self.relations.views)
            self._refuse(where, problem, nearest(written, known))
        for key in found:
            sql = self.relations.views[key]
            if sql is not None:
                self._enqueue(f"view '{'.'.join(key)}'", sql, (key[0], DEFAULT_SCHEMA), is_view=True)

    def _function(self, node: Tree, in_from: bool, where: str) -> None:
        """Check every function that a name may refer to, in any schema; a macro takes precedence over a built-in."""
        name = fold(node["function_name"])
        in_full = fold(node.get("catalog") or "") == "system"  # No database of the user has this name.
        macros = () if in_full else self.relations.macros.get((name, in_from), ())
        for sql in macros:
            self._enqueue(f"macro '{name}'", sql, (DEFAULT_SCHEMA,))
        arguments = node.get("arguments") or node.get("children") or ()
        # With one argument age() counts from today.
        changing = not in_from and (name in _builtins().changing or (name == "age" and len(arguments) == 1))
        if changing:
            self._refuse(where, f"calls {name}(), which depends on more than the data")
        known = _TABLE_FUNCTIONS if in_from else _builtins().functions
        if self.in_view and in_from and not macros and reader_files(node):
            return
        if not macros and name not in known:
            self._refuse(where, f"calls {name}(), which label queries may not use")

    def _column(self, node: Tree, where: str) -> None:
        names = node["column_names"]
        if len(names) == 1 and fold(names[0]) in _CLOCK_COLUMNS:
            self._refuse(where, f"reads {names[0]}, which depends on more than the data")

    def _sample(self, node: Tree, where: str) -> None:
        sample = node.get("sample")
        if isinstance(sample, dict) and sample.get("seed", -1) < 0:
            self._refuse(where, "takes a sample without REPEATABLE (seed)")

    def _type(self, node: Tree, where: str) -> None:
        """Refuse unknown types and collations, for which DuckDB would load or download an extension."""
        name = node.get("type_name") if node.get("class") == "TYPE" else None
        if node.get("type") == "UNBOUND_TYPE_INFO":
            name = node.get("name")
        if name is not None and fold(name) not in _builtins().types | self.relations.types:
            self._refuse(where, f"has the type {name}, which neither DuckDB nor the database has")
        collations = node.get("collation", "") if node.get("class") == "COLLATE" else ""
        for collation in filter(None, fold(collations).split(".")):
            if collation not in _builtins().collations:
                self._refuse(where, f"has the collation {collation}, which DuckDB does not have")

    def _enqueue(self, what: str, sql: str, schemas: tuple[str, ...], *, is_view: bool = False) -> None:
        key = f"{what} {sql}"
        if key not in self.met:
            self.met.add(key)
            self.waiting.append((f"the label query, through {what},", sql, schemas, is_view))

    def _refuse(self, where: str, what: str, expected: str = _EXPECTED) -> None:
        raise TaskError(f"task '{self.task_name}': {where} {what}", expected=expected, fix=_FIX)


@dataclass(frozen=True, slots=True)
class _Builtins:
    """What DuckDB has before an extension is loaded or a function is registered; all names are folded.

    `functions` are scalar, aggregate and window functions; `changing` are functions that have side effects or depend on
    the clock, the session or random numbers.
    """

    functions: frozenset[str]
    changing: frozenset[str]
    types: frozenset[str]
    collations: frozenset[str]


@cache
def _builtins() -> _Builtins:
    # A separate connection: the user's may have more functions, and lists registered ones as internal too.
    with duckdb.connect(":memory:") as con:
        rows = con.execute(
            """SELECT function_name, coalesce(stability <> 'CONSISTENT' OR has_side_effects, false)
               FROM system.main.duckdb_functions() WHERE function_type IN ('scalar', 'aggregate', 'window', 'macro')"""
        ).fetchall()
        types = con.execute("SELECT type_name FROM system.main.duckdb_types()").fetchall()
        collations = con.execute("SELECT collname FROM pragma_collations()").fetchall()
    changing = {fold(name) for name, changes in rows if changes or _NOT_OF_THE_DATA.fullmatch(fold(name))}
    names = {fold(name) for name, _ in rows} | {"unnest"}
    return _Builtins(
        frozenset(names - changing),
        frozenset(changing),
        frozenset(fold(name) for (name,) in types),
        frozenset(fold(name) for (name,) in collations) | {"binary", "c", "posix"},
    )
