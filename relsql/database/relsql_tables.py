"""The tables of schema `relsql` in the user's file. A table is created by the first write; reading never assumes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from relsql.database.digests import row_digest
from relsql.database.names import RELSQL_SCHEMA, fold, has_table
from relsql.errors import DatabaseError
from relsql.sql import qualified

TABLES: dict[str, str] = {
    "schema_tables": (
        "table_name VARCHAR, primary_key VARCHAR[], time_column VARCHAR, origin VARCHAR, known_column VARCHAR"
    ),
    "schema_links": (
        "child_table VARCHAR, child_columns VARCHAR[], parent_table VARCHAR, parent_columns VARCHAR[], "
        "origin VARCHAR, removed BOOLEAN"
    ),
    "sources": "name VARCHAR, location VARCHAR",
    "value_tables": "name VARCHAR, key_column VARCHAR, columns VARCHAR[][]",
    "tasks": (
        "name VARCHAR, task_type VARCHAR, entity_table VARCHAR, entity_col VARCHAR, target_col VARCHAR, "
        "time_col VARCHAR, timedelta VARCHAR, num_eval_timestamps INTEGER, sql VARCHAR, description VARCHAR, "
        "remove_columns VARCHAR[][], val_timestamp TIMESTAMP, test_timestamp TIMESTAMP, visible VARCHAR, "
        "target VARCHAR"
    ),
    "models": (
        "name VARCHAR, version INTEGER, status VARCHAR, task VARCHAR, task_type VARCHAR, created TIMESTAMP, "
        "metrics VARCHAR, card VARCHAR, sha256 VARCHAR, activated TIMESTAMP, request VARCHAR, sql_difference DOUBLE, "
        "digest VARCHAR"
    ),
    "artifacts": "model VARCHAR, version INTEGER, name VARCHAR, bytes BLOB, sha256 VARCHAR",
    "row_embeddings": "model VARCHAR, version INTEGER, text VARCHAR, embedding FLOAT[]",
    "runs": (
        "run_id VARCHAR, model VARCHAR, version INTEGER, task VARCHAR, phase VARCHAR, started TIMESTAMP, "
        "seconds DOUBLE, metrics VARCHAR, error VARCHAR"
    ),
    "score_jobs": (
        "target VARCHAR, job VARCHAR, model VARCHAR, version INTEGER, identity VARCHAR, as_of TIMESTAMP, "
        "chunk_rows BIGINT, bounds VARCHAR[], changed_only BOOLEAN, chunks_done INTEGER, entities BIGINT, "
        "scored BIGINT, started TIMESTAMP, updated TIMESTAMP, digest VARCHAR"
    ),
    "publications": (
        "model VARCHAR, version INTEGER, identity VARCHAR, format INTEGER, published TIMESTAMP, "
        "relsql_version VARCHAR, objects VARCHAR, digest VARCHAR"
    ),
    "score_fingerprints": "target VARCHAR, entity VARCHAR, fingerprint UBIGINT",
}
"""Columns of each table. New columns are added at the end, so that `ALTER TABLE` can extend an older file.

