"""Describing a database: the numbers, the text, and the JSON."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterator

import duckdb
import pytest

from relsql.cli.inspection import inspect, render_table, render_text
from relsql.database.relsql_tables import ensure_table
from relsql.errors import SchemaError
from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.tables import Link
from relsql.tasks.stored_tasks import save_task
from relsql.tasks.task import Task


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR)")
        connection.execute('CREATE TABLE "order\'s" (user_id BIGINT, day TIMESTAMPTZ)')
        connection.execute("INSERT INTO users VALUES (1, 'a'), (2, 'b')")
        connection.execute(
            "INSERT INTO \"order's\" VALUES (1, '2020-01-01 00:00:00+00'), (7, '2020-03-01'), (NULL, NULL)"
        )
        yield connection


def _declare(con: duckdb.DuckDBPyConnection) -> None:
    declare_table(con, "memory", "order's", time_column="day")
    declare_link(con, "memory", Link("order's", ("user_id",), "users", ("id",)))
    task = Task("churn", "binary_classification", "users", "id", "y", "t", "30 days", "SELECT 1")
    save_task(con, "memory", dataclasses.replace(task, val_timestamp=datetime.datetime(2020, 2, 1)))
    models = ensure_table(con, "memory", "models")
    con.execute(
        f"""INSERT INTO {models} (name, version, status, task, created, metrics)
            VALUES ('m', 2, 'active', 'churn', '2020-01-01', '{{"auc": 0.75}}')"""
    )


def test_an_undeclared_database_is_described_and_not_written(con: duckdb.DuckDBPyConnection) -> None:
    report = inspect(con, "memory")
    assert [(table.name, table.rows, table.primary_key) for table in report.tables] == [
        ("order's", 3, ()),
        ("users", 2, ("id",)),
    ]
    assert (report.links, report.tasks, report.models) == ((), (), ())
    # Without a time, no question about the future can be answered.
    assert [finding.object for finding in report.findings if finding.severity != "info"] == ["all tables"]
    assert con.execute("SELECT count(*) FROM duckdb_schemas() WHERE schema_name = 'relsql'").fetchone() == (0,)


def test_all_that_is_known_is_reported(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("SET TimeZone = 'UTC'")
    _declare(con)
    report = inspect(con, "memory")
    orders, users = report.tables
    assert (orders.time_column, orders.first_time, orders.last_time) == (
        "day",
        "2020-01-01 00:00:00",
        "2020-03-01 00:00:00",
    )
    assert users.key_origin == "constraint"
    assert users.columns == (("id", "BIGINT"), ("name", "VARCHAR"))
    (link,) = report.links
    assert (link.origin, link.rows, link.null_keys, link.dangling) == ("declared", 3, 1, 1)
    assert (report.tasks[0].entity, report.tasks[0].val_timestamp) == ("users(id)", "2020-02-01 00:00:00")
    assert (report.models[0].version, report.models[0].metrics) == (2, '{"auc": 0.75}')
    assert [finding.severity for finding in report.findings] == ["warning", "warning", "info", "error"]
    assert "the row of model 'm' version 2" in report.findings[3].message
    assert "all its rows count at every as_of" in report.findings[2].message


def test_the_text_is_aligned_and_names_everything(con: duckdb.DuckDBPyConnection) -> None:
    _declare(con)
    text = render_text(inspect(con, "memory"))
    assert text.endswith("\n") and "\t" not in text
    lines = text.splitlines()
    assert all(line == line.rstrip() for line in lines)
    start = lines.index("links")
    header, row = lines[start + 1], lines[start + 2]
    assert header.index("from") == row.index("declared")
    assert header.index("dangling") + len("dangling") == len(row)
    for part in ("order's(user_id) -> users(id)", "30 days", "auc 0.75", "warning: order's: 1 of 3 rows have no time"):
        assert part in text


def test_one_table_is_rendered_and_an_unknown_one_refused(con: duckdb.DuckDBPyConnection) -> None:
    report = inspect(con, "memory")
    assert render_table("users", report).splitlines()[-1].split() == ["name", "VARCHAR"]
    with pytest.raises(SchemaError, match="'user' does not exist"):
        render_table("user", report)


def test_an_inspection_can_be_written_as_json(con: duckdb.DuckDBPyConnection) -> None:
    _declare(con)
    read = json.loads(json.dumps(dataclasses.asdict(inspect(con, "memory"))))
    assert read["links"][0]["dangling"] == 1
    assert read["tables"][1]["columns"] == [["id", "BIGINT"], ["name", "VARCHAR"]]


def test_a_link_whose_column_was_dropped_is_a_finding(con: duckdb.DuckDBPyConnection) -> None:
    _declare(con)
    con.execute('ALTER TABLE "order\'s" DROP COLUMN user_id')
    report = inspect(con, "memory")
    assert report.links[0].dangling is None
    assert report.findings[0].severity == "error" and "no column 'user_id'" in report.findings[0].message
    assert "?" in render_text(report)
