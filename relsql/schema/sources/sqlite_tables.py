"""The tables of a SQLite file with their keys, read with Python's own sqlite3: no extension of DuckDB is needed."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from relsql.errors import DatabaseError
from relsql.schema.tables import Link
from relsql.sql_text import ident


@dataclass(frozen=True, slots=True)
class SqliteTable:
    """A table of a SQLite file: its columns with their declared types, its primary key, and its foreign keys."""

    name: str
    columns: dict[str, str]
    primary_key: tuple[str, ...]
    links: tuple[Link, ...]


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a SQLite file for reading.

    Raises:
        DatabaseError: it cannot be read.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source:
            source.text_factory = lambda text: text.decode(errors="replace")
            yield source
    except sqlite3.Error as error:
        raise DatabaseError(f"SQLite file '{path}' cannot be read: {error}", expected="a whole file") from error


def read_tables(source: sqlite3.Connection) -> tuple[list[SqliteTable], list[str]]:
    """The tables of a file, and the names of views and virtual tables, which are skipped."""
    rows = source.execute("SELECT type, name, sql FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name ASC")
    tables, others = [], []
    for kind, name, sql in rows.fetchall():
        if name.lower().startswith("sqlite_"):
            continue
        if kind == "view" or re.match(r"\s*CREATE\s+VIRTUAL\b", sql or "", re.IGNORECASE):
            others.append(name)
        else:
            tables.append(_read_table(source, name))
    return tables, others


def _read_table(source: sqlite3.Connection, name: str) -> SqliteTable:
    columns = source.execute(f"PRAGMA table_xinfo({ident(name)})").fetchall()
    keys = sorted((place, column) for _, column, _, _, _, place, _ in columns if place)
    found: dict[int, list[tuple[str, str, str | None]]] = {}
    for number, _, parent, child_column, parent_column, *_ in source.execute(
        f"PRAGMA foreign_key_list({ident(name)})"
    ).fetchall():
        found.setdefault(number, []).append((parent, child_column, parent_column))
    links = []
    for pairs in found.values():
        theirs = tuple(column for _, _, column in pairs if column is not None)
        links.append(Link(name, tuple(column for _, column, _ in pairs), pairs[0][0], theirs))
    declared = {column: kind.upper() for _, column, kind, *_ in columns}
    return SqliteTable(name, declared, tuple(column for _, column in keys), tuple(links))
