"""Tests of relsql.tasks.predict.label_sql: labels are those of a plain reference, whatever the data and the line."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relsql.schema.declared.declarations import Declarations
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema
from relsql.schema.visibility import VISIBILITY_RULES
from relsql.tasks.labels.label_table import labels_at
from relsql.tasks.task import Task
from tests.relsql.tasks.predict.reference import START, Question, Tables, load, questions, shops

AT = [START + datetime.timedelta(days=days) for days in (30, 59, 60)]
"""The last days of January and of February, and the first of March."""

Labels = dict[tuple[Any, datetime.datetime], float]


def labels_of(
    con: duckdb.DuckDBPyConnection, schema: Schema, line: str, at: Sequence[datetime.datetime], **options: Any
) -> Labels:
    task = Task.from_line(line, "line", **options).resolved(schema)
    found = labels_at(con, "memory", schema, task, at, end=None, entities_until=None)
    rows = found.to_pylist()
    assert len({(row["entity"], row["as_of"]) for row in rows}) == len(rows)
    return {(row["entity"], row["as_of"]): float(row["label"]) for row in rows}


@settings(max_examples=40)
@given(shops(), questions(), st.sampled_from(VISIBILITY_RULES))
def test_labels_are_those_of_the_reference(tables: Tables, question: Question, visible: str) -> None:
    with duckdb.connect() as con:
        schema = load(con, tables)
        found = labels_of(con, schema, question.text, AT, visible=visible)
    wanted = question.labels(tables, AT, visible == "at-or-before")
    assert found.keys() == wanted.keys()
    assert all(found[key] == pytest.approx(wanted[key], rel=1e-6) for key in wanted)


ONE_HOP = (
    "PREDICT SUM(orders.amount, 3, 20, days) + LAST(orders.amount, 0, 10, days) FOR EACH customers.id "
    "WHERE COUNT(orders.* WHERE amount > 0, -15, -2, days) < 3 ASSUMING EXISTS(orders.*, 0, 20, days)"
)


@settings(max_examples=15)
@given(shops(), st.sampled_from(AT))
def test_rows_outside_of_the_windows_change_no_label(tables: Tables, as_of: datetime.datetime) -> None:
    day = datetime.timedelta(days=1)

    def inside(time: datetime.datetime | None) -> bool:
        return time is not None and (as_of - 15 * day < time <= as_of - 2 * day or as_of < time <= as_of + 20 * day)

    orders = [row for row in tables["orders"] if inside(row["day"])]
    kept = {row["id"] for row in orders}
    lines = [row for row in tables["lines"] if row["order_id"] in kept]
    with duckdb.connect() as con:
        whole = labels_of(con, load(con, tables), ONE_HOP, [as_of])
    with duckdb.connect() as con:
        cut = labels_of(con, load(con, {**tables, "orders": orders, "lines": lines}), ONE_HOP, [as_of])
    assert whole == cut


SHOP: Tables = {
    "customers": [{"id": 0, "city": None, "age": 1, "joined": START}],
    "stores": [{"id": 0, "kind": "a", "amount": 5, "opened": AT[0]}],
    "orders": [
        {
            "id": i,
            "customer_id": 0,
            "store_id": 0,
            "kind": "a",
            "amount": i,
            "day": START + datetime.timedelta(days=days),
        }
        for i, days in enumerate((5, 30, 40))
    ],
    "lines": [
        {"id": i, "order_id": order, "kind": "a", "amount": 1, "sent": START + datetime.timedelta(days=days)}
        for i, (order, days) in enumerate(((0, 20), (2, 20), (0, 45)))
    ],
}
"""One customer with orders of days 5, 30 and 40; lines of day 20 belong to the first one and to the last one."""

COUNT = "COUNT(orders.*, 0, 9, days) FOR EACH customers.id WHERE"


@pytest.mark.parametrize(
    ("line", "visible", "labels"),
    [
        # A window begins after its start and includes its end.
        ("COUNT(orders.*, 0, 10, days)", "at-or-before", [1]),
        ("COUNT(orders.*, 0, 9, days)", "at-or-before", [0]),
        # Times of rows on the way do not matter for a label, and do for the past: the last order is not known.
        ("COUNT(lines.*, 0, 15, days)", "at-or-before", [1]),
        (f"{COUNT} COUNT(lines.*, -20, 0, days) = 1", "at-or-before", [0]),
        # A store of several orders counts once.
        (f"{COUNT} SUM(stores.amount, -9, 0, days) = 5", "at-or-before", [0]),
        # The order of as_of itself is the past, unless the task sees only what was before.
        (f"{COUNT} EXISTS(orders.*, -9, 0, days)", "at-or-before", [0]),
        (f"{COUNT} EXISTS(orders.*, -9, 0, days)", "before", []),
        # Parentheses stay.
        ("COUNT(orders.* WHERE (amount = 2 OR kind = 'a') AND amount > 7, 0, 30, days)", "at-or-before", [0]),
        ("2 * (COUNT(orders.*, 0, 30, days) - (3 - 1))", "at-or-before", [-2]),
        # Without rows there is no mean, and no label; neither is there one for a division by 0.
        ("AVG(orders.amount, 0, 9, days)", "at-or-before", []),
        ("1 / COUNT(orders.*, 0, 9, days)", "at-or-before", []),
    ],
)
def test_the_rules_one_by_one(con: duckdb.DuckDBPyConnection, line: str, visible: str, labels: list[float]) -> None:
    whole = line if "FOR EACH" in line else f"{line} FOR EACH customers.id"
    found = labels_of(con, load(con, SHOP), f"PREDICT {whole}", AT[:1], visible=visible)
    assert list(found.values()) == labels


@pytest.mark.parametrize("entity", ["clients.id", "callers.caller"])
def test_rows_without_a_key_whose_time_is_computed_are_read(con: duckdb.DuckDBPyConnection, entity: str) -> None:
    """A label query reads a view of them that ends at a moment, and a view has no rowid."""
    con.execute(
        """CREATE TABLE clients AS SELECT i AS id FROM range(10) r(i);
           CREATE TABLE calls AS SELECT i % 10 AS client, strftime(DATE '2024-01-01' + i::INTEGER, '%d.%m.%Y') AS day
               FROM range(100) r(i)"""
    )
    Declarations.parse(
        primary_keys=["clients(id)"],
        links=["calls(client) -> clients(id)"],
        time_columns=["calls(day)"],
        entities=["callers=calls(client)"],
    ).store(con, "memory")
    schema, as_of = read_schema(con), datetime.datetime(2024, 2, 1)
    task = Task.from_line(f"PREDICT COUNT(calls.*, 0, 15, days) FOR EACH {entity}", "line").resolved(schema)
    end = datetime.datetime(2024, 2, 11)
    labels = labels_at(con, "memory", schema, task, [as_of], end=end, entities_until=None).column("label")
    assert labels.to_pylist() == [1.0] * 10
