"""The entity of a task: its table, the key by which rows are scored, and where the label query returns it."""

from __future__ import annotations

from dataclasses import replace

from relsql.database.names import fold, stored_name
from relsql.errors import TaskError, nearest
from relsql.hints import command, correct
from relsql.schema.declared.text import columns_text, split_columns
from relsql.schema.tables import Schema, Table
from relsql.tasks.named_table import named_table
from relsql.tasks.task import Task


def entity_table(schema: Schema, task: Task) -> Table:
    """The entity table of a task, with the key to which the values of the label query's `entity_col` belong.

    As in RelBench this is the primary key, whatever its name; in a table without one it is the column `entity_col`.

    Raises:
        TaskError: the table does not exist, it has no such column, or `entity_col` has another number of columns than
            the key.
    """
    table = named_table(schema, task.name, "entity_table", task.entity_table)
    if not table.primary_key:
        found = stored_name(task.entity_col, table.column_names)
        if found is None:
            raise TaskError(
                f"task '{task.name}': entity table '{table.key}' has no column '{task.entity_col}' and no primary key",
                expected=nearest(task.entity_col, table.column_names),
                fix=command("init", "FILE", "--primary-key", columns_text(table.key, "COLUMN")),
            )
        table = replace(table, primary_key=(found,))
    entity_columns(table, task)
    return table


def entity_columns(entity: Table, task: Task) -> tuple[str, ...]:
    """The columns of the label query that hold the key, in the order of the key's columns.

    `entity_col` lists them, separated by commas, if the key has several columns. If they have the names of the key's
    columns they may be in any order, otherwise they are in key order.

    Raises:
        TaskError: it lists another number of columns.
    """
    if len(entity.primary_key) == 1:
        return (task.entity_col,)
    named = split_columns(task.entity_col)
    by_name = {fold(name): name for name in named}
    if len(named) != len(entity.primary_key) or len(by_name) < len(named):
        raise TaskError(
            f"task '{task.name}': entity_col is '{task.entity_col}', but the key of '{entity.key}' has the columns "
            f"{', '.join(entity.primary_key)}",
            expected="the column of the label query for each of them, separated by commas",
            fix=correct("entity_col", "sql"),
        )
    if by_name.keys() == set(map(fold, entity.primary_key)):
        return tuple(by_name[fold(name)] for name in entity.primary_key)
    return named
