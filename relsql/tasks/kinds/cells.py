"""Tasks whose answer is a column of the row itself: their label query, and which columns can be asked for."""

from __future__ import annotations

from relsql.database.names import DEFAULT_SCHEMA, stored_name
from relsql.errors import TaskError, nearest
from relsql.hints import command, correct
from relsql.schema.declared.text import columns_text, join_columns
from relsql.schema.entity_keys import key_known_sql
from relsql.schema.tables import Column, Schema, Table
from relsql.schema.types import is_class_type, is_number
from relsql.sql_text import ident, qualified
from relsql.tasks.named_table import named_table


def cell_fields(
    task: str, entity: str, target: str, schema: Schema, *, timed: bool = True, as_number: bool = False
) -> dict[str, str]:
    """The fields of a task that asks for a column, with names as the schema has them, and the label query.

    Args:
        task: the task's name, for messages.
        entity: the table, as the task names it.
        target: the column.
        schema: the schema of the database.
        timed: the rows are asked about as of their own time.
        as_number: the task is a regression.

    Raises:
        TaskError: there is no such table or column, the column is a key, a link or the time of the table, its type
            cannot be a label, or the rows have no key or no time.
    """
    table = _keyed_table(task, entity, schema)
    if timed:
        require_own_times(task, table)
    column = answer_column(task, table, target, schema)
    found = cell_type(column)
    if found is None or (as_number and found == "multiclass_classification"):
        raise TaskError(
            f"task '{task}' would complete the column '{column.name}' of type {column.type}",
            expected="a column of numbers, BOOLEAN, text or ENUM; texts with task_type: multiclass_classification",
            fix=correct("target_col", "task_type"),
        )
    keys = [f"r.{ident(name)}" for name in table.primary_key]
    name = table.name
    source = ident(name) if table.schema_name == DEFAULT_SCHEMA else qualified(None, table.schema_name, name)
    cell = f"r.{ident(column.name)}"
    return {
        "entity_table": table.key,
        "entity_col": join_columns(table.primary_key) if len(keys) > 1 else table.primary_key[0],
        "target_col": column.name,
        "sql": f"SELECT {', '.join(keys)}, {cell}\nFROM {source} r\n"
        f"WHERE {cell} IS NOT NULL AND {key_known_sql(table, 'r')}",
    }


def cell_type(column: Column) -> str | None:
    """The task type of a column: numbers are a regression, BOOLEAN is binary, texts are classes; None for others."""
    if column.type == "BOOLEAN":
        return "binary_classification"
    if is_number(column.type):
        return "regression"
    return "multiclass_classification" if is_class_type(column.type) else None


def require_own_times(task: str, table: Table) -> None:
    """Raise TaskError unless the rows of a table have a time and can be named by a key."""
    if table.values_of:
        raise TaskError(
            f"task '{task}': '{table.key}' stands for values of other tables, whose rows have no time of their own",
            expected="a table whose rows have one",
            fix=correct("entity_table"),
        )
    if table.time_column is None:
        raise TaskError(
            f"task '{task}' asks about rows of '{table.key}' as of their own time, but the table has no time",
            expected="a time of its rows; or kind: static, where time does not matter",
            fix=command("init", "FILE", "--time-column", columns_text(table.key, "COLUMN")),
        )


def _keyed_table(task: str, entity: str, schema: Schema) -> Table:
    table = named_table(schema, task, "entity_table", entity)
    if not table.primary_key:
        raise TaskError(
            f"task '{task}': table '{table.key}' has no primary key",
            expected="a key, by which rows are asked about",
            fix=command("init", "FILE", "--primary-key", columns_text(table.key, "COLUMN")),
        )
    return table


def answer_column(task: str, table: Table, target: str, schema: Schema) -> Column:
    """The column of a table that a task asks for.

    Raises:
        TaskError: no column has this name, or it is the key, a link or the time of the table.
    """
    found = stored_name(target, table.stored_names)
    if found is None:
        raise TaskError(
            f"task '{task}': table '{table.key}' has no column '{target}'",
            expected=nearest(target, table.stored_names),
            fix=correct("target_col"),
        )
    link = next((link for link in schema.links_from(table.key) if found in link.child_columns), None)
    is_key, what = found in table.primary_key, None
    if is_key or link:
        what = f"the key of '{table.key}'" if is_key else f"a link, {link}"
    elif found == table.time_column:
        what = f"the time of '{table.key}'"
    if what:
        raise TaskError(
            f"task '{task}' would complete the column '{found}', which is {what}",
            expected="a column that describes the row; others are "
            + nearest("", [name for name in table.stored_names if name != found]),
            fix=correct("target_col"),
        )
    return table.column(found)
