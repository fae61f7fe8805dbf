"""relsql's own tables in the user's file. The first write creates a table, so reading never assumes that it exists."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import duckdb

from relsql.database.digests import row_digest
from relsql.database.names import fold, has_table
from relsql.database.relsql_schema import MARK, in_schema_sql, relsql_schema, table_text
from relsql.errors import DatabaseError
from relsql.sql_text import literal, qualified

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
        "target VARCHAR, predict VARCHAR, positive VARCHAR, kind VARCHAR, "
        "item_table VARCHAR, k INTEGER, split VARCHAR, steps INTEGER"
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
        "scored BIGINT, started TIMESTAMP, updated TIMESTAMP, digest VARCHAR, keep_history BOOLEAN"
    ),
    "publications": (
        "model VARCHAR, version INTEGER, identity VARCHAR, format INTEGER, published TIMESTAMP, "
        "relsql_version VARCHAR, objects VARCHAR, digest VARCHAR"
    ),
    "backtests": (
        "backtest VARCHAR, cutoff TIMESTAMP, metric VARCHAR, value DOUBLE, low DOUBLE, high DOUBLE, labels BIGINT, "
        "positives BIGINT, own_columns DOUBLE, single_column DOUBLE, entity_mean DOUBLE, task VARCHAR, model VARCHAR, "
        "trained_until TIMESTAMP, seen BOOLEAN, single_column_name VARCHAR, seconds DOUBLE, created TIMESTAMP, "
        "popularity DOUBLE, past_visits DOUBLE, popular_among_similar DOUBLE"
    ),
    "backtest_scores": (
        "backtest VARCHAR, cutoff TIMESTAMP, entity VARCHAR, score DOUBLE, label DOUBLE, class VARCHAR, "
        "label_class VARCHAR"
    ),
    "score_fingerprints": "target VARCHAR, entity VARCHAR, fingerprint UBIGINT",
    "predictions": (
        "model VARCHAR, version INTEGER, entity VARCHAR, as_of TIMESTAMP, score DOUBLE, status VARCHAR, "
        "target VARCHAR, scored_at TIMESTAMP, class VARCHAR, probabilities DOUBLE[]"
    ),
    "outcomes": (
        "model VARCHAR, version INTEGER, task VARCHAR, period_length VARCHAR, period TIMESTAMP, metric VARCHAR, "
        "value DOUBLE, low DOUBLE, high DOUBLE, validation DOUBLE, labels BIGINT, mean_score DOUBLE, "
        "mean_label DOUBLE, unlabelled BIGINT, unclosed BIGINT, known_until TIMESTAMP, computed TIMESTAMP"
    ),
    "drift": (
        "model VARCHAR, version INTEGER, rank INTEGER, table_name VARCHAR, column_name VARCHAR, kind VARCHAR, "
        "finding VARCHAR, severity DOUBLE, psi DOUBLE, psi_by_chance DOUBLE, missing_then DOUBLE, missing_now DOUBLE, "
        "unseen_share DOUBLE, unseen VARCHAR[], rows_then BIGINT, rows_now BIGINT, rows_per_day_then DOUBLE, "
        "rows_per_day_now DOUBLE, newest TIMESTAMP, age_days DOUBLE, since TIMESTAMP, until TIMESTAMP, "
        "computed TIMESTAMP"
    ),
}
"""Columns of each table. New columns are added at the end, so that `ALTER TABLE` can extend an older file.

