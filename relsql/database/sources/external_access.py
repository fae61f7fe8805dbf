"""Deny a DuckDB instance access to files, servers and extensions, except to the files of its own databases."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import duckdb

from relsql.sql_text import literal


def has_external_access(con: duckdb.DuckDBPyConnection) -> bool:
    """True if statements may read and write files other than the databases and those that are allowed."""
    query = "SELECT CAST(system.main.current_setting('enable_external_access') AS BOOLEAN)"
    return bool(con.execute(query).fetchall()[0][0])


def close_external_access(con: duckdb.DuckDBPyConnection, files: Iterable[str] = ()) -> None:
    """Refuse access to files and extensions for as long as the instance lives.

    DuckDB can still write the databases that are attached, their logs and its temporary folder.

    Args:
        con: a connection with all databases attached that it needs.
        files: paths and glob patterns that remain accessible. A pattern stands for the files that it matches now. The
            data of attached DuckLakes remain accessible too.
    """
    if has_external_access(con):
        # The list is completed first: once access is closed, no path can be added.
        paths = [path for file in files for path in (file, *_matches(con, file))]
        con.execute(f"SET allowed_paths = {_list_sql(paths)}")
        con.execute(f"SET allowed_directories = {_list_sql(_lakes(con))}")
        con.execute("SET enable_external_access = false")
    con.execute("SET autoload_known_extensions = false")
    con.execute("SET autoinstall_known_extensions = false")


def allowed_files(con: duckdb.DuckDBPyConnection) -> Collection[str]:
    """The paths and patterns that `close_external_access` has allowed, without the folders of attached lakes."""
    [(paths,)] = con.execute("SELECT system.main.current_setting('allowed_paths')").fetchall()
    return frozenset(paths or ())


def absolute_file(path: str) -> str:
    """A path or pattern as DuckDB lists it among those that are allowed."""
    return str(Path(path).absolute())


def _list_sql(paths: Iterable[str]) -> str:
    """A list of paths in SQL. `[..]` could call a macro `list_value` of the database, which could name other paths."""
    return f"system.main.list_value({', '.join(map(literal, paths))})"


def _matches(con: duckdb.DuckDBPyConnection, pattern: str) -> list[str]:
    return [file for (file,) in con.execute("SELECT file FROM system.main.glob(?)", [pattern]).fetchall()]


def _lakes(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The folders of the data of attached DuckLakes."""
    query = "SELECT database_name FROM system.main.duckdb_databases() WHERE type = 'ducklake'"
    lakes = [name for (name,) in con.execute(query).fetchall()]
    return [con.execute(f"SELECT data_path FROM ducklake_settings({literal(name)})").fetchall()[0][0] for name in lakes]
