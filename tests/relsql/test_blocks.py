from __future__ import annotations

import math
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from relsql.blocks import (
    Block,
    BlockLayout,
    IntArray,
    category_count,
    category_sizes,
    compact_texts,
    concat_blocks,
    decode_block,
    graph_inputs,
    tables_of,
)
from relsql.features import CategoryInput, NodeInputs, NumberInput
from relsql.gather import Segment
from relsql.schema import Link

INTEGERS = (3.0, -1.0, 7.0)
OWN = NodeInputs(
    "a",
    (NumberInput("age", "age"), NumberInput("n", "number", INTEGERS)),
    (CategoryInput("c", ("x", "y")),),
    ("c",),
)
PARENT = NodeInputs("b", (NumberInput("m", "number"),), (), ("t",))
LINK = Link("a", ("b",), "b", ("id",))
LAYOUT = BlockLayout("rows", 3, (Segment(OWN), Segment(PARENT, LINK)))


def make_rows(rng: np.random.Generator, seeds: int) -> list[list[dict[str, Any]] | None]:
    """One list of rows per seed, in random order, None where there are none."""
    column: list[list[dict[str, Any]] | None] = []
    for _ in range(seeds):
        ranks = rng.permutation(np.arange(1, 1 + rng.integers(0, 4)))
        rows = [
            {
                "rank": int(rank),
                "n0": 1.0,
                "n1": None if rng.random() < 0.3 else float(rng.integers(0, 9)),
                "n2": None if rng.random() < 0.2 else float(rng.choice([3.0, -1.0, 7.0, 8.0])),
                "n3": float(rng.integers(0, 2)),
                "n4": math.inf,
                "c0": int(rng.integers(0, 3)),
                "c1": int(rng.integers(1, 50)),
                "c2": int(rng.integers(0, 50)),
            }
            for rank in ranks
        ]
        column.append(rows or None)
    return column


def arrow(column: list[list[dict[str, Any]] | None]) -> pa.Array:
    fields = [
        ("rank", pa.int32()),
        *((f"n{i}", pa.float32()) for i in range(5)),
        *((f"c{i}", pa.int32()) for i in range(3)),
    ]
    return pa.array(column, type=pa.list_(pa.struct(fields)))


