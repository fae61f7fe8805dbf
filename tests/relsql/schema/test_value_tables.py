"""Tests of relsql.schema.value_tables: entities that are only values of columns."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from relsql.errors import SchemaError
from relsql.publishing.publish import publish
from relsql.schema.checks import check_schema
from relsql.schema.declared.declarations import Declarations
from relsql.schema.discovery.propose import apply_proposal, infer_schema
from relsql.schema.reading import read_schema
from relsql.schema.relations import relation_sql
from relsql.tasks.task import Task
from relsql.training.train import train
from tests.shop import QUICK
from udfs.attach import attach

GAMES = """
    CREATE TABLE games AS
    SELECT DATE '2020-01-01' + (i * 3)::INTEGER AS played, chr((65 + i % 7)::INTEGER) AS home_team,
        chr((65 + (i * 5 + 2) % 9)::INTEGER) AS away_team,
        (hash(i) % 4)::INTEGER AS home_score, (hash(i, 1) % 4)::INTEGER AS away_score
    FROM range(400) r(i);
    INSERT INTO games VALUES (DATE '2020-01-01', NULL, 'A', 0, 0);
"""
TASK = Task(
    name="wins",
    task_type="binary_classification",
    entity_table="Teams",
    entity_col="team",
    target_col="won",
    time_col="timestamp",
    timedelta="60 days",
    num_eval_timestamps=2,
    sql="""
        SELECT t.timestamp, m.team, (count(*) FILTER (WHERE g.home_score > g.away_score) >= 2)::BIGINT AS won
        FROM timestamps t CROSS JOIN teams m
        LEFT JOIN games g ON g.home_team = m.team AND g.played > t.timestamp
          AND g.played <= t.timestamp + INTERVAL '60 days'
        GROUP BY ALL""",
)


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        con.execute(GAMES)
        declared = Declarations.parse(
            entities=["teams=games(home_team),games(AWAY_TEAM)"], time_columns=["games(played)"]
        )
        assert declared.store(con, "memory")[0] == (
            "teams(team) is the entity whose rows are the values of games(home_team), games(away_team)"
        )
        yield con


def test_other_links_to_it_are_stored_and_read(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "CREATE TABLE goals AS SELECT played, home_team AS team, 'name ' || i % 9 AS scorer FROM games, range(2) r(i)"
    )
    con.execute(
        "CREATE TABLE trainers AS SELECT DISTINCT home_team AS team, 'trainer of ' || home_team AS name FROM games"
    )
    apply_proposal(con, "memory", infer_schema(con).split()[0])
    Declarations.parse(links=["trainers(team) -> Teams"]).store(con, "memory")
    read = {str(link) for link in read_schema(con).links}
    assert {"goals(team) -> teams(team)", "trainers(team) -> teams(team)", "games(home_team) -> teams(team)"} <= read


def test_columns_that_were_not_listed_are_no_links_by_their_values(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """
        CREATE TABLE matches AS SELECT 'Nation ' || i % 30 AS host, 'Nation ' || i % 30 AS country FROM range(900) r(i);
        CREATE TABLE shootouts AS SELECT 'Nation ' || i % 26 AS winner FROM range(90) r(i);
        """
    )
    Declarations.parse(entities=["nations=matches(host)"]).store(con, "memory")
    found = {str(each.link) for each in infer_schema(con).links if each.link.parent == "nations"}
    assert found == {"shootouts(winner) -> nations(nation)"}


def test_its_rows_are_the_values_and_its_links_the_columns(con: duckdb.DuckDBPyConnection) -> None:
    schema = read_schema(con)
    table = schema.table("TEAMS")
    found = con.execute(f"SELECT team FROM {relation_sql(table)} ORDER BY team").fetchall()
    assert found == [(chr(65 + i),) for i in range(9)]
    assert sorted(map(str, schema.links)) == ["games(away_team) -> teams(team)", "games(home_team) -> teams(team)"]
    assert [each for each in check_schema(con, "memory", schema) if each.severity != "info"] == []
    # Nothing was created beside the user's table.
    tables = con.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main'").fetchall()
    assert tables == [("games",)] and con.execute(
        "SELECT count(*) FROM duckdb_views() WHERE NOT internal"
    ).fetchone() == (0,)


def test_it_is_asked_about_like_any_entity(con: duckdb.DuckDBPyConnection) -> None:
    train(con, TASK, name="wins", options=QUICK)
    attach(con)
    query = "SELECT {0}('A'), {0}('Z'), {0}(NULL), {0}('A', as_of := TIMESTAMP '1990-01-01')"
    attached = con.execute(query.format("predict_wins_full")).fetchall()[0]
    assert [row and row["status"] for row in attached] == ["ok", "unknown_entity", None, "unknown_entity"]
    assert con.execute("SELECT count(*) FROM predict_wins_batch()").fetchone() == (9,)
    publish(con, "wins")
    published = con.execute(query.format("memory.main.predict_wins_full")).fetchall()[0]
    assert published[0]["score"] == pytest.approx(attached[0]["score"], abs=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("games=games(home_team)", "a table or view 'games' exists"),
        ("teams=game(home_team)", "table 'game' does not exist"),
        ("teams=games(home)", "has no column 'home'"),
        ("teams=games(home_team),games(home_score)", "have the types"),
        ("teams", "names no entity"),
        ("teams=games(home_team,away_team)", "names no entity"),
        ("=games(home_team)", "names no entity"),
    ],
)
def test_other_entities_are_refused(text: str, message: str) -> None:
    with duckdb.connect() as con:
        con.execute(GAMES)
        with pytest.raises(SchemaError, match=message):
            Declarations.parse(entities=[text]).store(con, "memory")
        assert con.execute("SELECT count(*) FROM duckdb_schemas() WHERE schema_name = 'relsql'").fetchone() == (0,)


def test_a_column_that_is_gone_is_named(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("ALTER TABLE games RENAME away_team TO guests")
    with pytest.raises(SchemaError, match=r"entity 'teams' consists of values of games.away_team"):
        read_schema(con)
