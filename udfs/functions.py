"""Registering Python functions over Arrow arrays as DuckDB functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import duckdb
import pyarrow as pa

ArrowFunction = Callable[[pa.Array], pa.Array]

_KEPT: list[ArrowFunction] = []
"""DuckDB goes on calling a function after the connection that registered it is gone, and would otherwise call freed
memory (duckdb-python issue 530)."""


def create_arrow_function(
    con: duckdb.DuckDBPyConnection, name: str, function: ArrowFunction, parameters: list[str], returns: str
) -> None:
    """Register `function` under `name` on the connection's DuckDB instance, unless that name is taken.

    The function gets NULLs, at most 2,048 rows a call and sometimes none, from several threads at once. It is kept
    for the life of the process. A registration inside a transaction that is rolled back is undone.
    """
    query = "SELECT count(*) FROM duckdb_functions() WHERE function_name = ? AND function_type = 'scalar'"
    if con.execute(query, [name]).fetchall()[0][0]:
        return
    _KEPT.append(function)
    try:
        # The type stubs of DuckDB 1.5 and 2.0 differ in how they spell the options.
        cast(Any, con).create_function(name, function, parameters, returns, type="arrow", null_handling="special")
    except duckdb.Error as error:
        # Another connection of this process was faster.
        if "already" not in str(error):
            raise
