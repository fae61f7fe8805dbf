"""The demo league with more seasons than in `relsql demo`, and with an observer's forecast added to its truth."""

from __future__ import annotations

import datetime
from collections import defaultdict
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.data.generated.database import (
    TRUTH_COLUMNS,
    TRUTH_TABLE,
    FloatArray,
    Generated,
    query_features,
    read_labels,
    recency_features,
)
from benchmarks.data.generated.league_filter import LEVELS, Observer, Race, Start
from benchmarks.data.generated.league_forecast import Contract, Day, Forecaster
from relsql.database.connections import open_database
from relsql.demo.league import create_league, truth_path
from relsql.demo.simulate import level_transition, retirement_probability, swaps_between
from relsql.demo.truth import HORIZON
from relsql.sql_text import literal

SEASONS = 36
TASK = "driver-dnf"
CAR_FAULTS = ("Engine", "Gearbox", "Hydraulics", "Electrics", "Suspension", "Brakes")
FINISHED = "Finished"
RELIABILITY_WORDS = ("oil cooling", "gearbox casing", "wiring loom", "hydraulic seals")
WINDOWS = (5, 10, 20, 60)
TEAM_WINDOWS = (6, 12, 24, 48)


def create(path: Path, seed: int, seasons: int = SEASONS) -> None:
    """Write the league and its truth, and add the label probabilities to the truth."""
    path.parent.mkdir(parents=True, exist_ok=True)
    create_league(path, seed=seed, seasons=seasons, overwrite=True)
    with open_database(path, read_only=True) as con:
        labels = pa.concat_tables(read_labels(con, TASK).values())
        forecast = _forecasts(con, labels)
    with open_database(truth_path(path)) as con:
        con.register("known_labels", labels)
        known_state = _known_state(con)
        columns = {"entity": labels["entity"], "as_of": labels["as_of"], "forecast": forecast}
        truth = pa.table(columns | {"known_state": known_state})
        con.execute(f"CREATE OR REPLACE TABLE {TRUTH_TABLE} ({TRUTH_COLUMNS})")
        con.register("truth", truth)
        con.execute(f"INSERT INTO {TRUTH_TABLE} SELECT * FROM truth")


def features(con: duckdb.DuckDBPyConnection, labels: pa.Table) -> dict[str, FloatArray]:
    """The planted features: age, the driver's own results, and those of the team that the driver is signed with."""
    own = """SELECT date_diff('day', d.birth_date, l.as_of) / 365.25, year(l.as_of)
             FROM known_labels l JOIN drivers d ON d.driver_id = l.entity ORDER BY l.as_of, l.entity"""
    # The number of coming races depends on the time of year and on the last race.
    season = """SELECT sin(l.angle), cos(l.angle), sin(2 * l.angle), cos(2 * l.angle),
                       date_diff('day', max(r.date), l.as_of), least(count(*), 30)
                FROM (SELECT *, 2 * pi() * dayofyear(as_of) / 365.25 AS angle FROM known_labels) l
                JOIN results r ON r.driver_id = l.entity AND r.date <= l.as_of
                GROUP BY l.entity, l.as_of, l.angle ORDER BY l.as_of, l.entity"""
    retired = f"(r.status <> '{FINISHED}')::INTEGER AS retired, ({_in_sql('r.status', CAR_FAULTS)})::INTEGER AS car"
    results = f"""SELECT l.entity, l.as_of, {retired},
                         row_number() OVER (PARTITION BY l.entity, l.as_of ORDER BY r.date DESC) AS nth
                  FROM known_labels l JOIN results r ON r.driver_id = l.entity AND r.date <= l.as_of"""
    team = f"""SELECT s.entity, s.as_of, {retired},
                      row_number() OVER (PARTITION BY s.entity, s.as_of ORDER BY r.date DESC, r.result_id) AS nth
               FROM (SELECT l.entity, l.as_of, arg_max(c.team_id, c.signed_on) AS team_id
                     FROM known_labels l JOIN contracts c ON c.driver_id = l.entity AND c.signed_on <= l.as_of
                     GROUP BY ALL) s
               JOIN results r ON r.team_id = s.team_id AND r.date <= s.as_of"""
    own_columns = query_features(con, labels, own)
    one_hop = [own_columns, query_features(con, labels, season)]
    one_hop.append(recency_features(con, labels, results, ("retired",), WINDOWS))
    two_hops = [*one_hop, recency_features(con, labels, team, ("retired", "car"), TEAM_WINDOWS)]
    return {"own columns": own_columns, "one hop": np.column_stack(one_hop), "two hops": np.column_stack(two_hops)}


