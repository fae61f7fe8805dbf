"""What tests of batch jobs share: jobs that are stopped, a second version, and the comparison of tables."""

from __future__ import annotations

import datetime
import json
from typing import Any

import duckdb
import pytest

import relsql
from tests.shop import rewrite_card

AS_OF = datetime.datetime(2022, 12, 1)
LEDGER = "SELECT * EXCLUDE (scored_at) FROM relsql.predictions ORDER BY ALL"
Rows = list[tuple[Any, ...]]


def rows(con: duckdb.DuckDBPyConnection, table: str = "risk") -> Rows:
    return con.execute(f"FROM {table} ORDER BY 1").fetchall()


def close(found: Rows, expected: Rows) -> bool:
    """True for the same rows; scores may differ in their last bits, because the batch sizes differ."""
    same = [(row[0], *row[2:]) for row in found] == [(row[0], *row[2:]) for row in expected]
    return same and all(a[1] == pytest.approx(b[1], abs=1e-6) for a, b in zip(found, expected, strict=True))


def stop_after(chunks: int) -> Any:
    """A progress callback that stops the job like Ctrl-C after some chunks."""
    calls = []

    def progress(phase: str, fraction: float, metrics: dict[str, float]) -> None:
        calls.append(fraction)
        if len(calls) > chunks:
            raise KeyboardInterrupt

    return progress


def stopped(con: duckdb.DuckDBPyConnection, chunks: int, **options: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        relsql.score_into(con, "churn", "risk", progress=stop_after(chunks), **options)


def publish(con: duckdb.DuckDBPyConnection, name: str, version: int) -> None:
    """Store the model once more, under another name or version, as if it had been trained again."""
    [(text,)] = con.execute("SELECT card FROM relsql.models WHERE name = 'churn' AND version = 1").fetchall()
    card = json.dumps(json.loads(text) | {"name": name, "version": version})
    con.execute("UPDATE relsql.models SET status = 'retired' WHERE name = ?", [name])
    for table, values in (("models", "? AS name, ? AS version, ? AS card, 'active' AS status"),
                          ("artifacts", "? AS model, ? AS version")):  # fmt: skip
        column = "name" if table == "models" else "model"
        query = f"SELECT * REPLACE ({values}) FROM relsql.{table} WHERE {column} = 'churn' AND version = 1"
        con.execute(f"INSERT INTO relsql.{table} {query}", [name, version, card][: values.count("?")])
    rewrite_card(con, card, f"name = '{name}' AND version = {version}")


def change_key(con: duckdb.DuckDBPyConnection, kind: str, expression: str) -> None:
    """Give the customers of the shop another key, without a constraint, also on the model's card."""
    for table in ("customers", "orders"):
        changed = f"CAST({expression.format(i='customer_id')} AS {kind}) AS customer_id"
        con.execute(f"CREATE TABLE new_{table} AS SELECT * REPLACE ({changed}) FROM {table}")
    con.execute("DROP TABLE orders; DROP TABLE customers")
    con.execute("ALTER TABLE new_orders RENAME TO orders; ALTER TABLE new_customers RENAME TO customers")
    [(text,)] = con.execute("SELECT card FROM relsql.models").fetchall()
    card = json.loads(text)
    for table in card["schema"]["tables"].values():
        for column in table["columns"]:
            column["type"] = kind if column["name"] == "customer_id" else column["type"]
    rewrite_card(con, json.dumps(card))
