"""Proof by mutation where events are hubs: results of the last race count, up to as_of, if the race may be seen.

What is visible is written here a second time, in plain conditions. Rows that are not visible at as_of are deleted,
altered and moved; no score changes by a bit, on onnxruntime and in plain SQL.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

import relsql
from relsql.publishing.publish import publish
from relsql.registry.models import read_card
from relsql.schema.visibility import VISIBILITY_RULES, VisibilityRule
from relsql.training.train import train
from tests.races import TASK, create_races
from tests.shop import QUICK

FUNCTIONS = ("predict_pauses_full", "league.main.predict_pauses_full")
# On the very moment of a round, soon after one, when some races are not published yet, and long after the last.
MOMENTS = ("2021-03-26 00:00:00", "2021-08-23 03:00:00", "2024-01-01 00:00:00")
DRIVERS = (0, 7, 14, 33)
COMPARISON = {"at-or-before": "<=", "before": "<"}
SEEN = {
    "results": "finished {cmp} {as_of}",
    "races": "day {cmp} {as_of} AND published {cmp} {as_of}",
    "pauses": "began {cmp} {as_of}",
}
ALTERED = {
    "results": "grade = grade + 5, race = race - race % 100 + hash(result, {x}) % 12, driver = (driver + {x}) % 60",
    "races": "race = race + 1000000, published = published + INTERVAL 1 DAY",
    "pauses": "driver = (driver + {x}) % 60",
}
ADDED = """INSERT INTO results SELECT result + 1000000 * {x}, (driver + {x}) % 60, race, 9,
    greatest(finished, {as_of}) + to_microseconds({x}) FROM results"""


@pytest.fixture(scope="module", params=VISIBILITY_RULES)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[VisibilityRule, Path]:
    """A database with a trained and published model that reads the rivals of the last race."""
    path = tmp_path_factory.mktemp("league") / "league.duckdb"
    with duckdb.connect(str(path)) as con:
        create_races(con, "league")
        options = replace(QUICK, event_hubs=True)
        train(con, replace(TASK, visible=request.param), name="pauses", options=options)
        assert "races_results" in [each.name for each in read_card(con, "league", "pauses", 1).paths]
        publish(con, "pauses")
    return request.param, path


@pytest.fixture
def con(trained: tuple[VisibilityRule, Path], tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(shutil.copy(trained[1], tmp_path / "league.duckdb")) as connection:
        relsql.attach(connection)
        yield connection


def scores(con: duckdb.DuckDBPyConnection, as_of: str) -> list[Any]:
    """Scores one by one: in one batch, other rows would change the last bits."""
    query = "SELECT {}(?, as_of := {})"
    return [con.execute(query.format(f, as_of), [i]).fetchall()[0][0] for f in FUNCTIONS for i in DRIVERS]


@pytest.mark.parametrize("moment", MOMENTS)
def test_rows_that_are_not_visible_change_no_score(
    con: duckdb.DuckDBPyConnection, trained: tuple[VisibilityRule, Path], moment: str
) -> None:
    names = {"cmp": COMPARISON[trained[0]], "as_of": f"TIMESTAMP '{moment}'", "x": "7"}
    before = scores(con, names["as_of"])
    for table, seen in SEEN.items():
        con.execute(f"UPDATE {table} SET {ALTERED[table]} WHERE NOT ({seen})".format(**names))
        assert scores(con, names["as_of"]) == before, f"altered {table}"
    con.execute(ADDED.format(**names))
    assert scores(con, names["as_of"]) == before, "added results"
    for table, seen in SEEN.items():
        con.execute(f"DELETE FROM {table} WHERE NOT ({seen})".format(**names))
        assert scores(con, names["as_of"]) == before, f"deleted {table}"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE results SET grade = 1 - grade WHERE driver % 7 > 0",
        "UPDATE races SET published = TIMESTAMP '2023-01-01'",
        "DELETE FROM races",
    ],
)
def test_rivals_and_their_race_do_change_scores(con: duckdb.DuckDBPyConnection, change: str) -> None:
    as_of = f"TIMESTAMP '{MOMENTS[1]}' + INTERVAL 1 DAY"
    before = scores(con, as_of)
    con.execute(change)
    found = scores(con, as_of)
    # In ONNX as in plain SQL.
    half = len(found) // 2
    assert found[:half] != before[:half] and found[half:] != before[half:]


def test_missing_races_and_races_of_one(con: duckdb.DuckDBPyConnection) -> None:
    as_of = f"TIMESTAMP '{MOMENTS[-1]}'"
    con.execute("UPDATE results SET race = NULL WHERE driver = 0")
    con.execute("UPDATE results SET race = 5000000 WHERE driver = 7")
    con.execute("UPDATE results SET race = 7000000 WHERE driver = 14")
    con.execute("INSERT INTO races VALUES (7000000, '2020-01-01', '2020-01-01')")
    found = scores(con, as_of)
    half = len(found) // 2
    assert all(0 < score["score"] < 1 for score in found)
    differences = (abs(a["score"] - b["score"]) for a, b in zip(found[:half], found[half:], strict=True))
    assert max(differences) < 1e-5
