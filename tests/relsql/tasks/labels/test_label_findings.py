"""What is said about labels: few, rare, gaps in time, rows after the window (relsql.tasks.labels.label_findings)."""

from __future__ import annotations

import datetime
from dataclasses import replace

import duckdb
import pyarrow as pa
import pytest

from relsql.database.connections import transaction
from relsql.schema.declared.declare import declare_table
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema
from relsql.tasks.labels.label_findings import label_findings
from relsql.tasks.labels.label_table import LabelTable, default_splits, label_table
from relsql.tasks.splits import SPLITS
from relsql.tasks.summary import SplitSummary, summarize_labels, summarize_task
from relsql.tasks.task import Task
from tests.relsql.tasks.test_split_choice import ACTIVE, TASK, at, orders, timed

Connection = duckdb.DuckDBPyConnection
EVEN = [("2022-01-01", 200, 20)]


def findings_of(con: Connection, schema: Schema, task: Task) -> list[str]:
    summary = summarize_task(con, "memory", schema, task)
    return list(map(str, label_findings(con, "memory", schema, summary.task, summary.splits)))


def test_nothing_is_said_about_labels_that_are_in_order(con: Connection) -> None:
    assert findings_of(con, orders(con, EVEN, customers=400), TASK) == []


def test_few_labels_of_an_evaluation_split(con: Connection) -> None:
    schema = orders(con, [("2022-01-01", 200, 4)], customers=25)
    val, test = findings_of(con, schema, replace(TASK, num_eval_timestamps=2))
    assert "50 val labels" in val
    assert "num_eval_timestamps: 4, or an earlier val_timestamp," in val
    assert "docs/tasks.md#num_eval_timestamps" in val
    assert "50 test labels" in test


def test_few_labels_where_the_data_carry_no_more(con: Connection) -> None:
    found = findings_of(con, orders(con, [("2024-01-01", 60, 1)], customers=5), TASK)
    [val] = [each for each in found if " val labels" in each]
    assert "which leaves room for 2: write a shorter timedelta in the task" in val
    assert "docs/tasks.md#timedelta" in val


def summary(split: str, labels: int, rarer: int) -> SplitSummary:
    moment = datetime.datetime(2022, 1, 1)
    return SplitSummary(split, (moment,), labels, rarer, rarer / labels)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "rarer", "few"), [(100, 30, False), (99, 40, True), (5_000, 29, True), (5_000, 30, False)]
)
def test_few_means_below_100_labels_or_30_of_a_class(con: Connection, labels: int, rarer: int, few: bool) -> None:
    schema = orders(con, EVEN, customers=400)
    task = default_splits(con, "memory", schema, TASK)
    assert bool(label_findings(con, "memory", schema, task, [summary("val", labels, rarer)])) == few


@pytest.mark.parametrize(("rarer", "found"), [(99, True), (100, False)])
def test_heavy_imbalance_of_training_labels(con: Connection, rarer: int, found: bool) -> None:
    schema = orders(con, EVEN, customers=400)
    task = default_splits(con, "memory", schema, TASK)
    said = label_findings(con, "memory", schema, task, [summary("train", 10_000, rarer)])
    assert ["99 of 10,000 training labels are of the rarer class" in str(finding) for finding in said] == [True] * found


def test_training_timestamps_within_a_gap(con: Connection) -> None:
    schema = orders(con, [("2022-01-01", 60, 20), ("2022-06-01", 60, 20)], customers=400)
    everybody = ACTIVE.replace("AND day > timestamp - INTERVAL '60 days'", "")
    [said] = findings_of(con, schema, replace(TASK, sql=everybody))
    # 13 weeks lie between 2022-03-01 and 2022-06-01, less those that reach over an edge.
    assert "12 of 28 training timestamps have a label window without any rows in orders, from 2022-03-01" in said
    assert "docs/tasks.md#sql" in said


def test_timestamps_before_anything_was_recorded(con: Connection) -> None:
    schema = orders(con, EVEN, customers=400)
    con.execute("ALTER TABLE customers ADD COLUMN joined TIMESTAMP")
    con.execute("UPDATE customers SET joined = TIMESTAMP '2020-01-01' + to_days((2 * id)::INTEGER)")
    schema = timed(read_schema(con), orders="day", customers="joined")
    everybody = """SELECT t.timestamp, c.id AS customer, (count(o.day) > 0)::INT AS buys
        FROM timestamps t CROSS JOIN customers c LEFT JOIN orders o ON o.customer = c.id AND o.day > t.timestamp
            AND o.day <= t.timestamp + INTERVAL '{timedelta}' GROUP BY ALL"""
    [said] = findings_of(con, schema, replace(TASK, sql=everybody))
    assert (
        "the 103 oldest of 130 training timestamps all labels are the same; the first others are those at 2021-12-"
        in said
    )
    since = everybody.replace("GROUP BY", "WHERE t.timestamp > '2021-12-30' GROUP BY")
    assert findings_of(con, schema, replace(TASK, sql=since)) == []


