"""Look-alikes of public databases go from file to a published model, and rows after as_of never count.

Which rows those are is written a second time beside each schema, in plain SQL (`later.sql`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

import relsql
from benchmarks.proposals.score import Score, score_schema
from benchmarks.proposals.truth import Truth, parse_truth
from relsql.cli import cli
from relsql.schema.discovery.propose import SURE, apply_proposal, infer_schema
from relsql.tasks.task import Task
from tests.databases.load import FOLDER, NAMES, create_database, create_tables, schema_text
from tests.shop import QUICK

MAX_PATHS = {"sakila": 4}
"""Link paths that are read, elsewhere 3: those to a customer's store and address come before that to the rentals."""

MODEL = "model"
FUNCTIONS = ("predict_model_full", "{file}.main.predict_model_full")
"""The model's function on onnxruntime, and the published one in plain SQL."""

SHOWN = 3
BY_HAND = {"football": ["--entity", "teams=results(home_team),results(away_team)"]}
"""What `relsql init` cannot know: see the README.md of each folder."""

MOMENTS = {
    "chinook": "2012-06-01",
    "football": "2020-06-01",
    "jaffle_shop": "2018-03-10 12:00:00",
    "lahman": "2000-01-01",
    "mimic": "2150-01-01",
    "northwind": "1997-09-01",
    "openflights": "2019-12-01 12:00:00",
    "sakila": "2005-07-09",
}
"""A moment with events before and after it."""

BEFORE = "1700-01-01"
"""Before the first event of all."""

Scores = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Database:
    """A look-alike: its name, a file with a trained and published model, and the task."""

    name: str
    path: Path
    task: Task


def run(*arguments: object) -> str:
    """What a command prints; it must succeed."""
    result = CliRunner().invoke(cli, [str(each) for each in arguments], prog_name="relsql")
    assert result.exit_code == 0, result.output
    return result.stdout


def initialised(name: str, folder: Path) -> Path:
    """A new file with the look-alike, after `relsql init`."""
    path = folder / f"{name}.duckdb"
    create_database(name, path)
    run("init", path, "--yes", *BY_HAND.get(name, []))
    return path


@pytest.fixture(scope="module", params=NAMES)
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Database:
    path = initialised(request.param, tmp_path_factory.mktemp("databases"))
    manifest = FOLDER / request.param / "task.yaml"
    run("init", path, "--task", manifest)
    task = Task.from_manifest(manifest)
    with duckdb.connect(str(path)) as con:
        relsql.train(con, task.name, name=MODEL, options=replace(QUICK, max_paths=MAX_PATHS.get(request.param, 3)))
    run("publish", path, MODEL)
    return Database(request.param, path, task)


@pytest.fixture(scope="module")
def connection(database: Database) -> Iterator[duckdb.DuckDBPyConnection]:
    with relsql.connect(database.path) as con:
        yield con


@pytest.fixture
def opened(connection: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """The file in a transaction that is undone."""
    connection.execute("BEGIN")
    yield connection
    connection.execute("ROLLBACK")


def entities(con: duckdb.DuckDBPyConnection, task: Task) -> list[Any]:
    """The first few ids of the entity table; a table of values is not one of the file's."""
    query = f"SELECT {task.entity_col} FROM predict_model_batch() ORDER BY hash({task.entity_col}) LIMIT {SHOWN}"
    return [entity for (entity,) in con.execute(query).fetchall()]


def scores(con: duckdb.DuckDBPyConnection, database: Database, ids: list[Any], as_of: str) -> Scores:
    """Results of both functions, one by one: in a batch, other rows would change the last bits."""
    found = {}
    for function in FUNCTIONS:
        query = f"SELECT {function.format(file=database.name)}($1, as_of := TIMESTAMP '{as_of}')"
        found[function] = [con.execute(query, [entity]).fetchall()[0][0] for entity in ids]
    return found


def delete_later(con: duckdb.DuckDBPyConnection, database: Database, as_of: str) -> None:
    con.execute(f"SET VARIABLE as_of = TIMESTAMP '{as_of}'")
    con.execute((FOLDER / database.name / "later.sql").read_text(encoding="utf-8"))


def load_schema(con: duckdb.DuckDBPyConnection, name: str) -> Truth:
    """Create the tables of a look-alike; returns what the comments of its schema say."""
    create_tables(name, con)
    return parse_truth(name, schema_text(name))


@cache
def proposed(name: str) -> dict[str, Score]:
    """What `relsql init --yes` stores of a look-alike, compared with what is true of it."""
    return score_schema(load_schema, name, SURE)


@pytest.mark.parametrize("name", NAMES)
def test_init_proposes_nothing_wrong(name: str) -> None:
    found = proposed(name)
    assert {kind: score.wrong for kind, score in found.items()} == dict.fromkeys(found, ())


@pytest.mark.parametrize("name", NAMES)
def test_init_proposes_all_that_is_true(name: str) -> None:
    found = proposed(name)
    assert {kind: score.missed for kind, score in found.items()} == dict.fromkeys(found, ())


@pytest.mark.parametrize("name", NAMES)
def test_a_second_init_adds_nothing(con: duckdb.DuckDBPyConnection, name: str) -> None:
    create_tables(name, con)
    apply_proposal(con, "memory", infer_schema(con).split()[0])
    sure, _ = infer_schema(con).split()
    assert (sure.keys, sure.links, [time for time in sure.times if time.column]) == ((), (), [])


def test_every_entity_has_a_score(opened: duckdb.DuckDBPyConnection, database: Database) -> None:
    rows = opened.execute("SELECT score, status FROM predict_model_batch()").fetchall()
    assert len(rows) >= 20 and all(0 < score < 1 for score, _ in rows)
    assert {status for _, status in rows} <= {"ok", "stale", "no_history"} and ("ok" in {s for _, s in rows})
    assert len({score for score, _ in rows}) > 3


def test_published_scores_are_those_of_the_networks(opened: duckdb.DuckDBPyConnection, database: Database) -> None:
    columns, networks_and_plain = f"{database.task.entity_col}, score", ("", f"{database.name}.main.")
    for moment in ("", f"as_of := TIMESTAMP '{MOMENTS[database.name]}'"):
        queries = [f"SELECT {columns} FROM {prefix}predict_model_batch({moment})" for prefix in networks_and_plain]
        networks, plain = (dict(opened.execute(query).fetchall()) for query in queries)
        assert networks and plain == pytest.approx(networks, abs=1e-6)


def test_rows_after_as_of_change_no_score(opened: duckdb.DuckDBPyConnection, database: Database) -> None:
    ids, as_of = entities(opened, database.task), MOMENTS[database.name]
    before = scores(opened, database, ids, as_of)
    # Otherwise nothing was deleted, or nothing that the model reads.
    latest = scores(opened, database, ids, "2300-01-01")
    delete_later(opened, database, as_of)
    assert scores(opened, database, ids, as_of) == before
    assert scores(opened, database, ids, "2300-01-01") != latest


def test_before_the_first_event_there_is_no_history(opened: duckdb.DuckDBPyConnection, database: Database) -> None:
    found = scores(opened, database, entities(opened, database.task), BEFORE)
    states = {(each["status"], each["evidence"]) for results in found.values() for each in results}
    assert states <= {("no_history", 0), ("unknown_entity", 0)}


def test_without_any_event_scores_are_those_before_the_first(
    opened: duckdb.DuckDBPyConnection, database: Database
) -> None:
    ids = entities(opened, database.task)
    before = scores(opened, database, ids, BEFORE)
    delete_later(opened, database, BEFORE)
    assert scores(opened, database, ids, BEFORE) == before
