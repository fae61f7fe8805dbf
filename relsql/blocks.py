"""Gathered rows as arrays: what the gather query returns, ready for the network.

A block holds the rows of one path for a batch of seeds, in any order; `slot` says where each belongs: seed
`slot // fanout`, recency rank `slot % fanout` (0 = latest). Training and scoring decode the same Arrow columns by
the code here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from relsql.features import NodeInputs
from relsql.gather import Segment
from relsql.paths import Path
from relsql.schema import Schema

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

MICROSECONDS_PER_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """Where the values of each segment lie in a path's rows.

    Attributes:
        name: the path's name.
        fanout: rows per seed at most.
        segments: row's own table first, then its lookups, see `relsql.gather.Segment`.
    """

    name: str
    fanout: int
    segments: tuple[Segment, ...]

    @property
    def numbers_width(self) -> int:
        """Number of FLOAT fields n0, n1, ... of a row."""
        return sum(segment.numbers_width for segment in self.segments)

    @property
    def codes_width(self) -> int:
        """Number of INTEGER fields c0, c1, ... of a row."""
        return sum(segment.codes_width for segment in self.segments)

    @property
    def categories_width(self) -> int:
        """Number of category codes of a decoded row: textual ones, then integer ones, of each segment."""
        return sum(category_count(segment.inputs) for segment in self.segments)

    @property
    def texts_width(self) -> int:
        """Number of text ids of a decoded row, one for each segment with text."""
        return sum(segment.has_text for segment in self.segments)

    def arrow_type(self) -> str:
        """DuckDB type of the path's column."""
        fields = ["rank INTEGER"]
        fields += [f"n{i} FLOAT" for i in range(self.numbers_width)]
        fields += [f"c{i} INTEGER" for i in range(self.codes_width)]
        return f"STRUCT({', '.join(fields)})[]"


def category_count(inputs: NodeInputs) -> int:
    """Number of category codes of one table: textual categories and integer columns with few values."""
    return len(inputs.categories) + sum(1 for number in inputs.numbers if number.categories)


def category_sizes(inputs: NodeInputs) -> tuple[int, ...]:
    """Number of codes of each category, including 0 for NULL, rare and unseen values."""
    textual = [len(category.values) + 1 for category in inputs.categories]
    return tuple(textual + [len(number.categories) + 1 for number in inputs.numbers if number.categories])


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one path.

    Attributes:
        numbers: float32 [rows, numbers_width]; NaN = missing.
        categories: int64 [rows, categories_width], 0 = none.
        texts: int64 [rows, texts_width], ids of row texts, 0 = none.
        slot: int64 [rows], each value once: seed * fanout + recency rank.
        counts: int64 [seeds], rows of each seed.
    """

    numbers: FloatArray
    categories: IntArray
    texts: IntArray
    slot: IntArray
    counts: IntArray

    def take(self, seeds: IntArray, starts: IntArray, fanout: int) -> Block:
        """The rows of some seeds, renumbered 0, 1, ... in the order given.

        Args:
            seeds: int64 [batch], positions of seeds in this block.
            starts: int64 [seeds], first row of each seed (see `row_starts`).
            fanout: of the path.
        """
        counts = self.counts[seeds]
        batch_start = np.cumsum(counts) - counts
        rows = np.arange(counts.sum()) - np.repeat(batch_start - starts[seeds], counts)
        slot = np.repeat(np.arange(len(seeds)) * fanout, counts) + self.slot[rows] % fanout
        return Block(self.numbers[rows], self.categories[rows], self.texts[rows], slot, counts)

    def row_starts(self) -> IntArray:
        """First row of each seed; rows of a seed are contiguous. int64 [seeds]."""
        starts: IntArray = np.cumsum(self.counts) - self.counts
        return starts


def decode_block(column: pa.Array, layout: BlockLayout) -> Block:
    """Decode one path's column: LIST of STRUCT(rank, n0.., c0..), NULL where a seed has no rows."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    counts = np.asarray(pa.compute.list_value_length(column).fill_null(0), dtype=np.int64)
    rows: pa.StructArray = column.flatten()
    seed = np.repeat(np.arange(len(counts)), counts)
    rank = _integers(rows, "rank") - 1
    numbers = np.empty((len(rows), layout.numbers_width), dtype=np.float32)
    for i in range(layout.numbers_width):
        numbers[:, i] = rows.field(f"n{i}").to_numpy(zero_copy_only=False)
    codes = [_integers(rows, f"c{i}") for i in range(layout.codes_width)]
    categories = np.empty((len(rows), layout.categories_width), dtype=np.int64)
    texts = np.empty((len(rows), layout.texts_width), dtype=np.int64)
    _split_codes(layout, numbers, codes, categories, texts)
    return Block(numbers, categories, texts, seed * layout.fanout + rank, counts)


