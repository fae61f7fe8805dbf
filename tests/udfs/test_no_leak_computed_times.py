"""Proof by mutation where times are computed: of headers, from text, of two clocks, in views, under both rules.

What is visible is written here a second time, in plain conditions. Rows that are not visible at as_of are deleted and
altered at random; no score changes by a bit, on onnxruntime and in plain SQL. Changed rows that are visible do change
scores.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import hypothesis
import hypothesis.strategies as st
import pytest

import relsql
from relsql.publishing.publish import publish
from relsql.schema.declared.declarations import Declarations
from relsql.schema.visibility import VISIBILITY_RULES, VisibilityRule
from relsql.tasks.task import Task
from relsql.training.train import train
from tests.shop import QUICK

CUSTOMERS = 40
TASK = Task(
    name="churn",
    task_type="binary_classification",
    entity_table="customers",
    entity_col="customer_id",
    target_col="churned",
    time_col="timestamp",
    timedelta="30 days",
    num_eval_timestamps=2,
    sql="""
        SELECT t.timestamp, c.customer_id, (count(o.order_id) = 0)::BIGINT AS churned
        FROM timestamps t CROSS JOIN customers c
        LEFT JOIN orders o ON o.customer_id = c.customer_id AND o.order_date::TIMESTAMP > t.timestamp
          AND o.order_date::TIMESTAMP <= t.timestamp + INTERVAL '30 days'
        GROUP BY ALL""",
)
DECLARED = Declarations.parse(
    primary_keys=["visits(visit_id)", "lines(order_id, no)"],
    links=[
        "orders(customer_id) -> customers",
        "lines(order_id) -> orders",
        "notes(order_id, no) -> lines",
        "notes(customer_id) -> customers",
        "lines(customer_id) -> customers",
        "visits(customer_id) -> customers",
    ],
    time_columns=["orders(try_cast(order_date AS TIMESTAMP))", "lines(orders)", "notes(lines)", "visits(seen)"],
    known_columns=["lines(loaded)"],
)
CREATE = f"""
    CREATE TABLE customers (customer_id INTEGER PRIMARY KEY, region VARCHAR);
    INSERT INTO customers SELECT i, ['north', 'south'][1 + i % 2] FROM range({CUSTOMERS}) r(i);
    CREATE TABLE orders (order_id INTEGER PRIMARY KEY, customer_id INTEGER, order_date VARCHAR, size INTEGER);
    INSERT INTO orders
    SELECT row_number() OVER (ORDER BY day, i), i, strftime(DATE '2022-01-01' + day::INTEGER, '%Y-%m-%d'),
        hash(i, day) % 9
    FROM range({CUSTOMERS}) c(i), range(0, 600, 5) d(day) WHERE hash(i, day, 1) % 100 < 5 + (i * 17 % 30);
    CREATE TABLE lines (order_id INTEGER, no INTEGER, customer_id INTEGER, amount INTEGER, loaded TIMESTAMP);
    INSERT INTO lines
    SELECT order_id, no, customer_id, hash(order_id, no) % 50,
        order_date::TIMESTAMP + to_days((hash(no, order_id) % 40)::INTEGER - 5)
    FROM orders, range(1, 4) n(no);
    CREATE TABLE notes AS SELECT order_id, no, customer_id, hash(order_id) % 7 AS mood FROM lines WHERE no < 3;
    CREATE TABLE crm.visits AS
    SELECT row_number() OVER (ORDER BY day, i) AS visit_id, i AS customer_id, hash(i, day) % 5 AS pages,
        DATE '2022-01-01' + day::INTEGER AS seen
    FROM range({CUSTOMERS}) c(i), range(0, 600, 3) d(day) WHERE hash(i, day, 2) % 100 < 10;
    CREATE VIEW visits AS SELECT * FROM crm.visits;
