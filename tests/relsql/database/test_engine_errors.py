"""How errors of DuckDB and of the system are turned into errors about the database."""

from __future__ import annotations

import errno
from pathlib import Path

import duckdb
import pytest

from relsql.database.connections import open_database, transaction
from relsql.database.engine_errors import database_error
from relsql.errors import DatabaseError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            duckdb.FatalException("FATAL Error: fsync failed!"),
            "fsync failed!. Expected: a working disk.*not committed. Fix: open the file again",
        ),
        (duckdb.Error("Failed: database has been invalidated because of"), "closed the database.*open the file again"),
        (
            duckdb.OutOfMemoryException("Out of Memory Error: failed\nPossible solutions:\n* a"),
            "memory is full: .*failed. E",
        ),
        (MemoryError(), "memory is full"),
        (
            duckdb.TransactionException("Failed to commit: Could not write file: No space"),
            "could not be written.*nothing was",
        ),
        (duckdb.IOException("IO Error: Could not read enough bytes"), "could not be read.*restore a copy"),
        (
            duckdb.InternalException("INTERNAL Error: Attempted\nStack Trace:\n0x1"),
            "DuckDB has an internal error: .*Attempted. Fix",
        ),
    ],
)
def test_errors_about_the_database(error: BaseException, message: str) -> None:
    found = database_error(error)
    assert found is not None and "\n" not in str(found)
    with pytest.raises(DatabaseError, match=message):
        raise found


@pytest.mark.parametrize(
    "error",
    [
        duckdb.BinderException("Binder Error: a"),
        duckdb.CatalogException("b"),
        OSError(errno.ENOENT, "c"),
        ValueError("d"),
    ],
)
def test_other_errors_are_not_about_the_database(error: BaseException) -> None:
    assert database_error(error) is None and database_error(error, writing=True) is None


def test_a_full_disk_below_a_transaction(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(DatabaseError, match="could not be written.*nothing was changed"), transaction(con):
        con.execute("CREATE TABLE a (i INTEGER)")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert con.execute("SELECT count(*) FROM duckdb_tables()").fetchall() == [(0,)]


def test_a_transaction_that_is_open(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("BEGIN")
    with pytest.raises(DatabaseError, match="a transaction is open.*COMMIT or ROLLBACK"), transaction(con):
        pass


def test_two_connections_that_write(tmp_path: Path) -> None:
    con = duckdb.connect(str(tmp_path / "a.duckdb"))
    con.execute("CREATE TABLE a AS SELECT 1 AS i")
    with con.cursor() as other:
        other.execute("BEGIN; UPDATE a SET i = 2")
        with pytest.raises(DatabaseError, match="another connection changes.*run the command again"), transaction(con):
            con.execute("UPDATE a SET i = 3")
        other.execute("COMMIT")
    assert con.execute("FROM a").fetchall() == [(2,)]
    con.close()


def test_more_memory_than_is_allowed(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("SET memory_limit = '2MB'; SET temp_directory = ''")
    with pytest.raises(DatabaseError, match="memory is full.*memory_limit"), transaction(con):
        con.execute("CREATE TABLE a AS SELECT repeat('x', 5000) || i AS t FROM range(100000) r(i)")


def test_files_of_other_kinds_are_recognised_without_an_extension(tmp_path: Path) -> None:
    (tmp_path / "a.duckdb").write_bytes(b"SQLite format 3\0")
    with pytest.raises(DatabaseError, match="not a DuckDB database"):
        open_database(tmp_path / "a.duckdb")
    with pytest.raises(DatabaseError, match="cannot be opened"):
        open_database("a\0b")
