"""Import whatever DuckDB or Python can read into a new DuckDB file.

| source | becomes |
| --- | --- |
| a folder with `manifest.yaml`, or a hub name | the data set, with keys, links, times and tasks (`import_relbench`) |
| a folder of CSV, Parquet or JSON files | a table for each file, and for each folder of files |
| one such file | one table |
| a SQLite file | its tables, with primary and foreign keys as declarations |
| a DuckDB file | a copy |
| `postgresql://...` | its tables, where DuckDB's extension postgres is installed |
"""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

from relsql.database.connections import foreign_database, transaction
from relsql.database.engine_errors import first_line
from relsql.database.names import current_catalog, fold
from relsql.database.relsql_schema import relsql_schema
from relsql.database.sources.extensions import load_extension
from relsql.database.sources.file_kinds import FileKind, file_kind, table_name
from relsql.errors import DatabaseError, SchemaError
from relsql.integrations import import_relbench, sqlite_source
from relsql.integrations.new_database import ImportReport, Progress, built_beside, count_rows, require_free
from relsql.schema.declared.declare import declare_link, declare_table, resolve_link
from relsql.schema.reading import read_schema
from relsql.schema.sources import sqlite_tables
from relsql.sql_text import ident, literal, qualified

READABLE = "a folder or file of CSV, Parquet or JSON, a SQLite or DuckDB file, a postgresql:// URL, a RelBench data set"

_POSTGRES = re.compile(r"postgres(?:ql)?://", re.IGNORECASE)
_READERS: dict[FileKind, str] = {
    "CSV": "read_csv({}, sample_size = -1)",
    "Parquet": "read_parquet({})",
    "JSON": "read_json({}, sample_size = -1)",
}
"""How DuckDB reads the rows of a kind of file. All rows are looked at for the types, so that none fails later."""

_Parts = dict[str, tuple[FileKind, list[Path]]]
"""By the name of a table, the files with its rows."""


def import_source(
    source: str, path: Path, *, overwrite: bool = False, progress: Progress | None = None
) -> ImportReport:
    """Create a DuckDB file from a source; when anything fails, no file is left.

    Args:
        source: see the head of this module.
        path: the file to create.
        overwrite: replace an existing file, once the new one is complete.
        progress: called before each table is written.

    Raises:
        DatabaseError: the source does not exist or cannot be read, or the file exists or cannot be written.
        MissingExtraError: it is a RelBench data set, and relbench is not installed.
    """
    path, progress = Path(path), progress or _silent
    if _POSTGRES.match(source):
        require_free(path, overwrite)
        return _import_postgres(source, path, progress)
    here = Path(source)
    if (here / "manifest.yaml").is_file() or (not here.exists() and _may_be_hub_name(source)):
        return import_relbench.import_dataset(source, path, overwrite=overwrite, progress=progress)
    kind = _kind_of(here)
    if path.exists() and here.exists() and path.resolve() == here.resolve():
        raise DatabaseError(f"'{source}' would be imported into itself", expected="the path of a new DuckDB file")
    require_free(path, overwrite)
    if kind == "SQLite":
        return _import_sqlite(here, path, progress)
    if kind == "DuckDB":
        return _import_duckdb(here, path, progress)
    return _import_files(_parts(here), path, progress)


def _silent(table: str, done: int, tables: int) -> None:
    """No progress."""


def _may_be_hub_name(source: str) -> bool:
    """True if a text can be the name of a data set on the hub: `rel-f1`, `org/repo/name`, without a file suffix."""
    return re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*){0,2}", source) is not None and not Path(source).suffix


def _kind_of(path: Path) -> FileKind | None:
    """The kind of a file; None for a folder.

    Raises:
        DatabaseError: it does not exist, cannot be read, or is of no kind that can be imported.
    """
    if not path.exists():
        raise DatabaseError(f"'{path}' does not exist", expected=READABLE, fix="relsql import SOURCE NEW.duckdb")
    if path.is_dir():
        return None
    try:
        kind = file_kind(path) if path.is_file() else None
    except OSError as error:
        raise DatabaseError(f"file '{path}' cannot be read: {error.strerror}") from error
    if kind is None:
        raise DatabaseError(f"'{path}' is not a file that relsql can import", expected=READABLE)
    return kind


def _parts(path: Path) -> _Parts:
    """The tables that a file or a folder of files becomes.

    Raises:
        DatabaseError: there are no files, two would become the same table, or a subfolder has files of several kinds.
    """
    found: _Parts = {}
    for entry in sorted(path.iterdir()) if path.is_dir() else [path]:
        files = sorted(entry.rglob("*")) if entry.is_dir() else [entry]
        kinds = {file: file_kind(file) for file in files if file.is_file() and not file.name.startswith(".")}
        rows = {file: kind for file, kind in kinds.items() if kind in _READERS}
        if not rows:
            continue
        name = entry.name if entry.is_dir() else table_name(entry)
        if len(set(rows.values())) > 1:
            raise DatabaseError(f"folder '{entry}' has files of several kinds", expected="one kind for a table")
        same = next((other for other in found if fold(other) == fold(name)), None)
        if same is not None:
            raise DatabaseError(f"'{found[same][1][0]}' and '{entry}' would both be the table '{name}'", expected="one")
        kind = next(iter(rows.values()))
        assert kind is not None
        found[name] = (kind, list(rows))
    if not found:
        raise DatabaseError(f"folder '{path}' has no CSV, Parquet or JSON files", expected=READABLE)
    return found


