"""The contribution of row texts to row states, as a query that fills the lookup table that plain SQL reads."""

from __future__ import annotations

from exporters.sql.layers import linear_sql
from exporters.sql.network import SqlNetwork
from relsql.gather.node_inputs import text_sql
from relsql.registry.row_embeddings import text_hash_sql
from relsql.schema.tables import Table
from relsql.sql_text import indented, literal


def new_texts_sql(network: SqlNetwork, embeddings: str) -> str:
    """A query for the rows that `network.texts` lacks: place, text_hash, text_state.

    It covers the texts of all rows of the tables that are read, if the text has an embedding. It is an empty string for
    a network that reads no text. `embeddings` is a relation in SQL with the columns text_hash and embedding.
    """
    plan = network.rows.plan
    read = {path.table for path in plan.paths} | {link.parent for path in plan.paths for link in path.lookups}
    tables = [plan.table(key) for key in sorted(read) if plan.inputs[key].text_columns]
    return "\nUNION ALL\n".join(_texts_of(network, table, embeddings) for table in tables)


def _texts_of(network: SqlNetwork, table: Table, embeddings: str) -> str:
    relations = network.rows.plan.relations(table, network.rows.source(table))
    rows = relations[0] if len(relations) == 1 else f"({' UNION ALL '.join(f'FROM {each}' for each in relations)})"
    text_hash = text_hash_sql(text_sql(table, network.rows.plan.inputs[table.key], "p"))
    embedded = (
        f"SELECT text_hash, list_concat(CAST(embedding AS DOUBLE[]), [1.0]) AS inputs\n"
        f"FROM (SELECT DISTINCT {text_hash} AS text_hash FROM {rows} p)\n"
        f"JOIN {embeddings} USING (text_hash)\n"
        f"ANTI JOIN (FROM {network.texts} WHERE place = {literal(table.key)}) USING (text_hash)"
    )
    weights = network.with_weights(f"(\n{indented(embedded)}\n)", w=table.key)
    return (
        f"SELECT {literal(table.key)} AS place, text_hash,\n"
        f"    CAST({linear_sql('w.text', 'inputs')} AS FLOAT[]) AS text_state\nFROM (\n{indented(weights)}\n)"
    )
