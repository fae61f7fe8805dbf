from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from relsql.gather.arrays.blocks import (
    Block,
    concat_blocks,
    decode_block,
    decode_blocks,
    existing_seeds,
    newest_evidence_days,
)
from relsql.gather.layout import BlockLayout, Segment, category_count, category_sizes
from relsql.gather.node_inputs import CategoryInput, NodeInputs, NumberInput
from relsql.gather.paths import Path
from relsql.schema.tables import Column, Link, Schema, Table
from relsql.typing import IntArray

INTEGERS = (3.0, -1.0, 7.0)
OWN = NodeInputs(
    "a",
    (NumberInput("age", "age"), NumberInput("n", "number", INTEGERS)),
    (CategoryInput("c", ("x", "y")),),
    ("c",),
)
PARENT = NodeInputs("b", (NumberInput("m", "number"),), (), ("t",))
LINK = Link("a", ("b",), "b", ("id",))
LAYOUT = BlockLayout("rows", 3, (Segment(OWN), Segment(PARENT, LINK)), 2)


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


def make_totals(column: list[list[dict[str, Any]] | None]) -> list[dict[str, int] | None]:
    """Counts of each seed, None where it has no rows."""
    return [{"w0": len(rows) + 10 * i, "w1": i % 3} if rows else None for i, rows in enumerate(column)]


def arrow_totals(totals: list[dict[str, int] | None]) -> pa.Array:
    return pa.array(totals, type=pa.struct([("w0", pa.int64()), ("w1", pa.int64())]))


