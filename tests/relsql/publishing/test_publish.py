"""`relsql publish`: the network as plain SQL in the file, its scores of new rows, and what a failure leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

import relsql
from exporters.sql import weights as sql_weights
from relsql.errors import ArtifactError, DatabaseError, ModelError, ParityError, RelsqlError, SchemaDriftError
from relsql.nn.graph_network import GraphNetwork
from relsql.nn.head import Head
from relsql.publishing.selftest import selftest
from relsql.registry.models import active_card
from relsql.registry.publications import PUBLICATION_FORMAT, new_texts_view, published, texts_table
from relsql.registry.row_embeddings import stored_sql
from relsql.tasks.kinds.classes import Classes
from tests.shop import CUSTOMERS, QUICK, require_latest_by_default

Connection = duckdb.DuckDBPyConnection
ALL = "SELECT customer_id, predict_churn(customer_id) FROM customers ORDER BY customer_id"
HARM = "struct_update(head, out := list_transform(head.out, lambda w: w + 1))"
MACROS = {"predict_churn", "predict_churn_full", "predict_churn_batch"}


def objects(con: Connection) -> list[tuple[Any, ...]]:
    """All tables, views and macros with their contents, except the records of training runs."""
    return con.execute("""
        SELECT 'table', schema_name, table_name, sql FROM duckdb_tables()
        UNION ALL SELECT 'view', schema_name, view_name, sql FROM duckdb_views() WHERE NOT internal
        UNION ALL SELECT function_type, schema_name, function_name, macro_definition FROM duckdb_functions()
        WHERE NOT internal ORDER BY ALL""").fetchall()


def full(con: Connection, customer: int) -> dict[str, Any]:
    [(result,)] = con.execute("SELECT predict_churn_full(?)", [customer]).fetchall()
    assert isinstance(result, dict)
    return result


def identity_of(con: Connection) -> str:
    """The identity of the active version."""
    [(identity,)] = con.execute("SELECT sha256 FROM relsql.models WHERE status = 'active'").fetchall()
    return str(identity)


def scores(con: Connection, query: str = ALL) -> dict[int, float]:
    return dict(con.execute(query).fetchall())


def test_plain_sql_scores_as_onnx_does(plain: Connection, shop: Path) -> None:
    with relsql.connect(shop, read_only=True) as attached:
        expected = scores(attached)
        rows = attached.execute("FROM predict_churn_batch() ORDER BY customer_id").fetchall()
    assert len(expected) == CUSTOMERS and scores(plain) == pytest.approx(expected, abs=1e-5)
    batch = plain.execute("FROM predict_churn_batch() ORDER BY customer_id").fetchall()
    assert [(row[0], *row[2:]) for row in batch] == [(row[0], *row[2:]) for row in rows]
    assert dict(row[:2] for row in batch) == pytest.approx(scores(plain), abs=1e-12)


def test_the_default_moment_of_a_batch_is_that_of_the_latest_event(plain: Connection) -> None:
    require_latest_by_default(plain)


@pytest.mark.parametrize("late", ["9999-12-31", "2999-01-01", "2079-06-06", "infinity"])
def test_a_bad_time_moves_no_default_moment(plain: Connection, shop: Path, late: str) -> None:
    query = "SELECT * FROM predict_churn_batch() ORDER BY customer_id ASC"
    row = f"INSERT INTO orders VALUES (-1, 7, 12.5, 'gift', TIMESTAMP '{late}')"
    with relsql.connect(shop) as attached:
        for con in (plain, attached):
            before, single = con.execute(query).fetchall(), full(con, 7)
            con.execute(row)
            assert con.execute(query).fetchall() == before and full(con, 7) == single


def test_calls_with_odd_arguments(plain: Connection) -> None:
    result = full(plain, 7)
    [(latest,)] = plain.execute("SELECT max(ordered_at) FROM orders").fetchall()
    assert result["as_of"] == latest and result["version"] == 1 and result["evidence"] > 0
    assert full(plain, 10_000)["status"] == "unknown_entity"
    query = "SELECT predict_churn(NULL), predict_churn(7.0), predict_churn(.5), predict_churn(7, as_of := '2022-06-01')"
    [(null, whole, between, earlier)] = plain.execute(query).fetchall()
    assert null is None and between is None
    assert whole == pytest.approx(result["score"]) and earlier != pytest.approx(result["score"], abs=1e-9)
    # Columns of inner tables do not capture the argument.
    query = "SELECT count(predict_churn(o.customer_id)) FROM orders o WHERE predict_churn(o.customer_id) IS NOT NULL"
    assert plain.execute(query).fetchall() == plain.execute("SELECT count(*) FROM orders").fetchall()


def test_what_is_published_is_described_and_recorded(plain: Connection) -> None:
    query = "SELECT function_name, comment FROM duckdb_functions() WHERE function_name LIKE 'predict%'"
    comments = dict(plain.execute(query).fetchall())
    assert comments.keys() == MACROS
    # A long comment has line breaks.
    for comment in (" ".join(each.split()) for each in comments.values()):
        assert comment.startswith("relsql model churn version 1: customer-churn (binary classification, 30 days ahead)")
        assert "val_roc_auc" in comment and "trained until 2022-09-01" in comment
    [(difference,)] = plain.execute("SELECT sql_difference FROM relsql.models").fetchall()
    assert 0 < difference <= 1e-5
    assert published(plain, "published", "churn") == (1, identity_of(plain))


def test_publishing_again_changes_nothing_but_times(published_file: Path) -> None:
    states = []
    for _ in range(2):
        with duckdb.connect(str(published_file)) as con:
            relsql.publish(con, "churn")
        # DuckDB changes the text of macros when it stores them.
        with duckdb.connect(str(published_file)) as con:
            states.append((objects(con), scores(con)))
    assert states[0] == states[1]


def test_a_new_version_replaces_the_old_one_when_it_is_published(retrained: Connection, published_shop: Path) -> None:
    with duckdb.connect(str(published_shop), read_only=True) as con:
        before, identity = scores(con), identity_of(con)
    assert scores(retrained) == before and full(retrained, 1)["version"] == 1
    with pytest.raises(ModelError, match="published as version 1, while version 2 is .*relsql publish"):
        selftest(retrained, "churn")
    relsql.publish(retrained, "churn")
    assert full(retrained, 1)["version"] == 2 and scores(retrained) == before
    assert not [name for _, _, name, _ in objects(retrained) if identity in name]


def test_dropping_the_published_version_removes_its_plain_sql(retrained: Connection) -> None:
    relsql.drop(retrained, "churn@1")
    assert published(retrained, "published", "churn") is None
    assert not [name for _, _, name, _ in objects(retrained) if name in MACROS]


def test_unpublishing_leaves_the_model_as_it_was(plain: Connection, shop: Path) -> None:
    relsql.unpublish(plain, "churn")
    with duckdb.connect(str(shop), read_only=True) as con:
        untouched = objects(con)
    left = [row for row in objects(plain) if row not in untouched]
    assert {name for _, _, name, _ in left} <= {"publications", "models"}
    with pytest.raises(ModelError, match=r"not published in database 'published'\. Fix: relsql publish FILE churn"):
        relsql.unpublish(plain, "churn")


def test_a_new_order_counts_at_once_and_a_rollback_takes_it_back(plain: Connection) -> None:
    before = full(plain, 7)
    plain.execute("BEGIN; INSERT INTO orders VALUES (90001, 7, 5000, 'gift', TIMESTAMP '2022-12-19')")
    during = full(plain, 7)
    assert during["score"] != before["score"] and during["status"] == "ok"
    plain.execute("ROLLBACK")
    assert full(plain, 7) == before


def test_new_text_is_pending_until_a_refresh(plain: Connection) -> None:
    plain.execute("INSERT INTO orders VALUES (90001, 7, 5000, 'a note never seen', TIMESTAMP '2022-12-19')")
    pending = full(plain, 7)
    assert pending["status"] == "text_pending" and 0 < pending["score"] < 1
    assert full(plain, 8)["status"] == "ok"
    report = selftest(plain, "churn").parity
    assert report is not None and report.pending > 0
    relsql.refresh(plain, "churn")
    refreshed = full(plain, 7)
    relsql.attach(plain)
    onnx = full(plain, 7)
    assert refreshed["status"] == onnx["status"] == "ok"
    assert refreshed["score"] == pytest.approx(onnx["score"], abs=1e-5)


def test_texts_of_deleted_rows_are_removed_by_pruning(plain: Connection) -> None:
    texts = f"SELECT place, count(*) FROM relsql.{texts_table(identity_of(plain))} GROUP BY ALL ORDER BY ALL"
    before = plain.execute(texts).fetchall()
    plain.execute("INSERT INTO orders VALUES (90001, 7, 5000, 'a note never seen', TIMESTAMP '2022-12-19')")
    relsql.refresh(plain, "churn")
    assert plain.execute(texts).fetchall() == [(place, n + (place == "orders")) for place, n in before]
    plain.execute("DELETE FROM orders WHERE order_id = 90001")
    relsql.refresh(plain, "churn", prune=True)
    assert plain.execute(texts).fetchall() == before


def test_a_refresh_names_what_was_changed_and_stores_embeddings_all_the_same(plain: Connection) -> None:
    card = active_card(plain, "published", "churn")
    stored = f"SELECT count(*) FROM ({stored_sql(plain, 'published', card)})"
    [(before,)] = plain.execute(stored).fetchall()
    plain.execute(f"DROP VIEW relsql.{new_texts_view(identity_of(plain))}")
    plain.execute("INSERT INTO orders VALUES (90001, 7, 5000, 'a note never seen', TIMESTAMP '2022-12-19')")
    with pytest.raises(ModelError, match=r"plain SQL of model 'churn' was changed: .*relsql publish FILE churn"):
        relsql.refresh(plain, "churn")
    assert plain.execute(stored).fetchall() == [(before + 1,)]
    relsql.publish(plain, "churn")
    assert full(plain, 7)["status"] == "ok"


def test_a_file_attached_under_another_name_beside_a_like_one(published_file: Path, shop: Path) -> None:
    with duckdb.connect(str(shop)) as con:
        con.execute("UPDATE orders SET amount = amount * 100")
    with duckdb.connect(str(published_file), read_only=True) as con:
        expected = scores(con)
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{published_file}' AS prod (READ_ONLY); ATTACH '{shop}' AS other")
        con.execute("USE prod")
        assert scores(con) == expected
        con.execute("SET search_path = 'other.main,prod.main,prod.relsql'")
        assert scores(con) == expected
        assert con.execute("SELECT max(amount) > 1000 FROM orders").fetchall() == [(True,)]
        con.execute("USE other")
        # Never the other database's tables.
        with pytest.raises(duckdb.CatalogException, match="relsql"):
            con.execute("SELECT prod.predict_churn(1)")


@pytest.mark.parametrize("statement", ["CREATE MACRO predict_churn_full(x) AS x", "CREATE MACRO Predict_Churn(x) AS x"])
def test_a_macro_of_the_user_is_not_replaced(shop: Path, statement: str) -> None:
    with duckdb.connect(str(shop)) as con:
        con.execute(statement)
        before = objects(con)
        with pytest.raises(ModelError, match=r"(?i)macro 'predict_churn.*exists .*Fix: DROP MACRO predict_churn"):
            relsql.publish(con, "churn")
        assert objects(con) == before


def test_tables_of_the_user_in_schema_relsql_stay(shop: Path) -> None:
    with duckdb.connect(str(shop)) as con:
        con.execute("CREATE TABLE relsql.mine AS SELECT 42 AS answer; CREATE VIEW relsql.orders AS SELECT 1 AS one")
        relsql.publish(con, "churn")
        relsql.unpublish(con, "churn")
        assert con.execute("FROM relsql.mine, relsql.orders").fetchall() == [(42, 1)]


@pytest.mark.parametrize("phase", ["write", "compare"])
@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_an_interrupted_publish_changes_nothing(published_file: Path, phase: str, fraction: float) -> None:
    def interrupt(current: str, done: float, metrics: dict[str, float]) -> None:
        if (current, done) == (phase, fraction):
            raise KeyboardInterrupt

    with duckdb.connect(str(published_file)) as con:
        # Publishing again would repair this.
        con.execute(f"UPDATE relsql.weights_{identity_of(con)} SET head = {HARM}")
        before, expected = objects(con), scores(con)
        with pytest.raises(KeyboardInterrupt):
            relsql.publish(con, "churn", progress=interrupt)
        # The last report comes after the commit.
        if (phase, fraction) != ("compare", 1.0):
            assert objects(con) == before and scores(con) == expected
            assert published(con, "published", "churn") is not None


def test_a_read_only_file_is_refused(shop: Path) -> None:
    with duckdb.connect(str(shop), read_only=True) as con, pytest.raises(DatabaseError, match="read-only"):
        relsql.publish(con, "churn")


@pytest.mark.parametrize(("name", "works"), [("relsql", False), ("RelSQL", False), ("main", True)])
def test_a_file_named_like_a_schema_is_refused_where_plain_sql_would_be_ambiguous(
    shop: Path, name: str, works: bool
) -> None:
    path = shop.rename(shop.with_name(f"{name}.duckdb"))
    with duckdb.connect(str(path)) as con:
        if not works:
            with pytest.raises(DatabaseError, match="has the same name as one of its schemas.*Fix: mv"):
                relsql.publish(con, "churn")
            return
        relsql.publish(con, "churn")
    with duckdb.connect(str(path)) as con:
        assert len(con.execute(ALL).fetchall()) == CUSTOMERS


def test_what_a_newer_relsql_published_is_left_alone(plain: Connection) -> None:
    plain.execute(f"UPDATE relsql.publications SET format = {PUBLICATION_FORMAT + 1}")
    before = objects(plain)
    for action in (relsql.publish, relsql.unpublish):
        with pytest.raises(ArtifactError, match="pip install --upgrade relsql"):
            action(plain, "churn")
    assert objects(plain) == before


def test_a_column_that_is_gone_leads_to_the_selftest(plain: Connection) -> None:
    plain.execute("ALTER TABLE orders DROP COLUMN note")
    with pytest.raises(duckdb.BinderException, match="see relsql selftest FILE churn"):
        plain.execute(ALL)
    with pytest.raises(SchemaDriftError, match=r"column orders\.note is missing"):
        selftest(plain, "churn")


def test_weights_that_are_wrong_by_1e_4_are_not_published(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = sql_weights.weights_table

    def wrong(network: GraphNetwork, head: Head, classes: Classes | None) -> pa.Table:
        weights = right(network, head, classes)
        value, position = weights.column("head")[0].as_py(), weights.column_names.index("head")
        value["out"][-1] += 1e-4
        value["constants"]["tree_constant"] += 1e-4
        kind = weights.schema.field("head").type
        return weights.set_column(position, "head", pa.array([value], kind))

    monkeypatch.setattr(sql_weights, "weights_table", wrong)
    with duckdb.connect(str(shop)) as con:
        with pytest.raises(ParityError, match=r"plain SQL by [1-9]\.\de-05.*at most 1e-05"):
            relsql.publish(con, "churn")
        query = "SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 'weights_%'"
        assert con.execute(query).fetchall() == [(0,)]


def test_a_model_without_trees_is_published(shop: Path) -> None:
    with duckdb.connect(str(shop)) as con:
        relsql.train(con, "customer-churn", name="alone", options=replace(QUICK, trees=False))
        card = active_card(con, "shop", "alone")
        assert (card.statistics, card.state_width) == ({}, card.channels)
        assert relsql.publish(con, "alone").parity.onnx_sql < 1e-5
        selftest(con, "alone")


def test_the_same_values_in_another_type_still_work(plain: Connection) -> None:
    before = scores(plain)
    plain.execute("ALTER TABLE orders ALTER amount TYPE DECIMAL(18, 2); ALTER TABLE orders ADD COLUMN extra INTEGER")
    assert scores(plain) == pytest.approx(before, abs=1e-9)


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        ("DROP MACRO predict_churn_full", ModelError, "was changed: .*relsql publish FILE churn"),
        ("DROP VIEW relsql.{view}", ModelError, "was changed: .*relsql publish FILE churn"),
        ("DROP TABLE relsql.{weights}", ModelError, "was changed: .*relsql publish FILE churn"),
        (
            f"UPDATE relsql.{{weights}} SET head = {HARM}",
            ModelError,
            "was changed: weights_.* is not as it was written.*relsql publish FILE churn",
        ),
    ],
)
def test_damage_is_found_by_the_selftest_and_repaired_by_publishing(
    plain: Connection, damage: str, error: type[RelsqlError], message: str
) -> None:
    expected = scores(plain)
    [(weights,)] = plain.execute("SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'weights_%'").fetchall()
    plain.execute(damage.format(weights=weights, view=weights.replace("weights", "orders")))
    with pytest.raises(error, match=message):
        selftest(plain, "churn")
    relsql.publish(plain, "churn")
    assert scores(plain) == expected
    parity = selftest(plain, "churn").parity
    assert parity is not None and parity.largest <= 1e-5
