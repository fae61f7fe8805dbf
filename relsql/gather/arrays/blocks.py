"""Gathered rows as arrays: the result of the gather query, decoded for the network.

A block holds the rows of one path for a batch of seeds. `slot` gives the place of each row: seed `slot // fanout`,
recency rank `slot % fanout` (0 = latest). Training and scoring decode the same Arrow columns with this code.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from relsql.gather.layout import BlockLayout, category_count, counts_name
from relsql.gather.paths import Path
from relsql.schema.tables import Schema
from relsql.typing import FloatArray, IntArray

MICROSECONDS_PER_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one path.

    Attributes:
        numbers: float32 [rows, numbers_width]; NaN = missing.
        categories: int64 [rows, categories_width], 0 = none.
        texts: int64 [rows, texts_width], ids of row texts, 0 = none.
        slot: int64 [rows], each value once: seed * fanout + recency rank.
        counts: int64 [seeds], rows of each seed.
        totals: float32 [seeds, counts_width], number of visible rows of each seed, in total and within the path's
            spans.
    """

    numbers: FloatArray
    categories: IntArray
    texts: IntArray
    slot: IntArray
    counts: IntArray
    totals: FloatArray

    def take(self, seeds: IntArray, starts: IntArray, fanout: int) -> Block:
        """The rows of some seeds, renumbered 0, 1, ... in the order given.

        Args:
            seeds: int64 [batch], positions of seeds in this block.
            starts: int64 [seeds], first row of each seed (see `row_starts`).
            fanout: fanout of the path.
        """
        counts = self.counts[seeds]
        batch_start = np.cumsum(counts) - counts
        rows = np.arange(counts.sum()) - np.repeat(batch_start - starts[seeds], counts)
        slot = np.repeat(np.arange(len(seeds)) * fanout, counts) + self.slot[rows] % fanout
        return Block(self.numbers[rows], self.categories[rows], self.texts[rows], slot, counts, self.totals[seeds])

    def row_starts(self) -> IntArray:
        """First row of each seed; rows of a seed are contiguous. int64 [seeds]."""
        starts: IntArray = np.cumsum(self.counts) - self.counts
        return starts


def decode_blocks(columns: Callable[[str], pa.Array], layouts: Sequence[BlockLayout]) -> list[Block]:
    """Decode the gathered columns of all paths; `columns` returns a column by its name."""
    return [decode_block(columns(x.name), x, columns(counts_name(x.name)) if x.counts_width else None) for x in layouts]


def decode_block(column: pa.Array, layout: BlockLayout, totals: pa.Array | None = None) -> Block:
    """Decode one path's column: LIST of STRUCT(rank, n0.., c0..), NULL where a seed has no rows.

    `totals` is the path's column of counts, STRUCT(w0, ...), if it has one.
    """
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
    slot = seed * layout.fanout + rank
    found = decode_totals(totals, layout, len(counts))
    # Lists may come in any order. Rows are sorted, so that neither training nor the last bits of a score depend on it.
    if not (slot[1:] > slot[:-1]).all():
        order = np.argsort(slot)
        numbers, categories, texts, slot = numbers[order], categories[order], texts[order], slot[order]
    return Block(numbers, categories, texts, slot, counts, found)


def decode_totals(column: pa.Array | None, layout: BlockLayout, seeds: int) -> FloatArray:
    """Decode a column of counts, STRUCT(w0, ...), see `Block.totals`; zeros without one."""
    found = np.zeros((seeds, layout.counts_width), dtype=np.float32)
    if column is None or not seeds:
        return found
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    # `flatten` marks the fields of a NULL struct as NULL, which `field` does not.
    for i, field in enumerate(column.flatten()):
        found[:, i] = _filled(field).to_numpy(zero_copy_only=False)
    return found


def _split_codes(
    layout: BlockLayout, numbers: FloatArray, codes: list[IntArray], categories: IntArray, texts: IntArray
) -> None:
    """Fill `categories` and `texts` from the gathered codes and from the integer columns among the numbers."""
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
    """Keep the seeds whose entity exists at as_of: those with a row in the first block, which is the entity's own.

    Returns:
        The blocks of those seeds, and their positions among all seeds, int64 [kept].
    """
    chosen = np.flatnonzero(blocks[0].counts)
    if len(chosen) == len(blocks[0].counts):
        return list(blocks), chosen
    return take_blocks(blocks, layouts, chosen), chosen


