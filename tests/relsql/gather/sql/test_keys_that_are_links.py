"""Entities whose key, or a part of it, is a foreign key: a one-to-one table, a line of an order, a member of a club."""

from __future__ import annotations

import datetime
from typing import Any

import duckdb
import pytest

from relsql.gather.node_inputs import fit_node_inputs
from relsql.gather.paths import plan_paths
from relsql.gather.row_plan import RowPlan
from relsql.gather.sql.latest_rows import LatestRows, SeedKind
from relsql.gather.sql.query import Gather
from relsql.gather.sql.seeds import all_seeds_sql, call_parameters, call_seed_sql
from relsql.schema.declared.declare import declare_table
from relsql.schema.entity_keys import entity_parameters
from relsql.schema.reading import read_schema

TABLES = """
    CREATE TABLE people (person INTEGER PRIMARY KEY, height DOUBLE);
    INSERT INTO people VALUES (1, 150), (2, 160), (3, 170);
    CREATE TABLE visits (visit INTEGER PRIMARY KEY, person INTEGER REFERENCES people (person), day DATE, cost DOUBLE);
    INSERT INTO visits VALUES (1, 1, '2020-01-01', 30), (2, 1, '2020-01-02', 10), (3, 2, '2020-01-03', 20);
    CREATE TABLE clubs (club VARCHAR PRIMARY KEY, size DOUBLE);
    INSERT INTO clubs VALUES ('x', 7), ('y', 8);"""

PASSPORTS = """
    CREATE TABLE passports (person INTEGER PRIMARY KEY REFERENCES people (person), pages DOUBLE);
    INSERT INTO passports VALUES (1, 32), (2, 48);"""

MEMBERS = """
    CREATE TABLE members (club VARCHAR REFERENCES clubs (club), person INTEGER REFERENCES people (person), fee DOUBLE,
        PRIMARY KEY (club, person));
    INSERT INTO members VALUES ('x', 1, 5), ('x', 2, 6), ('y', 1, 7);
    CREATE TABLE payments (payment INTEGER PRIMARY KEY, club VARCHAR, person INTEGER, paid DATE, amount DOUBLE,
        FOREIGN KEY (club, person) REFERENCES members (club, person));
    INSERT INTO payments
    VALUES (1, 'x', 1, '2020-01-02', 100), (2, 'x', 2, '2020-01-02', 200), (3, 'y', 1, '2020-02-09', 150);
    """
MOMENT = "TIMESTAMP '2020-01-02 12:00:00'"


def amounts(
    con: duckdb.DuckDBPyConnection, entity: str, kind: SeedKind
) -> dict[tuple[Any, ...], dict[str, list[float]]]:
    """The last number of every row that is gathered, by entity and path."""
    declare_table(con, "memory", "visits", time_column="day")
    if entity == "members":
        declare_table(con, "memory", "payments", time_column="paid")
    schema = read_schema(con, "memory")
    paths = plan_paths(con, "memory", schema, entity)
    until = datetime.datetime(2021, 1, 1)
    inputs = {key: fit_node_inputs(con, "memory", schema, key, until=until) for key in schema.tables}
    gather = Gather(LatestRows(RowPlan(schema, paths, inputs), "memory"), "length").for_seeds(kind)
    table, names = schema.table(entity), [path.name for path in paths]
    fields = ", ".join(f"{name}: {column}" for name, column in gather.qualified_columns().items())
    keys = ", ".join(table.primary_key)
    if kind == "call":
        body = gather.query(call_seed_sql(table, gather.rows), select=f"{{{fields}}} AS found")
        con.execute(f"CREATE MACRO f({call_parameters(table)}) AS ({body})")
        query = f"SELECT {keys}, f({keys}, as_of := {MOMENT}) FROM {entity}"
    else:
        seeds = all_seeds_sql(table, gather.rows, MOMENT)
        key = "_entity" if len(table.primary_key) == 1 else "unnest(_entity)"
        query = f"SELECT {key}, found FROM ({gather.query(seeds, select=f'seed._entity, {{{fields}}} AS found')})"
    return {
        tuple(key): {name: _numbers(found[name]) for name in names} for *key, found in con.execute(query).fetchall()
    }


def _numbers(rows: list[dict[str, Any]] | None) -> list[float]:
    return [list(row.values())[-1] for row in sorted(rows or [], key=lambda row: row["rank"])]


@pytest.mark.parametrize("kind", ["batch", "call", "moments"])
def test_the_parents_of_a_one_to_one_table(con: duckdb.DuckDBPyConnection, kind: SeedKind) -> None:
    con.execute(TABLES + PASSPORTS)
    found = amounts(con, "passports", kind)
    assert found[1,]["entity"] == [32]
    assert found[1,]["people"] == [150]
    assert found[1,]["people_visits"] == [10, 30]
    assert found[2,]["people_visits"] == []


@pytest.mark.parametrize("kind", ["batch", "call", "moments"])
def test_the_parents_and_the_children_of_a_key_made_of_links(con: duckdb.DuckDBPyConnection, kind: SeedKind) -> None:
    con.execute(TABLES + MEMBERS)
    found = amounts(con, "members", kind)
    assert found.keys() == {("x", 1), ("x", 2), ("y", 1)}
    assert found["x", 2]["clubs"] == [7]
    assert found["x", 2]["people"] == [160]
    assert found["x", 2]["payments"] == [200]
    assert found["y", 1]["payments"] == []
    assert found["y", 1]["people_visits"] == [10, 30]


def test_parameters_are_not_named_like_columns(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(TABLES + MEMBERS)
    schema = read_schema(con, "memory")
    assert entity_parameters(schema.table("members")) == ("id1", "id2")
    assert entity_parameters(schema.table("people")) == ("id",)
