"""The tables that a task names."""

from __future__ import annotations

from relsql.errors import TaskError, nearest
from relsql.hints import correct
from relsql.schema.tables import Schema, Table


def named_table(schema: Schema, task: str, field: str, name: str) -> Table:
    """The table that a field of a task names.

    Args:
        schema: the schema of the database.
        task: the task's name, for messages.
        field: the field, as it is called in manifests.
        name: what the field says.

    Raises:
        TaskError: there is no such table.
    """
    table = schema.find(name)
    if table is None:
        what = "entity table" if field == "entity_table" else "the table of the items"
        raise TaskError(
            f"task '{task}': {what} '{name}' does not exist",
            expected=nearest(name, schema.tables),
            fix=correct(field),
        )
    return table
