from __future__ import annotations

import datetime
import math
from dataclasses import replace
from typing import Any

import duckdb
import pytest

from relsql.gather.node_inputs import MIN_CATEGORY_ROWS, NodeInputs, fit_node_inputs
from relsql.gather.paths import plan_paths
from relsql.gather.row_plan import RowPlan
from relsql.gather.sql.latest_rows import LatestRows
from relsql.gather.sql.query import Gather
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema, Table

UNTIL = datetime.datetime(2021, 1, 1)
AS_OF = datetime.datetime(2020, 1, 3)
TEXT_LENGTH = "CREATE OR REPLACE TEMP MACRO text_length(text) AS length(text)::INTEGER"


def fit(con: duckdb.DuckDBPyConnection, table: str = "t", **more: Any) -> NodeInputs:
    return fit_node_inputs(con, "memory", read_schema(con, "memory"), table, until=UNTIL, **more)


def gather_row(con: duckdb.DuckDBPyConnection, inputs: NodeInputs, as_of: str) -> dict[str, Any]:
    """What is gathered of the row with id 1 in table t."""
    con.execute(TEXT_LENGTH)
    schema = read_schema(con, "memory")
    plan = RowPlan(schema, plan_paths(con, "memory", schema, "t"), {"t": inputs})
    gather = Gather(LatestRows(plan, "memory"), "text_length")
    query = gather.query(f"SELECT 1 AS _entity, CAST({as_of} AS TIMESTAMP) AS _as_of")
    [(_, _, [row])] = con.execute(query).fetchall()
    return dict(row)


# type, value, number read of it (None: missing, "": the column is not a number), whether it goes into the text
TYPES: list[tuple[str, str, float | str | None, bool]] = [
    ("TINYINT", "-128", -128.0, False),
    ("SMALLINT", "-32768", -32768.0, False),
    ("INTEGER", "2147483647", 2147483648.0, False),
    ("BIGINT", "-9223372036854775808", -(2.0**63), False),
    ("UTINYINT", "255", 255.0, False),
    ("USMALLINT", "65535", 65535.0, False),
    ("UINTEGER", "4294967295", 2.0**32, False),
    ("UBIGINT", "18446744073709551615", 2.0**64, False),
    ("HUGEINT", "-170141183460469231731687303715884105728", -(2.0**127), False),
    ("UHUGEINT", "340282366920938463463374607431768211455", math.inf, False),
    ("DECIMAL(38,10)", "-9999999999999999999999999999.5", -1e28, False),
    ("FLOAT", "'nan'", math.nan, False),
    ("FLOAT", "'-inf'", -math.inf, False),
    ("DOUBLE", "'nan'", math.nan, False),
    ("DOUBLE", "'inf'", math.inf, False),
    ("DOUBLE", "1e300", None, False),
    ("DOUBLE", "NULL", None, False),
    ("BOOLEAN", "true", 1.0, False),
    # Times are ages in days; an infinite one is missing, and so is a date that TIMESTAMP cannot hold.
    ("DATE", "'2020-01-01'", 2.0, False),
    ("DATE", "'infinity'", None, False),
    ("DATE", "'-infinity'", None, False),
    ("DATE", "'5881580-07-10'", None, False),
    ("DATE", "'5877642-06-25 (BC)'", None, False),
    ("TIMESTAMP", "'2020-01-02 12:00:00'", 0.5, False),
    ("TIMESTAMP", "'infinity'", None, False),
    ("TIMESTAMP", "'-infinity'", None, False),
    ("TIMESTAMP", "'290309-12-22 (BC) 00:00:00'", 106751991.0 + 18264.0, False),
    ("TIMESTAMP", "'294247-01-10 04:00:54.775806'", -106751991.17 + 18264.0, False),
    ("TIMESTAMP_S", "'2020-01-01 00:00:00'", 2.0, False),
    ("TIMESTAMP_S", "'infinity'", None, False),
    ("TIMESTAMP_MS", "'2020-01-01 00:00:00'", 2.0, False),
    ("TIMESTAMP_NS", "'2020-01-01 00:00:00'", 2.0, False),
    ("TIMESTAMP_NS", "'infinity'", None, False),
    ("TIMESTAMP WITH TIME ZONE", "'2020-01-01 00:00:00+00'", 2.0, False),
    ("TIMESTAMP WITH TIME ZONE", "'-infinity'", None, False),
    ("TIMESTAMP WITH TIME ZONE", "'294247-01-10 04:00:54.775806+00'", -106751991.17 + 18264.0, False),
    # Seconds since midnight, of the zone that is written.
    ("TIME", "'12:00:00'", 43200.0, False),
    ("TIME", "'24:00:00'", 86400.0, False),
    ("TIME_NS", "'12:00:00.5'", 43200.5, False),
    ("TIME WITH TIME ZONE", "'12:00:00+05'", 43200.0, False),
    ("INTERVAL", "INTERVAL '36 hours'", 1.5, False),
    ("VARCHAR", "'word'", "", True),
    ("VARCHAR", "'1.5'", 1.5, True),
    ("VARCHAR", "'1e300'", None, True),
    ("ENUM('a', 'b')", "'b'", "", True),
    ("INTEGER[]", "[1, NULL]", "", True),
    ("INTEGER[2]", "[1, 2]", "", True),
    ("STRUCT(a INTEGER)", "{'a': 1}", "", True),
    ("MAP(VARCHAR, INTEGER)", "MAP {'k': 1}", "", True),
    ("UNION(n INTEGER, s VARCHAR)", "union_value(s := 'x')", "", True),
    ("JSON", "'[1]'", "", True),
    ("BIGNUM", "'123'", "", True),
    # Nothing is read of names of rows and of bytes, nor of zoned times whose text depends on the session.
    ("UUID", "'00000000-0000-0000-0000-000000000001'", "", False),
    ("BLOB", r"'\xAA'", "", False),
    ("BIT", "'101'", "", False),
    ("TIMESTAMP WITH TIME ZONE[]", "['2020-01-01 00:00:00+00']", "", False),
    ("VARIANT", "'x'", "", True),
    ("TIMESTAMPTZ_NS", "'2020-01-01 00:00:00+00'", 2.0, False),
]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
@pytest.mark.parametrize(("kind", "value", "number", "textual"), TYPES)
def test_every_type_is_read(
    con: duckdb.DuckDBPyConnection, kind: str, value: str, number: float | str | None, textual: bool, zone: str
) -> None:
    con.execute(f"SET TimeZone = '{zone}'")
    try:
        con.execute(f'CREATE TABLE t (id INTEGER PRIMARY KEY, "odd "" column" {kind})')
    except duckdb.CatalogException:
        pytest.skip(f"this DuckDB has no {kind}")
    con.execute(f"INSERT INTO t VALUES (1, {value}), (2, NULL)")
    inputs = fit(con)
    assert (len(inputs.numbers), bool(inputs.text_columns)) == (number != "", textual)
    row = gather_row(con, inputs, "TIMESTAMP '2020-01-03'")
    if number != "":
        assert row["n1"] == (None if number is None else pytest.approx(number, rel=1e-6, nan_ok=True))
    assert ("c0" in row) == textual
    assert gather_row(con, fit(con, all_text=True), "TIMESTAMP '2020-01-03'")["n0"] == 1.0


