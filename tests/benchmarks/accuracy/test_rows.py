"""Tests of the rows of the accuracy table that need no network: which labels and rows they read."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.accuracy.judge import loss
from benchmarks.accuracy.rows import make_row
from benchmarks.accuracy.rows.simple import EntityMean
from benchmarks.data.problems import Problem, load_problem
from relsql.errors import TrainingError
from relsql.schema.tables import Schema
from relsql.tasks.splits import Split
from relsql.tasks.task import Task

lightgbm_rows = pytest.importorskip("benchmarks.accuracy.rows.lightgbm_rows")


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightgbm_rows, "MAX_ROUNDS", 30)
    monkeypatch.setattr(lightgbm_rows, "SETTINGS", lightgbm_rows.SETTINGS[1:2])


ROWS = ("entity-mean", "recency", "lightgbm-own", "lightgbm-aggregates")


@pytest.fixture(scope="module")
def cache(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows")


@pytest.fixture(scope="module")
def problem(cache: Path) -> Problem:
    return load_problem("rel-f1", "driver-top3", "seed-time", cache)


def with_labels(problem: Problem, split: Split, labels: object) -> Problem:
    table = problem.labels[split]
    changed = table.set_column(table.schema.get_field_index("label"), "label", pa.array(labels))
    return replace(problem, labels={**problem.labels, split: changed})


def small_problem(labels: dict[Split, list[tuple[str, float]]]) -> Problem:
    task = Task("t", "regression", "things", "id", "label", "at", "1 day", "")
    start = datetime.datetime(2020, 1, 1)
    tables: dict[Split, pa.Table] = {
        split: pa.table({"entity": [e for e, _ in rows], "as_of": [start] * len(rows), "label": [v for _, v in rows]})
        for split, rows in labels.items()
    }
    return Problem("small", task, "seed-time", Path("nowhere"), Schema({}), tables)


def test_entity_mean_is_shrunk_towards_the_overall_mean() -> None:
    problem = small_problem(
        {
            "train": [("a", 1.0)] * 50 + [("b", 5.0)] * 50,
            "val": [("a", 1.0), ("b", 5.0), ("c", 3.0)],
            "test": [("a", 0.0), ("c", 0.0), ("d", 0.0)],
        }
    )
    scores = EntityMean().scores(problem, 0)
    # The labels of an entity never change, so the least shrinkage is best: one label of the mean of all, 3.
    assert scores["val"].tolist() == pytest.approx([(50 + 3) / 51, (250 + 3) / 51, 3.0])
    assert scores["test"].tolist() == pytest.approx([(51 + 3) / 52, 3.0, 3.0])


@pytest.mark.parametrize("name", ROWS)
def test_no_row_reads_test_labels(problem: Problem, name: str) -> None:
    row = make_row(name)
    scores = row.scores(problem, 0)
    again = row.scores(with_labels(problem, "test", 1 - np.asarray(problem.labels["test"]["label"])), 0)
    for split in ("val", "test"):
        assert scores[split].shape == problem.targets(split).shape
        assert np.isfinite(scores[split]).all()
        assert (scores[split] >= 0).all() and (scores[split] <= 1).all()
        np.testing.assert_array_equal(scores[split], again[split])
    # Recent events of an entity are much more informative than its own columns.
    assert (-loss(problem, "val", scores["val"]) > 0.8) == (name in ("recency", "lightgbm-aggregates"))


def test_a_constant_label_is_predicted_everywhere(problem: Problem) -> None:
    constant = problem
    for split in ("train", "val", "test"):
        constant = with_labels(constant, split, np.full(problem.labels[split].num_rows, 2.5))
    constant = replace(constant, task=replace(problem.task, task_type="regression"))
    for name in ROWS[:-1]:
        scores = make_row(name).scores(constant, 0)
        assert scores["val"] == pytest.approx(2.5), name
        assert scores["test"] == pytest.approx(2.5), name


def test_names_of_rows() -> None:
    with pytest.raises(TrainingError, match="did you mean 'recency'"):
        make_row("recencies")
    with pytest.raises(TrainingError, match="'recency' has no encoder"):
        make_row("recency@facebook/bart-base")
