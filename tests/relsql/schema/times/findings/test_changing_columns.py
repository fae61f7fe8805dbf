"""Tests of relsql.schema.times.findings.changing_columns: states that are updated in place."""

from __future__ import annotations

import duckdb
import pytest

from relsql.schema.checks import check_schema
from relsql.schema.declared.declarations import Declarations
from relsql.schema.finding import Finding
from relsql.schema.reading import read_schema

ORDERS = """
    CREATE TABLE orders (order_id INTEGER PRIMARY KEY, day DATE, status VARCHAR, stage VARCHAR, is_fraud BOOLEAN,
        ship_state VARCHAR);
    INSERT INTO orders SELECT i, DATE '2023-01-01' + i::INTEGER,
        CASE WHEN i > 360 AND i % 3 > 0 THEN 'open' WHEN i % 9 = 0 THEN 'returned' ELSE 'done' END,
        ['a', 'b'][1 + i % 2], i % 20 = 0, ['BW', 'BY'][1 + i % 2] FROM range(400) r(i);
"""


@pytest.fixture
def findings(con: duckdb.DuckDBPyConnection) -> dict[str, Finding]:
    con.execute(ORDERS)
    Declarations.parse(time_columns=["orders(day)"]).store(con, "memory")
    found = check_schema(con, "memory", read_schema(con))
    return {each.object: each for each in found if "written again" in each.message}


def test_a_state_that_is_another_in_the_newest_rows_is_a_warning(findings: dict[str, Finding]) -> None:
    status = findings["orders(status)"]
    assert status.severity == "warning"
    assert "it is 'open' in 65% of the newest rows and in 0% of those before" in status.message
    assert "write remove_columns: [[orders, status]]" in status.message


def test_other_states_are_mentioned_and_verdicts_are_warnings(findings: dict[str, Finding]) -> None:
    assert findings["orders(stage)"].severity == "info"
    assert findings["orders(is_fraud)"].severity == "warning"
    assert "orders(ship_state)" not in findings
