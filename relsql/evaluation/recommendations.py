"""Evaluate a recommendation by the query that users call, and compare it with rankings that need no model."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import numpy as np
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


def recommendation_metrics(
    con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, labels: pa.Table, split: Split
) -> tuple[dict[str, dict[str, float]], int]:
    """The metrics of a model and of its baselines on labels.

    Args:
        con: a connection to the database; functions are created on a cursor of it.
        catalog: its name.
        card: the model's card.
        labels: the labels of a split, in the form of `relsql.tasks.labels.label_table.LabelTable.table`.
        split: its name, for messages.

    Returns:
        The metrics by ranking, `model` first, and the number of labels that were judged. Labels of entities that are
        not visible at their as_of are left out.

    Raises:
        TaskError: no labelled entity is visible at its as_of.
    """
    ranking, k = card.ranking, card.task.k or 0
    scores = {MODEL: ranking.scores["score"], **{name: sql.format("c") for name, sql in BASELINES.items()}}
    with con.cursor() as cursor:
        ranked = {
            name: _ranked(cursor, catalog, replace(ranking, scores={name: sql}), labels, k)
            for name, sql in scores.items()
        }
    known = pc.is_valid(ranked[MODEL])
    if not pc.any(known).as_py():
        raise TaskError(
            f"task '{card.task.name}': no entity of the {labels.num_rows} {split} labels is visible at its timestamp",
            expected="entities dated before their labels",
        )
    labels = labels.filter(known)
    wanted = labels.column("label").to_pylist()
    counts = np.array([len(items) for items in wanted], dtype=np.int64)
    items = one_row(con, f"SELECT count(*) FROM {relation_sql(ranking.candidates.items, catalog)}")[0]
    found = {}
    for name, column in ranked.items():
        lists = column.filter(known).to_pylist()
        coverage = len({item for each in lists for item in each}) / items
        found[name] = ranking_metrics(hits_of(lists, wanted, k), counts) | {"coverage": coverage}
    return found, labels.num_rows


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
