"""The gather query against a brute-force reference in plain Python, and the laws it keeps."""

from __future__ import annotations

import datetime
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path as File
from typing import Any, cast

import duckdb
import pyarrow as pa
import pytest

from relsql.database.connections import use_catalog
from relsql.gather.node_inputs import CategoryInput, NodeInputs, NumberInput
from relsql.gather.paths import plan_paths
from relsql.gather.row_plan import RowPlan
from relsql.gather.sql.latest_rows import LatestRows
from relsql.gather.sql.query import Gather
from relsql.gather.sql.seeds import all_seeds_sql
from relsql.schema.indexes import Indexed
from relsql.schema.tables import Column, Link, Schema, Table
from relsql.schema.times.events import event_times_sql, latest_event_sql
from relsql.schema.visibility import VISIBILITY_RULES, VisibilityRule
from relsql.sql import ident, literal
from relsql.sql_layout import readable
from tests.relsql.gather.sql.reference import Answer, Database, Delayed, Gathered, Reference, Row, Seed, rounded
from udfs.functions import create_arrow_function

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

FIXTURES = File(__file__).parents[3] / "fixtures" / "gather"
DAYS = [datetime.datetime(2020, 1, day) for day in (1, 2, 3, 4)]
MICROSECOND = datetime.timedelta(microseconds=1)
LETTERS = ("a", "b", "c")

# What the query answers, in the reference's form.

TEXT_LENGTH = "CREATE OR REPLACE TEMP MACRO text_length(text) AS coalesce(length(text), 0)::INTEGER"


def gathered(column: list[dict[str, Any]] | None) -> Counter[Gathered]:
    rows = Counter[Gathered]()
    for row in column or []:
        numbers = [v for k, v in row.items() if k.startswith("n")]
        codes = [v for k, v in row.items() if k.startswith("c")]
        rows[(row["rank"], tuple(map(rounded, numbers)), tuple(codes))] += 1
    return rows


def seeds_sql(seeds: list[Seed], key_type: str) -> str:
    if not seeds:
        return f"SELECT CAST(NULL AS {key_type}) AS _entity, CAST(NULL AS TIMESTAMP) AS _as_of WHERE false"
    values = ", ".join(f"(CAST({literal(key)} AS {key_type}), {literal(as_of)})" for key, as_of in seeds)
    return f"SELECT * FROM (VALUES {values}) seeds(_entity, _as_of)"


def run(con: duckdb.DuckDBPyConnection, gather: Gather, seeds: list[Seed]) -> dict[Seed, Answer]:
    con.execute(TEXT_LENGTH)
    entity = gather.plan.schema.table(gather.plan.paths[0].table)
    key_type = entity.column(entity.primary_key[0]).type
    rows = con.execute(gather.query(seeds_sql(seeds, key_type))).fetchall()
    assert len(rows) == len(seeds)
    return {(row[0], row[1]): answer(gather, row[1 + len(gather.rows.moments) :]) for row in rows}


def in_catalog(gather: Gather, catalog: str) -> Gather:
    return replace(gather, rows=replace(gather.rows, catalog=catalog))


def run_delayed(con: duckdb.DuckDBPyConnection, gather: Gather, seeds: list[Delayed]) -> dict[Delayed, Answer]:
    con.execute(TEXT_LENGTH)
    values = ", ".join(f"({', '.join(map(literal, seed))})" for seed in seeds)
    seed = f"SELECT * FROM (VALUES {values}) seeds(_entity, _as_of, _until)"
    rows = con.execute(gather.for_seeds(gather.rows.seed_kind, delayed=True).query(seed)).fetchall()
    assert len(rows) == len(seeds)
    return {(row[0], row[1], row[2]): answer(gather, row[3:]) for row in rows}


def answer(gather: Gather, values: tuple[Any, ...]) -> Answer:
    found = dict(zip(gather.qualified_columns(), values, strict=True))
    counts = {name: value and tuple(value.values()) for name, value in found.items() if "__" in name}
    return {path.name: gathered(found[path.name]) for path in gather.plan.paths} | counts


