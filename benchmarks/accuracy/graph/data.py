"""A database as a graph for torch_geometric, and labels as seeds on it.

Every row is a node, every table a node type, and every foreign key an edge type in each direction.

Times are int64 microseconds since 1970, so that `time <= bound` is exact. Rows of tables without a time column have the
time `ALWAYS`. In a table with a time column, rows without a time have `NEVER`, because no seed of relsql sees them.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch_geometric.data import HeteroData

from benchmarks.accuracy.graph.sampling import EdgeType, IntArray, TemporalSampler
from relsql.gather.node_inputs import NodeInputs, NumberInput, category_sql, fit_node_inputs, number_sql, text_sql
from relsql.schema.tables import Link, Schema, Table
from relsql.schema.times.events import as_timestamp_sql, time_sql
from relsql.sql_text import ident

FloatArray = npt.NDArray[np.float32]

MICROSECONDS_PER_DAY = 86_400_000_000
NEVER = int(np.iinfo(np.int64).max)
ALWAYS = -NEVER


@dataclass(frozen=True)
class Graph:
    """A database as a graph, with the rows that seeds may see.

    Attributes:
        data: by table `numbers` float32 [nodes, .] (NaN = missing), `days` float64 [nodes, .] (dates and times in days
            since 1970, NaN = missing), `categories` int64 [nodes, .] (0 = missing, rare or unseen), `text` (list of
            row texts, empty if the table has none), `time` int64 [nodes]; by edge type `edge_index` int64 [2, edges].
        keys: by table the values of its key columns, by node.
        sampler: the neighbour sampler over the edges of `data`.
    """

    data: HeteroData
    keys: dict[str, pa.Table]
    sampler: TemporalSampler


def fit_columns(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    *,
    until: datetime.datetime,
    all_text: bool = False,
) -> dict[str, NodeInputs]:
    """Choose what is read of every table, looking at rows up to `until` only; `all_text` as in `fit_node_inputs`."""
    return {
        key: fit_node_inputs(con, catalog, schema, key, until=until, all_text=all_text) for key in sorted(schema.tables)
    }


def load_graph(
    con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, inputs: dict[str, NodeInputs], entity_key: str
) -> Graph:
    """Read a database into memory.

    Args:
        con: connection to the data.
        catalog: database that holds the tables.
        schema: its tables and links.
        inputs: what is read of each table.
        entity_key: column of the entity table that labels refer to; it is kept in addition to the primary keys.
    """
    data, keys = HeteroData(), {}
    for key in sorted(schema.tables):
        table = schema.table(key)
        linked = [c for link in schema.links_from(key) for c in link.child_columns]
        linked += [c for link in schema.links_to(key) for c in link.parent_columns]
        wanted = {*table.primary_key, *linked, entity_key}
        names = [name for name in table.column_names if name in wanted]
        keys[key] = _load_table(con, catalog, table, inputs[key], names, data)
    for link in schema.links:
        children, parents = match(
            con, keys[link.child].select(link.child_columns), keys[link.parent].select(link.parent_columns)
        )
        forward, backward = edge_types(link)
        data[forward].edge_index = torch.from_numpy(np.stack([children, parents]))
        data[backward].edge_index = torch.from_numpy(np.stack([parents, children]))
    return Graph(data, keys, TemporalSampler(data))


def edge_types(link: Link) -> tuple[EdgeType, EdgeType]:
    """The two edge types of a foreign key: child to parent, parent to child."""
    name = "_".join(link.child_columns)
    return (link.child, name, link.parent), (link.parent, f"rev_{name}", link.child)


def _load_table(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    table: Table,
    inputs: NodeInputs,
    key_columns: list[str],
    data: HeteroData,
) -> pa.Table:
    """Store one table as a node type of `data`, rows in the order of the primary key, and return its key columns."""
    numbers = [n for n in inputs.numbers if n.kind != "age"]
    dates = [n for n in inputs.numbers if n.kind == "age"]
    cells = [
        _time_cell(table),
        *(f"CAST({number_sql(table, n, 'r', 'NULL')} AS FLOAT)" for n in numbers),
        *(f"epoch({as_timestamp_sql(table.column(n.column), 'r')}) / 86400.0" for n in dates),
        *(category_sql(c, "r") for c in inputs.categories),
        text_sql(table, inputs, "r") if inputs.text_columns else "''",
        *(f"r.{ident(name)}" for name in key_columns),
    ]
    selected = ", ".join(f"{cell} AS c{i}" for i, cell in enumerate(cells))
    order = ", ".join(f"r.{ident(name)}" for name in table.primary_key)
    query = f"SELECT {selected} FROM {table.sql(catalog)} r" + (f" ORDER BY {order}" if order else "")
    columns = iter(con.sql(query).to_arrow_table().columns)
    node, rows = data[table.key], next(columns)
    node.num_nodes = len(rows)
    node.time = torch.from_numpy(rows.to_numpy().astype(np.int64))
    values = _stack([next(columns) for _ in numbers], len(rows)).astype(np.float32)
    node.numbers = torch.from_numpy(values)
    node.days = torch.from_numpy(_stack([next(columns) for _ in dates], len(rows)))
    codes = [_codes(values[:, i], number) for i, number in enumerate(numbers) if number.categories]
    codes += [np.asarray(next(columns).to_numpy()).astype(np.int64) for _ in inputs.categories]
    node.categories = torch.from_numpy(np.stack(codes, axis=1) if codes else np.zeros((len(rows), 0), dtype=np.int64))
    texts = next(columns)
    node.text = texts.to_pylist() if inputs.text_columns else []
    return pa.table(list(columns), names=key_columns)


def _time_cell(table: Table) -> str:
    if table.time_column is None:
        return str(ALWAYS)
    time = time_sql(table, "r")
    return f"CASE WHEN isfinite({time}) THEN epoch_us({time}) ELSE {NEVER} END"


def category_sizes(inputs: NodeInputs) -> list[int]:
    """Number of codes of each column of `categories`, code 0 included."""
    coded = [n.categories for n in inputs.numbers if n.kind != "age" and n.categories]
    return [1 + len(values) for values in (*coded, *(c.values for c in inputs.categories))]


def _codes(values: FloatArray, number: NumberInput) -> IntArray:
    """The 1-based position of each value in the column's categories, 0 for others."""
    known = np.sort(np.array(number.categories, dtype=np.float32))
    position = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[position] == values, position + 1, 0)


