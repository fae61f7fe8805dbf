from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from relsql.gather.arrays.blocks import Block
from relsql.gather.arrays.graph_inputs import (
    GraphInputs,
    compact_texts,
    graph_feed,
    graph_input_names,
    graph_inputs,
    tables_of,
    take_seeds,
)
from relsql.gather.layout import BlockLayout, Segment
from relsql.gather.node_inputs import NodeInputs, NumberInput
from relsql.typing import IntArray
from tests.relsql.gather.arrays.random_blocks import LAYOUTS, TEXTS, random_blocks, taken


def starts(blocks: list[Block]) -> list[IntArray]:
    return [np.append(block.row_starts(), len(block.slot)) for block in blocks]


def assert_equal(one: GraphInputs, other: GraphInputs) -> None:
    np.testing.assert_array_equal(one.text_ids, other.text_ids)
    for mine, theirs in zip([*one.tables, *one.paths], [*other.tables, *other.paths], strict=True):
        for name, a in asdict(mine).items():
            b = getattr(theirs, name)
            assert a.dtype == b.dtype and a.shape == b.shape, name
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("seeds", [0, 1, 40])
def test_graph_inputs_lead_back_to_the_rows(seeds: int, in_order: bool) -> None:
    blocks = random_blocks(seeds)
    inputs = graph_inputs(blocks, LAYOUTS, in_order=in_order)
    assert [table.table for table in tables_of(LAYOUTS)] == ["e", "p", "r"]
    assert inputs.text_ids[0] == 0 and len(np.unique(inputs.text_ids)) == len(inputs.text_ids)
    _, parents, rows = inputs.tables
    for path, block in zip(inputs.paths, blocks, strict=True):
        filled = np.flatnonzero(path.places)
        np.testing.assert_array_equal(filled, np.sort(block.slot))
        np.testing.assert_array_equal(block.slot[path.places.ravel()[filled] - 1], filled)
        np.testing.assert_array_equal(path.totals, block.totals)
    path, block = inputs.paths[1], blocks[1]
    np.testing.assert_array_equal(path.rows[1] > 0, block.numbers[:, 3] > 0.5)
    np.testing.assert_array_equal(path.ages[:, 0], block.numbers[:, 1])
    for i, (mine, parent) in enumerate(path.rows.T):
        np.testing.assert_array_equal(rows.numbers[mine - 1], block.numbers[i, 2:3])
        np.testing.assert_array_equal(rows.categories[mine - 1], block.categories[i])
        assert not parent or inputs.text_ids[parents.texts[parent - 1]] == block.texts[i, 0]
    np.testing.assert_array_equal(inputs.text_ids[parents.texts][inputs.paths[2].rows[0] - 1], blocks[2].texts[:, 0])


@pytest.mark.parametrize("in_order", [True, False])
def test_equal_rows_are_there_once_however_many_paths_and_moments_read_them(in_order: bool) -> None:
    inputs = graph_inputs(random_blocks(200), LAYOUTS, in_order=in_order)
    # Nothing but a text tells parents apart, and an integer with its code tells rows apart; ages say nothing.
    _, parents, rows = inputs.tables
    assert sorted(inputs.text_ids[parents.texts]) == list(range(TEXTS))
    keys = np.column_stack([np.nan_to_num(rows.numbers, nan=-99), rows.categories])
    assert len(np.unique(keys, axis=0)) == len(keys) == 18 * 3
    assert len(np.unique(inputs.paths[1].ages[~np.isnan(inputs.paths[1].ages)])) == 17


