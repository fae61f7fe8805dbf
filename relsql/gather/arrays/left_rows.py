"""Rows of keys, and what groups of seeds leave out of them, as inputs of the network.

Most groups of a key differ in one row. A row that stays as it is is encoded once for all of them, and a group only
lists its places. A row is encoded again where a group hides one of its columns, or a row that it points at.
`relsql.gather.sql.removals.messages` writes the query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from relsql.gather.arrays.blocks import Block, concat_blocks, decode_block, decode_totals
from relsql.gather.arrays.graph_inputs import GraphInputs, graph_inputs
from relsql.gather.layout import BlockLayout, category_count
from relsql.gather.paths import Path
from relsql.gather.row_plan import RowPlan
from relsql.gather.sql.removals.conditions import ALL_ROWS, OUT, column_numbers
from relsql.gather.sql.removals.messages import pointed_ids
from relsql.typing import FloatArray, IntArray

BATCH = 2_048
"""How many groups pass the network together: as many as DuckDB passes seeds."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LeftBatch:
    """A batch of groups as the network reads it.

    Attributes:
        inputs: the rows and the groups, in place of seeds.
        evidence: int64 [groups], number of rows.
        newest_days: float64 [groups], age of the newest row; infinite without one.
    """

    inputs: GraphInputs
    evidence: IntArray
    newest_days: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Hidden:
    """Which values of a row are missing: masks over `Block.numbers`, `categories` and `texts`.

    `absent` are the numbers that say whether a row is there; they become 0.
    """

    numbers: Mask
    categories: Mask
    texts: Mask
    absent: Mask

    @classmethod
    def nothing(cls, layout: BlockLayout) -> _Hidden:
        widths = (layout.numbers_width, layout.categories_width, layout.texts_width, layout.numbers_width)
        return cls(*(np.zeros(width, dtype=bool) for width in widths))


class LeftRows:
    """Decodes the argument of a path's message function.

    Args:
        plan: the plan of rows.
        path: the path.
        layout: its layout.
    """

    def __init__(self, plan: RowPlan, path: Path, layout: BlockLayout) -> None:
        self.layout = layout
        self._timed = plan.timed(path)
        # By column that can be hidden, and by link that is not followed.
        self._columns: dict[int, _Hidden] = {}
        self._links: list[_Hidden] = []
        self._pointed = [(link, table) for link, table, _ in pointed_ids(plan, path)]
        number = category = text = 0
        for i, segment in enumerate(layout.segments):
            inputs, absent = segment.inputs, _Hidden.nothing(layout)
            numbers = {number + 1 + n: x.column for n, x in enumerate(inputs.numbers)}
            named = [x.column for x in inputs.categories] + [x.column for x in inputs.numbers if x.categories]
            categories = {category + n: column for n, column in enumerate(named)}
            for position, column in numbers.items():
                self._hide(plan, inputs.table, column, "numbers", position)
            for position, column in categories.items():
                self._hide(plan, inputs.table, column, "categories", position)
            for column in inputs.text_columns:
                self._hide(plan, inputs.table, column, "texts", text)
            absent.absent[number] = True
            absent.numbers[number : number + segment.numbers_width] = True
            absent.categories[category : category + category_count(inputs)] = True
            absent.texts[text : text + segment.has_text] = True
            if i:
                self._links.append(absent)
            number += segment.numbers_width
            category += category_count(inputs)
            text += segment.has_text

    def _hide(self, plan: RowPlan, table: str, column: str, kind: str, position: int) -> None:
        """Note that a value is missing if a column is hidden."""
        for number in column_numbers(plan, table, (column,)):
            hidden = self._columns.setdefault(number, _Hidden.nothing(self.layout))
            getattr(hidden, kind)[position] = True

    def batches(self, keys: pa.StructArray, resolve: Callable[[Block], Block]) -> Iterator[LeftBatch]:
        """The groups of all keys in their order, in batches; `resolve` completes the texts of a block."""
        rows, groups = keys.field("rows"), keys.field("left_groups")
        listed, told = _lengths(rows), _lengths(groups)
        widest = max(self.layout.fanout, int(listed.max(initial=0)))
        block = resolve(decode_block(rows, replace(self.layout, fanout=widest)))
        flat = rows.flatten()
        # In the order that `decode_block` has brought the rows into.
        order = np.lexsort((np.asarray(flat.field("rank")), np.repeat(np.arange(len(listed)), listed)))
        ids = [np.asarray(flat.field(f"h{i}").fill_null(ALL_ROWS))[order] for i in range(len(self._pointed))]
        first = np.cumsum(listed) - listed
        ranks = np.arange(widest)
        places = np.where(ranks < listed[:, None], first[:, None] + ranks + 1, 0)
        left = _Groups.decoded(groups.flatten(), np.repeat(np.arange(len(told)), told), self.layout)
        for start in range(0, len(left.key), BATCH):
            batch = left.part(start, start + BATCH)
            lowest, highest = batch.key[0], batch.key[-1]
            begin, end = first[lowest], first[highest] + listed[highest]
            shown = places[batch.key]
            shown = np.where(shown > 0, shown - begin, 0)
            yield self._batch(
                _rows(block, slice(begin, end)), [x[begin:end] for x in ids], batch.remaining(shown), batch
            )

    def _batch(self, block: Block, ids: list[npt.NDArray[np.uint64]], places: IntArray, groups: _Groups) -> LeftBatch:
        """The rows of a batch; `places` [groups, ranks] are positions + 1 in it of the rows that each group keeps."""
        places = places[:, : self.layout.fanout]
        changes = [
            (self._columns[column], (groups.column == column)[:, None] & (places > 0))
            for column in np.unique(groups.column)
            if column in self._columns
        ]
        for (link, table), row_ids in zip(self._pointed, ids, strict=True):
            out = np.flatnonzero(groups.table == table)
            if len(out):
                known = np.concatenate([np.zeros(1, dtype=np.uint64), row_ids])[places[out]]
                same = (groups.row[out] == ALL_ROWS)[:, None] | (known == groups.row[out][:, None])
                changed = np.zeros(places.shape, dtype=bool)
                changed[out] = same & (places[out] > 0)
                changes.append((self._links[link], changed))
        evidence = (places > 0).sum(axis=1)
        newest = np.full(len(places), np.inf)
        if self._timed:
            ages = np.concatenate([np.full(1, np.nan), block.numbers[:, 1]])
            newest = np.fmin.reduce(ages[places], axis=1, initial=np.inf)
        block, places = _changed(block, places, changes)
        inputs = graph_inputs([block], [self.layout], in_order=False)
        of_groups = replace(inputs.paths[0], places=places, totals=groups.totals)
        return LeftBatch(replace(inputs, paths=(of_groups,)), evidence, newest)


