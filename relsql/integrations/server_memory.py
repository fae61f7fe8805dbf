"""Limits on what the clients of a server can take of the machine's memory and disk.

DuckDB's `memory_limit` is not enough: values of an expression do not count against it, and a client can double a text
until it has two gigabytes. So the process has a limit too, which the operating system enforces: the allocation fails,
and so does the statement that asked for it.
"""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

from relsql.errors import ServingError
from relsql.sql_text import literal

_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def limit_statements(con: duckdb.DuckDBPyConnection, size: str | None) -> int:
    """Let DuckDB buffer at most half of the memory of all statements together, and spill at most as much as all of it.

    Args:
        con: a connection of the server.
        size: memory of all statements together, `4GB`; default: DuckDB's own, 80 % of the machine's memory.

    Returns:
        The memory of all statements together, in bytes.

    Raises:
        ServingError: `size` is not a size.
    """
    try:
        if size is not None:
            con.execute(f"SET memory_limit = {literal(size)}")
    except duckdb.Error as error:
        raise ServingError(
            f"the memory limit '{size}' is not a size", expected="for example 4GB", fix="relsql serve FILE"
        ) from error
    query = "SELECT value FROM system.main.duckdb_settings() WHERE name = 'memory_limit'"
    [(text,)] = con.execute(query).fetchall()
    number, unit = str(text).split()
    total = int(float(number) * _UNITS[unit])
    con.execute(f"SET memory_limit = '{total // 2} B'")
    con.execute(f"SET max_temp_directory_size = '{total} B'")
    return total


def limit_process(size: int) -> bool:
    """Let this process allocate at most `size` bytes more than it has now; False where only DuckDB's limit applies.

    Only Linux counts all memory of a process.
    """
    status = Path("/proc/self/status")
    found = re.search(r"^VmData:\s+(\d+) kB$", status.read_text(), re.MULTILINE) if status.exists() else None
    if found is None:
        return False
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = int(found[1]) * 1024 + size
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    return True
