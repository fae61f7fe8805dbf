"""What an error of DuckDB, or of the operating system below it, says about the database.

Errors about a statement (a name that is wrong, a value that cannot be cast) stay what they are. Those about the file,
the disk, the memory or the other connections become a DatabaseError that says what is kept and what to do.
"""

from __future__ import annotations

import errno
import re

import duckdb

from relsql.errors import DatabaseError

_WRITES = ("No space left on device", "Could not write", "Disk quota exceeded", "Read-only file system")
_READS = ("Could not read", "Cannot read", "Input/output error", "Corrupt", "corrupt", "checksum")
_DAMAGED = "Corrupt database file"
_ALARM = re.compile(r"^.*(?:FATAL|INTERNAL) Error: ")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def database_error(error: BaseException, *, writing: bool = False) -> DatabaseError | None:
    """Say what failed about the database, or return None if the error is about something else.

    Args:
        error: any exception.
        writing: it ended a transaction of relsql's own, which was rolled back.
    """
    text = first_line(error)
    if isinstance(error, duckdb.FatalException) or "database has been invalidated" in text:
        return DatabaseError(
            f"DuckDB gave up the database after a failure of the disk: {text}",
            expected="a disk that works and has room; the transaction that failed was not committed",
            fix="make room on the disk, open the file again, then run the command again",
        )
    if isinstance(error, (duckdb.OutOfMemoryException, MemoryError)):
        return DatabaseError(
            f"the memory is full: {text or 'Python could not allocate'}",
            expected="more free memory; nothing was changed" if writing else "more free memory",
            fix="close other programs, or raise DuckDB's memory_limit",
        )
    if _could_not_write(error, text, writing):
        return DatabaseError(
            f"the database could not be written: {text}", expected="enough disk space; nothing was changed"
        )
    if _could_not_read(error, text):
        return DatabaseError(
            f"the database could not be read: {text}",
            expected="a disk that works and a file as DuckDB wrote it",
            fix="check the disk, or restore a copy of the file",
        )
    if isinstance(error, duckdb.InternalException):
        return DatabaseError(
            f"DuckDB failed in itself: {text}", fix="open the file again, and report it at github.com/duckdb/duckdb"
        )
    return _other_transaction(text) if writing and isinstance(error, duckdb.Error) else None


def first_line(error: BaseException) -> str:
    """The first line of an error's message: without what it suggests after that, and without DuckDB's alarm."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return _ALARM.sub("", line)


def _could_not_write(error: BaseException, text: str, writing: bool) -> bool:
    if isinstance(error, OSError):
        return writing and error.errno in _FULL
    if not isinstance(error, duckdb.Error):
        return False
    # A failed COMMIT is an error of the transaction that quotes the one of the disk.
    return (writing and isinstance(error, duckdb.IOException)) or any(words in text for words in _WRITES)


def _could_not_read(error: BaseException, text: str) -> bool:
    if isinstance(error, (duckdb.SerializationException, duckdb.IOException)):
        return any(words in text for words in _READS)
    return isinstance(error, duckdb.Error) and text.startswith(_DAMAGED)


def _other_transaction(text: str) -> DatabaseError | None:
    """An error about transactions: another one changed the same rows, or one is open already."""
    if "onflict" in text:
        return DatabaseError(
            f"another connection changes the same tables: {text}",
            expected="one at a time; nothing was changed",
            fix="run the command again",
        )
    if "within a transaction" in text:
        return DatabaseError(
            "a transaction is open on this connection", expected="none", fix="COMMIT or ROLLBACK it, then run again"
        )
    return None
