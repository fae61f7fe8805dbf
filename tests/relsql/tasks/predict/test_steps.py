"""Labels of `FORECAST n TIMEFRAMES`: a list of what each window alone would give, and nothing outside changes it."""

from __future__ import annotations

import datetime
import itertools
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relsql.errors import TaskError
from relsql.schema.tables import Schema
from relsql.tasks.labels.label_table import labels_at
from relsql.tasks.predict.parse import parse_line
from relsql.tasks.splits import check_timedelta, train_timestamps
from relsql.tasks.stored_tasks import read_task, save_task
from relsql.tasks.task import Task
from tests.relsql.tasks.predict.reference import START, Tables, load, shops
from tests.shop import SPEND_TASK

AT = [START + datetime.timedelta(days=days) for days in (5, 30, 59)]
FOR = "FOR EACH customers.id"
COHORT = f"{FOR} WHERE COUNT(orders.*, -30, 0, days) < 3 ASSUMING COUNT(orders.*, 0, 20, days) < 5"


def labels_of(con: duckdb.DuckDBPyConnection, schema: Schema, line: str) -> dict[tuple[Any, datetime.datetime], Any]:
    task = Task.from_line(line, "line").resolved(schema)
    found = labels_at(con, "memory", schema, task, AT, end=None, entities_until=None)
    return {(row["entity"], row["as_of"]): row["label"] for row in found.to_pylist()}


@settings(max_examples=6)
@given(
    shops(),
    st.sampled_from(
        ["SUM(orders.amount{})", "COUNT(lines.* WHERE amount > 0{})", "AVG(orders.amount{})", "MAX(stores.amount{})"]
    ),
    st.sampled_from(["", " - 2 * COUNT(orders.*{})"]),
    st.sampled_from([(7, "days"), (1, "month"), (30, "hours")]),
    st.integers(2, 4),
    st.sampled_from([FOR, COHORT]),
)
def test_each_step_is_the_label_of_its_window_alone(
    tables: Tables, one: str, other: str, length: tuple[int, str], steps: int, rest: str
) -> None:
    (amount, unit), outcome = length, one + other
    rest = rest if unit == "month" else FOR
    with duckdb.connect() as con:
        schema = load(con, tables)
        window = f", 0, {amount}, {unit}"
        found = labels_of(con, schema, f"PREDICT {outcome.format(window, window)} FORECAST {steps} TIMEFRAMES {rest}")
        alone = []
        for step in range(steps):
            window = f", {step * amount}, {(step + 1) * amount}, {unit}"
            alone.append(labels_of(con, schema, f"PREDICT {outcome.format(window, window)} {rest}"))
    wanted = {key: [each[key] for each in alone] for key in alone[0] if all(key in each for each in alone)}
    assert found.keys() == wanted.keys()
    assert all(found[key] == pytest.approx(wanted[key], rel=1e-9) for key in wanted)


@settings(max_examples=4)
@given(shops(), st.sampled_from(AT))
def test_rows_outside_of_all_windows_change_no_label(tables: Tables, as_of: datetime.datetime) -> None:
    line = f"PREDICT SUM(orders.amount, 0, 7, days) FORECAST 3 TIMEFRAMES {FOR}"
    end = as_of + datetime.timedelta(days=21)
    orders = [row for row in tables["orders"] if row["day"] is not None and as_of < row["day"] <= end]
    kept = {row["id"] for row in orders}
    cut = {**tables, "orders": orders, "lines": [row for row in tables["lines"] if row["order_id"] in kept]}
    found = []
    for each in (tables, cut):
        with duckdb.connect() as con:
            labels = labels_of(con, load(con, each), line)
            found.append({key: label for key, label in labels.items() if key[1] == as_of})
    assert found[0] == found[1]


def asked(outcome: str) -> str:
    return f"PREDICT {outcome} FOR EACH c.id"


