"""Recommendations from labels to SQL: lists of items, a ranker, functions, metrics, and what is refused."""

from __future__ import annotations

import dataclasses
import datetime
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import relsql
from relsql.bundles.export_model import export_model
from relsql.database.connections import transaction
from relsql.database.names import current_catalog
from relsql.errors import ModelError, RelsqlError, TaskError
from relsql.evaluation.evaluate import evaluate
from relsql.evaluation.explanations.importance import importance
from relsql.evaluation.metrics.ranking_metrics import hits_of, ranking_metrics
from relsql.gather.candidates.features import Candidates
from relsql.gather.candidates.ranker import Ranker, Tree
from relsql.gather.candidates.ranking import Ranking
from relsql.publishing.publish import publish
from relsql.registry.models import active_card
from relsql.schema.declared.declare import declare_table
from relsql.schema.reading import read_schema
from relsql.scoring.score_output import score_to
from relsql.scoring.score_table import score_into
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.stored_tasks import read_task, save_task
from relsql.tasks.task import Task
from relsql.training.options import TrainOptions
from relsql.training.train import train
from udfs.attach import attach

AS_OF = datetime.datetime(2022, 11, 1)

BASKET = Task.from_manifest(
    {
        "name": "basket",
        "kind": "forecast",
        "task_type": "recommendation",
        "src_entity_table": "customers",
        "src_entity_col": "customer_id",
        "dst_entity_table": "products",
        "dst_entity_col": "product",
        "eval_k": 4,
        "target_col": "products",
        "time_col": "timestamp",
        "timedelta": "30 days",
        "val_timestamp": "2022-10-01",
        "test_timestamp": "2022-11-01",
        "sql": """
            SELECT t.timestamp, o.customer_id, list(DISTINCT l.product) AS products
            FROM timestamps t
            JOIN orders o ON o.ordered_at > t.timestamp AND o.ordered_at <= t.timestamp + INTERVAL '{timedelta}'
            JOIN lines l USING (order_id)
            GROUP BY ALL""",
    }
)


def create_market(path: Path) -> None:
    """40 customers, of whom the last never orders, who order from 24 products, mostly their own few ones."""
    with duckdb.connect(str(path)) as con:
        con.execute(
            """
            CREATE TABLE customers (customer_id BIGINT PRIMARY KEY, name VARCHAR);
            INSERT INTO customers SELECT i, 'customer ' || i FROM range(40) t(i);
            CREATE TABLE products (product VARCHAR PRIMARY KEY, price DOUBLE);
            INSERT INTO products SELECT 'p' || i, i FROM range(24) t(i);
            CREATE TABLE orders (
                order_id BIGINT PRIMARY KEY, customer_id BIGINT REFERENCES customers (customer_id),
                ordered_at TIMESTAMP);
            INSERT INTO orders
            SELECT row_number() OVER (ORDER BY day ASC, i ASC), i,
                TIMESTAMP '2022-01-01 08:00:00' + to_days(day::INTEGER)
            FROM range(39) c(i), range(0, 360, 6) d(day) WHERE hash(i, day) % 100 < 40;
            CREATE TABLE lines (
                line_id BIGINT PRIMARY KEY, order_id BIGINT REFERENCES orders (order_id),
                product VARCHAR REFERENCES products (product));
            INSERT INTO lines
            SELECT row_number() OVER (ORDER BY order_id ASC, n ASC), order_id,
                'p' || CASE WHEN hash(order_id, n) % 10 < 7 THEN (customer_id * 3 + hash(n, order_id) % 3) % 24
                            ELSE hash(order_id, n, 1) % 24 END
            FROM orders, range(3) l(n);
            """
        )
        catalog = current_catalog(con)
        with transaction(con):
            declare_table(con, catalog, "orders", time_column="ordered_at")
            save_task(con, catalog, BASKET)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("market") / "market.duckdb"
    create_market(path)
    with duckdb.connect(str(path)) as con:
        train(con, "basket", name="basket")
    return path


@pytest.fixture
def con(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(path)) as con:
        attach(con)
        con.execute("BEGIN")
        yield con
        con.execute("ROLLBACK")


def test_functions_return_the_best_items_in_order(con: duckdb.DuckDBPyConnection) -> None:
    relation = con.sql("SELECT predict_basket(7, k := 5), predict_basket_full(7, k := 5)")
    assert str(relation.types[0]) == "VARCHAR[]"
    [(items, full)] = relation.fetchall()
    assert len(set(items)) == 5 and set(items) & {"p21", "p22", "p23"}
    assert [each["item"] for each in full["items"]] == items
    assert [each["rank"] for each in full["items"]] == [1, 2, 3, 4, 5]
    scores = [each["score"] for each in full["items"]]
    assert scores == sorted(scores, reverse=True)
    assert (full["status"], full["version"]) == ("ok", 1) and full["evidence"] > 0


