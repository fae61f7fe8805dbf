"""Write the scores of all entities to a file or a table, and nowhere else.

Existing files and tables are replaced only if the caller asks for it, and tables only if their comment shows that
relsql wrote them.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path

import duckdb

from relsql.database.connections import require_writable, transaction
from relsql.database.drafts import draft_path, is_taken, log_path, remove_draft
from relsql.database.engine_errors import first_line
from relsql.database.names import ObjectName, Relation, current_catalog, find_relation, fold, resolve
from relsql.database.relsql_schema import relsql_schema
from relsql.errors import DatabaseError
from relsql.hints import command
from relsql.registry.function_names import batch_name
from relsql.registry.models import find_model, read_card
from relsql.registry.score_jobs import forget_job, is_scores, mark_scores
from relsql.registry.versions import suffix_of
from relsql.sql_text import ident, literal
from udfs.attach import attach

FILE_FORMATS = {".parquet": "FORMAT parquet", ".csv": "FORMAT csv, HEADER"}
"""COPY options by suffix; any other output is the name of a table."""

_OTHER_SUFFIXES = frozenset(
    (
        *(".txt", ".tsv", ".json", ".jsonl", ".ndjson", ".xlsx", ".arrow", ".feather", ".sqlite", ".duckdb", ".db"),
        *(".gz", ".zst", ".zip"),
    )
)
"""Endings of files that cannot be written. A table of such a name is put in quotes: `x."txt"`, in schema x."""

_A_TABLE = "risk or staging.risk, a table of the database; relsql score --output also writes .parquet and .csv files"


def is_table(output: str) -> bool:
    """True if `output` names a table, not a file. A table called `risk.csv` is written in quotes: `"risk.csv"`."""
    return Path(output).suffix.lower() not in FILE_FORMATS


def batch_query(con: duckdb.DuckDBPyConnection, model: str, as_of: datetime.datetime | None = None) -> str:
    """Attach a model and return the query that scores every entity, ordered by key.

    Args:
        con: a connection to the database that holds the model.
        model: its name, or a version of it, `dnf@2`.
        as_of: score as of this time (inclusive, zone-less); None: the latest event.

    Raises:
        ModelError: there is no such model or version. SchemaDriftError: its tables changed. ArtifactError: it is
            damaged.
    """
    attach(con, models=[model])
    found = find_model(con, current_catalog(con), model)
    suffix = suffix_of(model, found.name, found.version)
    moment = "" if as_of is None else f"as_of := {literal(as_of)}"
    card = read_card(con, current_catalog(con), found.name, found.version)
    return f"FROM {ident(batch_name(suffix))}({moment}) ORDER BY {card.score_order}"


def score_to(
    con: duckdb.DuckDBPyConnection,
    model: str,
    output: str,
    *,
    as_of: datetime.datetime | None = None,
    overwrite: bool = False,
) -> int:
    """Score every entity and write all scores, or none if an error occurs.

    Args:
        con: a connection whose current database holds the model, without an open transaction if `output` is a table.
        model: its name, or a version of it, `dnf@2`.
        output: a `.parquet` or `.csv` file, or a table: `risk`, `staging.risk`.
        as_of: see `batch_query`.
        overwrite: replace an existing file, or a table of scores that relsql wrote.

    Returns:
        The number of rows written.

    Raises:
        DatabaseError: the output exists, must not be replaced because relsql did not write it, or cannot be written.
        ModelError, ArtifactError: the model cannot be used.
    """
    if is_table(output):
        target = output_table(con, output)
        require_replaceable(find_relation(con, target), ("--output", str(output)), overwrite=overwrite)
        return _write_table(con, batch_query(con, model, as_of), target, model, overwrite)
    path = Path(output)
    _check_path(con, path, overwrite)
    return _write_file(con, batch_query(con, model, as_of), path, overwrite)


def _check_path(con: duckdb.DuckDBPyConnection, path: Path, overwrite: bool) -> None:
    """Raise DatabaseError if the file exists and must not be replaced, or cannot be written."""
    if is_taken(path) and not overwrite:
        raise _exists(f"file '{path}'", ("--output", str(path)))
    if path.is_dir() or not path.parent.is_dir():
        raise DatabaseError(f"file '{path}' cannot be written", expected="the path of a file in an existing folder")
    for database in _database_files(con):
        if path.exists() and database.exists() and path.samefile(database):
            raise DatabaseError(
                f"file '{path}' holds the open database '{database}'", expected="a file that is not an open database"
            )


def _database_files(con: duckdb.DuckDBPyConnection) -> list[Path]:
    """The files of all attached databases, and their write-ahead logs."""
    query = "SELECT path FROM system.main.duckdb_databases() WHERE path IS NOT NULL"
    paths = [Path(path) for (path,) in con.execute(query).fetchall()]
    return [*paths, *map(log_path, paths)]


def _write_file(con: duckdb.DuckDBPyConnection, query: str, path: Path, overwrite: bool) -> int:
    draft = draft_path(path)
    try:
        target = f"{literal(str(draft))} ({FILE_FORMATS[path.suffix.lower()]})"
        row = con.execute(f"COPY ({query}) TO {target}").fetchall()[0]
        if is_taken(path) and not overwrite:  # Another process may have written it meanwhile.
            raise _exists(f"file '{path}'", ("--output", str(path)))
        draft.replace(path)
    except (duckdb.IOException, OSError) as error:
        raise DatabaseError(f"file '{path}' cannot be written: {first_line(error)}") from error
    finally:
        remove_draft(draft)
    return int(row[0])


def output_table(con: duckdb.DuckDBPyConnection, output: str) -> ObjectName:
    """The table that scores may be written to, whether or not it exists: `risk`, `staging.risk`, `"my.risk"`.

    Raises:
        DatabaseError: it is the path of a file, or is in relsql's own schema, in a schema that does not exist or in
            another database, or the database is read-only.
    """
    suffix = Path(output).suffix
    if suffix.lower() in _OTHER_SUFFIXES:
        raise DatabaseError(
            f"'{output}' is the name of a file, and {suffix} files cannot be written",
            expected=_A_TABLE,
            fix=command("score", "FILE", "MODEL", "--output", f"{output.removesuffix(suffix)}.csv"),
        )
    if os.sep in output or not is_table(output):
        raise DatabaseError(f"'{output}' is not a table", expected=_A_TABLE)
    catalog = current_catalog(con)
    require_writable(con, catalog, "writing scores to a table")
    target = resolve(con, output)
    if target.catalog != catalog:
        raise DatabaseError(
            f"table '{output}' would be in database '{target.catalog}'",
            expected=f"a table of '{catalog}', the database that holds the model",
        )
    if fold(target.schema_name) == fold(relsql_schema(con, catalog)):
        raise DatabaseError(f"table '{output}' would be in relsql's own schema", expected="a table of another schema")
    return target


def require_replaceable(found: Relation | None, asked: Sequence[str], *, overwrite: bool) -> None:
    """Check that an existing relation may be replaced with scores.

    Args:
        found: the existing relation, if there is one.
        asked: the option that names it: `--output`, `risk`.
        overwrite: replace a table of scores.

    Raises:
        DatabaseError: it is a view or a table that relsql did not write, or `overwrite` is false.
    """
    if found is None:
        return
    if not is_scores(found):
        raise DatabaseError(
            f"{found} exists and was not written by {command('score', *asked)}",
            expected="the name of a new table, or of a table of scores together with --overwrite",
            fix=command("score", "FILE", "MODEL", asked[0], "ANOTHER_TABLE"),
        )
    if not overwrite:
        raise _exists(str(found), asked)


def drop_old_scores(
    con: duckdb.DuckDBPyConnection, target: ObjectName, asked: Sequence[str], *, overwrite: bool
) -> None:
    """Drop the table of scores with the name `target`, if there is one. The caller owns the transaction.

    Arguments and errors are those of `require_replaceable`.
    """
    found = find_relation(con, target)
    require_replaceable(found, asked, overwrite=overwrite)
    if found:
        con.execute(f"DROP TABLE {found.name.sql}")


def _write_table(con: duckdb.DuckDBPyConnection, query: str, target: ObjectName, model: str, overwrite: bool) -> int:
    with transaction(con):
        # Checked again within the transaction, because another connection may have created the table meanwhile.
        drop_old_scores(con, target, ("--output", target.key), overwrite=overwrite)
        row = con.execute(f"CREATE TABLE {target.sql} AS {query}").fetchall()[0]
        mark_scores(con, target, f"model {model}")
        forget_job(con, target)
    return int(row[0])


def _exists(what: str, asked: Sequence[str]) -> DatabaseError:
    return DatabaseError(
        f"{what} exists", expected="a new name", fix=command("score", "FILE", "MODEL", *asked, "--overwrite")
    )