SUM = "SUM(o.a, 0, 30, days)"


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (asked(f"{SUM} FORECAST 0 TIMEFRAMES"), ("FORECAST 0 TIMEFRAMES is not possible", "^0", "2 to 100 windows")),
        (asked(f"{SUM} FORECAST 1 TIMEFRAMES"), ("^1", "one window needs no FORECAST")),
        (asked(f"{SUM} FORECAST 101 TIMEFRAMES"), ("2 to 100 windows",)),
        (asked(f"{SUM} FORECAST some TIMEFRAMES"), ("^some", "a whole number in FORECAST n TIMEFRAMES")),
        (asked(f"{SUM} FORECAST 6"), ("TIMEFRAMES, after their number",)),
        (asked(f"{SUM} > 3 FORECAST 6 TIMEFRAMES"), ("only a number can be forecast", "^FORECAST")),
        (asked("c.a FORECAST 6 TIMEFRAMES"), ("only a number can be forecast", "^FORECAST")),
        (asked(f"{SUM} CLASSIFY FORECAST 6 TIMEFRAMES"), ("only a number can be forecast", "^FORECAST")),
        (asked(f"{SUM} FORECAST 6 TIMEFRAMES CLASSIFY"), ("^CLASSIFY", "only a number can be forecast")),
        (asked("LIST_DISTINCT(o.a, 0, 9, days) RANK TOP 3 FORECAST 6 TIMEFRAMES"), ("only a number can be",)),
        (asked("SUM(o.a, 7, 30, days) FORECAST 6 TIMEFRAMES"), ("starts at 7", "^7", "a start at 0: 0, 30, days")),
        (asked(f"{SUM} + COUNT(o.*, 0, 7, days) FORECAST 6 TIMEFRAMES"), ("differ", "the same window everywhere")),
        (asked("SUM(o.a, 0, 60, years) FORECAST 2 TIMEFRAMES"), ("2 windows end after 100 years",)),
        (
            f"{asked(f'{SUM} FORECAST 2 TIMEFRAMES')} ASSUMING COUNT(o.*, 0, 61, days) > 0",
            ("ASSUMING ends after the 2 windows of FORECAST", "at or before 60, days"),
        ),
    ],
)
def test_what_cannot_be_forecast_is_one_clear_error(line: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(TaskError) as caught:
        parse_line(line)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_the_horizon_is_all_windows_together() -> None:
    task = Task.from_line("PREDICT SUM(o.a, 0, 3, months) FORECAST 4 TIMEFRAMES FOR EACH c.id", "line")
    assert (task.steps, task.timedelta, task.moment) == (4, "12 months", "12 months ahead, in 4 steps")
    assert task.to_manifest().keys().isdisjoint(("steps", "timedelta", "sql"))
    with pytest.raises(TaskError, match="has predict and steps"):
        Task.from_manifest({"name": "line", "predict": task.predict, "steps": 4})


def steps_task(**fields: Any) -> Task:
    values = SPEND_TASK.to_manifest() | {"steps": 3, "timedelta": "90 days"}
    return Task.from_manifest(values | {key: value for key, value in fields.items() if value is not None})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 1}, "has steps 1. Expected: >= 2 and <= 100"),
        ({"steps": 101}, "has steps 101. Expected: >= 2 and <= 100"),
        ({"task_type": "binary_classification", "target": ""}, "steps in regressions of kind forecast only"),
        ({"kind": "static"}, "kind static with steps: 3"),
    ],
)
def test_steps_of_a_manifest(fields: dict[str, Any], message: str) -> None:
    values = SPEND_TASK.to_manifest() | {"steps": 3} | {key: value for key, value in fields.items() if value}
    values.pop("target", None)
    with pytest.raises(TaskError, match=message):
        Task.from_manifest(values)


def test_stored_tasks_keep_their_steps(con: duckdb.DuckDBPyConnection) -> None:
    tasks = [steps_task(), Task.from_line("PREDICT SUM(o.a, 0, 7, days) FORECAST 4 TIMEFRAMES FOR EACH c.id", "line")]
    for task in tasks:
        save_task(con, "memory", task)
    assert [read_task(con, "memory", task.name) for task in tasks] == tasks


def test_a_horizon_is_a_whole_number_of_windows(con: duckdb.DuckDBPyConnection) -> None:
    for good in ("90 days", "9 months", "3 hours", "3 days 12 hours 3 seconds"):
        check_timedelta(con, steps_task(timedelta=good))
    for bad in ("100 days", "1 month", "3 days 1 microsecond"):
        with pytest.raises(TaskError, match="is not 3 windows of equal length"):
            check_timedelta(con, steps_task(timedelta=bad))


def test_training_times_are_a_window_apart_and_leave_room_for_all_windows(con: duckdb.DuckDBPyConnection) -> None:
    first, val = datetime.datetime(2020, 1, 1), datetime.datetime(2021, 1, 31)
    found = train_timestamps(con, steps_task(timedelta="3 months"), first, val)
    assert found[-1] == datetime.datetime(2020, 10, 31) and found[0] >= first and len(found) == 10
    assert {(later - time).days for time, later in itertools.pairwise(found)} <= {28, 29, 30, 31}
