"""The labelled seeds of a training run: which labels are used, how old their data are, and the rows that each reads."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa

from relsql.errors import TrainingError
from relsql.gather.arrays.blocks import SeedSet
from relsql.gather.arrays.labelled_seeds import gather_seeds
from relsql.gather.sql.latest_rows import LatestRows
from relsql.gather.sql.query import Gather
from relsql.registry.runs import Run
from relsql.tasks.kinds.classes import Classes, LabelSets
from relsql.tasks.labels.label_cut import MAX_TRAIN_LABELS, MAX_VALIDATION_LABELS
from relsql.tasks.labels.label_sandbox import DEFAULT_LIMITS, LabelLimits
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.regime import Regime, delayed_labels, ended_labels
from relsql.tasks.splits import Split, horizon_days
from relsql.tasks.summary import SplitSummary, distinct_labels, summarize_labels
from relsql.tasks.task import Task
from relsql.text.text_table import TextTable
from relsql.training.plan import Plan
from udfs.functions import create_arrow_function


def training_labels(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    plan: Plan,
    *,
    regime: Regime,
    density: int,
    seed: int,
    limits: LabelLimits = DEFAULT_LIMITS,
) -> dict[str, pa.Table]:
    """The labels to train on: `train`, `val` and, in the frozen regime, `closing`, the validation labels for `refit`.

    If there are too many labels, a sample is drawn, see `relsql.tasks.labels.label_cut`. A label may occur several
    times, with different ends of its data; see `summaries`.

    Args:
        con: connection to the data.
        catalog: database that holds the tables.
        plan: what the model reads.
        regime: see `relsql.tasks.regime`.
        density: training timestamps per horizon.
        seed: seed of the delays in the frozen regime.
        limits: what the label query may do.
    """

    def drawn(split: Split, at_most: int) -> pa.Table:
        database, task = plan.database, plan.task
        return label_table(con, catalog, database, task, split, density=density, at_most=at_most, limits=limits).table

    tables = {"train": drawn("train", MAX_TRAIN_LABELS), "val": drawn("val", MAX_VALIDATION_LABELS)}
    if regime == "seed-time":
        return tables
    days = horizon_days(con, plan.task)
    assert plan.task.val_timestamp is not None
    return {
        "train": delayed_labels(tables["train"], plan.task, days, seed),
        "val": ended_labels(tables["val"], plan.task.val_timestamp),
        "closing": delayed_labels(tables["val"], plan.task, days, seed),
    }


def summaries(labels: dict[str, pa.Table], task: Task) -> tuple[SplitSummary, ...]:
    """Summaries of the training and validation labels of a task, each label once."""
    splits: tuple[Split, ...] = ("train", "val")
    columns = ["entity", "as_of", "label"]
    return tuple(summarize_labels(split, distinct_labels(labels[split].select(columns)), task) for split in splits)


def gather_labels(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    plan: Plan,
    labels: dict[str, pa.Table],
    run: Run,
    classes: Classes | LabelSets | None = None,
) -> tuple[TextTable, dict[str, SeedSet]]:
    """Gather the labelled seeds of each split; their texts are only numbered here and embedded later.

    The labels of seeds are codes of `classes`, if there are any; labels of other classes are left out.
    """
    if classes:
        labels = {split: classes.coded(classes.known(table)) for split, table in labels.items()}
    texts = TextTable(0)
    function = f"relsql_text_{run.run_id}"
    create_arrow_function(con, function, texts.ids, ["VARCHAR"], "INTEGER")
    try:
        gather = Gather(LatestRows(plan.rows, catalog, visible=plan.task.visible), function)
        seeds: dict[str, SeedSet] = {}
        for split, table in labels.items():
            done = sum(len(other) for other in seeds.values())
            total = sum(other.num_rows for other in labels.values())

            def report(share: float, rows: int = table.num_rows, done: int = done, total: int = total) -> None:
                run.report("gather", (done + share * rows) / total * 0.999, {})

            seeds[split] = gather_seeds(con, gather, plan.layouts, table, report)
            if not len(seeds[split]):
                raise TrainingError(
                    f"task '{plan.task.name}': no entity of the {split} labels is visible at its timestamp",
                    expected=f"rows of table '{plan.task.entity_table}' dated before the labels",
                )
    finally:
        con.remove_function(function)
    return in_order(texts, seeds)


def in_order(texts: TextTable, seeds: dict[str, SeedSet]) -> tuple[TextTable, dict[str, SeedSet]]:
    """Number the texts in sorted order, because their order of arrival depends on threads and storage."""
    ordered = sorted(texts.texts)
    position = {text: i for i, text in enumerate(ordered, start=1)}
    ids = np.array([0, *(position[text] for text in texts.texts)])
    renumbered = TextTable(0)
    renumbered.add(ordered, np.zeros((len(ordered), 0), dtype=np.float32))
    return renumbered, {
        split: replace(part, blocks=tuple(replace(block, texts=ids[block.texts]) for block in part.blocks))
        for split, part in seeds.items()
    }


def row_count(seeds: SeedSet) -> int:
    """Number of gathered rows."""
    return sum(len(block.slot) for block in seeds.blocks)
