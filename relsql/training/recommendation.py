"""Train a recommendation: from the labels to a ranker. It has no network, so torch is not loaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import duckdb

from relsql.errors import TrainingError
from relsql.gather.candidates.features import Candidates
from relsql.gather.candidates.interactions import interaction_ways, most_like_labels
from relsql.registry.runs import Run
from relsql.schema.finding import Finding
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema, used_schema
from relsql.schema.times.sentinels import with_event_ranges
from relsql.tasks.entity import entity_table
from relsql.tasks.kinds.items import item_table
from relsql.tasks.labels.label_findings import label_findings
from relsql.tasks.labels.label_sandbox import LabelLimits
from relsql.tasks.labels.label_table import chosen_splits, label_table
from relsql.tasks.splits import Split, horizon_days
from relsql.tasks.summary import split_lines, summarize_labels
from relsql.tasks.task import Task
from relsql.training.fitting.fit_ranker import FittedRanker, fit_ranker
from relsql.training.fitting.fit_trees import load_lightgbm
from relsql.training.options import TrainOptions
from relsql.training.plan import check_tables

_LEARNED: tuple[Split, ...] = ("train", "val")


@dataclass(frozen=True, slots=True)
class TrainedRanker:
    """The outcome of training a ranker.

    Attributes:
        task: the task, with both split timestamps.
        schema: the tables and links on the way from entities to items.
        fitted: the ranker and its metrics.
        splits: lines about the labels, see `relsql.training.train.TrainedModel`.
        findings: what is doubtful about labels and tables.
    """

    task: Task
    schema: Schema
    fitted: FittedRanker
    splits: tuple[str, ...]
    findings: tuple[Finding, ...]


def train_ranker(
    con: duckdb.DuckDBPyConnection, catalog: str, task: Task, options: TrainOptions, limits: LabelLimits, run: Run
) -> TrainedRanker:
    """Train the ranker of a task.

    Args:
        con: a cursor on the data, whose settings are not those of the user's session.
        catalog: database that holds the tables.
        task: the task; split timestamps that it lacks are chosen.
        options: only `density`, `seed` and `regime` are read, because the other options are about networks.
        limits: what the label query may do.
        run: the phases of this run.

    Raises:
        RelsqlError: the task, the tables or the data do not allow it.
    """
    if options.regime != "seed-time":
        raise TrainingError(
            f"task '{task.name}' is a recommendation, which does not support the regime {options.regime}",
            expected="regime seed-time",
            fix="leave out --regime",
        )
    load_lightgbm()
    with run.phase("check") as metrics:
        database = with_event_ranges(con, catalog, read_schema(con, catalog))
        choice = chosen_splits(con, catalog, database, task, limits)
        task, schema = choice.task, database.without_columns(task.removed)
        entity, items = entity_table(schema, task), item_table(schema, task)
        ways = interaction_ways(schema, task, entity, items)
        metrics.update(ways=len(ways))
    with run.phase("labels") as metrics:
        density = options.density
        labels = {
            split: label_table(con, catalog, database, task, split, density=density, limits=limits).table
            for split in _LEARNED
        }
        metrics.update({f"{split}_labels": table.num_rows for split, table in labels.items()})
        splits = tuple(summarize_labels(split, labels[split], task) for split in _LEARNED)
        doubts = label_findings(con, catalog, database, task, splits, limits=limits)
        way = most_like_labels(con, catalog, schema, task, [(way, entity, items) for way in ways], labels["train"])
        used = {entity.key, items.key, *(hop.table for hop in way)}
        findings = (*check_tables(con, catalog, schema, used), *doubts)
        run.details["labels"] = {"findings": list(map(asdict, findings))}
    with run.phase("network") as metrics:
        read = used_schema(schema, sorted(used), dict.fromkeys(used, ()))
        entity, items = entity_table(read, task), item_table(read, task)
        candidates = Candidates(read, entity, items, way, horizon_days(con, task), task.visible)
        assert task.k is not None
        fitted = fit_ranker(con, catalog, candidates, labels["train"], labels["val"], k=task.k, seed=options.seed)
        metrics.update(fitted.metrics)
    return TrainedRanker(task, read, fitted, tuple(split_lines(task, splits, choice.reasons)), findings)
