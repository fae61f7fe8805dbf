"""The tables of schema `relsql` in the user's file. They are created when first written to, never assumed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from relsql.digests import row_digest
from relsql.errors import DatabaseError
from relsql.schema import DEFAULT_SCHEMA, RELSQL_SCHEMA, has_relsql_table
from relsql.sql import ident, literal, qualified

TABLES: dict[str, str] = {
    "schema_tables": "table_name VARCHAR, primary_key VARCHAR[], time_column VARCHAR, origin VARCHAR",
    "schema_links": (
        "child_table VARCHAR, child_columns VARCHAR[], parent_table VARCHAR, parent_columns VARCHAR[], "
        "origin VARCHAR, removed BOOLEAN"
    ),
    "tasks": (
        "name VARCHAR, task_type VARCHAR, entity_table VARCHAR, entity_col VARCHAR, target_col VARCHAR, "
        "time_col VARCHAR, timedelta VARCHAR, num_eval_timestamps INTEGER, sql VARCHAR, description VARCHAR, "
        "remove_columns VARCHAR[][], val_timestamp TIMESTAMP, test_timestamp TIMESTAMP"
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
"""Columns of each table. Added columns go last, so that an older file is extended by `ALTER TABLE`.

The tables of `relsql.row_embeddings` depend on the model and are not listed; the one that is belongs to older files.
"""

SEALED = {
    "models": ("name", "version", "task", "task_type", "created", "metrics", "card", "sha256", "request"),
    "publications": ("model", "version", "identity", "format", "published", "relsql_version", "objects"),
    "score_jobs": (
        *("target", "job", "model", "version", "identity", "as_of", "chunk_rows", "bounds", "changed_only"),
        *("chunks_done", "entities", "scored"),
    ),
}
"""Columns by table that the digest of a row covers; see `docs/decisions/0016-digests.md` for why no others."""


@dataclass(frozen=True, slots=True)
class SealedRow:
    """A row of a table in `SEALED`.

    `values` are those of the columns that its digest covers, times as text. `intact` says whether they have the digest
    that was written with them; None where the table has none, because an earlier build wrote it.
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
    """Create `relsql.<name>`, or add the columns that an older file lacks, and return its qualified name."""
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
    """The rows of a relsql table that exists which meet a condition, each compared with its digest."""
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
    query = """SELECT count(*) FROM duckdb_columns()
               WHERE database_name = ? AND schema_name = ? AND table_name = ? AND column_name = ?"""
    [(count,)] = con.execute(query, [catalog, RELSQL_SCHEMA, table, column]).fetchall()
    return bool(count)


def _sealed_sql(name: str) -> str:
    """The sealed columns; times as text, since those of DuckDB go further than Python's."""
    types = dict(column.split(" ", 1) for column in TABLES[name].split(", "))
    return ", ".join(f"CAST({c} AS VARCHAR)" if types[c] == "TIMESTAMP" else c for c in SEALED[name])


def rows_sql(catalog: str, name: str) -> str:
    """The rows of a relsql table that exists, in parentheses; columns that an older file lacks are NULL."""
    columns = (column.split(" ", 1) for column in TABLES[name].split(", "))
    nulls = ", ".join(f"CAST(NULL AS {kind}) AS {column}" for column, kind in columns)
    return f"(FROM {relsql_table(catalog, name)} UNION ALL BY NAME SELECT {nulls} WHERE false)"


