"""What a leak check looks at: a model, or all that a model of a task could read; and the seeds to ask about."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute

from relsql.database.cursors import one_row, task_cursor
from relsql.database.names import stored_name
from relsql.errors import TaskError
from relsql.gather.layout import BlockLayout, layouts_of
from relsql.gather.row_plan import RowPlan
from relsql.gather.task_rows import task_inputs, task_paths, task_rows
from relsql.registry.cards.card import ModelCard
from relsql.registry.cards.schema_drift import check_drift
from relsql.registry.models import active_card, read_models
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema, Table
from relsql.sql_text import literal
from relsql.tasks.kinds.supported import require_any_moment, require_no_items, require_one_window
from relsql.tasks.labels.label_sandbox import LabelLimits
from relsql.tasks.labels.label_table import chosen_splits
from relsql.tasks.splits import Split, step_sql, timestamps_of
from relsql.tasks.stored_tasks import find_task
from relsql.tasks.task import Task

_LATER_SPLITS: tuple[Split, ...] = ("val", "test")

_CANDIDATES = 6
"""How many moments of each group are tried, because a moment out of season may have no labels."""


VALIDATION = slice(2, 3)
"""Where the moments of validation are among the groups of `candidate_moments`."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment at which seeds are asked about, and the end of their labels' windows, inclusive."""

    as_of: datetime.datetime
    window_end: datetime.datetime


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked.

    Attributes:
        task: the task, with its split timestamps.
        whole: the schema of the database.
        database: `whole` without the columns that the task removes.
        plan: the rows that are read: by the model, or by all paths that a model of the task could have.
        card: the model's card; None if only a task is checked.
    """

    task: Task
    whole: Schema
    database: Schema
    plan: RowPlan
    card: ModelCard | None

    @property
    def name(self) -> str:
        """The model with its version, or the task."""
        return f"model {self.card.name} version {self.card.version}" if self.card else f"task {self.task.name}"

    @property
    def layouts(self) -> tuple[BlockLayout, ...]:
        """The layouts of the paths."""
        return layouts_of(self.plan.paths, self.plan.inputs)

    @property
    def tables(self) -> Schema:
        """The tables that are read, with all their columns, and the tables that their times and values come from."""
        return self.whole.read_for(self.plan.schema.tables)

    def reads(self, table: Table, column: str) -> bool:
        """True if the column is an input of the network or the trees."""
        return table.key in self.plan.inputs and column in self.plan.inputs[table.key].columns


def find_subject(con: duckdb.DuckDBPyConnection, catalog: str, text: str | Task, limits: LabelLimits) -> Subject:
    """The model that a text names, perhaps with a version (`dnf@2`); else the task, by name or as a line.

    Raises:
        TaskError, ModelError, SchemaError: there is no such task or version, or it does not fit the database.
    """
    database = read_schema(con, catalog)
    models = {model.name for model in read_models(con, catalog)}
    if isinstance(text, str) and stored_name(text.partition("@")[0], models):
        card = active_card(con, catalog, text)
        require_one_window(card.task, "a leak check")
        require_any_moment(card.task, "a leak check")
        check_drift(card, database)
        return Subject(card.task, database, database.without_columns(card.task.removed), card.rows, card)
    task = text if isinstance(text, Task) else find_task(con, catalog, text, "leakcheck")
    task = task.resolved(database)
    require_no_items(task, "a leak check")
    require_one_window(task, "a leak check")
    require_any_moment(task, "a leak check")
    task = chosen_splits(con, catalog, database, task, limits).task
    schema = database.without_columns(task.removed)
    with task_cursor(con, catalog) as cursor:
        paths = task_paths(cursor, catalog, schema, task).paths
        inputs = task_inputs(cursor, catalog, schema, task, paths)
    return Subject(task, database, schema, task_rows(schema, task, paths, inputs), None)


def candidate_moments(
    cursor: duckdb.DuckDBPyConnection, catalog: str, subject: Subject
) -> list[list[datetime.datetime]]:
    """Moments of the label splits in groups: earlier and later ones of training, of validation, and of test."""
    task, database = subject.task, subject.database
    train = timestamps_of(cursor, catalog, database, task, "train")
    half = len(train) // 2
    groups = [train[:half], train[half:]]
    for split in _LATER_SPLITS:
        try:
            groups.append(timestamps_of(cursor, catalog, database, task, split))
        except TaskError:
            continue  # The windows of the split are not over yet.
    # Before the earliest moments there is hardly any data.
    return [group[len(group) // 2 :][-_CANDIDATES:] for group in groups]


def moments_with_labels(
    cursor: duckdb.DuckDBPyConnection, subject: Subject, groups: Iterable[list[datetime.datetime]], labels: pa.Table
) -> list[Moment]:
    """The moment of each group with the most labels, the latest one of equals; a group without labels has none."""
    counts = Counter(labels.column("as_of").to_pylist())
    best = {max(group, key=lambda moment: (counts[moment], moment)) for group in groups if group}
    chosen = sorted(moment for moment in best if counts[moment])
    step = step_sql(subject.task)
    return [Moment(moment, one_row(cursor, f"SELECT {literal(moment)} + {step}")[0]) for moment in chosen]


def seeds_at(labels: pa.Table, moments: Iterable[Moment], seeds: int) -> Sequence[pa.Table]:
    """For each moment an evenly spaced sample of its labels, `seeds` in all; as label each has its position."""
    wanted = list(moments)
    tables = []
    for moment, size in zip(wanted, np.diff(np.linspace(0, seeds, len(wanted) + 1).astype(int)), strict=True):
        same = pa.compute.equal(labels.column("as_of"), pa.scalar(moment.as_of, labels.schema.field("as_of").type))
        found = labels.filter(same)
        chosen = np.unique(np.linspace(0, max(0, found.num_rows - 1), size).astype(np.int64))[: found.num_rows]
        seed = found.take(pa.array(chosen)).select(["entity", "as_of"])
        tables.append(seed.append_column("label", pa.array(np.arange(seed.num_rows, dtype=np.float64))))
    return tables
