"""Check which statements of clients may run: a single query that only reads and calls only known functions.

DuckDB parses the statement, and every node of its syntax tree has to be of a known kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import duckdb

from relsql.database.engine_errors import first_line
from relsql.database.names import fold
from relsql.database.queries.syntax_tree import MODIFIERS, SOURCES, NotOneSelectError, Tree, parse, unknown_kind
from relsql.registry.function_names import is_table_name

MAX_STATEMENT_BYTES = 256 * 1024
"""Longer statements are refused before they are parsed: their tree is about fifty times as large."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KNOWN_NODES = SOURCES | MODIFIERS | {"SELECT_NODE", "SET_OPERATION_NODE", "CTE_NODE", "SHOW_REF"}
"""Recursive CTEs are left out, because they may run for ever."""

_CLOCKS = _words(
    """
    current_date current_database current_schema get_current_time get_current_timestamp now random today
    transaction_timestamp gen_random_uuid uuid uuidv4 uuidv7
    """
)
"""Volatile functions that are harmless."""

_UNSAFE = _words(
    """
    array_resize bitstring current_connection_id current_query current_query_id currval current_setting format
    generate_series getenv getvariable json_deserialize_sql json_serialize_plan json_serialize_sql list_resize lpad
    nextval parse_duckdb_log_message printf range repeat reservoir_quantile rpad setseed setval stats write_log
    """
)
"""Functions that DuckDB may declare consistent, but that reveal something about the process, make a very large value of
a small one, or end with an internal error, which closes the database (`reservoir_quantile(1.0, [])`). Other functions
that use much memory are limited by `relsql.integrations.server_memory`."""

_CATALOG_FUNCTIONS = frozenset(["duckdb_columns", "duckdb_schemas", "duckdb_tables", "duckdb_views"])
"""Table functions that clients use to list tables and columns."""

_UNSAFE_VIEWS = frozenset(["duckdb_logs", "pg_prepared_statements", "pg_settings"])
"""DuckDB's built-in views over functions that are not allowed."""

_CALLED_AS = frozenset([(), ("main",), ("system", "main")])
"""Qualifications that a built-in function may be called with: none, `main` or `system.main`."""

_FILE_NAME = re.compile(r"[/\\:*?]|\.\w+$")
"""Names of tables that may be file names: DuckDB reads the file if there is no such table."""

_EXPLAIN = re.compile(
    r"\s*explain(?:\s+analyze)?(?:\s*\(\s*(?:analyze|format\s+\w+)(?:\s*,\s*(?:analyze|format\s+\w+))*\s*\))?(?=[\s(])",
    re.IGNORECASE,
)

_NAME = r'(?:"(?:[^"]|"")+"|[^\W\d]\w*)'
_TARGET = rf"(?P<{{}}>{_NAME}(?:\.{_NAME}){{{{1,2}}}})"
_WRITE = re.compile(
    rf"""\s*(?:
        INSERT\s+INTO\s+{_TARGET.format("insert")}
            (?:\s*\(\s*{_NAME}(?:\s*,\s*{_NAME})*\s*\)\s*|\s+)(?=(?:VALUES|SELECT|FROM|WITH|TABLE)\b)
      | UPDATE\s+{_TARGET.format("update")}\s+SET\s
      | DELETE\s+FROM\s+{_TARGET.format("delete")}(?:\s+(?=WHERE\b)|\s*;?\s*\Z)
    )""",
    re.IGNORECASE | re.VERBOSE,
)
"""The start of a statement that writes. The pattern fixes what may follow the table name, so that every part of the
statement is checked."""


@dataclass(frozen=True, slots=True)
class AllowedFunctions:
    """Names of the functions that statements may call, in lower case."""

    scalar: frozenset[str]
    table: frozenset[str]

    def with_models(self, names: Iterable[str]) -> AllowedFunctions:
        """These functions and those of models, of which some return a table, see `is_table_name`."""
        folded = {name.lower() for name in names}
        tables = {name for name in folded if is_table_name(name)}
        return AllowedFunctions(self.scalar | folded, self.table | tables)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a statement may not run: what is wrong with it, and what is expected instead."""

    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.found}. Expected: {self.expected}"


@dataclass(frozen=True, slots=True)
class Writable:
    """The database whose rows may be changed, except those in relsql's own schema."""

    database: str
    relsql_schema: str

    def may_write(self, target: str) -> bool:
        """True if `database.table` or `database.schema.table` is a table of the user, not of relsql."""
        parts = [fold(part.strip('"').replace('""', '"')) for part in re.findall(_NAME, target)]
        return parts[0] == fold(self.database) and (len(parts) == 2 or parts[1] != fold(self.relsql_schema))


