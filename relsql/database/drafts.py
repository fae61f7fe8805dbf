"""Write a file or folder as a draft beside its target. The draft is renamed at the end, so a target is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from relsql.errors import DatabaseError


def draft_path(target: Path) -> Path:
    """The path of a target's draft: a hidden name beside the target, with the id of this process."""
    return target.with_name(f".{target.name}.{os.getpid()}.tmp")


def is_taken(target: Path) -> bool:
    """True if anything exists at this path. A broken symbolic link counts, because a rename would replace it."""
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


@contextmanager
def drafted_folder(folder: Path, require_free: Callable[[], None]) -> Iterator[Path]:
    """A draft of a folder, which gets its name when the block ends; on any error it is removed.

    An existing folder is replaced. A rename cannot replace a folder that holds files, so the old folder is moved aside
    first, and moved back if the draft cannot take its place.

    Args:
        folder: the folder to write.
        require_free: raises an error if `folder` may not be written; called again when the draft is complete.

    Raises:
        OSError: the draft cannot be written or renamed.
    """
    draft, old = draft_path(folder), draft_path(folder.with_name(f"{folder.name}.old"))
    try:
        # Remove what a killed process with the same id has left.
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        yield draft
        _sync_folder(draft)
        require_free()
        if folder.exists():
            folder.rename(old)
        draft.rename(folder)
        _sync_folder(folder.parent)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(draft, ignore_errors=True)


def _sync_folder(path: Path) -> None:
    """Flush the names of a folder's files to the disk, on systems that can open folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
