"""Write the demo league: a DuckDB file with eight linked tables and a task, and a second file with the truth."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import duckdb
import numpy as np

from relsql.database.connections import open_database, require_no_log, transaction
from relsql.database.drafts import complete_draft, draft_path, is_taken, remove_draft
from relsql.database.names import DEFAULT_SCHEMA, current_catalog
from relsql.database.relsql_tables import ensure_table
from relsql.demo import truth
from relsql.demo.simulate import Row, Simulation
from relsql.errors import DatabaseError, TaskError
from relsql.sql_text import qualified
from relsql.tasks.stored_tasks import save_task
from relsql.tasks.task import Task

MIN_SEASONS = 4

TABLES = {
    "circuits": (
        "circuit_id INTEGER PRIMARY KEY, name VARCHAR NOT NULL, town VARCHAR NOT NULL, length_km DOUBLE NOT NULL, "
        "laps INTEGER NOT NULL, altitude_m INTEGER"
    ),
    "teams": (
        "team_id INTEGER PRIMARY KEY, name VARCHAR NOT NULL, nationality VARCHAR NOT NULL, founded INTEGER NOT NULL, "
        "title_sponsor VARCHAR"
    ),
    "drivers": (
        "driver_id INTEGER PRIMARY KEY, name VARCHAR NOT NULL, nationality VARCHAR NOT NULL, "
        "birth_date DATE NOT NULL, home_town VARCHAR, car_number INTEGER"
    ),
    "contracts": (
        "contract_id INTEGER PRIMARY KEY, driver_id INTEGER NOT NULL REFERENCES drivers (driver_id), "
        "team_id INTEGER NOT NULL REFERENCES teams (team_id), season INTEGER NOT NULL, signed_on DATE NOT NULL, "
        "salary_millions DOUBLE, UNIQUE (driver_id, signed_on)"
    ),
    "team_upgrades": (
        "upgrade_id INTEGER PRIMARY KEY, team_id INTEGER NOT NULL REFERENCES teams (team_id), date DATE NOT NULL, "
        "description VARCHAR NOT NULL, cost_millions DOUBLE"
    ),
    "races": (
        "race_id INTEGER PRIMARY KEY, circuit_id INTEGER NOT NULL REFERENCES circuits (circuit_id), "
        "season INTEGER NOT NULL, round INTEGER NOT NULL, date DATE NOT NULL, weather VARCHAR NOT NULL, "
        "air_celsius DOUBLE, UNIQUE (season, round)"
    ),
    "qualifying": (
        "qualifying_id INTEGER PRIMARY KEY, race_id INTEGER NOT NULL REFERENCES races (race_id), "
        "driver_id INTEGER NOT NULL REFERENCES drivers (driver_id), "
        "team_id INTEGER NOT NULL REFERENCES teams (team_id), date DATE NOT NULL, position INTEGER NOT NULL, "
        "lap_seconds DOUBLE, UNIQUE (race_id, driver_id)"
    ),
    "results": (
        "result_id INTEGER PRIMARY KEY, race_id INTEGER NOT NULL REFERENCES races (race_id), "
        "driver_id INTEGER NOT NULL REFERENCES drivers (driver_id), "
        "team_id INTEGER NOT NULL REFERENCES teams (team_id), date DATE NOT NULL, grid INTEGER NOT NULL, "
        "position INTEGER, points INTEGER NOT NULL, laps INTEGER NOT NULL, race_seconds DOUBLE, "
        "status VARCHAR NOT NULL, UNIQUE (race_id, driver_id)"
    ),
}
"""Columns of each table, parents before children."""

TIME_COLUMNS = {
    "contracts": "signed_on",
    "team_upgrades": "date",
    "races": "date",
    "qualifying": "date",
    "results": "date",
}

LABEL_SQL = """\
SELECT t.timestamp AS date, r.driver_id AS driver_id,
       MAX(CASE WHEN r.status <> 'Finished' THEN 1 ELSE 0 END) AS did_not_finish
