"""What runs on the executors: the scorer that DuckDB calls too, on batches of Arrow rows.

Functions are pickled with all that they need and sent to the workers; a worker builds the scorer once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute

from relsql.gather.layout import BlockLayout, counts_name, layouts_of
from relsql.gather.sql.query import TEXT_OF_CODES as ID_OF_CODES
from relsql.registry.cards.card import ModelCard
from relsql.registry.cards.reading import read_card_text
from relsql.spark.dialect import TEXT_OF_CODES
from relsql.spark.rows import AS_OF, key_name
from relsql.text.text_table import TextTable
from udfs.scorer import Scorer

SEEDS = 2_048
"""Seeds that are scored together, as many as DuckDB passes."""

_scorers: dict[str, Scorer] = {}
"""The scorers of this process, by `ShippedModel.digest`."""


@dataclass(frozen=True, slots=True)
class ShippedModel:
    """A model as it travels to the workers.

    Attributes:
        digest: identifies the model.
        card: its card as JSON.
        artifacts: its components by name.
        texts, embeddings: row texts and their embeddings, the bytes of float32 [n, width]; others are computed.
    """

    digest: str
    card: str = field(repr=False)
    artifacts: Mapping[str, bytes] = field(repr=False)
    texts: tuple[str, ...] = field(repr=False)
    embeddings: bytes = field(repr=False)

    def scorer(self) -> Scorer:
        """The scorer of this process."""
        found = _scorers.get(self.digest)
        if found is None:
            found = Scorer(read_card_text(self.card), self.artifacts)
            vectors = np.frombuffer(self.embeddings, dtype=np.float32)
            found.texts.add(self.texts, vectors.reshape(len(self.texts), found.texts.width))
            _scorers[self.digest] = found
        return found


@dataclass(frozen=True, slots=True)
class SendMessages:
    """The messages of hubs of a shared path, in place of their `rows` and `counts`."""

    model: ShippedModel
    path: str

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Compute the messages of one batch of hubs after another."""
        scorer = self.model.scorer()
        layout = _layouts(scorer.card)[self.path]
        for batch in _parts(batches):
            rows = numbered_texts(batch.column("rows"), layout, scorer.texts)
            hubs = pa.StructArray.from_arrays(
                [pa.array(np.arange(len(batch))), rows, batch.column("counts")], ["hub", "rows", "counts"]
            )
            kept = {name: batch.column(name) for name in batch.schema.names if name.startswith("__")}
            yield pa.RecordBatch.from_pydict({**kept, "message": scorer.hubs[self.path].send(hubs)})


@dataclass(frozen=True, slots=True)
class ScoreSeeds:
    """The scores of gathered seeds.

    Attributes:
        model: the model.
        as_of: the moment of all seeds, in microseconds; None: each has its own.
        columns: the columns of results, see `udfs.scorer.result_type`.
    """

    model: ShippedModel
    as_of: int | None
    columns: tuple[str, ...]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Score one batch of seeds after another."""
        scorer = self.model.scorer()
        layouts = _layouts(scorer.card)
        for batch in _parts(batches):
            scores = scorer.score(self._rows(batch, scorer, layouts))
            keys = scorer.card.entity.primary_key
            columns = [batch.column(key_name(i)) for i in range(len(keys))] + [scores.field(c) for c in self.columns]
            yield pa.RecordBatch.from_arrays(columns, [*keys, *self.columns])

    def _rows(self, batch: pa.RecordBatch, scorer: Scorer, layouts: Mapping[str, BlockLayout]) -> pa.StructArray:
        """A batch of the gather query as the argument of `Scorer.score`."""
        as_of = batch.column(AS_OF) if self.as_of is None else pa.repeat(pa.scalar(self.as_of, pa.int64()), len(batch))
        columns = {"as_of": as_of.cast(pa.timestamp("us")), "seed_order": pa.nulls(len(batch), pa.uint64())}
        for path in scorer.card.paths:
            column = batch.column(path.name)
            if path.shared:
                columns[path.name] = column
                continue
            columns[path.name] = numbered_texts(column, layouts[path.name], scorer.texts)
            if path.counted:
                columns[counts_name(path.name)] = batch.column(counts_name(path.name))
        return pa.StructArray.from_arrays(list(columns.values()), list(columns))


def _parts(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Batches of at most `SEEDS` rows."""
    for batch in batches:
        for start in range(0, len(batch), SEEDS):
            yield batch.slice(start, SEEDS)


def _layouts(card: ModelCard) -> dict[str, BlockLayout]:
    return {layout.name: layout for layout in layouts_of(card.paths, card.inputs)}


def numbered_texts(column: pa.ListArray, layout: BlockLayout, texts: TextTable) -> pa.ListArray:
    """A path's lists with the ids of texts instead of texts."""
    positions = _text_fields(layout)
    if not positions:
        return column
    lengths = np.asarray(pa.compute.list_value_length(column).fill_null(0), dtype=np.int64)
    rows = column.flatten()
    fields = {field.name: rows.field(field.name) for field in rows.type}
    for name in positions:
        fields[name] = _ids(fields[name].cast(pa.string()), texts)
    numbered = pa.StructArray.from_arrays(list(fields.values()), list(fields))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), numbered)


def _text_fields(layout: BlockLayout) -> list[str]:
    """The fields of a row that are texts: the last code of each segment with text."""
    found, position = [], 0
    for segment in layout.segments:
        position += segment.codes_width
        found += [f"c{position - 1}"] if segment.has_text else []
    return found


def _ids(column: pa.StringArray, texts: TextTable) -> pa.Array:
    coded = pa.compute.equal(column, TEXT_OF_CODES).fill_null(False)
    ids = texts.ids(pa.compute.if_else(coded, None, column))
    return pa.compute.if_else(coded, pa.scalar(ID_OF_CODES, pa.int32()), ids)
