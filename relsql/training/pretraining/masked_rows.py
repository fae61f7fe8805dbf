"""Masked features: the numbers of a row are hidden, and a graph network predicts them from the rows around it.

A seed is a row of any table at its own time, or at the time of some event if its table has no time. The network reads
what it would read of that entity in a task, by the same plan and the same rule of visibility. All numbers of the seed's
own row are hidden, wherever the batch contains the row: the entity is also among the rows of its siblings.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from relsql.database.queries.sealed import sealed
from relsql.errors import SchemaError, TrainingError
from relsql.gather.arrays.blocks import SeedSet
from relsql.gather.arrays.labelled_seeds import gather_seeds
from relsql.gather.layout import BlockLayout, layouts_of
from relsql.gather.node_inputs import NodeInputs, fit_node_inputs
from relsql.gather.paths import plan_paths, used_tables
from relsql.gather.row_plan import RowPlan
from relsql.gather.sql.latest_rows import LatestRows
from relsql.gather.sql.query import Gather
from relsql.hints import command
from relsql.nn.graph_network import GraphNetwork, GraphTensors, NetworkConfig
from relsql.schema.checks import check_schema
from relsql.schema.entity_keys import key_known_sql, key_sql
from relsql.schema.reading import read_schema
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Schema, Table
from relsql.schema.times.events import event_times_sql, time_sql
from relsql.schema.times.sentinels import with_event_ranges
from relsql.schema.visibility import where_visible_sql
from relsql.sql_text import literal
from relsql.text.text_table import TextTable
from relsql.training.data import in_order
from relsql.training.fitting.loop import Batches, fit_scaling
from relsql.typing import FloatArray, IntArray
from udfs.functions import create_arrow_function

MAX_TABLES = 12
"""Tables of a database whose rows are masked: the ones with the most rows."""

SEEDS_PER_TABLE = 2_000
MOMENTS = 16
"""Moments, evenly spread over the events, that are the as_of of rows without a time."""

ALWAYS = datetime.datetime.max
_TEXT_FUNCTION = "relsql_pretraining_text"


@dataclass(frozen=True, slots=True)
class MaskedTable:
    """Rows of one table as seeds, with the rows around them; `texts` are the texts that they have, by id from 1."""

    table: str
    layouts: tuple[BlockLayout, ...]
    seeds: SeedSet
    texts: list[str]


def usable_schema(con: duckdb.DuckDBPyConnection, catalog: str, database: str) -> tuple[Schema, dict[str, NodeInputs]]:
    """The schema of a database and the inputs of all its tables.

    Args:
        con: connection to the data.
        catalog: the database there.
        database: its name in messages.

    Raises:
        TrainingError: the database has no links between tables.
        SchemaError: its data contradict the declarations.
    """
    schema = with_event_ranges(con, catalog, read_schema(con, catalog))
    if not schema.links:
        raise TrainingError(
            f"database '{database}' has no schema to learn from",
            expected="tables with keys, and links between them",
            fix=command("init", database),
        )
    for finding in check_schema(con, catalog, schema):
        if finding.severity == "error":
            raise SchemaError(f"database '{database}': {finding.message}")
    return schema, {key: fit_node_inputs(con, catalog, schema, key, until=ALWAYS) for key in sorted(schema.tables)}


def masked_tables(
    con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, inputs: dict[str, NodeInputs], *, fanout: int
) -> list[MaskedTable]:
    """Gather rows of all tables that have a key, numbers and linked tables; see `usable_schema` for the arguments."""
    [(moments,)] = con.execute(_moments_sql(catalog, schema)).fetchall()
    linked = {end for link in schema.links for end in (link.child, link.parent)}
    usable = [
        schema.table(key) for key in sorted(linked) if inputs[key].static_numbers and schema.table(key).primary_key
    ]
    sizes = {table: _size(con, catalog, table) for table in usable}
    found = []
    for table in sorted(usable, key=lambda table: -sizes[table])[:MAX_TABLES]:
        query = _seeds_sql(catalog, table, moments or [datetime.datetime(1970, 1, 1)])
        seeds = con.sql(sealed(query)).to_arrow_table()
        if seeds.num_rows:
            found.append(_gathered(con, catalog, schema, inputs, table, seeds, fanout))
    return [each for each in found if len(each.seeds)]


def _moments_sql(catalog: str, schema: Schema) -> str:
    """A query for moments that are evenly spread over the events; NULL without events."""
    events = event_times_sql(schema.tables.values(), lambda table: relation_sql(table, catalog))
    shares = [(i + 1) / MOMENTS for i in range(MOMENTS)]
    return sealed(f"SELECT quantile_disc(t, {shares}) FROM ({events})")


def _size(con: duckdb.DuckDBPyConnection, catalog: str, table: Table) -> int:
    [(rows,)] = con.execute(sealed(f"SELECT count(*) FROM {relation_sql(table, catalog)}")).fetchall()
    return int(rows)


def _seeds_sql(catalog: str, table: Table, moments: list[datetime.datetime]) -> str:
    """A query for some rows of a table as seeds: entity, as_of, and a label that nothing reads."""
    key = key_sql(table, "r")
    listed = f"[{', '.join(map(literal, moments))}]"
    as_of = (
        time_sql(table, "r")
        if table.time_column
        else f"list_extract({listed}, 1 + (hash({key}) % {len(moments)})::INT)"
    )
    # Rows after the last event are those with a placeholder for a time.
    visible = where_visible_sql(table, "r", moments[-1]) or " WHERE true"
    return f"""SELECT {key} AS entity, {as_of} AS as_of, 0.0::DOUBLE AS label FROM {relation_sql(table, catalog)} r
               {visible} AND {key_known_sql(table, "r")} AND isfinite({as_of})
               ORDER BY hash({key}) ASC NULLS LAST, {key} ASC NULLS LAST LIMIT {SEEDS_PER_TABLE}"""


def _gathered(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    inputs: dict[str, NodeInputs],
    table: Table,
    seeds: pa.Table,
    fanout: int,
) -> MaskedTable:
    paths = plan_paths(con, catalog, schema, table.key, fanout=fanout)
    plan = RowPlan(schema, paths, {key: inputs[key] for key in sorted(used_tables(paths))})
    layouts = layouts_of(paths, plan.inputs)
    texts = TextTable(0)
    create_arrow_function(con, _TEXT_FUNCTION, texts.ids, ["VARCHAR"], "INTEGER")
    try:
        found = gather_seeds(con, Gather(LatestRows(plan, catalog), _TEXT_FUNCTION), layouts, seeds)
    finally:
        con.remove_function(_TEXT_FUNCTION)
    texts, ordered = in_order(texts, {"rows": found})
    return MaskedTable(table.key, layouts, ordered["rows"], list(texts.texts))


class MaskedRows(nn.Module):
    """A graph network over one table, and the map from its states to the numbers of the table's rows.

    Args:
        rows: the seeds.
        embeddings: float32 [texts + 1, width], embeddings of the texts; row 0 is zeros.
        channels: width of the network.
    """

    def __init__(self, rows: MaskedTable, embeddings: FloatArray, channels: int) -> None:
        super().__init__()
        self.network = GraphNetwork(rows.layouts, NetworkConfig(channels, (embeddings.shape[1],)))
        self.batches = Batches(rows.seeds, rows.layouts, embeddings)
        fit_scaling(self.network, self.batches)
        self._position = self.network.tables.index(rows.table)
        self._scaling = self.network.encoder(rows.table).scaling
        self._textual = len(rows.layouts[0].segments[0].inputs.categories)
        self.decoder = nn.Linear(channels, len(self._scaling.center))

    def loss(self, chosen: IntArray) -> Tensor:
        """Mean squared error of the hidden numbers of the chosen seeds, standardised; missing ones do not count."""
        batch, truth = self._masked(self.batches.take(chosen).tensors)
        known = torch.isfinite(truth)
        error = (self.decoder(self.network(batch)) - self._scaling.standardised(truth)).square() * known
        loss: Tensor = error.sum() / known.sum().clamp(min=1)
        return loss

    def _masked(self, batch: GraphTensors) -> tuple[GraphTensors, Tensor]:
        """The batch without the numbers of the seeds' own rows, and these numbers, float32 [seeds, numbers]."""
        # The first path reads one row for each seed: its own.
        entity = batch.paths[0]
        own = entity.rows[0][entity.places[:, 0] - 1] - 1
        table = batch.tables[self._position]
        truth = table.numbers[own]
        numbers, categories = table.numbers.clone(), table.categories.clone()
        numbers[own] = torch.nan
        # Integers with few values are also read as categories, which follow the textual ones.
        categories[own, self._textual :] = 0
        tables = list(batch.tables)
        tables[self._position] = table._replace(numbers=numbers, categories=categories)
        return GraphTensors(batch.embeddings, tables, batch.paths), truth


def chosen_seeds(rows: MaskedRows, size: int, random: np.random.Generator) -> IntArray:
    """Random seeds for one step: at most a quarter of a table, because the rows of all of them are hidden."""
    count = len(rows.batches.seeds)
    return random.choice(count, min(size, max(1, count // 4)), replace=False)