Row embeddings have a table per model version, whose columns depend on the model and are not listed here;
`row_embeddings` exists in older files only.
"""

_FIRST_COLUMNS = 3
"""Number of leading columns that every build writes to each table."""

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


Owner = Literal["nobody", "own", "user"]
"""The owner of a schema: `user` if relsql made none of its tables and views, `nobody` if the schema is empty."""


@dataclass(frozen=True, slots=True)
class SealedRow:
    """A row of a table in `SEALED`.

    `values` are the columns that the row's digest covers, times as text. `intact` says whether they match the digest
    that was written with them; None if the table has no digests, because an earlier build wrote it.
    """

    values: dict[str, Any]
    intact: bool | None


def relsql_table(con: duckdb.DuckDBPyConnection, catalog: str, name: str) -> str:
    """The qualified name of a relsql table, or of a table or view of a model version: `"f1"."relsql"."models"`."""
    return qualified(catalog, relsql_schema(con, catalog), name)


def create_schema(con: duckdb.DuckDBPyConnection, catalog: str) -> None:
    """Create the schema of relsql's tables if it does not exist.

    Raises:
        DatabaseError: there is one, and it is the user's.
    """
    con.execute(f"CREATE SCHEMA IF NOT EXISTS {qualified(catalog, require_own_schema(con, catalog))}")


def ensure_table(con: duckdb.DuckDBPyConnection, catalog: str, name: str) -> str:
    """Create a relsql table, or add the columns that an older file lacks, and return its qualified name.

    Raises:
        DatabaseError: a table of this name exists that relsql did not create.
    """
    table = relsql_table(con, catalog, name)
    if not has_relsql_table(con, catalog, name):
        create_schema(con, catalog)
        con.execute(f"CREATE TABLE IF NOT EXISTS {table} ({TABLES[name]})")
        return table
    known = _described(con, table)
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
    table = relsql_table(con, catalog, name)
    rows = con.execute(f"SELECT rowid, {_sealed_sql(name)} FROM {table} WHERE {where}", parameters).fetchall()
    for rowid, *values in rows:
        con.execute(f"UPDATE {table} SET digest = ? WHERE rowid = ?", [row_digest(values), rowid])


def read_sealed(
    con: duckdb.DuckDBPyConnection, catalog: str, name: str, where: str = "true", parameters: Sequence[object] = ()
) -> list[SealedRow]:
    """Read the rows of an existing relsql table that meet a condition, each compared with its digest."""
    rows = con.execute(
        f"SELECT digest, {_sealed_sql(name)} FROM {rows_sql(con, catalog, name)} WHERE {where}", parameters
    ).fetchall()
    sealed = has_column(con, catalog, name, "digest")
    return [
        SealedRow(dict(zip(SEALED[name], values, strict=True)), row_digest(values) == digest if sealed else None)
        for digest, *values in rows
    ]


def has_column(con: duckdb.DuckDBPyConnection, catalog: str, table: str, column: str) -> bool:
    """True if an existing relsql table has the column."""
    return column in _described(con, relsql_table(con, catalog, table))


def _sealed_sql(name: str) -> str:
    """The sealed columns; times as text, because DuckDB's range of times exceeds Python's."""
    types = dict(column.split(" ", 1) for column in TABLES[name].split(", "))
    return ", ".join(f"CAST({c} AS VARCHAR)" if types[c] == "TIMESTAMP" else c for c in SEALED[name])


def rows_sql(con: duckdb.DuckDBPyConnection, catalog: str, name: str) -> str:
    """A query in parentheses for the rows of an existing relsql table; columns that an older file lacks are NULL."""
    columns = (column.split(" ", 1) for column in TABLES[name].split(", "))
    nulls = ", ".join(f"CAST(NULL AS {kind}) AS {column}" for column, kind in columns)
    return f"(FROM {relsql_table(con, catalog, name)} UNION ALL BY NAME SELECT {nulls} WHERE false)"


def has_relsql_table(con: duckdb.DuckDBPyConnection, catalog: str, name: str) -> bool:
    """True if relsql's schema in the database `catalog` has the table.

    Raises:
        DatabaseError: it exists, and relsql did not create it.
    """
    schema = relsql_schema(con, catalog)
    if not has_table(con, catalog, schema, name):
        return False
    if name in TABLES and not _is_ours(name, _described(con, qualified(catalog, schema, name))):
        raise _not_ours(con, catalog, name)
    return True


def require_own_schema(con: duckdb.DuckDBPyConnection, catalog: str) -> str:
    """The schema of relsql's tables, whether or not it exists.

    Raises:
        DatabaseError: it is the user's: relsql made none of its tables and views, or one of them has a name of relsql's
            and other columns.
    """
    schema = relsql_schema(con, catalog)
    found = _columns(con, catalog, schema)
    foreign = [name for name, columns in found.items() if name in TABLES and not _is_ours(name, columns)]
    if _owner(found) == "user":
        foreign += found
    if foreign:
        raise _not_ours(con, catalog, foreign[0])
    return schema


def schema_owner(con: duckdb.DuckDBPyConnection, catalog: str) -> Owner:
    """The owner of the schema in which relsql looks for its tables."""
    return _owner(_columns(con, catalog, relsql_schema(con, catalog)))


def users_objects_sql(con: duckdb.DuckDBPyConnection) -> str:
    """The condition on rows of DuckDB's catalog that leaves out relsql's schemas, in all attached databases."""
    query = "SELECT database_name FROM system.main.duckdb_databases() WHERE NOT internal"
    catalogs = [name for (name,) in con.execute(query).fetchall()]
    own = [
        f"NOT (database_name = {literal(catalog)} AND {in_schema_sql(relsql_schema(con, catalog))})"
        for catalog in catalogs
        if schema_owner(con, catalog) == "own"
    ]
    return " AND ".join(own) or "true"


def _owner(found: Mapping[str, dict[str, str]]) -> Owner:
    if not found:
        return "nobody"
    own = any(
        name == MARK or _OF_A_MODEL.search(name) or (name in TABLES and _is_ours(name, columns))
        for name, columns in found.items()
    )
    return "own" if own else "user"


def _described(con: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """The types of the columns of one table; duckdb_columns() would go through all tables of all databases."""
    return {column: type_ for column, type_, *_ in con.execute(f"DESCRIBE {table}").fetchall()}


def _columns(con: duckdb.DuckDBPyConnection, catalog: str, schema: str) -> dict[str, dict[str, str]]:
    """The types of all columns in a schema, by the folded name of the table or view."""
    query = f"""SELECT table_name, column_name, data_type FROM system.main.duckdb_columns()
                WHERE database_name = ? AND {in_schema_sql(schema)}
                ORDER BY ALL ASC NULLS LAST"""
    found: dict[str, dict[str, str]] = {}
    for table, column, type_ in con.execute(query, [catalog]).fetchall():
        found.setdefault(fold(table), {})[column] = type_
    return found


def _is_ours(name: str, known: dict[str, str]) -> bool:
    """True if the columns are those of a table of `TABLES`; an older relsql wrote fewer, a newer one may write more."""
    ours = dict(column.split(" ", 1) for column in TABLES[name].split(", "))
    extends = known.keys() <= ours.keys() or ours.keys() <= known.keys()
    same_types = all(known[column] == type_ for column, type_ in ours.items() if column in known)
    return extends and same_types and {*list(ours)[:_FIRST_COLUMNS]} <= known.keys()


def _not_ours(con: duckdb.DuckDBPyConnection, catalog: str, name: str) -> DatabaseError:
    schema, shown = relsql_schema(con, catalog), table_text(con, catalog, name)
    table = qualified(schema, name)
    move = f"move it: CREATE SCHEMA mine; CREATE TABLE mine.{qualified(name)} AS FROM {table}; DROP TABLE {table}"
    columns = f"the columns {TABLES[name]}" if name in TABLES else None
    users = schema_owner(con, catalog) == "user"
    return DatabaseError(
        f"'{shown}' of database '{catalog}' was not made by relsql, which keeps its models there",
        expected=columns or f"no schema '{schema}', or the one that relsql made",
        fix="relsql init FILE --schema NAME, which keeps them in another schema" if users else move,
    )
