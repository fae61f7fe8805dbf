"""Databases whose hubs have a time: drivers, their results in races, and the tours that they are on."""

from __future__ import annotations

from typing import Any

import pytest

from relsql.schema.tables import Column, Link, Schema, Table
from tests.relsql.gather.sql.answers import DAYS
from tests.relsql.gather.sql.reference import Database

st = pytest.importorskip("hypothesis.strategies")

_KEY, _TIME = Column("id", "INTEGER"), Column("time", "TIMESTAMP")
_VALUE = Column("value", "DOUBLE")
TABLES = (
    Table("drivers", (_KEY, Column("tour", "INTEGER"), _TIME), ("id",), "time"),
    Table("tours", (_KEY, _TIME), ("id",), "time"),
    Table("races", (_KEY, _TIME, _VALUE), ("id",), "time"),
    Table("results", (_KEY, Column("driver", "INTEGER"), Column("race", "INTEGER"), _TIME, _VALUE), ("id",), "time"),
)
LINKS = (
    Link("drivers", ("tour",), "tours", ("id",)),
    Link("results", ("driver",), "drivers", ("id",)),
    Link("results", ("race",), "races", ("id",)),
)
SCHEMA = Schema({table.key: table for table in TABLES}, LINKS)


def league(races: list[Any], results: list[tuple[int, int | None, Any]], tours: list[Any] | None = None) -> Database:
    """The times of races, results as (driver, race, time), and the times of tours, which the drivers are on in turn."""
    tours = tours or [DAYS[0]]
    rows = {
        "tours": [{"id": i, "time": time} for i, time in enumerate(tours)],
        "drivers": [{"id": i, "tour": i % len(tours), "time": DAYS[0]} for i in range(3)],
        "races": [{"id": i, "time": time, "value": 10.0 * i} for i, time in enumerate(races)],
        "results": [
            {"id": i, "driver": driver, "race": race, "time": time, "value": float(i)}
            for i, (driver, race, time) in enumerate(results)
        ],
    }
    return Database(SCHEMA, rows)


def leagues() -> Any:
    """A strategy for leagues."""
    times = st.sampled_from([None, *DAYS[:3]])
    races = st.sampled_from([None, 0, 0, 1, 1, 2, 9])
    results = st.lists(st.tuples(st.integers(0, 2), races, times), max_size=12)
    return st.builds(league, st.lists(times, min_size=3, max_size=3), results, st.lists(times, min_size=2, max_size=2))
