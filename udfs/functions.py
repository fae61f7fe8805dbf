"""Registering Python functions over Arrow arrays as DuckDB functions."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, cast

import duckdb
import pyarrow as pa

ArrowFunction = Callable[..., pa.Array]

_KEPT: dict[ArrowFunction, ArrowFunction] = {}
"""DuckDB goes on calling a function after the connection that registered it is gone, and would otherwise call freed
memory (duckdb-python issue 530). A method is another object at each access, so the object that is kept has to be the
one that is registered: however often a model is attached, there is one for each of its functions."""


def scalar_functions(con: duckdb.DuckDBPyConnection) -> set[str]:
    """Names of all scalar functions of the connection's DuckDB instance; it takes a hundredth of a second."""
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

    The function gets NULLs, at most 2,048 rows a call and sometimes none, from several threads at once. It is kept
    for the life of the process. A registration inside a transaction that is rolled back is undone. Who registers
    several functions asks for `scalar_functions` once.
    """
    if name in (scalar_functions(con) if taken is None else taken):
        return
    function = _KEPT.setdefault(function, function)
    try:
        # The type stubs of DuckDB 1.5 and 2.0 differ in how they spell the options.
        cast(Any, con).create_function(name, function, parameters, returns, type="arrow", null_handling="special")
    except duckdb.Error as error:
        # Another connection of this process was faster.
        if "already" not in str(error):
            raise