@pytest.mark.parametrize("as_of", ["infinity", "-infinity", "290309-12-22 (BC) 00:00:00", "294247-01-10 04:00:54"])
def test_extreme_prediction_times_do_not_fail(con: duckdb.DuckDBPyConnection, as_of: str) -> None:
    con.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, born TIMESTAMP, seen TIMESTAMP)")
    con.execute("INSERT INTO t VALUES (1, '294247-01-10 04:00:54', '290309-12-22 (BC) 00:00:00')")
    row = gather_row(con, fit(con), f"'{as_of}'")
    assert row["n0"] == 1.0 and (row["n1"] is None) == ("infinity" in as_of)


@pytest.mark.parametrize(
    ("kind", "value", "visible"),
    [
        ("DATE", "'2020-01-03'", True),
        ("DATE", "'2020-01-04'", False),
        ("DATE", "'infinity'", False),
        ("DATE", "'5881580-07-10'", False),
        ("TIMESTAMP", "'2020-01-03 00:00:00'", True),
        ("TIMESTAMP", "'2020-01-03 00:00:00.000001'", False),
        ("TIMESTAMP", "'-infinity'", True),
        ("TIMESTAMP_NS", "'2020-01-03 00:00:00'", True),
        ("TIMESTAMP WITH TIME ZONE", "'2020-01-03 09:00:00+09'", True),
        ("TIMESTAMP WITH TIME ZONE", "'2020-01-02 23:00:00-02'", False),
        ("TIMESTAMP WITH TIME ZONE", "'-infinity'", True),
        ("TIMESTAMP WITH TIME ZONE", "'infinity'", False),
        ("TIMESTAMP", "NULL", False),
    ],
)
def test_visibility_by_type_of_the_time_column(
    con: duckdb.DuckDBPyConnection, kind: str, value: str, visible: bool
) -> None:
    con.execute("SET TimeZone = 'America/New_York'")
    con.execute(TEXT_LENGTH)
    con.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, time {kind})")
    con.execute(f"INSERT INTO t VALUES (1, {value})")
    plain = read_schema(con, "memory")
    schema = Schema({"t": replace(plain.table("t"), time_column="time")})
    inputs = fit_node_inputs(con, "memory", schema, "t", until=UNTIL)
    plan = RowPlan(schema, plan_paths(con, "memory", schema, "t"), {"t": inputs})
    gather = Gather(LatestRows(plan, "memory"), "text_length")
    query = gather.query("SELECT 1 AS _entity, TIMESTAMP '2020-01-03' AS _as_of")
    [(_, _, found)] = con.execute(query).fetchall()
    assert (found is not None) == visible