def _split_codes(
    layout: BlockLayout, numbers: FloatArray, codes: list[IntArray], categories: IntArray, texts: IntArray
) -> None:
    """Fill categories and texts from the gathered codes and from the integer columns among the numbers."""
    number, code, category, text = 0, 0, 0, 0
    for segment in layout.segments:
        for _ in segment.inputs.categories:
            categories[:, category] = codes[code]
            code, category = code + 1, category + 1
        for i, column in enumerate(segment.inputs.numbers):
            if column.categories:
                categories[:, category] = _positions(numbers[:, number + 1 + i], column.categories)
                category += 1
        if segment.has_text:
            texts[:, text] = codes[code]
            code, text = code + 1, text + 1
        number += segment.numbers_width


def _positions(values: FloatArray, vocabulary: tuple[float, ...]) -> IntArray:
    """1-based positions of values in the vocabulary, 0 for values that are not in it."""
    with np.errstate(over="ignore"):  # A UHUGEINT beyond FLOAT is infinite in both.
        known = np.asarray(vocabulary, dtype=np.float32)
    order = np.argsort(known)
    nearest = order[np.minimum(np.searchsorted(known, values, sorter=order), len(known) - 1)]
    return np.where(known[nearest] == values, nearest + 1, 0)


def existing_seeds(blocks: Sequence[Block], layouts: Sequence[BlockLayout]) -> tuple[list[Block], IntArray]:
    """Keep the seeds whose entity exists at as_of: those with a row in the entity's own block, the first one.

    Returns:
        The blocks of those seeds, and their positions among all seeds, int64 [kept].
    """
    chosen = np.flatnonzero(blocks[0].counts)
    if len(chosen) == len(blocks[0].counts):
        return list(blocks), chosen
    kept = [block.take(chosen, block.row_starts(), x.fanout) for block, x in zip(blocks, layouts, strict=True)]
    return kept, chosen


def as_of_days(times: pa.Array) -> FloatArray:
    """Timestamps as days since 1970-01-01, float32; 0 for NULL."""
    microseconds = times.cast(pa.timestamp("us")).cast(pa.int64()).fill_null(0)
    days: FloatArray = (np.asarray(microseconds) / MICROSECONDS_PER_DAY).astype(np.float32)
    return days


