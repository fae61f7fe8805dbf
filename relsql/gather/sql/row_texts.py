"""The row texts of a database: the encoder is trained on them, and they are embedded ahead of scoring."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

import duckdb

from relsql.database.queries.sealed import sealed
from relsql.gather.node_inputs import NodeInputs, text_sql
from relsql.gather.row_plan import RowPlan
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Schema
from relsql.schema.visibility import where_visible_sql


def row_text_queries(catalog: str, plan: RowPlan) -> list[str]:
    """For each table that has textual columns, a query for its row texts, one `text` per row.

    Rows of the entity table, some of whose texts are hidden when they are asked about, have a second one for that.
    """
    tables = [(plan.table(key), found) for key, found in plan.inputs.items() if found.text_columns]
    return [
        sealed(f"SELECT {text_sql(table, found, 'r')} AS text FROM {relation} r")
        for table, found in tables
        for relation in plan.relations(table, relation_sql(table, catalog))
    ]


def all_texts(con: duckdb.DuckDBPyConnection, catalog: str, plan: RowPlan) -> list[str]:
    """The distinct texts of `row_text_queries`, sorted by table and text."""
    texts: dict[str, None] = {}
    for query in row_text_queries(catalog, plan):
        texts |= dict.fromkeys(
            sorted(text for (text,) in con.execute(f"SELECT DISTINCT text FROM ({query})").fetchall())
        )
    return list(texts)


def distinct_texts(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    inputs: Mapping[str, NodeInputs],
    *,
    until: datetime.datetime | None = None,
    limit_per_table: int | None = None,
) -> list[str]:
    """Distinct row texts of all tables that have textual columns, sorted by table and text.

    Args:
        con: connection to the data.
        catalog: database that holds the tables.
        schema: its tables.
        inputs: node inputs by table.
        until: only rows with time <= `until`; rows of tables without time all count.
        limit_per_table: maximum number of texts per table; the sample does not depend on row order.
    """
    texts: list[str] = []
    for key in sorted(inputs):
        if not inputs[key].text_columns:
            continue
        table = schema.table(key)
        where = where_visible_sql(table, "r", until) if until is not None else ""
        query = (
            f"SELECT DISTINCT {text_sql(table, inputs[key], 'r')} AS text FROM {relation_sql(table, catalog)} r{where}"
        )
        if limit_per_table is not None:
            query = f"SELECT text FROM ({query}) ORDER BY md5(text) ASC NULLS LAST LIMIT {limit_per_table}"
        texts += sorted(row[0] for row in con.execute(sealed(query)).fetchall())
    return texts