def inputs_of(schema: Schema) -> dict[str, NodeInputs]:
    inputs = {}
    for key, table in schema.tables.items():
        ages = (NumberInput(table.time_column, "age"),) if table.time_column else ()
        names = table.column_names
        number = tuple(NumberInput(n, "number") for n in names if n.endswith("value"))
        letter = tuple(n for n in names if n.endswith("letter"))
        inputs[key] = NodeInputs(key, (*ages, *number), tuple(CategoryInput(n, ("a", "b")) for n in letter), letter)
    return inputs


def planned(
    con: duckdb.DuckDBPyConnection,
    database: Database,
    catalog: str,
    entity: str,
    fanout: int,
    horizon: float = 1.0,
    *,
    data_age: bool = False,
) -> Gather:
    paths = plan_paths(con, catalog, database.schema, entity, fanout=fanout, horizon_days=horizon)
    paths = (replace(paths[0], data_age=data_age), *paths[1:])
    return Gather(LatestRows(RowPlan(database.schema, paths, inputs_of(database.schema)), catalog), "text_length")


# Random databases.

ODD_NAMES = (
    "results", "results_top", "results top", "seed", "self", "entity", "select", "Größe", "表", 'a"b', "a'b", "r",
    "p0", "hubs", "latest", "counts", "until", "key", "rank", "2020", "line\nbreak", "as_of", "id", "_entity", "x" * 70,
)  # fmt: skip
ODD_COLUMNS = (
    "_entity", "_as_of", "_until", "r", "key", "rank", "top", "counts", "w0", "hub0", "self.x", "ORDER", "seed", "t",
    "k0", "rowid",
)  # fmt: skip


@st.composite
def databases(draw: Any) -> tuple[Database, str]:
    names = draw(st.lists(st.sampled_from(ODD_NAMES), min_size=2, max_size=4, unique_by=str.lower))
    tables: dict[str, Table] = {}
    links: list[Link] = []
    odd = {name: draw(st.sampled_from(ODD_COLUMNS)) for name in names}
    kinds = {name: draw(st.sampled_from(["one", "one", "two", "none"])) for name in names}
    kinds[names[0]] = "one"
    timed = {name: draw(st.booleans()) for name in names}
    keys = {"one": ("pk",), "two": ("pk", "pk 2"), "none": ()}
    for name in names:
        columns = [
            Column("pk", "INTEGER"),
            Column("pk 2", "INTEGER"),
            Column("u", draw(st.sampled_from(["INTEGER", "INTEGER", "DOUBLE"]))),
            Column("value", "DOUBLE"),
        ]
        columns += [Column("letter", "VARCHAR")]
        # A column that only its name makes dangerous; as `rowid` it would hide the key of a table without one.
        columns += [] if odd[name] == "rowid" and kinds[name] == "none" else [Column(odd[name], "INTEGER")]
        columns += [Column("time", "TIMESTAMP")] if timed[name] else []
        pairs = draw(st.lists(st.sampled_from([names[0], *names]), max_size=3))
        for i, parent in enumerate(pairs):
            # Links point at the primary key, or at another unique column.
            target = keys[kinds[parent]] if kinds[parent] != "none" and draw(st.integers(0, 3)) else ("u",)
            own = tuple(f"fk{i} {j}" for j in range(len(target)))
            # pandas makes DOUBLE of integers where some are missing.
            columns += [Column(c, draw(st.sampled_from(["INTEGER", "INTEGER", "DOUBLE"]))) for c in own]
            links.append(Link(name, own, parent, target))
        tables[name] = Table(name, tuple(columns), keys[kinds[name]], "time" if timed[name] else None)
    rows = {name: draw(_rows(tables[name])) for name in names}
    return Database(Schema(tables, tuple(links)), rows), names[0]


