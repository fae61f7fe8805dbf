"""Path choice for an entity with ten child tables, of which only the last one predicts the label."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace

import duckdb
import pytest
from click.testing import CliRunner

from relsql.cli import cli
from relsql.cli.inspection import inspect
from relsql.database.connections import transaction
from relsql.errors import TaskError
from relsql.gather.paths import MAX_PATHS, candidate_paths, plan_paths
from relsql.schema.declared.declarations import Declarations
from relsql.schema.declared.declare import declare_table
from relsql.schema.reading import read_schema
from relsql.tasks.stored_tasks import save_task
from relsql.tasks.task import Task
from relsql.training.options import TrainOptions
from relsql.training.path_choice import PathEvidence
from relsql.training.plan import Plan, make_plan
from relsql.training.train import train

USERS, CHILDREN = 80, 10
TASK = Task(
    name="buys",
    task_type="binary_classification",
    entity_table="users",
    entity_col="user_id",
    target_col="bought",
    time_col="timestamp",
    timedelta="10 days",
    val_timestamp=datetime.datetime(2022, 6, 1),
    test_timestamp=datetime.datetime(2022, 7, 1),
    # Who is in the last child table buys; the hash of user and time is noise.
    sql="""SELECT t.timestamp, u.user_id, (u.user_id % 2 = 1 AND hash(u.user_id, t.timestamp) % 10 < 9
                                           OR hash(t.timestamp, u.user_id) % 10 = 0)::BIGINT AS bought
           FROM timestamps t, users u WHERE t.timestamp >= '2022-02-01'""",
)
OPTIONS = TrainOptions(encoder_steps=2, fanout=4, channels=16, epochs=4, batch_size=64, threads=1)


@pytest.fixture
def wide(con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Users, and tables c0 to c9 with rows of all of them but c9, which has more for every other user."""
    con.execute(f"CREATE TABLE users AS SELECT i AS user_id FROM range({USERS}) r(i)")
    con.execute("ALTER TABLE users ADD PRIMARY KEY (user_id)")
    for child in range(CHILDREN):
        last = child == CHILDREN - 1
        chosen = "hash(u, d) % 10 < CASE WHEN u % 2 = 1 THEN 6 ELSE 1 END" if last else f"hash(u, d, {child}) % 3 = 0"
        con.execute(
            f"""CREATE TABLE c{child} (
                    id INTEGER PRIMARY KEY, user_id BIGINT REFERENCES users (user_id), seen TIMESTAMP, size DOUBLE);
                INSERT INTO c{child} SELECT row_number() OVER (ORDER BY u, d), u,
                    TIMESTAMP '2022-01-01' + to_days((d * 4)::INTEGER), hash(u, d, {child}, 1) % 100
                FROM range({USERS}) a(u), range(50) b(d) WHERE {chosen};
                CREATE TABLE d{child} (c{child}_id INTEGER REFERENCES c{child} (id), note INTEGER);
                INSERT INTO d{child} SELECT id, id % 7 FROM c{child}"""
        )
    with transaction(con):
        for child in range(CHILDREN):
            declare_table(con, "memory", f"c{child}", time_column="seen")
        save_task(con, "memory", TASK)
    return con


def walks(plan: Plan) -> list[str]:
    return [path.describe().removesuffix(", last 16") for path in plan.paths]


def test_the_most_informative_path_is_kept(wide: duckdb.DuckDBPyConnection) -> None:
    schema = read_schema(wide)
    assert "users <- c9 <- d9, last 16" in [
        p.describe() for p in candidate_paths(wide, "memory", schema, "users").paths
    ]
    assert "c9" in [p.table for p in plan_paths(wide, "memory", schema, "users")]
    plan = make_plan(wide, "memory", TASK, max_paths=5)
    assert walks(plan)[:1] == ["users"] and len(plan.paths) == 5
    assert {"users <- c9", "users <- c9 <- d9"} <= set(walks(plan))
    assert len(plan.left_out) == 2 * CHILDREN + 1 - 5
    assert all(isinstance(evidence, PathEvidence) and evidence.signal < 0.1 for evidence in plan.left_out)
    assert "c9" not in "".join(map(str, plan.left_out)) and "of the seeds see a row" in str(plan.left_out[0])
    assert set(plan.inputs) == {path.table for path in plan.paths}
    assert make_plan(wide, "memory", TASK, max_paths=5) == plan


