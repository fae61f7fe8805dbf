"""Evaluate a recommendation by the query that users call, and compare it with rankings that need no model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from relsql.database.cursors import one_row
from relsql.database.names import unique_name
from relsql.database.queries.sealed import sealed
from relsql.errors import TaskError
from relsql.evaluation.metrics.ranking_metrics import hits_of, ranking_metrics
from relsql.gather.candidates.ranker import BASELINES
from relsql.gather.candidates.ranking import OPTIONS, Ranking
from relsql.registry.cards.card import ModelCard
from relsql.schema.entity_keys import is_entity_sql
from relsql.schema.relations import relation_sql
from relsql.sql_text import literal
from relsql.tasks.splits import Split
from udfs.macros import MacroText

MODEL = "model"


@dataclass(frozen=True, slots=True)
class Recommended:
    """What rankings recommend for labels.

    Attributes:
        known: bool [labels], whether the entity of a label is visible at its as_of.
        items: by ranking, the first k items for each label that is known.
        wanted: the items of these labels.
        k: the number of items.
    """

    known: npt.NDArray[np.bool_]
    items: dict[str, list[list[object]]]
    wanted: list[list[object]]
    k: int

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """The number of items of each label that is known, int64 [known]."""
        return np.array([len(items) for items in self.wanted], dtype=np.int64)

    def hits(self, ranking: str) -> npt.NDArray[np.bool_]:
        """Which items are in the label, bool [known, k]."""
        return hits_of(self.items[ranking], self.wanted, self.k)


def recommend(
    con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, labels: pa.Table, rankings: Iterable[str]
) -> Recommended:
    """The items of some rankings, `MODEL` or those of `BASELINES`, for labels.

    Args:
        con: a connection to the database; functions are created on a cursor of it.
        catalog: its name.
        card: the model's card.
        labels: in the form of `relsql.tasks.labels.label_table.LabelTable.table`.
        rankings: the names of the rankings, at least one.
    """
    ranking, k = card.ranking, card.task.k or 0
    scores = {MODEL: ranking.scores["score"], **{name: sql.format("c") for name, sql in BASELINES.items()}}
    with con.cursor() as cursor:
        ranked = {
            name: _ranked(cursor, catalog, replace(ranking, scores={name: scores[name]}), labels, k)
            for name in rankings
        }
    # All rankings have the same candidates.
    known = pc.is_valid(next(iter(ranked.values())))
    items = {name: column.filter(known).to_pylist() for name, column in ranked.items()}
    return Recommended(np.asarray(known), items, labels.column("label").filter(known).to_pylist(), k)


def recommendation_metrics(
    con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, labels: pa.Table, split: Split
) -> tuple[dict[str, dict[str, float]], Recommended]:
    """The metrics of a model and of its baselines on labels, see `recommend`.

    Returns:
        The metrics by ranking, `model` first, and what was recommended. Labels of entities that are not visible at
        their as_of are left out.

    Raises:
        TaskError: no labelled entity is visible at its as_of.
    """
    ranked = recommend(con, catalog, card, labels, (MODEL, *BASELINES))
    if not ranked.known.any():
        raise TaskError(
            f"task '{card.task.name}': no entity of the {labels.num_rows} {split} labels is visible at its timestamp",
            expected="entities dated before their labels",
        )
    items = one_row(con, f"SELECT count(*) FROM {relation_sql(card.ranking.candidates.items, catalog)}")[0]
    found = {}
    for name, lists in ranked.items.items():
        coverage = len({item for each in lists for item in each}) / items
        found[name] = ranking_metrics(ranked.hits(name), ranked.counts) | {"coverage": coverage}
    return found, ranked


def _ranked(
    con: duckdb.DuckDBPyConnection, catalog: str, ranking: Ranking, labels: pa.Table, k: int
) -> pa.ChunkedArray:
    """The first k items for the entity of each label at its as_of; NULL for an entity that gets none.

    They are those of `predict_<model>_batch`, which is called once for each moment.
    """
    macro, given = unique_name("relsql_ranking"), unique_name("relsql_labels")
    con.execute(MacroText(macro, OPTIONS, sealed(ranking.batch_sql(catalog)), "").statement())
    con.register(given, labels.append_column("position", pa.array(np.arange(labels.num_rows))))
    same = is_entity_sql(ranking.candidates.entity, "b", "l.entity", ranking.key_names)
    items: list[list[object] | None] = [None] * labels.num_rows
    try:
        for moment in pc.unique(labels.column("as_of")).to_pylist():
            query = f"""SELECT l.position, list(b.item ORDER BY b."rank" ASC)
                        FROM {given} l JOIN {macro}(k := {k}, as_of := {literal(moment)}) b ON {same}
                        WHERE l.as_of = {literal(moment)} GROUP BY l.position"""
            for position, found in con.execute(query).fetchall():
                items[position] = found
    finally:
        con.unregister(given)
        con.execute(f"DROP MACRO TABLE {macro}")
    return pa.array(items, labels.column("label").type)
