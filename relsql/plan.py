"""What a model reads: the tables, link paths and node inputs, fixed before training."""

from __future__ import annotations

from dataclasses import dataclass, replace

import duckdb

from relsql.blocks import BlockLayout
from relsql.card import layouts_of
from relsql.declare import check_schema
from relsql.errors import SchemaError, TaskError
from relsql.features import NodeInputs, fit_node_inputs
from relsql.labels import default_splits
from relsql.paths import DEFAULT_FANOUT, Path, plan_paths
from relsql.regime import Regime
from relsql.registry import used_schema
from relsql.schema import Schema, read_schema
from relsql.splits import horizon_days
from relsql.task import Task


@dataclass(frozen=True, slots=True)
class Plan:
    """What a model reads, fixed before training: `schema` is the part of `database` that it reads."""

    task: Task
    database: Schema
    schema: Schema
    paths: tuple[Path, ...]
    inputs: dict[str, NodeInputs]
    layouts: tuple[BlockLayout, ...]


def make_plan(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    task: Task,
    *,
    fanout: int = DEFAULT_FANOUT,
    regime: Regime = "seed-time",
) -> Plan:
    """Check schema and task against the data and plan what the model reads.

    In the frozen regime it reads how far the data lag behind as_of, where any table has a time.

    Raises:
        SchemaError, TaskError: they do not fit.
    """
    database = read_schema(con, catalog)
    task = task.resolved(database)
    for name, column in task.remove_columns:
        if name in database.tables and database.table(name).time_column == column:
            raise TaskError(
                f"task '{task.name}' removes the column '{column}' of table '{name}', its time",
                expected="columns that do not say when a row appears: without its time every row is seen at once",
                fix="correct remove_columns in the task manifest",
            )
    schema = database.without_columns(task.remove_columns)
    schema.table(task.entity_table)
    task = default_splits(con, catalog, schema, task)
    assert task.val_timestamp is not None
    days = horizon_days(con, task)
    paths = plan_paths(
        con, catalog, schema, task.entity_table, fanout=fanout, horizon_days=days, until=task.val_timestamp
    )
    used = {path.table for path in paths} | {link.parent for path in paths for link in path.lookups}
    used |= {table for path in paths for link in path.links for table in (link.child, link.parent)}
    read = used | {str(link) for link in schema.links if link.child in used and link.parent in used}
    if regime == "frozen" and any(schema.table(key).time_column for key in used):
        paths = (replace(paths[0], data_age=True), *paths[1:])
    for finding in check_schema(con, catalog, schema):
        if finding.severity == "error" and finding.object in read:
            raise SchemaError(finding.message)
    inputs = {key: fit_node_inputs(con, catalog, schema, key, until=task.val_timestamp) for key in sorted(used)}
    columns = {key: found.columns for key, found in inputs.items()}
    return Plan(task, database, used_schema(schema, sorted(used), columns), paths, inputs, layouts_of(paths, inputs))
