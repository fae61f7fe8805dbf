"""A seed that leaves a row out gathers what it would gather from a database without that row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import duckdb
import pytest

from relsql.gather.sql.latest_rows import AS_OF, ENTITY
from relsql.gather.sql.query import Gather
from relsql.gather.sql.removals.conditions import ALL_ROWS, key_names, out_sql, row_id_sql, table_number
from relsql.schema.visibility import VISIBILITY_RULES, VisibilityRule
from tests.relsql.gather.sql.answers import ALL_SEEDS, TEXT_LENGTH, answer, planned, run, seeds_sql
from tests.relsql.gather.sql.random_databases import databases, random_examples
from tests.relsql.gather.sql.reference import Answer, Database, Seed

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

CATALOG = "data"


def left_out(con: duckdb.DuckDBPyConnection, gather: Gather, table: str, row: str) -> dict[Seed, Answer]:
    """What all seeds gather without the row of a table whose id is an expression."""
    plan = gather.plan
    key_type = plan.entity.column(plan.entity.primary_key[0]).type
    columns = f"seeds.{ENTITY}, seeds.{AS_OF}, {out_sql(table_number(plan, table), row)}"
    con.execute(TEXT_LENGTH)
    looking_away = replace(gather, rows=replace(gather.rows, removals=True))
    rows = con.execute(looking_away.query(f"SELECT {columns} FROM ({seeds_sql(ALL_SEEDS, key_type)}) seeds")).fetchall()
    assert len(rows) == len(ALL_SEEDS)
    return {(row[0], row[1]): answer(gather, row[1 + len(looking_away.rows.moments) :]) for row in rows}


def without(con: duckdb.DuckDBPyConnection, gather: Gather, table: str, where: str) -> dict[Seed, Answer]:
    """What all seeds gather after rows of a table are deleted, for a moment."""
    con.execute("BEGIN")
    con.execute(f"DELETE FROM {gather.plan.schema.table(table).sql(CATALOG)} r WHERE {where}")
    found = run(con, gather, ALL_SEEDS)
    con.execute("ROLLBACK")
    return found


@random_examples(0.3)
@hypothesis.given(
    databases(), st.integers(1, 3), st.booleans(), st.booleans(), st.sampled_from(VISIBILITY_RULES), st.data()
)
def test_a_row_that_is_left_out_is_as_good_as_deleted(
    drawn: tuple[Database, str], fanout: int, data_age: bool, event_hubs: bool, rule: VisibilityRule, data: Any
) -> None:
    database, entity = drawn
    with duckdb.connect() as con:
        database.create(con, CATALOG)
        gather = planned(con, database, CATALOG, entity, fanout, 1.0, data_age=data_age, event_hubs=event_hubs)
        gather = replace(gather, rows=replace(gather.rows, visible=rule))
        read = {table.key for table in gather.plan.tables()}
        rows = [(key, i) for key in sorted(read) for i in range(len(database.rows[key]))]
        for key, position in data.draw(st.permutations(rows))[:3]:
            table = database.schema.table(key)
            names = key_names(table)
            query = (
                f"SELECT {', '.join(f'r.{name}' for name in names)} FROM {table.sql(CATALOG)} r ORDER BY r.rowid ASC"
            )
            values = con.execute(query).fetchall()[position]
            where = " AND ".join(f"r.{name} = {value}" for name, value in zip(names, values, strict=True))
            row = f"(SELECT {row_id_sql(table, 'r')} FROM {table.sql(CATALOG)} r WHERE {where})"
            assert left_out(con, gather, key, row) == without(con, gather, key, where), (key, where)
        for key in sorted(read):
            assert left_out(con, gather, key, str(ALL_ROWS)) == without(con, gather, key, "true"), key
