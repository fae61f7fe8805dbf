"""Expressions in Spark's SQL; `tests/engines` compares their values."""

from __future__ import annotations

import datetime

import pytest

from relsql.gather.node_inputs import CategoryInput, NodeInputs, NumberInput
from relsql.schema.tables import Column, Table
from relsql.spark.dialect import (
    category_sql,
    codes_sql,
    column_of,
    ident,
    literal,
    microseconds,
    number_sql,
    stored_sql,
)

TABLE = Table(
    "items",
    (
        Column("size", "DOUBLE"),
        Column("n", "INTEGER"),
        Column("big", "HUGEINT"),
        Column("at", "DATE"),
        Column("t", "VARCHAR"),
    ),
)


def test_names_and_texts_are_quoted() -> None:
    assert ident("a`b") == "`a``b`"
    assert literal("it's \\ a\nline") == r"'it\'s \\ a\nline'"


def test_times_are_microseconds() -> None:
    assert microseconds(datetime.datetime(1969, 12, 31, 23, 59, 59, 999_999)) == -1
    assert stored_sql(TABLE.column("at"), "r.at") == "unix_micros(CAST(r.at AS TIMESTAMP))"
    assert stored_sql(TABLE.column("n"), "r.n") == "r.n"


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        ("n", "number", "CAST(r.`n` AS FLOAT)"),
        ("at", "age", "CAST((5L - r.`at`) / 86400000000D AS FLOAT)"),
        ("big", "number", "CASE WHEN abs(CAST(r.`big` AS DOUBLE)) <= 3.4028235e38D OR"),
        ("size", "number", "CASE WHEN abs(r.`size`) <= 3.4028235e38D OR"),
        ("t", "text_number", "CASE WHEN abs(try_cast(r.`t` AS DOUBLE)) <= 3.4028235e38D OR"),
    ],
)
def test_numbers_beyond_float_are_missing(column: str, kind: str, expected: str) -> None:
    number = NumberInput(column, kind)  # type: ignore[arg-type]
    assert number_sql(TABLE, number, column_of("r"), "5L", "newest.t").startswith(expected)


def test_a_text_that_codes_determine_is_left_out() -> None:
    category = CategoryInput("t", ("a", "b"))
    code = category_sql(category, column_of("p0"))
    assert code == "coalesce(CAST(array_position(array('a', 'b'), p0.`t`) AS INT), 0)"
    inputs = NodeInputs("items", (), (category,), ("t",))
    [_, text] = codes_sql(TABLE, inputs, column_of("p0"), "p0.`n` IS NOT NULL")
    assert text.startswith(f"CASE WHEN {code} > 0 THEN '' WHEN p0.`n` IS NOT NULL THEN concat('<table>items', ")
