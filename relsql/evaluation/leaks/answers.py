"""What seeds read in a copy of the database and how they are scored; and which seeds differ between two copies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql.database.names import unique_name
from relsql.evaluation.leaks.subject import Subject
from relsql.gather.arrays.blocks import Block, SeedSet
from relsql.gather.arrays.labelled_seeds import gather_seeds
from relsql.gather.layout import BlockLayout
from relsql.gather.sql.latest_rows import LatestRows
from relsql.gather.sql.query import Gather
from relsql.registry.cards.card import ModelCard
from relsql.registry.function_names import full_name, predict_name
from relsql.schema.entity_keys import key_arguments_sql
from relsql.sql_text import ident
from relsql.text.text_table import TextTable
from udfs.attach import attach_model
from udfs.functions import create_arrow_function

MOST_SCORED = 8
"""Seeds that are scored at each moment, each alone."""

Arrays = tuple[npt.NDArray[np.generic], ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """The seeds that differ, and the largest difference of a number; None if one of them has no size."""

    changed: int
    largest: float | None


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads seeds on a cursor. A text has the same number in all copies."""

    cursor: duckdb.DuckDBPyConnection
    subject: Subject
    text_function: str

    def features(self, catalog: str, seeds: pa.Table) -> dict[int, Arrays]:
        """All arrays that network and trees get for each seed whose entity exists at as_of, by the seed's position."""
        if not seeds.num_rows:
            return {}
        return _by_seed(self.gathered(catalog, seeds), self.subject.layouts)

    def gathered(self, catalog: str, seeds: pa.Table) -> SeedSet:
        """The rows of seeds, at least one, in a database."""
        rows = LatestRows(self.subject.plan, catalog, visible=self.subject.task.visible)
        return gather_seeds(self.cursor, Gather(rows, self.text_function), self.subject.layouts, seeds)

    def scores(self, catalog: str, tables_from: str, seeds: pa.Table) -> dict[int, Arrays]:
        """The scores of an even sample of seeds by the model, by position; empty if there is no model.

        Each seed is scored alone, because the last bits of a score depend on what is scored with it. That takes time.
        Scores depend only on features, which are compared for all seeds, so `MOST_SCORED` of them are enough.
        """
        card = self.subject.card
        if card is None:
            return {}
        attach_model(self.cursor, catalog, card, tables_from=tables_from)
        scores: dict[int, Arrays] = {}
        for position in range(0, seeds.num_rows, max(1, -(-seeds.num_rows // MOST_SCORED))):
            relation = unique_name("relsql_seed")
            self.cursor.register(relation, seeds.slice(position, 1))
            try:
                [(score,)] = self.cursor.execute(f"SELECT {_score_sql(card)} FROM {relation}").fetchall()
            finally:
                self.cursor.unregister(relation)
            scores[position] = (np.array(np.nan if score is None else score, dtype=np.float64, ndmin=1),)
        return scores


def _score_sql(card: ModelCard) -> str:
    """The score of a row (entity, as_of): a number, or the probabilities of all classes."""
    arguments = f"{key_arguments_sql(card.entity, 'entity')}, as_of := as_of"
    if card.classes:
        return f"map_values({ident(full_name(card.name))}({arguments}).probabilities)"
    return f"{ident(predict_name(card.name))}({arguments})"


@contextmanager
def reader(cursor: duckdb.DuckDBPyConnection, subject: Subject) -> Iterator[Reader]:
    """A reader on a cursor; the function that numbers texts exists during the block."""
    function = unique_name("relsql_text")
    create_arrow_function(cursor, function, TextTable(0).ids, ["VARCHAR"], "INTEGER")
    try:
        yield Reader(cursor, subject, function)
    finally:
        cursor.remove_function(function)


def compare(before: Mapping[Any, Arrays], after: Mapping[Any, Arrays]) -> Difference:
    """The seeds whose arrays are not equal to the bit."""
    sizes: list[float | None] = []
    for seed in before.keys() | after.keys():
        one, other = before.get(seed), after.get(seed)
        if one is None or other is None:
            sizes.append(None)
        elif any(not _same(*pair) for pair in zip(one, other, strict=True)):
            sizes.append(_size(one, other))
    known = [size for size in sizes if size is not None]
    return Difference(len(sizes), max(known) if known else None if sizes else 0.0)


def _by_seed(gathered: SeedSet, layouts: Sequence[BlockLayout]) -> dict[int, Arrays]:
    # The labels of seeds are their positions, because seeds without an entity have been left out.
    found: dict[int, Arrays] = {}
    starts = [block.row_starts() for block in gathered.blocks]
    for i, position in enumerate(gathered.labels.astype(int)):
        arrays: list[npt.NDArray[np.generic]] = []
        for block, start, layout in zip(gathered.blocks, starts, layouts, strict=True):
            arrays += _arrays(block.take(np.array([i]), start, layout.fanout))
        found[int(position)] = tuple(arrays)
    return found


def _arrays(block: Block) -> list[npt.NDArray[np.generic]]:
    return [block.numbers, block.totals, block.categories, block.texts, block.slot]


def _same(one: npt.NDArray[np.generic], other: npt.NDArray[np.generic]) -> bool:
    return one.shape == other.shape and one.tobytes() == other.tobytes()


def _size(one: Arrays, other: Arrays) -> float | None:
    """The largest difference of two numbers at the same place; None if only codes, texts or missing values differ."""
    largest = 0.0
    for mine, theirs in zip(one, other, strict=True):
        if mine.dtype.kind == "f" and mine.shape == theirs.shape and mine.size:
            with np.errstate(invalid="ignore"):
                apart = np.abs(mine.astype(np.float64) - theirs.astype(np.float64))
            known = apart[np.isfinite(apart)]
            largest = max(largest, float(known.max(initial=0.0)))
    return largest or None