def test_keys_are_left_out_and_the_age_comes_first(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE TABLE p (id INTEGER PRIMARY KEY)")
    con.execute("CREATE TABLE t (a INTEGER, id INTEGER PRIMARY KEY, p INTEGER REFERENCES p (id), time DATE, b DATE)")
    plain = read_schema(con, "memory")
    tables = plain.tables | {"t": replace(plain.table("t"), time_column="time")}
    inputs = fit_node_inputs(con, "memory", Schema(tables, plain.links), "t", until=UNTIL)
    assert [(n.column, n.kind) for n in inputs.numbers] == [("time", "age"), ("a", "number"), ("b", "age")]
    assert inputs.columns == ("time", "a", "b")


def test_rows_after_the_training_range_choose_nothing(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE TABLE t (id INTEGER, time DATE, word VARCHAR)")
    con.execute("INSERT INTO t SELECT i, '2020-01-01', ['a', 'b'][1 + i % 2] FROM range(40) r(i)")
    con.execute("INSERT INTO t SELECT i, '2022-01-01', 'later' FROM range(400) r(i)")
    plain = read_schema(con, "memory").table("t")
    schema = Schema({"t": Table("t", plain.columns, ("id",), "time")})
    [category] = fit_node_inputs(con, "memory", schema, "t", until=UNTIL).categories
    assert category.values == ("a", "b")


def test_categories_are_frequent_values_most_frequent_first(con: duckdb.DuckDBPyConnection) -> None:
    # A column called `value`, and one called `rows`: neither may be taken for an alias of the query that counts.
    con.execute("CREATE TABLE t (value VARCHAR, rows INTEGER, id INTEGER PRIMARY KEY)")
    con.execute(f"INSERT INTO t SELECT 'rare', 7, i FROM range({MIN_CATEGORY_ROWS - 1}) r(i)")
    con.execute(f"INSERT INTO t SELECT 'it''s', 5, 100 + i FROM range({MIN_CATEGORY_ROWS}) r(i)")
    con.execute(f"INSERT INTO t SELECT 'B', -3, 200 + i FROM range({MIN_CATEGORY_ROWS + 1}) r(i)")
    con.execute("INSERT INTO t VALUES (NULL, NULL, 300)")
    inputs = fit(con)
    assert [c.values for c in inputs.categories] == [("B", "it's")]
    assert [n.categories for n in inputs.numbers] == [(-3.0, 5.0)]
    codes = {}
    for value in ("'B'", "'it''s'", "'rare'", "'unseen'", "''", "NULL"):
        con.execute(f"DELETE FROM t WHERE id = 1; INSERT INTO t VALUES ({value}, 0, 1)")
        codes[value] = gather_row(con, inputs, "now()::TIMESTAMP")["c0"]
    assert codes == {"'B'": 1, "'it''s'": 2, "'rare'": 0, "'unseen'": 0, "''": 0, "NULL": 0}


def test_integers_that_float_cannot_tell_apart_are_coded_as_text(con: duckdb.DuckDBPyConnection) -> None:
    """In FLOAT all of these codes are one or two numbers, which the network's runtimes would look up differently."""
    con.execute("CREATE TABLE items AS SELECT i AS id, 185000001 + i % 3 AS code, i % 3 AS kind FROM range(60) r(i)")
    inputs = fit(con, "items")
    numbers = {number.column: number.categories for number in inputs.numbers}
    assert numbers["code"] == () and set(numbers["kind"]) == {0.0, 1.0, 2.0}
    [coded] = inputs.categories
    assert coded.column == "code" and set(coded.values) == {"185000001", "185000002", "185000003"}


def test_categories_with_odd_characters(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, w VARCHAR)")
    words = ["", "a\nb", "😀", "nul\0", "sep\x1f"]
    rows = [[i, words[i % len(words)]] for i in range(len(words) * MIN_CATEGORY_ROWS)]
    con.executemany("INSERT INTO t VALUES (?, ?)", rows)
    inputs = fit(con)
    assert sorted(inputs.categories[0].values) == ["", "a\nb", "😀"]
    assert gather_row(con, inputs, "now()::TIMESTAMP")["c0"] == 1 + inputs.categories[0].values.index("a\nb")


def test_empty_tables_have_inputs(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a DOUBLE, w VARCHAR)")
    inputs = fit(con)
    assert [(n.column, n.kind) for n in inputs.numbers] == [("a", "number")]
    assert (inputs.categories, inputs.text_columns) == ((), ("w",))
    assert con.sql("SELECT 1").to_arrow_table().num_rows == 1


def test_of_a_large_table_a_sample_is_ranked(con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relsql.gather.node_inputs.MAX_RANKED_ROWS", 50)
    con.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, time TIMESTAMP, number BIGINT, amount BIGINT)")
    con.execute(
        "INSERT INTO t SELECT i, TIMESTAMP '2020-01-01' + to_hours(i), 3 * i, hash(i) % 97 FROM range(2000) r(i)"
    )
    plain = read_schema(con, "memory")
    schema = Schema({"t": replace(plain.table("t"), time_column="time")}, ())
    inputs = fit_node_inputs(con, "memory", schema, "t", until=UNTIL)
    assert [number.column for number in inputs.numbers] == ["time", "amount"]
