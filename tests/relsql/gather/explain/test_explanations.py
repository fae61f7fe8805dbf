"""Tests of relsql.gather.explain.explanations: what can be left out of a score."""

from __future__ import annotations

from relsql.gather.explain.explanations import Explanations
from relsql.gather.node_inputs import NodeInputs, NumberInput
from relsql.gather.paths import Path
from relsql.gather.row_plan import RowPlan
from relsql.gather.sql.latest_rows import LatestRows
from relsql.schema.tables import Column, Link, Schema, Table

OWNER = Link("policies", ("customer",), "customers", ("id",), "declared")
POLICIES = Path("entity", "entity", "policies", (), 1, ())
SIBLINGS = Path("customers_policies", "children", "policies", (OWNER, OWNER), 8, ())
OWNERS = Path("customers", "parents", "customers", (OWNER,), 1, ())


def query(*paths: Path) -> str:
    """The query that explains scores of policies over some paths."""
    columns = (Column("id", "INTEGER"), Column("customer", "INTEGER"), Column("premium", "DOUBLE"))
    own = (Column("id", "INTEGER"), Column("wealth", "DOUBLE"))
    tables = (Table("policies", columns, ("id",)), Table("customers", own, ("id",)))
    numbers = {"policies": "premium", "customers": "wealth"}
    inputs = {key: NodeInputs(key, (NumberInput(name, "number"),), (), ()) for key, name in numbers.items()}
    plan = RowPlan(Schema({table.key: table for table in tables}, (OWNER,)), paths, inputs)
    rows = LatestRows(plan, "memory")
    return Explanations(rows, lambda seeds, kept: seeds, logit=False).query("SELECT 1 AS _entity, NULL AS _as_of")


def test_columns_of_a_table_that_paths_only_pass_through_are_not_left_out() -> None:
    assert "'wealth'" in query(POLICIES, OWNERS, SIBLINGS)
    assert "'wealth'" not in query(POLICIES, SIBLINGS)
