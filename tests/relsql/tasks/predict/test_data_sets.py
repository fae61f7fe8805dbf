"""The tasks of the RelBench data sets, each in one line: their labels are those of the manifests, row for row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
import yaml

from relsql.schema.tables import Link, Schema
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.splits import SPLITS
from relsql.tasks.task import Task
from tests.relsql.tasks.labels.test_label_table_relbench import load_folder, load_task

LINES = {
    ("rel-f1", "driver-dnf"): (
        "PREDICT COUNT(results.* WHERE results.statusId != 1, 0, 30, days) > 0 FOR EACH drivers.driverId "
        "ASSUMING COUNT(results.*, 0, 30, days) > 0"
    ),
    ("rel-f1", "driver-position"): "PREDICT AVG(results.positionOrder, 0, 60, days) FOR EACH drivers.driverId",
    ("rel-f1", "driver-top3"): (
        "PREDICT COUNT(qualifying.* WHERE qualifying.position <= 3, 0, 30, days) > 0 FOR EACH drivers.driverId "
        "ASSUMING COUNT(qualifying.*, 0, 30, days) > 0"
    ),
    ("rel-grants", "donee-regrant"): (
        "PREDICT EXISTS(grants.*, 0, 365, days) FOR EACH donees.donee_id WHERE EXISTS(grants.*, -730, 0, days)"
    ),
    ("rel-grants", "donee-usd"): (
        "PREDICT LOG10(1 + SUM(grants.amount WHERE grants.amount > 0, 0, 365, days)) FOR EACH donees.donee_id "
        "WHERE EXISTS(grants.*, -730, -365, days) AND EXISTS(grants.*, -365, 0, days)"
    ),
    ("rel-retail", "customer-repurchase"): (
        "PREDICT COUNT(invoices.* WHERE NOT is_cancellation, 0, 30, days) > 0 FOR EACH customers.customer_id "
        "WHERE COUNT(invoices.* WHERE NOT is_cancellation, -90, 0, days) > 0"
    ),
    ("rel-retail", "customer-return"): (
        "PREDICT COUNT(invoices.* WHERE is_cancellation, 0, 30, days) > 0 FOR EACH customers.customer_id "
        "WHERE COUNT(invoices.* WHERE NOT is_cancellation, -90, 0, days) > 0"
    ),
    ("rel-retail", "product-orders"): (
        "PREDICT COUNT_DISTINCT(invoice_lines.invoice_id WHERE quantity > 0, 0, 30, days) FOR EACH products.product_id "
        "WHERE COUNT(invoice_lines.* WHERE quantity > 0, -90, 0, days) > 0"
    ),
}

LISTS = {
    ("rel-f1", "driver-circuit-compete"): (
        "PREDICT LIST_DISTINCT(races.circuitId VIA results.driverId, 0, 365, days) RANK TOP 10 "
        "FOR EACH drivers.driverId"
    ),
    ("rel-retail", "customer-basket"): (
        "PREDICT LIST_DISTINCT(invoice_lines.product_id WHERE NOT invoices.is_cancellation, 0, 30, days) RANK TOP 12 "
        "FOR EACH customers.customer_id"
    ),
    ("rel-grants", "donor-recipients"): (
        "PREDICT LIST_DISTINCT(grants.donee_id, 0, 365, days) RANK TOP 10 FOR EACH donors.donor_id"
    ),
}

Loaded = tuple[duckdb.DuckDBPyConnection, Schema]


@pytest.fixture(scope="module")
def loaded(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Loaded]]:
    """A function that loads a data set with its links, once."""
    known: dict[str, Loaded] = {}

    def load(name: str) -> Loaded:
        if name not in known:
            con, schema = load_folder(data_dir / name, tmp_path_factory.mktemp("lines") / "data.duckdb")
            tables = yaml.safe_load((data_dir / name / "manifest.yaml").read_text())["tables"]
            links = [
                Link(child, (column,), parent, schema.table(parent).primary_key)
                for child, keys in tables.items()
                for column, parent in (keys.get("fkeys") or {}).items()
            ]
            known[name] = con, replace(schema, links=tuple(links))
        return known[name]

    yield load
    for con, _ in known.values():
        con.close()


@pytest.mark.parametrize(("data", "task"), [*LINES, *LISTS])
def test_labels_are_those_of_the_manifest(
    data: str, task: str, loaded: Callable[[str], Loaded], data_dir: Path
) -> None:
    con, schema = loaded(data)
    given = load_task(data_dir / data, task)
    splits = {key: getattr(given, key) for key in ("val_timestamp", "test_timestamp", "num_eval_timestamps")}
    line = Task.from_line((LINES | LISTS)[data, task], task, **splits).resolved(schema)
    fields = ("task_type", "timedelta", "item_table", "k")
    assert [getattr(line, field) for field in fields] == [getattr(given, field) for field in fields]
    for split in SPLITS:
        mine, theirs = (label_table(con, "data", schema, each, split).table for each in (line, given))
        assert mine.num_rows and mine.equals(theirs), split
