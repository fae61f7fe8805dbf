"""The items of a recommendation: the table whose rows are recommended, and the items that a label names."""

from __future__ import annotations

from dataclasses import replace

from relsql.database.names import stored_name
from relsql.errors import TaskError
from relsql.hints import command
from relsql.schema.declared.text import columns_text
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Schema, Table
from relsql.sql_text import ident
from relsql.tasks.named_table import named_table
from relsql.tasks.task import Task


def item_table(schema: Schema, task: Task) -> Table:
    """The table of the items, which has a primary key of one column.

    Raises:
        TaskError: the table does not exist, or has no such key.
    """
    table = named_table(schema, task.name, "dst_entity_table", task.item_table or "")
    if not table.primary_key and (found := stored_name(task.target_col, table.column_names)):
        table = replace(table, primary_key=(found,))
    if len(table.primary_key) != 1:
        raise TaskError(
            f"task '{task.name}': the table of the items '{table.key}' has a key of {len(table.primary_key)} columns",
            expected="a primary key of one column",
            fix=command("init", "FILE", "--primary-key", columns_text(table.key, "COLUMN")),
        )
    return table


def known_items_sql(items: Table, catalog: str, label: str) -> str:
    """The distinct items of a list that exist, as a sorted list of keys; NULL if none exist.

    `label` is the list, an expression of the surrounding query.
    """
    key = ident(items.primary_key[0])
    return (
        f"(SELECT list(DISTINCT i.{key} ORDER BY i.{key} ASC) FROM (SELECT unnest({label}) AS item) named "
        f"JOIN {relation_sql(items, catalog)} i ON i.{key} = named.item)"
    )
