"""Databases that hold the data for a file that holds only models. They are listed in relsql's table `sources`.

If the file with the data is read-only, belongs to somebody else or is not a DuckDB file, the models are stored in a
file of their own. This file names its sources and has a view for each of their tables, and every connection that relsql
opens attaches the sources read-only. Passwords are never stored (`relsql.database.sources.source_kinds`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from relsql.database.engine_errors import first_line
from relsql.database.names import current_catalog, fold, has_table
from relsql.database.relsql_schema import relsql_schema
from relsql.database.sources.allowed_sources import is_allowed
from relsql.database.sources.extensions import load_extension
from relsql.database.sources.file_kinds import import_command
from relsql.database.sources.source_kinds import (
    POSTGRES,
    SQLITE,
    SourceKind,
    attach_sql,
    names_file,
    scrubbed,
    source_kind,
    without_password,
)
from relsql.errors import DatabaseError
from relsql.hints import command
from relsql.sql_text import ident, qualified

SOURCES = "sources"
_OF_DUCKDB = ("system", "temp")
_EXPECTED_LOGIN = "a server that answers, and its password in PGPASSWORD, ~/.pgpass or a DuckDB secret"


@dataclass(frozen=True, slots=True)
class Source:
    """A database that is attached as `name`; `relsql.database.sources.source_kinds` says what a location is."""

    name: str
    location: str = field(repr=False)  # It may hold a password.


def read_sources(con: duckdb.DuckDBPyConnection, catalog: str) -> list[Source]:
    """The sources of a database, by name."""
    schema = relsql_schema(con, catalog)
    if not has_table(con, catalog, schema, SOURCES):
        return []
    query = f"SELECT name, location FROM {qualified(catalog, schema, SOURCES)} ORDER BY name ASC"
    try:
        return [Source(*row) for row in con.execute(query).fetchall()]
    except duckdb.BinderException:
        return []  # The schema is the user's own; the code that needs relsql's tables refuses it.


def attach_statements(con: duckdb.DuckDBPyConnection, catalog: str) -> tuple[str, ...]:
    """The statements by which a client without relsql attaches the sources of a database."""
    found = [(source, _location(con, catalog, source.location)) for source in read_sources(con, catalog)]
    return tuple(f"{attach_sql(source.name, location, _kind(source, location))};" for source, location in found)


def attach_sources(
    con: duckdb.DuckDBPyConnection, catalog: str | None = None, except_for: Collection[str] = ()
) -> None:
    """Attach the sources of a database, read-only; default: the connection's current one.

    Args:
        con: an open connection.
        catalog: the database.
        except_for: names of sources that the caller attaches itself.

    Raises:
        DatabaseError: one of them cannot be attached.
    """
    catalog, others = catalog or current_catalog(con), {fold(name) for name in except_for}
    for source in read_sources(con, catalog):
        if fold(source.name) not in others:
            attach_source(con, catalog, source)


def attach_source(con: duckdb.DuckDBPyConnection, catalog: str, source: Source, *, asked: bool = False) -> None:
    """Attach one source read-only, unless a database of its name is attached.

    Args:
        con: an open connection.
        catalog: the database that names the source.
        source: the source.
        asked: the user named the source in this call. Otherwise only the database file names it, and that file may come
            from somebody else. Such a source is attached only if it is a file on this machine, or if the user has
            allowed it on this machine (`relsql.database.sources.allowed_sources`).

    Raises:
        DatabaseError: it cannot be attached, is not allowed, has the name of the database that names it or of one of
            DuckDB's own, or an extension is missing.
    """
    if fold(source.name) in {fold(catalog), *_OF_DUCKDB}:
        raise DatabaseError(
            f"source '{source.name}' has the name of another database",
            expected=f"a name other than {catalog}, {' and '.join(_OF_DUCKDB)}",
            fix=command("init", "FILE", "--attach", f"ANOTHER_NAME={without_password(source.location)}"),
        )
    query = "SELECT database_name FROM system.main.duckdb_databases()"
    if fold(source.name) in {fold(name) for (name,) in con.execute(query).fetchall()}:
        return
    location = _location(con, catalog, source.location)
    kind = _kind(source, location)
    if not kind.local and not asked and not is_allowed(without_password(location)):
        raise DatabaseError(
            f"source '{source.name}' is a {kind.name}, {without_password(location)}, that was not attached by you on "
            "this machine",
            expected="a source that you have allowed: a database file from someone else must not connect you to a "
            "server",
            fix=_again(source, without_password(location)),
        )
    for extension in kind.extensions:
        _load(con, source, location, kind, extension)
    try:
        con.execute(attach_sql(source.name, location, kind))
    except (duckdb.Error, OSError) as error:
        # Without the cause, because DuckDB's message may quote a password.
        raise DatabaseError(
            f"source '{source.name}' ({without_password(location)}) cannot be attached: "
            f"{scrubbed(first_line(error), location)}",
            expected=_EXPECTED_LOGIN if kind is POSTGRES else "the database that holds the data",
            fix=f"{_again(source)}, or ATTACH it AS {ident(source.name)} first",
        ) from None


def _kind(source: Source, location: str) -> SourceKind:
    try:
        kind = source_kind(location)
    except OSError as error:
        raise DatabaseError(f"source '{source.name}' ({location}) cannot be read: {error.strerror}") from error
    if kind is None:
        raise DatabaseError(
            f"source '{source.name}' ({without_password(location)}) is not a database on this machine",
            expected="a DuckDB or SQLite file, ducklake:PATH or postgresql://...; relsql import makes one of files",
            fix=f"{_again(source)}, or ATTACH it AS {ident(source.name)} before",
        )
    return kind


def _load(con: duckdb.DuckDBPyConnection, source: Source, location: str, kind: SourceKind, extension: str) -> None:
    """Load an installed extension. Nothing is downloaded, because a file of somebody else may name the source."""
    try:
        load_extension(con, extension)
    except duckdb.Error as error:
        copy = f"{import_command(Path(location))}, which needs no extension" if kind is SQLITE else kind.alternative
        raise DatabaseError(
            f"source '{source.name}' ({without_password(location)}) is a {kind.name}, which DuckDB reads by its "
            f"extension {extension}: LOAD {extension} failed: {first_line(error)}",
            expected=f"the extension, installed for DuckDB {duckdb.__version__}, or a copy of the data",
            fix=f"{copy}; or INSTALL {extension} in DuckDB, once",
        ) from error


def _again(source: Source, location: str = "LOCATION") -> str:
    return command("init", "FILE", "--attach", f"{source.name}={location}")


def _location(con: duckdb.DuckDBPyConnection, catalog: str, location: str) -> str:
    """The current location of a source; if its file moved together with the database file, it is found beside it."""
    if not names_file(location):
        return location
    query = "SELECT path FROM system.main.duckdb_databases() WHERE database_name = ?"
    [(own,)] = con.execute(query, [catalog]).fetchall()
    beside = Path(own or "").parent / Path(location).name
    return str(beside) if own and not Path(location).exists() and beside.is_file() else location
