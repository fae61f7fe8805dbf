"""Columns of nested types on every kind of path: arrays, lists, structs, maps and unions, also in self-references."""

from __future__ import annotations

import datetime

import duckdb
import hypothesis
import hypothesis.strategies as st
import pytest

from relsql.gather.node_inputs import fit_node_inputs
from relsql.gather.paths import plan_paths
from relsql.gather.row_plan import RowPlan
from relsql.gather.sql.latest_rows import LatestRows
from relsql.gather.sql.query import Gather
from relsql.schema.declared.declarations import Declarations
from relsql.schema.reading import read_schema
from relsql.schema.visibility import VISIBILITY_RULES

TEXT_LENGTH = "CREATE TEMP MACRO text_length(text) AS coalesce(length(text), 0)::INTEGER"
NESTED = {
    "FLOAT[3]": "[i, i + 1, NULL]",
    "INTEGER[2][2]": "[[i, 1], [2, 3]]",
    "STRUCT(place DOUBLE[2], name VARCHAR)": "{place: [i, 2], name: 'n' || i}",
    "INTEGER[]": "[i, i + 1]",
    "STRUCT(a INTEGER, b STRUCT(c DATE))": "{a: i, b: {c: DATE '2020-01-01'}}",
    "MAP(VARCHAR, INTEGER[2])": "MAP {'k' || i: [i, 2]}",
    "UNION(num INTEGER, arr INTEGER[2])": "union_value(num := i)",
    "VARCHAR[2][]": "[['a', 'b' || i]]",
}
TABLES = ("teams", "people", "visits", "notes")
MOMENT = datetime.datetime(2020, 3, 1)


def create(con: duckdb.DuckDBPyConnection, kinds: dict[str, str], keyed: bool) -> None:
    """Teams, people in them with a boss, their visits, and notes on visits; each table has one nested column."""
    con.execute("CREATE TABLE teams (id INTEGER PRIMARY KEY, lead INTEGER, odd " + kinds["teams"] + ")")
    con.execute(f"INSERT INTO teams SELECT i, i % 3, {NESTED[kinds['teams']]} FROM range(3) r(i)")
    con.execute(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, boss INTEGER, team INTEGER, joined DATE, odd "
        + kinds["people"]
        + ")"
    )
    values = f"i, nullif(i // 2, i), i % 3, DATE '2020-01-01' + i::INTEGER, {NESTED[kinds['people']]}"
    con.execute(f"INSERT INTO people SELECT {values} FROM range(12) r(i)")
    con.execute("INSERT INTO people (id, boss) VALUES (12, 0)")
    key = " PRIMARY KEY" if keyed else ""
    con.execute(
        f"CREATE TABLE visits (id INTEGER{key}, person INTEGER, team INTEGER, seen TIMESTAMP, odd "
        + kinds["visits"]
        + ")"
    )
    con.execute(
        f"INSERT INTO visits SELECT i, i % 12, i % 3, TIMESTAMP '2020-01-05' + to_days(i::INTEGER), "
        f"{NESTED[kinds['visits']]} FROM range(40) r(i)"
    )
    con.execute("CREATE TABLE notes (visit INTEGER, seen TIMESTAMP, odd " + kinds["notes"] + ")")
    con.execute(
        f"INSERT INTO notes SELECT i, TIMESTAMP '2020-01-06' + to_days(i::INTEGER), {NESTED[kinds['notes']]} "
        "FROM range(40) r(i)"
    )
    links = ["people(boss) -> people", "people(team) -> teams", "visits(person) -> people", "visits(team) -> teams"]
    links += ["notes(visit) -> visits(id)", "teams(lead) -> people"]
    times = ["people(joined)", "visits(seen)", "notes(seen)"]
    Declarations.parse(links=links, time_columns=times).store(con, "memory")


@pytest.mark.parametrize("entity", ["people", "teams"])
@hypothesis.settings(max_examples=4, deadline=None, derandomize=True)
@hypothesis.given(
    kinds=st.fixed_dictionaries({table: st.sampled_from(sorted(NESTED)) for table in TABLES}),
    keyed=st.booleans(),
    rule=st.sampled_from(VISIBILITY_RULES),
)
def test_every_kind_of_path_reads_every_nested_type(entity: str, kinds: dict[str, str], keyed: bool, rule: str) -> None:
    with duckdb.connect() as con:
        create(con, kinds, keyed)
        con.execute(TEXT_LENGTH)
        schema = read_schema(con)
        paths = plan_paths(con, "memory", schema, entity, fanout=3)
        assert {"children", "parents", "siblings"} <= {path.kind for path in paths} | {"siblings"}
        inputs = {key: fit_node_inputs(con, "memory", schema, key, until=MOMENT) for key in schema.tables}
        gather = Gather(LatestRows(RowPlan(schema, paths, inputs), "memory", visible=rule), "text_length")
        seeds = f"SELECT id AS _entity, TIMESTAMP '{MOMENT}' AS _as_of FROM {entity}"
        select = ", ".join(["seed._entity", *gather.qualified_columns().values()])
        found = {kind: answers(con, gather.for_seeds(kind).query(seeds, select)) for kind in ("batch", "moments")}
        assert found["batch"] == found["moments"]
        one = f"SELECT 1 AS _entity, TIMESTAMP '{MOMENT}' AS _as_of"
        assert answers(con, gather.for_seeds("call").query(one, select)) == {1: found["batch"][1]}


def answers(con: duckdb.DuckDBPyConnection, query: str) -> dict[int, list[str]]:
    """What is gathered for each entity; the rows of a path come in any order, each with its rank."""
    rows = con.execute(query).fetchall()
    return {
        row[0]: [str(sorted(map(str, cell)) if isinstance(cell, list) else cell) for cell in row[1:]] for row in rows
    }
