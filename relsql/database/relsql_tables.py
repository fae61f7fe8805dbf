"""The tables of schema `relsql` in the user's file. A table is created by the first write; reading never assumes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from relsql.database.digests import row_digest
from relsql.database.names import RELSQL_SCHEMA, has_table
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
    "tasks": (
        "name VARCHAR, task_type VARCHAR, entity_table VARCHAR, entity_col VARCHAR, target_col VARCHAR, "
        "time_col VARCHAR, timedelta VARCHAR, num_eval_timestamps INTEGER, sql VARCHAR, description VARCHAR, "
        "remove_columns VARCHAR[][], val_timestamp TIMESTAMP, test_timestamp TIMESTAMP, visible VARCHAR"
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
    """Create schema `relsql` if it does not exist."""
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
    ours = [column.split()[0] for column in TABLES[name].split(", ")]
    # A table of an older relsql has fewer columns, one of a newer relsql may have more.
    if not (known <= {*ours} or {*ours} <= known):
        raise DatabaseError(
            f"table '{RELSQL_SCHEMA}.{name}' of database '{catalog}' was not made by relsql",
            expected=f"the columns {', '.join(ours)}",
            fix=f"ALTER TABLE {table} RENAME TO another_name",
        )
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
    """True if `relsql.<name>` exists in the database `catalog`."""
    return has_table(con, catalog, RELSQL_SCHEMA, name)
