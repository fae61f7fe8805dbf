"""The states of seeds from gathered rows: the graph component, beside those that compute messages apart."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql.gather.arrays.blocks import Block, decode_blocks, existing_seeds, newest_evidence_days
from relsql.gather.arrays.graph_inputs import graph_feed, graph_inputs, message_input_name, path_component
from relsql.gather.layout import layouts_of
from relsql.registry.cards.card import ModelCard
from relsql.text.text_table import TextTable
from relsql.typing import FloatArray, IntArray
from udfs.coded_texts import CodedTexts
from udfs.components import Component
from udfs.hub_messages import HubMessages, Messages


class States:
    """States, and the evidence that they rest on. All methods may be called from several threads.

    Args:
        card: the model's card.
        name: the component that makes states of rows and messages.
        apart: the paths whose messages are computed by components of their own.
        component: loads a component by its name.
        texts: the model's row texts.
        coded_texts: the row texts that category codes determine.
        known: messages of paths that are computed already, by path.
    """

    def __init__(
        self,
        card: ModelCard,
        name: str,
        apart: Collection[str],
        component: Callable[[str], Component],
        texts: TextTable,
        coded_texts: CodedTexts,
        known: Mapping[str, HubMessages] | None = None,
    ) -> None:
        self._card = card
        self._texts = texts
        self._coded_texts = coded_texts
        self._graph = component(name)
        layouts, plan = layouts_of(card.paths, card.inputs), card.rows
        self.messages = dict(known or {})
        for path, layout in zip(card.paths, layouts, strict=True):
            if path.name in apart and path.name not in self.messages:
                of_path = component(path_component(path.name))
                self.messages[path.name] = HubMessages(layout, of_path, texts, coded_texts, timed=plan.timed(path))
        self._paths = [path for path in card.paths if path.name not in apart]
        self._layouts = tuple(layout for layout in layouts if layout.name not in apart)
        self._evidence_paths = plan.evidence_paths()

    def blocks(self, rows: pa.StructArray) -> tuple[list[Block], IntArray]:
        """The rows of the seeds whose entity exists, and the positions of these seeds."""
        blocks = decode_blocks(rows.field, self._layouts)
        blocks = [self._coded_texts.resolve(block, x) for block, x in zip(blocks, self._layouts, strict=True)]
        return existing_seeds(blocks, self._layouts)

    def received(self, rows: pa.StructArray, known: IntArray) -> dict[str, Messages]:
        """The messages that the seeds at some positions have received, by path."""
        return {name: messages.receive(rows.field(name)).take(known) for name, messages in self.messages.items()}

    def states(self, blocks: list[Block], received: Mapping[str, Messages]) -> FloatArray:
        """The states of seeds, float32 [n, state_width]: channels, then the statistics that the trees read."""
        inputs = graph_inputs(blocks, self._layouts, in_order=False)
        feed = graph_feed(inputs, self._layouts, self._texts.embeddings(inputs.text_ids))
        feed |= {message_input_name(name): messages.vectors for name, messages in received.items()}
        return self._graph(feed)

    def evidence(
        self, blocks: list[Block], received: Mapping[str, Messages]
    ) -> tuple[IntArray, npt.NDArray[np.object_]]:
        """The number of rows of each seed that are evidence, and its status."""
        counts = {path.name: block.counts for path, block in zip(self._paths, blocks, strict=True)}
        counts |= {name: messages.evidence for name, messages in received.items()}
        evidence = np.zeros(len(blocks[0].counts), dtype=np.int64)
        for path in self._evidence_paths:
            evidence += counts[path.name]
        status = np.full(len(evidence), "ok", dtype=object)
        if self._card.stale_after_days is not None:
            newest_days = newest_evidence_days(blocks, self._paths, self._card.schema)
            for messages in received.values():
                newest_days = np.fmin(newest_days, messages.newest_days)
            status[newest_days > self._card.stale_after_days] = "stale"
        status[evidence == 0] = "no_history"
        return evidence, status
