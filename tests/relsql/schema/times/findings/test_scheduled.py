"""Tests of relsql.schema.times.findings.scheduled: planned rows, which move the default as_of."""

from __future__ import annotations

import duckdb
import pytest

from relsql.schema.checks import check_schema
from relsql.schema.declared.declarations import Declarations
from relsql.schema.reading import read_schema

Connection = duckdb.DuckDBPyConnection


def scheduled(con: Connection) -> list[str]:
    found = check_schema(con, "memory", read_schema(con))
    return [f"{each.severity}: {each.object}: {each.message}" for each in found if "planned" in each.message]


def league(con: Connection, played: int, goals: int, first: str = "2020-01-01") -> None:
    """100 games on as many days, of which the first ones were played, and have goals."""
    con.execute(
        f"""CREATE TABLE games AS SELECT i AS id, DATE '{first}' + i::INTEGER AS day, 'home ' || i % 7 AS home,
                CASE WHEN i < {played} THEN i % 4 END AS score FROM range(100) r(i);
            CREATE TABLE goals AS SELECT i AS game, i % 90 AS minute FROM range({goals}) r(i)"""
    )
    times = ["games(day)", "goals(games.day)"]
    Declarations.parse(primary_keys=["games(id)"], links=["goals(game) -> games(id)"], time_columns=times).store(
        con, "memory"
    )


def test_rows_after_those_of_all_other_tables_without_values_are_planned(con: Connection) -> None:
    league(con, played=88, goals=88)
    [message] = scheduled(con)
    assert message == (
        "warning: games: 12 rows from 2020-03-29 00:00:00 to 2020-04-09 00:00:00 are the newest and have no score, and "
        "no other table has later rows: the default as_of, the newest event, is the time of such a row; if they are "
        "planned and have not happened, call functions with as_of := TIMESTAMP '2020-03-28 00:00:00'"
    )


@pytest.mark.parametrize(
    ("played", "goals"),
    [
        (100, 88),  # All are played; the last ones have no goals.
        (88, 100),  # The last ones have goals, and no score yet.
        (97, 97),  # Too few to say anything.
    ],
)
def test_rows_that_have_happened_are_not_planned(con: Connection, played: int, goals: int) -> None:
    league(con, played, goals)
    assert scheduled(con) == []


def test_the_only_table_may_hold_a_schedule(con: Connection) -> None:
    league(con, played=88, goals=0)
    con.execute("DROP TABLE goals; DELETE FROM relsql.schema_tables WHERE table_name = 'goals'")
    con.execute("DELETE FROM relsql.schema_links; INSERT INTO games VALUES (900, '9999-12-31', 'home 1', NULL)")
    [message] = scheduled(con)
    assert "12 rows from 2020-03-29 00:00:00 to 2020-04-09 00:00:00 are the newest and have no score:" in message


def test_rows_that_are_still_to_come_are_planned(con: Connection) -> None:
    league(con, played=100, goals=100)
    con.execute("INSERT INTO games SELECT 500, current_date + 3, 'home 1', 2")
    con.execute("UPDATE games SET day = current_date - 100 + id::INTEGER WHERE id < 100")
    [message] = scheduled(con)
    assert message.startswith("warning: games: 1 row from ") and message.endswith("as_of := now()")


def test_a_table_whose_rows_all_come_after_those_of_the_others_is_planned(con: Connection) -> None:
    con.execute(
        """CREATE TABLE stays AS SELECT i AS id, DATE '2020-01-01' + i::INTEGER AS day FROM range(90) r(i);
           CREATE TABLE nights AS SELECT i % 90 AS stay, DATE '2020-04-10' + (i % 30)::INTEGER AS night
               FROM range(900) r(i)"""
    )
    declared = Declarations.parse(primary_keys=["stays(id)"], time_columns=["stays(day)", "nights(night)"])
    declared.store(con, "memory")
    [message] = scheduled(con)
    assert message.startswith(
        "warning: nights: 900 rows from 2020-04-10 00:00:00 to 2020-05-09 00:00:00 all lie after the rows of all other "
    )
    assert message.endswith("call functions with as_of := TIMESTAMP '2020-03-30 00:00:00'")
    con.execute("INSERT INTO nights VALUES (1, '2020-03-01')")
    assert scheduled(con) == []
