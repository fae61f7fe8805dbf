"""Which rows a model of a task could read: the paths from its entity table, and the inputs of the tables on them.

Tables are measured as they were when validation starts, so nothing later influences what is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb

from relsql.gather.node_inputs import NodeInputs, fit_node_inputs
from relsql.gather.paths import (
    DEFAULT_FANOUT,
    DEFAULT_HORIZON_DAYS,
    MAX_HUB_ROWS,
    Candidates,
    Path,
    candidate_paths,
    require_row_keys,
    used_tables,
)
from relsql.gather.row_plan import RowPlan
from relsql.schema.tables import Schema, used_schema
from relsql.tasks.splits import horizon_days
from relsql.tasks.task import Task


def task_paths(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    *,
    fanout: int = DEFAULT_FANOUT,
    event_hubs: bool = False,
    max_hub_rows: int = MAX_HUB_ROWS,
) -> Candidates:
    """The paths from the entity table of a task with split timestamps; options as in `candidate_paths`.

    Raises:
        SchemaError: the entity table does not exist, or the rows of a table cannot be told apart.
    """
    found = candidate_paths(
        con,
        catalog,
        schema,
        task.entity_table,
        fanout=fanout,
        horizon_days=horizon_days(con, task) if task.timedelta else DEFAULT_HORIZON_DAYS,
        until=task.val_timestamp,
        event_hubs=event_hubs,
        max_hub_rows=max_hub_rows,
    )
    require_row_keys(schema, found.paths)
    return found


def task_inputs(
    con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, paths: Sequence[Path]
) -> dict[str, NodeInputs]:
    """The inputs of each table on the paths."""
    assert task.val_timestamp is not None
    until = task.val_timestamp
    return {key: fit_node_inputs(con, catalog, schema, key, until=until) for key in sorted(used_tables(paths))}


def task_rows(schema: Schema, task: Task, paths: Sequence[Path], inputs: Mapping[str, NodeInputs]) -> RowPlan:
    """The plan that reads the paths, with the part of the schema that it needs."""
    used = sorted(used_tables(paths))
    columns = {key: inputs[key].columns for key in used}
    if task.asked.empty:
        columns[task.entity_table] += (task.asked.empty,)
    return RowPlan(used_schema(schema, used, columns), tuple(paths), {key: inputs[key] for key in used}, task.asked)
