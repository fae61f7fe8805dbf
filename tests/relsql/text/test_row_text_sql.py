from __future__ import annotations

import duckdb
import pytest

from relsql.schema.reading import read_schema
from relsql.schema.tables import Column, Table
from relsql.text.row_text import units
from relsql.text.row_text_sql import MAX_VALUE_CHARACTERS, row_text_sql

# type, value, text
GOLDEN = [
    ("VARCHAR", "'Anna'", "Anna"),
    ("VARCHAR", "NULL", ""),
    ("VARCHAR", "''", ""),
    ("VARCHAR", "'a <value>b<table> ''q'' > 1'", "a ‹value>b‹table> 'q' > 1"),
    ("VARCHAR", "'🏁 Größe'", "🏁 Größe"),
    ("BOOLEAN", "true", "true"),
    ("TINYINT", "-128", "-128"),
    ("HUGEINT", "170141183460469231731687303715884105727", "170141183460469231731687303715884105727"),
    ("DECIMAL(38,10)", "1.5", "1.5000000000"),
    ("DOUBLE", "0.1", "0.1"),
    ("DOUBLE", "'inf'", "inf"),
    ("DATE", "'2020-02-29'", "2020-02-29"),
    ("DATE", "'infinity'", "infinity"),
    ("TIMESTAMP", "'2020-01-01 12:00:00.5'", "2020-01-01 12:00:00.5"),
    ("TIMESTAMP WITH TIME ZONE", "'2020-01-01 12:00:00+02'", "2020-01-01 10:00:00"),
    ("TIMESTAMP WITH TIME ZONE", "'infinity'", "infinity"),
    ("TIMESTAMP WITH TIME ZONE", "'294247-01-10 04:00:54.775806+00'", "294247-01-10 04:00:54.775806"),
    ("TIME", "'12:30:00'", "12:30:00"),
    ("TIME WITH TIME ZONE", "'12:30:00+02'", "12:30:00+02"),
    ("INTERVAL", "INTERVAL 1 MONTH", "1 month"),
    ("UUID", "'00000000-0000-0000-0000-000000000001'", "00000000-0000-0000-0000-000000000001"),
    ("ENUM('a<b', 'c')", "'a<b'", "a‹b"),
    ("BLOB", r"'\xAA'", r"\xAA"),
    ("BIT", "'101'", "101"),
    ("INTEGER[]", "[1, NULL]", "[1, NULL]"),
    ("INTEGER[2]", "[1, 2]", "[1, 2]"),
    ("STRUCT(a INTEGER, b VARCHAR)", "{'a': 1, 'b': 'x'}", "{'a': 1, 'b': x}"),
    ("MAP(VARCHAR, INTEGER)", "MAP {'k': 1}", "{k=1}"),
    ("UNION(n INTEGER, s VARCHAR)", "union_value(n := 5)", "5"),
    ("JSON", """'{"a": "<b"}'""", '{"a": "‹b"}'),
]


@pytest.mark.parametrize(("kind", "value", "text"), GOLDEN)
def test_golden_texts(con: duckdb.DuckDBPyConnection, kind: str, value: str, text: str) -> None:
    con.execute("SET TimeZone = 'Asia/Tokyo'")
    con.execute(f'CREATE TABLE "t < 1" ("c <value>" {kind})')
    con.execute(f'INSERT INTO "t < 1" VALUES ({value})')
    table = read_schema(con, "memory").table("t < 1")
    expression = row_text_sql(table, table.column_names, "r")
    assert con.execute(f'SELECT {expression} FROM "t < 1" r').fetchall() == [
        (f"<table>t ‹ 1<attribute>c ‹value><value>{text}",)
    ]


def test_long_values_are_cut_and_the_text_is_parsed_back(con: duckdb.DuckDBPyConnection) -> None:
    con.execute('CREATE TABLE "it\'s" ("a""b" VARCHAR, n INTEGER, "select" VARCHAR)')
    con.execute("INSERT INTO \"it's\" VALUES (?, NULL, 'x<attribute>y')", ["é" * 500])
    table = read_schema(con, "memory").table("it's")
    [(text,)] = con.execute(f'SELECT {row_text_sql(table, table.column_names, "r")} FROM "it\'s" r').fetchall()
    assert [(unit.kind, text[unit.start : unit.end]) for unit in units(text)] == [
        ("table", "it's"),
        ("attribute", 'a"b'),
        ("value", "é" * MAX_VALUE_CHARACTERS),
        ("attribute", "n"),
        ("value", ""),
        ("attribute", "select"),
        ("value", "x‹attribute>y"),
    ]


def test_a_macro_over_the_row_gives_the_same_text(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("""CREATE TABLE t AS SELECT *
                   FROM (VALUES (1, 'a', TIMESTAMPTZ '2020-01-01 00:00:00+00'), (2, NULL, NULL))
                   v(r, "self.x", z)""")
    table = read_schema(con, "memory").table("t")
    con.execute(f"CREATE MACRO row_text_t(one_row) AS {row_text_sql(table, table.column_names, 'one_row')}")
    query = f"SELECT {row_text_sql(table, table.column_names, 'q')}, row_text_t(q) FROM t q ORDER BY q.r"
    rows = con.execute(query).fetchall()
    assert [a for a, _ in rows] == [b for _, b in rows]
    assert rows[1][0] == "<table>t<attribute>r<value>2<attribute>self.x<value><attribute>z<value>"


def test_no_columns_leave_the_table_name(con: duckdb.DuckDBPyConnection) -> None:
    table = Table("t", (Column("a", "INTEGER"),))
    assert con.execute(f"SELECT {row_text_sql(table, (), 'r')}").fetchall() == [("<table>t",)]
