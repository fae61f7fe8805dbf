"""Tests of relsql.schema.times.findings, and of views that are not read."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pytest

from relsql.errors import TaskError
from relsql.schema.checks import check_schema
from relsql.schema.declared.declarations import Declarations
from relsql.schema.discovery.propose import infer_schema
from relsql.schema.finding import Finding
from relsql.schema.reading import read_schema
from relsql.schema.times.findings.time_findings import ALL_TABLES
from relsql.tasks.labels.label_table import chosen_splits
from tests.shop import TASK


def findings(con: duckdb.DuckDBPyConnection, name: str) -> list[Finding]:
    return [each for each in check_schema(con, "memory", read_schema(con)) if each.object == name]


def test_rows_that_were_changed_later_are_named_with_their_answer() -> None:
    with duckdb.connect() as con:
        con.execute(
            "CREATE TABLE tickets AS SELECT i AS id, TIMESTAMP '2024-01-01' + to_days(i::INTEGER) AS created_at, "
            "TIMESTAMP '2024-01-01' + to_days((i + CASE WHEN i % 4 = 0 THEN 9 ELSE 0 END)::INTEGER) AS updated_at "
            "FROM range(100) r(i)"
        )
        Declarations.parse(time_columns=["tickets(created_at)"]).store(con, "memory")
        [finding] = findings(con, "tickets")
        assert "25 of 100 rows were changed after they appeared, by 'updated_at'" in finding.message
        Declarations.parse(known_columns=["tickets(updated_at)"]).store(con, "memory")
        assert findings(con, "tickets") == []


def test_dates_that_many_rows_without_a_time_lack_are_named() -> None:
    with duckdb.connect() as con:
        con.execute(
            """CREATE TABLE customers AS SELECT i AS id, DATE '2020-01-01' + i::INTEGER AS born_on,
                   CASE WHEN i % 3 = 0 THEN DATE '2024-01-01' + i::INTEGER END AS churn_date,
                   CASE WHEN i % 2 = 0 THEN strftime(DATE '2024-01-01' + i::INTEGER, '%d.%m.%Y') ELSE '' END AS left_on,
                   CASE WHEN i > 1 THEN DATE '2020-01-01' END AS joined, NULL::DATE AS never FROM range(100) r(i);
               CREATE TABLE calls AS SELECT i % 100 AS id, DATE '2024-01-01' + i::INTEGER AS day FROM range(200) r(i)"""
        )
        Declarations.parse(
            primary_keys=["customers(id)"], links=["calls(id) -> customers(id)"], time_columns=["calls(day)"]
        ).store(con, "memory")
        [finding] = findings(con, "customers")
        assert (
            finding.severity == "warning"
            and "; churn_date, left_on may hold what became known later;" in finding.message
        )


@pytest.mark.parametrize(("other", "named"), [("city", False), ("amount", True)])
def test_the_state_of_a_country_is_no_outcome_and_a_last_visit_is(other: str, named: bool) -> None:
    with duckdb.connect() as con:
        con.execute(
            f"""CREATE TABLE shops AS SELECT i AS id, 'x' AS {other}, 's' || i % 9 AS shop_state FROM range(100) r(i);
               CREATE TABLE visitors AS SELECT i AS id, DATE '2024-05-01' + i::INT AS last_seen FROM range(100) r(i);
               CREATE TABLE visits AS SELECT i % 100 AS shop, i % 100 AS visitor, DATE '2024-01-01' + i::INTEGER AS day
                   FROM range(200) r(i)"""
        )
        Declarations.parse(
            primary_keys=["shops(id)", "visitors(id)"],
            links=["visits(shop) -> shops(id)", "visits(visitor) -> visitors(id)"],
            time_columns=["visits(day)"],
        ).store(con, "memory")
        assert any("shop_state may hold" in each.message for each in findings(con, "shops")) == named
        assert any("last_seen may hold" in each.message for each in findings(con, "visitors"))


def test_sentinels_are_named() -> None:
    with duckdb.connect() as con:
        con.execute("CREATE TABLE visits AS SELECT i AS id, DATE '2024-01-01' + i::INTEGER AS day FROM range(100) r(i)")
        con.execute("INSERT INTO visits VALUES (100, DATE '9999-12-31'), (101, DATE '1900-01-01')")
        Declarations.parse(time_columns=["visits(day)"]).store(con, "memory")
        [finding] = findings(con, "visits")
        text = "2 rows have a time far from the rest in 'day': 1900-01-01 in 1 row, 9999-12-31 in 1 row; they do not"
        assert text in finding.message
        # A model of an earlier time has a limit of its own.
        assert "nor the default as_of of models that are trained from now on follow them" in finding.message


def test_sentinels_of_other_columns_are_named_with_their_counts() -> None:
    with duckdb.connect() as con:
        con.execute(
            "CREATE TABLE visits AS SELECT i AS id, DATE '2024-01-01' + i::INTEGER AS day, "
            "CASE WHEN i % 4 = 0 THEN DATE '9999-12-31' ELSE DATE '2024-02-01' + i::INTEGER END AS valid_to, "
            "CASE WHEN i = 7 THEN DATE '1900-01-01' ELSE DATE '1960-01-01' + 90 * i::INTEGER END AS birth_date "
            "FROM range(100) r(i)"
        )
        Declarations.parse(time_columns=["visits(day)"]).store(con, "memory")
        valid_to, birth_date = [each.message for each in findings(con, "visits")]
        assert "25 rows have a time far from the rest in 'valid_to': 9999-12-31 in 25 rows; scores read" in valid_to
        assert "1 row has a time far from the rest in 'birth_date': 1900-01-01 in 1 row;" in birth_date


def test_a_view_that_reports_on_tables_is_named_and_can_be_declared() -> None:
    with duckdb.connect() as con:
        con.execute("CREATE TABLE sales (id INTEGER PRIMARY KEY, shop INTEGER, amount INTEGER)")
        con.execute("CREATE VIEW shops AS SELECT shop, sum(amount) AS total FROM sales GROUP BY shop")
        [finding] = findings(con, "shops")
        assert "is not read" in finding.message and "--primary-key 'shops(COLUMN)'" in finding.message
        assert "shops" not in read_schema(con).tables
        declared = Declarations.parse(primary_keys=["Shops(shop)"], links=["sales(shop) -> shops(shop)"])
        declared.store(con, "memory")
        schema = read_schema(con)
        assert schema.table("shops").primary_key == ("shop",) and len(schema.links) == 1


def test_a_database_without_any_time_says_what_that_means(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR)")
    con.execute("CREATE TABLE orders (customer INTEGER, shipped_at DATE, ordered_at DATE)")
    [finding] = findings(con, ALL_TABLES)
    assert finding.severity == "warning"
    assert "all rows count at every as_of, so no task about the future can be trained" in finding.message
    assert finding.message.endswith("relsql init FILE --time-column 'orders(ordered_at)'")
    with pytest.raises(TaskError, match=r"all rows count at every as_of.*Fix: relsql init FILE .*orders\(ordered_at\)"):
        chosen_splits(con, "memory", read_schema(con), replace(TASK, test_timestamp=None))
    Declarations.parse(untimed=["customers", "orders"]).store(con, "memory")
    [finding] = findings(con, ALL_TABLES)
    assert finding.severity == "info"
    Declarations.parse(time_columns=["orders(ordered_at)"]).store(con, "memory")
    assert findings(con, ALL_TABLES) == []


def test_a_database_without_dates_gets_the_form_of_the_declaration(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR)")
    [finding] = findings(con, ALL_TABLES)
    assert finding.message.endswith("relsql init FILE --time-column 'TABLE(COLUMN OR EXPRESSION)'")


def test_a_record_of_events_without_a_link_is_named_with_the_keys_within_its_columns(
    con: duckdb.DuckDBPyConnection,
) -> None:
    con.execute(
        """CREATE TABLE repos AS SELECT i AS id, 'repo ' || i AS name FROM range(50) r(i);
           CREATE TABLE events AS SELECT DATE '2024-01-01' + i::INTEGER AS day,
               {'name': 'repo', 'id': i % 50} AS "the repo", [{'id': 1}] AS tags, {'x': 1} AS place
           FROM range(100) r(i)"""
    )
    Declarations.parse(time_columns=["events(day)"], primary_keys=["repos(id)"]).store(con, "memory")
    [finding] = findings(con, "events")
    assert finding.severity == "warning" and "keys within the repo cannot be linked" in finding.message
    con.execute(finding.message.partition("make columns of them: ")[2])
    assert [str(each.link) for each in infer_schema(con).links] == ["events(the repo_id) -> repos(id)"]


def test_keys_within_the_columns_of_the_only_table_become_entities(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """CREATE TABLE events AS SELECT i AS id, TIMESTAMP '2024-01-01' + to_hours(i::INTEGER) AS created_at,
               {'id': i % 30, 'login': 'dev' || i % 30} AS actor FROM range(900) r(i)"""
    )
    Declarations.parse(time_columns=["events(created_at)"]).store(con, "memory")
    [finding] = findings(con, "events")
    con.execute(finding.message.partition("make columns of them: ")[2])
    assert [each.declaration for each in infer_schema(con).entities] == ["actors=events(actor_id)"]
