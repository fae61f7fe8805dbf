"""Tests of relsql.schema.times.findings.later_columns: what is filled in after its row appears."""

from __future__ import annotations

import shlex
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from relsql.cli import cli
from relsql.schema.checks import check_schema
from relsql.schema.declared.declarations import Declarations
from relsql.schema.discovery.propose import apply_proposal, infer_schema
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
    "left_on": "CASE WHEN i < 300 THEN '' ELSE strftime(day + 20, '%d.%m.%Y') END",
    "left_why": r"CASE WHEN i < 300 THEN '\N' ELSE 'why' END",
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
    later = ("delivered_at", "returned", "refund_amount", "final_score", "reviewed_at", "left_on", "left_why")
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
    # The contract that runs is the one that counts.
    assert "--known-column does not help, because it would hide each row until it ends" in message
    assert "relsql init" not in message


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


CLOSED = {
    "as_date": "CASE WHEN closed THEN CAST(done AS DATE) END",
    "as_iso": "CASE WHEN closed THEN strftime(done, '%Y-%m-%d') ELSE '' END",
    "as_german": "CASE WHEN closed THEN strftime(done, '%d.%m.%Y') ELSE '' END",
    "as_number": "CASE WHEN closed THEN strftime(done, '%Y%m%d')::INTEGER ELSE 0 END",
    "as_number_or_minus_1": "CASE WHEN i % 9 > 0 AND closed THEN strftime(done, '%Y%m%d')::INTEGER ELSE -1 END",
    "as_epoch_at": "CASE WHEN closed THEN epoch(done)::BIGINT ELSE 0 END",
    "open_9999": "CASE WHEN closed THEN CAST(done AS DATE) ELSE DATE '9999-12-31' END",
    "open_9999_text": "CASE WHEN closed THEN strftime(done, '%Y-%m-%d') ELSE '9999-12-31' END",
}
"""The same date as databases store it; open tickets are those of the last days."""

NOT_LATER = {
    "opened_text": "strftime(day, '%Y-%m-%d')",
    "loaded": "DATE '2026-01-01'",
    "loaded_text": "'2026-01-01'",
    "batch": "20000000 + i",
    "season": "2024",
}


@pytest.fixture
def tickets(con: Connection) -> Connection:
    values = ", ".join(f"{value} AS {name}" for name, value in (CLOSED | NOT_LATER).items())
    con.execute(
        f"""CREATE TABLE tickets AS SELECT i AS id, day, {values},
                   CASE WHEN closed THEN ['won', 'lost'][1 + i % 2] END AS verdict,
                   CASE WHEN closed THEN i % 5 ELSE -1 END AS grade,
                   CASE WHEN closed THEN 'done' ELSE 'open' END AS state
            FROM (SELECT i, TIMESTAMP '2024-01-01 10:00:00' + to_days(i::INTEGER) AS day,
                         day + to_days((2 + i % 9)::INTEGER) AS done, i < 390 AS closed FROM range(400) r(i))"""
    )
    Declarations.parse(primary_keys=["tickets(id)"], time_columns=["tickets(day)"]).store(con, "memory")
    return con


def test_dates_are_read_however_they_are_stored(tickets: Connection) -> None:
    found = findings(tickets)
    for name in CLOSED:
        message = found[f"tickets({name})"].message
        rows = 346 if name == "as_number_or_minus_1" else 390
        assert f"lies after the row's own time in {rows} of the {rows} rows that have it" in message, name
    assert not [name for name in found if name in {f"tickets({each})" for each in NOT_LATER}]


@pytest.mark.parametrize("name", [name for name in CLOSED if name != "as_number_or_minus_1"])
def test_the_advised_readings_can_be_declared(tickets: Connection, name: str) -> None:
    message = findings(tickets)[f"tickets({name})"].message
    option = shlex.split(message.partition("relsql init FILE ")[2])
    assert option[0] == "--known-column", message
    Declarations.parse(known_columns=[option[1]]).store(tickets, "memory")
    assert f"tickets({name})" not in findings(tickets)


@pytest.mark.parametrize("timed", [True, False])
def test_the_key_of_a_later_day_is_named_where_that_day_is_seen_too_early(tickets: Connection, timed: bool) -> None:
    tickets.execute(
        """CREATE TABLE dates AS SELECT strftime(day, '%Y%m%d')::INTEGER AS id, day, i % 7 AS weekday
           FROM (SELECT i, DATE '2024-01-01' + i::INTEGER AS day FROM range(500) r(i));
           INSERT INTO dates VALUES (0, NULL, NULL)"""
    )
    times = {"time_columns": ["dates(day)"]} if timed else {"untimed": ["dates"]}
    Declarations.parse(primary_keys=["dates(id)"], links=["tickets(as_number) -> dates(id)"], **times).store(
        tickets, "memory"
    )
    assert ("lies after" in findings(tickets)["tickets(as_number)"].message) != timed