def _import_files(parts: _Parts, path: Path, progress: Progress) -> ImportReport:
    with built_beside(path) as con:
        catalog = current_catalog(con)
        for done, (name, (kind, files)) in enumerate(parts.items()):
            progress(name, done, len(parts))
            listed = f"[{', '.join(literal(str(file)) for file in files)}]"
            con.execute(f"CREATE TABLE {ident(name)} AS FROM {_READERS[kind].format(listed)}")
        counts = tuple((name, count_rows(con, catalog, "main", name)) for name in parts)
    return ImportReport(str(path), counts)


def _import_sqlite(source: Path, path: Path, progress: Progress) -> ImportReport:
    problems: list[str] = []
    with sqlite_tables.opened(source) as file, built_beside(path) as con:
        catalog = current_catalog(con)
        tables, others = sqlite_tables.read_tables(file)
        if not tables:
            raise DatabaseError(f"SQLite file '{source}' has no tables", expected="at least one")
        for done, table in enumerate(tables):
            progress(table.name, done, len(tables))
            problems += sqlite_source.copy_table(con, catalog, file, table)
        with transaction(con):
            declared = _declare_keys(con, catalog, tables, problems)
        problems += [f"{name} is a view or a virtual table, which is left out" for name in others]
        counts = tuple((table.name, count_rows(con, catalog, "main", table.name)) for table in tables)
    return ImportReport(str(path), counts, declared_links=declared, problems=tuple(problems))


def _declare_keys(
    con: duckdb.DuckDBPyConnection, catalog: str, tables: list[sqlite_tables.SqliteTable], problems: list[str]
) -> tuple[str, ...]:
    """Store the primary and foreign keys of a SQLite file; those that the data do not allow are problems."""
    declared = []
    for table in tables:
        if table.primary_key:
            try:
                declare_table(con, catalog, ident(table.name), primary_key=table.primary_key)
            except SchemaError as error:
                problems.append(error.problem)
    for link in (link for table in tables for link in table.links):
        try:
            link = resolve_link(read_schema(con, catalog), link)
            counts = declare_link(con, catalog, link)
        except SchemaError as error:
            problems.append(error.problem)
            continue
        declared.append(str(link))
        if counts.dangling:
            problems.append(f"{link}: {counts.dangling:,} of {counts.rows:,} keys dangle, such as {counts.example}")
    return tuple(declared)


def _import_duckdb(source: Path, path: Path, progress: Progress) -> ImportReport:
    """Copy a database whole: its schemas, constraints, views, macros, and the models in it."""
    with foreign_database(source):
        pass  # Raises an error that explains why, if the file cannot be opened.
    with built_beside(path) as con:
        catalog, other = current_catalog(con), "relsql_source"
        con.execute(f"ATTACH {literal(str(source))} AS {other} (READ_ONLY)")
        progress(source.name, 0, 1)
        con.execute(f"COPY FROM DATABASE {other} TO {ident(catalog)}")
        con.execute(f"DETACH {other}")
        return ImportReport(str(path), _all_counts(con, catalog))


def _import_postgres(url: str, path: Path, progress: Progress) -> ImportReport:
    with built_beside(path) as con:
        catalog, other = current_catalog(con), "relsql_source"
        try:
            load_extension(con, "postgres_scanner")
        except duckdb.Error as error:
            raise DatabaseError(
                "a Postgres database is read by DuckDB's extension postgres, which is not installed",
                expected="the extension, or the tables as a folder of Parquet or CSV files",
                fix="INSTALL postgres in DuckDB, once, then run the command again",
            ) from error
        try:
            con.execute(f"ATTACH {literal(url)} AS {other} (TYPE postgres, READ_ONLY)")
        except duckdb.Error as error:
            # DuckDB's message may quote the URL, which has a password.
            reason = first_line(error).replace(url, "the URL")
            raise DatabaseError(f"the Postgres database cannot be opened: {reason}") from None
        tables = _tables(con, other)
        for done, (schema_name, name) in enumerate(tables):
            progress(name, done, len(tables))
            target = "main" if schema_name == "public" else schema_name
            con.execute(f"CREATE SCHEMA IF NOT EXISTS {qualified(catalog, target)}")
            query = f"FROM {qualified(other, schema_name, name)}"
            con.execute(f"CREATE TABLE {qualified(catalog, target, name)} AS {query}")
        con.execute(f"DETACH {other}")
        return ImportReport(str(path), _all_counts(con, catalog))


def _tables(con: duckdb.DuckDBPyConnection, catalog: str) -> list[tuple[str, str]]:
    query = """SELECT schema_name, table_name FROM system.main.duckdb_tables()
               WHERE database_name = ? AND NOT internal ORDER BY ALL ASC"""
    return [(schema_name, name) for schema_name, name in con.execute(query, [catalog]).fetchall()]


def _all_counts(con: duckdb.DuckDBPyConnection, catalog: str) -> tuple[tuple[str, int], ...]:
    """The user's tables of a database with their numbers of rows."""
    own = fold(relsql_schema(con, catalog))
    tables = [(schema, name) for schema, name in _tables(con, catalog) if fold(schema) != own]
    return tuple(
        (name if schema == "main" else f"{schema}.{name}", count_rows(con, catalog, schema, name))
        for schema, name in tables
    )
