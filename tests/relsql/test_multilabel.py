"""Multilabel tasks from labels to plain SQL: lists of classes, a threshold for each, rare and unknown ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import average_precision_score, f1_score

import relsql
from relsql.bundles.export_model import export_model
from relsql.bundles.import_model import import_model
from relsql.database.connections import open_database
from relsql.database.names import current_catalog
from relsql.errors import RelsqlError, TaskError
from relsql.evaluation.baseline import class_baselines
from relsql.evaluation.evaluate import evaluate
from relsql.evaluation.explanations.importance import importance
from relsql.evaluation.metrics.label_metrics import best_thresholds, label_metrics
from relsql.publishing.publish import publish
from relsql.registry.models import active_card
from relsql.schema.reading import read_schema
from relsql.scoring.score_table import score_into
from relsql.tasks.kinds.classes import Classes, LabelSets
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.task import Task
from relsql.training.train import train
from tests.shop import CUSTOMERS, QUICK, TASK, create_shop
from udfs.attach import attach

Connection = duckdb.DuckDBPyConnection
LINE = "PREDICT LIST_DISTINCT(orders.note, 0, 60, days) CLASSIFY FOR EACH customers.customer_id"
SCORES = "SELECT customer_id, score, map_values(probabilities) FROM {} ORDER BY customer_id"


def asked(label: str) -> Task:
    sql = TASK.sql.replace("(count(o.order_id) = 0)::BIGINT AS churned", f"{label} AS notes")
    return dataclasses.replace(TASK, name="notes", task_type="multilabel_classification", target_col="notes", sql=sql)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "shop.duckdb"
    create_shop(path)
    with duckdb.connect(str(path)) as con:
        train(con, LINE, name="notes", options=QUICK)
    return path


@pytest.fixture
def con(path: Path) -> Iterator[Connection]:
    with duckdb.connect(str(path)) as con:
        attach(con)
        yield con


def test_the_score_is_the_list_of_classes_above_their_thresholds(con: Connection) -> None:
    classes = active_card(con, "shop", "notes").classes
    assert classes is not None and classes.values == ("express", "gift") and classes.thresholds is not None
    query = "SELECT predict_notes(customer_id) AS score, predict_notes_full(customer_id) AS described FROM customers"
    assert str(con.sql(query).types[0]) == "VARCHAR[]"
    rows = con.execute(query).fetchall()
    assert len(rows) == CUSTOMERS
    for score, described in rows:
        assert list(described["probabilities"]) == ["express", "gift"] and described["target"] == "classes"
        pairs = zip(described["probabilities"].items(), classes.thresholds, strict=True)
        assert score == described["score"] == [name for (name, value), least in pairs if value >= least]
    [[score, described]] = con.execute("SELECT predict_notes(-1), predict_notes_full(-1)").fetchall()
    assert score is None and described["probabilities"] is None and described["status"] == "unknown_entity"


def test_plain_sql_a_batch_job_and_another_file_give_the_same(path: Path, con: Connection, tmp_path: Path) -> None:
    expected = con.execute(SCORES.format("predict_notes_batch()")).fetchall()
    assert score_into(con, "notes", "lists", chunk_rows=25).scored == CUSTOMERS
    tables = [con.execute(SCORES.format("lists")).fetchall()]
    export_model(con, "notes", tmp_path / "bundle")
    create_shop(tmp_path / "other.duckdb")
    with open_database(tmp_path / "other.duckdb") as other:
        import_model(other, tmp_path / "bundle")
        attach(other)
        tables.append(other.execute(SCORES.format("predict_notes_batch()")).fetchall())
    con.close()
    with duckdb.connect(str(path)) as plain:
        published = publish(plain, "notes")
        assert published.parity is not None and published.parity.largest <= 1e-5
        tables.append(plain.execute(SCORES.format("predict_notes_batch()")).fetchall())
        assert plain.execute("SELECT count(*) FROM predict_notes_classes()").fetchall() == [(2 * CUSTOMERS,)]
        assert str(plain.sql("SELECT predict_notes(1)").types[0]) == "VARCHAR[]"
    for found in tables:
        assert [row[:2] for row in found] == [row[:2] for row in expected]
        np.testing.assert_allclose([row[2] for row in found], [row[2] for row in expected], atol=1e-5)


def test_a_line_asks_for_what_its_query_says(con: Connection) -> None:
    schema = read_schema(con, current_catalog(con))
    times = {"val_timestamp": "2022-08-01", "test_timestamp": "2022-10-15"}
    line = Task.from_line(LINE, "notes", **times).resolved(schema)
    sql = """SELECT t.timestamp, c.customer_id,
                 coalesce(list(DISTINCT o.note) FILTER (WHERE o.note IS NOT NULL), []) AS notes
             FROM timestamps t CROSS JOIN customers c LEFT JOIN orders o ON o.customer_id = c.customer_id
                 AND o.ordered_at > t.timestamp AND o.ordered_at <= t.timestamp + INTERVAL '60 days' GROUP BY ALL"""
    query = dataclasses.replace(
        asked("[]"), sql=sql, timedelta="60 days", val_timestamp=line.val_timestamp, test_timestamp=line.test_timestamp
    )
    assert line.task_type == "multilabel_classification" and line.timedelta == "60 days"
    for split in ("train", "val", "test"):
        mine, theirs = (label_table(con, "shop", schema, each, split).table for each in (line, query))  # type: ignore[arg-type]
        assert mine.num_rows and mine.equals(theirs)
        assert [] in mine.column("label").to_pylist() or split != "train"


def test_evaluation_is_beside_baselines(con: Connection) -> None:
    found = evaluate(con, "notes", "test")
    assert list(found.metrics) == ["log_loss", "micro_ap", "macro_ap", "micro_f1"] and found.target == "classes"
    card = active_card(con, "shop", "notes")
    assert {"val_log_loss", "val_micro_ap", "val_macro_ap"} <= set(card.metrics) and card.classes is not None
    own, shares = class_baselines(con, "shop", read_schema(con, "shop"), card.task, card.classes, "test")
    assert own.keys() == shares.keys() == found.metrics.keys()
    # Without anything about the entity each class has one probability, whose average precision is its share.
    labels = label_table(con, "shop", read_schema(con, "shop"), card.task, "test").table
    assert shares["macro_ap"] == pytest.approx(card.classes.hits(labels.column("label")).mean())


def test_what_is_about_one_class_is_refused(con: Connection) -> None:
    for query in ("FROM explain_notes(5)", "FROM explain_notes_batch(top := 3)"):
        with pytest.raises(duckdb.Error, match="predicts lists of classes, which are not explained"):
            con.execute(query)
    with pytest.raises(TaskError, match="has lists of classes; importance does not support that"):
        importance(con, "notes")


def test_a_leak_check_compares_lists(con: Connection) -> None:
    found = relsql.leakcheck(con, "notes", seeds=10)
    assert found.clean and {"scores, later rows deleted", "labels, rows after the window deleted"} <= {
        row.check for row in found.rows
    }


def test_integers_with_rare_and_unknown_classes(tmp_path: Path) -> None:
    create_shop(tmp_path / "shop.duckdb")
    moment, customer = "any_value(t.timestamp)", "any_value(a.customer_id)"
    label = f"""list_concat([(count(o.order_id) % 2)::INTEGER, NULL], CASE
        WHEN {moment} > TIMESTAMP '2022-10-15' AND {customer} < 5 THEN [99]
        WHEN {moment} > TIMESTAMP '2022-06-15' AND {customer} IN (7, 8) THEN [{customer}::INTEGER] ELSE [] END)"""
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        trained = train(con, asked(label), name="numbers", options=QUICK)
        assert any("2 of 4 classes have fewer than 10 training labels ('7', '8')" in str(x) for x in trained.findings)
        classes = active_card(con, "shop", "numbers").classes
        assert classes is not None and classes.type == "INTEGER" and classes.values == ("0", "1", "7", "8")
        assert classes.outputs == 3
        attach(con)
        assert str(con.sql("SELECT predict_numbers(1)").types[0]) == "INTEGER[]"
        found = evaluate(con, "numbers", "test")
        assert any("5 of 60 labels are of 1 classes that it does not know" in str(x) for x in found.findings)
        assert publish(con, "numbers").parity.largest <= 1e-5  # type: ignore[union-attr]


def test_metrics_and_thresholds_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(3)
    held = random.random((200, 4)) < [0.1, 0.5, 0.9, 0]
    scores = np.clip(held * 0.3 + random.random((200, 4)) * 0.7, 0, 1).round(2)
    thresholds = best_thresholds(held, scores)
    metrics = label_metrics(held, scores, thresholds)
    assert metrics["micro_ap"] == pytest.approx(average_precision_score(held, scores, average="micro"))
    assert metrics["macro_ap"] == pytest.approx(average_precision_score(held[:, :3], scores[:, :3], average="macro"))
    assert metrics["micro_f1"] == pytest.approx(f1_score(held, scores >= thresholds, average="micro"))
    for code in range(3):
        best = max(f1_score(held[:, code], scores[:, code] >= least) for least in np.arange(0, 1, 0.005))
        assert f1_score(held[:, code], scores[:, code] >= thresholds[code]) == pytest.approx(best)
    assert not (scores[:, 3] >= thresholds[3]).any() or scores[:, 3].max() == 1


def test_equal_lists_have_equal_codes() -> None:
    classes = Classes("VARCHAR", ("a", "b"), (20, 20), (0.5, 0.5))
    tables = [pa.table({"label": pa.array(x, pa.list_(pa.string()))}) for x in ([["a"], [], ["a", "b"]], [["b", "a"]])]
    sets = LabelSets.of(classes, tables)
    codes = [sets.coded(table).column("label").to_pylist() for table in tables]
    assert codes[0][2] == codes[1][0] and len({*codes[0]}) == 3
    assert sets.rows[codes[0]].tolist() == [[True, False], [False, False], [True, True]]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("count(o.order_id)", "as BIGINT. Expected: a list of texts"),
        ("[[1]]", "Expected: a list of texts"),
        ("['only']", "all train labels are"),
        ("NULL::VARCHAR[]", "all train labels are NULL"),
    ],
)
def test_labels_that_are_no_lists_are_refused(con: Connection, label: str, message: str) -> None:
    with pytest.raises(RelsqlError, match=message.replace("[", r"\[")):
        train(con, asked(label), name="other", options=QUICK)
