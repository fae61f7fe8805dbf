"""Split timestamps for data of every shape: bursts, seasons, short and growing data (relsql.tasks.split_choice)."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import duckdb
import pytest

from relsql.errors import TaskError
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema
from relsql.tasks.labels.label_table import chosen_splits, label_table
from relsql.tasks.split_choice import ENOUGH_LABELS, ENOUGH_OF_A_KIND, LabelCount, choose_splits
from relsql.tasks.splits import SPLITS
from relsql.tasks.task import Task

Connection = duckdb.DuckDBPyConnection
ACTIVE = """
    SELECT t.timestamp, a.customer, (count(o.day) > 0)::INT AS buys
    FROM timestamps t
    JOIN (SELECT DISTINCT timestamp, customer FROM timestamps JOIN orders ON day <= timestamp
          AND day > timestamp - INTERVAL '60 days') a ON a.timestamp = t.timestamp
    LEFT JOIN orders o ON o.customer = a.customer AND o.day > t.timestamp
      AND o.day <= t.timestamp + INTERVAL '{timedelta}'
    GROUP BY ALL"""
TASK = Task(
    name="buys",
    task_type="binary_classification",
    entity_table="customers",
    entity_col="customer",
    target_col="buys",
    time_col="timestamp",
    timedelta="7 days",
    sql=ACTIVE,
)


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def orders(con: Connection, bursts: Iterable[tuple[str, int, int]], *, customers: int = 3000) -> Schema:
    """Orders in bursts, each of them (first day, days, orders a day) by customers drawn at random."""
    con.execute(f"CREATE TABLE customers AS SELECT range AS id FROM range({customers})")
    con.execute("ALTER TABLE customers ADD PRIMARY KEY (id)")
    con.execute("CREATE TABLE orders (customer INTEGER, day TIMESTAMP)")
    for first, days, a_day in bursts:
        con.execute(
            f"""INSERT INTO orders SELECT hash(d.i, o.i, '{first}') % {customers},
                    TIMESTAMP '{first}' + to_days(d.i::INTEGER) + to_seconds(hash(o.i, d.i) % 80000)
                FROM range({days}) d(i), range({a_day}) o(i)"""
        )
    return timed(read_schema(con), orders="day")


def timed(schema: Schema, **columns: str) -> Schema:
    times = {name: replace(schema.tables[name], time_column=column) for name, column in columns.items()}
    return replace(schema, tables=schema.tables | times)


def labels_of(con: Connection, schema: Schema, task: Task) -> dict[str, tuple[int, int]]:
    """Labels and labels of the rarer class, by split."""
    found = {}
    for split in SPLITS:
        labels = label_table(con, "memory", schema, task, split).table["label"].to_pylist()
        found[split] = (len(labels), min(sum(labels), len(labels) - sum(labels)))
    return found


RENTALS = [
    ("2005-05-24", 8, 145),
    ("2005-06-14", 8, 289),
    ("2005-07-05", 8, 839),
    ("2005-07-26", 8, 839),
    ("2005-08-16", 8, 711),
    ("2006-02-14", 1, 182),
]
"""Five bursts within three months and a few rows half a year later, as in a well-known sample of film rentals."""

SHAPES: dict[str, tuple[list[tuple[str, int, int]], str]] = {
    "bursts, a week ahead": (RENTALS, "7 days"),
    "bursts, a month ahead": (RENTALS, "30 days"),
    "bursts, three days ahead": (RENTALS, "3 days"),
    "a season and a closed one, cut in the closed one": (
        [(f"{year}-05-01", 150, 20) for year in (2019, 2020, 2021)] + [("2021-10-01", 60, 1)],
        "14 days",
    ),
    "a season, validation in the closed one": (
        [(f"{year}-05-01", 150, 20) for year in (2019, 2020, 2021)] + [("2022-05-01", 10, 20)],
        "14 days",
    ),
    "one month": ([("2024-03-01", 31, 40)], "7 days"),
    "one month, tight": ([("2024-03-01", 31, 40)], "8 days"),
    "even": ([("2022-01-01", 700, 10)], "30 days"),
    "calendar months": ([("2022-01-01", 700, 10)], "1 month"),
}


@pytest.mark.parametrize(("bursts", "timedelta"), SHAPES.values(), ids=SHAPES)
def test_every_split_has_enough_labels_of_both_kinds(
    con: Connection, bursts: list[tuple[str, int, int]], timedelta: str
) -> None:
    schema = orders(con, bursts)
    task = replace(TASK, timedelta=timedelta)
    for split, (labels, rarer) in labels_of(con, schema, task).items():
        assert labels >= ENOUGH_LABELS, split
        assert rarer >= ENOUGH_OF_A_KIND, split


def test_what_was_chosen_has_a_reason(con: Connection) -> None:
    choice = chosen_splits(con, "memory", orders(con, RENTALS), TASK)
    test, val = choice.task.test_timestamp, choice.task.val_timestamp
    assert test is not None and val is not None
    assert at("2005-08-09") < test < at("2005-08-24")
    assert val <= test - datetime.timedelta(days=7)
    reason = choice.reasons["test_timestamp"]
    assert "before the last event (2006-02-14" in reason
    assert reason.endswith("gives 0 labels")


def test_even_data_are_cut_by_the_calendar(con: Connection) -> None:
    schema = orders(con, [("2022-01-01", 700, 10)])
    [(last,)] = con.execute("SELECT max(day) FROM orders").fetchall()
    choice = chosen_splits(con, "memory", schema, replace(TASK, timedelta="30 days", num_eval_timestamps=3))
    assert choice.task.test_timestamp == last - datetime.timedelta(days=90)
    assert choice.task.val_timestamp == last - datetime.timedelta(days=180)
    assert choice.reasons == {
        "test_timestamp": f"3 horizons before the last event ({last})",
        "val_timestamp": "3 horizons before test",
    }


SMALL = {
    "even": ([("2022-01-01", 700, 2)], 20),
    "bursts": ([(f"2022-{month:02}-03", 8, 12) for month in range(1, 13)], 60),
    "seasons": ([(f"{year}-05-01", 150, 3) for year in (2019, 2020, 2021)], 25),
    "short": ([("2024-03-01", 100, 6)], 40),
}


@pytest.mark.parametrize(("bursts", "customers"), SMALL.values(), ids=SMALL)
def test_small_data_get_as_many_timestamps_as_give_enough_labels(
    con: Connection, bursts: list[tuple[str, int, int]], customers: int
) -> None:
    schema = orders(con, bursts, customers=customers)
    choice = chosen_splits(con, "memory", schema, TASK)
    task, week = choice.task, datetime.timedelta(days=7)
    assert task.val_timestamp is not None and task.test_timestamp is not None
    windows = task.num_eval_timestamps
    assert windows > 1
    assert f"{windows} give enough" in choice.reasons["num_eval_timestamps"]
    for labels, rarer in labels_of(con, schema, task).values():
        assert labels >= ENOUGH_LABELS
        assert rarer >= ENOUGH_OF_A_KIND
    # The splits do not overlap, and at least half of the data remain for training.
    [(first, last)] = con.execute("SELECT min(day), max(day) FROM orders").fetchall()
    assert task.val_timestamp + windows * week <= task.test_timestamp
    assert task.test_timestamp + windows * week <= last
    assert 2 * 2 * windows * week <= last - first
    # One timestamp would not be enough.
    one = chosen_splits(con, "memory", schema, replace(TASK, val_timestamp=None, test_timestamp=task.test_timestamp))
    values = label_table(con, "memory", schema, one.task, "val").table["label"].to_pylist()
    assert len(values) < ENOUGH_LABELS or min(sum(values), len(values) - sum(values)) < ENOUGH_OF_A_KIND


def test_a_task_that_names_its_timestamps_keeps_their_number(con: Connection) -> None:
    schema = orders(con, [("2022-01-01", 700, 2)], customers=20)
    for given in ({"test_timestamp": at("2023-10-01")}, {"num_eval_timestamps": 2}):
        task = replace(TASK, **given)
        choice = chosen_splits(con, "memory", schema, task)
        assert choice.task.num_eval_timestamps == task.num_eval_timestamps
        assert "num_eval_timestamps" not in choice.reasons


def test_data_that_never_give_enough_labels_say_so(con: Connection) -> None:
    choice = chosen_splits(con, "memory", orders(con, [("2024-01-01", 60, 1)], customers=5), TASK)
    assert choice.task.num_eval_timestamps == 2
    assert "the most that the data have room for" in choice.reasons["num_eval_timestamps"]


def test_a_few_labels_more_are_not_worth_decades(con: Connection) -> None:
    """Ever fewer customers are asked about, and never enough of them."""
    schema = orders(
        con, [(f"{1960 + year}-01-01", 365, 6 if year < 20 else 2) for year in range(0, 60, 1)], customers=20
    )
    con.execute("INSERT INTO customers SELECT range + 20 FROM range(40)")
    con.execute(
        "INSERT INTO orders SELECT customer + 20 + 20 * i, day FROM orders, range(2) r(i) WHERE day < '1980-01-01'"
    )
    task = chosen_splits(con, "memory", schema, replace(TASK, timedelta="30 days", num_eval_timestamps=2)).task
    assert task.val_timestamp is not None
    assert task.val_timestamp > at("2019-06-01")


def test_given_timestamps_are_kept(con: Connection) -> None:
    schema = orders(con, RENTALS)
    given = replace(TASK, val_timestamp=at("2005-12-01"), test_timestamp=at("2006-01-01"))
    assert chosen_splits(con, "memory", schema, given).task == given
    half = chosen_splits(con, "memory", schema, replace(TASK, test_timestamp=at("2006-01-01")))
    assert half.task.test_timestamp == at("2006-01-01")
    assert half.reasons["test_timestamp"] == "given by the task"
    assert half.task.val_timestamp is not None
    assert half.task.val_timestamp < at("2005-08-24")


def test_tables_that_the_query_does_not_read_do_not_move_the_splits(con: Connection) -> None:
    schema = orders(con, [("2022-01-01", 200, 10)])
    before = chosen_splits(con, "memory", schema, TASK).task
    con.execute("CREATE TABLE log AS SELECT TIMESTAMP '2025-01-01' AS at")
    after = chosen_splits(con, "memory", timed(read_schema(con), orders="day", log="at"), TASK).task
    assert after == before


def test_values_of_test_labels_choose_nothing(con: Connection) -> None:
    """Test labels of one kind only, at all timestamps or at those that would be tried first, change nothing."""
    schema = orders(con, RENTALS)

    def choose(one_kind_since: datetime.datetime) -> Any:
        def count(timestamps: Sequence[datetime.datetime], end: datetime.datetime | None) -> dict[Any, LabelCount]:
            return {t: LabelCount(150, 40 if end or t < one_kind_since else 0) for t in timestamps}

        with con.cursor() as cursor:
            return choose_splits(cursor, "memory", schema, TASK, count)

    assert choose(at("2000-01-01")) == choose(at("2005-08-20")) == choose(at("2010-01-01"))


@pytest.mark.parametrize(("timedelta", "windows"), [("90 days", 1), ("11 days", 1), ("7 days", 3)])
def test_a_horizon_that_is_too_long_is_named_with_the_range_of_the_data(
    con: Connection, timedelta: str, windows: int
) -> None:
    schema = orders(con, [("2024-03-01", 31, 40)])
    with pytest.raises(TaskError) as caught:
        chosen_splits(con, "memory", schema, replace(TASK, timedelta=timedelta, num_eval_timestamps=windows))
    text = str(caught.value)
    assert f"'{timedelta}'" in text
    assert "from 2024-03-01" in text
    assert "to 2024-03-31" in text
    assert f"at least {2 * windows + 1} horizons" in text
    assert "docs/tasks.md#timedelta" in text


def test_validation_before_a_given_test_leaves_labels_to_train_on(con: Connection) -> None:
    schema = orders(con, [("2024-03-01", 45, 40)])
    task = replace(TASK, timedelta="7 days", test_timestamp=at("2024-04-07"))
    assert labels_of(con, schema, task)["train"] >= (ENOUGH_LABELS, ENOUGH_OF_A_KIND)
