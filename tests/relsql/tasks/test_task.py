"""Tests of relsql.tasks.task: manifests in, manifests out, and the relsql.tasks table."""

from __future__ import annotations

import datetime
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from relsql.database.connections import transaction
from relsql.errors import TaskError
from relsql.tasks.fields import as_timestamp
from relsql.tasks.kinds.asked import KINDS
from relsql.tasks.stored_tasks import read_task, read_tasks, save_task
from relsql.tasks.task import TASK_TYPES, Task

MANIFEST: dict[str, Any] = {
    "name": "dnf",
    "kind": "forecast",
    "manifest_version": 1,
    "task_type": "binary_classification",
    "entity_table": "drivers",
    "entity_col": "driverId",
    "target_col": 'did not "finish"',
    "time_col": "date",
    "timedelta": "30 days",
    "sql": "SELECT 'it''s' FROM timestamps -- {timedelta}\nGROUP BY ALL",
}


def task(**changes: Any) -> Task:
    return Task.from_manifest(MANIFEST | changes)


FULL = task(
    num_eval_timestamps=40,
    val_timestamp="2005-01-01",
    test_timestamp="2010-01-01 12:30:00.5",
    remove_columns=[["results", "statusId"], ["results", "milli seconds"]],
    description="Will the driver fail?",
)


def test_manifest_fields_become_the_task() -> None:
    assert FULL.sql == MANIFEST["sql"]
    assert FULL.is_classification
    assert FULL.remove_columns == (("results", "statusId"), ("results", "milli seconds"))
    assert FULL.val_timestamp == datetime.datetime(2005, 1, 1)
    assert FULL.test_timestamp == datetime.datetime(2010, 1, 1, 12, 30, 0, 500_000)
    assert task().num_eval_timestamps == 1
    assert task().val_timestamp is None
    assert not task(task_type="regression").is_classification


def test_the_target_of_a_regression_follows_its_metric() -> None:
    def target(**changes: Any) -> str | None:
        return task(task_type="regression", **changes).target

    assert target() == "median" == target(metric="mae") == target(metric="NMAE") == target(target="quantile(0.5)")
    assert {target(metric=metric) for metric in ("rmse", "mse", "r2")} == {"mean"}
    assert target(metric="rmse", target=" Quantile(.9)") == "quantile(0.9)"
    assert task().target is None and task(metric="roc_auc").predicts == "probability"
    assert task(task_type="regression", target="mean").predicts == "mean"


def test_regressions_that_were_stored_without_a_target_predict_medians(con: duckdb.DuckDBPyConnection) -> None:
    regression = replace(FULL, task_type="regression", target="mean")
    with transaction(con):
        save_task(con, "memory", regression)
    assert read_task(con, "memory", "dnf") == regression
    con.execute("ALTER TABLE relsql.tasks DROP COLUMN target")
    assert read_task(con, "memory", "dnf").target == "median"
    with transaction(con):
        save_task(con, "memory", regression)
    assert read_task(con, "memory", "dnf") == regression


@pytest.mark.parametrize("original", [FULL, task(), task(task_type="regression", target="quantile(0.9)")])
def test_manifest_round_trip(original: Task, tmp_path: Path) -> None:
    assert Task.from_manifest(original.to_manifest()) == original
    path = tmp_path / "manifest.yaml"
    path.write_text(yaml.safe_dump(original.to_manifest()), encoding="utf-8")
    assert Task.from_manifest(path) == original