def test_one_entity_and_a_batch_get_the_same_items(con: duckdb.DuckDBPyConnection) -> None:
    batch = """SELECT customer_id, list(item ORDER BY "rank" ASC), list(score ORDER BY "rank" ASC), any_value(status)
               FROM predict_basket_batch(k := 3, as_of := TIMESTAMP '2022-11-01') GROUP BY ALL ORDER BY ALL ASC"""
    found = {key: (items, scores, status) for key, items, scores, status in con.execute(batch).fetchall()}
    assert found.keys() == set(range(40))
    for key in (0, 7, 39):
        call = "SELECT predict_basket_full(?, k := 3, as_of := TIMESTAMP '2022-11-01')"
        [(full,)] = con.execute(call, [key]).fetchall()
        listed = [each["item"] for each in full["items"]], [each["score"] for each in full["items"]]
        assert (*listed, full["status"]) == found[key]


def test_an_entity_without_history_gets_popular_items(con: duckdb.DuckDBPyConnection) -> None:
    [(full,)] = con.execute("SELECT predict_basket_full(39)").fetchall()
    assert (full["status"], full["evidence"], len(full["items"])) == ("no_history", 0, 10)


def test_unknown_entities_and_missing_arguments_get_nothing(con: duckdb.DuckDBPyConnection) -> None:
    [(unknown, none, never)] = con.execute(
        "SELECT predict_basket_full(999), predict_basket_full(NULL), predict_basket_full(1, as_of := NULL)"
    ).fetchall()
    assert (unknown["items"], unknown["status"]) == (None, "unknown_entity")
    assert none is None and never is None


def test_seen_items_are_excluded_on_request(con: duckdb.DuckDBPyConnection) -> None:
    met = "SELECT DISTINCT product FROM lines JOIN orders USING (order_id) WHERE customer_id = 7"
    seen = {item for (item,) in con.execute(met).fetchall()}
    [(items,)] = con.execute("SELECT predict_basket(7, k := 30, exclude_seen := true)").fetchall()
    assert items and not seen & set(items)
    [(every,)] = con.execute("SELECT predict_basket(7, k := 30)").fetchall()
    assert set(items) == set(every) - seen


def test_rows_after_as_of_change_nothing(con: duckdb.DuckDBPyConnection) -> None:
    batch = "FROM predict_basket_batch(k := 8, as_of := TIMESTAMP '2022-09-01') ORDER BY ALL ASC"
    one = "SELECT predict_basket_full(7, as_of := TIMESTAMP '2022-09-01')"
    before = con.execute(batch).fetchall(), con.execute(one).fetchall()
    later = "SELECT order_id FROM orders WHERE ordered_at > TIMESTAMP '2022-09-01'"
    con.execute(f"UPDATE lines SET product = 'p0' WHERE order_id IN ({later})")
    assert (con.execute(batch).fetchall(), con.execute(one).fetchall()) == before
    con.execute(f"DELETE FROM lines WHERE order_id IN ({later})")
    assert (con.execute(batch).fetchall(), con.execute(one).fetchall()) == before
    con.execute("DELETE FROM lines WHERE order_id IN (SELECT order_id FROM orders WHERE customer_id = 7)")
    assert con.execute(one).fetchall() != before[1]


def test_features_count_what_a_plain_loop_counts(con: duckdb.DuckDBPyConnection) -> None:
    catalog = current_catalog(con)
    card = active_card(con, catalog, "basket", recommendations=True)
    seeds = "SELECT customer_id AS _entity, TIMESTAMP '2022-11-01' AS _as_of FROM customers"
    query = Ranking(card.ranking.candidates, {}).features_sql(catalog, seeds)
    found = con.execute(f"SELECT _entity, item, own_count, own_last, own_before, item_place FROM ({query})").fetchall()
    rows = con.execute("SELECT customer_id, product, ordered_at FROM lines JOIN orders USING (order_id)").fetchall()
    month = datetime.timedelta(days=30)

    def count(after: datetime.datetime, until: datetime.datetime, entity: object, item: object) -> int:
        return sum(after < time <= until for customer, product, time in rows if (customer, product) == (entity, item))

    assert len(found) == 40 * 24
    for entity, item, *counts, place in found[:150]:
        assert counts == [
            count(datetime.datetime.min, AS_OF, entity, item),
            count(AS_OF - month, AS_OF, entity, item),
            count(AS_OF - 2 * month, AS_OF - month, entity, item),
        ]
        assert 1 <= place <= 24


def test_sql_and_lightgbm_give_the_same_scores(con: duckdb.DuckDBPyConnection) -> None:
    card = active_card(con, current_catalog(con), "basket", recommendations=True)
    assert card.parity["ranker"] < 1e-9 and len(card.metrics) > 3


