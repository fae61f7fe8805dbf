"""The inputs of the network: every distinct row of each table once, and which seeds read which rows.

Values that do not depend on as_of belong to a row and are encoded once, even if many seeds read the row. Ages and
counts depend on the seed and are kept per path. Training and scoring both build their inputs with this code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql.gather.arrays.blocks import Block, segment_parts
from relsql.gather.layout import BlockLayout, category_count
from relsql.gather.node_inputs import NodeInputs
from relsql.typing import FloatArray, IntArray

Feed = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class TableRows:
    """Distinct rows of one table in a batch, as input of its node encoder: the values that do not depend on as_of.

    Attributes:
        numbers: float32 [rows, static numbers]; NaN = missing.
        categories: int64 [rows, categories].
        texts: int64 [rows], positions in the batch's embeddings; empty for a table without text.
    """

    numbers: FloatArray
    categories: IntArray
    texts: IntArray


@dataclass(frozen=True, slots=True)
class PathRows:
    """Which seeds read which rows along one path.

    Attributes:
        rows: int64 [segments, rows]: position + 1 of each segment's row in its table, 0 = absent.
        ages: float32 [rows, ages], days from each date of a row and of its lookups to as_of; NaN = missing.
        places: int64 [seeds, fanout]: position + 1 of the row of each recency rank, 0 = none.
        totals: float32 [seeds, counts_width], see `Block.totals`.
    """

    rows: IntArray
    ages: FloatArray
    places: IntArray
    totals: FloatArray


@dataclass(frozen=True, slots=True)
class GraphInputs:
    """A batch as the network reads it: the distinct rows of every table, and which seeds read which rows.

    Attributes:
        text_ids: int64 [texts], the distinct text ids; the first is 0.
        tables: rows by table, in the order of `tables_of`.
        paths: in the order of the layouts.
    """

    text_ids: IntArray
    tables: tuple[TableRows, ...]
    paths: tuple[PathRows, ...]


def tables_of(layouts: Sequence[BlockLayout]) -> tuple[NodeInputs, ...]:
    """Node inputs of every table that the paths read, sorted by table."""
    inputs = {segment.inputs.table: segment.inputs for layout in layouts for segment in layout.segments}
    return tuple(inputs[table] for table in sorted(inputs))


def graph_inputs(blocks: Sequence[Block], layouts: Sequence[BlockLayout], *, in_order: bool = True) -> GraphInputs:
    """Collect the distinct rows of a batch by table, and keep the values that depend on as_of per path.

    Args:
        blocks: one per path.
        layouts: layouts of the blocks.
        in_order: order a table's rows by content, so that training does not depend on their original order.
    """
    tables = tables_of(layouts)
    position = {inputs.table: i for i, inputs in enumerate(tables)}
    parts: list[list[TableRows]] = [[] for _ in tables]
    readers: list[list[tuple[int, int, IntArray]]] = [[] for _ in tables]
    rows = [
        np.zeros((len(x.segments), len(block.slot)), dtype=np.int64) for x, block in zip(layouts, blocks, strict=True)
    ]
    ages: list[FloatArray] = []
    for path, (layout, block) in enumerate(zip(layouts, blocks, strict=True)):
        of_path = [np.zeros((len(block.slot), 0), dtype=np.float32)]
        for i, (segment, part) in enumerate(zip(layout.segments, segment_parts(block, layout), strict=True)):
            numbers, categories, text = part
            present = np.flatnonzero(numbers[:, 0] > 0.5)
            dated = np.array([number.is_age for number in segment.inputs.numbers], dtype=bool)
            table = position[segment.inputs.table]
            parts[table].append(TableRows(numbers[present, 1:][:, ~dated], categories[present], text[present]))
            readers[table].append((path, i, present))
            of_path.append(numbers[:, 1:][:, dated])
        ages.append(np.concatenate(of_path, axis=1))
    distinct = []
    for found, reading in zip(parts, readers, strict=True):
        kept, inverse = _distinct(_concat_rows(found), in_order)
        distinct.append(kept)
        ends = np.cumsum([len(present) for _, _, present in reading])[:-1]
        for (path, i, present), places in zip(reading, np.split(inverse, ends), strict=True):
            rows[path][i, present] = places + 1
    text_ids, texts = compact_texts([table_rows.texts for table_rows in distinct])
    return GraphInputs(
        text_ids,
        tuple(TableRows(d.numbers, d.categories, t) for d, t in zip(distinct, texts, strict=True)),
        tuple(
            PathRows(r, a, _places(block, layout), block.totals)
            for r, a, block, layout in zip(rows, ages, blocks, layouts, strict=True)
        ),
    )


def take_seeds(
    inputs: GraphInputs, layouts: Sequence[BlockLayout], chosen: IntArray, starts: Sequence[IntArray]
) -> GraphInputs:
    """The part of a batch that some seeds read.

    Args:
        inputs: a batch in which the rows of each seed are contiguous in every path.
        layouts: layouts of its paths.
        chosen: int64 [seeds], positions of the seeds in the batch.
        starts: for each path, int64 [seeds of the batch + 1]: the first row of each seed, then the number of rows.
    """
    position = {table.table: i for i, table in enumerate(tables_of(layouts))}
    used = [np.zeros(len(table.texts) + 1, dtype=bool) for table in inputs.tables]
    paths: list[PathRows] = []
    for layout, path, start in zip(layouts, inputs.paths, starts, strict=True):
        counts = start[chosen + 1] - start[chosen]
        shift = np.cumsum(counts) - counts - start[chosen]
        taken = np.arange(counts.sum()) - np.repeat(shift, counts)
        places = path.places[chosen]
        places = np.where(places > 0, places + shift[:, None], 0)
        paths.append(PathRows(path.rows[:, taken], path.ages[taken], places, path.totals[chosen]))
        for segment, rows in zip(layout.segments, paths[-1].rows, strict=True):
            used[position[segment.inputs.table]][rows] = True
    numbering = []
    for mask in used:
        mask[0] = False
        numbering.append(np.cumsum(mask) * mask)
    for layout, path in zip(layouts, paths, strict=True):
        for i, segment in enumerate(layout.segments):
            path.rows[i] = numbering[position[segment.inputs.table]][path.rows[i]]
    kept = [
        TableRows(table.numbers[mask[1:]], table.categories[mask[1:]], table.texts[mask[1:]])
        for table, mask in zip(inputs.tables, used, strict=True)
    ]
    places, texts = compact_texts([table.texts for table in kept])
    tables = tuple(TableRows(t.numbers, t.categories, x) for t, x in zip(kept, texts, strict=True))
    return GraphInputs(inputs.text_ids[places], tables, tuple(paths))


def _places(block: Block, layout: BlockLayout) -> IntArray:
    """The row of each slot, see `PathRows.places`."""
    places = np.zeros(len(block.counts) * layout.fanout, dtype=np.int64)
    places[block.slot] = np.arange(1, len(block.slot) + 1)
    return places.reshape(-1, layout.fanout)


def _concat_rows(parts: Sequence[TableRows]) -> TableRows:
    return TableRows(
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.categories for part in parts]),
        np.concatenate([part.texts for part in parts]),
    )


def _distinct(rows: TableRows, in_order: bool) -> tuple[TableRows, IntArray]:
    """The distinct rows, and the position of every row among them."""
    packed = np.concatenate(
        [
            np.ascontiguousarray(rows.numbers).view(np.int32),
            rows.categories.astype(np.int32),
            rows.texts[:, None].astype(np.int32),
        ],
        1,
    )
    count, row_bytes = len(packed), packed.itemsize * packed.shape[1]
    # Hashing finds equal rows many times faster than sorting all of them.
    keys = pa.Array.from_buffers(pa.binary(row_bytes), count, [None, pa.py_buffer(packed)]).dictionary_encode()
    inverse = np.asarray(keys.indices, dtype=np.int64)
    first = np.zeros(len(keys.dictionary), dtype=np.int64)
    # With repeated indices numpy keeps the last assignment. The order is reversed, so that is the first of equal rows.
    first[inverse[::-1]] = np.arange(count)[::-1]
    if in_order:
        order = np.argsort(packed[first].view([("", np.void, row_bytes)]).ravel())
        position = np.empty_like(order)
        position[order] = np.arange(len(order))
        first, inverse = first[order], position[inverse]
    return TableRows(rows.numbers[first], rows.categories[first], rows.texts[first]), inverse


def compact_texts(texts: Sequence[IntArray]) -> tuple[IntArray, list[IntArray]]:
    """Renumber the text ids of a batch, so that only the embeddings of its distinct texts are needed.

    Returns:
        The distinct ids, int64 [m], starting with 0; and the arrays with each id replaced by its position there.
    """
    flat = np.concatenate([ids.ravel() for ids in texts] + [np.zeros(1, dtype=np.int64)])
    distinct, positions = np.unique(flat, return_inverse=True)
    ends = np.cumsum([ids.size for ids in texts])[:-1]
    parts = np.split(positions[:-1], ends)
    return distinct, [part.reshape(ids.shape) for part, ids in zip(parts, texts, strict=True)]


def table_input_names(inputs: NodeInputs) -> tuple[str, ...]:
    """Names of the network's inputs for one table; those of width 0 are left out, except the numbers."""
    names = [f"{inputs.table}.numbers"]
    names += [f"{inputs.table}.categories"] if category_count(inputs) else []
    names += [f"{inputs.table}.texts"] if inputs.text_columns else []
    return tuple(names)


