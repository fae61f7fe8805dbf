"""Scoring through SQL: what users of `predict_<model>` rely on."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import numpy as np
import pytest

import relsql
from relsql.errors import ArtifactError, DatabaseError, ModelError, SchemaDriftError
from relsql.registry.models import read_card
from tests.shop import CUSTOMERS, LAST_ORDER, QUICK, embeddings_table, train_quickly
from udfs.attach import attach_model

ALL = "SELECT customer_id, predict_churn(customer_id) FROM customers ORDER BY customer_id"


def scores(con: duckdb.DuckDBPyConnection, query: str = ALL) -> np.ndarray:
    """The last column of a query, float64, NULL as NaN."""
    return np.array([np.nan if row[-1] is None else row[-1] for row in con.execute(query).fetchall()], dtype=float)


def value(con: duckdb.DuckDBPyConnection, expression: str) -> object:
    """One value."""
    return con.execute(f"SELECT {expression}").fetchall()[0][0]


def test_every_entity_has_a_probability(shop: Path) -> None:
    with relsql.connect(shop) as con:
        found = scores(con)
    assert len(found) == CUSTOMERS
    assert ((found > 0) & (found < 1)).all()
    assert found.std() > 1e-4


def test_scores_are_the_same_to_the_bit_in_every_run(shop: Path) -> None:
    with relsql.connect(shop) as con:
        moments = "(SELECT unnest([TIMESTAMP '2022-06-01', TIMESTAMP '2022-09-01', NULL]) AS moment)"
        calls = f"SELECT customer_id, moment, predict_churn(customer_id, as_of := moment) FROM customers, {moments}"
        expected = scores(con, f"{calls} ORDER BY ALL")
        for _ in range(6):
            np.testing.assert_array_equal(scores(con, f"{calls} ORDER BY ALL"), expected)


def test_unknown_and_missing_ids_give_null(shop: Path) -> None:
    with relsql.connect(shop) as con:
        assert value(con, "predict_churn(NULL)") is None
        assert value(con, "predict_churn_full(NULL)") is None
        for unknown in ("-1", "99999999999999999999999", "1.6"):
            assert value(con, f"predict_churn({unknown})") is None
            full = value(con, f"predict_churn_full({unknown})")
            assert isinstance(full, dict)
            assert (full["score"], full["status"], full["evidence"]) == (None, "unknown_entity", 0)
        assert con.execute("SELECT count(predict_churn(i + 1000)) FROM range(5000) t(i)").fetchall() == [(0,)]


def test_full_form_names_its_evidence(shop: Path) -> None:
    with relsql.connect(shop) as con:
        con.execute("INSERT INTO customers VALUES (500, 'nobody', NULL, NULL)")
        full = value(con, "predict_churn_full(7)")
        assert isinstance(full, dict)
        assert full["status"] == "ok"
        assert full["evidence"] > 0
        assert full["version"] == 1
        assert full["score"] == value(con, "predict_churn(7)")
        fresh = value(con, "predict_churn_full(500)")
        assert isinstance(fresh, dict)
        assert (fresh["status"], fresh["evidence"]) == ("no_history", 0)
        assert 0 < fresh["score"] < 1
        late = value(con, "predict_churn_full(7, as_of := TIMESTAMP '2090-01-01')")
        assert isinstance(late, dict)
        assert late["status"] == "stale"


def test_rows_without_a_time_are_no_evidence(shop: Path) -> None:
    with relsql.connect(shop) as con:
        con.execute("INSERT INTO customers VALUES (500, 'nobody', NULL, 2)")
        for call in ("predict_churn_full(500)", "predict_churn_full(1, as_of := TIMESTAMP '1990-01-01')"):
            full = value(con, call)
            assert isinstance(full, dict)
            assert (full["status"], full["evidence"]) == ("no_history", 0)
        own = con.execute("SELECT count(*) FROM orders WHERE customer_id = 7").fetchall()
        full = value(con, "predict_churn_full(7)")
        assert isinstance(full, dict)
        assert full["evidence"] == min(QUICK.fanout, own[0][0])


def test_as_of_takes_any_form_of_a_time(shop: Path) -> None:
    with relsql.connect(shop) as con:
        con.execute("SET TimeZone = 'America/New_York'")
        expected = value(con, "predict_churn(7, as_of := TIMESTAMP '2022-06-01 00:00:00')")
        for form in (
            "'2022-06-01'",
            "DATE '2022-06-01'",
            "TIMESTAMP_NS '2022-06-01 00:00:00'",
            "TIMESTAMPTZ '2022-06-01 00:00:00+00'",
            "TIMESTAMPTZ '2022-06-01 02:00:00+02'",
        ):
            assert value(con, f"predict_churn(7, as_of := {form})") == expected, form
        assert value(con, "predict_churn(7, as_of := TIMESTAMP '2022-01-01')") != expected


def test_default_as_of_is_the_latest_event(shop: Path) -> None:
    with relsql.connect(shop) as con:
        latest = con.execute("SELECT max(ordered_at) FROM orders").fetchall()[0][0]
        assert latest < LAST_ORDER.replace(year=2023)
        full = value(con, "predict_churn_full(7)")
        assert isinstance(full, dict)
        assert full["as_of"] == latest
        assert full == value(con, "predict_churn_full(7, as_of := 'latest event')")


def test_as_of_per_row_equals_one_call_each(shop: Path) -> None:
    times = "[TIMESTAMP '2021-06-01', TIMESTAMP '2022-01-01', TIMESTAMP '2022-12-01', NULL]"
    with relsql.connect(shop) as con:
        query = f"SELECT customer_id, t, predict_churn(customer_id, as_of := t) FROM customers, unnest({times}) u(t)"
        rows = con.execute(query).fetchall()
        assert len(rows) == CUSTOMERS * 4
        for customer_id, time, score in rows[::17]:
            argument = "NULL" if time is None else f"TIMESTAMP '{time}'"
            assert score == pytest.approx(value(con, f"predict_churn({customer_id}, as_of := {argument})"), abs=1e-6)


def test_batch_and_scalar_agree(shop: Path) -> None:
    with relsql.connect(shop) as con:
        for as_of in ("'latest event'", "TIMESTAMP '2022-03-01'"):
            batch = scores(con, f"SELECT score FROM predict_churn_batch(as_of := {as_of}) ORDER BY customer_id")
            single = f"SELECT predict_churn(customer_id, as_of := {as_of}) FROM customers ORDER BY customer_id"
            np.testing.assert_allclose(batch, scores(con, single), atol=1e-6)


def test_scores_do_not_depend_on_batch_order_or_threads(shop: Path) -> None:
    with relsql.connect(shop) as con:
        expected = scores(con)
        one_by_one = [value(con, f"predict_churn({i})") for i in range(0, CUSTOMERS, 7)]
        np.testing.assert_allclose(one_by_one, expected[::7], atol=1e-6)
        for threads in (1, 4):
            con.execute(f"SET threads = {threads}")
            np.testing.assert_allclose(scores(con), expected, atol=1e-6)
        con.execute("CREATE TABLE shuffled AS FROM orders ORDER BY hash(order_id)")
        con.execute("DELETE FROM orders; INSERT INTO orders FROM shuffled")
        np.testing.assert_allclose(scores(con), expected, atol=1e-6)


def test_nothing_after_as_of_reaches_a_score(shop: Path) -> None:
    query = "SELECT predict_churn(customer_id, as_of := TIMESTAMP '2022-05-05') FROM customers ORDER BY customer_id"
    with relsql.connect(shop) as con:
        before = scores(con, query)
        con.execute("DELETE FROM orders WHERE ordered_at > TIMESTAMP '2022-05-05'")
        np.testing.assert_array_equal(scores(con, query), before)
        con.execute("DELETE FROM orders WHERE ordered_at > TIMESTAMP '2022-04-01'")
        assert not np.array_equal(scores(con, query), before)


def test_uncommitted_rows_count_and_rollback_undoes_them(shop: Path) -> None:
    with relsql.connect(shop) as con:
        before = value(con, "predict_churn(7)")
        con.execute("BEGIN")
        con.execute(
            "INSERT INTO orders SELECT 100000 + i, 7, 900, 'never seen before', max(ordered_at) "
            "FROM orders, range(3) t(i) GROUP BY i"
        )
        changed = value(con, "predict_churn(7)")
        assert isinstance(changed, float)
        assert changed != before
        con.execute("ROLLBACK")
        assert value(con, "predict_churn(7)") == before


def test_arguments_are_not_captured_by_inner_names(shop: Path) -> None:
    with relsql.connect(shop) as con:
        expected = scores(con)
        for name in ("r", "seed", "self", "_entity", "_as_of", "key", "rank", "top", "counts", "id", "orders", "as_of"):
            alias = f'"{name}"'
            query = f"SELECT predict_churn({alias}.{alias}) FROM (SELECT customer_id AS {alias} FROM customers) {alias}"
            np.testing.assert_allclose(scores(con, f"{query} ORDER BY {alias}"), expected, atol=1e-6, err_msg=name)
        assert value(con, "predict_churn((SELECT max(customer_id) FROM orders))") == pytest.approx(expected[-1])
        assert scores(con, "SELECT count(*) FROM orders r JOIN customers c ON predict_churn(r.customer_id) > 2")[0] == 0
        con.execute("CREATE TABLE results AS SELECT customer_id, 0::DOUBLE AS p FROM customers")
        con.execute("UPDATE results SET p = predict_churn(customer_id)")
        np.testing.assert_allclose(scores(con, "SELECT p FROM results ORDER BY customer_id"), expected, atol=1e-6)


def test_views_prepared_statements_and_inserts(shop: Path) -> None:
    with relsql.connect(shop) as con:
        expected = scores(con)
        con.execute("CREATE TEMP VIEW risks AS SELECT customer_id, predict_churn(customer_id) AS risk FROM customers")
        np.testing.assert_allclose(scores(con, "SELECT risk FROM risks ORDER BY customer_id"), expected, atol=1e-6)
        found = con.execute("SELECT predict_churn(?)", [7]).fetchall()[0][0]
        assert found == pytest.approx(expected[7], abs=1e-6)
        con.execute("CREATE TABLE scores AS FROM predict_churn_batch()")
        assert con.execute("SELECT count(*) FROM scores").fetchall() == [(CUSTOMERS,)]


def test_attach_is_idempotent_and_detach_removes(shop: Path) -> None:
    with relsql.connect(shop) as con:
        expected = scores(con)
        names = relsql.attach(con)
        assert {"predict_churn", "predict_churn_full", "predict_churn_batch", "row_text_orders"} <= set(names)
        np.testing.assert_array_equal(scores(con), expected)
        relsql.detach(con)
        with pytest.raises(duckdb.CatalogException):
            scores(con)
        relsql.detach(con)
        relsql.attach(con, models=["churn"])
        np.testing.assert_array_equal(scores(con), expected)


def test_cursors_and_threads_score_side_by_side(shop: Path) -> None:
    with relsql.connect(shop) as con:
        expected = scores(con)
        problems: list[object] = []

        def work() -> None:
            try:
                with con.cursor() as cursor:
                    relsql.attach(cursor)
                    for _ in range(3):
                        np.testing.assert_allclose(scores(cursor), expected, atol=1e-6)
            except BaseException as error:
                problems.append(error)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []


def test_another_connection_scores_after_the_first_is_gone(shop: Path) -> None:
    first = duckdb.connect(str(shop))
    second = duckdb.connect(str(shop))
    relsql.attach(first)
    relsql.attach(second)
    expected = scores(first)
    first.close()
    del first
    np.testing.assert_array_equal(scores(second), expected)
    second.close()


def test_shared_functions_are_every_cursors(shop: Path) -> None:
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{shop}' AS shop")
        relsql.attach(con, database="shop", shared=True)
        query = "SELECT list(predict_churn(customer_id) ORDER BY customer_id) FROM shop.customers"
        with con.cursor() as cursor:
            shared = cursor.execute(query).fetchall()
            assert cursor.execute("SELECT count(*) FROM predict_churn_batch()").fetchall() == [(CUSTOMERS,)]
        con.execute("DETACH shop")
    with relsql.connect(shop) as con:
        assert con.execute(query.replace("shop.customers", "customers")).fetchall() == shared


def test_shared_functions_are_not_written_to_a_file(shop: Path) -> None:
    with duckdb.connect(str(shop)) as con:
        with pytest.raises(DatabaseError, match="'shop' is a file"):
            relsql.attach(con, shared=True)
        query = "SELECT count(*) FROM duckdb_functions() WHERE database_name = 'shop'"
        assert con.execute(query).fetchall() == [(0,)]


def test_tables_of_the_attached_database_are_read(shop: Path, tmp_path: Path) -> None:
    with relsql.connect(shop) as con:
        expected = scores(con)
    with duckdb.connect(str(tmp_path / "other.duckdb")) as con:
        con.execute("CREATE TABLE customers AS SELECT 1000 AS customer_id; CREATE TABLE orders (x INTEGER)")
        con.execute(f"ATTACH '{shop}' AS \"my shop\" (READ_ONLY)")
        relsql.attach(con, database="my shop")
        query = 'SELECT predict_churn(customer_id) FROM "my shop".customers ORDER BY customer_id'
        np.testing.assert_allclose(scores(con, query), expected, atol=1e-6)
        assert scores(con, "SELECT predict_churn(customer_id) FROM customers").tolist() != expected[:1].tolist()


def test_a_model_scores_the_tables_of_another_database(shop: Path) -> None:
    with relsql.connect(shop) as con:
        expected = scores(con)
        con.execute("ATTACH ':memory:' AS twin")
        for table in ("shops", "customers", "orders"):
            con.execute(f"CREATE TABLE twin.{table} AS FROM shop.{table}")
        # A customer without a shop: only its own row is left of it.
        con.execute("DELETE FROM twin.orders WHERE customer_id = 20")
        card = read_card(con, "shop", "churn", 1)
        with con.cursor() as cursor:
            names = attach_model(cursor, "shop", card, tables_from="twin")
            assert {"predict_churn", "predict_churn_full", "predict_churn_batch"} <= set(names)
            found = scores(cursor)
            full = value(cursor, "predict_churn_full(20)")
        assert isinstance(full, dict)
        assert (full["status"], full["evidence"]) == ("no_history", 0)
        np.testing.assert_allclose(np.delete(found, 20), np.delete(expected, 20), atol=1e-6)
        assert abs(found[20] - expected[20]) > 1e-5
        # Other connections have their own macros.
        np.testing.assert_array_equal(scores(con), expected)


def test_rows_beyond_the_fanout_are_counted(shop: Path) -> None:
    with relsql.connect(shop) as con:
        before = value(con, "predict_churn(7)")
        assert con.execute("SELECT count(*) > 4 FROM orders WHERE customer_id = 7").fetchall() == [(True,)]
        # They are older than the last four rows, which are read, so only the count includes them.
        con.execute("INSERT INTO orders SELECT 200000 + i, 7, 900, NULL, TIMESTAMP '2021-01-01' FROM range(300) t(i)")
        assert value(con, "predict_churn(7)") != pytest.approx(before, abs=1e-6)


def test_read_only_files_score_unseen_text_too(shop: Path) -> None:
    with relsql.connect(shop) as con:
        expected = scores(con)
        con.execute(f"DELETE FROM {embeddings_table(con)}")
    # A new process has an empty cache: every text is encoded on the spot.
    script = f"""
