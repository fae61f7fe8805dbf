"""A schema is declared again for the same tables elsewhere, and reads there as it did."""

from __future__ import annotations

from pathlib import Path

import duckdb

from relsql.database.connections import transaction
from relsql.schema.declared.declarations import Declarations
from relsql.schema.declared.restate import restate, stored_tables
from relsql.schema.reading import read_schema
from relsql.schema.tables import Link, Schema, Table

TABLES = """
    CREATE SCHEMA staging;
    CREATE TABLE leagues (league_id INTEGER, name VARCHAR);
    CREATE TABLE games (game_id INTEGER, league_id INTEGER, home VARCHAR, away VARCHAR, day DATE, hour INTEGER);
    CREATE TABLE goals (goal_id INTEGER, game_id INTEGER, team VARCHAR, seen TIMESTAMP);
    CREATE TABLE staging."odd names" ("a, b" INTEGER, goal_id INTEGER);
"""
DECLARED = Declarations.parse(
    primary_keys=["leagues(league_id)", "games(game_id)", "goals(goal_id)"],
    entities=["teams=games(home),games(away)"],
    links=["games(league_id) -> leagues", "goals(game_id) -> games", 'staging."odd names"(goal_id) -> goals'],
    time_columns=["games(day + to_hours(hour))", "goals(games)"],
    known_columns=["goals(seen)"],
)


def as_read(schema: Schema) -> tuple[dict[str, Table], set[Link]]:
    return schema.tables, set(schema.links)


def test_a_schema_reads_as_it_did_where_it_was_declared(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "first.duckdb")) as con:
        con.execute(TABLES)
        DECLARED.store(con, "first")
        schema = read_schema(con, "first")
    goals, teams = schema.tables["goals"], schema.tables["teams"]
    assert goals.row_time and goals.row_time.header and goals.row_time.known and teams.values_of
    with duckdb.connect(str(tmp_path / "other.duckdb")) as other:
        other.execute(TABLES)
        with transaction(other):
            restate(other, "other", schema)
        assert as_read(read_schema(other, "other")) == as_read(schema)


def test_tables_that_others_take_their_times_and_values_from_are_needed(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "first.duckdb")) as con:
        con.execute(TABLES)
        DECLARED.store(con, "first")
        schema = read_schema(con, "first")
    for part, needed in ((["goals"], {"goals", "games"}), (["teams"], {"games"}), (["leagues"], {"leagues"})):
        tables = {key: schema.tables[key] for key in part}
        assert stored_tables(Schema(tables)).keys() == needed