@pytest.mark.parametrize(("silent", "rarer", "found"), [(40, 60, 4), (4, 60, 0), (40, 0, 0)])
def test_the_same_labels_by_chance_are_no_silence(silent: int, rarer: int, found: int) -> None:
    days = [datetime.datetime(2022, 1, 1) + datetime.timedelta(days=i) for i in range(4)]
    times = [day for day in days for _ in range(silent // 4)] + [datetime.datetime(2022, 2, 1)] * 120
    labels = [0.0] * (silent + 120 - rarer) + [1.0] * rarer
    assert summarize_labels("train", pa.table({"as_of": times, "label": labels}), TASK).silent == found


def test_a_query_that_asks_nothing_in_a_gap_is_no_finding(con: Connection) -> None:
    schema = orders(con, [("2022-01-01", 60, 20), ("2022-06-01", 60, 20)], customers=400)
    outside = ACTIVE.replace("GROUP BY ALL", "WHERE t.timestamp NOT BETWEEN '2022-02-20' AND '2022-06-01' GROUP BY ALL")
    assert findings_of(con, schema, replace(TASK, sql=outside)) == []


def test_rows_after_the_window_are_found_by_deletion(con: Connection) -> None:
    schema = orders(con, EVEN, customers=400)
    longer = TASK.sql.replace("INTERVAL '{timedelta}'", "INTERVAL '9 days'")
    [said] = findings_of(con, schema, replace(TASK, sql=longer))
    assert "reads rows after its window" in said
    assert "later than timestamp + 7 days" in said
    assert "is 1 with them, 0 without" in said
    assert "docs/tasks.md#sql" in said


def test_rows_of_the_window_that_are_loaded_later_are_no_finding(con: Connection) -> None:
    orders(con, EVEN, customers=400)
    con.execute("ALTER TABLE orders ADD COLUMN loaded TIMESTAMP")
    con.execute("UPDATE orders SET loaded = day + to_days((hash(customer, day) % 20)::INTEGER)")
    with transaction(con):
        declare_table(con, "memory", "orders", time_column="day", known_column="loaded")
    schema = read_schema(con)
    assert not [said for said in findings_of(con, schema, TASK) if "after its window" in said]
    longer = replace(TASK, sql=TASK.sql.replace("INTERVAL '{timedelta}'", "INTERVAL '9 days'"))
    assert [said for said in findings_of(con, schema, longer) if "after its window" in said]


def test_whom_a_query_asks_about_must_not_depend_on_later_rows_either(con: Connection) -> None:
    schema = orders(con, EVEN, customers=400)
    survivors = TASK.sql.replace("AND day > timestamp - INTERVAL '60 days'", "AND customer IN (SELECT customer FROM "
                                 "orders WHERE day > timestamp + INTERVAL '10 days')")  # fmt: skip
    found = [said for said in findings_of(con, schema, replace(TASK, sql=survivors)) if "after its window" in said]
    assert len(found) == 1
    assert "absent without" in found[0]


def test_entities_that_appear_after_the_window_are_no_finding(con: Connection) -> None:
    orders(con, EVEN, customers=400)
    con.execute("ALTER TABLE customers ADD COLUMN joined TIMESTAMP")
    con.execute("UPDATE customers SET joined = TIMESTAMP '2022-01-01' + to_days((id % 200)::INTEGER)")
    schema = timed(read_schema(con), orders="day", customers="joined")
    everybody = """SELECT t.timestamp, c.id AS customer, (count(o.day) > 0)::INT AS buys
        FROM timestamps t CROSS JOIN customers c LEFT JOIN orders o ON o.customer = c.id AND o.day > t.timestamp
            AND o.day <= t.timestamp + INTERVAL '{timedelta}' GROUP BY ALL"""
    assert findings_of(con, schema, replace(TASK, sql=everybody)) == []


def test_a_summary_counts_the_labels_of_every_split(con: Connection) -> None:
    schema = orders(con, EVEN, customers=400)
    found = summarize_task(con, "memory", schema, TASK)
    for split, each in zip(SPLITS, found.splits, strict=True):
        table: LabelTable = label_table(con, "memory", schema, TASK, split)
        labels, times = table.table["label"].to_pylist(), table.table["as_of"].to_pylist()
        assert each == summarize_labels(split, table.table, TASK)
        assert (each.labels, each.mean) == (len(labels), sum(labels) / len(labels))
        assert each.rarer == min(sum(labels), len(labels) - sum(labels))
        assert each.timestamps == tuple(sorted(set(times)))
    assert len(found.examples) == 5
    assert {label for _, _, label in found.examples} == {0, 1}
    assert found.problems == {}


def test_a_split_without_usable_labels_is_a_problem_and_no_error(con: Connection) -> None:
    schema = orders(con, EVEN, customers=400)
    task = replace(TASK, val_timestamp=at("2022-06-01"), test_timestamp=at("2022-09-01"))
    found = summarize_task(con, "memory", schema, task)
    assert [each.split for each in found.splits] == ["train", "val"]
    assert "less than 7 days after test_timestamp" in found.problems["test"]