def _in_sql(value: str, options: tuple[str, ...]) -> str:
    return f"{value} IN ({', '.join(map(literal, options))})"


def _forecasts(con: duckdb.DuckDBPyConnection, labels: pa.Table) -> FloatArray:
    """The observer's forecast of every label; labels are in order of time."""
    races, contracts = _races(con), _contracts(con)
    birth_years = dict(con.execute("SELECT driver_id, year(birth_date) FROM drivers").fetchall())
    observer, seen = Observer(), 0
    gaps: tuple[int, ...] = ()
    forecaster: Forecaster | None = None
    found, now = [], None
    for driver, as_of in zip(labels["entity"].to_pylist(), labels["as_of"].to_pylist(), strict=True):
        if as_of != now:
            now = as_of
            while seen < len(races) and races[seen].date <= as_of.date():
                race = races[seen]
                same = observer.last is not None and observer.last.season == race.season
                gaps = (*gaps, (race.date - observer.last.date).days) if same and observer.last else ()
                observer.see(race)
                seen += 1
            last = races[seen - 1]
            today = Day(last.date, last.season, last.number, gaps)
            forecaster = Forecaster.at(observer, today, as_of.date(), HORIZON)
        assert forecaster is not None
        contract = [each for signed_on, each in contracts[driver] if signed_on <= as_of.date()][-1]
        found.append(forecaster.retirement(driver, birth_years[driver], contract))
    return np.array(found)


def _races(con: duckdb.DuckDBPyConnection) -> list[Race]:
    starts, upgrades = defaultdict(list), defaultdict(list)
    query = """SELECT r.race_id, r.driver_id, year(d.birth_date), r.team_id, r.status
               FROM results r JOIN drivers d USING (driver_id) ORDER BY r.result_id"""
    for race, driver, birth_year, team, status in con.execute(query).fetchall():
        fault = None if status == FINISHED else "car" if status in CAR_FAULTS else "driver"
        starts[race].append(Start(driver, birth_year, team, fault))
    for date, team, text in con.execute("SELECT date, team_id, description FROM team_upgrades").fetchall():
        upgrades[date].append((team, any(words in text for words in RELIABILITY_WORDS)))
    query = "SELECT race_id, date, season, round, circuit_id, weather FROM races ORDER BY date"
    return [
        Race(date, season, number, circuit, weather, tuple(starts[race]), tuple(upgrades[date]))
        for race, date, season, number, circuit, weather in con.execute(query).fetchall()
    ]


def _contracts(con: duckdb.DuckDBPyConnection) -> dict[int, list[tuple[datetime.date, Contract]]]:
    """Contracts of each driver in order of time; contracts signed after the winter count as mid-season ones."""
    found = defaultdict(list)
    query = "SELECT driver_id, signed_on, team_id, season FROM contracts ORDER BY signed_on"
    for driver, signed_on, team, season in con.execute(query).fetchall():
        found[driver].append((signed_on, Contract(team, season, signed_on > datetime.date(season, 2, 25))))
    return found


def _known_state(con: duckdb.DuckDBPyConnection) -> FloatArray:
    """1 - prod(1 - p) over the coming races, with p from the team's level at its last race up to as_of.

    As in `relsql.demo.attainable_auc(..., foresight=False)`, calendar, line-ups and all fixed terms are known too.
    """
    query = """
        SELECT l.entity, l.as_of, s.date, any_value(s.other_logit), arg_max(p.team_level, p.date), max(p.date)
        FROM known_labels l
        JOIN retirement_probabilities s
            ON s.driver_id = l.entity AND s.date > l.as_of AND s.date <= l.as_of + INTERVAL '30 days'
        LEFT JOIN retirement_probabilities p ON p.team_id = s.team_id AND p.date <= l.as_of
        GROUP BY l.entity, l.as_of, s.date ORDER BY l.as_of, l.entity, s.date"""
    survival: dict[tuple[int, datetime.datetime], float] = {}
    for entity, as_of, date, logit, level, last in con.execute(query).fetchall():
        share = np.full(len(LEVELS), 1 / len(LEVELS))
        if level is not None:
            share = level_transition(swaps_between(last, date))[level]
        retires = float(share @ retirement_probability(logit + LEVELS))
        survival[entity, as_of] = survival.get((entity, as_of), 1.0) * (1 - retires)
    return 1 - np.array(list(survival.values()))


LEAGUE = Generated(
    name="league",
    task=TASK,
    create=create,
    features=features,
    bound=(
        "nearly exact: a filter over the levels of all teams, with Gaussian beliefs about drivers and circuits, "
        "without knowledge of coming dates and line-ups"
    ),
)
