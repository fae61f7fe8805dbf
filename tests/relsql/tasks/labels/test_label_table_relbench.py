"""Tests of relsql.tasks.labels.label_table on the RelBench 3 data sets: the labels are the same as RelBench's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema
from relsql.sql_text import ident, literal
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.splits import SPLITS
from relsql.tasks.task import Task

Connection = duckdb.DuckDBPyConnection


def load_folder(folder: Path, target: Path) -> tuple[Connection, Schema]:
    """Load the parquet files of a RelBench folder into a DuckDB file, with the schema of its manifest."""
    manifest = yaml.safe_load((folder / "manifest.yaml").read_text())
    con = duckdb.connect(str(target))
    for name in manifest["tables"]:
        con.execute(
            f"CREATE TABLE {ident(name)} AS FROM read_parquet({literal(str(folder / 'db' / name))} || '.parquet')"
        )
    schema = read_schema(con)
    tables = {
        name: replace(
            schema.table(name), primary_key=(keys["pkey"],) if keys["pkey"] else (), time_column=keys["time_col"]
        )
        for name, keys in manifest["tables"].items()
    }
    return con, replace(schema, tables=tables)


def load_task(folder: Path, name: str) -> Task:
    manifest = yaml.safe_load((folder / "manifest.yaml").read_text())
    task = yaml.safe_load((folder / "tasks" / name / "manifest.yaml").read_text())
    return Task.from_manifest(task | {key: manifest[key] for key in ("val_timestamp", "test_timestamp")})


@pytest.fixture(scope="module")
def folders(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """A function that loads a data set once and returns its connection and schema."""
    loaded: dict[str, tuple[Connection, Schema]] = {}
    with contextlib.ExitStack() as stack:

        def load(name: str) -> tuple[Connection, Schema]:
            if name not in loaded:
                loaded[name] = load_folder(data_dir / name, tmp_path_factory.mktemp("labels") / "data.duckdb")
                stack.callback(loaded[name][0].close)
            return loaded[name]

        yield load


@pytest.mark.parametrize(
    ("task", "sizes"),
    [
        ("driver-dnf", (11411, 566, 702)),
        ("driver-top3", (1353, 588, 726)),
        ("driver-position", (7453, 499, 760)),
    ],
)
def test_split_sizes_are_the_published_ones(
    task: str, sizes: tuple[int, ...], folders: Callable[[str], Any], data_dir: Path
) -> None:
    con, schema = folders("rel-f1")
    task_ = load_task(data_dir / "rel-f1", task)
    assert tuple(label_table(con, "data", schema, task_, split).table.num_rows for split in SPLITS) == sizes


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("rel-f1", "driver-dnf"),
        ("rel-f1", "driver-top3"),
        ("rel-f1", "driver-position"),
        ("rel-retail", "product-orders"),
        ("rel-grants", "donee-usd"),
    ],
)
def test_rows_equal_those_of_relbench(
    folder: str, name: str, split: Any, folders: Callable[[str], Any], data_dir: Path
) -> None:
    relbench = pytest.importorskip("relbench")
    con, schema = folders(folder)
    task = load_task(data_dir / folder, name)
    expected = relbench.load_dataset(str(data_dir / folder)).load_task(name).get_table(split, mask_input_cols=False).df
    labels = label_table(con, "data", schema, task, split)
    assert labels.split == split
    assert labels.dropped_dangling == labels.dropped_null == 0
    assert labels.table["entity"].to_pylist() == expected[task.entity_col].tolist()
    assert labels.table["as_of"].to_pylist() == [t.to_pydatetime() for t in expected[task.time_col]]
    values = labels.table["label"].to_pylist()
    exact = expected[task.target_col].tolist()
    # Sums of floats depend on the order of rows, which the parallel scan does not fix.
    assert values == (exact if task.is_classification else pytest.approx(exact, rel=1e-12))
