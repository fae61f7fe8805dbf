"""Run commands in this process, on a shop without any constraint."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result

from relsql.cli import cli
from tests.relsql.cli.commands import Run


@pytest.fixture
def run() -> Run:
    def invoke(*args: object, stdin: str = "") -> Result:
        result = CliRunner().invoke(cli, [str(arg) for arg in args], input=stdin, prog_name="relsql")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


@pytest.fixture
def bare_shop(tmp_path: Path) -> Path:
    """Customers and orders without any constraint."""
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE customers AS SELECT i AS customer_id, 'name ' || i AS name FROM range(50) t(i)")
        con.execute(
            """CREATE TABLE orders AS SELECT i AS order_id, i % 50 AS customer_id, i % 7 AS referrer,
               TIMESTAMP '2020-01-01' + to_days(i::INTEGER) AS ordered_at FROM range(400) t(i)"""
        )
    return path
