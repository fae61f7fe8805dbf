"""Random gathered rows: three tables with all kinds of inputs, read along three paths."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from relsql.gather.arrays.blocks import Block, take_blocks
from relsql.gather.layout import BlockLayout, Segment
from relsql.gather.node_inputs import CategoryInput, NodeInputs, NumberInput
from relsql.schema.tables import Link
from relsql.typing import IntArray

TEXTS = 9
ENTITY = NodeInputs("e", (NumberInput("n", "number"),), (CategoryInput("c", ("x", "y")),), ("c",))
ROW = NodeInputs("r", (NumberInput("age", "age"), NumberInput("i", "number", (1.0, 2.0))), (), ())
PARENT = NodeInputs("p", (), (), ("t",))
LAYOUTS = (
    BlockLayout("entity", 1, (Segment(ENTITY),)),
    BlockLayout("rows", 6, (Segment(ROW), Segment(PARENT, Link("r", ("p",), "p", ("id",)))), 4),
    BlockLayout("more", 4, (Segment(PARENT),), 1),
)


def random_block(layout: BlockLayout, rng: np.random.Generator, counts: npt.NDArray[np.integer]) -> Block:
    """Rows of seeds that have `counts` each, in random order of rank; few values, so that rows repeat."""
    rows = int(counts.sum())
    numbers = (rng.integers(-8, 9, size=(rows, layout.numbers_width)) / 4).astype(np.float32)
    numbers[rng.random(numbers.shape) < 0.2] = np.nan
    start = 0
    for i, segment in enumerate(layout.segments):
        numbers[:, start] = rng.integers(0, 2, rows) if i else 1.0
        start += segment.numbers_width
    slots = [seed * layout.fanout + rng.permutation(count) for seed, count in enumerate(counts)]
    totals = rng.integers(1, 50, (len(counts), layout.counts_width)).astype(np.float32)
    totals[counts == 0] = 0
    return Block(
        numbers,
        rng.integers(0, 3, (rows, layout.categories_width)),
        rng.integers(0, TEXTS, (rows, layout.texts_width)),
        np.concatenate([*slots, np.zeros(0)]).astype(np.int64),
        counts.astype(np.int64),
        totals,
    )


def random_blocks(seeds: int, seed: int = 0) -> list[Block]:
    """One block per layout; every entity exists, and other paths may have no row."""
    rng = np.random.default_rng(seed)
    return [random_block(x, rng, rng.integers(x.fanout == 1, x.fanout + 1, seeds)) for x in LAYOUTS]


def taken(blocks: list[Block], chosen: IntArray) -> list[Block]:
    """The blocks of some seeds."""
    return take_blocks(blocks, LAYOUTS, chosen)
