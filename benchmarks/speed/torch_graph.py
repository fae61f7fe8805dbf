"""A database as users of torch_geometric load it: every table goes through pandas into one HeteroData.

Values come from the same SQL expressions as in the gather query, so that scores can equal those of the SQL function.
"""

from __future__ import annotations

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import torch
from torch_geometric.data import HeteroData

from benchmarks.accuracy.graph.data import ALWAYS, edge_types
from relsql.gather.node_inputs import NodeInputs, category_sql, number_sql, text_sql
from relsql.registry.cards.card import ModelCard
from relsql.schema.tables import Link, Table
from relsql.schema.times.events import as_timestamp_sql, time_sql
from relsql.sql_text import ident
from relsql.text.text_table import TextTable


def pull_graph(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, texts: TextTable) -> HeteroData:
    """Pull all tables that a model reads.

    Args:
        con: connection to the data.
        catalog: database that holds the tables.
        card: card of the model.
        texts: the text table with the embeddings of row texts; new texts are embedded.

    Returns:
        By table, rows ordered by (time, primary key), without rows that have no time: `key` (values of the primary
        key, if it is one number), `time` int64 [rows] (microseconds since 1970, `ALWAYS` in a table without time),
        `numbers` float32 [rows, .], `days` float64 [rows, .] (dates in days since 1970), `categories` int64 [rows, .],
        `text` int64 [rows] (text ids). NaN = missing. By link child to parent `parent` int64 [rows of the child], -1 =
        none; parent to child `edge_index` int64 [2, edges], sorted by (parent, time), and `start` int64 [parents + 1].
    """
    data, frames = HeteroData(), {}
    for name, inputs in card.inputs.items():
        table = card.schema.table(name)
        linked = [c for link in card.schema.links_from(name) for c in link.child_columns]
        linked += [c for link in card.schema.links_to(name) for c in link.parent_columns]
        columns = dict.fromkeys([*table.primary_key, *linked])
        frames[name] = con.sql(_select_sql(catalog, table, inputs, list(columns))).df()
        _add_table(data, frames[name], table, inputs, texts)
    for link in card.schema.links:
        _add_link(data, frames[link.child], frames[link.parent], link)
    return data


def _select_sql(catalog: str, table: Table, inputs: NodeInputs, columns: list[str]) -> str:
    cells = {"time": f"epoch_us({time_sql(table, 'r')})" if table.time_column else f"CAST({ALWAYS} AS BIGINT)"}
    for i, number in enumerate(inputs.static_numbers):
        cells[f"n{i}"] = f"CAST({number_sql(table, number, 'r', 'NULL')} AS FLOAT)"
    for i, age in enumerate(inputs.ages):
        cells[f"d{i}"] = f"epoch({as_timestamp_sql(table.column(age.column), 'r')}) / 86400.0"
    for i, category in enumerate(inputs.categories):
        cells[f"c{i}"] = category_sql(category, "r")
    if inputs.text_columns:
        cells["text"] = text_sql(table, inputs, "r")
    cells |= {f"key {column}": f"r.{ident(column)}" for column in columns}
    selected = ", ".join(f"{cell} AS {ident(name)}" for name, cell in cells.items())
    known = f" WHERE {time_sql(table, 'r')} IS NOT NULL" if table.time_column else ""
    order = ", ".join(ident(name) for name in ["time", *(f"key {column}" for column in table.primary_key)])
    return f"SELECT {selected} FROM {table.sql(catalog)} r{known} ORDER BY {order}"


def _add_table(data: HeteroData, frame: pd.DataFrame, table: Table, inputs: NodeInputs, texts: TextTable) -> None:
    node = data[table.key]
    node.num_nodes = len(frame)
    node.key = frame[f"key {table.primary_key[0]}"].to_numpy() if len(table.primary_key) == 1 else None
    node.time = torch.from_numpy(frame["time"].to_numpy(np.int64, copy=True))
    node.numbers = _matrix(frame, [f"n{i}" for i in range(len(inputs.static_numbers))], np.float32)
    node.days = _matrix(frame, [f"d{i}" for i in range(len(inputs.ages))], np.float64)
    codes = [frame[f"c{i}"].to_numpy(np.int64) for i in range(len(inputs.categories))]
    for i, number in enumerate(inputs.static_numbers):
        if number.categories:
            # As in the network's inputs, the first of two values that are equal as FLOAT counts.
            positions = {float(np.float32(v)): p for p, v in reversed(list(enumerate(number.categories, start=1)))}
            codes.append(frame[f"n{i}"].astype(np.float64).map(positions).fillna(0).to_numpy(np.int64))
    shape = (len(frame), len(codes))
    node.categories = torch.from_numpy(np.stack(codes, axis=1) if codes else np.zeros(shape, dtype=np.int64))
    ids = np.zeros(len(frame), dtype=np.int64)
    if inputs.text_columns:
        position, distinct = pd.factorize(frame["text"])
        ids = np.asarray(texts.ids(pa.array(distinct.astype(object), pa.string())), dtype=np.int64)[position]
    node.text = torch.from_numpy(ids)


def _matrix(frame: pd.DataFrame, columns: list[str], dtype: npt.DTypeLike) -> torch.Tensor:
    return torch.from_numpy(frame[columns].to_numpy(dtype, copy=True))


def _add_link(data: HeteroData, child: pd.DataFrame, parent: pd.DataFrame, link: Link) -> None:
    keys = [f"key {column}" for column in link.parent_columns]
    numbered = parent[keys].assign(row=np.arange(len(parent)))
    columns = [f"key {column}" for column in link.child_columns]
    found = child[columns].merge(numbered, how="left", left_on=columns, right_on=keys)["row"]
    parents = found.fillna(-1).to_numpy(np.int64, copy=True)
    forward, backward = edge_types(link)
    data[forward].parent = torch.from_numpy(parents)
    # The children are in order of time, and a stable sort keeps that order.
    children = np.argsort(parents, kind="stable")[np.count_nonzero(parents < 0) :]
    data[backward].edge_index = torch.from_numpy(np.stack([parents[children], children]))
    data[backward].start = torch.from_numpy(np.searchsorted(parents[children], np.arange(len(parent) + 1)))
