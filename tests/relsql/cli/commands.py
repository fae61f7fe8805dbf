"""Run commands in a process of their own; a task manifest for them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
from click.testing import Result

ROOT = Path(__file__).parents[3]
Run = Callable[..., Result]
MANIFEST = """
name: churn
task_type: binary_classification
entity_table: {table}
entity_col: {column}
target_col: y
time_col: t
timedelta: 30 days
sql: SELECT 1
"""


def relsql_schemas(path: Path) -> int:
    with duckdb.connect(str(path), read_only=True) as con:
        return len(con.execute("SELECT 1 FROM duckdb_schemas() WHERE schema_name = 'relsql'").fetchall())


def process(*args: object, script: str | None = None) -> subprocess.CompletedProcess[str]:
    start = ["-c", script] if script else ["-m", "relsql"]
    command = [sys.executable, *start, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
