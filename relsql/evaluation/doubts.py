"""What is doubtful about metrics: labels that a model was trained on, and columns that alone predict the labels."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa

from relsql.database.names import unique_name
from relsql.evaluation.copied_labels import MAX_SEEDS, copied_labels
from relsql.gather.arrays.labelled_seeds import gather_seeds
from relsql.gather.layout import layouts_of
from relsql.gather.sql.latest_rows import LatestRows
from relsql.gather.sql.query import Gather
from relsql.registry.cards.card import ModelCard
from relsql.schema.finding import Finding
from relsql.tasks.regime import Regime, ended_labels, split_end
from relsql.tasks.splits import Split
from udfs.functions import create_arrow_function


def trained_on(card: ModelCard, split: Split) -> Iterator[Finding]:
    """The finding that a model has seen the labels that it is evaluated on."""
    if split == "test":
        return
    what = "was trained on the train labels"
    if split == "val":
        refitted = card.options.get("refit", True)
        what = "was trained again on the val labels" if refitted else "was chosen and calibrated by the val labels"
    text = f"{what}, so these metrics are too good; those of the test labels are not: --split test"
    if split == "val":
        text += "; train prints those of the val labels before they are trained on"
    yield Finding("warning", f"model {card.name} version {card.version}", text)


def copied_in_split(
    con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, labels: pa.Table, split: Split, regime: Regime
) -> tuple[Finding, ...]:
    """The findings about columns that the model reads and that alone predict the labels of a split.

    Args:
        con: connection to the data; its state is not changed.
        catalog: database that holds the tables.
        card: the model's card.
        labels: the labels of the split, sorted by time.
        split: its name.
        regime: how old the data of a label may be.
    """
    latest = labels.slice(max(0, labels.num_rows - MAX_SEEDS))
    end = split_end(card.task, split) if regime == "frozen" else None
    if end is not None:
        latest = ended_labels(latest, end)
    layouts = layouts_of(card.paths, card.inputs)
    function = unique_name("relsql_text")
    with con.cursor() as cursor:
        # Texts are not compared with labels.
        create_arrow_function(
            cursor, function, lambda texts: pa.array(np.zeros(len(texts), dtype=np.int32)), ["VARCHAR"], "INTEGER"
        )
        try:
            gather = Gather(LatestRows(card.rows, catalog, visible=card.task.visible), function)
            seeds = gather_seeds(cursor, gather, layouts, latest)
        finally:
            cursor.remove_function(function)
    return copied_labels(card.task, card.schema, layouts, seeds, split)
