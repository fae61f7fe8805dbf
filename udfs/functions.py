"""Register Python functions over Arrow arrays as DuckDB functions."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, cast

import duckdb
import pyarrow as pa

ArrowFunction = Callable[..., pa.Array]

_REGISTERED: dict[ArrowFunction, ArrowFunction] = {}
"""Registered functions, kept alive: DuckDB still calls a function after the connection that registered it is closed,
and would otherwise access freed memory (duckdb-python issue 530). Each access to a method creates a new object, so the
first object is stored here and is always the one to register: one per function, however often a model is attached."""


def scalar_functions(con: duckdb.DuckDBPyConnection) -> set[str]:
    """Names of all scalar functions of the connection's DuckDB instance; this takes about 10 ms."""
    query = "SELECT DISTINCT function_name FROM system.main.duckdb_functions() WHERE function_type = 'scalar'"
    return {name for (name,) in con.execute(query).fetchall()}


def create_arrow_function(
    con: duckdb.DuckDBPyConnection,
    name: str,
    function: ArrowFunction,
    parameters: list[str],
    returns: str,
    *,
    taken: Container[str] | None = None,
) -> None:
    """Register `function` under `name` on the connection's DuckDB instance, unless that name is `taken`.

    DuckDB calls the function from several threads at once, with NULLs and with 0 to 2,048 rows per call. It is kept for
    the life of the process. A registration inside a transaction that is rolled back is undone. To register several
    functions, call `scalar_functions` once and pass the result as `taken`.
    """
    if name in (scalar_functions(con) if taken is None else taken):
        return
    function = _REGISTERED.setdefault(function, function)
    try:
        # cast, because the type stubs of DuckDB 1.5 and 2.0 declare the options differently.
        cast(Any, con).create_function(name, function, parameters, returns, type="arrow", null_handling="special")
    except duckdb.Error as error:
        # Another connection of this process has registered it meanwhile.
        if "already" not in str(error):
            raise