@dataclass(frozen=True, slots=True)
class _Groups:
    """What groups leave out.

    Attributes:
        key: int64 [groups], position of each group's key; ascending.
        table: int64 [groups], number of the table that a row, or all rows, are out of.
        row: uint64 [groups], id of the row.
        column: int64 [groups], number of the hidden column.
        gone: int64 [out, 2], the groups and ranks of rows that are out.
        totals: float32 [groups, counts_width], see `Block.totals`.
    """

    key: IntArray
    table: IntArray
    row: npt.NDArray[np.uint64]
    column: IntArray
    gone: IntArray
    totals: FloatArray

    @classmethod
    def decoded(cls, groups: pa.StructArray, key: IntArray, layout: BlockLayout) -> _Groups:
        table, row, column = (np.asarray(groups.field(name)) for name in OUT)
        ranks = groups.field("ranks")
        gone = np.stack([np.repeat(np.arange(len(key)), _lengths(ranks)), np.asarray(ranks.flatten())], axis=1)
        totals = decode_totals(groups.field("counts"), layout, len(key))
        return cls(key, table.astype(np.int64), row, column.astype(np.int64), gone, totals)

    def part(self, start: int, end: int) -> _Groups:
        """The groups from one position to another."""
        bounds = np.searchsorted(self.gone[:, 0], [start, end])
        gone = self.gone[bounds[0] : bounds[1]] - np.array([start, 0])
        kept = slice(start, end)
        return _Groups(self.key[kept], self.table[kept], self.row[kept], self.column[kept], gone, self.totals[kept])

    def remaining(self, places: IntArray) -> IntArray:
        """Places [groups, ranks] without the rows that are out: for each of them, the next one moves up."""
        group, rank = self.gone[:, 0], self.gone[:, 1] - 1
        listed = rank < places.shape[1]
        places[group[listed], rank[listed]] = 0
        changed = np.unique(group[listed])
        order = np.argsort(places[changed] == 0, axis=1, kind="stable")
        places[changed] = np.take_along_axis(places[changed], order, axis=1)
        return places


def _changed(block: Block, places: IntArray, changes: list[tuple[_Hidden, Mask]]) -> tuple[Block, IntArray]:
    """The rows, followed by those that some groups read with missing values, and the places of all."""
    where = np.logical_or.reduce([mask for _, mask in changes]) if changes else np.zeros(places.shape, dtype=bool)
    copies = places[where] - 1
    added = _rows(block, copies)
    for hidden, mask in changes:
        rows = mask[where][:, None]
        added.numbers[rows & hidden.numbers] = np.nan
        added.numbers[rows & hidden.absent] = 0
        added.categories[rows & hidden.categories] = 0
        added.texts[rows & hidden.texts] = 0
    moved = places.copy()
    moved[where] = len(block.slot) + 1 + np.arange(len(copies))
    return concat_blocks([block, added], 1), moved


def _rows(block: Block, chosen: slice | IntArray) -> Block:
    """Some rows of a block."""
    numbers, categories, texts = block.numbers[chosen], block.categories[chosen], block.texts[chosen]
    count = len(numbers)
    # One row for each seed: which groups read a row is said by the places.
    return Block(numbers, categories, texts, np.arange(count), np.ones(count, dtype=np.int64), block.totals[:0])


def _lengths(lists: pa.ListArray) -> IntArray:
    return np.asarray(pa.compute.list_value_length(lists).fill_null(0), dtype=np.int64)
