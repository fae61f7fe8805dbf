"""Tasks and label queries that give no labels: the error says what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from relsql.errors import TaskError
from relsql.schema.reading import read_schema
from tests.relsql.tasks.labels.buying import TASK, Connection, at, labels, query, read_timed, shop, timed

ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "entity table": ({"entity_table": "customer"}, r"entity table 'customer' does not exist.*did you mean 'customers'"),
    "unknown table": (
        {"sql": "FROM nowhere"},
        r"reads 'nowhere', which is not a relation of the database. Expected: one of: customers, orders",
    ),
    "syntax": ({"sql": "SELEC 1"}, r"label query fails: Parser Error.*Fix"),
    "empty query": ({"sql": "-- nothing"}, r"is not one SELECT \(it has 0 statements\). Expected: one SELECT"),
    "two statements": ({"sql": TASK.sql + "; DROP TABLE orders"}, r"is not one SELECT.*Expected: one SELECT"),
    "no select": ({"sql": "DROP TABLE orders"}, r"is not one SELECT.*Fix"),
    "columns": (
        {"sql": "SELECT timestamp AS day, 1 AS customer, 2 AS target FROM timestamps"},
        r"returns the columns day, customer, target. Expected: customer, day, label",
    ),
    "no rows": ({"sql": TASK.sql.replace("GROUP BY", "WHERE false GROUP BY")}, r"returns no rows for the train"),
    "all dangling": ({"sql": TASK.sql.replace("c.id AS", "c.id + 9 AS")}, r"none of the 24 train labels names a row"),
    "incomparable entity": ({"sql": TASK.sql.replace("c.id AS", "c.name AS")}, r"cannot be compared with customers.id"),
    "one class": ({"sql": query("1")}, r"all train labels are 1. Expected: labels of both classes"),
    "not binary": ({"sql": query("count(o.day)")}, r"'label' holds \d+. Expected: 0 and 1"),
    "text labels": ({"sql": query("'late'")}, r"'label' holds 'late'. Expected: 0 and 1.*write positive: late in"),
    "three values": ({"sql": query("CAST(count(o.day) AS VARCHAR)")}, r"'label' holds '0', '1', '2'. Expected: two"),
    "positive is neither": (
        {"positive": "both", "sql": query("CASE WHEN count(o.day) > 0 THEN 'some' ELSE 'none' END")},
        r"holds 'none', 'some', and positive is 'both'. Expected: two values",
    ),
    "one class of several": (
        {"task_type": "multiclass_classification", "sql": query("'a'")},
        r"all train labels are 'a'. Expected: labels of two classes or more",
    ),
    "classes with fractions": (
        {"task_type": "multiclass_classification", "sql": query("0.5 + count(o.day)")},
        r"returns 'label' as DECIMAL\(.*Expected: text, an integer, BOOLEAN or ENUM",
    ),
    "lists as classes": (
        {"task_type": "multiclass_classification", "sql": query("['a']")},
        r"returns 'label' as VARCHAR\[\]. Expected: text, an integer",
    ),
    "text regression": ({"task_type": "regression", "sql": query("'9'")}, r"as VARCHAR. Expected: a number"),
    "list of numbers": ({"task_type": "regression", "sql": query("[1.5]")}, r"returns 'label' as DECIMAL.*\[\]"),
    "truth as number": ({"task_type": "regression", "sql": query("true")}, r"as BOOLEAN. Expected: a number"),
    "nan": ({"task_type": "regression", "sql": query("'nan'::DOUBLE + c.id")}, r"'label' holds nan. Expected: finite"),
    "infinite": ({"task_type": "regression", "sql": query("c.id + 'inf'::DOUBLE")}, r"'label' holds inf"),
    "constant": ({"task_type": "regression", "sql": query("2.5")}, r"all train labels are 2.5. Expected: labels that"),
    "all null": ({"sql": query("NULL::INT")}, r"all train labels are NULL"),
    "no interval": ({"timedelta": "a fortnight"}, r"timedelta 'a fortnight' is not a length of time"),
    "negative interval": ({"timedelta": "-3 days"}, r"timedelta '-3 days'"),
    "bare number": ({"timedelta": "30"}, r"timedelta '30' is not a length of time"),
    "endless interval": ({"timedelta": "300000 years"}, r"timedelta '300000 years'"),
    "too many timestamps": (
        {"timedelta": "1 second"},
        r"'1 second' gives 5,184,000 train timestamps.*longer timedelta",
    ),
    "duplicates": (
        {"sql": f"{TASK.sql} UNION ALL ({TASK.sql})"},
        r"returns 2 rows for entity 0 at 2020-01-01.*GROUP BY",
    ),
    "other timestamps": (
        {"sql": TASK.sql.replace("t.timestamp AS", "t.timestamp + INTERVAL 1 DAY AS")},
        r"24 of 24 labels have a 'day' not in timestamps",
    ),
    "null timestamps": ({"sql": TASK.sql.replace("t.timestamp AS", "NULL::DATE AS")}, r"4 of 4 labels"),
    "time as text": (
        {"sql": TASK.sql.replace("t.timestamp AS", "t.timestamp::VARCHAR AS")},
        r"returns 'day' as VARCHAR",
    ),
    "few timestamps": (
        {"val_timestamp": at("2020-01-12")},
        r"horizon, timedelta '10 days', leaves 1 training timestamps between the first event \(2020-01-01.*at least 3",
    ),
    "splits too close": ({"val_timestamp": at("2020-03-08")}, r"val_timestamp 2020-03-08 00:00:00 is too late for"),
    "defaults too early": (
        {"val_timestamp": None, "test_timestamp": None, "num_eval_timestamps": 1_000_000},
        r"too long for the data: the events are from 2020-01-01 00:00:00 to 2020-03-28",
    ),
}


@pytest.mark.parametrize(("changes", "message"), ERRORS.values(), ids=ERRORS)
def test_errors_say_what_to_do(con: Connection, changes: dict[str, Any], message: str) -> None:
    schema = shop(con)
    with pytest.raises(TaskError, match=message) as caught:
        labels(con, schema, replace(TASK, **changes))
    assert "\n" not in str(caught.value)
    assert con.execute("SELECT count(*) FROM orders").fetchall() == [(39,)]


def test_error_when_the_horizon_is_not_over(con: Connection) -> None:
    schema = shop(con)
    late = replace(TASK, test_timestamp=at("2020-03-20"))
    with pytest.raises(
        TaskError, match=r"last event \(2020-03-28 00:00:00\) is less than 10 days after test_timestamp"
    ):
        labels(con, schema, late, "test")
    assert labels(con, schema, late, "val").table.num_rows == 4
    with pytest.raises(TaskError, match=r"less than 10 days after val_timestamp"):
        labels(con, schema, replace(TASK, val_timestamp=at("2020-03-19"), test_timestamp=at("2020-04-01")), "val")


def test_error_without_timed_table_and_without_events(con: Connection) -> None:
    schema = shop(con)
    with pytest.raises(TaskError, match=r"no table has a time,.*customers, orders"):
        labels(con, read_schema(con))
    con.execute("DELETE FROM orders")
    with pytest.raises(TaskError, match=r"there is no event until 2020-03-11"):
        labels(con, schema)


def test_error_for_entity_tables_without_a_fitting_key(con: Connection) -> None:
    shop(con)
    con.execute("CREATE TABLE pairs (a INT, b INT, PRIMARY KEY (a, b)); CREATE TABLE loose (a INT)")
    schema = read_timed(con)
    with pytest.raises(TaskError, match="the key of 'pairs' has the columns a, b. Expected: the column of the label"):
        labels(con, schema, replace(TASK, entity_table="pairs"))
    with pytest.raises(TaskError, match=r"'loose' has no column 'customer' and no primary key.*relsql init"):
        labels(con, schema, replace(TASK, entity_table="loose"))


def test_error_when_a_query_over_other_schemas_is_not_a_select(con: Connection) -> None:
    schema = shop(con)
    con.execute("CREATE SCHEMA s; CREATE TABLE s.events AS SELECT day FROM orders")
    schema = timed(timed(read_schema(con), "orders"), "s.events")
    with pytest.raises(TaskError, match=r"is not one SELECT"):
        labels(con, schema, replace(TASK, sql="DROP TABLE orders"))


def test_a_single_test_label_is_enough_for_regression_but_not_for_classification(con: Connection) -> None:
    schema = shop(con)
    assert labels(con, schema, replace(TASK, task_type="regression", sql=query("2")), "test").table.num_rows == 4
    with pytest.raises(TaskError, match="all test labels are 1"):
        labels(con, schema, replace(TASK, sql=query("true")), "test")
