"""What a model reads: the tables, link paths and node inputs, fixed before training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import duckdb

from relsql.database.cursors import task_cursor
from relsql.errors import SchemaError
from relsql.gather.layout import BlockLayout, layouts_of
from relsql.gather.node_inputs import NodeInputs, fit_node_inputs
from relsql.gather.paths import (
    DEFAULT_FANOUT,
    DEFAULT_HORIZON_DAYS,
    MAX_HUB_ROWS,
    MAX_PATHS,
    CrowdedPath,
    Path,
    candidate_paths,
    require_row_keys,
    used_tables,
)
from relsql.gather.row_plan import RowPlan
from relsql.schema.checks import check_schema
from relsql.schema.finding import Finding, column_object
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema, used_schema
from relsql.schema.times.sentinels import with_event_ranges
from relsql.tasks.labels.label_sandbox import DEFAULT_LIMITS, LabelLimits
from relsql.tasks.labels.label_table import chosen_splits
from relsql.tasks.regime import Regime
from relsql.tasks.splits import horizon_days
from relsql.tasks.task import Task
from relsql.training.path_choice import PathChoice, PathEvidence, choose_paths, training_sample
from relsql.training.written_columns import Written, find_written


@dataclass(frozen=True, slots=True)
class Plan:
    """What a model reads, fixed before training.

    `schema` is the part of `database` that the model reads. `left_out` holds the paths that it does not read: those
    beyond the maximum, and those through hubs with too many rows.
    `split_reasons` says why each split timestamp was chosen, see `relsql.tasks.split_choice`. `findings` are
    about what models wrote into the tables, which `task.remove_columns` then includes; `schema_findings` are the
    warnings about the tables that are read.
    """

    task: Task
    database: Schema
    schema: Schema
    paths: tuple[Path, ...]
    inputs: dict[str, NodeInputs]
    layouts: tuple[BlockLayout, ...]
    left_out: tuple[PathEvidence | CrowdedPath, ...] = ()
    split_reasons: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    schema_findings: tuple[Finding, ...] = ()

    @property
    def rows(self) -> RowPlan:
        """Which rows are read."""
        return RowPlan(self.schema, self.paths, self.inputs, self.task.asked)


def make_plan(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    task: Task,
    *,
    fanout: int = DEFAULT_FANOUT,
    regime: Regime = "seed-time",
    max_paths: int = MAX_PATHS,
    max_hub_rows: int = MAX_HUB_ROWS,
    event_hubs: bool = False,
    limits: LabelLimits = DEFAULT_LIMITS,
    read_scores: bool = False,
) -> Plan:
    """Check schema and task against the data and plan what the model reads.

    If there are more than `max_paths` paths, the training labels decide, see `relsql.training.path_choice`. In the
    frozen regime the model also reads how far the data lag behind as_of, if any table has a time column.

    Raises:
        SchemaError, TaskError: schema or task do not fit the data.
    """
    with task_cursor(con, catalog) as cursor:
        return _make_plan(
            cursor, catalog, task, fanout, regime, max_paths, max_hub_rows, event_hubs, limits, read_scores
        )


def _make_plan(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    task: Task,
    fanout: int,
    regime: Regime,
    max_paths: int,
    max_hub_rows: int,
    event_hubs: bool,
    limits: LabelLimits,
    read_scores: bool,
) -> Plan:
    """`make_plan` on a cursor, whose settings are not those of the user's session."""
    database = with_event_ranges(con, catalog, read_schema(con, catalog))
    task = task.resolved(database)
    written = Written() if read_scores else find_written(con, catalog, database.without_columns(task.removed))
    # Cells that a model has completed are among the labels, so their column cannot be left out.
    columns = tuple(pair for pair in written.columns if pair != (task.entity_table, task.asked.empty))
    task = replace(task, remove_columns=(*task.remove_columns, *columns))
    schema = database.without_columns((*task.removed, *columns))
    schema.table(task.entity_table)
    splits = chosen_splits(con, catalog, database, task, limits)
    task = splits.task
    assert task.val_timestamp is not None
    days = horizon_days(con, task) if task.timedelta else DEFAULT_HORIZON_DAYS
    found = candidate_paths(
        con,
        catalog,
        schema,
        task.entity_table,
        fanout=fanout,
        horizon_days=days,
        until=task.val_timestamp,
        event_hubs=event_hubs,
        max_hub_rows=max_hub_rows,
    )
    candidates = found.paths
    require_row_keys(schema, candidates)
    used = used_tables(candidates)
    doubts = check_tables(con, catalog, schema, used)
    inputs = {key: fit_node_inputs(con, catalog, schema, key, until=task.val_timestamp) for key in sorted(used)}
    path_choice = PathChoice(candidates)
    if len(candidates) > max_paths:
        labels = training_sample(con, catalog, database, task, limits)
        path_choice = choose_paths(con, catalog, schema, candidates, inputs, labels, max_paths, task)
    paths, used = path_choice.paths, used_tables(path_choice.paths)
    inputs = {key: found for key, found in inputs.items() if key in used}
    if regime == "frozen" and any(schema.table(key).time_column for key in used):
        paths = (replace(paths[0], data_age=True), *paths[1:])
    read = {key: found.columns for key, found in inputs.items()}
    if task.asked.empty:
        read[task.entity_table] += (task.asked.empty,)
    read_part = used_schema(schema, sorted(used), read)
    layouts = layouts_of(paths, inputs)
    return Plan(
        task,
        database,
        read_part,
        paths,
        inputs,
        layouts,
        (*path_choice.left_out, *found.crowded),
        splits.reasons,
        written.findings,
        doubts,
    )


def check_tables(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, used: set[str]) -> tuple[Finding, ...]:
    """The warnings about the tables in `used` and the links among them.

    Raises:
        SchemaError: the data contradict the declarations of one of them.
    """
    read = used | {str(link) for link in schema.links if link.child in used and link.parent in used}
    read |= {column_object(key, name) for key in used for name in schema.table(key).column_names}
    found = [finding for finding in check_schema(con, catalog, schema) if finding.object in read]
    for finding in found:
        if finding.severity == "error":
            raise SchemaError(finding.message)
    return tuple(finding for finding in found if finding.severity == "warning")
