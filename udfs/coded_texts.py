"""Texts that are determined by the category codes of a row: for such rows the gather query passes no text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from relsql.gather.arrays.blocks import Block, segment_parts
from relsql.gather.layout import BlockLayout
from relsql.gather.node_inputs import NodeInputs
from relsql.gather.sql.query import TEXT_OF_CODES
from relsql.schema.tables import Schema, Table
from relsql.text.row_text_sql import row_text
from relsql.text.text_table import TextTable
from relsql.typing import IntArray


class CodedTexts:
    """Ids of the texts that category codes determine. All methods may be called from several threads.

    Args:
        schema: a schema with the tables that are read.
        inputs: the node inputs of the tables.
        texts: the model's row texts; a text is added when the first row has it.
    """

    def __init__(self, schema: Schema, inputs: Sequence[NodeInputs], texts: TextTable) -> None:
        self._tables = {x.table: _TableTexts(schema.table(x.table), x, texts) for x in inputs if x.text_codes}

    def resolve(self, block: Block, layout: BlockLayout) -> Block:
        """The block with the ids of texts where the gather query gave `TEXT_OF_CODES`."""
        found, position = block.texts, 0
        for segment, (_, categories, _) in zip(layout.segments, segment_parts(block, layout), strict=True):
            table = self._tables.get(segment.inputs.table)
            if table and (coded := found[:, position] == TEXT_OF_CODES).any():
                # Copied, because other readers may share the arrays of a block.
                found = found.copy() if found is block.texts else found
                found[coded, position] = table.ids(categories[coded])
            position += segment.has_text
        return block if found is block.texts else replace(block, texts=found)


class _TableTexts:
    """The texts of one table's rows by category codes."""

    def __init__(self, table: Table, inputs: NodeInputs, texts: TextTable) -> None:
        self._table = table
        self._columns = inputs.text_columns
        self._positions = inputs.text_codes
        self._values = [inputs.categories[position].values for position in inputs.text_codes]
        self._shape = tuple(map(len, self._values))
        self._texts = texts
        self._ids = np.full(math.prod(self._shape), -1, dtype=np.int64)

    def ids(self, categories: IntArray) -> IntArray:
        """Ids of rows' texts, int64 [n], from codes, int64 [n, categories], none of which is 0 in a text column."""
        combined = np.ravel_multi_index(tuple(categories[:, p] - 1 for p in self._positions), self._shape)
        found: IntArray = self._ids[combined]
        # The text table forgets its oldest texts. Their ids are requested again here, long before they become invalid.
        unknown = found < self._texts.oldest_id
        if unknown.any():
            missing = np.unique(combined[unknown])
            self._ids[missing] = np.asarray(self._texts.ids(pa.array([self._text(i) for i in missing], pa.string())))
            found = self._ids[combined]
        return found

    def _text(self, combined: int) -> str:
        codes = np.unravel_index(combined, self._shape)
        values = [values[code] for values, code in zip(self._values, codes, strict=True)]
        return row_text(self._table, self._columns, values)
