"""Read a SQLite file with Python's own sqlite3: no extension of DuckDB is needed.

A SQLite column holds values of any type, whatever its declaration says. The type of a column is therefore that of its
values, and the declaration tells times and booleans apart. A column whose values fit no single type is text, and blank
texts in a column that otherwise holds numbers or times are NULL; both are reported.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

import duckdb
import pyarrow as pa

from relsql.database.names import unique_name
from relsql.schema.sources.sqlite_tables import SqliteTable
from relsql.sql_text import ident, literal, qualified

_BATCH_ROWS = 100_000
_ARROW = {"BIGINT": pa.int64(), "BOOLEAN": pa.int64(), "DOUBLE": pa.float64(), "BLOB": pa.binary()}
"""How values come from SQLite, by the type of the column that they go to; for all other types as text."""

_Counts = dict[str, int]
"""Number of values by storage class: integer, real, text, blob; `blank` are texts of nothing but spaces."""


def copy_table(
    con: duckdb.DuckDBPyConnection, catalog: str, source: sqlite3.Connection, table: SqliteTable
) -> list[str]:
    """Create a table with all its rows in schema main of a database; returns what its values do not allow."""
    problems: list[str] = []
    types = {column: _type_of(source, table, column, problems) for column in table.columns}
    rows = _copy_values(con, source, table, types)
    values = []
    for i, (column, type_) in enumerate(types.items()):
        final = _time_type(con, rows, f"c{i}") if type_ == "TIME" else type_
        if type_ == "TIME" and final == "VARCHAR":
            problems.append(f"{table.name}({column}) is declared {table.columns[column]}, but not all values are times")
        values.append(f"CAST(c{i} AS {final}) AS {ident(column)}")
    con.execute(f"CREATE TABLE {qualified(catalog, 'main', table.name)} AS SELECT {', '.join(values)} FROM {rows}")
    con.execute(f"DROP TABLE {rows}")
    return problems


def _copy_values(
    con: duckdb.DuckDBPyConnection, source: sqlite3.Connection, table: SqliteTable, types: dict[str, str]
) -> str:
    """Copy all values to a temporary table with the columns c0, c1, ..., and return its name in SQL."""
    schema = pa.schema([(f"c{i}", _ARROW.get(type_, pa.string())) for i, type_ in enumerate(types.values())])
    rows, batch = qualified("temp", unique_name("relsql_sqlite")), unique_name("relsql_batch")
    con.register(batch, schema.empty_table())
    con.execute(f"CREATE TEMP TABLE {rows} AS FROM {ident(batch)}")
    # Batch by batch: DuckDB would read a stream on threads of its own, which sqlite3 does not allow.
    for values in _batches(source, table, types, schema):
        con.register(batch, values)
        con.execute(f"INSERT INTO {rows} FROM {ident(batch)}")
    con.unregister(batch)
    return rows


def _type_of(source: sqlite3.Connection, table: SqliteTable, column: str, problems: list[str]) -> str:
    """The type of a column; `TIME` for texts that are declared to be times."""
    counts, declared = _storage(source, table.name, column), table.columns[column]
    kinds = set(counts) - {"blank"}
    is_time = bool(re.search("DATE|TIME", declared))
    is_number = bool(re.search("INT|REAL|FLOA|DOUB|NUM|DEC|BOOL", declared))
    if "blank" in counts and (is_time or is_number) and kinds <= {"integer", "real"} | ({"text"} if is_time else set()):
        problems.append(f"{table.name}({column}): {counts['blank']:,} blank texts were read as NULL")
    elif "blank" in counts:
        kinds.add("text")
    if not kinds:
        return _empty_type(declared)
    if kinds == {"integer"}:
        return "BOOLEAN" if "BOOL" in declared and _only_bits(source, table.name, column) else "BIGINT"
    if kinds <= {"integer", "real"}:
        return "DOUBLE"
    if kinds == {"text"}:
        return "TIME" if is_time else "VARCHAR"
    if kinds == {"blob"}:
        return "BLOB"
    listed = " and ".join(f"{counts.get(kind, counts.get('blank', 0)):,} {kind}" for kind in sorted(kinds))
    problems.append(f"{table.name}({column}) is text, because it holds values of several types: {listed}")
    return "VARCHAR"


def _storage(source: sqlite3.Connection, table: str, column: str) -> _Counts:
    name = ident(column)
    kind = f"CASE WHEN typeof({name}) = 'text' AND trim({name}) = '' THEN 'blank' ELSE typeof({name}) END"
    query = f"SELECT {kind}, count(*) FROM {ident(table)} WHERE {name} IS NOT NULL GROUP BY 1"
    return dict(source.execute(query).fetchall())


def _only_bits(source: sqlite3.Connection, table: str, column: str) -> bool:
    query = f"SELECT count(*) FROM {ident(table)} WHERE {ident(column)} NOT IN (0, 1)"
    return bool(source.execute(query).fetchone()[0] == 0)


def _empty_type(declared: str) -> str:
    """The type of a column without values."""
    for pattern, type_ in (
        ("INT", "BIGINT"),
        ("BOOL", "BOOLEAN"),
        ("REAL|FLOA|DOUB|NUM|DEC", "DOUBLE"),
        ("DATETIME|TIMESTAMP", "TIMESTAMP"),
        ("DATE", "DATE"),
        ("BLOB", "BLOB"),
    ):
        if re.search(pattern, declared):
            return type_
    return "VARCHAR"


def _batches(
    source: sqlite3.Connection, table: SqliteTable, types: dict[str, str], schema: pa.Schema
) -> Iterator[pa.Table]:
    columns = ", ".join(_value_sql(ident(column), type_) for column, type_ in types.items())
    cursor = source.execute(f"SELECT {columns} FROM {ident(table.name)}")
    while rows := cursor.fetchmany(_BATCH_ROWS):
        arrays = [pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)]
        yield pa.Table.from_arrays(arrays, schema=schema)


def _value_sql(name: str, type_: str) -> str:
    """SQL that reads a value; in columns of numbers and times, blank texts become NULL."""
    if type_ == "VARCHAR":
        return f"CAST({name} AS TEXT)"
    if type_ == "DOUBLE":
        return f"CASE WHEN typeof({name}) <> 'text' THEN CAST({name} AS REAL) END"
    return f"CASE WHEN typeof({name}) <> 'text' OR trim({name}) <> '' THEN {name} END"


def _time_type(con: duckdb.DuckDBPyConnection, rows: str, column: str) -> str:
    """DATE, TIMESTAMP or TIME if all texts of a column are such values; else VARCHAR."""
    for type_ in ("TIMESTAMP", "TIME"):
        query = f"SELECT count(*) FROM {rows} WHERE {column} IS NOT NULL AND TRY_CAST({column} AS {type_}) IS NULL"
        if con.execute(query).fetchall() == [(0,)]:
            if type_ == "TIME":
                return type_
            dated = f"{column} IS NULL OR regexp_full_match({column}, {literal('[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}')})"
            return "DATE" if con.execute(f"SELECT bool_and({dated}) FROM {rows}").fetchall() == [(True,)] else type_
    return "VARCHAR"
