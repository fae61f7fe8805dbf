"""The gather query against a brute-force reference in plain Python, and the laws it keeps."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import duckdb
import pyarrow as pa
import pytest

from relsql.database.connections import use_catalog
from relsql.gather.sql.query import Gather
from relsql.gather.sql.seeds import all_seeds_sql
from relsql.schema.tables import Column, Link, Schema, Table
from relsql.schema.visibility import VISIBILITY_RULES, VisibilityRule
from relsql.sql_text import literal
from tests.relsql.gather.sql.answers import (
    ALL_DELAYED,
    ALL_SEEDS,
    AS_OFS,
    DAYS,
    MICROSECOND,
    in_catalog,
    planned,
    run,
    run_delayed,
    seeds_sql,
)
from tests.relsql.gather.sql.random_databases import databases, random_examples
from tests.relsql.gather.sql.reference import Database, Reference, Seed
from tests.relsql.gather.sql.shop import shop
from udfs.functions import create_arrow_function

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")


@random_examples(1.0)
@hypothesis.given(
    databases(),
    st.integers(1, 3),
    st.sampled_from([0.5, 1.0, 400.0]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(VISIBILITY_RULES),
)
def test_random_databases_give_what_the_reference_gives(
    drawn: tuple[Database, str],
    fanout: int,
    horizon: float,
    data_age: bool,
    event_hubs: bool,
    many_moments: bool,
    rule: VisibilityRule,
) -> None:
    database, entity = drawn
    with duckdb.connect() as con:
        database.create(con, "da\"ta' base")
        database.create(con, "reversed", reverse_keyed=True)
        gather = planned(
            con, database, "da\"ta' base", entity, fanout, horizon, data_age=data_age, event_hubs=event_hubs
        )
        gather = replace(gather, rows=replace(gather.rows, visible=rule))
        gather = gather.for_seeds("moments" if many_moments else "batch")
        found = run(con, gather, ALL_SEEDS)
        reference = Reference(database, gather.plan.paths, gather.plan.inputs, rule)
        for seed in ALL_SEEDS:
            assert found[seed] == reference.gather(seed), (seed, [p.describe() for p in gather.plan.paths])
        # The answer does not depend on where rows lie, as long as they have a key.
        assert run(con, in_catalog(gather, "reversed"), ALL_SEEDS) == found
        # Nor does it in a call, which finds rows in a way of its own.
        call = gather.for_seeds("call")
        for seed in ALL_SEEDS[3::4]:
            assert run(con, call, [seed]) == {seed: found[seed]}


@random_examples(0.5)
@hypothesis.given(databases(), st.booleans(), st.booleans(), st.sampled_from(VISIBILITY_RULES))
def test_what_seeds_share_can_be_stored_before(
    drawn: tuple[Database, str], data_age: bool, many_moments: bool, rule: VisibilityRule
) -> None:
    database, entity = drawn
    with duckdb.connect() as con:
        database.create(con, "data")
        gather = planned(con, database, "data", entity, 2, 1.0, data_age=data_age, event_hubs=True)
        gather = replace(gather, rows=replace(gather.rows, visible=rule))
        gather = gather.for_seeds("moments" if many_moments else "batch")
        found = run(con, gather, ALL_SEEDS)
        moments = " UNION ALL ".join(f"SELECT {literal(as_of)} AS _as_of" for as_of in AS_OFS)
        given = {}
        for i, (name, query) in enumerate(gather.given_queries(moments).items()):
            given[name] = f"temp.given{i}"
            con.execute(f"CREATE TEMP TABLE given{i} AS {query}")
        assert len(given) == sum(path.shared for path in gather.plan.paths) + data_age
        stored = gather.with_given(given)
        # Rows that only hubs lead to are not read any more.
        names = {cte.name for cte in stored.rows.ctes(stored, "SELECT 1")}
        assert not names & {f"{path.name}__latest" for path in gather.plan.paths if path.shared}
        assert run(con, stored, ALL_SEEDS) == found


@random_examples(0.5)
@hypothesis.given(databases(), st.booleans(), st.booleans())
def test_delayed_seeds_see_the_database_as_it_was(
    drawn: tuple[Database, str], many_moments: bool, event_hubs: bool
) -> None:
    database, entity = drawn
    with duckdb.connect() as con:
        database.create(con, "whole")
        gather = planned(con, database, "whole", entity, 2, data_age=True, event_hubs=event_hubs)
        gather = gather.for_seeds("moments" if many_moments else "batch")
        found = run_delayed(con, gather, ALL_DELAYED)
        for i, until in enumerate(AS_OFS):
            database.ended(until).create(con, f"ended {i}")
            asked = [seed for seed in ALL_SEEDS if until <= seed[1]]
            expected = run(con, in_catalog(gather, f"ended {i}"), asked)
            assert {seed: found[(*seed, until)] for seed in asked} == expected


# One database with every kind of path.


def test_every_kind_of_path_is_planned_and_right(con: duckdb.DuckDBPyConnection, shop_gather: Gather) -> None:
    assert {p.kind for p in shop_gather.plan.paths} == {
        "entity",
        "parents",
        "siblings",
        "children",
        "grandchildren",
        "hub",
    }
    reference = Reference(shop(), shop_gather.plan.paths, shop_gather.plan.inputs)
    found = run(con, shop_gather, ALL_SEEDS)
    assert all(found[seed] == reference.gather(seed) for seed in ALL_SEEDS)
    rows_of_kind = Counter[str]()
    for answer in found.values():
        for path in shop_gather.plan.paths:
            rows_of_kind[path.kind] += answer[path.name].total()
    assert min(rows_of_kind.values()) > 0


def test_counts_go_beyond_the_fanout_and_end_at_their_span(con: duckdb.DuckDBPyConnection, shop_gather: Gather) -> None:
    # Customer 0 has orders 0, 3, 6 and 9, all at DAYS[0]; customer 1 has four at DAYS[1].
    [orders] = [p for p in shop_gather.plan.paths if p.kind == "children"]
    assert (orders.fanout, orders.count_days) == (3, (1.0, 4.0, 16.0))
    asked: list[Seed] = [(0, DAYS[0]), (0, DAYS[1] - MICROSECOND), (0, DAYS[1]), (0, DAYS[3])]
    found = run(con, shop_gather, asked)
    assert [found[seed]["orders"].total() for seed in asked] == [3, 3, 3, 3]
    assert [found[seed]["orders__counts"] for seed in asked] == [(4, 4, 4, 4), (4, 4, 4, 4), (4, 0, 4, 4), (4, 0, 4, 4)]
    # Rows after the end of the data do not count, and spans run from as_of all the same.
    delayed = [(1, DAYS[2], DAYS[0]), (1, DAYS[2], DAYS[1]), (1, DAYS[2] - MICROSECOND, DAYS[1])]
    answers = run_delayed(con, shop_gather, delayed)
    assert [answers[seed]["orders__counts"] for seed in delayed] == [None, (4, 0, 4, 4), (4, 4, 4, 4)]


def test_rows_without_time_are_counted_in_all_only(con: duckdb.DuckDBPyConnection) -> None:
    full = shop()
    tables = full.schema.tables | {"orders": replace(full.schema.table("orders"), time_column=None)}
    database = replace(full, schema=replace(full.schema, tables=tables))
    database.create(con, "d")
    gather = planned(con, database, "d", "customers", 3)
    assert run(con, gather, [(1, DAYS[0])])[1, DAYS[0]]["orders__counts"] == (4,)


def test_rows_at_as_of_are_seen_and_later_ones_never(con: duckdb.DuckDBPyConnection, shop_gather: Gather) -> None:
    ages = [
        row[1][1 + next(i for i, n in enumerate(shop_gather.plan.inputs[path.table].numbers) if n.kind == "age")]
        for answer in run(con, shop_gather, ALL_SEEDS).values()
        for path in shop_gather.plan.paths
        if shop_gather.plan.schema.table(path.table).time_column
        for row in answer[path.name]
    ]
    assert min(age for age in ages if age is not None) == 0.0


def test_a_looked_up_parent_newer_than_as_of_is_absent(con: duckdb.DuckDBPyConnection) -> None:
    key, time = Column("id", "INTEGER"), Column("time", "TIMESTAMP")
    people, offer = Column("p", "INTEGER"), Column("o", "INTEGER")
    tables = (
        Table("people", (key,), ("id",)),
        Table("offers", (key, time, Column("value", "DOUBLE")), ("id",), "time"),
        Table("orders", (key, people, offer, time), ("id",), "time"),
    )
    links = (Link("orders", ("p",), "people", ("id",)), Link("orders", ("o",), "offers", ("id",)))
    rows = {
        "people": [{"id": 1}],
        "offers": [{"id": 1, "time": DAYS[2], "value": 5.0}],
        "orders": [{"id": 1, "p": 1, "o": 1, "time": DAYS[0]}],
    }
    database = Database(Schema({t.key: t for t in tables}, links), rows)
    database.create(con, "d")
    gather = planned(con, database, "d", "people", 2)
    found = run(con, gather, [(1, DAYS[2] - MICROSECOND), (1, DAYS[2])])
    # present, age, present of the offer, its age, its value
    [(_, before, _)] = found[1, DAYS[2] - MICROSECOND]["orders"]
    [(_, after, _)] = found[1, DAYS[2]]["orders"]
    assert (before[2:], after) == ((0.0, None, None), (1.0, 2.0, 1.0, 0.0, 5.0))


@pytest.mark.parametrize("many_moments", [False, True])
def test_texts_that_no_seed_may_see_get_no_number(con: duckdb.DuckDBPyConnection, many_moments: bool) -> None:
    key, time, letter = Column("id", "INTEGER"), Column("time", "TIMESTAMP"), Column("letter", "VARCHAR")
    tables = (
        Table("people", (key,), ("id",)),
        Table("offers", (key, time, letter), ("id",), "time"),
        Table("orders", (key, Column("p", "INTEGER"), Column("o", "INTEGER"), time), ("id",), "time"),
    )
    links = (Link("orders", ("p",), "people", ("id",)), Link("orders", ("o",), "offers", ("id",)))
    rows = {
        "people": [{"id": 1}],
        "offers": [{"id": 1, "time": DAYS[0], "letter": "early"}, {"id": 2, "time": DAYS[2], "letter": "late"}],
        "orders": [{"id": i, "p": 1, "o": i, "time": DAYS[0]} for i in (1, 2)],
    }
    database = Database(Schema({t.key: t for t in tables}, links), rows)
    database.create(con, "d")
    texts: list[str | None] = []

    def number(column: pa.ChunkedArray) -> pa.Array:
        texts.extend(column.to_pylist())
        return pa.array([1] * len(column), pa.int32())

    create_arrow_function(con, "number", number, ["VARCHAR"], "INTEGER")
    gather = replace(planned(con, database, "d", "people", 2), text_function="number")
    gather = gather.for_seeds("moments" if many_moments else "batch")
    numbered = {}
    for day in DAYS[1:3]:
        texts.clear()
        con.execute(gather.query(seeds_sql([(1, DAYS[0]), (1, day)], "INTEGER"))).fetchall()
        numbered[day] = {text.rpartition(">")[2] for text in texts if text}
    assert numbered == {DAYS[1]: {"early"}, DAYS[2]: {"early", "late"}}


def test_siblings_follow_the_hub_not_the_column_that_points_at_it(con: duckdb.DuckDBPyConnection) -> None:
    # The entity points at teams.code, the results at teams.id: equal values of the two mean nothing.
    key, time, value = Column("id", "INTEGER"), Column("time", "TIMESTAMP"), Column("value", "DOUBLE")
    tables = (
        Table("drivers", (key, Column("team_code", "INTEGER")), ("id",)),
        Table("teams", (key, Column("code", "INTEGER")), ("id",)),
        Table("results", (key, Column("team", "INTEGER"), time, value), ("id",), "time"),
    )
    links = (Link("drivers", ("team_code",), "teams", ("code",)), Link("results", ("team",), "teams", ("id",)))
    rows = {
        "drivers": [{"id": 1, "team_code": 20}, {"id": 2, "team_code": 7}],
        "teams": [{"id": 7, "code": 20}, {"id": 20, "code": 1}],
        "results": [
            {"id": 1, "team": 7, "time": DAYS[0], "value": 70.0},
            {"id": 2, "team": 20, "time": DAYS[0], "value": 200.0},
        ],
    }
    database = Database(Schema({t.key: t for t in tables}, links), rows)
    database.create(con, "d")
    gather = planned(con, database, "d", "drivers", 2)
    siblings = next(p for p in gather.plan.paths if p.kind == "siblings").name
    found = run(con, gather, [(1, DAYS[1]), (2, DAYS[1])])
    assert [row[1][2] for row in found[1, DAYS[1]][siblings]] == [70.0]
    assert not found[2, DAYS[1]][siblings]  # code 7 dangles, though a team has id 7


def test_tables_named_like_ctes_parameters_and_each_other(con: duckdb.DuckDBPyConnection) -> None:
    names = {"customers": "self", "regions": "seed", "lines": "orders_top", "notices": "orders keys"}
    names |= {"stores": "id", "visits": "as_of"}
    database = shop(**names)
    database.create(con, "d")
    gather = planned(con, database, "d", "self", 3)
    reference = Reference(database, gather.plan.paths, gather.plan.inputs)
    found = run(con, gather, ALL_SEEDS)
    assert all(found[seed] == reference.gather(seed) for seed in ALL_SEEDS)


# Laws.


def test_no_seeds_give_no_rows(con: duckdb.DuckDBPyConnection, shop_gather: Gather) -> None:
    assert run(con, shop_gather, []) == {}


def test_null_and_unknown_entities_give_one_row_of_nulls(con: duckdb.DuckDBPyConnection, shop_gather: Gather) -> None:
    for key in (None, 98):
        rows = con.execute(shop_gather.query(seeds_sql([(key, DAYS[3])], "INTEGER"))).fetchall()
        assert rows == [(key, DAYS[3], *[None] * len(shop_gather.qualified_columns()))]


def test_seeds_of_all_entities_are_the_visible_rows_that_have_a_key(
    con: duckdb.DuckDBPyConnection, shop_gather: Gather
) -> None:
    con.execute("INSERT INTO shop.customers (id) VALUES (NULL)")
    con.execute(f"INSERT INTO shop.orders (id, time) VALUES (NULL, {literal(DAYS[0])}), (77, NULL), (78, 'infinity')")
    customers, orders = (shop_gather.plan.schema.table(name) for name in ("customers", "orders"))
    found = con.execute(all_seeds_sql(customers, shop_gather.rows, literal(DAYS[1]))).fetchall()
    assert sorted(found) == [(i, DAYS[1]) for i in range(6)]
    found = con.execute(all_seeds_sql(orders, shop_gather.rows, literal(DAYS[1]))).fetchall()
    assert sorted(found) == [(i, DAYS[1]) for i in range(12) if i % 3 < 2]


def test_empty_tables_give_no_rows(con: duckdb.DuckDBPyConnection) -> None:
    full = shop()
    database = Database(full.schema, {k: v if k == "customers" else [] for k, v in full.rows.items()})
    database.create(con, "d")
    gather = planned(con, database, "d", "customers", 3)
    answer = run(con, gather, [(0, DAYS[3])])[0, DAYS[3]]
    assert {name: rows.total() for name, rows in answer.items() if rows} == {"entity": 1}


def test_the_split_into_batches_does_not_matter(con: duckdb.DuckDBPyConnection, shop_gather: Gather) -> None:
    whole = run(con, shop_gather, ALL_SEEDS)
    split = run(con, shop_gather, ALL_SEEDS[:7]) | run(con, shop_gather, ALL_SEEDS[7:])
    assert split == whole


@pytest.mark.parametrize(
    "setting", ["threads=1", "threads=4", "preserve_insertion_order=false", "TimeZone='Asia/Tokyo'"]
)
def test_settings_do_not_matter(con: duckdb.DuckDBPyConnection, shop_gather: Gather, setting: str) -> None:
    whole = run(con, shop_gather, ALL_SEEDS)
    con.execute(f"SET {setting}")
    assert run(con, shop_gather, ALL_SEEDS) == whole


def test_tables_of_the_current_database_are_not_read(con: duckdb.DuckDBPyConnection, shop_gather: Gather) -> None:
    whole = run(con, shop_gather, ALL_SEEDS)
    other = shop()
    for rows in other.rows.values():
        for row in rows:
            row["value"] += 5000.0
    other.create(con, "other")
    use_catalog(con, "other")
    assert run(con, shop_gather, ALL_SEEDS) == whole
    shop().create(con, "renamed")
    assert run(con, in_catalog(shop_gather, "renamed"), ALL_SEEDS) == whole
    assert run(con, in_catalog(shop_gather, "other"), ALL_SEEDS) != whole
