"""The gather query in Spark's SQL, as text on file. `tests/engines` compares scores.

Rewrite the files with

    RELSQL_UPDATE_FIXTURES=1 pytest tests/relsql/spark/test_generated_sql.py
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path as File

import duckdb
import pytest

from relsql.spark.query import SparkGather
from relsql.spark.rows import Seeds, SparkRows
from relsql.sql_layout import readable
from tests.relsql.gather.sql.answers import planned
from tests.relsql.gather.sql.shop import shop

FIXTURES = File(__file__).parents[2] / "fixtures" / "spark"
AT_ONE_MOMENT = Seeds(1_577_836_800_000_000)
SHAPES = {"many_moments": "hub", "some_entities": "children", "message": "hub", "data_age": "entity"}
CASES = ("entity", "parents", "siblings", "children", "grandchildren", "hub", *SHAPES)


def fixture_sql(con: duckdb.DuckDBPyConnection, kind: str) -> str:
    database = shop()
    database.create(con, "shop")
    plan = planned(con, database, "shop", "customers", 3, data_age=kind == "data_age").plan
    shape = SHAPES.get(kind, kind)
    wanted = next(path for path in plan.paths if path.kind == shape)
    needed = {"grandchildren": 1, "hub": 1}.get(shape, 0)
    walked = [p for p in plan.paths if needed and p.kind == "children" and p.links == wanted.links[:1]]
    plan = replace(plan, paths=tuple(dict.fromkeys([plan.paths[0], *walked, wanted])))
    seeds = {"many_moments": Seeds(None, "asked"), "some_entities": Seeds(AT_ONE_MOMENT.as_of, "asked")}
    rows = SparkRows(plan, {key: f"lake.{key}" for key in plan.schema.tables}, seeds.get(kind, AT_ONE_MOMENT))
    gather = SparkGather(rows, {path.name: f"messages_of_{path.name}" for path in plan.paths if path.shared})
    return readable(gather.message_query(wanted) if kind == "message" else gather.query()) + "\n"


@pytest.mark.parametrize("kind", CASES)
def test_generated_sql_is_the_one_on_file(con: duckdb.DuckDBPyConnection, kind: str) -> None:
    sql = fixture_sql(con, kind)
    file = FIXTURES / f"{kind}.sql"
    if os.environ.get("RELSQL_UPDATE_FIXTURES"):
        file.write_text(sql, encoding="utf-8")
    assert sql == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", CASES)
def test_generated_sql_parses_elsewhere(kind: str) -> None:
    sqlglot = pytest.importorskip("sqlglot")
    parsed = sqlglot.parse_one((FIXTURES / f"{kind}.sql").read_text(encoding="utf-8"), dialect="spark")
    names = [cte.alias for cte in parsed.ctes]
    assert len(names) == len(set(names)) and names[0].startswith("rows of ")


def test_rows_strictly_before_a_moment_end_a_microsecond_earlier(con: duckdb.DuckDBPyConnection) -> None:
    database = shop()
    database.create(con, "shop")
    plan = planned(con, database, "shop", "customers", 3).plan
    stored = dict.fromkeys(plan.schema.tables, "t")
    sql = SparkGather(
        SparkRows(plan, stored, AT_ONE_MOMENT, "before"), dict.fromkeys((p.name for p in plan.paths), "m")
    )
    assert "<= 1577836799999999L" in sql.query()