def decoded(column: list[list[dict[str, Any]] | None]) -> Block:
    return decode_block(arrow(column), LAYOUT, arrow_totals(make_totals(column)))


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
    for name in ("numbers", "categories", "texts", "slot", "counts", "totals"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype and a.shape == b.shape, name
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seeds", [0, 1, 40])
def test_decoding_equals_python(seeds: int) -> None:
    column = make_rows(np.random.default_rng(seeds), seeds)
    block = decoded(column)
    assert as_lists(block, LAYOUT.fanout) == expected(column)
    # Whatever the order of a list, rows come by seed and rank.
    assert (np.diff(block.slot) > 0).all()
    assert (block.numbers.dtype, block.categories.dtype, block.totals.dtype) == (np.float32, np.int64, np.float32)
    assert block.numbers.shape[1:] == (5,) and block.categories.shape[1:] == (2,) and block.texts.shape[1:] == (2,)
    totals = [[0, 0] if total is None else list(total.values()) for total in make_totals(column)]
    assert block.totals.shape == (seeds, 2) and block.totals.tolist() == totals


def test_seeds_without_any_row() -> None:
    block = decoded([None, None, []])
    assert block.numbers.shape == (0, 5) and block.counts.tolist() == [0, 0, 0]
    assert block.totals.tolist() == [[0, 0]] * 3


def test_sliced_and_chunked_columns() -> None:
    column = make_rows(np.random.default_rng(1), 30)
    whole, totals = arrow(column), arrow_totals(make_totals(column))
    middle = decode_block(whole[7:23], LAYOUT, totals[7:23])
    assert as_lists(middle, 3) == expected(column[7:23])
    np.testing.assert_array_equal(middle.totals, decoded(column).totals[7:23])
    chunks = pa.chunked_array([whole[:5], whole[5:5], whole[5:18], whole[18:]])
    chunked_totals = pa.chunked_array([totals[:11], totals[11:]])
    assert_equal(decode_block(chunks, LAYOUT, chunked_totals), decoded(column))
    assert as_lists(decode_block(chunks[3:21], LAYOUT), 3) == expected(column[3:21])
    none = decode_block(pa.chunked_array([], type=whole.type), LAYOUT, pa.chunked_array([], type=totals.type))
    assert none.counts.shape == (0,) and none.totals.shape == (0, 2)


def test_rows_behind_a_null_are_not_read() -> None:
    # Arrow may keep values under a NULL list or struct; they belong to nobody.
    whole = arrow([[row] for row in [r[0] for r in make_rows(np.random.default_rng(5), 20) if r][:3]])
    mask = pa.array([False, True, False])
    hidden = pa.ListArray.from_arrays(whole.offsets, whole.values, mask=mask)
    totals = pa.StructArray.from_arrays([pa.array([1, 2, 3]), pa.array([4, 5, 6])], names=["w0", "w1"], mask=mask)
    block = decode_block(hidden, LAYOUT, totals)
    assert as_lists(block, 3) == expected([whole[0].as_py(), None, whole[2].as_py()])
    assert block.totals.tolist() == [[1, 4], [0, 0], [3, 6]]


def test_blocks_of_a_query(con: duckdb.DuckDBPyConnection) -> None:
    column = make_rows(np.random.default_rng(2), 30)
    single = BlockLayout("one", 3, LAYOUT.segments)
    con.register("source", pa.table({"x": arrow(column), "t": arrow_totals(make_totals(column))}))
    rows = f"CAST(x AS {LAYOUT.arrow_type()})"
    query = f"SELECT {rows} AS rows, CAST(t AS {LAYOUT.counts_type()}) AS rows__counts, {rows} AS one FROM source"
    found = decode_blocks(con.sql(query).to_arrow_table().column, [LAYOUT, single])
    assert_equal(found[0], decoded(column))
    # A path without counts asks for no column of them.
    assert_equal(found[1], decode_block(arrow(column), single))
    assert found[1].totals.shape == (30, 0)


def test_take_equals_slicing() -> None:
    column = make_rows(np.random.default_rng(3), 30)
    block = decoded(column)
    chosen: IntArray
    for chosen in (np.arange(30), np.array([4, 2, 2, 29, 0]), np.array([], dtype=np.int64)):
        part = block.take(chosen, block.row_starts(), LAYOUT.fanout)
        assert as_lists(part, LAYOUT.fanout) == expected([column[i] for i in chosen])
        np.testing.assert_array_equal(part.totals, block.totals[chosen])


def test_concat_undoes_a_split() -> None:
    column = make_rows(np.random.default_rng(4), 30)
    whole, totals = arrow(column), arrow_totals(make_totals(column))
    parts = [decode_block(whole[a:b], LAYOUT, totals[a:b]) for a, b in ((0, 11), (11, 11), (11, 29), (29, 30))]
    assert_equal(concat_blocks(parts, LAYOUT.fanout), decoded(column))
    assert_equal(concat_blocks(parts[:1], LAYOUT.fanout), parts[0])


def test_seeds_without_an_entity_are_left_out_of_every_path() -> None:
    column = make_rows(np.random.default_rng(6), 30)
    entities = [rows and rows[:1] for rows in column]
    kept = [i for i, rows in enumerate(entities) if rows]
    assert 0 < len(kept) < 30
    other = make_rows(np.random.default_rng(7), 30)
    blocks, known = existing_seeds([decoded(entities), decoded(other)], [LAYOUT, LAYOUT])
    assert known.tolist() == kept
    assert as_lists(blocks[1], LAYOUT.fanout) == expected([other[i] for i in kept])
    np.testing.assert_array_equal(blocks[1].totals, decoded(other).totals[kept])


def test_newest_evidence_is_the_youngest_row_of_known_age() -> None:
    column = make_rows(np.random.default_rng(8), 30)
    entity = BlockLayout("entity", 1, (Segment(PARENT),))
    entities = decode_block(pa.array([[{"rank": 1, "n0": 1.0, "n1": 0.0, "c0": 0}]] * 30), entity)
    time = (Column("age", "TIMESTAMP"),)
    schema = Schema({"a": Table("a", time, time_column="age"), "b": Table("b", ())})
    paths = [Path("entity", "entity", "b", (), 1, ()), Path("rows", "children", "a", (LINK,), 3, ())]
    ages = [[row["n1"] for row in rows or [] if row["n1"] is not None] for rows in column]
    found = newest_evidence_days([entities, decoded(column)], paths, schema)
    assert found.tolist() == [min(known, default=math.inf) for known in ages] and [] in ages
    untimed = Schema({key: replace(table, time_column=None) for key, table in schema.tables.items()})
    assert set(newest_evidence_days([entities, decoded(column)], paths, untimed).tolist()) == {math.inf}


def test_category_sizes_count_the_unknown() -> None:
    assert (category_count(OWN), category_sizes(OWN)) == (2, (3, 4))
    assert (category_count(PARENT), category_sizes(PARENT)) == (0, ())
    assert (LAYOUT.numbers_width, LAYOUT.codes_width, LAYOUT.categories_width, LAYOUT.texts_width) == (5, 3, 2, 2)
    assert LAYOUT.ages_width == 1


def test_integer_categories_beyond_float_do_not_fail() -> None:
    inputs = NodeInputs("a", (NumberInput("n", "number", (float(2**128 - 1), 1.0, 16777217.0)),), (), ())
    layout = BlockLayout("rows", 1, (Segment(inputs),))
    rows = [[{"rank": 1, "n0": 1.0, "n1": n}] for n in (1.0, None, 16777216.0, math.inf, math.nan)]
    fields = [("rank", pa.int32()), ("n0", pa.float32()), ("n1", pa.float32())]
    block = decode_block(pa.array(rows, type=pa.list_(pa.struct(fields))), layout)
    # FLOAT does not tell 2^24 + 1 from 2^24, nor 2^128 from infinity.
    assert block.categories[:, 0].tolist() == [2, 0, 3, 1, 0]