def take_blocks(blocks: Sequence[Block], layouts: Sequence[BlockLayout], chosen: IntArray) -> list[Block]:
    """The rows of some seeds, int64 [batch], in every block; see `Block.take`."""
    return [block.take(chosen, block.row_starts(), x.fanout) for block, x in zip(blocks, layouts, strict=True)]


def as_of_days(times: pa.Array) -> FloatArray:
    """Timestamps as days since 1970-01-01, float32; 0 for NULL."""
    microseconds = times.cast(pa.timestamp("us")).cast(pa.int64()).fill_null(0)
    days: FloatArray = (np.asarray(microseconds) / MICROSECONDS_PER_DAY).astype(np.float32)
    return days


def newest_evidence_days(blocks: Sequence[Block], paths: Sequence[Path], schema: Schema) -> npt.NDArray[np.float64]:
    """Age of the newest linked row of each seed in days, float64 [seeds]; infinite if no linked row has a time."""
    newest = np.full(len(blocks[0].counts), np.inf)
    for block, path in zip(blocks[1:], paths[1:], strict=True):
        if schema.table(path.table).time_column:
            newest = np.fmin(newest, newest_row_days(block))
    return newest


def newest_event_days(seeds: SeedSet, paths: Sequence[Path], schema: Schema) -> npt.NDArray[np.float64]:
    """`newest_evidence_days` of seeds, without rows from before the events of their table."""
    newest = np.full(len(seeds), np.inf)
    for block, path in zip(seeds.blocks[1:], paths[1:], strict=True):
        table = schema.table(path.table)
        if table.time_column:
            days = newest_row_days(block)
            if table.events and table.events.after:
                first = (table.events.after - datetime.datetime(1970, 1, 1)).days
                days[seeds.as_of_days.astype(np.float64) - days < first] = np.inf
            newest = np.fmin(newest, days)
    return newest


def newest_row_days(block: Block) -> npt.NDArray[np.float64]:
    """Age of each seed's newest row in days, float64 [seeds]; infinite without rows. The table must have a time."""
    newest = np.full(len(block.counts), np.inf)
    seeds = np.flatnonzero(block.counts)
    # The row's age is the first number after the present flag.
    newest[seeds] = np.fmin.reduceat(block.numbers[:, 1], block.row_starts()[seeds])
    return newest


def _integers(rows: pa.StructArray, name: str) -> IntArray:
    return np.asarray(_filled(rows.field(name)), dtype=np.int64)


def _filled(values: pa.Array) -> pa.Array:
    """Replace NULLs with 0. Small steps like this dominate the scoring of one entity, so it is skipped if possible."""
    return values.fill_null(0) if values.null_count else values


def concat_blocks(blocks: Sequence[Block], fanout: int) -> Block:
    """Concatenate blocks of consecutive seeds."""
    shifts = np.cumsum([0] + [len(block.counts) for block in blocks[:-1]])
    return Block(
        np.concatenate([block.numbers for block in blocks]),
        np.concatenate([block.categories for block in blocks]),
        np.concatenate([block.texts for block in blocks]),
        np.concatenate([block.slot + shift * fanout for block, shift in zip(blocks, shifts, strict=True)]),
        np.concatenate([block.counts for block in blocks]),
        np.concatenate([block.totals for block in blocks]),
    )


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


@dataclass(frozen=True, slots=True)
class SeedSet:
    """Gathered seeds of one split.

    Attributes:
        blocks: one per path, in layout order; seeds in the same order in all of them.
        as_of_days: float32 [seeds], prediction time in days since 1970-01-01.
        labels: float32 [seeds], of a forecast in steps [seeds, steps]; empty when there are none.
    """

    blocks: tuple[Block, ...]
    as_of_days: FloatArray
    labels: FloatArray

    def __len__(self) -> int:
        return len(self.as_of_days)

    @property
    def one_label(self) -> FloatArray:
        """A number for each label, float32 [seeds]: of a forecast in steps the mean of all windows."""
        labels: FloatArray = self.labels if self.labels.ndim == 1 else self.labels.mean(axis=1)
        return labels

    def joined(self, other: SeedSet, layouts: tuple[BlockLayout, ...]) -> SeedSet:
        """These seeds, then those of `other`."""
        pairs = zip(self.blocks, other.blocks, layouts, strict=True)
        return SeedSet(
            tuple(concat_blocks([mine, theirs], layout.fanout) for mine, theirs, layout in pairs),
            np.concatenate([self.as_of_days, other.as_of_days]),
            np.concatenate([self.labels, other.labels]),
        )
