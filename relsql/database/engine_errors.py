"""Turn errors of DuckDB and of the operating system that are about the database into a DatabaseError.

Errors about a statement (a wrong name, a value that cannot be cast) are not converted. Errors about the file, the disk,
the memory or other connections become a DatabaseError that says what was kept and what to do.
"""

from __future__ import annotations

import errno
import re

import duckdb

from relsql.errors import DatabaseError

_WRITES = ("No space left on device", "Could not write", "Disk quota exceeded", "Read-only file system")
_READS = ("Could not read", "Cannot read", "Input/output error", "Corrupt", "corrupt", "checksum")
_DAMAGED = "Corrupt database file"
_TORCH_MEMORY = "can't allocate memory"
_ALARM = re.compile(r"^.*(?:FATAL|INTERNAL) Error: ")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def database_error(error: BaseException, *, writing: bool = False) -> DatabaseError | None:
    """Build the DatabaseError for an error about the database; None if the error is about something else.

    Args:
        error: any exception.
        writing: the error ended one of relsql's own transactions, which was rolled back.
    """
    text = first_line(error)
    if isinstance(error, duckdb.FatalException) or "database has been invalidated" in text:
        return DatabaseError(
            f"DuckDB closed the database after an error of the disk or of its own: {text}",
            expected="a working disk with free space; the failed transaction was not committed",
            fix="open the file again, then run the command again; if it fails again, free some disk space, or "
            "report it at github.com/duckdb/duckdb",
        )
    if isinstance(error, (duckdb.OutOfMemoryException, MemoryError)) or _TORCH_MEMORY in text:
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
            expected="a working disk and a file as DuckDB wrote it",
            fix="check the disk, or restore a copy of the file",
        )
    if isinstance(error, duckdb.InternalException):
        return DatabaseError(
            f"DuckDB has an internal error: {text}",
            fix="open the file again, and report it at github.com/duckdb/duckdb",
        )
    return _other_transaction(text) if writing and isinstance(error, duckdb.Error) else None


def first_line(error: BaseException) -> str:
    """The first non-blank line of an error's message, without DuckDB's prefix `FATAL Error:` or `INTERNAL Error:`.

    DuckDB's suggestions are in the lines after it.
    """
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return _ALARM.sub("", line)


def _could_not_write(error: BaseException, text: str, writing: bool) -> bool:
    if isinstance(error, OSError):
        return writing and error.errno in _FULL
    if not isinstance(error, duckdb.Error):
        return False
    # A failed COMMIT raises a transaction error that quotes the disk error.
    return (writing and isinstance(error, duckdb.IOException)) or any(words in text for words in _WRITES)


def _could_not_read(error: BaseException, text: str) -> bool:
    if isinstance(error, (duckdb.SerializationException, duckdb.IOException)):
        return any(words in text for words in _READS)
    return isinstance(error, duckdb.Error) and text.startswith(_DAMAGED)


def _other_transaction(text: str) -> DatabaseError | None:
    """The error for a transaction that conflicts with another one, or that starts while one is already open."""
    if "onflict" in text:
        return DatabaseError(
            f"another connection changes the same tables: {text}",
            expected="one at a time; nothing was changed",
            fix="run the command again",
        )
    if "within a transaction" in text:
        return DatabaseError(
            "a transaction is open on this connection",
            expected="no open transaction",
            fix="COMMIT or ROLLBACK it, then run again",
        )
    return None