FROM timestamps t
JOIN results r ON r.date > t.timestamp AND r.date <= t.timestamp + INTERVAL '{timedelta}'
WHERE EXISTS (
    SELECT 1 FROM results past
    WHERE past.driver_id = r.driver_id AND past.date <= t.timestamp AND past.date > t.timestamp - INTERVAL '1 year'
)
GROUP BY t.timestamp, r.driver_id"""


def create_league(path: Path, *, seed: int = 7, seasons: int = 12, overwrite: bool = False) -> None:
    """Write the league to `path` and its true probabilities to `truth_path(path)`.

    Both files are written under temporary names and renamed when complete. The same seed gives the same rows.

    Args:
        path: the DuckDB file to create.
        seed: seed of all randomness.
        seasons: number of seasons, at least `MIN_SEASONS`; the last one is cut off before its end.
        overwrite: replace existing files.

    Raises:
        DatabaseError: a file exists and `overwrite` is False, or it is locked or not a DuckDB database.
        TaskError: there are too few seasons to split.
    """
    if seasons < MIN_SEASONS:
        raise TaskError(f"a league of {seasons} seasons cannot be split", expected=f"at least {MIN_SEASONS} seasons")
    path = Path(path)
    _check_free(path, overwrite)
    simulation = Simulation(np.random.default_rng(seed))
    simulation.run(seasons)
    task = league_task(_last_race(simulation), seasons)
    drafts = {target: draft_path(target) for target in (truth_path(path), path)}
    try:
        # Write the league last, so that its truth file exists whenever the league does.
        with (
            closing(open_database(drafts[truth_path(path)], must_exist=False)) as true_probabilities,
            closing(open_database(drafts[path], must_exist=False)) as league,
        ):
            _write(true_probabilities, truth.TABLES, simulation.truth)
            _write(league, TABLES, simulation.tables, task)
            complete_draft(true_probabilities, drafts[truth_path(path)], truth_path(path))
            complete_draft(league, drafts[path], path)
    finally:
        for draft in drafts.values():
            remove_draft(draft)


def truth_path(path: Path) -> Path:
    """The file of true probabilities that belongs to a league: `league.duckdb` -> `league.truth.duckdb`."""
    return path.with_name(f"{path.stem}.truth.duckdb")


def league_task(last_race: datetime.date, seasons: int) -> Task:
    """The task `driver-dnf`: will the driver retire from a race in the next 30 days?

    Of the `seasons` years up to `last_race`, the last sixth is for testing and the sixth before it for validation.
    """
    steps = 2 * seasons
    end = datetime.datetime(last_race.year, last_race.month, last_race.day)
    return Task(
        name="driver-dnf",
        task_type="binary_classification",
        entity_table="drivers",
        entity_col="driver_id",
        target_col="did_not_finish",
        time_col="date",
        timedelta=f"{truth.HORIZON.days} days",
        sql=LABEL_SQL,
        num_eval_timestamps=steps,
        val_timestamp=end - 2 * steps * truth.HORIZON,
        test_timestamp=end - steps * truth.HORIZON,
        description="Will the driver retire from a race in the next 30 days?",
    )


def _is_left_over(path: Path) -> bool:
    """True if a run that was stopped between the two files left a file of true probabilities without its league."""
    if path.exists():
        return False
    with closing(open_database(truth_path(path), read_only=True)) as con:
        found = con.execute("SELECT schema_name, table_name FROM system.main.duckdb_tables()").fetchall()
    return {name for _, name in found} == truth.TABLES.keys() and {schema for schema, _ in found} == {DEFAULT_SCHEMA}


def _check_free(path: Path, overwrite: bool) -> None:
    for target in (path, truth_path(path)):
        require_no_log(target)
        if not is_taken(target):
            continue
        if not overwrite and not (target == truth_path(path) and _is_left_over(path)):
            raise DatabaseError(
                f"file '{target}' exists",
                expected="a new file",
                fix="relsql demo OTHER.duckdb, or create_league(..., overwrite=True)",
            )
        open_database(target).close()  # Fails for a file that is not a DuckDB database or is in use.
    if not path.parent.is_dir():
        raise DatabaseError(f"folder '{path.parent}' does not exist", fix=f"mkdir -p '{path.parent}'")


def _last_race(simulation: Simulation) -> datetime.date:
    dates = (value for value in simulation.tables["races"][-1] if isinstance(value, datetime.date))
    return next(dates)


def _write(
    con: duckdb.DuckDBPyConnection, tables: Mapping[str, str], rows: Mapping[str, list[Row]], task: Task | None = None
) -> None:
    """Write `tables` with their `rows` into an empty database and, if given, the task and the declared time columns."""
    catalog = current_catalog(con)
    with transaction(con):
        for name, columns in tables.items():
            con.execute(f"CREATE TABLE {qualified(catalog, 'main', name)} ({columns})")
            _insert(con, qualified(catalog, "main", name), rows[name])
        if task is not None:
            declared = f"{ensure_table(con, catalog, 'schema_tables')} (table_name, primary_key, time_column, origin)"
            _insert(con, declared, [(name, None, TIME_COLUMNS.get(name), "declared") for name in tables])
            save_task(con, catalog, task)


def _insert(con: duckdb.DuckDBPyConnection, table: str, rows: list[Row]) -> None:
    """Insert `rows`, passing each column as one JSON text: DuckDB 1.5 takes seconds to bind thousands of values."""
    columns = [json.dumps(column, default=str) for column in zip(*rows, strict=True)]
    unnested = ["unnest(from_json(?, '[\"VARCHAR\"]'))"] * len(columns)
    con.execute(f"INSERT INTO {table} SELECT {', '.join(unnested)}", columns)
