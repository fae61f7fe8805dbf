"""Write a new DuckDB file from another source: under a temporary name, renamed when it is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from relsql.database.connections import open_database, require_no_log
from relsql.database.drafts import complete_draft, draft_path, is_taken, remove_draft
from relsql.database.engine_errors import first_line
from relsql.errors import DatabaseError
from relsql.hints import command
from relsql.sql_text import qualified

Progress = Callable[[str, int, int], None]
"""Called with the name of the table that is written next, the number of finished tables, and the number of tables."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Result of an import. `problems` are data that do not allow a constraint; `skipped_tasks` are (name, reason)."""

    path: str
    tables: tuple[tuple[str, int], ...]
    constraint_links: tuple[str, ...] = ()
    declared_links: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    skipped_tasks: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()


def require_free(path: Path, overwrite: bool) -> None:
    """Check that a new database may be written to a path.

    Raises:
        DatabaseError: a file exists and may not be overwritten or is open elsewhere, or there is no such folder.
    """
    if path.is_dir() or not path.parent.is_dir():
        problem = "is a folder" if path.is_dir() else f"cannot be created: there is no folder '{path.parent}'"
        raise DatabaseError(f"'{path}' {problem}", expected="the path of a new DuckDB file")
    require_no_log(path)
    if is_taken(path):
        if not overwrite:
            raise DatabaseError(
                f"file '{path}' exists already",
                expected="a new name, or --overwrite",
                fix=command("import", "SOURCE", path, "--overwrite"),
            )
        # A rename would succeed even if another process has the old file open, whose changes would be lost.
        if path.exists():
            open_database(path).close()


@contextmanager
def built_beside(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a new database in the folder of `path` and rename it when the block ends; on any error, delete it.

    Raises:
        DatabaseError: the source cannot be read, or the file cannot be written.
    """
    temporary = draft_path(path)
    try:
        con = open_database(temporary, must_exist=False)
        try:
            # No extension is downloaded: the network is used only where the user names something there.
            con.execute("SET autoinstall_known_extensions = false")
            yield con
            complete_draft(con, temporary, path)
        finally:
            con.close()
    except (duckdb.Error, OSError) as error:
        raise DatabaseError(
            f"import into '{path}' failed: {first_line(error)}",
            expected="files that can be read and enough disk space; no file was left",
        ) from error
    finally:
        remove_draft(temporary)


def count_rows(con: duckdb.DuckDBPyConnection, *table: str) -> int:
    """Number of rows of a table, given by the parts of its name."""
    [(count,)] = con.execute(f"SELECT system.main.count_star() FROM {qualified(*table)}").fetchall()
    return int(count)
