"""Messages of hubs: the message from the rows of a shared path to every seed at the hub, computed once per hub."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql.gather.arrays.blocks import Block, decode_block, newest_row_days
from relsql.gather.arrays.graph_inputs import graph_feed, graph_inputs
from relsql.gather.layout import BlockLayout
from relsql.text.text_table import TextTable
from relsql.typing import FloatArray, IntArray
from udfs.coded_texts import CodedTexts
from udfs.components import Component

MESSAGE_SQL_TYPE = "STRUCT(message BLOB, evidence INTEGER, newest_days DOUBLE)"
"""DuckDB type of a message: the bytes of the float32 vector, the number of the hub's rows, and the age of the newest in
days, infinite where the rows have no time. DuckDB 2.0.0 fails on arrays within structs that are NULL.
"""


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages of one path to a batch of seeds.

    Attributes:
        vectors: float32 [seeds, channels].
        evidence: int64 [seeds], number of rows.
        newest_days: float64 [seeds], age of the newest row; infinite without one.
    """

    vectors: FloatArray
    evidence: IntArray
    newest_days: npt.NDArray[np.float64]

    def take(self, seeds: IntArray) -> Messages:
        """The messages to the given seeds, int64 [chosen]."""
        return Messages(self.vectors[seeds], self.evidence[seeds], self.newest_days[seeds])


class HubMessages:
    """The messages along one shared path. Its methods may be called from several threads.

    Args:
        layout: layout of the path.
        component: the component that computes messages from rows.
        texts: the model's row texts.
        coded_texts: the row texts that category codes determine.
        timed: whether the rows have a time.
    """

    def __init__(
        self, layout: BlockLayout, component: Component, texts: TextTable, coded_texts: CodedTexts, *, timed: bool
    ) -> None:
        self._layout = layout
        self._component = component
        self._texts = texts
        self._coded_texts = coded_texts
        self._timed = timed
        self._empty_message = self._vectors(_no_rows(layout))

    def send(self, hubs: pa.Array) -> pa.Array:
        """Compute messages of hubs: from gathered STRUCT(hub, rows, counts) to MESSAGE_SQL_TYPE.

        Rows with the same `hub`, a hash of the hub's key and as_of, are the same rows: a scalar call gathers a hub once
        for each seed that shares it. Among the 2,048 rows of a call, two hubs share a hash once in 10^13 calls.
        """
        if isinstance(hubs, pa.ChunkedArray):
            hubs = hubs.combine_chunks()
        _, first, position = np.unique(np.asarray(hubs.field("hub")), return_index=True, return_inverse=True)
        hubs = hubs.take(pa.array(first))
        block = decode_block(hubs.field("rows"), self._layout, hubs.field("counts"))
        block = self._coded_texts.resolve(block, self._layout)
        vectors = self._vectors(block) if len(hubs) else self._empty_message[:0]
        newest = newest_row_days(block) if self._timed else np.full(len(hubs), np.inf)
        packed = pa.py_buffer(np.ascontiguousarray(vectors[position]))
        messages = pa.Array.from_buffers(pa.binary(4 * vectors.shape[1]), len(position), [None, packed])
        evidence = pa.array(block.counts[position].astype(np.int32))
        columns = [messages.cast(pa.binary()), evidence, pa.array(newest[position])]
        return pa.StructArray.from_arrays(columns, ["message", "evidence", "newest_days"])

    def receive(self, column: pa.StructArray) -> Messages:
        """The messages to seeds, as `send` made them; NULL, for a seed without hub, is the message of no rows."""
        no_hub = np.asarray(column.is_null())
        vectors = np.repeat(self._empty_message, len(column), axis=0)
        packed = column.field("message").filter(pa.array(~no_hub)).cast(pa.binary(4 * vectors.shape[1]))
        received = np.frombuffer(packed.buffers()[1], dtype=np.float32).reshape(-1, vectors.shape[1])
        vectors[~no_hub] = received[: len(packed)]
        evidence = np.asarray(column.field("evidence").fill_null(0), dtype=np.int64)
        newest = np.asarray(column.field("newest_days").fill_null(np.inf))
        return Messages(vectors, np.where(no_hub, 0, evidence), np.where(no_hub, np.inf, newest))

    def _vectors(self, block: Block) -> FloatArray:
        inputs = graph_inputs([block], [self._layout], in_order=False)
        return self._component(graph_feed(inputs, [self._layout], self._texts.embeddings(inputs.text_ids)))


def _no_rows(layout: BlockLayout) -> Block:
    """The block of one hub without rows."""
    empty = np.zeros(0, dtype=np.int64)
    return Block(
        np.zeros((0, layout.numbers_width), dtype=np.float32),
        np.zeros((0, layout.categories_width), dtype=np.int64),
        np.zeros((0, layout.texts_width), dtype=np.int64),
        empty,
        np.zeros(1, dtype=np.int64),
        np.zeros((1, layout.counts_width), dtype=np.float32),
    )
