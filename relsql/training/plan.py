"""What a model reads: the tables, link paths and node inputs, fixed before training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import duckdb

from relsql.database.cursors import task_cursor
from relsql.errors import SchemaError
from relsql.gather.layout import BlockLayout, layouts_of
from relsql.gather.node_inputs import NodeInputs
from relsql.gather.paths import DEFAULT_FANOUT, MAX_HUB_ROWS, MAX_PATHS, CrowdedPath, Path, used_tables
from relsql.gather.row_plan import RowPlan
from relsql.gather.task_rows import task_inputs, task_paths, task_rows
from relsql.schema.checks import check_schema
from relsql.schema.finding import Finding, column_object
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema
from relsql.schema.times.sentinels import with_event_ranges
from relsql.tasks.labels.label_sandbox import DEFAULT_LIMITS, LabelLimits
from relsql.tasks.labels.label_table import chosen_splits
from relsql.tasks.regime import Regime
from relsql.tasks.task import Task
from relsql.training.path_choice import PathChoice, PathEvidence, choose_paths, training_sample
from relsql.training.written_columns import Written, find_written


@dataclass(frozen=True, slots=True)
class Plan:
    """What a model reads, fixed before training.

    Attributes:
        task: the task, with its split timestamps and all columns that it must not read.
        database: all tables and links.
        rows: which rows are read; its schema is the part of `database` that they need.
        left_out: the paths that are not read: those beyond the maximum, and those through hubs with too many rows.
        split_reasons: why each split timestamp was chosen, see `relsql.tasks.split_choice`.
        findings: columns that models wrote into the tables, which `task.remove_columns` then includes.
        schema_findings: the warnings about the tables that are read.
    """

    task: Task
    database: Schema
    rows: RowPlan
    left_out: tuple[PathEvidence | CrowdedPath, ...] = ()
    split_reasons: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    schema_findings: tuple[Finding, ...] = ()

    @property
    def schema(self) -> Schema:
        """The tables and links that are read."""
        return self.rows.schema

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths from the entity to rows."""
        return self.rows.paths

    @property
    def inputs(self) -> Mapping[str, NodeInputs]:
        """By table, the columns that the network reads."""
        return self.rows.inputs

    @property
    def layouts(self) -> tuple[BlockLayout, ...]:
        """The layouts of the paths."""
        return layouts_of(self.rows.paths, self.rows.inputs)


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
    found = task_paths(con, catalog, schema, task, fanout=fanout, event_hubs=event_hubs, max_hub_rows=max_hub_rows)
    candidates = found.paths
    doubts = check_tables(con, catalog, schema, used_tables(candidates))
    inputs = task_inputs(con, catalog, schema, task, candidates)
    path_choice = PathChoice(candidates)
    if len(candidates) > max_paths:
        labels = training_sample(con, catalog, database, task, limits)
        path_choice = choose_paths(con, catalog, schema, candidates, inputs, labels, max_paths, task)
    paths = path_choice.paths
    if regime == "frozen" and any(schema.table(key).time_column for key in used_tables(paths)):
        paths = (replace(paths[0], data_age=True), *paths[1:])
    return Plan(
        task,
        database,
        task_rows(schema, task, paths, inputs),
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
