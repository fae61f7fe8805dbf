"""Tests of relsql.tasks.predict.parse: what a line says, and errors that point at the place where it goes wrong."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relsql.errors import TaskError
from relsql.tasks.predict.parse import parse_line
from relsql.tasks.predict.syntax import Aggregate, Operation

CHURN = "PREDICT COUNT(orders.*, 0, 30, days) = 0 FOR EACH customers.customer_id"


def test_a_line_has_an_outcome_an_entity_a_cohort_and_a_horizon() -> None:
    line = parse_line(f"{CHURN} WHERE count(orders.*, -90, 0, DAYS) > 0 AND customers.city LIKE 'U%';")
    assert line.is_binary and line.horizon == "30 days"
    assert [str(name) for name in line.entity] == ["customers.customer_id"]
    assert isinstance(line.cohort, Operation) and line.cohort.kind == "logic"


@pytest.mark.parametrize(
    ("outcome", "binary", "horizon"),
    [
        ("SUM(o.a, 0, 30, days)", False, "30 days"),
        ("SUM(o.a, 0, 3, weeks) + SUM(o.a, 0, 1, month)", False, "1 month"),
        ("SUM(o.a, 0, 1, day) > SUM(o.a, 0, 25, hours)", True, "25 hours"),
        ("EXISTS(o.*, 30, 60, days)", True, "60 days"),
        ("NOT MIN(o.a, 0, 2, years) IS NULL", True, "2 years"),
        ("ln(1 + COUNT(o.*, 0, 5, minutes))", False, "5 minutes"),
        ("MAX(o.a, 0, 5, days) BETWEEN 1 AND 2 OR FIRST(o.a, 0, 5, days) NOT IN (1, 2)", True, "5 days"),
    ],
)
def test_the_outermost_operator_makes_it_binary_and_the_latest_window_is_the_horizon(
    outcome: str, binary: bool, horizon: str
) -> None:
    line = parse_line(f"PREDICT {outcome} FOR EACH c.id")
    assert (line.is_binary, line.horizon) == (binary, horizon)


def test_names_comments_and_quotes() -> None:
    line = parse_line(
        'predict SUM(s."a ""b"".c" /* the sum */ WHERE "select" = \'it\'\'s\', 0, 1, day) for each "x y".z -- end'
    )
    assert isinstance(line.outcome, Aggregate)
    assert line.outcome.name.column == 'a "b".c'
    assert str(line.entity[0]) == '"x y".z'


BAD = {
    "SELECT 1": ("^SELECT 1", "Expected: PREDICT"),
    "PREDICT": ("the line ends too early", "PREDICT^"),
    "PREDICT COUNT(o.*, 0, 30, dayz) FOR EACH c.id": ("no unit 'dayz'", "30, ^dayz)", "did you mean 'days'?"),
    "PREDICT COUNT(o.*, 0, days) FOR EACH c.id": ("^days)", "a whole number"),
    "PREDICT COUNT(o.*, 0, 1.5, days) FOR EACH c.id": ("^1.5", "a whole number"),
    "PREDICT COUNT(o.*) FOR EACH c.id": ("^)", "a comma and a window, START, END, UNIT"),
    "PREDICT COUNT(o.*, 30, 7, days) FOR EACH c.id": ("the window ends at 7, and it starts at 30", "^7"),
    "PREDICT COUNT(o.*, 0, 0, days) FOR EACH c.id": ("the window ends at 0", "an end after the start"),
    "PREDICT COUNT(o.*, -7, 30, days) FOR EACH c.id": ("PREDICT begins before 0", "^-7", "belongs in WHERE"),
    "PREDICT COUNT(o.*, -INF, 30, days) FOR EACH c.id": ("PREDICT begins before 0", "^-INF"),
    "PREDICT COUNT(o.*, 0, 101, years) FOR EACH c.id": ("longer than 100 years",),
    f"{CHURN} WHERE COUNT(o.*, -7, 1, days) > 0": ("WHERE ends after 0", "belongs in ASSUMING"),
    f"{CHURN} ASSUMING COUNT(o.*, -7, 1, days) > 0": ("ASSUMING begins before 0",),
    "PREDICT LIST_DISTINCT(o.a, 0, 30, days) FOR EACH c.id": ("^FOR EACH", "RANK TOP k, how many", "or CLASSIFY"),
    "PREDICT LIST_DISTINCT(o.a, 0, 30, days) RANK TOP 0 FOR EACH c.id": (
        "RANK TOP 0 is not possible",
        "^0",
        "1 to 1,000",
    ),
    "PREDICT LIST_DISTINCT(o.a, 0, 30, days) RANK TOP many FOR EACH c.id": ("^many", "a whole number in RANK TOP k"),
    "PREDICT LIST_DISTINCT(o.a, 0, 30, days) = 1 FOR EACH c.id": ("a list can only be the answer", "^LIST_DISTINCT"),
    "PREDICT SUM(o.a, 0, 30, days) RANK TOP 3 FOR EACH c.id": ("what is not a list cannot be ranked", "^RANK TOP"),
    f"{CHURN} WHERE LIST_DISTINCT(o.a, -7, 0, days) IS NULL": ("a list can only be the answer",),
    f"{CHURN.replace(' FOR', ' CLASSIFY FOR')}": ("a condition is answered by yes or no", "^CLASSIFY"),
    "PREDICT c.a FOR EACH c.id WHERE c.b = 1": ("WHERE with a plain column, c.a, is not supported yet",),
    "PREDICT 1 = 1 FOR EACH c.id": ("an answer without a window",),
    "PREDICT MEDIAN(o.a, 0, 1, day) FOR EACH c.id": ("no function MEDIAN", "did you mean 'MIN'?"),
    "PREDICT SUM(COUNT(o.a, 0, 1, day), 0, 1, day) FOR EACH c.id": ("aggregate of an aggregate",),
    "PREDICT SUM(o.a WHERE COUNT(o.a, 0, 1, day) > 1, 0, 1, day) FOR EACH c.id": ("has an aggregate in it",),
    "PREDICT COUNT(where.*, 0, 1, day) FOR EACH c.id": ('a name is written "where"',),
    "PREDICT COUNT(*, 0, 1, day) FOR EACH c.id": ("^*, 0", "table.*"),
    "PREDICT COUNT(o.*, 0, 1, day) FOR EACH c": ("'c' names no column", "customers.customer_id"),
    "PREDICT COUNT(o.*, 0, 1, day) c.id": ("^c.id", "FOR EACH, CLASSIFY, FORECAST, or an operator"),
    f"{CHURN} HAVING 1": ("^HAVING", "WHERE, ASSUMING, or the end of the line"),
    "PREDICT ROUND(COUNT(o.*, 0, 1, day), 2) FOR EACH c.id": ("ROUND has 2 values",),
    "PREDICT COUNT(o.* WHERE a = 'x, 0, 1, day) FOR EACH c.id": ("a text in single quotes is not closed",),
    "PREDICT COUNT(o.*, 0, 1, day) ? 1 FOR EACH c.id": ("'?' means nothing here",),
    f"PREDICT {'(' * 3000}": ("nested too deeply",),
    f"PREDICT {' ' * 20000}": ("the line has 20,008 characters",),
}


@pytest.mark.parametrize("line", BAD, ids=lambda line: line[:60])
def test_an_error_says_where_and_what_is_possible_there(line: str) -> None:
    with pytest.raises(TaskError) as caught:
        parse_line(line)
    message = str(caught.value)
    assert all(part in message for part in BAD[line]), message
    assert "\n" not in message and "at character " in message and "docs/tasks.md#predict" in message


WORDS = st.sampled_from(
    [
        "PREDICT",
        "COUNT",
        "(",
        ")",
        "o",
        ".",
        "*",
        ",",
        "0",
        "-",
        "30",
        "days",
        "FOR",
        "EACH",
        "WHERE",
        "=",
        "'a'",
        "AND",
        "NOT",
    ]
)


@settings(max_examples=200)
@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=25).map(" ".join)))
def test_any_text_is_a_line_or_one_clear_error(text: str) -> None:
    message = ""
    try:
        parse_line(text)
    except TaskError as error:
        message = str(error)
    assert not message or ("Expected: " in message and "Fix: " in message and "\n" not in message)