def test_manifests_of_the_data_sets_are_read(data_dir: Path) -> None:
    paths = sorted(data_dir.glob("*/tasks/*/manifest.yaml"))
    assert paths
    manifests = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]
    trained = [raw for raw in manifests if raw["kind"] in KINDS and raw["task_type"] in TASK_TYPES]
    assert {"driver-dnf", "customer-return", "donee-usd", "results-position", "line-quantity"} <= {
        Task.from_manifest(raw).name for raw in trained
    }
    for raw in manifests:
        if raw not in trained:
            with pytest.raises(TaskError, match=f"is of kind '{raw['kind']}'|has task_type '{raw['task_type']}'"):
                Task.from_manifest(raw)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task_type": "regresion"}, "did you mean 'regression'"),
        ({"kind": "external"}, "is of kind 'external'. Expected: kind: forecast"),
        ({"sql": None, "entity_col": ""}, "lacks entity_col, sql. Expected: the fields name, task_type"),
        ({"num_eval_timestamps": 0}, "num_eval_timestamps 0. Expected: >= 1"),
        ({"val_timestamp": "soon"}, "val_timestamp 'soon' is not a timestamp"),
        ({"target": "mean"}, "is a classification with target mean. Expected: a target in regressions only"),
        ({"task_type": "regression", "target": "average"}, "target 'average'. Expected: mean, median, or quantile"),
        ({"task_type": "regression", "target": 0.9}, "target 0.9. Expected: mean, median, or quantile"),
        ({"task_type": "regression", "metric": "auc"}, "metric 'auc'. Expected: one of mae, nmae, rmse"),
    ],
)
def test_unusable_manifests(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        task(**changes)


def test_unreadable_manifest_files(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="cannot be read: No such file"):
        Task.from_manifest(tmp_path / "none.yaml")
    path = tmp_path / "manifest.yaml"
    for text, message in (("a: [", "is not valid YAML"), ("", "is empty"), ("- a", "is empty")):
        path.write_text(text)
        with pytest.raises(TaskError, match=message):
            Task.from_manifest(path)


@pytest.mark.parametrize(
    "value",
    [
        "2010-01-01",
        datetime.date(2010, 1, 1),
        datetime.datetime(2010, 1, 1),
        "2010-01-01T02:00:00+02:00",
        datetime.datetime(2009, 12, 31, 19, tzinfo=datetime.timezone(datetime.timedelta(hours=-5))),
    ],
)
def test_as_timestamp_is_zoneless_utc(value: object) -> None:
    assert as_timestamp(value, "t", "val_timestamp") == datetime.datetime(2010, 1, 1)


def test_tasks_are_stored_and_replaced_by_name(con: duckdb.DuckDBPyConnection) -> None:
    assert read_tasks(con, "memory") == {}
    plain = replace(FULL, name="plain", val_timestamp=None, remove_columns=(), description=None)
    with transaction(con):
        save_task(con, "memory", FULL)
        save_task(con, "memory", plain)
        save_task(con, "memory", replace(FULL, timedelta="60 days"))
    assert read_tasks(con, "memory") == {"dnf": replace(FULL, timedelta="60 days"), "plain": plain}
    assert read_task(con, "memory", "plain") == plain


def test_a_failed_save_leaves_the_stored_task(con: duckdb.DuckDBPyConnection) -> None:
    with transaction(con):
        save_task(con, "memory", FULL)
    with pytest.raises(RuntimeError), transaction(con):
        save_task(con, "memory", replace(FULL, timedelta="60 days"))
        raise RuntimeError
    assert read_task(con, "memory", "dnf") == FULL


def test_unknown_task_names_the_nearest(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(TaskError, match=r"task 'dfn' does not exist in database 'memory'. Expected: none exist yet"):
        read_task(con, "memory", "dfn")
    with transaction(con):
        save_task(con, "memory", FULL)
    with pytest.raises(TaskError, match="did you mean 'dnf'"):
        read_task(con, "memory", "dfn")


YAML_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.binary(max_size=4),
        st.dates(),
        st.datetimes(timezones=st.none() | st.timezones()),
        st.sampled_from(["lots", "\ud800", "a\0b", "0001-01-01T00:00+05:00", "9999-12-31T23:59-05:00", 2**70]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner).map(list),
        st.dictionaries(st.text(max_size=3), inner, max_size=2),
        st.sets(st.integers(), max_size=2),
    ),
    max_leaves=5,
)
"""Any value that a YAML file can contain."""


@pytest.mark.parametrize("name", ["positive", "description"])
def test_an_empty_text_is_kept(name: str) -> None:
    task = replace(FULL, **{name: ""})
    assert Task.from_manifest(task.to_manifest()) == task


@pytest.mark.parametrize("name", [field.name for field in fields(Task)])
@given(value=YAML_VALUES)
@settings(max_examples=30, deadline=None)
def test_any_value_of_any_field_is_taken_or_refused(name: str, value: Any) -> None:
    manifest = FULL.to_manifest() | {name: value}
    try:
        built, message = Task.from_manifest(manifest), ""
    except TaskError as error:
        built, message = None, str(error)
    if built is None:
        assert name in message and "\n" not in message and len(message) < 1000
        return
    # A manifest that is accepted can be stored and read back.
    assert Task.from_manifest(built.to_manifest()) == built
    with duckdb.connect() as con:
        save_task(con, "memory", built)
        assert read_task(con, "memory", built.name) == built


def test_a_damaged_row_is_refused_by_name_and_can_be_replaced(con: duckdb.DuckDBPyConnection) -> None:
    save_task(con, "memory", FULL)
    for change, message in (
        ("sql = NULL", "task 'dnf' lacks sql"),
        ("num_eval_timestamps = 0", "task 'dnf' has num_eval_timestamps 0"),
        ("remove_columns = [['results']]", r"task 'dnf' has remove_columns \[\['results'\]\]"),
        ("remove_columns = [['results', NULL]]", "task 'dnf' has remove_columns"),
        ("name = NULL", "task 'unnamed' lacks name"),
    ):
        con.execute(f"UPDATE relsql.tasks SET {change}")
        with pytest.raises(TaskError, match=message):
            read_tasks(con, "memory")
        con.execute("DELETE FROM relsql.tasks")
        save_task(con, "memory", FULL)
    assert read_task(con, "memory", "dnf") == FULL


def test_a_table_of_tasks_without_some_columns(con: duckdb.DuckDBPyConnection) -> None:
    save_task(con, "memory", FULL)
    con.execute("ALTER TABLE relsql.tasks DROP COLUMN description")
    assert read_task(con, "memory", "dnf") == replace(FULL, description=None)
    con.execute("ALTER TABLE relsql.tasks DROP COLUMN sql")
    with pytest.raises(TaskError, match="lacks sql"):
        read_task(con, "memory", "dnf")


def test_a_number_that_python_does_not_write(tmp_path: Path) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_text(yaml.safe_dump(MANIFEST) + f"num_eval_timestamps: 0x{'f' * 9000}\n")
    with pytest.raises(TaskError, match="has num_eval_timestamps a huge int"):
        Task.from_manifest(path)
