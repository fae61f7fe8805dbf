"""A small invented league in which rivals decide: what a driver does next follows from the others in the last race.

Every round, drivers are shuffled into races of five, and each result has a random grade. Ten days later a driver pauses
if the mean grade of the other four was high. Neither the driver's own rows nor the race itself tell it. Some races are
published some hours after their results.
"""

from __future__ import annotations

import datetime

import duckdb

from relsql.schema.declared.declarations import Declarations
from relsql.tasks.task import Task

DRIVERS = 60
ROUNDS = 30
FIRST_ROUND = datetime.datetime(2020, 1, 1)

TASK = Task(
    name="pauses",
    task_type="binary_classification",
    entity_table="drivers",
    entity_col="driver",
    target_col="pauses",
    time_col="timestamp",
    timedelta="30 days",
    num_eval_timestamps=2,
    val_timestamp=FIRST_ROUND + datetime.timedelta(days=30 * 26, hours=12),
    test_timestamp=FIRST_ROUND + datetime.timedelta(days=30 * 28, hours=12),
    sql="""
        SELECT t.timestamp, d.driver, (count(p.driver) > 0)::BIGINT AS pauses
        FROM timestamps t CROSS JOIN drivers d
        LEFT JOIN pauses p ON p.driver = d.driver
          AND p.began > t.timestamp AND p.began <= t.timestamp + INTERVAL '{timedelta}'
        GROUP BY ALL""",
)
_CREATE = f"""
    CREATE TABLE drivers AS SELECT i AS driver, i % 7 AS shirt FROM range({DRIVERS}) d(i);
    CREATE TABLE results AS
    SELECT round * {DRIVERS} + i AS result, i AS driver,
        round * 100 + (row_number() OVER (PARTITION BY round ORDER BY hash(i, round)) - 1) // 5 AS race,
        hash(round, i, 1) % 1000 / 1000 AS grade,
        TIMESTAMP '{FIRST_ROUND}' + to_days((round * 30)::INTEGER) AS finished
    FROM range({ROUNDS}) r(round), range({DRIVERS}) d(i);
    CREATE TABLE races AS
    SELECT race, finished AS day, finished + to_hours((hash(race) % 3 = 0)::INTEGER * 6) AS published
    FROM results GROUP BY ALL;
    CREATE TABLE pauses AS
    SELECT driver, finished + INTERVAL 10 DAY AS began
    FROM (FROM results SELECT *, (sum(grade) OVER (PARTITION BY race) - grade) / 4 AS mean_of_others)
    WHERE mean_of_others > 0.5;
"""


def create_races(con: duckdb.DuckDBPyConnection, catalog: str, *, timed_races: bool = True) -> None:
    """Create the league in the current database and declare its keys, links and times.

    Args:
        con: an open connection.
        catalog: name of its current database.
        timed_races: False makes races hubs that have no time, as teams are.
    """
    con.execute(_CREATE)
    Declarations.parse(
        primary_keys=["drivers(driver)", "races(race)", "results(result)"],
        links=["results(driver) -> drivers", "results(race) -> races", "pauses(driver) -> drivers"],
        time_columns=[*(["races(day)"] if timed_races else []), "results(finished)", "pauses(began)"],
        known_columns=["races(published)"] if timed_races else [],
    ).store(con, catalog)