def test_values_that_stand_for_an_empty_one_are_named(tickets: Connection) -> None:
    found = findings(tickets)
    assert found["tickets(verdict)"].message.startswith(
        "is empty at the 10 newest times of its rows, and filled at 390"
    )
    assert found["tickets(grade)"].message.startswith("is '-1' at the 10 newest times of its rows, and another at 390")
    assert found["tickets(state)"].message.startswith(
        "is 'open' at the 10 newest times of its rows, and another at 390"
    )


def test_rows_later_on_the_same_day_are_counted(con: Connection) -> None:
    con.execute(
        """CREATE TABLE stays AS SELECT TIMESTAMP '2024-01-01 08:00:00' + to_days(i::INTEGER) AS arrived,
           arrived + CASE WHEN i % 3 = 0 THEN to_hours(5) ELSE to_days(2) END AS left_at FROM range(300) r(i)"""
    )
    Declarations.parse(time_columns=["stays(arrived)"]).store(con, "memory")
    assert "in 300 of the 300 rows that have it" in findings(con)["stays(left_at)"].message


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("CASE WHEN left_at IS NOT NULL THEN 'home' END", "is empty"),
        ("CASE WHEN left_at IS NULL THEN '' ELSE 'home' END", "is empty"),
        ("CASE WHEN left_at IS NULL THEN -1 ELSE i END", "is '-1'"),
    ],
)
def test_columns_that_are_empty_with_one_that_is_named_are_named_too(con: Connection, value: str, shown: str) -> None:
    con.execute(
        f"""CREATE TABLE stays AS SELECT *, {value} AS went_to, CASE WHEN i % 50 < 3 THEN NULL ELSE 1 END AS ward FROM
            (SELECT i, TIMESTAMP '2024-01-01' + to_days(i::INTEGER) AS arrived,
                    CASE WHEN i NOT IN (100, 280, 298) THEN arrived + to_days(2) END AS left_at FROM range(300) r(i))"""
    )
    Declarations.parse(time_columns=["stays(arrived)"]).store(con, "memory")
    found = findings(con)
    expected = f"{shown} in the same 3 rows as 'left_at', and in no other: it seems to be filled in later"
    assert found["stays(went_to)"].message.startswith(expected)
    assert "stays(ward)" not in found


def test_rows_that_are_often_open_are_not_advised_to_be_hidden(con: Connection) -> None:
    con.execute(
        """CREATE TABLE parcels AS SELECT DATE '2024-01-01' + i::INTEGER AS sent,
           CASE WHEN i % 4 > 0 THEN sent + 3 END AS arrived FROM range(200) r(i)"""
    )
    Declarations.parse(time_columns=["parcels(sent)"]).store(con, "memory")
    message = findings(con)["parcels(arrived)"].message
    assert "it would hide the 50 rows without it for good" in message and "relsql init" not in message


@pytest.mark.parametrize(("never_changed", "advised"), [(0, True), (30, False)])
def test_rows_that_never_changed_are_not_advised_to_be_hidden(
    con: Connection, never_changed: int, advised: bool
) -> None:
    con.execute(
        f"""CREATE TABLE carts AS SELECT DATE '2024-01-01' + i::INTEGER AS day,
            CASE WHEN i >= {never_changed} THEN day + 9 END AS updated_at FROM range(200) r(i)"""
    )
    Declarations.parse(time_columns=["carts(day)"]).store(con, "memory")
    [message] = [each.message for each in check_schema(con, "memory", read_schema(con)) if each.object == "carts"]
    assert "rows were changed after they appeared, by 'updated_at'" in message
    assert ("--known-column" in message) is advised


def test_a_flag_that_comes_with_a_date_is_as_sure_as_the_date(con: Connection) -> None:
    con.execute(
        """CREATE TABLE stays AS SELECT *, (left_at IS NOT NULL)::INTEGER AS expire_flag FROM
           (SELECT i, TIMESTAMP '2024-01-01' + to_days(i::INTEGER) AS arrived,
                   CASE WHEN i % 40 = 0 THEN arrived + to_days(2) END AS left_at FROM range(300) r(i))"""
    )
    Declarations.parse(time_columns=["stays(arrived)"]).store(con, "memory")
    assert findings(con)["stays(expire_flag)"].severity == "warning"


def test_the_end_of_a_month_is_later_if_the_month_begins_later(con: Connection) -> None:
    """Loans of a month, and the months in which they were paid last and applied for."""
    month = "strftime(DATE '2015-01-01' + to_months((i // 10)::INTEGER + {}), '%b-%Y')"
    con.execute(
        f"""CREATE TABLE loans AS SELECT i AS id, {month.format(0)} AS issued, {month.format("1 + i % 9")} AS last_paid,
                {month.format("0")} AS approved FROM range(600) r(i)"""
    )
    apply_proposal(con, "memory", infer_schema(con).split()[0])
    assert read_schema(con).table("loans").time_column
    assert "loans(last_paid)" in findings(con) and "loans(approved)" not in findings(con)