def _stack(columns: Sequence[pa.ChunkedArray], rows: int) -> npt.NDArray[np.float64]:
    """Columns side by side, float64 [rows, columns]; NULL and infinities become NaN."""
    matrix = np.full((rows, len(columns)), np.nan)
    for i, column in enumerate(columns):
        matrix[:, i] = column.to_numpy()
    matrix[~np.isfinite(matrix)] = np.nan
    return matrix


def match(con: duckdb.DuckDBPyConnection, left: pa.Table, right: pa.Table) -> tuple[IntArray, IntArray]:
    """All pairs of equal rows: positions in `left` (ascending) and in `right`, int64 [pairs]. NULL equals nothing."""
    names = [f"c{i}" for i in range(left.num_columns)]
    with closing(con.cursor()) as cursor:
        for name, table in (("match_left", left), ("match_right", right)):
            numbered = table.rename_columns(names).append_column("row", pa.array(np.arange(table.num_rows)))
            cursor.register(name, numbered)
        equal = " AND ".join(f"l.{name} = r.{name}" for name in names)
        query = f'SELECT l."row", r."row" AS other FROM match_left l JOIN match_right r ON {equal} ORDER BY ALL'
        pairs = cursor.sql(query).to_arrow_table()
    return np.array(pairs["row"], dtype=np.int64), np.array(pairs["other"], dtype=np.int64)


@dataclass(frozen=True)
class Seeds:
    """Labelled seeds of one split on the graph that they may see.

    Attributes:
        graph: the graph.
        table: the entity table.
        rows: node of each entity, int64 [n]; -1 for an entity that the seed cannot see.
        bounds: latest time of a node that a seed may see, int64 [n].
        as_of: int64 [n], microseconds since 1970.
        labels: float32 [n].
    """

    graph: Graph
    table: str
    rows: IntArray
    bounds: IntArray
    as_of: IntArray
    labels: FloatArray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: IntArray) -> Seeds:
        """The chosen seeds, int64 [m]."""
        return Seeds(
            self.graph, self.table, self.rows[chosen], self.bounds[chosen], self.as_of[chosen], self.labels[chosen]
        )


def find_seeds(
    con: duckdb.DuckDBPyConnection,
    graph: Graph,
    table: str,
    entity_key: str,
    labels: pa.Table,
    *,
    until: datetime.datetime | None = None,
) -> Seeds:
    """Find the nodes of labelled entities.

    Args:
        con: any connection.
        graph: the graph.
        table: the entity table.
        entity_key: its column that `labels` refer to.
        labels: columns entity, as_of (timestamp[us]) and label.
        until: the bound of all seeds; default: the as_of of each seed.
    """
    as_of = labels["as_of"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy().astype(np.int64)
    bounds = as_of if until is None else np.full_like(as_of, microseconds(until))
    found, nodes = match(con, labels.select(["entity"]), graph.keys[table].select([entity_key]))
    rows = np.full(labels.num_rows, -1, dtype=np.int64)
    rows[found] = nodes
    times = graph.data[table].time.numpy()
    rows[(rows >= 0) & (times[rows] > bounds)] = -1
    return Seeds(graph, table, rows, bounds, as_of, labels["label"].to_numpy().astype(np.float32))


def microseconds(time: datetime.datetime) -> int:
    """A zone-less timestamp as microseconds since 1970."""
    return (time - datetime.datetime(1970, 1, 1)) // datetime.timedelta(microseconds=1)
