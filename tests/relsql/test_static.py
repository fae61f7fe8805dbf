"""Static tasks from the split to plain SQL: a database in which nothing has a time, and one where it is ignored."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest

import relsql
from relsql.bundles.export_model import export_model
from relsql.bundles.import_model import import_model
from relsql.cli.inspection import inspect
from relsql.database.connections import open_database
from relsql.database.names import current_catalog
from relsql.errors import TaskError
from relsql.evaluation.baseline import class_baselines
from relsql.evaluation.evaluate import evaluate
from relsql.publishing.publish import publish
from relsql.registry.models import active_card
from relsql.schema.reading import read_schema
from relsql.scoring.score_table import score_into
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.stored_tasks import read_task, save_task
from relsql.tasks.task import Task
from relsql.training.train import train
from tests.shop import QUICK, TASK, create_shop
from udfs.attach import attach

Connection = duckdb.DuckDBPyConnection
MEMBERS = 400
LINE = "PREDICT members.segment FOR EACH members.member_id"


def create_club(path: Path) -> None:
    """Members of towns and what they bought; the segment follows from what they spent, and nothing has a time."""
    with duckdb.connect(str(path)) as con:
        con.execute(
            f"""
            CREATE TABLE towns (town_id INTEGER PRIMARY KEY, size INTEGER);
            INSERT INTO towns SELECT i, 100 * i FROM range(8) t(i);
            CREATE TABLE members (member_id INTEGER PRIMARY KEY, town_id INTEGER REFERENCES towns,
                                  age INTEGER, fold VARCHAR, segment VARCHAR);
            INSERT INTO members SELECT i, i % 8, 20 + i % 50,
                CASE WHEN i % 40 = 2 THEN NULL ELSE ['Valid', 'test', 'train', 'train'][1 + i % 4] END,
                ['low', 'mid', 'high'][1 + (hash(i) % 3)::INTEGER]
                FROM range({MEMBERS}) t(i);
            CREATE TABLE purchases (
                purchase_id INTEGER PRIMARY KEY, member_id INTEGER REFERENCES members, amount DOUBLE);
            INSERT INTO purchases SELECT row_number() OVER (), m.member_id,
                CASE m.segment WHEN 'low' THEN 1 WHEN 'mid' THEN 10 ELSE 100 END * (1 + n % 3)
                FROM members m, range(3) t(n);
            UPDATE members SET segment = NULL WHERE member_id % 20 = 7;
            """
        )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("static") / "club.duckdb"
    create_club(path)
    with duckdb.connect(str(path)) as con:
        trained = train(con, LINE, name="segment", options=QUICK)
        assert any("split at random" in finding.message for finding in trained.findings)
        assert any("random(0): rows of members are split at random" in line for line in trained.splits)
        assert not any("1970" in line for line in trained.splits)
    return path


@pytest.fixture
def con(path: Path) -> Iterator[Connection]:
    with duckdb.connect(str(path)) as con:
        attach(con)
        yield con


def labels_of(con: Connection, task: Task, split: str) -> dict[int, object]:
    table = label_table(con, current_catalog(con), read_schema(con, current_catalog(con)), task, split).table  # type: ignore[arg-type]
    return dict(zip(table.column("entity").to_pylist(), table.column("label").to_pylist(), strict=True))


def resolved(con: Connection, line: str = LINE, **fields: object) -> Task:
    return Task.from_line(line, "segment", **fields).resolved(read_schema(con, current_catalog(con)))


def test_a_column_of_a_table_without_time_is_static(con: Connection) -> None:
    task = resolved(con)
    assert (task.kind, task.task_type, task.split) == ("static", "multiclass_classification", "random(0)")
    assert task.visible == "at-or-before" and task.resolved(read_schema(con, "club")) == task
    save_task(con, "club", task)
    stored = read_task(con, "club", "segment")
    assert stored == task and Task.from_manifest(stored.to_manifest()).resolved(read_schema(con, "club")) == task
    assert not [finding for finding in inspect(con, "club").findings if finding.severity == "error"]


def test_a_hash_of_the_key_splits_the_rows(con: Connection) -> None:
    parts = [labels_of(con, resolved(con), split) for split in ("train", "val", "test")]
    keys = [set(part) for part in parts]
    [[labelled]] = con.execute("SELECT count(segment) FROM members").fetchall()
    assert sum(map(len, keys)) == len(set.union(*keys)) == labelled
    assert [round(len(key) / labelled, 1) for key in keys] == [0.8, 0.1, 0.1]
    other = [set(labels_of(con, resolved(con, split="random(7)"), split)) for split in ("train", "val", "test")]
    assert other[2] != keys[2] and len(set.union(*other)) == labelled
    con.execute("BEGIN; INSERT INTO members SELECT 1000 + i, 1, 30, NULL, 'low' FROM range(50) t(i); COMMIT")
    assert keys[2] <= set(labels_of(con, resolved(con), "test")), "rows left their split when others came"
    con.execute("DELETE FROM members WHERE member_id >= 1000")


def test_a_column_says_the_split_and_is_hidden(con: Connection) -> None:
    task = resolved(con, split="FOLD")
    assert task.split == "fold" and set(task.removed) == {("members", "segment"), ("members", "fold")}
    assert {key % 4 for key in labels_of(con, task, "val")} == {0}
    assert {key % 4 for key in labels_of(con, task, "test")} == {1}
    train_keys = set(labels_of(con, task, "train"))
    assert train_keys and all(key % 4 > 1 and key % 40 != 2 for key in train_keys)


def test_no_answer_of_any_row_is_read(con: Connection) -> None:
    card = active_card(con, "club", "segment")
    assert "segment" not in card.schema.table("members").column_names
    before = con.execute("SELECT member_id, probabilities FROM predict_segment_batch() ORDER BY ALL").fetchall()
    con.execute("BEGIN")
    con.execute("UPDATE members SET segment = 'high'")
    after = con.execute("SELECT member_id, probabilities FROM predict_segment_batch() ORDER BY ALL").fetchall()
    con.execute("ROLLBACK")
    assert before == after and len(before) == MEMBERS


def test_rows_of_others_are_read_and_empty_cells_are_filled(path: Path, tmp_path: Path) -> None:
    with duckdb.connect(shutil.copy(path, tmp_path / "club.duckdb")) as con:
        attach(con)
        query = "SELECT probabilities FROM predict_segment_batch() ORDER BY member_id"
        before = con.execute(query).fetchall()
        con.execute("UPDATE purchases SET amount = amount * 7 WHERE member_id = 3")
        after = con.execute(query).fetchall()
        assert before[3] != after[3]
        con.execute("UPDATE members SET segment = predict_segment(member_id) WHERE segment IS NULL")
        assert con.execute("SELECT count(*) FROM members WHERE segment IS NULL").fetchall() == [(0,)]


def test_plain_sql_a_job_a_bundle_and_explanations(path: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(path, tmp_path / "club.duckdb"))
    scores = "SELECT member_id, map_values(probabilities) FROM {} ORDER BY member_id"
    with duckdb.connect(str(copy)) as con:
        attach(con)
        expected = con.execute(scores.format("predict_segment_batch()")).fetchall()
        assert score_into(con, "segment", "segments", chunk_rows=150).finished
        tables = [con.execute(scores.format("segments")).fetchall()]
        export_model(con, "segment", tmp_path / "bundle")
        assert con.execute("SELECT count(*) > 0 FROM explain_segment(3)").fetchall() == [(True,)]
    create_club(tmp_path / "other.duckdb")
    with open_database(tmp_path / "other.duckdb") as other:
        import_model(other, tmp_path / "bundle")
        attach(other)
        tables.append(other.execute(scores.format("predict_segment_batch()")).fetchall())
    with duckdb.connect(str(copy)) as plain:
        published = publish(plain, "segment")
        assert published.parity is not None and published.parity.largest <= 1e-5
        tables.append(plain.execute(scores.format("predict_segment_batch()")).fetchall())
    for found in tables:
        assert [key for key, _ in found] == [key for key, _ in expected]
        np.testing.assert_allclose([row[1] for row in found], [row[1] for row in expected], atol=1e-5)


def test_evaluation_is_beside_baselines_that_do_not_read_the_answer(con: Connection) -> None:
    found = evaluate(con, "segment", "test")
    assert found.rows == len(labels_of(con, resolved(con), "test"))
    assert any("split at random" in finding.message for finding in found.findings)
    card = active_card(con, "club", "segment")
    assert card.classes is not None
    own, shares = class_baselines(con, "club", read_schema(con, "club"), card.task, card.classes, "test")
    # Nothing but the answer itself could tell the classes apart in the columns of members.
    assert own["accuracy"] < 0.7 and shares["log_loss"] == pytest.approx(np.log(3), abs=0.1)


def test_a_query_over_keys_in_a_database_with_times(tmp_path: Path) -> None:
    create_shop(tmp_path / "shop.duckdb")
    task = Task.from_manifest(
        {
            "name": "big",
            "kind": "static",
            "task_type": "binary_classification",
            "entity_table": "customers",
            "entity_col": "customer_id",
            "target_col": "big",
            "sql": "SELECT customer_id, count(*) > 9 AS big FROM orders GROUP BY ALL",
        }
    )
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        trained = train(con, task, name="big", options=QUICK)
        assert trained.metrics
        [[latest]] = con.execute("SELECT max(ordered_at) FROM orders").fetchall()
        assert active_card(con, "shop", "big").trained_until == latest
        attach(con)
        assert con.execute("SELECT count(*) FROM predict_big_batch() WHERE status = 'ok'").fetchall() == [(60,)]
        with pytest.raises(TaskError, match="is static; a backtest does not support that"):
            relsql.backtest(con, task)


BAD = [
    ({"split": "nowhere"}, "has no column 'nowhere' that names the split"),
    ({"split": "random(x)"}, "has no column 'random"),
    ({"split": "town_id"}, "which is a link"),
    ({"target_col": "town_id"}, "which is a link"),
    ({"target_col": "member_id"}, "which is the key"),
    ({"target_col": "size"}, "has no column 'size'"),
    ({"entity_table": "nobody"}, "does not exist"),
    ({"timedelta": "30 days"}, "is of kind static with timedelta"),
    ({"time_col": "at"}, "is of kind static with time_col"),
    (
        {"kind": "forecast", "entity_col": "member_id", "time_col": "t", "timedelta": "1 day", "sql": "SELECT 1"},
        "split",
    ),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_bad_tasks_are_refused(con: Connection, changes: dict[str, object], message: str) -> None:
    fields = {
        "name": "segment",
        "kind": "static",
        "task_type": "multiclass_classification",
        "entity_table": "members",
        "target_col": "segment",
        "split": "fold",
    }
    with pytest.raises(TaskError, match=message):
        Task.from_manifest({**fields, **changes}).resolved(read_schema(con, "club"))


def test_an_empty_split_and_a_frozen_database_are_refused(con: Connection) -> None:
    con.execute("CREATE OR REPLACE TABLE few (id INTEGER PRIMARY KEY, fold VARCHAR, size DOUBLE)")
    con.execute("INSERT INTO few SELECT i, 'train', i FROM range(50) t(i)")
    line = "PREDICT few.size FOR EACH few.id"
    with pytest.raises(TaskError, match="no row of few with a label is in the val split"):
        labels_of(con, resolved(con, line, split="fold"), "val")
    with pytest.raises(TaskError, match="is static, which a frozen database cannot answer"):
        evaluate(con, "segment", regime="frozen")
    con.execute("DROP TABLE few")


def test_who_says_kind_and_split(tmp_path: Path) -> None:
    create_shop(tmp_path / "shop.duckdb")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        line = "PREDICT orders.amount FOR EACH orders.order_id"
        with pytest.raises(TaskError, match="no row of orders with a label is in the train split"):
            relsql.sql(con, f"CREATE MODEL m AS {line} WITH (kind = 'static', split = 'note')")
        assert resolved(con, line).kind == "autocomplete"
        assert resolved(con, line, kind="static", split="random(3)").split == "random(3)"
        with pytest.raises(TaskError, match="rows of 'orders' have a time"):
            resolved(con, line, split="random(3)")
        assert TASK.split is None