@st.composite
def _rows(draw: Any, table: Table) -> list[Row]:
    count = draw(st.integers(0, 7))
    keys = draw(st.permutations(range(count)))
    rows = []
    for i, key in enumerate(keys):
        row: Row = dict.fromkeys(table.column_names)
        for name in table.column_names:
            # Foreign keys: NULL, existing and dangling ones.
            row[name] = draw(st.sampled_from([None, 0, 0, 1, 1, 2, 3, 99]))
        row |= {
            # Of a key of two columns only the pair is unique.
            "pk": key // len(table.primary_key or "1"),
            "pk 2": key % 2,
            "u": key,
            "value": draw(st.sampled_from([None, float(i), 0.5])),
            "letter": draw(st.sampled_from([None, *LETTERS])),
        }
        for name in table.column_names:
            if name.endswith(" 1"):
                row[name] = draw(st.sampled_from([None, 0, 1, 1]))
        if table.time_column:
            row["time"] = draw(st.sampled_from([None, *DAYS[:3]]))
        rows.append(row)
    return rows


AS_OFS = [DAYS[0] - MICROSECOND, DAYS[0], DAYS[1] - MICROSECOND, DAYS[1], DAYS[3]]
ALL_SEEDS: list[Seed] = [(key, as_of) for key in (0, 1, 2, 98) for as_of in AS_OFS]
ALL_DELAYED: list[Delayed] = [(*seed, until) for seed in ALL_SEEDS for until in AS_OFS if until <= seed[1]]


