"""Outcomes: the metrics of the ledger are those that a plain reading of scores and orders gives."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import duckdb
import pytest

import relsql
from relsql.errors import ModelError
from relsql.monitoring.outcomes import Outcomes, outcomes
from tests.relsql.cli.commands import Run
from tests.relsql.monitoring.conftest import MOMENTS
from tests.relsql.scoring.jobs import publish
from tests.shop import CUSTOMERS, contents

CLOSED = MOMENTS[:-1]

HAPPENED = """
    SELECT score, count(o.order_id) = 0 AS churned
    FROM relsql.predictions p LEFT JOIN orders o
        ON o.customer_id = p.entity::BIGINT AND o.ordered_at > as_of AND o.ordered_at <= as_of + INTERVAL 30 DAY
    WHERE p.entity <> '500' AND as_of IN (SELECT unnest(?::TIMESTAMP[]))
    GROUP BY p.entity, as_of, score"""
"""Customer 500 has no orders, so the label query does not ask about it."""


def by_hand(con: duckdb.DuckDBPyConnection, moments: list[datetime.datetime]) -> tuple[float, float, float, int]:
    """ROC-AUC by counting pairs, the means of scores and labels, and their number."""
    rows = con.execute(HAPPENED, [moments]).fetchall()
    positive, negative = ([score for score, churned in rows if churned is kind] for kind in (True, False))
    wins = sum((a > b) + (a == b) / 2 for a in positive for b in negative)
    mean = sum(score for score, _ in rows) / len(rows)
    return wins / len(positive) / len(negative), mean, len(positive) / len(rows), len(rows)


def test_metrics_are_those_computed_by_hand(kept: Path) -> None:
    with relsql.connect(kept) as con:
        found = relsql.outcomes(con, "churn")
        whole, *months = found.outcomes
        assert [each.period for each in months] == [datetime.datetime(2022, month, 1) for month in (10, 11, 12)]
        for each, moments in ((whole, CLOSED), (months[0], CLOSED[:1]), (months[1], CLOSED[1:])):
            area, mean_score, mean_label, labels = by_hand(con, moments)
            assert each.value == pytest.approx(area) and each.metric == "roc_auc"
            assert (each.mean_score, each.mean_label) == pytest.approx((mean_score, mean_label))
            assert each.labels == labels == CUSTOMERS * len(moments)
            assert each.interval and each.interval[0] < area < each.interval[1]
            assert each.unlabelled == len(moments)
        last = months[2]
        assert (last.labels, last.value, last.interval, last.unclosed, last.unlabelled) == (
            0,
            None,
            None,
            CUSTOMERS + 1,
            0,
        )
        assert whole.unclosed == CUSTOMERS + 1
        [(validation,)] = con.execute("SELECT (metrics::JSON ->> 'val_roc_auc')::DOUBLE FROM relsql.models").fetchall()
        assert whole.validation == pytest.approx(validation)
        query = """SELECT period, value, low, high, labels, unlabelled, unclosed, known_until FROM relsql.outcomes
                   ORDER BY period ASC NULLS FIRST"""
        stored = con.execute(query).fetchall()
        assert found.stored and found.newest == {1: datetime.datetime(2022, 12, 16, 8)}
        ends = [each.interval or (None, None) for each in found.outcomes]
        assert stored == [
            (each.period, each.value, *end, each.labels, each.unlabelled, each.unclosed, found.newest[1])
            for each, end in zip(found.outcomes, ends, strict=True)
        ]
        outcomes(con, "churn", by="year")
        assert con.execute("SELECT period_length, count(*) FROM relsql.outcomes GROUP BY ALL").fetchall() == [
            ("year", 2)
        ]


def test_labels_that_training_has_read_are_said(kept: Path) -> None:
    with relsql.connect(kept) as con:
        assert any(f"{CUSTOMERS} of {CUSTOMERS * 5} labels are from before 2022-11-01" in each.message
                   for each in outcomes(con, "churn").findings)  # fmt: skip
        con.execute("DELETE FROM relsql.predictions WHERE as_of < TIMESTAMP '2022-11-01'")
        assert not any("trained on them" in each.message for each in outcomes(con, "churn").findings)


def test_a_window_closes_by_the_events_that_the_label_query_reads(kept: Path) -> None:
    def unclosed() -> int:
        return outcomes(con, "churn").outcomes[0].unclosed

    with relsql.connect(kept) as con:
        con.execute("CREATE TABLE visits (visit_id INTEGER PRIMARY KEY, customer_id BIGINT, seen_at TIMESTAMP)")
        con.execute("INSERT INTO visits VALUES (1, 1, TIMESTAMP '2023-06-01')")
        relsql.schema.declared.declare.declare_table(con, "shop", "visits", time_column="seen_at")
        assert unclosed() == CUSTOMERS + 1, "events of another table close no window"
        con.execute("INSERT INTO orders VALUES (99999, 1, 3, NULL, TIMESTAMP '2023-01-03 23:59:59')")
        assert unclosed() == CUSTOMERS + 1
        con.execute("INSERT INTO orders VALUES (99998, 1, 3, NULL, TIMESTAMP '2023-01-04')")
        assert unclosed() == 0


def test_labels_of_one_class_have_no_metric_and_are_few(kept: Path) -> None:
    with relsql.connect(kept) as con:
        con.execute(
            "DELETE FROM orders WHERE ordered_at > TIMESTAMP '2022-11-14' AND ordered_at < TIMESTAMP '2022-12-16'"
        )
        con.execute("DELETE FROM relsql.predictions WHERE as_of <> TIMESTAMP '2022-11-14'")
        found = outcomes(con, "churn")
        assert found.outcomes[0].value is None and found.outcomes[0].mean_label == 1
        assert any("are few" in each.message for each in found.findings)


def test_a_model_that_got_worse_is_a_finding(kept: Path) -> None:
    def worse(found: Outcomes) -> bool:
        return any("worse than" in each.message for each in found.findings)

    with relsql.connect(kept) as con:
        assert not worse(outcomes(con, "churn"))
        con.execute("UPDATE relsql.predictions SET score = 1 - score")
        assert worse(outcomes(con, "churn"))


def test_all_versions_of_a_name_or_one(kept: Path) -> None:
    with relsql.connect(kept) as con:
        publish(con, "churn", 2)
        con.execute("INSERT INTO relsql.predictions SELECT * REPLACE (2 AS version) FROM relsql.predictions")
        con.execute("INSERT INTO relsql.predictions SELECT * REPLACE (9 AS version) FROM relsql.predictions")
        assert {each.version for each in outcomes(con, "churn").outcomes} == {1, 2}
        assert {each.version for each in outcomes(con, "churn@1").outcomes} == {1}
        assert con.execute("SELECT DISTINCT version FROM relsql.outcomes ORDER BY 1").fetchall() == [(1,), (2,)]
        publish(con, "other", 1)
        with pytest.raises(ModelError, match="no scores in the ledger") as caught:
            outcomes(con, "other")
        assert "--keep-history" in str(caught.value.fix)


def test_a_read_only_file_stores_nothing(kept: Path, run: Run) -> None:
    with duckdb.connect(str(kept)) as con:
        before = contents(con)
    with relsql.connect(kept, read_only=True) as con:
        assert not outcomes(con, "churn").stored and not relsql.drift(con, "churn").stored
        # Another connection reads, so that none can write.
        for command in ("outcomes", "drift"):
            result = run(command, kept, "churn")
            assert result.exit_code == 0, result.stderr
            assert "read-only: nothing was stored" in result.stderr and "roc_auc" in result.stdout + "roc_auc"
    with duckdb.connect(str(kept)) as con:
        assert contents(con) == before


def test_the_command(kept: Path, run: Run) -> None:
    result = run("outcomes", kept, "churn", "--by", "quarter")
    assert result.exit_code == 0
    assert [line.split()[:3] for line in result.stdout.splitlines()[2:]] == [
        ["1", "all", "300"],
        ["1", "2022-10-01", "300"],
    ]
    found = json.loads(run("outcomes", kept, "churn", "--json").stdout)
    assert found["stored"] is True and found["outcomes"][0]["labels"] == 300
    assert run("outcomes", kept, "nobody").exit_code == 1
