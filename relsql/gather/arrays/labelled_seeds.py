"""Gather seeds into arrays: the side of the one gather query that reads labels."""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute

from relsql.database.queries.sealed import sealed
from relsql.gather.arrays.blocks import SeedSet, as_of_days, concat_blocks, decode_blocks, existing_seeds
from relsql.gather.layout import BlockLayout
from relsql.gather.sql.latest_rows import AS_OF, ENTITY, UNTIL
from relsql.gather.sql.query import Gather
from relsql.tasks.kinds.steps import step_values

SEEDS_PER_QUERY = 8_192
FEW_MOMENTS = 4
"""With up to this many distinct as_of values, one pass per value is faster than sorting all rows, see
`relsql.gather.sql.ranking`."""

_SEEDS = "relsql_seeds"


def gather_seeds(
    con: duckdb.DuckDBPyConnection,
    gather: Gather,
    layouts: tuple[BlockLayout, ...],
    labels: pa.Table,
    progress: Callable[[float], None] | None = None,
) -> SeedSet:
    """Gather the rows of labelled seeds.

    Args:
        con: connection to the data; the table name `relsql_seeds` is in use during the call.
        gather: the model's gather query.
        layouts: layouts of its paths.
        labels: columns entity, as_of (timestamp), label; each (entity, as_of) once. With a column `until`
            (timestamp), the data of a seed end there (inclusive), and each (entity, as_of, until) occurs once.
        progress: called with the share of seeds that are done.

    Returns:
        The seeds whose entity exists at as_of, in the order of `labels`.
    """
    parts = []
    for start in range(0, labels.num_rows, SEEDS_PER_QUERY):
        parts.append(_gather_part(con, gather, layouts, labels.slice(start, SEEDS_PER_QUERY)))
        if progress:
            progress(min(1.0, (start + SEEDS_PER_QUERY) / labels.num_rows))
    blocks = tuple(concat_blocks([part.blocks[i] for part in parts], layout.fanout) for i, layout in enumerate(layouts))
    days = np.concatenate([part.as_of_days for part in parts])
    return SeedSet(blocks, days, np.concatenate([part.labels for part in parts]))


def _gather_part(
    con: duckdb.DuckDBPyConnection, gather: Gather, layouts: tuple[BlockLayout, ...], labels: pa.Table
) -> SeedSet:
    positions = pa.array(np.arange(labels.num_rows))
    con.register(_SEEDS, labels.append_column("position", positions))
    try:
        many_moments = pa.compute.count_distinct(labels.column("as_of")).as_py() > FEW_MOMENTS
        delayed = "until" in labels.column_names
        gather = gather.for_seeds("moments" if many_moments else "batch", delayed=delayed)
        until = f"s.until AS {UNTIL}, " if delayed else ""
        seed = f"SELECT s.entity AS {ENTITY}, s.as_of AS {AS_OF}, {until}s.position AS _position FROM {_SEEDS} s"
        select = ", ".join(["seed._position", *gather.qualified_columns().values()])
        gathered = con.sql(sealed(gather.query(seed, select))).to_arrow_table()
    finally:
        con.unregister(_SEEDS)
    order = np.argsort(np.asarray(gathered.column("_position")))
    gathered = gathered.take(pa.array(order))
    blocks, known = existing_seeds(decode_blocks(gathered.column, layouts), layouts)
    column = labels.column("label")
    values = step_values(column) if pa.types.is_list(column.type) else np.asarray(column)
    return SeedSet(tuple(blocks), as_of_days(labels.column("as_of"))[known], values.astype(np.float32)[known])
