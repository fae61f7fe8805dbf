"""Databases that hold the data of a file that only holds models: relsql's table `sources`.

Where the data's file is read-only or belongs to somebody else, the models live in a file of their own. It names its
sources, has a view for each of their tables, and every connection that relsql opens attaches them read-only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from relsql.database.engine_errors import first_line
from relsql.database.file_kinds import file_kind
from relsql.database.names import current_catalog, fold, has_table
from relsql.database.relsql_schema import relsql_schema
from relsql.errors import DatabaseError
from relsql.sql import ident, literal, qualified

SOURCES = "sources"


@dataclass(frozen=True, slots=True)
class Source:
    """A DuckDB file that is attached as `name`."""

    name: str
    location: str


def read_sources(con: duckdb.DuckDBPyConnection, catalog: str) -> list[Source]:
    """The sources of a database, by name."""
    schema = relsql_schema(con, catalog)
    if not has_table(con, catalog, schema, SOURCES):
        return []
    query = f"SELECT name, location FROM {qualified(catalog, schema, SOURCES)} ORDER BY name ASC"
    try:
        return [Source(*row) for row in con.execute(query).fetchall()]
    except duckdb.BinderException:
        return []  # The schema is the user's own, which is refused where it is read.


def attach_sources(con: duckdb.DuckDBPyConnection, catalog: str | None = None) -> None:
    """Attach the sources of a database, read-only; default: the connection's current one.

    Raises:
        DatabaseError: one of them cannot be attached.
    """
    catalog = catalog or current_catalog(con)
    for source in read_sources(con, catalog):
        attach_source(con, catalog, source)


def attach_source(con: duckdb.DuckDBPyConnection, catalog: str, source: Source) -> None:
    """Attach one source read-only, unless a database of its name is attached.

    It must be a DuckDB file: a file of somebody else must not make DuckDB load an extension or connect to a server.

    Raises:
        DatabaseError: it is something else, or cannot be attached.
    """
    query = "SELECT database_name FROM system.main.duckdb_databases()"
    if fold(source.name) in {fold(name) for (name,) in con.execute(query).fetchall()}:
        return
    location = _location(con, catalog, source.location)
    if not Path(location).is_file() or file_kind(Path(location)) != "DuckDB":
        raise DatabaseError(
            f"source '{source.name}' ({location}) is not a DuckDB file on this machine",
            expected="the DuckDB file that holds the data; relsql import makes one of other sources",
            fix=f"relsql init FILE --attach {source.name}=PATH, or ATTACH it AS {ident(source.name)} before",
        )
    try:
        con.execute(f"ATTACH {literal(location)} AS {ident(source.name)} (READ_ONLY)")
    except (duckdb.Error, OSError) as error:
        raise DatabaseError(
            f"source '{source.name}' ({location}) cannot be attached: {first_line(error)}",
            expected="the database that holds the data",
            fix=f"relsql init FILE --attach {source.name}=PATH, or ATTACH 'PATH' AS {ident(source.name)} first",
        ) from error


def _location(con: duckdb.DuckDBPyConnection, catalog: str, location: str) -> str:
    """Where a source is now: a file that moved together with the file that names it is found beside it."""
    query = "SELECT path FROM system.main.duckdb_databases() WHERE database_name = ?"
    [(own,)] = con.execute(query, [catalog]).fetchall()
    beside = Path(own or "").parent / Path(location).name
    return str(beside) if own and not Path(location).exists() and beside.is_file() else location
