"""The plan of rows: what it says of its paths."""

from __future__ import annotations

from dataclasses import replace

from relsql.gather.paths import Path
from relsql.gather.row_plan import RowPlan
from relsql.schema.tables import Column, Link, Schema, Table

TO_CATEGORY = Link("products", ("category",), "categories", ("id",), "declared")
TO_PRODUCT = Link("lines", ("product",), "products", ("id",), "declared")
PRODUCTS = Path("products", "entity", "products", (), 1, ())
CATEGORY = Path("categories", "parents", "categories", (TO_CATEGORY,), 1, ())
LINES = Path("lines", "children", "lines", (TO_PRODUCT,), 16, ())


def plan_of(*paths: Path, timed: bool = True) -> RowPlan:
    """A plan over products with a category and lines, of which the lines may have a time."""
    day = (Column("day", "DATE"),)
    tables = [Table(name, day) for name in ("products", "categories", "lines")]
    tables[2] = replace(tables[2], time_column="day" if timed else None)
    return RowPlan(Schema({table.key: table for table in tables}, (TO_CATEGORY, TO_PRODUCT)), paths, {})


def test_rows_that_have_a_time_are_evidence() -> None:
    assert plan_of(PRODUCTS, CATEGORY, LINES).evidence_paths() == (LINES,)


def test_all_linked_rows_are_evidence_where_none_has_a_time() -> None:
    assert plan_of(PRODUCTS, CATEGORY, LINES, timed=False).evidence_paths() == (CATEGORY, LINES)
    assert plan_of(PRODUCTS, CATEGORY).evidence_paths() == (CATEGORY,)
    assert plan_of(PRODUCTS).evidence_paths() == ()
