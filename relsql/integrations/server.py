"""A server for DuckDB's quack protocol: other DuckDB clients call the models, which run in this process.

Each client has its own session, which starts in the server's initial database. This is a temporary file, opened
read-only, with the functions of the models and a view of each of the user's tables. The user's file is attached as a
second database. Each statement is checked before it runs (`client_access`).
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from relsql.database.connections import open_database
from relsql.database.engine_errors import first_line
from relsql.database.names import current_catalog, fold
from relsql.database.relsql_schema import relsql_schema
from relsql.database.sources.extensions import load_extension
from relsql.errors import ServingError
from relsql.integrations.client_access import Authenticator, Authorizer, install_hooks
from relsql.integrations.server_memory import limit_statements
from relsql.integrations.statement_check import StatementCheck, Writable, builtin_functions
from relsql.sql_text import ident, literal, qualified
from udfs.attach import attach

MIN_TOKEN_LENGTH = 16
MIN_TOKEN_VARIETY = 8
MAX_SECONDS = 300
"""Default time limit of a client's statement."""

CLIENT_CATALOG = "relsql_server"
"""The database that clients' sessions start in."""

_ANSWER_SECONDS = 60
_EXTENSIONS = ("httpfs", "quack")
_TESTED = "1.5.5"
"""The newest DuckDB whose wheels of both extensions are tested."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its address, the name of the file's database there, and the functions of the models."""

    con: duckdb.DuckDBPyConnection
    uri: str
    token: str
    database: str
    functions: tuple[str, ...]
    memory: int
    """What all statements together may allocate, in bytes. DuckDB limits its buffers to half of it. Whoever owns the
    process has to enforce the rest, see `relsql.integrations.server_memory.limit_process`."""
    watched_seconds: int | None
    """Time limit of a statement if DuckDB cannot interrupt it; None if DuckDB does."""

    @property
    def attach_statement(self) -> str:
        """The statement that a client runs to attach the server."""
        return f"ATTACH {literal(self.uri)} AS r (TOKEN {literal(self.token)});"

    def reason_to_restart(self) -> str | None:
        """Why another process has to take over; None if this one can go on serving.

        Either a statement exceeds the time limit and cannot be interrupted, or DuckDB has closed the database, which it
        does after an internal error of any statement.
        """
        query = """SELECT query FROM quack_active_connections()
                   WHERE state = 'active'
                       AND query_started_at < system.main."-"(system.main.get_current_timestamp()::TIMESTAMP,
                           system.main.to_seconds(?))"""
        watched = self.watched_seconds is not None
        try:
            overdue = self.con.execute(query if watched else "SELECT ? LIMIT 0", [self.watched_seconds]).fetchall()
        except duckdb.FatalException:
            return "DuckDB closed the database after an internal error"
        except (duckdb.Error, MemoryError):
            return None  # Another statement takes all memory now, and may end.
        return f"a statement has run for {self.watched_seconds} seconds: {overdue[0][0][:200]!r}" if overdue else None