def newest_evidence_days(blocks: Sequence[Block], paths: Sequence[Path], schema: Schema) -> npt.NDArray[np.float64]:
    """Age of the newest linked row of each seed in days, float64 [seeds]; infinite when none has a time."""
    newest = np.full(len(blocks[0].counts), np.inf)
    for block, path in zip(blocks[1:], paths[1:], strict=True):
        if schema.table(path.table).time_column:
            # The row's age is the first number after the present flag.
            np.minimum.at(newest, block.slot // path.fanout, block.numbers[:, 1])
    return newest


def _integers(rows: pa.StructArray, name: str) -> IntArray:
    return np.asarray(rows.field(name).fill_null(0), dtype=np.int64)


def concat_blocks(blocks: Sequence[Block], fanout: int) -> Block:
    """Put blocks of consecutive seeds together."""
    shifts = np.cumsum([0] + [len(block.counts) for block in blocks[:-1]])
    return Block(
        np.concatenate([block.numbers for block in blocks]),
        np.concatenate([block.categories for block in blocks]),
        np.concatenate([block.texts for block in blocks]),
        np.concatenate([block.slot + shift * fanout for block, shift in zip(blocks, shifts, strict=True)]),
        np.concatenate([block.counts for block in blocks]),
    )


@dataclass(frozen=True, slots=True)
class TableRows:
    """Distinct rows of one table in a batch, input of its node encoder.

    Attributes:
        numbers: float32 [rows, numbers]; NaN = missing.
        categories: int64 [rows, categories].
        texts: int64 [rows], positions in the batch's embeddings; empty for a table without text.
    """

    numbers: FloatArray
    categories: IntArray
    texts: IntArray


@dataclass(frozen=True, slots=True)
class GraphInputs:
    """A batch as the network reads it: every table's rows once, and who reads which.

    Attributes:
        text_ids: int64 [texts], the distinct text ids; the first is 0.
        tables: rows by table, in the order of `tables_of`.
        rows: for each path int64 [segments, rows]: position + 1 of each segment's row in its table, 0 = absent.
        slots: for each path int64 [rows], see `Block.slot`.
    """

    text_ids: IntArray
    tables: tuple[TableRows, ...]
    rows: tuple[IntArray, ...]
    slots: tuple[IntArray, ...]


def tables_of(layouts: Sequence[BlockLayout]) -> tuple[NodeInputs, ...]:
    """Node inputs of every table that the paths read, sorted by table."""
    inputs = {segment.inputs.table: segment.inputs for layout in layouts for segment in layout.segments}
    return tuple(inputs[table] for table in sorted(inputs))


def graph_inputs(blocks: Sequence[Block], layouts: Sequence[BlockLayout]) -> GraphInputs:
    """Sort the rows of a batch by table, each looked-up row once."""
    tables = tables_of(layouts)
    position = {inputs.table: i for i, inputs in enumerate(tables)}
    parts: list[list[tuple[FloatArray, IntArray, IntArray]]] = [[] for _ in tables]
    filled = [0] * len(tables)
    rows = [
        np.zeros((len(layout.segments), len(block.slot)), dtype=np.int64)
        for layout, block in zip(layouts, blocks, strict=True)
    ]
    for path, (layout, block) in enumerate(zip(layouts, blocks, strict=True)):
        for i, (segment, part) in enumerate(zip(layout.segments, segment_parts(block, layout), strict=True)):
            table = position[segment.inputs.table]
            present = np.flatnonzero(part[0][:, 0] > 0.5)
            values = (part[0][present, 1:], part[1][present], part[2][present])
            if i > 0:
                values, inverse = _distinct(values)
            else:
                inverse = np.arange(len(present))
            rows[path][i, present] = filled[table] + inverse + 1
            filled[table] += len(values[0])
            parts[table].append(values)
    joined = [tuple(np.concatenate(arrays) for arrays in zip(*part, strict=True)) for part in parts]
    text_ids, texts = compact_texts([texts for _, _, texts in joined])
    found = tuple(TableRows(n, c, t) for (n, c, _), t in zip(joined, texts, strict=True))
    return GraphInputs(text_ids, found, tuple(rows), tuple(block.slot for block in blocks))


def segment_parts(block: Block, layout: BlockLayout) -> list[tuple[FloatArray, IntArray, IntArray]]:
    """Numbers with the present flag, categories and texts of each segment."""
    parts = []
    number = category = text = 0
    for segment in layout.segments:
        numbers = block.numbers[:, number : number + segment.numbers_width]
        categories = block.categories[:, category : category + category_count(segment.inputs)]
        texts = block.texts[:, text] if segment.has_text else np.zeros(len(block.slot), dtype=np.int64)
        parts.append((numbers, categories, texts))
        number += segment.numbers_width
        category += category_count(segment.inputs)
        text += segment.has_text
    return parts


def _distinct(
    values: tuple[FloatArray, IntArray, IntArray],
) -> tuple[tuple[FloatArray, IntArray, IntArray], IntArray]:
    """Equal rows once, and the position of every row among them."""
    numbers, categories, texts = values
    if len(numbers) == 0:
        return values, np.zeros(0, dtype=np.int64)
    packed = np.concatenate(
        [np.ascontiguousarray(part).view(np.int32) for part in (numbers, categories, texts[:, None])], 1
    )
    keys = np.ascontiguousarray(packed).view([("", np.void, packed.dtype.itemsize * packed.shape[1])]).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return (numbers[first], categories[first], texts[first]), inverse


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
    """Names of the network's inputs for one table; those of width 0 are left out, but for the numbers."""
    names = [f"{inputs.table}.numbers"]
    names += [f"{inputs.table}.categories"] if category_count(inputs) else []
    names += [f"{inputs.table}.texts"] if inputs.text_columns else []
    return tuple(names)


def graph_input_names(layouts: Sequence[BlockLayout]) -> tuple[str, ...]:
    """Names of all inputs of the graph component, in order."""
    tables = [name for inputs in tables_of(layouts) for name in table_input_names(inputs)]
    paths = [name for layout in layouts for name in (f"path {layout.name}.rows", f"path {layout.name}.slots")]
    return ("embeddings", "seeds", *tables, *paths)


def graph_feed(
    inputs: GraphInputs, layouts: Sequence[BlockLayout], embeddings: FloatArray, seeds: int
) -> dict[str, npt.NDArray[np.generic]]:
    """Inputs of the graph component by name.

    Args:
        inputs: the batch.
        layouts: of its blocks.
        embeddings: float32 [texts, width], those of `inputs.text_ids`.
        seeds: number of seeds.
    """
    feed: dict[str, npt.NDArray[np.generic]] = {"embeddings": embeddings, "seeds": np.arange(seeds)}
    for table, rows in zip(tables_of(layouts), inputs.tables, strict=True):
        feed[f"{table.table}.numbers"] = rows.numbers
        if category_count(table):
            feed[f"{table.table}.categories"] = rows.categories
        if table.text_columns:
            feed[f"{table.table}.texts"] = rows.texts
    for layout, positions, slots in zip(layouts, inputs.rows, inputs.slots, strict=True):
        feed[f"path {layout.name}.rows"] = positions
        feed[f"path {layout.name}.slots"] = slots
    return feed