def path_input_names(layout: BlockLayout) -> tuple[str, ...]:
    """Names of the network's inputs for one path; those of width 0 are left out."""
    names = [f"path {layout.name}.rows", f"path {layout.name}.places"]
    names += [f"path {layout.name}.ages"] if layout.ages_width else []
    names += [f"path {layout.name}.totals"] if layout.counts_width else []
    return tuple(names)


def message_input_name(path: str) -> str:
    """Name of the graph component's input with the messages of a path whose rows another component reads."""
    return f"path {path}.message"


EXPLAINED = "explained.onnx"
"""Name of the artefact that makes states of the messages of all paths that an explanation groups."""


def path_component(path: str) -> str:
    """Name of the artefact that turns the rows of a path into messages."""
    return f"path {path}.onnx"


def graph_input_names(layouts: Sequence[BlockLayout]) -> tuple[str, ...]:
    """Names of the network's inputs for all tables and paths, in order."""
    tables = [name for inputs in tables_of(layouts) for name in table_input_names(inputs)]
    paths = [name for layout in layouts for name in path_input_names(layout)]
    return ("embeddings", *tables, *paths)


def graph_feed(inputs: GraphInputs, layouts: Sequence[BlockLayout], embeddings: FloatArray) -> Feed:
    """Inputs of the graph component by name.

    Args:
        inputs: the batch.
        layouts: layouts of its paths.
        embeddings: float32 [texts, width], the embeddings of `inputs.text_ids`.
    """
    feed: Feed = {"embeddings": embeddings}
    for table, rows in zip(tables_of(layouts), inputs.tables, strict=True):
        values: Feed = {"numbers": rows.numbers, "categories": rows.categories, "texts": rows.texts}
        feed |= {name: values[name.rpartition(".")[2]] for name in table_input_names(table)}
    for layout, path in zip(layouts, inputs.paths, strict=True):
        values = {"rows": path.rows, "places": path.places, "ages": path.ages, "totals": path.totals}
        feed |= {name: values[name.rpartition(".")[2]] for name in path_input_names(layout)}
    return feed
