"""Open databases, the user's own and those of somebody else, and run transactions in them."""

from __future__ import annotations

import re
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from relsql.database.drafts import log_path
from relsql.database.engine_errors import database_error, first_line
from relsql.database.names import DEFAULT_SCHEMA
from relsql.database.sources.attach_sources import attach_sources
from relsql.database.sources.external_access import close_external_access
from relsql.database.sources.file_kinds import file_kind, import_command
from relsql.database.sources.view_files import view_files
from relsql.errors import DatabaseError
from relsql.hints import command
from relsql.sql_text import ident, literal, qualified


def open_database(
    path: str | Path,
    *,
    read_only: bool = False,
    must_exist: bool = True,
    external: bool = True,
    new_sources: Collection[str] = (),
) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB file, with its sources attached (`relsql.database.sources.attach_sources`).

    Args:
        path: the file.
        read_only: open without a write lock; several readers may share the file.
        must_exist: refuse to create a new file.
        external: let statements read and write other files, and load extensions automatically. Otherwise statements
            can only read the files that the database's views name.
        new_sources: names of sources that are not attached here, because the caller attaches them.

    Raises:
        DatabaseError: the file is missing, locked by another process, read-only, or not a DuckDB database, or one of
            its sources cannot be attached.
    """
    path = Path(path)
    try:
        _require_database_file(path, must_exist=must_exist)
        # DuckDB does not read names such as `:memory:` or `md:x` as files.
        name = path.absolute() if ":" in str(path) else path
        con = duckdb.connect(str(name), read_only=read_only)
    # A ValueError is about the path: DuckDB accepts only UTF-8, and no operating system accepts a NUL.
    except (duckdb.Error, OSError, ValueError) as error:
        raise _open_error(path, error) from error
    try:
        attach_sources(con, except_for=new_sources)
        if not external:
            # Only after the sources are attached, because they are other files.
            close_external_access(con, view_files(con))
    except BaseException:
        con.close()
        raise
    return con


def _require_database_file(path: Path, *, must_exist: bool) -> None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        if must_exist:
            raise DatabaseError(f"file '{path}' does not exist", fix=command("import", "SOURCE", path)) from None
        return
    if stat.S_ISDIR(status.st_mode):
        raise DatabaseError(f"'{path}' is a folder", expected="a DuckDB file", fix=import_command(path))
    # Opening a pipe would block until another process writes to it.
    if not stat.S_ISREG(status.st_mode):
        raise DatabaseError(f"'{path}' is a pipe, a device or a socket", expected="a DuckDB file")
    # For other file formats DuckDB would load an extension, and download it if necessary.
    if status.st_size or must_exist:
        kind = file_kind(path)
        if kind != "DuckDB":
            what = f"is a {kind} file, not a DuckDB database" if kind else "is not a DuckDB database"
            fix = import_command(path) if kind else command("import", "SOURCE", f"{path.stem}.duckdb")
            raise DatabaseError(f"file '{path}' {what}", fix=fix)


def require_no_log(path: Path) -> None:
    """Check that no write-ahead log of another database exists for the path of a new file.

    Such a log may hold changes that are stored nowhere else, and DuckDB would replay them into the new file.

    Raises:
        DatabaseError: there is a log without its database file.
    """
    log = log_path(path)
    if log.exists() and not path.exists():
        raise DatabaseError(
            f"file '{log}' exists: it holds changes to a database '{path}' that is not here",
            expected="a file name that was never used, or the database file back beside its log",
            fix=f"mv '{log}' elsewhere",
        )


@contextmanager
def foreign_database(path: str | Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """Attach a DuckDB file read-only so that nothing in it can run; yield a connection and the database's name.

    The current database is an empty one, so that a function name in a query means DuckDB's own function, never a macro
    of the file. Queries cannot read other files or load extensions, because access is closed once the sources are
    attached.

    Raises:
        DatabaseError: the file cannot be opened.
    """
    path = Path(path)
    _require_database_file(path, must_exist=True)
    name = path.stem if path.stem.lower() not in ("", "memory", "system", "temp") else f"file_{path.stem}"
    with duckdb.connect() as con:
        try:
            con.execute(f"ATTACH {literal(str(path))} AS {ident(name)} (READ_ONLY)")
        except (duckdb.Error, OSError) as error:
            raise _open_error(path, error) from error
        attach_sources(con, name)
        close_external_access(con)
        con.execute("SET lock_configuration = true")
        yield con, name


def _open_error(path: Path, error: Exception) -> DatabaseError:
    # DuckDB's message quotes the path, which may contain the words that are searched for below.
    text = str(error).replace(str(path), "")
    if isinstance(error, ValueError):
        return DatabaseError(f"file {str(path)!r} cannot be opened: {text}", expected="a name in UTF-8")
    if re.search(r"\block\b", text, re.IGNORECASE):
        holder = re.search(r"PID (\d+)", text)
        who = f" by process {holder.group(1)}" if holder else ""
        return DatabaseError(f"file '{path}' is locked{who}", fix="close the other connection, then run again")
    if "permission denied" in text.lower() or "read-only" in text.lower():
        return DatabaseError(
            f"file '{path}' cannot be written", expected="write permission", fix=f"chmod u+w '{path}' or work on a copy"
        )
    if "version number" in text.lower():
        return DatabaseError(
            f"file '{path}' was written by another DuckDB storage version ({first_line(error)})",
            fix="pip install --upgrade duckdb",
        )
    reason = error.strerror if isinstance(error, OSError) else first_line(error)
    found = database_error(error)
    return DatabaseError(
        f"file '{path}' cannot be opened: {reason}",
        expected=found.expected if found else "a DuckDB file that can be read",
        fix=found.fix if found else None,
    )


def is_read_only(con: duckdb.DuckDBPyConnection, catalog: str) -> bool:
    """True if the attached database `catalog` cannot be written."""
    rows = con.execute(
        "SELECT readonly FROM system.main.duckdb_databases() WHERE database_name = ?", [catalog]
    ).fetchall()
    return bool(rows and rows[0][0])


def require_writable(con: duckdb.DuckDBPyConnection, catalog: str, doing: str) -> None:
    """Raise DatabaseError if `catalog` is read-only; `doing` names the operation that needs to write."""
    if is_read_only(con, catalog):
        raise DatabaseError(
            f"database '{catalog}' is read-only, but {doing} writes to it",
            expected="a database opened for writing",
            fix=f"relsql.connect('{catalog}.duckdb') without read_only, or work on a copy",
        )


@contextmanager
def transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Run a block in one transaction: all of it is committed, or none of it.

    Raises:
        DatabaseError: the disk or the memory is full, the file cannot be written, another connection changes the same
            tables, or a transaction is open already; see `relsql.database.engine_errors`.
    """
    with _database_errors():
        con.execute("BEGIN TRANSACTION")
        try:
            yield
            con.execute("COMMIT")
        except BaseException:
            try:
                con.execute("ROLLBACK")
            except duckdb.Error:
                pass  # A failed COMMIT has already rolled back.
            raise


def require_no_transaction(con: duckdb.DuckDBPyConnection, doing: str) -> None:
    """Check that no transaction is open on a connection.

    Raises:
        DatabaseError: one is open. The operation runs in transactions of its own, which a ROLLBACK would not undo.
    """
    if _in_transaction(con):
        raise DatabaseError(
            f"a transaction is open, and {doing} would not be a part of it",
            expected="no open transaction",
            fix="COMMIT or ROLLBACK, then run the statement again",
        )


def _in_transaction(con: duckdb.DuckDBPyConnection) -> bool:
    """True if a transaction is open, because two queries then have the same transaction id.

    A BEGIN would not be a safe test: if it fails, it aborts the open transaction.
    """
    query = "SELECT system.main.txid_current()"
    try:
        return con.execute(query).fetchall() == con.execute(query).fetchall()
    except duckdb.TransactionException:
        return True  # It was aborted.


@contextmanager
def _database_errors() -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        problem = database_error(error, writing=True)
        if problem:
            raise problem from error
        raise


def use_catalog(con: duckdb.DuckDBPyConnection, catalog: str) -> None:
    """Make `catalog` the connection's current database."""
    con.execute(f"USE {qualified(catalog, DEFAULT_SCHEMA)}")