Row embeddings have a table per model version, whose columns depend on the model and are not listed here;
`row_embeddings` exists in older files only.
"""

_FIRST_COLUMNS = 3
"""So many columns every build has written to each table."""

_OF_A_MODEL = re.compile(r"_[0-9a-f]{12}$")
"""The end of the names of tables and views that belong to one model version."""

SEALED = {
    "models": ("name", "version", "task", "task_type", "created", "metrics", "card", "sha256", "request"),
    "publications": ("model", "version", "identity", "format", "published", "relsql_version", "objects"),
    "score_jobs": (
        *("target", "job", "model", "version", "identity", "as_of", "chunk_rows", "bounds", "changed_only"),
        *("chunks_done", "entities", "scored"),
    ),
}
"""The columns of each table that the digest of a row covers; `docs/decisions/0016-digests.md` says why only these."""


@dataclass(frozen=True, slots=True)
class SealedRow:
    """A row of a table in `SEALED`.

    `values` are the columns that the row's digest covers, times as text. `intact` says whether they match the digest
    that was written with them; None if the table has no digests, because an earlier build wrote it.
    """

    values: dict[str, Any]
    intact: bool | None


def relsql_table(catalog: str, name: str) -> str:
    """The qualified name of a relsql table: `"f1"."relsql"."models"`."""
    assert name in TABLES, name
    return qualified(catalog, RELSQL_SCHEMA, name)


def create_schema(con: duckdb.DuckDBPyConnection, catalog: str) -> None:
    """Create schema `relsql` if it does not exist.

    Raises:
        DatabaseError: there is one, and it is the user's.
    """
    require_own_schema(con, catalog)
    con.execute(f"CREATE SCHEMA IF NOT EXISTS {qualified(catalog, RELSQL_SCHEMA)}")


def ensure_table(con: duckdb.DuckDBPyConnection, catalog: str, name: str) -> str:
    """Create `relsql.<name>`, or add the columns that an older file lacks, and return its qualified name.

    Raises:
        DatabaseError: a table of this name exists that relsql did not create.
    """
    table = relsql_table(catalog, name)
    if not has_relsql_table(con, catalog, name):
        create_schema(con, catalog)
        con.execute(f"CREATE TABLE IF NOT EXISTS {table} ({TABLES[name]})")
        return table
    known = {row[0] for row in con.execute(f"DESCRIBE {table}").fetchall()}
    missing = [column for column in TABLES[name].split(", ") if column.split()[0] not in known]
    for column in missing:
        con.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
    if "digest VARCHAR" in missing:
        seal_rows(con, catalog, name)
    return table


def seal_rows(
    con: duckdb.DuckDBPyConnection, catalog: str, name: str, where: str = "true", parameters: Sequence[object] = ()
) -> None:
    """Write the digests of the rows of a relsql table that meet a condition. The caller owns the transaction."""
    table = relsql_table(catalog, name)
    rows = con.execute(f"SELECT rowid, {_sealed_sql(name)} FROM {table} WHERE {where}", parameters).fetchall()
    for rowid, *values in rows:
        con.execute(f"UPDATE {table} SET digest = ? WHERE rowid = ?", [row_digest(values), rowid])


def read_sealed(
    con: duckdb.DuckDBPyConnection, catalog: str, name: str, where: str = "true", parameters: Sequence[object] = ()
) -> list[SealedRow]:
    """Read the rows of an existing relsql table that meet a condition, each compared with its digest."""
    rows = con.execute(
        f"SELECT digest, {_sealed_sql(name)} FROM {rows_sql(catalog, name)} WHERE {where}", parameters
    ).fetchall()
    sealed = has_column(con, catalog, name, "digest")
    return [
        SealedRow(dict(zip(SEALED[name], values, strict=True)), row_digest(values) == digest if sealed else None)
        for digest, *values in rows
    ]


def has_column(con: duckdb.DuckDBPyConnection, catalog: str, table: str, column: str) -> bool:
    """True if `relsql.<table>` has the column."""
    query = """SELECT system.main.count_star() FROM system.main.duckdb_columns()
               WHERE database_name = ? AND schema_name = ? AND table_name = ? AND column_name = ?"""
    [(count,)] = con.execute(query, [catalog, RELSQL_SCHEMA, table, column]).fetchall()
    return bool(count)


def _sealed_sql(name: str) -> str:
    """The sealed columns; times as text, because DuckDB's range of times exceeds Python's."""
    types = dict(column.split(" ", 1) for column in TABLES[name].split(", "))
    return ", ".join(f"CAST({c} AS VARCHAR)" if types[c] == "TIMESTAMP" else c for c in SEALED[name])


def rows_sql(catalog: str, name: str) -> str:
    """A query in parentheses for the rows of an existing relsql table; columns that an older file lacks are NULL."""
    columns = (column.split(" ", 1) for column in TABLES[name].split(", "))
    nulls = ", ".join(f"CAST(NULL AS {kind}) AS {column}" for column, kind in columns)
    return f"(FROM {relsql_table(catalog, name)} UNION ALL BY NAME SELECT {nulls} WHERE false)"


def has_relsql_table(con: duckdb.DuckDBPyConnection, catalog: str, name: str) -> bool:
    """True if `relsql.<name>` exists in the database `catalog`.

    Raises:
        DatabaseError: it exists, and relsql did not create it.
    """
    if not has_table(con, catalog, RELSQL_SCHEMA, name):
        return False
    if name in TABLES and not _is_ours(name, _columns(con, catalog).get(name, {})):
        raise _not_ours(catalog, name)
    return True


def require_own_schema(con: duckdb.DuckDBPyConnection, catalog: str) -> None:
    """Check that a schema `relsql`, if there is one, is not a schema of the user's.

    Raises:
        DatabaseError: relsql made none of its tables and views, or one has a name of relsql's and other columns.
    """
    found = _columns(con, catalog)
    foreign = [name for name, columns in found.items() if name in TABLES and not _is_ours(name, columns)]
    if not any(name in TABLES or _OF_A_MODEL.search(name) for name in found):
        foreign += found
    if foreign:
        raise _not_ours(catalog, foreign[0])


def _columns(con: duckdb.DuckDBPyConnection, catalog: str) -> dict[str, dict[str, str]]:
    """The types of all columns in schema `relsql`, by the folded name of the table or view."""
    query = """SELECT table_name, column_name, data_type FROM system.main.duckdb_columns()
               WHERE database_name = ? AND system.main.lower(schema_name) = ? ORDER BY ALL ASC NULLS LAST"""
    found: dict[str, dict[str, str]] = {}
    for table, column, type_ in con.execute(query, [catalog, RELSQL_SCHEMA]).fetchall():
        found.setdefault(fold(table), {})[column] = type_
    return found


def _is_ours(name: str, known: dict[str, str]) -> bool:
    """True for the columns of a table of `TABLES`: an older relsql wrote fewer, a newer one may have written more."""
    ours = dict(column.split(" ", 1) for column in TABLES[name].split(", "))
    extends = known.keys() <= ours.keys() or ours.keys() <= known.keys()
    same_types = all(known[column] == type_ for column, type_ in ours.items() if column in known)
    return extends and same_types and {*list(ours)[:_FIRST_COLUMNS]} <= known.keys()


def _not_ours(catalog: str, name: str) -> DatabaseError:
    table = qualified(RELSQL_SCHEMA, name)
    columns = f"the columns {TABLES[name]}" if name in TABLES else None
    return DatabaseError(
        f"'{RELSQL_SCHEMA}.{name}' of database '{catalog}' was not made by relsql, which keeps its models there",
        expected=columns or f"no schema '{RELSQL_SCHEMA}', or the one that relsql made",
        fix=f"move it: CREATE SCHEMA mine; CREATE TABLE mine.{qualified(name)} AS FROM {table}; DROP TABLE {table}",
    )