def test_the_order_of_a_table_does_not_depend_on_that_of_the_rows() -> None:
    blocks = random_blocks(50)
    rows = ("numbers", "categories", "texts", "slot")
    backwards = [replace(block, **{name: getattr(block, name)[::-1] for name in rows}) for block in blocks]
    one, other = graph_inputs(blocks, LAYOUTS), graph_inputs(backwards, LAYOUTS)
    for mine, theirs in zip(one.tables, other.tables, strict=True):
        for a, b in zip(asdict(mine).values(), asdict(theirs).values(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_ages_of_lookups_stand_beside_those_of_rows() -> None:
    child = NodeInputs("c", (NumberInput("at", "age"), NumberInput("x", "number"), NumberInput("due", "age")), (), ())
    parent = NodeInputs("p", (NumberInput("y", "number"), NumberInput("since", "age")), (), ())
    layout = BlockLayout("rows", 2, (Segment(child), Segment(parent)))
    assert layout.ages_width == 3
    none = np.zeros((2, 0), dtype=np.int64)
    numbers = np.array([[1, 10, 20, 30, 1, 40, 50], [1, 11, 20, 31, 0, np.nan, np.nan]], dtype=np.float32)
    block = Block(numbers, none, none, np.array([0, 1]), np.array([2]), np.zeros((1, 0), dtype=np.float32))
    inputs = graph_inputs([block], [layout])
    np.testing.assert_array_equal(inputs.paths[0].ages, [[10, 30, 50], [11, 31, np.nan]])
    assert [table.numbers.tolist() for table in inputs.tables] == [[[20.0]], [[40.0]]]
    assert inputs.paths[0].rows.tolist() == [[1, 1], [1, 0]]


@pytest.mark.parametrize("seed", range(5))
def test_taken_seeds_are_the_inputs_of_the_taken_blocks(seed: int) -> None:
    blocks = random_blocks(30, seed)
    inputs = graph_inputs(blocks, LAYOUTS)
    rng = np.random.default_rng(seed)
    for chosen in (rng.integers(0, 30, rng.integers(1, 90)), rng.permutation(30), np.array([7]), np.arange(0)):
        found = take_seeds(inputs, LAYOUTS, chosen, starts(blocks))
        assert_equal(found, graph_inputs(taken(blocks, chosen), LAYOUTS))


def test_taking_leaves_the_batch_as_it_was() -> None:
    blocks = random_blocks(10)
    inputs = graph_inputs(blocks, LAYOUTS)
    whole = take_seeds(inputs, LAYOUTS, np.arange(10), starts(blocks))
    whole.paths[1].rows[:] = 0
    whole.paths[1].totals[:] = -1
    assert_equal(inputs, graph_inputs(blocks, LAYOUTS))


def test_feed_has_every_input_and_none_of_width_0() -> None:
    inputs = graph_inputs(random_blocks(5), LAYOUTS)
    feed = graph_feed(inputs, LAYOUTS, np.zeros((len(inputs.text_ids), 3), dtype=np.float32))
    assert tuple(feed) == graph_input_names(LAYOUTS)
    assert set(feed) == {
        *("embeddings", "e.numbers", "e.categories", "e.texts", "p.numbers", "p.texts"),
        *("r.numbers", "r.categories", "path entity.rows", "path entity.places"),
        *("path rows.rows", "path rows.places", "path rows.ages", "path rows.totals"),
        *("path more.rows", "path more.places", "path more.totals"),
    }
    assert feed["p.numbers"].shape[1] == 0 and feed["path rows.totals"].shape == (5, 4)


def test_compact_texts_renumbers_and_starts_with_zero() -> None:
    texts = [
        np.array([[7, 3], [3, 9]]),
        np.zeros((0, 1), dtype=np.int64),
        np.zeros((4, 0), dtype=np.int64),
        np.array([[9]]),
    ]
    distinct, parts = compact_texts(texts)
    assert distinct.tolist() == [0, 3, 7, 9]
    for ids, part in zip(texts, parts, strict=True):
        np.testing.assert_array_equal(distinct[part], ids)
    distinct, parts = compact_texts([np.zeros((0, 2), dtype=np.int64)])
    assert distinct.tolist() == [0] and parts[0].shape == (0, 2)
