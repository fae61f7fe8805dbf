"""The ablation: what each change removes, and that cuts in time prevent leakage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks.accuracy.ablation import CHANGES, Prepared, measure, prepare, time_folds
from benchmarks.data.problems import Problem, Regime
from relsql.database.names import current_catalog
from relsql.errors import TrainingError
from relsql.gather.arrays.graph_inputs import graph_inputs
from relsql.schema.reading import read_schema
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.splits import SPLITS
from tests.shop import TASK, create_shop

HORIZON_DAYS = 30


def problem(path: Path, regime: Regime) -> Problem:
    with duckdb.connect(str(path), read_only=True) as con:
        catalog = current_catalog(con)
        schema = read_schema(con, catalog)
        labels = {split: label_table(con, catalog, schema, TASK, split).table for split in SPLITS}
    return Problem("shop", TASK, regime, path, schema, labels)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    path = tmp_path_factory.mktemp("ablation") / "shop.duckdb"
    create_shop(path)
    return prepare(problem(path, "seed-time"), cuts=2)


def test_cuts_train_on_closed_windows_and_measure_disjoint_labels(prepared: Prepared) -> None:
    for training, measured in prepared.folds:
        assert training.as_of_days.max() + HORIZON_DAYS <= measured.as_of_days.min()
    first, second = (measured.as_of_days for _, measured in prepared.folds)
    assert first.max() < second.min()


def test_too_many_cuts_are_refused(prepared: Prepared) -> None:
    with pytest.raises(TrainingError, match="too few timestamps"):
        list(time_folds(prepared.folds[0][0], prepared.plan, cuts=1_000, horizon=HORIZON_DAYS))


@pytest.mark.parametrize("name", ["text", "categories", "numbers", "ages", "counts", "rows pointed at"])
def test_a_change_takes_away_what_it_names_and_nothing_else(prepared: Prepared, name: str) -> None:
    layouts, blocks = prepared.plan.layouts, prepared.folds[0][0].blocks
    changed = tuple(CHANGES[name].blank(block, layout) for block, layout in zip(blocks, layouts, strict=True))
    before, after = graph_inputs(blocks, layouts), graph_inputs(changed, layouts)
    gone = {
        "text": not any(table.texts.any() for table in after.tables),
        "categories": not any(table.categories.any() for table in after.tables),
        "numbers": not any(np.isfinite(table.numbers).any() for table in after.tables),
        "ages": not any(np.isfinite(path.ages).any() for path in after.paths),
        "counts": not any(path.totals.any() for path in after.paths),
        "rows pointed at": not any(path.rows[1:].any() for path in after.paths),
    }
    assert gone[name]
    for path, old in zip(after.paths, before.paths, strict=True):
        np.testing.assert_array_equal(path.places, old.places)
        assert (path.rows[0] > 0).sum() == (old.rows[0] > 0).sum()
        if name != "counts":
            np.testing.assert_array_equal(path.totals, old.totals)


def test_every_change_is_measured(prepared: Prepared) -> None:
    for change in (CHANGES["second hop"], CHANGES["weights by age"]):
        metrics = measure(prepared, change, seeds=1)
        assert len(metrics) == 2 and all(0 <= metric <= 1 for metric in metrics)


def test_frozen_labels_are_measured_on_validation(tmp_path: Path) -> None:
    create_shop(tmp_path / "shop.duckdb")
    lagging = problem(tmp_path / "shop.duckdb", "frozen")
    found = prepare(replace(lagging, task=replace(TASK, num_eval_timestamps=4)), cuts=2)
    (delayed, validation), (fresh, same) = found.folds[0], found.fresh_folds[0]
    assert len(delayed) > len(fresh) and len(validation) == len(same)