"""

ORDER = "o.order_date::TIMESTAMP {cmp} {as_of}"
LINE = f"l.loaded {{cmp}} {{as_of}} AND EXISTS (FROM orders o WHERE o.order_id = l.order_id AND {ORDER})"
NOTE = f"EXISTS (FROM lines l WHERE l.order_id = n.order_id AND l.no = n.no AND {LINE})"
VISIT = "v.seen::TIMESTAMP {cmp} {as_of}"
MUTATIONS = {
    "alter notes": f"UPDATE notes n SET mood = mood + {{x}} WHERE NOT ({NOTE})",
    "delete notes": f"DELETE FROM notes n WHERE NOT ({NOTE}) AND hash(order_id, {{x}}) % 2 = 0",
    "alter lines": f"UPDATE lines l SET amount = amount + {{x}}, customer_id = {{x}} WHERE NOT ({LINE})",
    "delete lines": f"DELETE FROM lines l WHERE NOT ({LINE}) AND hash(order_id, {{x}}) % 2 = 0",
    "alter orders": f"UPDATE orders o SET size = size + {{x}}, customer_id = {{x}} WHERE NOT ({ORDER})",
    "delete orders": f"DELETE FROM orders o WHERE NOT ({ORDER}) AND hash(order_id, {{x}}) % 2 = 0",
    "alter visits": f"UPDATE crm.visits v SET pages = pages + {{x}}, customer_id = {{x}} WHERE NOT ({VISIT})",
    "delete visits": f"DELETE FROM crm.visits v WHERE NOT ({VISIT}) AND hash(visit_id, {{x}}) % 2 = 0",
}
# Orders without a readable date come last, because the other conditions could not read them.
UNREADABLE = f"UPDATE orders o SET order_date = 'soon' WHERE NOT ({ORDER}) AND hash(order_id) % 3 = 0"
VISIBLE = {
    "lines": f"UPDATE lines l SET amount = 1000 WHERE {LINE}",
    "orders": f"UPDATE orders o SET size = 1000 WHERE {ORDER}",
    "visits": f"UPDATE crm.visits v SET pages = 1000 WHERE {VISIT}",
}
COMPARISON = {"at-or-before": "<=", "before": "<"}
TABLES = ("orders", "lines", "notes", "crm.visits")
FILES = ("wholesale.duckdb", "crm.duckdb")


@pytest.fixture(scope="module", params=VISIBILITY_RULES)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[VisibilityRule, Path]:
    """A folder with the database and the one that its view reads, with a trained and published model."""
    folder = tmp_path_factory.mktemp("wholesale")
    with duckdb.connect(str(folder / FILES[0])) as con:
        con.execute(f"ATTACH '{folder / FILES[1]}' AS crm")
        con.execute(CREATE)
        DECLARED.store(con, "wholesale")
        train(con, replace(TASK, visible=request.param), name="churn", options=QUICK)
        publish(con, "churn")
    return request.param, folder


@pytest.fixture
def opened(trained: tuple[VisibilityRule, Path], tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    for name in FILES:
        shutil.copy(trained[1] / name, tmp_path / name)
    with duckdb.connect(str(tmp_path / FILES[0])) as con:
        con.execute(f"ATTACH '{tmp_path / FILES[1]}' AS crm")
        con.execute("ATTACH ':memory:' AS pristine")
        for table in TABLES:
            con.execute(f"CREATE TABLE pristine.{table.split('.')[-1]} AS FROM {table}")
        relsql.attach(con)
        yield con


def restore(con: duckdb.DuckDBPyConnection) -> None:
    """Undo all changes. A transaction could not: it may write to one database only."""
    for table in TABLES:
        con.execute(f"DELETE FROM {table}")
        con.execute(f"INSERT INTO {table} FROM pristine.{table.split('.')[-1]}")


def scores(con: duckdb.DuckDBPyConnection, function: str, as_of: str) -> list[Any]:
    """Scores one by one: in one batch, other rows would change the last bits."""
    query = f"SELECT {function}(?, as_of := {as_of})"
    return [con.execute(query, [i]).fetchall()[0][0] for i in range(0, CUSTOMERS, 7)]


FUNCTIONS = ("predict_churn_full", "wholesale.main.predict_churn_full")
MOMENTS = st.sampled_from(["2022-05-01", "2022-11-12 00:00:00", "2023-02-10 00:00:00.000001", "2023-04-01 12:00:00"])


CHANGES = st.lists(st.tuples(st.sampled_from(sorted(MUTATIONS)), st.integers(1, 60)), min_size=1, max_size=5)


@hypothesis.settings(
    max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
)
@hypothesis.given(moment=MOMENTS, changes=CHANGES)
def test_rows_that_are_not_visible_change_no_score(
    opened: duckdb.DuckDBPyConnection, trained: tuple[VisibilityRule, Path], moment: str, changes: list[tuple[str, int]]
) -> None:
    con, as_of = opened, f"TIMESTAMP '{moment}'"
    names = {"cmp": COMPARISON[trained[0]], "as_of": as_of}
    restore(con)
    before = {function: scores(con, function, as_of) for function in FUNCTIONS}
    for change, x in changes:
        con.execute(MUTATIONS[change].format(x=x, **names))
    con.execute(UNREADABLE.format(**names))
    found = {function: scores(con, function, as_of) for function in FUNCTIONS}
    assert found == before


@pytest.mark.parametrize("table", VISIBLE)
def test_rows_that_are_visible_change_scores(
    opened: duckdb.DuckDBPyConnection, trained: tuple[VisibilityRule, Path], table: str
) -> None:
    as_of = "TIMESTAMP '2023-02-10'"
    for function in FUNCTIONS:
        restore(opened)
        before = scores(opened, function, as_of)
        opened.execute(VISIBLE[table].format(cmp=COMPARISON[trained[0]], as_of=as_of))
        assert scores(opened, function, as_of) != before


def test_before_the_first_event_nothing_is_known(opened: duckdb.DuckDBPyConnection) -> None:
    for function in FUNCTIONS:
        found = opened.execute(f"SELECT {function}(3, as_of := TIMESTAMP '1990-01-01')").fetchall()[0][0]
        assert (found["status"], found["evidence"]) == ("no_history", 0)
