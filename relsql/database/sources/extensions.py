"""DuckDB's extensions: loaded where they are installed in DuckDB or as a wheel, and never downloaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import duckdb

from relsql.sql_text import literal


def load_extension(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load an extension.

    Raises:
        duckdb.Error: it is installed neither in DuckDB nor as a wheel `duckdb-extension-<name>` of the same version.
    """
    try:
        con.execute(f"LOAD {name}")
    except duckdb.Error:
        binary = wheel_binary(name, duckdb.__version__)
        if binary is None:
            raise
        con.execute(f"LOAD {literal(str(binary))}")


def wheel_binary(name: str, version: str) -> Path | None:
    """The binary of an extension in its wheel, if the wheel is installed for this version of DuckDB."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "extensions" / f"v{version}" / f"{name}.duckdb_extension"
    return binary if binary.is_file() else None
