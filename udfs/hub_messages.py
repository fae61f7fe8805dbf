"""Messages of hubs: the message from the rows of a shared path to every seed at the hub, computed once per hub."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from relsql.gather.arrays.blocks import Block, decode_block, newest_row_days
from relsql.gather.arrays.graph_inputs import GraphInputs, graph_feed, graph_inputs
from relsql.gather.arrays.left_rows import LeftRows
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
        return _packed(Messages(vectors, block.counts, newest).take(position))

    def send_left(self, rows: LeftRows, keys: pa.Array) -> pa.Array:
        """Compute messages to groups that leave something out, see `relsql.gather.sql.removals.messages`.

        From STRUCT(rows, left_groups), one for each key, to lists of MESSAGE_SQL_TYPE, one for each group.
        """
        keys = keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys
        sent = [
            Messages(self._computed(batch.inputs), batch.evidence, batch.newest_days)
            for batch in rows.batches(keys, lambda block: self._coded_texts.resolve(block, self._layout))
        ]
        sent = sent or [Messages(self._empty_message[:0], np.zeros(0, dtype=np.int64), np.zeros(0))]
        parts = ([getattr(batch, name) for batch in sent] for name in ("vectors", "evidence", "newest_days"))
        groups = pa.compute.list_value_length(keys.field("left_groups")).fill_null(0)
        ends = np.concatenate([[0], np.cumsum(np.asarray(groups))]).astype(np.int32)
        return pa.ListArray.from_arrays(ends, _packed(Messages(*map(np.concatenate, parts))))

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
        return self._computed(graph_inputs([block], [self._layout], in_order=False))

    def _computed(self, inputs: GraphInputs) -> FloatArray:
        return self._component(graph_feed(inputs, [self._layout], self._texts.embeddings(inputs.text_ids)))


def _packed(messages: Messages) -> pa.StructArray:
    """Messages as MESSAGE_SQL_TYPE."""
    vectors = np.ascontiguousarray(messages.vectors)
    width = pa.binary(vectors.itemsize * vectors.shape[1])
    packed = pa.Array.from_buffers(width, len(vectors), [None, pa.py_buffer(vectors)]).cast(pa.binary())
    columns = [packed, pa.array(messages.evidence.astype(np.int32)), pa.array(messages.newest_days)]
    return pa.StructArray.from_arrays(columns, ["message", "evidence", "newest_days"])


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
