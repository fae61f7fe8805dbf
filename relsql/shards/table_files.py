"""The Parquet files of a model's tables: `DIR/orders.parquet`, or all files below `DIR/orders/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from relsql.database.engine_errors import first_line
from relsql.database.names import fold
from relsql.errors import DatabaseError, SchemaDriftError, nearest
from relsql.registry.cards.card import ModelCard
from relsql.registry.cards.schema_drift import column_drift
from relsql.schema.declared.restate import stored_tables
from relsql.schema.reading import read_schema
from relsql.schema.tables import Table
from relsql.sql_text import ident, literal

_SUFFIX = ".parquet"


@dataclass(frozen=True, slots=True)
class TableFiles:
    """The files of each table by its key."""

    folder: Path
    files: Mapping[str, tuple[Path, ...]]

    def stamps(self) -> list[tuple[str, str, int, int]]:
        """What shows whether data have changed: table, file, size, and time of the last change in ns."""
        found = []
        for key, files in sorted(self.files.items()):
            for file in files:
                status = file.stat()
                found.append((key, str(file.relative_to(self.folder)), status.st_size, status.st_mtime_ns))
        return found

    def create_views(self, con: duckdb.DuckDBPyConnection, tables: Mapping[str, Table]) -> None:
        """Create a view over the files of each table.

        Raises:
            DatabaseError: files cannot be read.
        """
        for key, files in self.files.items():
            table = tables[key]
            listed = ", ".join(literal(str(file.resolve())) for file in files)
            con.execute(f"CREATE SCHEMA IF NOT EXISTS {ident(table.schema_name)}")
            try:
                con.execute(f"CREATE VIEW {table.sql()} AS FROM read_parquet([{listed}])")
            except duckdb.Error as error:
                reason = first_line(error)
                raise DatabaseError(f"the files of table '{key}' cannot be read: {reason}", expected=_WANTED) from error


_WANTED = "Parquet files with the same columns"


def find_files(folder: Path, card: ModelCard) -> TableFiles:
    """The files of all tables that a model needs.

    Raises:
        DatabaseError: there is no such folder, or it has no files of a table, or both a file and a folder.
    """
    if not folder.is_dir():
        raise DatabaseError(f"'{folder}' is not a folder", expected="a folder with the Parquet files of the tables")
    entries = [entry for entry in sorted(folder.iterdir()) if entry.is_dir() or entry.suffix.lower() == _SUFFIX]
    names = {entry: entry.name if entry.is_dir() else entry.stem for entry in entries}
    found = {}
    for key in stored_tables(card.schema):
        mine = [entry for entry, name in names.items() if fold(name) == fold(key)]
        if len(mine) > 1:
            raise DatabaseError(f"'{mine[0]}' and '{mine[1]}' would both be the table '{key}'", expected="one of them")
        files = _files(mine[0]) if mine else ()
        if not files:
            raise DatabaseError(
                f"table '{key}', which model '{card.name}' reads, has no file in '{folder}'",
                expected=f"{key}{_SUFFIX} or {key}/*{_SUFFIX}; found {nearest(key, names.values())}",
                fix=f"COPY {ident(key)} TO {literal(str(folder / (key + _SUFFIX)))}, in the database that has it",
            )
        found[key] = files
    return TableFiles(folder, found)


def _files(entry: Path) -> tuple[Path, ...]:
    if not entry.is_dir():
        return (entry,)
    files = [file for file in entry.rglob(f"*{_SUFFIX}") if file.is_file() and not file.name.startswith((".", "_"))]
    return tuple(sorted(files))


def require_columns(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, folder: Path) -> None:
    """Check that views over files have the columns and types of training.

    Raises:
        SchemaDriftError: one is missing or has another type.
    """
    problems = list(column_drift(card.schema, read_schema(con, catalog)))
    if problems:
        raise SchemaDriftError(
            f"the files in '{folder}' are not the tables that model '{card.name}' reads: {'; '.join(problems)}",
            expected="the columns and types of training",
            fix=f'COPY (SELECT CAST("COLUMN" AS TYPE) AS "COLUMN", .. FROM "TABLE") TO \'..{_SUFFIX}\'',
        )
