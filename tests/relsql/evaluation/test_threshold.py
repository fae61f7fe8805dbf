"""A threshold meets its criterion on the labels, and answers and counterfactuals follow it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner

import relsql
from relsql.cli import cli
from relsql.database.names import current_catalog
from relsql.errors import TaskError
from relsql.evaluation.predictions import predict_split
from relsql.evaluation.threshold import Threshold, ThresholdCriterion, choose_threshold, gain_table
from relsql.registry.models import active_card


@pytest.fixture
def con(shop: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with relsql.connect(shop) as con:
        yield con


def costs(found: Threshold) -> float:
    return found.false_alarms + 20 * found.missed


def test_no_other_threshold_costs_less(con: duckdb.DuckDBPyConnection) -> None:
    found = choose_threshold(con, "churn", ThresholdCriterion(costs=(1, 20)))
    predictions = predict_split(con, "churn", "val")
    labels, scores = predictions.labels[predictions.scored], predictions.scores[predictions.scored]
    for other in [*np.unique(scores), 2.0]:
        yes = scores >= other
        assert costs(found) <= (yes & (labels == 0)).sum() + 20 * (~yes & (labels == 1)).sum()
    assert found.hits + found.false_alarms + found.missed + found.rest == len(labels)
    assert costs(found) < 20 * labels.sum()


def test_alarms_are_as_precise_and_as_many_as_wished(con: duckdb.DuckDBPyConnection) -> None:
    top = choose_threshold(con, "churn", ThresholdCriterion(top=0.1))
    count = top.hits + top.false_alarms + top.missed + top.rest
    assert (top.hits + top.false_alarms) / count == pytest.approx(0.1, abs=0.02)
    precise = choose_threshold(con, "churn", ThresholdCriterion(precision=top.precision))
    assert precise.precision >= top.precision and precise.recall >= top.recall
    with pytest.raises(TaskError, match="a threshold needs exactly one criterion"):
        ThresholdCriterion(top=0.1, precision=0.5)


def test_answers_counterfactuals_and_plain_sql_follow_the_threshold(con: duckdb.DuckDBPyConnection) -> None:
    answers = "SELECT f.score, f.label FROM (SELECT predict_churn_full(customer_id) AS f FROM customers)"
    assert {label for _, label in con.execute(answers).fetchall()} == {None}
    before = con.execute("FROM predict_churn_batch() ORDER BY ALL").fetchall()
    found = choose_threshold(con, "churn", ThresholdCriterion(top=0.3))
    relsql.attach(con)
    rows = con.execute(answers).fetchall()
    assert all(label == (score >= found.threshold) for score, label in rows)
    assert len({label for _, label in rows}) == 2
    assert con.execute("FROM predict_churn_batch() ORDER BY ALL").fetchall() == before
    things = "SELECT customer_id, path, row_key, column_name"
    crossing = f"{things} FROM explain_churn_batch(counterfactual := true, top := NULL{{}}) ORDER BY ALL"
    expected = con.execute(crossing.format(f", threshold := {found.threshold!r}")).fetchall()
    assert con.execute(crossing.format("")).fetchall() == expected
    relsql.publish(con, "churn")
    relsql.detach(con)
    assert [label for _, label in con.execute(answers).fetchall()] == [label for _, label in rows]


def test_the_command_prints_the_gain_table_and_stores_the_threshold(con: duckdb.DuckDBPyConnection) -> None:
    [(file,)] = con.execute("SELECT path FROM duckdb_databases() WHERE NOT internal").fetchall()
    con.close()

    def run(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(cli, ["threshold", file, "churn", *arguments], prog_name="relsql")
        return result.exit_code, result.stdout, result.stderr

    code, table, notes = run("--top", "5%")
    assert code == 0 and len(table.splitlines()) == 12 and table.splitlines()[-1].endswith("100.0%")
    assert "churn@1 answers yes at or above" in notes
    found = json.loads(run("--cost-fp", "1", "--cost-fn", "20", "--json")[1])
    with duckdb.connect(file) as other:
        assert active_card(other, current_catalog(other), "churn").threshold == found["threshold"]
    assert run("--cost-fp", "1")[0] == 2 and run()[0] == 2 and run("--top", "5%", "--at", ".5")[0] == 2
    assert "is not a share" in run("--top", "7")[2]


def test_groups_add_up() -> None:
    labels, scores = (np.arange(103) % 3 == 0).astype(np.float64), np.linspace(0, 1, 103)
    groups = gain_table(labels, scores)
    assert sum(group.labels for group in groups) == 103 and groups[-1].gain == 1
    assert groups[0].scores[1] == 1 and all(group.scores[0] > 0.85 for group in groups[:1])
    assert sum(group.lift * group.labels for group in groups) == pytest.approx(103)
