"""Drift: what is planted is found and ranked first; where nothing was, nothing is."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import duckdb
import pytest

import relsql
from relsql.errors import SchemaDriftError
from relsql.monitoring.drift import Limits, drift
from tests.relsql.cli.commands import Run
from tests.shop import contents

SINCE = "ordered_at > TIMESTAMP '2022-09-01'"


def test_nothing_has_changed(shop: Path, run: Run) -> None:
    result = run("drift", shop, "churn")
    assert result.exit_code == 0 and "0 of 3 beyond the limits" in result.stderr
    assert "not compared, because their rows have no time: customers, shops" in result.stderr
    with relsql.connect(shop) as con:
        for row in con.execute("SELECT psi, psi_by_chance, finding FROM relsql.drift").fetchall():
            assert row[2] is None and (row[0] is None or row[0] < row[1])


@pytest.mark.parametrize(
    ("change", "column", "finding"),
    [
        (f"UPDATE orders SET amount = amount * 2 WHERE {SINCE}", "amount", "PSI"),
        (f"UPDATE orders SET amount = NULL WHERE {SINCE} AND order_id % 3 = 0", "amount", "missing 0.0% -> "),
        (f"UPDATE orders SET note = 'voucher' WHERE {SINCE} AND order_id % 2 = 0", "note", "unseen, such as voucher"),
        (f"UPDATE orders SET note = 'gift' WHERE {SINCE}", "note", "PSI"),
        (f"DELETE FROM orders WHERE {SINCE}", None, "no new rows since 2022-09-01"),
        (
            f"DELETE FROM orders WHERE {SINCE} AND ordered_at > TIMESTAMP '2022-10-01'",
            None,
            "no new row for 80.7 days, 11.5 times",
        ),
    ],
)
def test_what_is_planted_is_found_and_ranked_first(
    shop: Path, run: Run, change: str, column: str | None, finding: str
) -> None:
    with duckdb.connect(str(shop)) as con:
        con.execute(change)
    result = run("drift", shop, "churn", "--as-of", "2022-12-20", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    worst = found["rows"][0]
    assert (worst["table"], worst["column"]) == ("orders", column) and finding in worst["finding"]
    assert [row["finding"] for row in found["rows"][1:]] == [None] * (len(found["rows"]) - 1)
    with duckdb.connect(str(shop)) as con:
        first = con.execute("SELECT table_name, column_name, finding FROM relsql.drift WHERE rank = 1").fetchall()
        assert first == [("orders", column, worst["finding"])]


def test_limits_are_options(shop: Path, run: Run) -> None:
    with duckdb.connect(str(shop)) as con:
        con.execute(f"UPDATE orders SET amount = amount * 2 WHERE {SINCE}")
        con.execute(f"UPDATE orders SET note = 'voucher' WHERE {SINCE} AND order_id % 9 = 0")
    assert run("drift", shop, "churn", "--max-psi", "0.3").exit_code == 1
    assert run("drift", shop, "churn", "--max-psi", "9", "--max-unseen", "0.5").exit_code == 0
    assert run("drift", shop, "churn", "--max-psi", "9", "--max-unseen", "0.01").exit_code == 1
    assert run("drift", shop, "churn", "--max-psi", "0").exit_code == 2


def test_few_rows_are_put_down_to_chance(shop: Path) -> None:
    with relsql.connect(shop) as con:
        con.execute(f"DELETE FROM orders WHERE {SINCE} AND ordered_at > TIMESTAMP '2022-09-06'")
        found = drift(con, "churn", since=datetime.datetime(2022, 9, 1))
        amount = next(row for row in found.rows if row.column == "amount")
        assert amount.psi is not None and amount.psi > Limits().psi and not found.changed


def test_since_and_as_of_bound_both_ranges(shop: Path) -> None:
    with relsql.connect(shop) as con:
        con.execute("UPDATE orders SET amount = amount * 4 WHERE ordered_at > TIMESTAMP '2022-05-01'")
        early = drift(con, "churn", since=datetime.datetime(2022, 5, 1), as_of=datetime.datetime(2022, 8, 1))
        assert early.rows[0].column == "amount" and early.changed
        assert early.ranges.until == datetime.datetime(2022, 5, 1)
        before = "ordered_at <= TIMESTAMP '2022-05-01'"
        within = "ordered_at > TIMESTAMP '2022-05-01' AND ordered_at <= TIMESTAMP '2022-08-01'"
        counted = con.execute(f"SELECT count_if({before}), count_if({within}) FROM orders").fetchall()
        assert counted == [(early.rows[0].rows_then, early.rows[0].rows_now)]


def test_the_scores_of_the_ledger(kept: Path) -> None:
    with relsql.connect(kept) as con:
        [scores] = [row for row in drift(con, "churn").rows if row.kind == "score"]
        assert not scores.changed and scores.psi is not None
        con.execute("UPDATE relsql.predictions SET score = 0.9 WHERE as_of = TIMESTAMP '2022-12-05'")
        found = drift(con, "churn")
        assert found.rows[0].kind == "score" and found.changed


def test_it_reads_the_tables_only_and_needs_the_columns(shop: Path) -> None:
    with relsql.connect(shop) as con:
        before = contents(con, without="drift")
        drift(con, "churn")
        drift(con, "churn")
        assert contents(con, without="drift") == before
        assert con.execute("SELECT count(*), count(DISTINCT rank) FROM relsql.drift").fetchall() == [(3, 3)]
        con.execute("ALTER TABLE orders DROP COLUMN note")
        with pytest.raises(SchemaDriftError, match="column orders.note is missing"):
            drift(con, "churn")