import relsql, sys
con = relsql.connect({str(shop)!r}, read_only=True)
rows = con.execute({ALL!r}).fetchall()
print(*(repr(row[1]) for row in rows))
heavy = [name for name in ("torch", "transformers", "torch_geometric", "scipy", "sklearn") if name in sys.modules]
assert not heavy, heavy
con.close()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    np.testing.assert_allclose([float(word) for word in done.stdout.split()], expected, atol=1e-5)


def test_row_text_and_encoder_functions(shop: Path) -> None:
    with relsql.connect(shop) as con:
        text = value(con, "row_text_customers(c) FROM customers c WHERE customer_id = 7")
        assert text == "<table>customers<attribute>name<value>customer 59"
        vectors = con.execute(
            f"SELECT relsql_encode_churn(row_text_customers(c)), (SELECT embedding FROM {embeddings_table(con)} "
            "WHERE text = row_text_customers(c)) FROM customers c WHERE customer_id = 7"
        ).fetchall()[0]
        np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)
        assert value(con, "relsql_encode_churn(NULL)") is None


def test_unknown_model_names_the_nearest(shop: Path) -> None:
    with duckdb.connect(str(shop)) as con, pytest.raises(ModelError, match="did you mean 'churn'"):
        relsql.attach(con, models=["chrun"])


