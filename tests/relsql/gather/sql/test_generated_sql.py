"""The SQL of the gather query, as text on file.

Rewrite the files with

    RELSQL_UPDATE_FIXTURES=1 pytest tests/relsql/gather/sql/test_generated_sql.py
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path as File

import duckdb
import pytest

from relsql.sql_layout import readable
from tests.relsql.gather.sql.answers import DAYS, planned, seeds_sql
from tests.relsql.gather.sql.shop import shop

FIXTURES = File(__file__).parents[3] / "fixtures" / "gather"
CASES = ("entity", "parents", "siblings", "children", "grandchildren", "hub", "data_age", "message", "many_moments")


def fixture_sql(con: duckdb.DuckDBPyConnection, kind: str) -> str:
    database = shop()
    database.create(con, "shop")
    gather = planned(con, database, "shop", "customers", 3, data_age=kind == "data_age")
    shape = {"message": "siblings", "data_age": "entity", "many_moments": "hub"}.get(kind, kind)
    gather = gather.for_seeds("moments" if kind == "many_moments" else "batch")
    wanted = [p for p in gather.plan.paths if p.kind == shape]
    needed = {"grandchildren": 1, "hub": 1}.get(shape, 0)
    walked = [p for p in gather.plan.paths if needed and p.kind == "children" and p.links == wanted[0].links[:1]]
    paths = tuple(dict.fromkeys([gather.plan.paths[0], *walked, wanted[0]]))
    if kind == "message":
        gather = replace(gather, message_functions={wanted[0].name: "message_of_siblings"})
    plan = replace(gather.plan, paths=paths)
    query = replace(gather, rows=replace(gather.rows, plan=plan)).query(seeds_sql([(1, DAYS[2])], "INTEGER"))
    return readable(query) + "\n"


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
    parsed = sqlglot.parse_one((FIXTURES / f"{kind}.sql").read_text(encoding="utf-8"), dialect="duckdb")
    names = [cte.alias for cte in parsed.ctes]
    assert names[:2] == ["seed", "self"] and len(names) == len(set(names))
