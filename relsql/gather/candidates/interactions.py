"""Interactions: the rows that link an entity to an item, such as a purchase that links a customer to a product.

An interaction is visible when all rows on its way are. Its time is the latest of their times: that of the order, of its
line, or of the product.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from relsql.database.cursors import one_row
from relsql.database.names import unique_name
from relsql.errors import TaskError
from relsql.hints import command
from relsql.schema.declared.text import columns_text
from relsql.schema.entity_keys import key_parts, key_sql
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Schema, Table
from relsql.schema.times.events import time_sql
from relsql.schema.visibility import both_clocks_sql, within_sql
from relsql.sql_text import ident
from relsql.tasks.predict.links import Way, all_ways
from relsql.tasks.splits import step_sql
from relsql.tasks.task import Task

MAX_WAYS = 8
"""At most this many ways are compared; the shortest ones are chosen."""


def interaction_ways(schema: Schema, task: Task, entity: Table, items: Table) -> tuple[Way, ...]:
    """The ways from entities to items: down to the rows that point at an entity, then up to what these point at.

    Raises:
        TaskError: no way has rows with a time.
    """
    found = [way for way in all_ways(schema, entity.key, items.key) if _links_both(schema, way)]
    if not found:
        raise TaskError(
            f"task '{task.name}': no rows with a time link {entity.key} to {items.key}",
            expected=f"a table with links to both, such as orders of products: to {entity.key}, and to {items.key}",
            fix=command("init", "FILE", "--link", f"{columns_text('TABLE', 'COLUMN')} -> {items.key}"),
        )
    return tuple(found[:MAX_WAYS])


def _links_both(schema: Schema, way: Way) -> bool:
    """True for a way that goes down first and then up, over a table whose rows have a time."""
    downs = [hop.down for hop in way]
    timed = any(schema.table(hop.table).time_column for hop in way[:-1])
    return timed and downs[0] and not downs[-1] and downs == sorted(downs, reverse=True)


def interactions_sql(schema: Schema, entity: Table, items: Table, way: Way, catalog: str) -> str:
    """A query for all interactions along a way: `entity`, `item` and `time`."""
    tables = [entity, *(schema.table(hop.table) for hop in way[:-1]), items]
    time, joins = "", [f"FROM {relation_sql(entity, catalog)} h0"]
    for i, table in enumerate(tables):
        if i:
            joins.append(f"JOIN {relation_sql(table, catalog)} h{i} ON {way[i - 1].on_sql(f'h{i - 1}', f'h{i}')}")
        if table.time_column:
            known = time_sql(table, f"h{i}")
            time = both_clocks_sql(time, known) if time else known
    item = f"h{len(way)}.{ident(items.primary_key[0])}"
    select = f"SELECT {key_sql(entity, 'h0')} AS entity, {item} AS item,\n    {time} AS time"
    return "\n".join([select, *joins, f"WHERE {item} IS NOT NULL"])


def most_like_labels(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    found: Sequence[tuple[Way, Table, Table]],
    labels: pa.Table,
) -> Way:
    """Of several ways, the one whose interactions within the horizon are most like the labels, by the F1 score.

    A label query reads one of them in most cases: the races that a driver starts in, not those that he qualifies for.

    Args:
        con: a connection to the data.
        catalog: database that holds the tables.
        schema: its schema.
        task: the task.
        found: ways with the tables of entities and items.
        labels: labels, in the form of `relsql.tasks.labels.label_table.LabelTable.table`.
    """
    if len(found) == 1:
        return found[0][0]
    name = unique_name("relsql_labels")
    con.register(name, labels)
    try:
        scores = [_likeness(con, catalog, schema, task, way, entity, items, name) for way, entity, items in found]
    finally:
        con.unregister(name)
    return found[scores.index(max(scores))][0]


def _likeness(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    way: Way,
    entity: Table,
    items: Table,
    labels: str,
) -> float:
    within = within_sql("m.time", "l.as_of", f"l.as_of + {step_sql(task)}")
    same = " AND ".join(
        f"{mine} = {theirs}"
        for mine, theirs in zip(
            key_parts(entity, "m.entity").values(), key_parts(entity, "l.entity").values(), strict=True
        )
    )
    interactions = interactions_sql(schema, entity, items, way, catalog)
    query = f"""SELECT coalesce(sum(len(list_intersect(label, met))), 0), sum(len(label) + coalesce(len(met), 0))
                FROM {labels} LEFT JOIN (
                    SELECT l.entity, l.as_of, list(DISTINCT m.item) AS met
                    FROM {labels} l JOIN ({interactions}) m ON {same} AND {within}
                    GROUP BY ALL) USING (entity, as_of)"""
    hits, total = one_row(con, query)
    return float(2 * hits / total)
