"""Write the scores of all entities to a file or a table."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import duckdb

from relsql.errors import DatabaseError
from relsql.references import parse_reference
from relsql.registry import find_model
from relsql.schema import DEFAULT_SCHEMA, RELSQL_SCHEMA, current_catalog, has_table
from relsql.sql import ident, literal, qualified
from relsql.store import require_writable

FILE_FORMATS = {".parquet": "FORMAT parquet", ".csv": "FORMAT csv, HEADER"}
"""COPY options by suffix; any other output is the name of a table."""


def is_table(output: str) -> bool:
    """True if `output` names a table, not a file."""
    return Path(output).suffix.lower() not in FILE_FORMATS


def batch_query(con: duckdb.DuckDBPyConnection, model: str, as_of: datetime.datetime | None = None) -> str:
    """Attach a model and return the query that scores every entity, in order of the key.

    Args:
        con: a connection to the database that holds the model.
        model: its name, or a version of it, `dnf@2`.
        as_of: score as of this time (inclusive, zone-less); None: the latest event.

    Raises:
        ModelError: there is no such model or version. SchemaDriftError: its tables changed. ArtifactError: it is
            damaged.
    """
    from udfs.attach import attach

    attach(con, models=[model])
    version = find_model(con, current_catalog(con), model).version
    suffix = parse_reference(model).function_suffix(version)
    return f"FROM {ident(f'predict_{suffix}_batch')}(as_of := {literal(as_of)}) ORDER BY 1"


def score_to(
    con: duckdb.DuckDBPyConnection,
    model: str,
    output: str,
    *,
    as_of: datetime.datetime | None = None,
    overwrite: bool = False,
) -> int:
    """Score every entity and write the scores, all or none.

    Args:
        con: a connection whose current database holds the model.
        model: its name, or a version of it, `dnf@2`.
        output: a `.parquet` or `.csv` file, or a table: `risk`, `staging.risk`.
        as_of: see `batch_query`.
        overwrite: replace an existing file or table.

    Returns:
        The number of rows written.

    Raises:
        DatabaseError: the output exists, or cannot be written.
        ModelError, ArtifactError: the model cannot be used.
    """
    query = batch_query(con, model, as_of)
    write = _write_table if is_table(output) else _write_file
    return write(con, query, output, overwrite)


def _write_file(con: duckdb.DuckDBPyConnection, query: str, output: str, overwrite: bool) -> int:
    path = Path(output)
    if path.exists() and not overwrite:
        raise _exists(f"file '{path}'")
    if path.is_dir() or not path.parent.is_dir():
        raise DatabaseError(f"file '{path}' cannot be written", expected="the path of a file in an existing folder")
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        target = f"{literal(str(draft))} ({FILE_FORMATS[path.suffix.lower()]})"
        row = con.execute(f"COPY ({query}) TO {target}").fetchall()[0]
        draft.replace(path)
    except (duckdb.IOException, OSError) as error:
        raise DatabaseError(f"file '{path}' cannot be written: {str(error).splitlines()[0]}") from error
    finally:
        draft.unlink(missing_ok=True)
    return int(row[0])


def output_table(con: duckdb.DuckDBPyConnection, output: str) -> tuple[str, str, str]:
    """Database, schema and name of a table that scores may be written to: `risk`, `staging.risk`.

    Raises:
        DatabaseError: it is the path of a file, or lies in relsql's own schema, or the database is read-only.
    """
    if os.sep in output or not is_table(output):
        raise DatabaseError(
            f"'{output}' is no table", expected="risk or staging.risk; a file is written by relsql score --output"
        )
    catalog = current_catalog(con)
    require_writable(con, catalog, "writing scores to a table")
    schema_name, _, name = output.rpartition(".")
    schema_name = schema_name or DEFAULT_SCHEMA
    if schema_name == RELSQL_SCHEMA:
        raise DatabaseError(f"table '{output}' would lie in relsql's own schema", expected="a table of another schema")
    return catalog, schema_name, name


def _write_table(con: duckdb.DuckDBPyConnection, query: str, output: str, overwrite: bool) -> int:
    catalog, schema_name, name = output_table(con, output)
    if has_table(con, catalog, schema_name, name) and not overwrite:
        raise _exists(f"table '{output}'")
    target = qualified(catalog, schema_name, name)
    con.execute(f"CREATE OR REPLACE TABLE {target} AS {query}")
    row = con.execute(f"SELECT count(*) FROM {target}").fetchall()[0]
    return int(row[0])


def _exists(what: str) -> DatabaseError:
    return DatabaseError(
        f"{what} exists", expected="a new name", fix="relsql score FILE MODEL --output OUT --overwrite"
    )