def test_changed_tables_are_named(shop: Path) -> None:
    with duckdb.connect(str(shop)) as con:
        con.execute("ALTER TABLE orders RENAME COLUMN amount TO total")
        with pytest.raises(SchemaDriftError, match=r"orders\.amount is missing") as caught:
            relsql.attach(con)
        assert "relsql train" in str(caught.value)


@pytest.mark.parametrize("name", ["graph.onnx", "head.onnx", "encoder.onnx", "tokenizer.json"])
def test_damaged_artefacts_are_refused(shop: Path, name: str) -> None:
    script = f"""
import duckdb, relsql
con = duckdb.connect({str(shop)!r})
con.execute("UPDATE relsql.artifacts SET bytes = 'x'::BLOB WHERE name = {name!r}")
try:
    relsql.attach(con)
except relsql.RelsqlError as error:
    print(type(error).__name__, error)
con.close()
"""
    script = script.replace(f"name = {name!r}", f"name = '{name}'")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(ArtifactError.__name__)
    assert name in done.stdout
    assert "damaged" in done.stdout


@pytest.mark.parametrize(
    ("format", "fix"), [(1, "relsql train"), (2, "relsql train"), (99, "pip install --upgrade relsql")]
)
def test_cards_of_another_relsql_are_refused(shop: Path, format: int, fix: str) -> None:
    with duckdb.connect(str(shop)) as con:
        con.execute(f"UPDATE relsql.models SET card = regexp_replace(card, '\"format\": \\d+', '\"format\": {format}')")
        with pytest.raises(ArtifactError, match=f"format {format}") as caught:
            relsql.attach(con)
        assert fix in str(caught.value)


def test_regression_model_and_second_version(shop: Path) -> None:
    with relsql.connect(shop) as con:
        assert train_quickly(con, "spend", "customer-spend").version == 1
        assert train_quickly(con, "churn", force=True).version == 2
        names = relsql.attach(con)
        assert {"predict_spend", "predict_churn"} <= set(names)
        spend = scores(con, "SELECT predict_spend(customer_id) FROM customers")
        assert np.isfinite(spend).all()
        assert spend.max() > 1
        full = value(con, "predict_churn_full(7)")
        assert isinstance(full, dict)
        assert full["version"] == 2
        status = con.execute("SELECT version, status FROM relsql.models WHERE name = 'churn' ORDER BY 1").fetchall()
        assert status == [(1, "retired"), (2, "active")]
