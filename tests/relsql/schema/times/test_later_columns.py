"""Tests of relsql.schema.times.later_columns: what is filled in after its row appears."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from relsql.cli import cli
from relsql.schema.checks import check_schema
from relsql.schema.declared.declarations import Declarations
from relsql.schema.finding import Finding
from relsql.schema.reading import read_schema

Connection = duckdb.DuckDBPyConnection

COLUMNS = {
    "delivered_at": "day + 3",
    "returned": "i % 3 = 0 AND i < 360",
    "refund_amount": "CASE WHEN i % 4 = 0 AND i < 300 THEN 5.0 END",
    "final_score": "CASE WHEN i < 380 THEN i % 7 END",
    "reviewed_at": "CASE WHEN i < 380 THEN day END",
    "due_date": "day + 14",
    "updated_at": "day + 9",
    "amount": "i % 11",
    "discount": "CASE WHEN i % 5 = 0 THEN 1 END",
    "season": "2020 + i // 100",
    "status": "['open', 'sent'][1 + i % 2]",
    "never": "NULL::INTEGER",
}
"""Columns of order lines by their SQL; `day` is the day of the order, and i the number of the line."""


def findings(con: Connection) -> dict[str, Finding]:
    return {each.object: each for each in check_schema(con, "memory", read_schema(con)) if "(" in each.object}


@pytest.fixture
def lines(con: Connection) -> Connection:
    """400 order lines of 200 dated orders; the lines have no date of their own."""
    con.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, day DATE)")
    con.execute("INSERT INTO orders SELECT i, DATE '2024-01-01' + i::INTEGER FROM range(200) r(i)")
    values = ", ".join(f"{value} AS {name}" for name, value in COLUMNS.items())
    con.execute(
        f"""CREATE TABLE lines AS SELECT order_id, {values}
            FROM (SELECT i, i // 2 AS order_id, DATE '2024-01-01' + (i // 2)::INTEGER AS day FROM range(400) r(i))"""
    )
    Declarations.parse(
        links=["lines(order_id) -> orders(id)"], time_columns=["orders(day)", "lines(orders.day)"]
    ).store(con, "memory")
    return con


def test_columns_that_are_filled_in_later_are_named_with_their_answer(lines: Connection) -> None:
    found = findings(lines)
    warned = {name for name, each in found.items() if each.severity == "warning"}
    later = ("delivered_at", "returned", "refund_amount", "final_score", "reviewed_at")
    assert warned == {f"lines({name})" for name in later}
    delivered = found["lines(delivered_at)"].message
    assert "lies after the row's own time in 400 of the 400 rows that have it" in delivered
    assert "write remove_columns: [[lines, delivered_at]] in the task manifest" in delivered
    assert "relsql init FILE --known-column 'lines(delivered_at)'" in delivered
    assert "is empty at the 10 newest times of its rows" in found["lines(final_score)"].message
    assert "--known-column" not in found["lines(final_score)"].message
    assert found["lines(due_date)"].severity == "info"
    assert found["lines(due_date)"].message.endswith("if it is set when the row appears, there is nothing to do")


def test_what_the_findings_advise_answers_them(lines: Connection) -> None:
    Declarations.parse(known_columns=["lines(delivered_at)"]).store(lines, "memory")
    assert "lines(delivered_at)" not in findings(lines)
    schema = read_schema(lines).without_columns((("lines", "final_score"),))
    assert not [each for each in check_schema(lines, "memory", schema) if each.object == "lines(final_score)"]


def test_a_contract_that_is_changed_when_it_ends_is_named(con: Connection) -> None:
    con.execute(
        "CREATE TABLE contracts AS SELECT i AS id, DATE '2024-01-01' + i::INTEGER AS valid_from, "
        "CASE WHEN i < 170 THEN DATE '2024-01-31' + i::INTEGER END AS valid_to FROM range(200) r(i)"
    )
    Declarations.parse(time_columns=["contracts(valid_from)"]).store(con, "memory")
    message = findings(con)["contracts(valid_to)"].message
    assert "170 of the 170 rows that have it" in message
    # A row whose known column is NULL is never visible.
    assert "to hide each row until then, and rows without it for good: relsql init" in message


def test_names_are_quoted_as_shell_and_manifest_need_it(con: Connection) -> None:
    con.execute(
        """CREATE TABLE "my orders" AS SELECT DATE '2024-01-01' + i::INTEGER AS day,
           DATE '2024-01-09' + i::INTEGER AS "it's sent" FROM range(50) r(i)"""
    )
    Declarations.parse(time_columns=['"my orders"(day)']).store(con, "memory")
    message = findings(con)["my orders(it's sent)"].message
    assert 'remove_columns: [["my orders", "it\'s sent"]]' in message
    assert """--known-column '"my orders"(it'"'"'s sent)'""" in message


def test_init_and_inspect_print_the_findings(lines: Connection, tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    lines.execute(f"ATTACH '{path}' AS shop; COPY FROM DATABASE memory TO shop; DETACH shop")
    for arguments in (["init", str(path)], ["inspect", str(path)]):
        shown = CliRunner().invoke(cli, arguments)
        assert "warning: lines(delivered_at): lies after the row's own time" in shown.output, arguments