def builtin_functions(con: duckdb.DuckDBPyConnection) -> AllowedFunctions:
    """DuckDB's built-in functions that neither write, nor read files, nor reveal anything about other sessions."""
    query = """SELECT DISTINCT function_name, function_type, stability FROM system.main.duckdb_functions()
               WHERE database_name = 'system' AND function_type IN ('scalar', 'aggregate', 'window', 'macro')"""
    rows = con.execute(query).fetchall()
    consistent = {name for name, kind, stability in rows if kind == "macro" or stability != "VOLATILE"}
    volatile = {name for name, kind, stability in rows if kind != "macro" and stability == "VOLATILE"}
    internal = {name for name in consistent if name.startswith(("pg_", "inet_", "__internal", "quack_"))}
    scalar = (consistent - volatile - internal - _UNSAFE) | _CLOCKS | {"unnest"}
    return AllowedFunctions(frozenset(scalar), _CATALOG_FUNCTIONS | {"unnest", "json_each", "json_tree"})


class StatementCheck:
    """Decides whether a statement may run.

    It parses in a separate in-memory database, so that it does not wait for other connections and cannot run anything
    in the user's database. It is thread-safe.
    """

    def __init__(self, functions: AllowedFunctions, *, writable: Writable | None = None) -> None:
        """Allow statements to call `functions` and, if `writable` is given, to change rows in that database."""
        self.functions = functions
        self.writable = writable
        self._parser = duckdb.connect(config={"autoinstall_known_extensions": False, "enable_external_access": False})

    def refusal(self, sql: str) -> Refusal | None:
        """None if `sql` is a single statement that may run; otherwise what is wrong with it.

        Queries, EXPLAIN, SHOW and DESCRIBE may run. If there is a writable database, INSERT, UPDATE and DELETE of its
        tables may run too, except in relsql's own schema.
        """
        if len(sql.encode(errors="replace")) > MAX_STATEMENT_BYTES:
            return Refusal(f"it is longer than {MAX_STATEMENT_BYTES // 1024} kB", "a shorter statement")
        if "\0" in sql:
            return Refusal("it contains a zero byte", "text")
        query = _explained(sql)
        if self.writable is not None and (write := _WRITE.match(sql)):
            target = write[str(write.lastgroup)]
            if not self.writable.may_write(target):
                database = self.writable.database
                return Refusal(f"it changes {target}", f"a table of {database} as {database}.TABLE")
            query = _query_of(write)
        return self._query_refusal(query)

    def _query_refusal(self, query: str) -> Refusal | None:
        try:
            with self._parser.cursor() as cursor:
                tree = parse(cursor, query)
        except (duckdb.Error, NotOneSelectError) as error:
            writes = ", INSERT, UPDATE or DELETE" if self.writable else ""
            return Refusal(first_line(error), f"one SELECT, EXPLAIN, SHOW or DESCRIBE{writes}")
        return next(self._refused(tree["statements"]), None)

    def _refused(self, tree: Any) -> Iterator[Refusal]:
        """Yield a refusal for each node of a syntax tree that must not run."""
        pending: list[tuple[Any, bool]] = [(tree, False)]
        while pending:
            value, is_table = pending.pop()
            if isinstance(value, list):
                pending += [(item, False) for item in value]
            elif isinstance(value, dict):
                yield from _unknown_kind(value)
                if "function_name" in value:
                    yield from self._unknown_function(value, is_table)
                reads = value.get("type") == "TABLE_FUNCTION"
                pending += [(item, reads and key == "function") for key, item in value.items()]

    def _unknown_function(self, node: Tree, is_table: bool) -> Iterator[Refusal]:
        path = tuple(part.lower() for part in (node.get("catalog"), node.get("schema")) if part)
        name = node["function_name"]
        allowed = self.functions.table if is_table else self.functions.scalar
        if path not in _CALLED_AS or name.lower() not in allowed:
            yield Refusal(
                f"it calls {'.'.join([*path, name])}", "functions of models, and DuckDB functions that only compute"
            )


def _unknown_kind(node: Tree) -> Iterator[Refusal]:
    """Refuse a node unless its kind is known to only read."""
    if (kind := unknown_kind(node, _KNOWN_NODES)) is not None:
        yield Refusal(f"it contains {kind}", "a query that only reads")
    elif node.get("type") == "BASE_TABLE" and "class" not in node:
        name = str(node.get("table_name"))
        if _FILE_NAME.search(name) or name.lower() in _UNSAFE_VIEWS:
            yield Refusal(f"it reads {name}", "a table or view of the user, not a file")


def _explained(sql: str) -> str:
    """The statement inside an EXPLAIN; any other statement is returned unchanged."""
    explain = _EXPLAIN.match(sql)
    return sql[explain.end() :] if explain else sql


def _query_of(write: re.Match[str]) -> str:
    """A query that contains all expressions of an INSERT, UPDATE or DELETE."""
    rest = write.string[write.end() :]
    starts = {"insert": "", "update": "SELECT ", "delete": f"FROM {write['delete']} "}
    return starts[str(write.lastgroup)] + rest
