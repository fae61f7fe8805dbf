"""Copy a database into a new file, and which versions of DuckDB can open it."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

from relsql.database.connections import open_database, require_no_log
from relsql.database.drafts import is_taken, remove_draft
from relsql.database.engine_errors import first_line
from relsql.database.names import current_catalog
from relsql.errors import DatabaseError
from relsql.sql_text import literal

OLDER_STORAGE = "v1.5.0"
"""The storage version of copies for clients of DuckDB 1.5."""


def require_absent(target: Path) -> None:
    """Raise DatabaseError if something has the name of a file that is to be written."""
    if is_taken(target):
        raise DatabaseError(
            f"file '{target}' exists", expected="a new file", fix=f"--into another file, or rm '{target}'"
        )


def copy_database(source: Path, target: Path, storage_version: str | None = None) -> None:
    """Copy a DuckDB file into a new one.

    Args:
        source: the file; it is only read.
        target: must not exist.
        storage_version: the oldest DuckDB version that can read the copy: `v1.5.0`; default: DuckDB's own.

    Raises:
        DatabaseError: source cannot be opened, target exists, or the storage version does not exist.
    """
    open_database(source, read_only=True).close()
    require_no_log(target)
    require_absent(target)
    options = f" (STORAGE_VERSION {literal(storage_version)})" if storage_version else ""
    try:
        with duckdb.connect() as con:
            con.execute(f"ATTACH {literal(str(source))} AS relsql_source (READ_ONLY)")
            con.execute(f"ATTACH {literal(str(target))} AS relsql_target{options}")
            con.execute("COPY FROM DATABASE relsql_source TO relsql_target")
            con.execute("CHECKPOINT relsql_target")
    except duckdb.Error as error:
        remove_draft(target)
        raise DatabaseError(f"file '{source}' cannot be copied to '{target}': {first_line(error)}") from error


def newer_storage(con: duckdb.DuckDBPyConnection) -> str | None:
    """The storage version of the current database, if it is one that DuckDB 1.5 cannot open: `v2.0.0`."""
    query = "SELECT tags['storage_version'] FROM system.main.duckdb_databases() WHERE database_name = ?"
    [(text,)] = con.execute(query, [current_catalog(con)]).fetchall()
    return newer_version(text or "")


def newer_version(text: str) -> str | None:
    """The version that a text such as `v2.0.0+` begins with, if it is newer than `OLDER_STORAGE`."""
    found = re.match(r"v\d+(\.\d+)*", text)
    return found.group() if found and _numbers(found.group()) > _numbers(OLDER_STORAGE) else None


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.removeprefix("v").split(".")]
