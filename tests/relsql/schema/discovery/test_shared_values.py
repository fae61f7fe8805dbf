"""Tests of relsql.schema.discovery.shared_values: entities that no table lists."""

from __future__ import annotations

import shlex
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from relsql.cli import cli
from relsql.schema.discovery.propose import infer_schema
from relsql.schema.reading import read_schema

TEAMS = "['Ajax', 'Boca', 'Celtic', 'Kiel', 'Lyon', 'Metz']"
GAMES = f"""
    CREATE TABLE games AS SELECT i AS game_id, DATE '2024-01-01' + i::INTEGER AS day, {TEAMS}[1 + i % 6] AS home_team,
        {TEAMS}[1 + (i + 1 + i % 5) % 6] AS away_team, ['a', 'b', 'c', 'd', 'e'][1 + i % 5] AS status,
        'report ' || i AS report_text FROM range(200) r(i);
    CREATE TABLE goals AS SELECT i // 2 AS game_id, {TEAMS}[1 + i % 6] AS team,
        ['u', 'v', 'w', 'x', 'y', 'z'][1 + i % 6] AS status, 'u' || i % 8 AS visiting_team FROM range(400) r(i);
"""


def test_columns_that_hold_the_same_names_are_an_entity(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(GAMES)
    [found] = infer_schema(con).entities
    assert found.declaration == "teams=games(home_team),games(away_team),goals(team)"


@pytest.mark.parametrize(
    "statement",
    [
        f"CREATE TABLE teams AS SELECT unnest({TEAMS}) AS team, 1 AS n",
        "ALTER TABLE games DROP home_team; ALTER TABLE games DROP away_team",
        "UPDATE games SET home_team = home_team || game_id; UPDATE games SET away_team = away_team || game_id; "
        "UPDATE goals SET team = 'no ' || team",
        "UPDATE games SET home_team = 1990 + game_id % 20, away_team = 1990 + game_id % 20; "
        "ALTER TABLE games RENAME home_team TO home_year; ALTER TABLE games RENAME away_team TO away_year; "
        "ALTER TABLE goals DROP team",
    ],
    ids=["a table lists them", "one column", "other names", "years"],
)
def test_other_columns_are_none(con: duckdb.DuckDBPyConnection, statement: str) -> None:
    con.execute(GAMES + statement)
    assert infer_schema(con).entities == ()


def test_ids_that_no_table_lists_are_an_entity(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """CREATE TABLE movies AS SELECT i AS movieId, 'Movie ' || i AS title FROM range(80) r(i);
           CREATE TABLE ratings AS SELECT i % 50 AS userId, i * 7 % 80 AS movieId, i % 5 AS stars, i % 4 AS kind_id
               FROM range(900) r(i);
           CREATE TABLE tags AS SELECT i % 25 AS userId, i * 3 % 80 AS movieId, 'tag' || i AS tag FROM range(40) r(i)"""
    )
    [found] = infer_schema(con).entities
    assert found.declaration == "users=ratings(userId),tags(userId)"
    con.execute("CREATE TABLE users AS SELECT i AS userId, 'name ' || i AS name FROM range(50) r(i)")
    assert infer_schema(con).entities == ()


def test_the_hint_of_init_can_be_run_and_is_not_stored(tmp_path: Path) -> None:
    path = tmp_path / "league.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute(GAMES)
    shown = CliRunner().invoke(cli, ["init", str(path), "--yes"]).stderr
    with duckdb.connect(str(path)) as con:
        assert "teams" not in read_schema(con).tables
    options = shlex.split(shown.partition("to ask about them: relsql ")[2].splitlines()[0])
    done = CliRunner().invoke(cli, options)
    assert done.exit_code == 0 and "hint:" not in done.stderr
    with duckdb.connect(str(path)) as con:
        assert read_schema(con).table("teams").primary_key == ("team",)


def test_a_hint_that_was_not_taken_is_shown_again_on_demand_only(tmp_path: Path) -> None:
    path = tmp_path / "league.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute(GAMES)
    shown = [CliRunner().invoke(cli, ["init", str(path), *options]).stderr for options in (["--yes"], [], ["-v"])]
    assert ["hint:" in text for text in shown] == [True, False, True]


def test_codes_of_a_table_without_links_are_an_entity(con: duckdb.DuckDBPyConnection) -> None:
    """Numbers as text are measures, and codes of a linked table need no hint: questions have another entity there."""
    inspections = """
        CREATE TABLE inspections AS SELECT DATE '2024-01-01' + (i // 40)::INTEGER AS day, (3000700 + i % 40) AS nr,
            (3000700 + i % 40)::VARCHAR AS "CAMIS", CASE WHEN i % 9 = 0 THEN 'NA' ELSE (i % 25)::VARCHAR END AS points,
            CASE WHEN i % 8 = 0 THEN 'NA' ELSE (i % 25)::VARCHAR END AS old_points FROM range(800) r(i);"""
    con.execute(inspections)
    assert [found.declaration for found in infer_schema(con).entities] == ["camiss=inspections(CAMIS)"]
    con.execute("CREATE TABLE places AS SELECT 3000700 + i AS place_nr, 'place ' || i AS name FROM range(40) r(i)")
    con.execute("ALTER TABLE inspections RENAME nr TO place_nr")
    assert infer_schema(con).entities == ()