def as_lists(block: Block, fanout: int) -> list[list[tuple[Any, ...]]]:
    """Rows of each seed in order of rank, with None for missing numbers."""
    seeds: list[list[tuple[Any, ...]]] = [[] for _ in block.counts]
    for i in np.argsort(block.slot):
        numbers = tuple(None if math.isnan(n) else float(n) for n in block.numbers[i])
        row = (
            int(block.slot[i] % fanout),
            numbers,
            tuple(block.categories[i].tolist()),
            tuple(block.texts[i].tolist()),
        )
        seeds[block.slot[i] // fanout].append(row)
    assert [len(rows) for rows in seeds] == block.counts.tolist()
    return seeds


def expected(column: list[list[dict[str, Any]] | None]) -> list[list[tuple[Any, ...]]]:
    seeds = []
    for rows in column:
        decoded = []
        for row in sorted(rows or [], key=lambda row: row["rank"]):
            integer = INTEGERS.index(row["n2"]) + 1 if row["n2"] in INTEGERS else 0
            numbers = tuple(row[f"n{i}"] for i in range(5))
            decoded.append((row["rank"] - 1, numbers, (row["c0"], integer), (row["c1"], row["c2"])))
        seeds.append(decoded)
    return seeds


def assert_equal(one: Block, other: Block) -> None:
    for name in ("numbers", "categories", "texts", "slot", "counts"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype and a.shape == b.shape, name
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seeds", [0, 1, 40])
def test_decoding_equals_python(seeds: int) -> None:
    column = make_rows(np.random.default_rng(seeds), seeds)
    block = decode_block(arrow(column), LAYOUT)
    assert as_lists(block, LAYOUT.fanout) == expected(column)
    assert (block.numbers.dtype, block.categories.dtype) == (np.float32, np.int64)
    assert block.numbers.shape[1:] == (5,) and block.categories.shape[1:] == (2,) and block.texts.shape[1:] == (2,)


def test_seeds_without_any_row() -> None:
    block = decode_block(arrow([None, None, []]), LAYOUT)
    assert block.numbers.shape == (0, 5) and block.counts.tolist() == [0, 0, 0]


def test_sliced_and_chunked_columns() -> None:
    column = make_rows(np.random.default_rng(1), 30)
    whole = arrow(column)
    assert as_lists(decode_block(whole[7:23], LAYOUT), 3) == expected(column[7:23])
    chunks = pa.chunked_array([whole[:5], whole[5:5], whole[5:18], whole[18:]])
    assert_equal(decode_block(chunks, LAYOUT), decode_block(whole, LAYOUT))
    assert as_lists(decode_block(chunks[3:21], LAYOUT), 3) == expected(column[3:21])
    assert decode_block(pa.chunked_array([], type=whole.type), LAYOUT).counts.shape == (0,)


def test_rows_behind_a_null_are_not_read() -> None:
    # Arrow may keep values under a NULL list; they belong to nobody.
    whole = arrow([[row] for row in [r[0] for r in make_rows(np.random.default_rng(5), 20) if r][:3]])
    mask = pa.array([False, True, False])
    hidden = pa.ListArray.from_arrays(whole.offsets, whole.values, mask=mask)
    assert as_lists(decode_block(hidden, LAYOUT), 3) == expected([whole[0].as_py(), None, whole[2].as_py()])


def test_blocks_of_a_query(con: duckdb.DuckDBPyConnection) -> None:
    column = make_rows(np.random.default_rng(2), 30)
    con.register("source", pa.table({"x": arrow(column)}))
    found = con.sql(f"SELECT CAST(x AS {LAYOUT.arrow_type()}) AS x FROM source").to_arrow_table().column("x")
    assert_equal(decode_block(found, LAYOUT), decode_block(arrow(column), LAYOUT))


def test_take_equals_slicing() -> None:
    column = make_rows(np.random.default_rng(3), 30)
    block = decode_block(arrow(column), LAYOUT)
    chosen: IntArray
    for chosen in (np.arange(30), np.array([4, 2, 2, 29, 0]), np.array([], dtype=np.int64)):
        part = block.take(chosen, block.row_starts(), LAYOUT.fanout)
        assert as_lists(part, LAYOUT.fanout) == expected([column[i] for i in chosen])


def test_concat_undoes_a_split() -> None:
    column = make_rows(np.random.default_rng(4), 30)
    parts = [decode_block(arrow(column[a:b]), LAYOUT) for a, b in ((0, 11), (11, 11), (11, 29), (29, 30))]
    assert_equal(concat_blocks(parts, LAYOUT.fanout), decode_block(arrow(column), LAYOUT))
    assert_equal(concat_blocks(parts[:1], LAYOUT.fanout), parts[0])


def test_category_sizes_count_the_unknown() -> None:
    assert (category_count(OWN), category_sizes(OWN)) == (2, (3, 4))
    assert (category_count(PARENT), category_sizes(PARENT)) == (0, ())
    assert (LAYOUT.numbers_width, LAYOUT.codes_width, LAYOUT.categories_width, LAYOUT.texts_width) == (5, 3, 2, 2)


def test_integer_categories_beyond_float_do_not_fail() -> None:
    inputs = NodeInputs("a", (NumberInput("n", "number", (float(2**128 - 1), 1.0, 16777217.0)),), (), ())
    layout = BlockLayout("rows", 1, (Segment(inputs),))
    rows = [[{"rank": 1, "n0": 1.0, "n1": n}] for n in (1.0, None, 16777216.0, math.inf, math.nan)]
    fields = [("rank", pa.int32()), ("n0", pa.float32()), ("n1", pa.float32())]
    block = decode_block(pa.array(rows, type=pa.list_(pa.struct(fields))), layout)
    # FLOAT does not tell 2^24 + 1 from 2^24, nor 2^128 from infinity.
    assert block.categories[:, 0].tolist() == [2, 0, 3, 1, 0]


@pytest.mark.parametrize("seeds", [0, 1, 40])
def test_graph_inputs_lead_back_to_the_rows(seeds: int) -> None:
    block = decode_block(arrow(make_rows(np.random.default_rng(seeds), seeds)), LAYOUT)
    inputs = graph_inputs([block, block], [LAYOUT, LAYOUT])
    assert [table.table for table in tables_of([LAYOUT])] == ["a", "b"]
    assert inputs.text_ids[0] == 0 and len(np.unique(inputs.text_ids)) == len(inputs.text_ids)
    own, parent = inputs.tables
    for positions, slots in zip(inputs.rows, inputs.slots, strict=True):
        np.testing.assert_array_equal(slots, block.slot)
        np.testing.assert_array_equal(positions[1] > 0, block.numbers[:, 3] > 0.5)
        for i, (mine, other) in enumerate(positions.T):
            np.testing.assert_array_equal(own.numbers[mine - 1], block.numbers[i, 1:3])
            np.testing.assert_array_equal(own.categories[mine - 1], block.categories[i])
            assert inputs.text_ids[own.texts[mine - 1]] == block.texts[i, 0]
            if other:
                np.testing.assert_array_equal(parent.numbers[other - 1], block.numbers[i, 4:])
                assert inputs.text_ids[parent.texts[other - 1]] == block.texts[i, 1]
    # A looked-up row is there once, however many rows of a path point at it.
    for start in range(0, len(parent.texts), max(1, len(parent.texts) // 2)):
        half = parent.texts[start : start + len(parent.texts) // 2]
        assert len(np.unique(half)) == len(half)


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
