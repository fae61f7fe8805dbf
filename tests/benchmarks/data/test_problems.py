"""Tests of benchmarks.data.problems: what a seed may see in each regime."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.data.problems import Problem, database_file, list_datasets, list_tasks, load_problem
from relsql.errors import DatabaseError, TaskError
from relsql.schema.times.events import time_sql
from relsql.tasks.splits import Split


@pytest.fixture(scope="module")
def cache(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def frozen(cache: Path) -> Problem:
    return load_problem("rel-f1", "driver-top3", "frozen", cache)


def latest_and_counts(problem: Problem, split: Split) -> dict[str, tuple[Any, int]]:
    """Time of the last row (None for an untimed table) and number of rows, by table."""
    found = {}
    with problem.open(split) as (con, catalog):
        for key, table in problem.schema.tables.items():
            time = f"max({time_sql(table, 'r')})" if table.time_column else "NULL"
            [found[key]] = con.execute(f"SELECT {time}, count(*) FROM {table.sql(catalog)} r").fetchall()
    return found


@pytest.mark.parametrize("split", ["val", "test"])
def test_frozen_view_holds_all_rows_up_to_the_cut_and_none_after(frozen: Problem, split: Split) -> None:
    cut = frozen.task.val_timestamp if split == "val" else frozen.task.test_timestamp
    seen, whole = latest_and_counts(frozen, split), latest_and_counts(frozen, "train")
    with frozen.open("train") as (con, catalog):
        for key, table in frozen.schema.tables.items():
            latest, count = seen[key]
            if table.time_column is None:
                assert count == whole[key][1]
                continue
            query = f"SELECT count(*) FROM {table.sql(catalog)} r WHERE {time_sql(table, 'r')} <= ?"
            assert latest <= cut
            assert [(count,)] == con.execute(query, [cut]).fetchall()
            assert count < whole[key][1]


def test_rows_after_the_cut_cannot_be_reached_from_a_frozen_view(frozen: Problem) -> None:
    with frozen.open("test") as (con, catalog):
        names = {name for (name,) in con.execute("SELECT database_name FROM duckdb_databases()").fetchall()}
        assert catalog in names
        assert con.execute("SELECT current_database()").fetchall() == [(catalog,)]
        assert not con.execute("SELECT path FROM duckdb_databases() WHERE path IS NOT NULL").fetchall()


def test_seed_time_view_is_the_whole_database(frozen: Problem, cache: Path) -> None:
    problem = load_problem("rel-f1", "driver-top3", "seed-time", cache)
    assert latest_and_counts(problem, "test") == latest_and_counts(frozen, "train")
    assert problem.labels == frozen.labels


def test_labels_and_targets(frozen: Problem) -> None:
    assert {split: table.num_rows for split, table in frozen.labels.items()} == {"train": 1353, "val": 588, "test": 726}
    assert frozen.targets("test").mean() == pytest.approx(0.176, abs=0.001)
    assert frozen.targets("test").dtype == "float64"


def test_regimes_coincide_where_test_has_one_timestamp(frozen: Problem, cache: Path) -> None:
    assert not frozen.regimes_coincide
    assert load_problem("rel-grants", "donee-usd", "frozen", cache).regimes_coincide


def test_a_data_set_is_imported_once(frozen: Problem, cache: Path) -> None:
    before = frozen.path.stat().st_mtime_ns
    assert database_file("rel-f1", cache) == frozen.path
    assert frozen.path.stat().st_mtime_ns == before
    assert (cache / ".gitignore").read_text() == "*\n"


def test_a_data_set_that_changed_is_imported_again(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(data_dir / "rel-grants", tmp_path / "data" / "rel-grants", copy_function=shutil.copyfile)
    monkeypatch.setenv("RELSQL_DATA", str(tmp_path / "data"))
    assert list_datasets() == ("rel-grants",)
    path = database_file("rel-grants", tmp_path)
    before = path.stat().st_mtime_ns
    manifest = tmp_path / "data" / "rel-grants" / "manifest.yaml"
    manifest.touch()
    assert database_file("rel-grants", tmp_path).stat().st_mtime_ns > before


def test_names_that_do_not_exist(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert list_tasks("rel-f1", cache) == ("driver-dnf", "driver-position", "driver-top3")
    with pytest.raises(DatabaseError, match="data set 'rel-f2' does not exist.*did you mean 'rel-f1'"):
        load_problem("rel-f2", "driver-dnf", "frozen", cache)
    with pytest.raises(TaskError, match="driver-top3"):
        load_problem("rel-f1", "driver-top4", "frozen", cache)
    monkeypatch.setenv("RELSQL_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DatabaseError, match="RELSQL_DATA"):
        list_datasets()
