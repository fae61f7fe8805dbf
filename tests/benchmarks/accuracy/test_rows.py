"""Tests of the rows of the accuracy table that need no network: which labels and rows they read."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.accuracy.judge import loss
from benchmarks.accuracy.rows import features, lightgbm_rows, make_row, tabm_rows
from benchmarks.accuracy.rows.simple import EntityMean
from benchmarks.data.problems import Problem, load_problem
from relsql.errors import TrainingError
from relsql.schema.tables import Schema
from relsql.tasks.splits import Split
from relsql.tasks.task import Task


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabm_rows, "MAX_EPOCHS", 2)
    monkeypatch.setattr(lightgbm_rows, "MAX_ROUNDS", 30)
    monkeypatch.setattr(lightgbm_rows, "SETTINGS", lightgbm_rows.SETTINGS[1:2])


INFORMED = ("recency", "lightgbm-aggregates", "tabm-aggregates")
"""Rows that read recent events of an entity, which are much more informative than its own columns."""

ROWS = ("entity-mean", "lightgbm-own", *INFORMED)


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
    assert (-loss(problem, "val", scores["val"]) > 0.8) == (name in INFORMED)


def test_a_constant_label_is_predicted_everywhere(problem: Problem) -> None:
    constant = problem
    for split in ("train", "val", "test"):
        constant = with_labels(constant, split, np.full(problem.labels[split].num_rows, 2.5))
    constant = replace(constant, task=replace(problem.task, task_type="regression"))
    for name in ("entity-mean", "recency", "lightgbm-own", "tabm-aggregates"):
        scores = make_row(name).scores(constant, 0)
        assert scores["val"] == pytest.approx(2.5), name
        assert scores["test"] == pytest.approx(2.5), name


def test_seeds_differ_and_repeat(problem: Problem) -> None:
    first, again, second = (make_row("tabm-aggregates").scores(problem, seed)["test"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - second).max() > 1e-3


def test_features_are_read_once_per_problem(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def read(*arguments: Any) -> np.ndarray:
        calls.append(arguments)
        streams, labels = arguments[-2:]
        return np.zeros((labels.num_rows, sum(len(stream.features) for stream in streams)))

    monkeypatch.setattr(features, "read_streams", read)
    fresh = replace(problem)
    features.take_spared_seconds()
    first = features.aggregate_features.of(fresh)
    assert len(calls) == 3 and features.take_spared_seconds() == 0
    assert features.aggregate_features.of(fresh) is first
    assert len(calls) == 3 and features.take_spared_seconds() > 0
    features.aggregate_features.of(replace(problem))
    assert len(calls) == 6


def test_spared_seconds_include_those_of_what_a_result_is_computed_from(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def read(_: Problem) -> int:
        clock[0] += 8.0
        return 1

    inner = features.OncePerProblem(read)
    outer = features.OncePerProblem(lambda each: inner.of(each) + 1)
    features.take_spared_seconds()
    assert (inner.of(problem), features.take_spared_seconds()) == (1, 0.0)
    assert (outer.of(problem), features.take_spared_seconds()) == (2, 8.0)
    assert (outer.of(problem), features.take_spared_seconds()) == (2, 8.0)


def test_numbers_become_normal_quantiles_of_the_training_labels() -> None:
    random = np.random.default_rng(0)
    train = np.column_stack(
        [random.lognormal(0, 2, 2_000), np.full(2_000, 7.0), np.full(2_000, np.nan), random.random(2_000)]
    )
    train[:500, 3] = np.nan
    found, scored = tabm_rows.normalised(train, np.array([[1e9, 8.0, 1.0, np.nan], [-1.0, 7.0, np.nan, 0.5]]))
    # The last number misses sometimes, so it alone has a flag.
    assert found.shape == (2_000, 4 + 1) and found.dtype == np.float32
    assert found[:, 0].mean() == pytest.approx(0, abs=0.05) and found[:, 0].std() == pytest.approx(1, abs=0.05)
    assert (found[:, 1:3] == 0).all() and (found[:500, 3] == 0).all()
    assert (scored[0, :4] == [tabm_rows.CLIP, 0, 0, 0]).all() and scored[1, 0] == -tabm_rows.CLIP
    assert found[:, 4].tolist() == [1] * 500 + [0] * 1_500 and scored[:, 4].tolist() == [1, 0]


def test_names_of_rows() -> None:
    with pytest.raises(TrainingError, match="did you mean 'recency'"):
        make_row("recencies")
    with pytest.raises(TrainingError, match="'recency' has no encoder"):
        make_row("recency@facebook/bart-base")