def test_all_paths_are_kept_in_order_where_there_is_room(wide: duckdb.DuckDBPyConnection) -> None:
    schema = read_schema(wide)
    plan = make_plan(wide, "memory", TASK, max_paths=100)
    assert plan.left_out == () and len(plan.paths) == 2 * CHILDREN + 1
    found = candidate_paths(wide, "memory", schema, "users", horizon_days=10, until=TASK.val_timestamp)
    assert (plan.paths, found.crowded) == (found.paths, ())
    every = candidate_paths(wide, "memory", schema, "users").paths
    assert plan_paths(wide, "memory", schema, "users") == every[:MAX_PATHS]


def test_paths_without_rows_go_first_and_labels_are_those_of_training(wide: duckdb.DuckDBPyConnection) -> None:
    wide.execute("DELETE FROM d3; DELETE FROM c3")
    plan = make_plan(wide, "memory", TASK, max_paths=2 * CHILDREN - 1)
    assert [(e.path[:11], e.coverage, e.signal) for e in plan.left_out if isinstance(e, PathEvidence)] == [
        ("users <- c3", 0.0, 0.0),
        ("users <- c3", 0.0, 0.0),
    ]
    # Labels after the validation timestamp are not used: this query would fail for them.
    late = replace(TASK, sql=TASK.sql.replace("t.timestamp >=", "t.timestamp < '2022-06-01' AND t.timestamp >="))
    assert make_plan(wide, "memory", late, max_paths=5).paths == make_plan(wide, "memory", TASK, max_paths=5).paths


def test_events_are_read_where_nothing_has_a_signal(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        f"""CREATE TABLE users AS SELECT i AS user_id FROM range({USERS}) r(i);
            CREATE TABLE cards AS SELECT i AS card, i AS user_id FROM range({USERS}) r(i);
            CREATE TABLE calls AS SELECT i AS call, i % 40 AS user_id, TIMESTAMP '2022-01-01' + to_hours(i::INTEGER)
                AS seen FROM range(5000) r(i)"""
    )
    Declarations.parse(
        primary_keys=["users(user_id)", "cards(card)", "calls(call)"],
        links=["cards(user_id) -> users(user_id)", "calls(user_id) -> users(user_id)"],
        time_columns=["calls(seen)"],
    ).store(con, "memory")
    noise = """SELECT t.timestamp, u.user_id, hash(u.user_id, t.timestamp) % 2 AS bought FROM timestamps t, users u"""
    plan = make_plan(con, "memory", replace(TASK, sql=noise), max_paths=2)
    assert walks(plan) == ["users", "users <- calls"]


def test_useless_labels_are_refused_as_in_training(wide: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(TaskError, match="all train labels are 1"):
        make_plan(wide, "memory", replace(TASK, sql="SELECT timestamp, 1 AS user_id, 1 AS bought FROM timestamps"))


def test_a_model_finds_the_signal_and_says_what_it_does_not_read(wide: duckdb.DuckDBPyConnection) -> None:
    model = train(wide, TASK, name="buys", options=replace(OPTIONS, max_paths=4))
    assert model.metrics["val_roc_auc"] > 0.8
    assert len(model.left_out) == 2 * CHILDREN + 1 - 4
    [(metrics,)] = wide.execute("SELECT metrics FROM relsql.runs WHERE phase = 'check'").fetchall()
    assert json.loads(metrics)["left_out_paths"] == list(map(str, model.left_out))
    findings = [str(finding) for finding in inspect(wide, "memory").findings]
    assert f"info: model buys version 1: does not read {model.left_out[0]}" in findings
    assert any("task buys: training reads 12 of its 21 link paths" in finding for finding in findings)
    # More paths are another request; the same is not trained again.
    assert train(wide, TASK, name="buys", options=replace(OPTIONS, max_paths=4)).reused
    assert not train(wide, TASK, name="buys", options=replace(OPTIONS, max_paths=3, epochs=1)).reused


def test_the_option_is_on_the_command_line() -> None:
    assert "--max-paths" in CliRunner().invoke(cli, ["train", "--help"]).output
