"""Write a file as a draft in the same folder and rename it at the end, so that only complete files appear."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

from relsql.errors import DatabaseError


def draft_path(target: Path) -> Path:
    """The path of a file until it is complete and renamed: a hidden file of this process in the same folder."""
    return target.with_name(f".{target.name}.{os.getpid()}.tmp")


def is_taken(target: Path) -> bool:
    """True if something has this path, also a symbolic link that leads nowhere: a rename would replace it."""
    return target.exists() or target.is_symlink()


def log_path(database: Path) -> Path:
    """The write-ahead log of a DuckDB file."""
    return database.with_name(database.name + ".wal")


def complete_draft(con: duckdb.DuckDBPyConnection, draft: Path, target: Path) -> None:
    """Close the connection to a draft, a DuckDB file, and give the file its name.

    All changes must be in the file before it is renamed, because its write-ahead log does not follow. Closing a
    connection ignores a checkpoint that fails, so this function asks for the checkpoint and looks for a remaining log.

    Raises:
        duckdb.Error, OSError: the file cannot be completed. DatabaseError: a part of it is still in its log.
    """
    con.execute("CHECKPOINT")
    con.close()
    if log_path(draft).exists():
        raise DatabaseError(f"file '{target}' could not be completed", expected="a disk that works and has room")
    # DuckDB would replay the log of an earlier file into the new one.
    log_path(target).unlink(missing_ok=True)
    draft.replace(target)


def remove_draft(draft: Path) -> None:
    """Remove a draft and its log, if they exist.

    A failure to remove them, for example on a disk that has become read-only, is ignored: the error that the caller is
    about to report is more useful.
    """
    for file in (draft, log_path(draft)):
        try:
            file.unlink(missing_ok=True)
        except OSError:
            pass
