"""Multiclass tasks from labels to plain SQL: text, integer, boolean and ENUM classes, rare ones and unknown ones."""

from __future__ import annotations

import dataclasses
import datetime
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score

import relsql
from relsql.bundles.export_model import export_model
from relsql.bundles.import_model import import_model
from relsql.database.connections import open_database
from relsql.errors import TaskError
from relsql.evaluation.evaluate import evaluate
from relsql.evaluation.explanations.importance import importance
from relsql.evaluation.metrics.class_metrics import LEAST_PROBABILITY, class_metrics
from relsql.publishing.publish import publish
from relsql.registry.models import active_card
from relsql.schema.reading import read_schema
from relsql.scoring.score_table import score_into
from relsql.tasks.kinds.classes import FEWEST_LABELS, UNKNOWN, Classes, class_counts
from relsql.tasks.task import Task
from relsql.training.train import train
from tests.shop import CUSTOMERS, QUICK, TASK, create_shop
from udfs.attach import attach

HOW_OFTEN = "CASE count(o.order_id) WHEN 0 THEN 'none' WHEN 1 THEN 'once' ELSE 'often' END"
CLASSES = ["none", "often", "once"]


def asked(label: str, name: str = "activity", **changes: object) -> Task:
    sql = TASK.sql.replace("(count(o.order_id) = 0)::BIGINT AS churned", f"{label} AS activity")
    return dataclasses.replace(
        TASK, name=name, task_type="multiclass_classification", target_col="activity", sql=sql, **changes
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classes") / "shop.duckdb"
    create_shop(path)
    with duckdb.connect(str(path)) as con:
        train(con, asked(HOW_OFTEN), name="activity", options=dataclasses.replace(QUICK, coverage=0.8))
    return path


@pytest.fixture
def con(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(path)) as con:
        attach(con)
        yield con


def test_the_score_is_the_likeliest_class_in_the_type_of_the_labels(con: duckdb.DuckDBPyConnection) -> None:
    query = """SELECT predict_activity(customer_id) AS score, predict_activity_full(customer_id) AS described
               FROM customers"""
    assert str(con.sql(query).types[0]) == "VARCHAR"
    rows = con.sql(query).fetchall()
    assert len(rows) == CUSTOMERS
    for score, described in rows:
        assert list(described["probabilities"]) == CLASSES
        assert sum(described["probabilities"].values()) == pytest.approx(1, abs=1e-6)
        assert score == described["score"] == max(CLASSES, key=described["probabilities"].__getitem__)
        assert described["target"] == "class"
        ranked = sorted(CLASSES, key=described["probabilities"].__getitem__, reverse=True)
        assert described["likely"] == ranked[: len(described["likely"])] and described["likely"]
    assert len({len(described["likely"]) for _, described in rows}) > 1


def test_entities_that_are_not_known_have_no_class(con: duckdb.DuckDBPyConnection) -> None:
    [[score, described]] = con.execute("SELECT predict_activity(-1), predict_activity_full(-1)").fetchall()
    assert score is None and described["probabilities"] is None and described["status"] == "unknown_entity"
    assert described["likely"] is None
    uncertainty = active_card(con, "shop", "activity").uncertainty
    assert uncertainty is not None and uncertainty.coverage == 0.8


def test_all_entities_have_a_row_and_a_row_for_each_class(con: duckdb.DuckDBPyConnection) -> None:
    moment = "as_of := TIMESTAMP '2022-06-01'"
    batch = con.execute(f"SELECT customer_id, score, probabilities, as_of FROM predict_activity_batch({moment})")
    expected = {row[0]: row[1:] for row in batch.fetchall()}
    rows = con.execute(f"SELECT customer_id, class, probability, as_of FROM predict_activity_classes({moment})")
    found = rows.fetchall()
    assert len(expected) == CUSTOMERS and len(found) == len(CLASSES) * CUSTOMERS
    for customer, name, probability, as_of in found:
        assert probability == pytest.approx(expected[customer][1][name], abs=1e-6)
        assert as_of == expected[customer][2]


def test_metrics_are_those_of_the_functions(con: duckdb.DuckDBPyConnection) -> None:
    found = evaluate(con, "activity", "test")
    assert list(found.metrics) == ["log_loss", "accuracy", "macro_f1", "roc_auc"]
    assert found.target == "class" and found.rows == CUSTOMERS and found.intervals.keys() == found.metrics.keys()


def test_plain_sql_a_batch_job_and_another_file_give_the_same_classes(
    path: Path, con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    scores = "SELECT customer_id, score, map_values(probabilities) FROM {} ORDER BY customer_id"
    expected = con.execute(scores.format("predict_activity_batch()")).fetchall()
    likely = "SELECT customer_id, predict_activity_full(customer_id).likely FROM customers ORDER BY customer_id"
    sets = con.execute(likely).fetchall()
    job = score_into(con, "activity", "risk", chunk_rows=25)
    assert (job.finished, job.scored) == (True, CUSTOMERS)
    tables = [con.execute(scores.format("risk")).fetchall()]
    export_model(con, "activity", tmp_path / "bundle")
    create_shop(tmp_path / "other.duckdb")
    with open_database(tmp_path / "other.duckdb") as other:
        import_model(other, tmp_path / "bundle")
        attach(other)
        tables.append(other.execute(scores.format("predict_activity_batch()")).fetchall())
    con.close()
    with duckdb.connect(str(path)) as plain:
        published = publish(plain, "activity")
        assert published.macros[-1] == "predict_activity_classes" and published.parity.largest <= 1e-5  # type: ignore[union-attr]
        tables.append(plain.execute(scores.format("predict_activity_batch()")).fetchall())
        assert plain.execute("SELECT count(*) FROM predict_activity_classes()").fetchall() == [(3 * CUSTOMERS,)]
        assert plain.execute(likely).fetchall() == sets
    for found in tables:
        assert [row[:2] for row in found] == [row[:2] for row in expected]
        np.testing.assert_allclose([row[2] for row in found], [row[2] for row in expected], atol=1e-5)


def test_integers_with_rare_classes_unknown_ones_and_none_of_the_validation(tmp_path: Path) -> None:
    create_shop(tmp_path / "shop.duckdb")
    moment, customer = "any_value(t.timestamp)", "any_value(a.customer_id)"
    number = f"""CASE WHEN {moment} > TIMESTAMP '2022-10-15' AND {customer} < 5 THEN 99
                WHEN {moment} > TIMESTAMP '2022-08-15' AND {customer} < 3 THEN 77
                WHEN {moment} > TIMESTAMP '2022-06-15' AND {customer} IN (7, 8) THEN {customer}::INTEGER
                ELSE count(o.order_id)::INTEGER % 2 END"""
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        model = train(con, asked(number), name="numbers", options=QUICK)
        assert any("2 of 4 classes have fewer than 10 training labels ('7', '8')" in str(x) for x in model.findings)
        assert any("3 val labels are of 1 classes that no training label has ('77')" in str(x) for x in model.findings)
        attach(con)
        classes = active_card(con, "shop", "numbers").classes
        assert classes is not None and classes.type == "INTEGER" and classes.values == ("0", "1", "7", "8")
        assert classes.outputs == 3
        query = (
            "SELECT predict_numbers(customer_id) AS s, predict_numbers_full(customer_id).probabilities FROM customers"
        )
        assert str(con.sql(query).types[0]) == "INTEGER"
        for _, probabilities in con.sql(query).fetchall():
            shares = probabilities[7] / classes.counts[2], probabilities[8] / classes.counts[3]
            assert shares[0] == pytest.approx(shares[1], rel=1e-4)
        found = evaluate(con, "numbers", "test")
        assert any("5 of 60 labels are of 1 classes that it does not know" in str(x) for x in found.findings)
        assert found.metrics["log_loss"] > 5 / 60 * -np.log(LEAST_PROBABILITY)
        assert publish(con, "numbers").parity.largest <= 1e-5  # type: ignore[union-attr]


def table_of(labels: list[object]) -> pa.Table:
    return pa.table({"label": pa.array(labels)})


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a"] * 50 + ["b"] * 9, "the next one, 'b', has 9. Expected: at least 10 training labels of each of two"),
        ([str(i) for i in range(60)], "of 60 classes 0 has 10 training labels or more"),
        (["a" * 2_000, "b"] * 20, "characters. Expected: at most 10,000 classes of at most 1,000 characters"),
    ],
)
def test_classes_that_cannot_be_learned_are_refused(labels: list[object], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        Classes.of(asked(HOW_OFTEN), table_of(labels))


@pytest.mark.parametrize("labels", [["no", "yes", "é"], [False, True], [-3, 2, 10]])
def test_classes_are_in_the_order_of_their_type_and_codes_are_their_places(labels: list[object]) -> None:
    given_labels = table_of(labels[::-1] * FEWEST_LABELS)
    classes = Classes.of(asked(HOW_OFTEN), given_labels)
    assert classes.array.to_pylist() == labels and not list(classes.problems())
    assert [labels[code] for code in classes.codes(given_labels["label"])] == labels[::-1] * FEWEST_LABELS
    assert classes.codes(pa.array(["something else"])).tolist() == [UNKNOWN]


def test_metrics_agree_with_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    labels, probabilities = random.integers(0, 4, 300), random.dirichlet(np.ones(4), 300)
    predicted = probabilities.argmax(1)
    found = class_metrics(labels, probabilities)
    assert found["log_loss"] == pytest.approx(log_loss(labels, probabilities))
    assert found["accuracy"] == accuracy_score(labels, predicted)
    assert found["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert found["roc_auc"] == pytest.approx(roc_auc_score(labels, probabilities, multi_class="ovr"))
    labels[:30] = UNKNOWN
    assert class_metrics(labels, probabilities)["accuracy"] == (predicted[30:] == labels[30:]).sum() / 300


def test_two_named_labels_are_a_binary_task(tmp_path: Path) -> None:
    from relsql.schema.reading import read_schema
    from relsql.tasks.labels.label_table import label_table

    create_shop(tmp_path / "shop.duckdb")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        schema = read_schema(con, "shop")

        def labels(label: str, positive: object = None) -> list[int]:
            fields = dataclasses.asdict(asked(label)) | {"task_type": "binary_classification", "positive": positive}
            return label_table(con, "shop", schema, Task.from_fields(fields), "val").table["label"].to_pylist()

        expected = labels("(count(o.order_id) = 0)::BIGINT")
        assert set(expected) == {0, 1}
        for label, positive in (
            ("CASE count(o.order_id) WHEN 0 THEN 'yes' ELSE 'no' END", None),
            ("CASE count(o.order_id) WHEN 0 THEN 'lost' ELSE 'kept' END", "lost"),
            ("CASE count(o.order_id) WHEN 0 THEN 2 ELSE 7 END", 2),
            ("count(o.order_id) > 0", False),
        ):
            assert labels(label, positive) == expected, label


def test_counts_are_in_the_order_of_the_classes() -> None:
    assert class_counts(table_of([10, 9, 10, -1])) == (("-1", "9", "10"), (1, 1, 2))


def test_an_explanation_is_about_the_probability_of_the_class(con: duckdb.DuckDBPyConnection) -> None:
    query = "SELECT score, probabilities[score] FROM predict_activity_batch() WHERE customer_id = 5"
    [(likeliest, probability)] = con.execute(query).fetchall()
    explained = con.execute(
        """SELECT row_key, class, score, contribution FROM explain_activity(5, top := NULL)
           WHERE table_name = 'orders' ORDER BY rank ASC"""
    ).fetchall()
    assert {row[1] for row in explained} == {likeliest}
    key, _, score, contribution = explained[0]
    assert score == pytest.approx(probability, abs=1e-6)
    con.execute("BEGIN")
    con.execute("DELETE FROM orders WHERE order_id = ?", [int(key)])
    left = f"SELECT probabilities[{likeliest!r}] FROM predict_activity_batch() WHERE customer_id = 5"
    [(without,)] = con.execute(left).fetchall()
    con.execute("ROLLBACK")
    assert contribution == pytest.approx(probability - without, abs=1e-6)


def test_a_leak_check_of_classes_passes_and_finds_a_query_that_looks_too_far(con: duckdb.DuckDBPyConnection) -> None:
    found = relsql.leakcheck(con, "activity", seeds=20)
    assert found.clean and {row.check for row in found.rows} >= {"scores, later rows deleted"}
    sql = asked(HOW_OFTEN).sql.replace("INTERVAL '{timedelta}'", "INTERVAL '{timedelta}' * 3")
    wide = dataclasses.replace(asked(HOW_OFTEN), sql=sql)
    leaks = [row for row in relsql.leakcheck(con, wide, quick=True).rows if row.verdict == "leak"]
    assert [(row.check, row.table) for row in leaks] == [("labels, rows after the window deleted", "orders")]


def test_a_backtest_of_classes_has_log_loss_baselines_and_what_was_predicted(path: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(shutil.copy(path, tmp_path / "shop.duckdb"))) as con:
        found = relsql.backtest(con, asked(HOW_OFTEN), model="activity", cutoffs=2)
        assert (found.metric, len(found.rows)) == ("log_loss", 2)
        for row in found.rows:
            query = "SELECT score, label, class, label_class FROM relsql.backtest_scores WHERE cutoff = ?"
            scores = con.execute(query, [row.cutoff]).fetchall()
            assert len(scores) == row.labels == CUSTOMERS and row.positives is None
            for score, label, named, happened in scores:
                assert (named == happened) == bool(label) and 1 / 3 <= score <= 1
            assert row.value is not None and row.low is not None and row.high is not None
            assert row.low <= row.value <= row.high
            assert row.own_columns is not None and row.entity_mean is not None and row.single_column is None


def test_a_report_shows_classes_beside_the_baseline(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    page = relsql.report(con, "activity", tmp_path / "report.html").read_text()
    value = evaluate(con, "activity", "test").metrics["log_loss"]
    assert f'<th scope="row">log_loss</th><td class="number">{value:.4g}</td>' in page
    [(often, labels)] = con.execute(
        f"""SELECT count(*) FILTER (WHERE predict_activity(customer_id, as_of := TIMESTAMP '2022-11-01') = 'often'),
            count(*) FILTER (WHERE (SELECT {HOW_OFTEN} FROM orders o WHERE o.customer_id = c.customer_id
                AND ordered_at > TIMESTAMP '2022-11-01' AND ordered_at <= TIMESTAMP '2022-12-01') = 'often')
            FROM customers c"""
    ).fetchall()
    assert f'<th scope="row">often</th><td class="number">{labels}</td><td class="number">{often}</td>' in page
    assert re.search(r"Predicted \w+, with probability 0\.\d+\. It was \w+\.", page) and "What matters" in page


def test_outcomes_of_classes_are_those_computed_by_hand(path: Path, tmp_path: Path) -> None:
    happened = f"""SELECT p.probabilities[list_position({CLASSES}, {HOW_OFTEN})], p.score, p.class = {HOW_OFTEN}
        FROM relsql.predictions p LEFT JOIN orders o ON o.customer_id = p.entity::BIGINT
            AND o.ordered_at > as_of AND o.ordered_at <= as_of + INTERVAL 30 DAY
        GROUP BY p.entity, as_of, p.score, p.class, p.probabilities"""
    with duckdb.connect(str(shutil.copy(path, tmp_path / "shop.duckdb"))) as con:
        for month in (10, 11):
            score_into(con, "activity", f"m{month}", as_of=datetime.datetime(2022, month, 1), keep_history=True)
        whole, *months = relsql.outcomes(con, "activity").outcomes
        probability, score, right = map(np.array, zip(*con.execute(happened).fetchall(), strict=True))
        assert (whole.labels, [each.labels for each in months]) == (len(score), [CUSTOMERS, CUSTOMERS])
        assert whole.metric == "log_loss" and whole.value == pytest.approx(-np.log(probability).mean(), abs=1e-6)
        assert (whole.mean_score, whole.mean_label) == pytest.approx((score.mean(), right.mean()))
        assert whole.interval and whole.interval[0] < whole.value < whole.interval[1]
        assert whole.validation == pytest.approx(active_card(con, "shop", "activity").metrics["val_log_loss"])


def test_the_card_says_what_is_asked(con: duckdb.DuckDBPyConnection) -> None:
    card = relsql.model_card(con, "activity")
    assert card.question.startswith("For each row of customers: which class is activity, in the 30 days after")


def test_importance_is_what_log_loss_is_without_it(con: duckdb.DuckDBPyConnection) -> None:
    whole = evaluate(con, "activity", "val").metrics["log_loss"]
    found = {(each.table, each.column): each for each in importance(con, "activity")}
    assert {each.metric for each in found.values()} == {"log_loss"} and ("orders", None) in found
    for each in found.values():
        assert each.whole == pytest.approx(whole, abs=1e-6) and each.gain == pytest.approx(each.without - each.whole)
        assert each.interval[0] <= each.gain <= each.interval[1]
    con.execute("BEGIN; UPDATE orders SET amount = NULL")
    without = evaluate(con, "activity", "val").metrics["log_loss"]
    con.execute("ROLLBACK")
    assert found["orders", "amount"].without == pytest.approx(without, abs=1e-6)


def test_a_line_asks_for_classes(tmp_path: Path) -> None:
    create_shop(tmp_path / "shop.duckdb")
    line = "PREDICT LAST(orders.note, 0, 30, days) CLASSIFY FOR EACH customers.customer_id"
    said = "encoder_steps = 2, fanout = 4, channels = 16, epochs = 2, threads = 1"
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        relsql.sql(con, f"CREATE MODEL note AS {line} WITH ({said})")
        card = active_card(con, "shop", "note")
        assert card.classes is not None and card.classes.values == ("express", "gift")
        assert Task.from_manifest(card.task.to_manifest()).resolved(read_schema(con, "shop")) == card.task
        found = relsql.sql(con, line)
        assert found is not None and {row[1] for row in found.fetchall()} <= {"express", "gift"}
        assert "log_loss" in evaluate(con, "note").metrics


def test_a_text_of_the_row_is_completed(tmp_path: Path) -> None:
    create_shop(tmp_path / "shop.duckdb")
    line = "PREDICT orders.note FOR EACH orders.order_id"
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        train(con, line, name="note", options=QUICK)
        task = active_card(con, "shop", "note").task
        assert (task.kind, task.task_type, task.target) == ("autocomplete", "multiclass_classification", None)
        attach(con)
        scores = "SELECT order_id, map_values(predict_note_full(order_id).probabilities) FROM orders ORDER BY order_id"
        expected = con.execute(f"{scores} LIMIT 40").fetchall()
        con.execute("BEGIN; UPDATE orders SET note = 'gift' WHERE order_id = 30")
        [changed] = con.execute(f"SELECT * FROM ({scores}) WHERE order_id = 30").fetchall()
        con.execute("ROLLBACK")
        assert dict(expected)[30] == pytest.approx(changed[1], abs=1e-6), "its own cell was read"
        batch = con.execute("SELECT count(*), count(score) FROM predict_note_batch()").fetchall()
        assert batch == con.execute("SELECT count(*), count(*) FROM orders WHERE note IS NULL").fetchall()
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as plain:
        assert publish(plain, "note").parity.largest <= 1e-5  # type: ignore[union-attr]
        found = plain.execute(f"{scores} LIMIT 40").fetchall()
    np.testing.assert_allclose([row[1] for row in found], [row[1] for row in expected], atol=1e-5)


@pytest.mark.parametrize("column", ["amount", "ordered_at"])
def test_a_column_that_is_no_class_is_refused(con: duckdb.DuckDBPyConnection, column: str) -> None:
    line = f"PREDICT LAST(orders.{column}, 0, 30, days) CLASSIFY FOR EACH customers.customer_id"
    with pytest.raises(TaskError, match="text"):
        relsql.train(con, line, name="other", options=QUICK)
