"""Labels of rows with a time of their own: which rows each split has, and what is refused."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import duckdb
import pytest

from relsql.cli.inspection import inspect
from relsql.errors import TaskError
from relsql.schema.reading import read_schema
from relsql.tasks.kinds.asked import KINDS
from relsql.tasks.labels.label_findings import label_findings
from relsql.tasks.labels.label_table import chosen_splits, label_table
from relsql.tasks.regime import check_regime
from relsql.tasks.splits import SPLITS
from relsql.tasks.stored_tasks import read_task, save_task
from relsql.tasks.summary import summarize_task
from relsql.tasks.task import Task
from tests.odd_data import create_market

Connection = duckdb.DuckDBPyConnection
AMOUNT = Task.from_manifest(
    {
        "name": "order-amount",
        "kind": "autocomplete",
        "task_type": "regression",
        "entity_table": "ORDERS",
        "target_col": "Amount",
    }
)
EVENT = Task.from_manifest(
    {
        "name": "large",
        "kind": "event",
        "task_type": "binary_classification",
        "entity_table": "orders",
        "entity_col": "order_id",
        "target_col": "large",
        "sql": "SELECT order_id, ordered_at, quantity > 5 AS large FROM orders",
    }
)


@pytest.fixture
def con() -> Iterator[Connection]:
    """The market, with a zoned header time in `lines` and some empty cells in `orders`."""
    with duckdb.connect() as connection:
        create_market(connection, tables="UPDATE orders SET amount = NULL WHERE order_id % 10 = 0;")
        yield connection


def labels(con: Connection, task: Task) -> dict[str, list[Any]]:
    """(entity, as_of, label) of each split."""
    schema = read_schema(con)
    task = task.resolved(schema)
    found = {split: label_table(con, "memory", schema, task, split).table for split in SPLITS}
    return {split: [tuple(row.values()) for row in table.to_pylist()] for split, table in found.items()}


def test_splits_are_those_of_relbench(con: Connection) -> None:
    val, test = datetime.datetime(2022, 6, 6, 8), datetime.datetime(2022, 9, 5, 8)
    found = labels(con, replace(AMOUNT, val_timestamp=val, test_timestamp=test))
    for split, condition in (
        ("train", f"ordered_at <= '{val}'"),
        ("val", f"ordered_at > '{val}' AND ordered_at <= '{test}'"),
        ("test", f"ordered_at > '{test}'"),
    ):
        query = f"SELECT order_id, ordered_at, amount FROM orders WHERE amount IS NOT NULL AND {condition}"
        assert found[split] == con.execute(f"{query} ORDER BY 2, 1").fetchall()
        assert any(as_of == {"train": val, "val": test}.get(split, as_of) for _, as_of, _ in found[split])


def test_labels_that_are_known_later_belong_to_no_earlier_split(con: Connection) -> None:
    ahead = replace(EVENT, timedelta="30 days")
    task = chosen_splits(con, "memory", read_schema(con), ahead).task
    found = labels(con, task)
    [(last,)] = con.execute("SELECT max(added)::TIMESTAMP FROM lines").fetchall()
    ends = {"train": task.val_timestamp, "val": task.test_timestamp, "test": last}
    for split, rows in found.items():
        assert rows and max(as_of for _, as_of, _ in rows) + datetime.timedelta(days=30) <= ends[split], split


def test_chosen_splits_are_shares_of_the_labels(con: Connection) -> None:
    found = labels(con, AMOUNT)
    total = sum(map(len, found.values()))
    assert len(found["train"]) / total == pytest.approx(0.81, abs=0.03)
    assert len(found["val"]) / total == pytest.approx(0.09, abs=0.03)
    times = [sorted({as_of for _, as_of, _ in rows}) for rows in found.values()]
    assert times[0][-1] < times[1][0] and times[1][-1] < times[2][0]
    schema = read_schema(con)
    summary = summarize_task(con, "memory", schema, AMOUNT.resolved(schema))
    assert [split.labels for split in summary.splits] == list(map(len, found.values()))
    findings = label_findings(con, "memory", schema, summary.task, summary.splits)
    assert all("an earlier" in finding.message for finding in findings)


def test_times_of_headers_and_zones_are_own_times(con: Connection) -> None:
    found = labels(con, replace(AMOUNT, entity_table="lines", target_col="position"))
    [(line, as_of, position)] = found["train"][:1]
    query = f"SELECT epoch_us(added), position FROM lines WHERE line_id = {line}"
    microseconds = int((as_of - datetime.datetime(1970, 1, 1)) / datetime.timedelta(microseconds=1))
    assert con.execute(query).fetchall() == [(microseconds, position)]


def test_tasks_of_rows_are_stored_and_written_as_they_were(con: Connection) -> None:
    for task in (AMOUNT, EVENT, Task.from_line("PREDICT orders.amount FOR EACH orders.order_id", "line")):
        save_task(con, "memory", task)
        assert read_task(con, "memory", task.name) == task
        assert Task.from_manifest(task.to_manifest()) == task
        assert Task.from_manifest(task.resolved(read_schema(con)).to_manifest()).asked.own_time


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"target_col": "order_id"}, "'order_id', which is the key of 'orders'"),
        ({"target_col": "shop_id"}, r"'shop_id', which is a link, orders\(shop_id\) -> shops"),
        ({"target_col": "ordered_at"}, "'ordered_at', which is the time of 'orders'"),
        ({"target_col": "amuont"}, "no column 'amuont'. Expected: did you mean 'amount'"),
        ({"target_col": "note"}, "'note' of type VARCHAR.*texts with task_type: multiclass"),
        ({"entity_table": "shops", "target_col": "town"}, "table has no time.*--time-column 'shops"),
        ({"entity_table": "visits", "target_col": "seconds"}, "table 'visits' has no primary key"),
        ({"entity_table": "order", "target_col": "amount"}, "entity table 'order' does not exist"),
    ],
)
def test_what_cannot_be_completed_is_said(con: Connection, fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(TaskError, match=problem) as caught:
        replace(AMOUNT, **fields).resolved(read_schema(con))
    assert caught.value.expected and caught.value.fix


def test_inspect_finds_tasks_whose_column_is_gone(con: Connection) -> None:
    for task in (AMOUNT, EVENT):
        save_task(con, "memory", task)
    assert not [each for each in inspect(con, "memory").findings if "order-amount" in each.object]
    con.execute("ALTER TABLE orders DROP COLUMN amount")
    found = inspect(con, "memory")
    assert [task.horizon for task in found.tasks] == ["at the row's own time"] * 2
    [finding] = [each for each in found.findings if "order-amount" in each.object]
    assert finding.severity == "error" and "no column 'Amount'" in finding.message


def test_other_times_and_splits_without_rows_are_refused(con: Connection) -> None:
    shifted = EVENT.sql.replace("ordered_at,", "ordered_at + INTERVAL 1 DAY AS ordered_at,")
    with pytest.raises(TaskError, match="have a 'ordered_at' that is not the row's own time"):
        labels(con, replace(EVENT, sql=shifted, time_col="ordered_at"))
    far = datetime.datetime(2090, 1, 1)
    with pytest.raises(TaskError, match="no row of orders with a label is in the test split"):
        labels(con, replace(EVENT, val_timestamp=datetime.datetime(2022, 6, 1), test_timestamp=far))
    with pytest.raises(TaskError, match="is not before test_timestamp"):
        labels(con, replace(EVENT, val_timestamp=far, test_timestamp=far))
    with pytest.raises(TaskError, match="frozen database does not hold"):
        check_regime("frozen", EVENT)
    with pytest.raises(TaskError, match="of kind 'forcast'") as caught:
        Task.from_manifest(EVENT.to_manifest() | {"kind": "forcast"})
    assert all(kind in str(caught.value) for kind in KINDS)
    with pytest.raises(TaskError, match="asks a question of kind 'autocomplete'"):
        Task.from_manifest({"name": "x", "kind": "event", "predict": "PREDICT orders.amount FOR EACH orders.order_id"})
