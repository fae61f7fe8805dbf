"""Divided tables: each part has all rows that its entities read, whatever the links are."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import duckdb
import pytest

from relsql.gather.paths import plan_paths
from relsql.gather.row_plan import RowPlan
from relsql.gather.sql.latest_rows import LatestRows
from relsql.gather.sql.query import Gather
from relsql.schema.declared.declarations import Declarations
from relsql.schema.reading import read_schema
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Schema
from relsql.schema.visibility import VISIBILITY_RULES, VisibilityRule
from relsql.shards.division import PART, Division, divided_tables, whole_tables
from relsql.sql_text import literal
from tests.odd_data import LINKS, create_market
from tests.relsql.gather.sql.answers import ALL_SEEDS, AS_OFS, TEXT_LENGTH, inputs_of, planned, run
from tests.relsql.gather.sql.random_databases import databases, random_examples
from tests.relsql.gather.sql.reference import Database, Seed

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")


def with_views(gather: Gather) -> Gather:
    """The gather over views, as those of files are: without a key, rows are told apart by their values."""
    plan = gather.plan
    tables = {key: replace(table, is_view=not table.primary_key) for key, table in plan.schema.tables.items()}
    return replace(gather, rows=replace(gather.rows, plan=replace(plan, schema=Schema(tables, plan.schema.links))))


def of_part(con: duckdb.DuckDBPyConnection, gather: Gather, division: Division, part: int, until: Any) -> Gather:
    """The gather over the rows of a part, in tables of their own."""
    sources = {}
    for i, key in enumerate(divided_tables(gather.plan)):
        sources[key] = f"temp.divided_{i}_{part}"
        rows = f"SELECT * EXCLUDE ({PART}) FROM ({division.rows_sql(key, until)}) WHERE {PART} = {part}"
        con.execute(f"CREATE OR REPLACE TEMP TABLE divided_{i}_{part} AS {rows}")
    return replace(gather, rows=replace(gather.rows, sources=sources))


def seeds_of(con: duckdb.DuckDBPyConnection, division: Division, part: int, as_of: datetime.datetime) -> list[Seed]:
    keys = [key for key, moment in ALL_SEEDS if moment == as_of]
    [column] = division.plan.entity.primary_key
    values = ", ".join(f"(CAST({key} AS INTEGER))" for key in keys)
    query = f'FROM (VALUES {values}) e("{column}") WHERE {division.is_in_part_sql("e", part)}'
    return [(key, as_of) for (key,) in con.execute(query).fetchall()]


@random_examples(0.75)
@hypothesis.given(
    databases(), st.integers(1, 3), st.booleans(), st.sampled_from(VISIBILITY_RULES), st.sampled_from(AS_OFS)
)
def test_a_part_reads_what_its_entities_read_of_all_rows(
    drawn: tuple[Database, str], shards: int, data_age: bool, rule: VisibilityRule, as_of: datetime.datetime
) -> None:
    database, entity = drawn
    with duckdb.connect() as con:
        database.create(con, "data")
        gather = with_views(planned(con, database, "data", entity, 2, 1.0, data_age=data_age, event_hubs=True))
        gather = replace(gather, rows=replace(gather.rows, visible=rule))
        expected = run(con, gather, [seed for seed in ALL_SEEDS if seed[1] == as_of])
        given = {}
        for i, (name, query) in enumerate(gather.given_queries(f"SELECT {literal(as_of)} AS _as_of").items()):
            given[name] = f"temp.given{i}"
            con.execute(f"CREATE TEMP TABLE given{i} AS {query}")
        division, found = Division(gather.plan, "data", shards), {}
        for part in range(shards):
            seeds = seeds_of(con, division, part, as_of)
            found |= run(con, of_part(con, gather.with_given(given), division, part, as_of), seeds)
        assert found == expected


def test_which_tables_are_divided() -> None:
    with duckdb.connect() as con:
        create_market(con)
        plan = plan_of(con, "customers")
        assert divided_tables(plan).keys() == {"customers", "orders", "visits", "lines"}
        assert [table.key for table in whole_tables(plan)] == ["products", "shops"]


def test_a_table_that_other_rows_point_at_is_whole() -> None:
    """A payment of one customer may be for an order of another one."""
    with duckdb.connect() as con:
        links = (*LINKS, "visits(order_id) -> orders")
        create_market(con, tables="ALTER TABLE visits ADD COLUMN order_id BIGINT", links=links)
        plan = plan_of(con, "customers")
        # A visit for somebody's order points at the customer of the visit, so customers are whole too.
        assert divided_tables(plan).keys() == {"visits", "lines"}


def plan_of(con: duckdb.DuckDBPyConnection, entity: str) -> RowPlan:
    schema = read_schema(con, "memory")
    return RowPlan(schema, plan_paths(con, "memory", schema, entity), inputs_of(schema))


def test_without_what_seeds_share_the_rows_of_hubs_are_missing() -> None:
    """The tests above would notice: hubs are reached through rows of other entities."""
    moment = datetime.datetime(2022, 6, 1)
    with duckdb.connect() as con:
        create_market(con)
        con.execute(TEXT_LENGTH)
        gather = Gather(LatestRows(plan_of(con, "customers"), "memory"), "text_length")
        division = Division(gather.plan, "memory", 2)
        seeds = "SELECT customer_id AS _entity, TIMESTAMP '2022-06-01' AS _as_of FROM customers WHERE "
        seeds += division.is_in_part_sql("customers", 0)
        whole = con.execute(gather.query(seeds)).fetchall()
        part = con.execute(of_part(con, gather, division, 0, moment).query(seeds)).fetchall()
        assert len(whole) == len(part) > 0 and sorted(map(str, whole)) != sorted(map(str, part))


def rows_of(con: duckdb.DuckDBPyConnection, gather: Gather, seeds: str) -> dict[Any, Any]:
    """What each entity reads, whatever the order of its rows."""
    found = {}
    for entity, _, *values in con.execute(gather.query(seeds)).fetchall():
        found[entity] = [sorted(map(str, value)) if isinstance(value, list) else value for value in values]
    return found


@pytest.mark.parametrize(("entity", "divided"), [("teams", {"goals"}), ("leagues", {"leagues", "games", "goals"})])
def test_times_of_headers_and_entities_that_are_values(entity: str, divided: set[str]) -> None:
    """Computed times and values are those of all rows, though a part has few of them."""
    moment = datetime.datetime(2022, 1, 20)
    with duckdb.connect() as con:
        con.execute("""
            CREATE TABLE leagues AS SELECT i AS league_id, 'league ' || i AS letter FROM range(3) t(i);
            CREATE TABLE games AS
            SELECT i AS game_id, i % 3 AS league_id, 'team ' || i % 5 AS home, 'team ' || (i * 3 + 1) % 7 AS away,
                i * 1.5 AS value, TIMESTAMP '2022-01-01' + to_days(i::INTEGER) AS played
            FROM range(30) t(i);
            CREATE TABLE goals AS
            SELECT i AS goal_id, i % 30 AS game_id, 'team ' || i % 7 AS team, i % 4 AS value FROM range(90) t(i);
            """)
        declared = Declarations.parse(
            primary_keys=["leagues(league_id)", "games(game_id)", "goals(goal_id)"],
            entities=["teams=games(home),games(away),goals(team)"],
            links=["games(league_id) -> leagues", "goals(game_id) -> games"],
            time_columns=["games(played)", "goals(games.played)"],
        )
        declared.store(con, "memory")
        con.execute(TEXT_LENGTH)
        gather = with_views(Gather(LatestRows(plan_of(con, entity), "memory"), "text_length"))
        [key] = gather.plan.entity.primary_key
        seeds = f"SELECT e.{key} AS _entity, {literal(moment)} AS _as_of FROM {relation_sql(gather.plan.entity)} e"
        queries = gather.given_queries(f"SELECT {literal(moment)} AS _as_of")
        given = {name: f"({query})" for name, query in queries.items()}
        expected, division = rows_of(con, gather, seeds), Division(gather.plan, "memory", 3)
        assert divided_tables(gather.plan).keys() == divided and len(expected) > 2
        found = {}
        for part in range(3):
            own = of_part(con, gather.with_given(given), division, part, moment)
            found |= rows_of(con, own, f"{seeds} WHERE {division.is_in_part_sql('e', part)}")
        assert found == expected