def open_database(path: str | Path, *, read_only: bool = False, must_exist: bool = True) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB file.

    Args:
        path: the file.
        read_only: open without a write lock; several readers may share the file.
        must_exist: refuse to create a new file.

    Raises:
        DatabaseError: the file is missing, locked by another process, read-only, or no DuckDB database.
    """
    path = Path(path)
    _check_path(path, must_exist)
    try:
        return duckdb.connect(str(path), read_only=read_only)
    except (duckdb.Error, OSError) as error:
        raise _open_error(path, error) from error


@contextmanager
def foreign_database(path: str | Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """Attach a DuckDB file, read-only, in a way that nothing in it runs; yields a connection and the database's name.

    The current database is an empty one: a function name in a query means DuckDB's own function, never a macro of the
    file. Queries cannot read other files, nor load extensions.

    Raises:
        DatabaseError: the file cannot be opened.
    """
    path = Path(path)
    _check_path(path, must_exist=True)
    name = path.stem if path.stem.lower() not in ("", "memory", "system", "temp") else f"file_{path.stem}"
    with duckdb.connect() as con:
        try:
            con.execute(f"ATTACH {literal(str(path))} AS {ident(name)} (READ_ONLY)")
        except (duckdb.Error, OSError) as error:
            raise _open_error(path, error) from error
        for setting in ("enable_external_access", "autoload_known_extensions", "autoinstall_known_extensions"):
            con.execute(f"SET {setting} = false")
        con.execute("SET lock_configuration = true")
        yield con, name


def _check_path(path: Path, must_exist: bool) -> None:
    if must_exist and not path.exists():
        raise DatabaseError(f"file '{path}' does not exist", fix=f"relsql import SOURCE {path}")
    if path.is_dir():
        raise DatabaseError(f"'{path}' is a folder", expected="a DuckDB file")


def _open_error(path: Path, error: Exception) -> DatabaseError:
    text = str(error)
    if "lock" in text.lower():
        holder = re.search(r"PID (\d+)", text)
        who = f" by process {holder.group(1)}" if holder else ""
        return DatabaseError(f"file '{path}' is locked{who}", fix="close the other connection, then run again")
    if "permission denied" in text.lower() or "read-only" in text.lower():
        return DatabaseError(
            f"file '{path}' cannot be written", expected="write permission", fix=f"chmod u+w '{path}' or work on a copy"
        )
    if "not a valid duckdb database" in text.lower() or "file header" in text.lower():
        return DatabaseError(f"file '{path}' is no DuckDB database", fix=f"relsql import SOURCE {path.stem}.duckdb")
    if "version number" in text.lower():
        return DatabaseError(
            f"file '{path}' was written by another DuckDB storage version ({text.splitlines()[0]})",
            fix="pip install --upgrade duckdb",
        )
    return DatabaseError(f"file '{path}' cannot be opened: {text.splitlines()[0]}")


def is_read_only(con: duckdb.DuckDBPyConnection, catalog: str) -> bool:
    """True if the attached database `catalog` cannot be written."""
    rows = con.execute("SELECT readonly FROM duckdb_databases() WHERE database_name = ?", [catalog]).fetchall()
    return bool(rows and rows[0][0])


def require_writable(con: duckdb.DuckDBPyConnection, catalog: str, doing: str) -> None:
    """Raise DatabaseError if `catalog` is read-only; `doing` says what for."""
    if is_read_only(con, catalog):
        raise DatabaseError(
            f"database '{catalog}' is read-only, but {doing} writes to it",
            expected="a database opened for writing",
            fix=f"relsql.connect('{catalog}.duckdb') without read_only, or work on a copy",
        )


@contextmanager
def transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Run a block in one transaction: all of it is committed or none.

    Raises:
        DatabaseError: the disk is full or the file cannot be written.
    """
    con.execute("BEGIN TRANSACTION")
    try:
        yield
        con.execute("COMMIT")
    except BaseException as error:
        try:
            con.execute("ROLLBACK")
        except duckdb.Error:
            pass  # A failed COMMIT has already rolled back.
        if _cannot_write(error):
            raise DatabaseError(
                f"the database could not be written: {str(error).splitlines()[0]}",
                expected="enough disk space; nothing was changed",
            ) from error
        raise


def _cannot_write(error: BaseException) -> bool:
    """True when the disk is full or the file cannot be written; a failed COMMIT says so in a transaction error."""
    if isinstance(error, duckdb.IOException):
        return True
    return isinstance(error, (duckdb.Error, OSError)) and any(
        words in str(error) for words in ("No space left on device", "Could not write")
    )


def use_catalog(con: duckdb.DuckDBPyConnection, catalog: str) -> None:
    """Make `catalog` the connection's current database."""
    con.execute(f"USE {qualified(catalog, DEFAULT_SCHEMA)}")
