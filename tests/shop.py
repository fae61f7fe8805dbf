"""A small invented database that trains in seconds: customers of three shops, their orders and the products in them."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import duckdb
import msgspec
import pytest

from relsql.database.connections import transaction
from relsql.database.names import current_catalog
from relsql.database.relsql_tables import seal_rows
from relsql.registry.cards.card import CARD_FORMAT
from relsql.registry.cards.reading import read_card_text
from relsql.registry.models import find_model
from relsql.registry.row_embeddings import table_name
from relsql.schema.declared.declare import declare_table
from relsql.schema.tables import Schema
from relsql.tasks.stored_tasks import save_task
from relsql.tasks.task import Task
from relsql.training.options import TrainOptions
from relsql.training.train import TrainedModel, train

CUSTOMERS = 60
QUICK = TrainOptions(encoder_steps=2, fanout=4, channels=16, epochs=2, batch_size=64, threads=1)
LAST_ORDER = datetime.datetime(2022, 12, 20)

TASK = Task(
    name="customer-churn",
    task_type="binary_classification",
    entity_table="customers",
    entity_col="customer_id",
    target_col="churned",
    time_col="timestamp",
    timedelta="30 days",
    val_timestamp=datetime.datetime(2022, 9, 1),
    test_timestamp=datetime.datetime(2022, 11, 1),
    sql="""
        SELECT t.timestamp, a.customer_id, (count(o.order_id) = 0)::BIGINT AS churned
        FROM timestamps t
        JOIN (SELECT DISTINCT timestamp, customer_id FROM timestamps JOIN orders ON ordered_at <= timestamp) a
          ON a.timestamp = t.timestamp
        LEFT JOIN orders o ON o.customer_id = a.customer_id
          AND o.ordered_at > t.timestamp AND o.ordered_at <= t.timestamp + INTERVAL '{timedelta}'
        GROUP BY ALL""",
)

SPEND_TASK = Task(
    name="customer-spend",
    task_type="regression",
    entity_table="customers",
    entity_col="customer_id",
    target_col="spend",
    time_col="timestamp",
    timedelta="30 days",
    val_timestamp=TASK.val_timestamp,
    test_timestamp=TASK.test_timestamp,
    sql=TASK.sql.replace("(count(o.order_id) = 0)::BIGINT AS churned", "coalesce(sum(o.amount), 0) AS spend"),
)


def create_shop(path: Path) -> None:
    """Write the shop to a new file, with keys, links, time columns and tasks."""
    with duckdb.connect(str(path)) as con:
        con.execute(
            f"""
            CREATE TABLE shops (shop_id INTEGER PRIMARY KEY, city VARCHAR);
            INSERT INTO shops VALUES (1, 'Ulm'), (2, 'Gent'), (3, 'Turku');
            CREATE TABLE customers (
                customer_id BIGINT PRIMARY KEY, name VARCHAR, born DATE, shop_id INTEGER REFERENCES shops (shop_id));
            INSERT INTO customers
            SELECT i, 'customer ' || (i * 37 % 100), DATE '1960-01-01' + (i * 211)::INTEGER,
                CASE WHEN i % 10 > 0 THEN 1 + i % 3 END
            FROM range({CUSTOMERS}) t(i);
            CREATE TABLE orders (
                order_id BIGINT PRIMARY KEY, customer_id BIGINT REFERENCES customers (customer_id),
                amount DOUBLE, note VARCHAR, ordered_at TIMESTAMP);
            INSERT INTO orders
            SELECT row_number() OVER (ORDER BY day, i), i, round(5 + hash(i, day) % 900 / 10, 2),
                ['gift', 'express', NULL][1 + (hash(day, i) % 3)::INTEGER],
                TIMESTAMP '2021-01-01 08:00:00' + to_days(day::INTEGER)
            FROM range({CUSTOMERS}) c(i), range(0, 719, 7) d(day)
            WHERE hash(i, day, 1) % 100 < 5 + (i * 17 % 40);
            """
        )
        catalog = current_catalog(con)
        with transaction(con):
            declare_table(con, catalog, "orders", time_column="ordered_at")
            save_task(con, catalog, TASK)
            save_task(con, catalog, SPEND_TASK)


def train_quickly(
    con: duckdb.DuckDBPyConnection, name: str, task: str = "customer-churn", *, force: bool = False
) -> TrainedModel:
    """Train a small model that is only useful for tests."""
    return train(con, task, name=name, options=QUICK, force=force)


def embeddings_table(con: duckdb.DuckDBPyConnection, model: str = "churn") -> str:
    """The table with the row embeddings of a model."""
    return f"relsql.{table_name(find_model(con, current_catalog(con), model).sha256)}"


def seal_models(con: duckdb.DuckDBPyConnection) -> None:
    """Recompute the digests of the rows of `relsql.models` after a test has changed them."""
    seal_rows(con, current_catalog(con), "models")


def age_cards(con: duckdb.DuckDBPyConnection) -> None:
    """Give the cards of `relsql.models` the last format of builds that wrote no digests of rows."""
    con.execute(f"UPDATE relsql.models SET card = replace(card, '\"format\": {CARD_FORMAT}', '\"format\": 3')")


def rewrite_card(con: duckdb.DuckDBPyConnection, text: str, where: str = "true") -> None:
    """Replace the card in rows of `relsql.models`, and make the other columns agree with the new card."""
    card = json.loads(text)
    tables = msgspec.convert(card["schema"], Schema)
    card["fingerprint"] = tables.fingerprint()
    read = read_card_text(json.dumps(card))
    con.execute(
        f"UPDATE relsql.models SET card = ?, name = ?, version = ?, task = ?, sha256 = ? WHERE {where}",
        [json.dumps(card), read.name, read.version, read.task.name, read.identity],
    )
    seal_models(con)


def contents(con: duckdb.DuckDBPyConnection, *, without: str | None = None) -> dict[str, object]:
    """All tables except one of schema relsql, with a digest of their rows."""
    query = "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE NOT temporary AND table_name <> ?"
    names = [name for (name,) in con.execute(query, [without or ""]).fetchall()]
    return {name: con.execute(f"SELECT count(*), sum(hash(t)) FROM {name} t").fetchall() for name in names}


def require_latest_by_default(con: duckdb.DuckDBPyConnection) -> None:
    """Compare the batch function of `churn` without as_of with the latest event, that of an order which is added."""
    latest = datetime.datetime(2023, 3, 3, 4, 5, 6)
    con.execute("INSERT INTO orders VALUES (99999, 8, 1, 'gift', ?)", [latest])
    batch = "SELECT as_of, customer_id, status, evidence, version, score FROM predict_churn_batch({}) ORDER BY 2"
    found = con.execute(batch.format("")).fetchall()
    at_latest = con.execute(batch.format(f"as_of := TIMESTAMP '{latest}'")).fetchall()
    before = con.execute(batch.format("as_of := TIMESTAMP '2022-12-01'")).fetchall()
    assert len(found) == CUSTOMERS and {row[0] for row in found} == {latest}
    assert [row[:-1] for row in found] == [row[:-1] for row in at_latest]
    assert [row[-1] for row in found] == pytest.approx([row[-1] for row in at_latest], abs=1e-6)
    assert [row[-1] for row in found] != pytest.approx([row[-1] for row in before], abs=1e-6)
