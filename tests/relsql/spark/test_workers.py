"""Texts that Spark passes get the numbers that the scorer reads; functions can be pickled."""

from __future__ import annotations

import pickle

import pyarrow as pa

from relsql.gather.layout import BlockLayout, Segment
from relsql.gather.node_inputs import CategoryInput, NodeInputs
from relsql.gather.sql.query import TEXT_OF_CODES
from relsql.spark.workers import ScoreSeeds, SendMessages, ShippedModel, numbered_texts
from relsql.text.text_table import TextTable


def rows(*lists: list[tuple[int, str | None]] | None) -> pa.ListArray:
    listed = [
        None if x is None else [{"rank": i, "c0": code, "c1": text} for i, (code, text) in enumerate(x)] for x in lists
    ]
    return pa.array(listed, pa.list_(pa.struct([("rank", pa.int32()), ("c0", pa.int32()), ("c1", pa.large_string())])))


def test_texts_are_numbered() -> None:
    inputs = NodeInputs("orders", (), (CategoryInput("note", ("a", "b")),), ("note",))
    layout = BlockLayout("orders", 4, (Segment(inputs),))
    texts = TextTable(2)
    column = rows([(0, "skipped")], None, [(1, ""), (0, "<table>x"), (0, None)], [], [(0, "<table>x")]).slice(1)
    found = numbered_texts(column, layout, texts).to_pylist()
    assert [[row["c1"] for row in x] for x in found] == [[], [TEXT_OF_CODES, 1, 0], [], [1]]
    assert [[row["c0"] for row in x] for x in found] == [[], [1, 0, 0], [], [0]]
    assert texts.texts == ["<table>x"]


def test_lists_without_texts_are_left_as_they_are() -> None:
    layout = BlockLayout("orders", 4, (Segment(NodeInputs("orders", (), (), ())),))
    column = pa.array([[{"rank": 1, "n0": 1.0}]])
    assert numbered_texts(column, layout, TextTable(2)) is column


def test_functions_travel() -> None:
    model = ShippedModel("d", "{}", {"graph.onnx": b"x"}, ("t",), b"\0\0\0\0")
    for work in (SendMessages(model, "shops"), ScoreSeeds(model, 5, ("score",))):
        assert pickle.loads(pickle.dumps(work)) == work