def is_loopback(host: str) -> bool:
    """True if only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def serve(
    path: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 9494,
    token: str,
    read_write: bool = False,
    max_seconds: int = MAX_SECONDS,
    memory_limit: str | None = None,
) -> Iterator[Server]:
    """Serve a file with its models until the block ends.

    Args:
        path: the DuckDB file.
        host: address to listen on; anything but a loopback address is open to the network, without encryption.
        port: TCP port.
        token: the secret that clients need, at least 16 characters, of which 8 are different.
        read_write: clients may change rows of the file's tables, as `<database>.<table>`.
        max_seconds: time limit of a statement, at least 1. DuckDB 2.0 interrupts it; DuckDB 1.5 cannot, and
            `Server.reason_to_restart` then says that the process has to be replaced.
        memory_limit: what all statements together may allocate, `4GB`; default: 80 % of the machine's memory.

    Raises:
        ServingError: the extension is not installed, the token is weak, the memory limit is not a size, or the server
            cannot listen on the address.
        DatabaseError: the file cannot be opened. ModelError, ArtifactError: a model cannot be used.
    """
    _check_token(token)
    # Opening the file in the usual way raises the usual errors if there is anything wrong with it.
    open_database(path, read_only=not read_write).close()
    with tempfile.TemporaryDirectory(prefix="relsql-serve-") as folder:
        catalog = Path(folder) / f"{CLIENT_CATALOG}.duckdb"
        database, functions = _write_catalog(catalog, Path(path))
        with closing(duckdb.connect(str(catalog), read_only=True)) as con:
            load_extensions(con)
            writable = _attach_file(con, path, database, read_write=read_write)
            check = StatementCheck(
                builtin_functions(con).with_models(functions), writable=writable if read_write else None
            )
            install_hooks(con, Authenticator(token), Authorizer(check))
            interrupts = _limit_time(con, max_seconds)
            memory = limit_statements(con, memory_limit)
            uri = f"quack:{host}:{port}"
            _listen(con, uri, host, port, token)
            _lock(con)
            try:
                yield Server(con, uri, token, database, functions, memory, None if interrupts else max_seconds)
            finally:
                con.execute(f"CALL quack_stop({literal(uri)})")


def _check_token(token: str) -> None:
    """Raise ServingError if the token could be guessed."""
    fix = "relsql serve FILE, which generates one"
    if len(token) < MIN_TOKEN_LENGTH:
        raise ServingError(f"the token has {len(token)} characters", expected=f"at least {MIN_TOKEN_LENGTH}", fix=fix)
    if len(set(token)) < MIN_TOKEN_VARIETY:
        raise ServingError(
            f"the token has {len(set(token))} different characters", expected=f"at least {MIN_TOKEN_VARIETY}", fix=fix
        )


def _write_catalog(catalog: Path, path: Path) -> tuple[str, tuple[str, ...]]:
    """Write a new file with everything that clients see: the functions of the models, and views of the tables.

    Returns:
        The name of the user's database in it, and the names of the functions.
    """
    with closing(duckdb.connect()) as con:
        database = _free_name(con, path.stem)
        con.execute(f"ATTACH {literal(str(path))} AS {ident(database)} (READ_ONLY)")
        functions = attach(con, database=database, shared=True)
        _create_views(con, database)
        con.execute(f"ATTACH {literal(str(catalog))} AS {CLIENT_CATALOG}")
        con.execute(f"COPY FROM DATABASE {ident(current_catalog(con))} TO {CLIENT_CATALOG}")
    return database, functions


def _attach_file(con: duckdb.DuckDBPyConnection, path: str | Path, database: str, *, read_write: bool) -> Writable:
    """Attach the user's file, and register the functions that its models' macros call; returns what is writable."""
    attach_file = f"ATTACH {literal(str(path))} AS {ident(database)} (READ_{'WRITE' if read_write else 'ONLY'}"
    con.execute(f"{attach_file})")
    attach(con, database=database)
    writable = Writable(database, relsql_schema(con, database))
    # The database is hidden because a client lists all visible tables, and fails at one with a foreign key.
    con.execute(f"DETACH {ident(database)}")
    con.execute(f"{attach_file}, HIDDEN)")
    return writable


def _limit_time(con: duckdb.DuckDBPyConnection, seconds: int) -> bool:
    """Let DuckDB interrupt statements that run longer; False if this version cannot."""
    try:
        con.execute(f"SET GLOBAL max_execution_time = {seconds * 1000}")
    except duckdb.CatalogException:
        return False
    return True


def _lock(con: duckdb.DuckDBPyConnection) -> None:
    """Restrict clients permanently to the served file: no other files, extensions or variables of this process."""
    con.execute("SET GLOBAL python_enable_replacements = false")
    con.execute("SET autoinstall_known_extensions = false")
    con.execute("SET autoload_known_extensions = false")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")


def load_extensions(con: duckdb.DuckDBPyConnection) -> None:
    """Load the extensions that the server needs, either installed in DuckDB or from a wheel.

    Raises:
        ServingError: an extension is not installed for this version of DuckDB.
    """
    version = duckdb.__version__
    for name in _EXTENSIONS:
        try:
            load_extension(con, name)
        except duckdb.Error as error:
            raise ServingError(
                f"relsql serve needs DuckDB's extension {name}, which is not installed for DuckDB {version}",
                expected=f"INSTALL {name} in DuckDB, or the wheel duckdb-extension-{name} of the same version",
                fix=f"pip install {' '.join(f'{package}=={_TESTED}' for package in _packages())}",
            ) from error


def _packages() -> list[str]:
    return ["duckdb", *(f"duckdb-extension-{name}" for name in _EXTENSIONS)]


def _free_name(con: duckdb.DuckDBPyConnection, stem: str) -> str:
    """The name of a file's database: the name of the file, unless another database has it."""
    databases = con.execute("SELECT database_name FROM system.main.duckdb_databases()").fetchall()
    taken = {CLIENT_CATALOG, *(fold(name) for (name,) in databases)}
    return f"{stem}_file" if fold(stem) in taken else stem


def _create_views(con: duckdb.DuckDBPyConnection, database: str) -> None:
    """Create views so that clients can use the same names of tables and views as in the file itself."""
    query = """SELECT schema_name, table_name FROM system.main.duckdb_tables() WHERE database_name = $1 AND NOT internal
               UNION ALL SELECT schema_name, view_name FROM system.main.duckdb_views()
               WHERE database_name = $1 AND NOT internal"""
    here, own = current_catalog(con), fold(relsql_schema(con, database))
    for schema, name in con.execute(query, [database]).fetchall():
        if fold(schema) != own:
            con.execute(f"CREATE SCHEMA IF NOT EXISTS {qualified(here, schema)}")
            con.execute(f"CREATE VIEW {qualified(here, schema, name)} AS FROM {qualified(database, schema, name)}")


def _listen(con: duckdb.DuckDBPyConnection, uri: str, host: str, port: int, token: str) -> None:
    """Start to listen.

    Raises:
        ServingError: the server cannot listen on the address.
    """
    try:
        _check_port(host, port)
        other = "" if is_loopback(host) else ", allow_other_hostname => true"
        con.execute(f"CALL quack_serve({literal(uri)}, token => {literal(token)}{other})").fetchall()
        _await_answer(host, port)
    except (OSError, duckdb.Error) as error:
        reason = first_line(error)
        raise ServingError(
            f"cannot listen on {host}, port {port}: {reason}",
            expected="a free port and an address of this machine",
            fix="relsql serve FILE --port PORT",
        ) from error


def _await_answer(host: str, port: int) -> None:
    """Wait until quack answers a request, which it does when all its threads have started.

    Their stacks take a gigabyte of address space, so the memory of the process must not be limited before: without its
    threads the server would listen and never answer.

    Raises:
        OSError: it does not answer.
    """
    connection = http.client.HTTPConnection(host, port, timeout=_ANSWER_SECONDS)
    with closing(connection), suppress(http.client.HTTPException):  # Any answer will do.
        connection.request("GET", "/")
        connection.getresponse()


def _check_port(host: str, port: int) -> None:
    """Raise OSError if a process listens on the port: DuckDB would share it with another process of the same user.

    Binding the port is not a good test, because it also fails while connections of an earlier server linger.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.settimeout(1)
        if probe.connect_ex((host, port)) == 0:
            raise OSError("another process listens there")