def test_evaluate_compares_with_rankings_without_a_model(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("COMMIT")
    found = evaluate(con, "basket")
    con.execute("BEGIN")
    assert found.baselines.keys() == {"popularity", "past_visits", "popular_among_similar"}
    assert list(found.metrics) == ["map", "recall", "ndcg", "coverage"]
    assert found.rows > 20 and found.metrics["map"] > found.baselines["popularity"]["map"]
    assert all(0 <= value <= 1 for each in (found.metrics, *found.baselines.values()) for value in each.values())


def test_a_backtest_compares_with_rankings_without_a_model(path: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(shutil.copy(path, tmp_path / "market.duckdb"))) as con:
        whole = relsql.evaluate(con, "basket")
        assert whole.intervals.keys() == {"map", "recall", "ndcg"}
        for name, (low, high) in whole.intervals.items():
            assert low < whole.metrics[name] < high
        found = relsql.backtest(con, "basket", model="basket", cutoffs=2)
        assert found.metric == "map" and len(found.rows) == 2 and found.rows[1].positives is None
        query = "SELECT avg(score), count(*), min(label), max(label) FROM relsql.backtest_scores WHERE cutoff = ?"
        for row in found.rows:
            [(score, count, low, high)] = con.execute(query, [row.cutoff]).fetchall()
            assert row.value == pytest.approx(score) and row.labels == count and 0 <= low < high <= 1
            assert row.low is not None and row.high is not None and row.low < score < row.high
            assert row.best_baseline == max(row.popularity, row.past_visits, row.popular_among_similar)  # type: ignore[type-var]
            assert row.own_columns is None
        trained = relsql.backtest(con, "basket", cutoffs=1, baselines=False)
        assert trained.rows[0].cutoff == found.rows[1].cutoff and trained.rows[0].model is None and not trained.seen


def test_what_needs_a_network_is_refused(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    con.execute("COMMIT")
    for call in (
        lambda: publish(con, "basket"),
        lambda: export_model(con, "basket", tmp_path / "bundle"),
        lambda: score_into(con, "basket", "scores"),
        lambda: importance(con, "basket"),
    ):
        with pytest.raises(ModelError, match="recommends items of products"):
            call()
    con.execute("BEGIN")
    with pytest.raises(duckdb.CatalogException):
        con.execute("FROM explain_basket(7)")


def test_scores_of_all_entities_are_written_to_a_file(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    file = tmp_path / "items.parquet"
    con.execute("COMMIT")
    assert score_to(con, "basket", str(file)) == 400
    con.execute("BEGIN")
    ranks = con.execute(f"SELECT \"rank\" FROM '{file}'").fetchall()
    assert [rank for (rank,) in ranks] == [*range(1, 11)] * 40


def test_the_same_training_is_not_repeated(path: Path) -> None:
    with duckdb.connect(str(path)) as con:
        assert train(con, "basket", name="basket").reused


def test_labels_are_the_known_items(con: duckdb.DuckDBPyConnection) -> None:
    catalog = current_catalog(con)
    sql = BASKET.sql.replace("list(DISTINCT l.product)", "list('p1') || ['none', 'p2', NULL, 'p1']")
    task = dataclasses.replace(BASKET, sql=sql)
    labels = label_table(con, catalog, read_schema(con, catalog), task, "val").table
    assert {tuple(label) for label in labels.column("label").to_pylist()} == {("p1", "p2")}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sql": BASKET.sql.replace("list(DISTINCT l.product)", "any_value(l.product)")}, "as VARCHAR"),
        ({"sql": BASKET.sql.replace("list(DISTINCT l.product)", "['none']")}, "lists without any key"),
        ({"item_table": "nowhere"}, "'nowhere' does not exist"),
    ],
)
def test_labels_that_are_no_items_are_refused(
    con: duckdb.DuckDBPyConnection, changes: dict[str, Any], problem: str
) -> None:
    catalog = current_catalog(con)
    with pytest.raises(TaskError, match=problem):
        label_table(con, catalog, read_schema(con, catalog), dataclasses.replace(BASKET, **changes), "val")


def test_items_that_nothing_links_to_entities_are_refused(path: Path) -> None:
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE OR REPLACE TABLE islands (island VARCHAR PRIMARY KEY)")
        con.execute("INSERT INTO islands SELECT product FROM products")
        task = dataclasses.replace(BASKET, item_table="islands")
        with pytest.raises(TaskError, match="no rows with a time link customers to islands"):
            train(con, task, name="islands")
        con.execute("DROP TABLE islands")


def test_a_lagging_database_is_refused(path: Path) -> None:
    with duckdb.connect(str(path)) as con, pytest.raises(RelsqlError, match="does not support the regime frozen"):
        train(con, "basket", name="frozen", options=TrainOptions(regime="frozen"))


def test_a_manifest_survives_its_way_through_the_database(con: duckdb.DuckDBPyConnection) -> None:
    stored = read_task(con, current_catalog(con), "basket")
    assert stored == BASKET == Task.from_manifest(stored.to_manifest())
    assert (stored.item_table, stored.k, stored.predicts) == ("products", 4, "items")


@pytest.mark.parametrize(
    "changes", [{"item_table": None}, {"kind": "event"}, {"k": 0}, {"target": "mean"}, {"task_type": "regression"}]
)
def test_fields_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(TaskError):
        dataclasses.replace(BASKET, **changes)


@pytest.mark.parametrize(
    "tree",
    [
        Tree(("own_count",), (1.0,), (0,), (-2,), (0.1, 0.2)),
        Tree(("own_count",), (1.0,), (-1,), (-3,), (0.1, 0.2)),
        Tree(("price",), (1.0,), (-1,), (-2,), (0.1, 0.2)),
        Tree(("own_count",), (1.0,), (-1,), (-2,), (0.1,)),
    ],
)
def test_trees_that_do_not_end_or_fit_are_found(tree: Tree) -> None:
    assert [*tree.problems()]
    assert any("tree" in problem for problem in Ranker((), 30.0, (tree,)).problems())
    assert not [*Tree(("own_count",), (1.0,), (-1,), (-2,), (0.1, 0.2)).problems()]


@given(
    k=st.integers(1, 6),
    rows=st.lists(
        st.tuples(
            st.lists(st.integers(0, 9), unique=True, max_size=6), st.lists(st.integers(0, 9), unique=True, min_size=1)
        ),
        min_size=1,
        max_size=8,
    ),
)
def test_metrics_are_those_of_their_definitions(k: int, rows: list[tuple[list[int], list[int]]]) -> None:
    maps, recalls, ndcgs = [], [], []
    for items, label in rows:
        found = [item in label for item in items[:k]]
        precisions = [sum(found[: i + 1]) / (i + 1) for i in range(len(found)) if found[i]]
        maps.append(sum(precisions) / min(k, len(label)))
        recalls.append(sum(found) / len(label))
        gains = [1 / math.log2(i + 2) for i in range(k)]
        ndcgs.append(sum(g for g, hit in zip(gains, found, strict=False) if hit) / sum(gains[: min(k, len(label))]))
    hits = hits_of([items for items, _ in rows], [label for _, label in rows], k)
    metrics = ranking_metrics(hits, np.array([len(label) for _, label in rows]))
    expected = {"map": np.mean(maps), "recall": np.mean(recalls), "ndcg": np.mean(ndcgs)}
    assert metrics == pytest.approx(expected)


def test_candidates_are_a_plan_of_the_card(con: duckdb.DuckDBPyConnection) -> None:
    card = active_card(con, current_catalog(con), "basket", recommendations=True)
    candidates = card.ranking.candidates
    assert isinstance(candidates, Candidates)
    assert [hop.table for hop in candidates.way] == ["orders", "lines", "products"]


LINE = "PREDICT LIST_DISTINCT(lines.product, 0, 30, days) RANK TOP 4 FOR EACH customers.customer_id"


def test_a_line_recommends_what_its_manifest_does(path: Path, tmp_path: Path) -> None:
    create_market(tmp_path / "market.duckdb")
    with duckdb.connect(str(tmp_path / "market.duckdb")) as con:
        declare_table(con, "market", "lines", time_column="orders.ordered_at")
        options = "WITH (val_timestamp = '2022-10-01', test_timestamp = '2022-11-01')"
        relsql.sql(con, f"CREATE MODEL basket AS {LINE} {options}")
        task = active_card(con, "market", "basket", recommendations=True).task
        assert (task.task_type, task.item_table, task.k, task.predict) == ("recommendation", "products", 4, LINE)
        assert Task.from_manifest(task.to_manifest()).resolved(read_schema(con, "market")) == task
        save_task(con, "market", task)
        assert read_task(con, "market", "basket") == task
        query = "SELECT customer_id, item, rank FROM predict_basket_batch() ORDER BY ALL"
        found = con.execute(query).fetchall()
        # A bare line finds the model, and returns as many items as it asks for.
        rows = relsql.sql(con, LINE)
        assert rows is not None and {row[:3] for row in rows.fetchall()} == {row for row in found if row[2] <= 4}
        assert evaluate(con, "basket").metrics.keys() == {"map", "recall", "ndcg", "coverage"}
    with duckdb.connect(str(path)) as con:
        attach(con)
        assert con.execute(query).fetchall() == found