def random_examples(share: float) -> Any:
    return hypothesis.settings(
        max_examples=max(1, round(share * int(os.environ.get("RELSQL_GATHER_EXAMPLES", "40")))),
        deadline=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


@random_examples(1.0)
@hypothesis.given(
    databases(),
    st.integers(1, 3),
    st.sampled_from([0.5, 1.0, 400.0]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(VISIBILITY_RULES),
)
def test_random_databases_give_what_the_reference_gives(
    drawn: tuple[Database, str],
    fanout: int,
    horizon: float,
    data_age: bool,
    many_moments: bool,
    rule: VisibilityRule,
) -> None:
    database, entity = drawn
    with duckdb.connect() as con:
        database.create(con, "da\"ta' base")
        database.create(con, "reversed", reverse_keyed=True)
        gather = planned(con, database, "da\"ta' base", entity, fanout, horizon, data_age=data_age)
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
@hypothesis.given(databases(), st.booleans())
def test_delayed_seeds_see_the_database_as_it_was(drawn: tuple[Database, str], many_moments: bool) -> None:
    database, entity = drawn
    with duckdb.connect() as con:
        database.create(con, "whole")
        gather = planned(con, database, "whole", entity, 2, data_age=True)
        gather = gather.for_seeds("moments" if many_moments else "batch")
        found = run_delayed(con, gather, ALL_DELAYED)
        for i, until in enumerate(AS_OFS):
            database.ended(until).create(con, f"ended {i}")
            asked = [seed for seed in ALL_SEEDS if until <= seed[1]]
            expected = run(con, in_catalog(gather, f"ended {i}"), asked)
            assert {seed: found[(*seed, until)] for seed in asked} == expected


# One database with every kind of path.


def shop(**names: str) -> Database:
    """customers -> regions, orders -> customers and stores, lines -> orders; stores have visits."""
    t = {n: names.get(n, n) for n in ("customers", "regions", "orders", "stores", "lines", "notices", "visits")}
    value = (Column("value", "DOUBLE"), Column("letter", "VARCHAR"))
    time = (Column("time", "TIMESTAMP"),)

    def table(name: str, *columns: str, key: tuple[str, ...] = ("id",), timed: bool = False) -> Table:
        named = tuple(Column(c, "INTEGER") for c in columns)
        return Table(t[name], (*named, *value, *(time if timed else ())), key, "time" if timed else None)

    tables = [
        table("customers", "id", "region"),
        table("regions", "id"),
        table("orders", "id", "customer", "store", timed=True),
        table("stores", "id"),
        table("lines", "order", "line", key=("order", "line"), timed=True),
        table("notices", "region", key=(), timed=True),
        table("visits", "store", key=(), timed=True),
    ]
    links = (
        Link(t["customers"], ("region",), t["regions"], ("id",)),
        Link(t["orders"], ("customer",), t["customers"], ("id",)),
        Link(t["orders"], ("store",), t["stores"], ("id",)),
        Link(t["lines"], ("order",), t["orders"], ("id",)),
        Link(t["notices"], ("region",), t["regions"], ("id",)),
        Link(t["visits"], ("store",), t["stores"], ("id",)),
    )
    numbers = iter(range(1000))

    def row(**values: Any) -> Row:
        number = next(numbers)
        return {"value": float(number), "letter": (None, "a", "b", "c")[number % 4], **values}

    rows = {
        t["customers"]: [row(id=i, region=i % 2 if i < 4 else None) for i in range(6)],
        t["regions"]: [row(id=0)],
        t["orders"]: [row(id=i, customer=i % 3, store=i % 4, time=DAYS[i % 3]) for i in range(12)],
        t["stores"]: [row(id=i) for i in range(3)],
        t["lines"]: [row(order=i // 2, line=i % 2, time=DAYS[i % 4]) for i in range(30)],
        t["notices"]: [row(region=i % 2, time=DAYS[i % 4]) for i in range(8)],
        t["visits"]: [row(store=i % 4, time=DAYS[i % 4]) for i in range(20)],
    }
    return Database(Schema({x.key: x for x in tables}, links), rows)


@pytest.fixture
def shop_gather(con: duckdb.DuckDBPyConnection) -> Gather:
    database = shop()
    database.create(con, "shop")
    con.execute(TEXT_LENGTH)
    return planned(con, database, "shop", "customers", 3)


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


# The same query as a correlated scalar macro.

MACRO_SEED = "SELECT id AS _entity, CAST(as_of AS TIMESTAMP) AS _as_of"
INNER_NAMES = (
    "_entity", "_as_of", "r", "seed", "self", "p0", "key", "rank", "id", "as_of", "c", "h", "hubs", "top", "counts",
)  # fmt: skip


def every_column(gather: Gather) -> Indexed:
    """All columns: the SQL is then as if each had an index."""
    return frozenset((key, column.name) for key, table in gather.plan.schema.tables.items() for column in table.columns)


def order_independent(name: str, column: str) -> str:
    """One text of a gathered column; unlike a list it can be compared, sorted and stored."""
    if "__" in name:
        return f"CAST({column} AS VARCHAR)"
    return f"array_to_string(list_sort(list_transform({column}, lambda x: CAST(x AS VARCHAR))), ';')"


@pytest.fixture
def macro(con: duckdb.DuckDBPyConnection, shop_gather: Gather) -> dict[tuple[int, datetime.datetime], str]:
    """Macro `f(id, as_of)`, and what the batch form answers for each seed."""
    texts = [order_independent(name, column) for name, column in shop_gather.qualified_columns().items()]
    select = f"concat_ws('|', {', '.join(texts)})"
    call = shop_gather.for_seeds("call", indexed=every_column(shop_gather))
    con.execute(f"CREATE MACRO f(id, as_of) AS ({call.query(MACRO_SEED, select)})")
    seeds: list[Seed] = [(key, as_of) for key in range(6) for as_of in (DAYS[0], DAYS[2])]
    con.execute(TEXT_LENGTH)
    query = shop_gather.query(seeds_sql(seeds, "INTEGER"), f"seed._entity, seed._as_of, {select}")
    batch = {(row[0], row[1]): row[2] for row in con.execute(query).fetchall()}
    assert len(set(batch.values())) > 4
    for name in INNER_NAMES:
        con.execute(f"CREATE TABLE {ident('t ' + name)} ({ident(name)} INTEGER, moment TIMESTAMP, answer VARCHAR)")
        con.executemany(f"INSERT INTO {ident('t ' + name)} VALUES (?, ?, NULL)", [list(seed) for seed in seeds])
    return batch


@pytest.mark.parametrize("name", INNER_NAMES)
def test_macro_arguments_named_like_inner_names(
    con: duckdb.DuckDBPyConnection, macro: dict[tuple[int, datetime.datetime], str], name: str
) -> None:
    table, column = ident("t " + name), ident(name)
    answers = {
        (k, t): a for k, t, a in con.execute(f"SELECT {column}, moment, f({column}, moment) FROM {table}").fetchall()
    }
    assert answers == macro
    # The table under the inner alias, too; the argument as an expression.
    query = f"SELECT {column}, moment, f({column} + 0, moment) FROM {table} AS {column}"
    assert {(k, t): a for k, t, a in con.execute(query).fetchall()} == macro


def test_macro_in_where_join_order_by_and_update(
    con: duckdb.DuckDBPyConnection, macro: dict[tuple[int, datetime.datetime], str]
) -> None:
    wanted = macro[2, DAYS[2]]
    matching = sorted(seed for seed, answer in macro.items() if answer == wanted)
    query = 'SELECT key, moment FROM "t key" WHERE f(key, moment) = ? ORDER BY ALL'
    assert con.execute(query, [wanted]).fetchall() == matching
    query = 'SELECT a.key, a.moment FROM "t key" a JOIN (SELECT ? AS w) b ON f(a.key, a.moment) = b.w ORDER BY ALL'
    assert con.execute(query, [wanted]).fetchall() == matching
    ordered = con.execute('SELECT key, moment FROM "t key" ORDER BY f(key, moment), key, moment').fetchall()
    assert ordered == sorted(macro, key=lambda seed: (macro[seed], *seed))
    con.execute('UPDATE "t key" SET answer = f(key, moment)')
    assert {(k, t): a for k, t, a in con.execute('SELECT * FROM "t key"').fetchall()} == macro


def test_macro_with_subqueries_and_constants_as_arguments(
    con: duckdb.DuckDBPyConnection, macro: dict[tuple[int, datetime.datetime], str]
) -> None:
    query = "SELECT f((SELECT max(id) - 3 FROM shop.main.customers), (SELECT TIMESTAMP '2020-01-03'))"
    assert con.execute(query).fetchall() == [(macro[2, DAYS[2]],)]
    assert con.execute("SELECT f(2, '2020-01-03'), f(2, DATE '2020-01-03')").fetchall() == [(macro[2, DAYS[2]],) * 2]


# The generated SQL, as text. Rewrite the files with
# RELSQL_UPDATE_FIXTURES=1 pytest tests/relsql/gather/sql/test_query.py -k on_file

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


def test_latest_event_is_the_greatest_time_of_timed_tables(con: duckdb.DuckDBPyConnection) -> None:
    database = shop()
    database.create(con, "shop")

    def latest(*tables: str) -> datetime.datetime | None:
        query = latest_event_sql(map(database.schema.table, tables), lambda table: table.sql("shop"))
        [(found,)] = con.execute(query).fetchall()
        return cast("datetime.datetime | None", found)

    assert latest("customers", "orders", "lines", "orders") == DAYS[3]
    assert latest("orders") == DAYS[2]
    assert latest("stores") is None
    con.execute("UPDATE shop.orders SET time = 'infinity' WHERE id = 5")
    assert latest("orders") == DAYS[2]
    con.execute("UPDATE shop.orders SET time = '-infinity'")
    assert latest("orders") is None
    con.execute("DELETE FROM shop.orders")
    assert latest("orders") is None


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMPTZ"])
def test_latest_event_of_every_type_of_time(con: duckdb.DuckDBPyConnection, kind: str) -> None:
    con.execute(f"SET TimeZone = 'Asia/Tokyo'; CREATE TABLE events (t {kind})")
    [(name,)] = con.execute("SELECT data_type FROM duckdb_columns() WHERE table_name = 'events'").fetchall()
    table = Table("events", (Column("t", name),), (), "t")

    def check(expected: str | None) -> None:
        latest = latest_event_sql([table], lambda table: table.sql())
        every = event_times_sql([table], lambda table: table.sql())
        found = f"SELECT CAST(({latest}) AS VARCHAR), CAST((SELECT max(t) FROM ({every})) AS VARCHAR)"
        assert con.execute(found).fetchall() == [(expected, expected)]

    check(None)
    con.execute("INSERT INTO events VALUES (NULL), ('-infinity'), ('infinity')")
    check(None)
    con.execute("INSERT INTO events VALUES ('1969-12-30'), ('1844-03-15')")
    hours_before = "1969-12-29 15:00:00" if kind == "TIMESTAMPTZ" else "1969-12-30 00:00:00"
    check(hours_before)
    if kind == "DATE":
        con.execute("INSERT INTO events VALUES ('294247-01-11')")
        check(hours_before)
        con.execute("INSERT INTO events VALUES ('294247-01-10')")
        check("294247-01-10 00:00:00")
