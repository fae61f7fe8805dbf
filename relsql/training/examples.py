"""The examples of a training run: the plan of what the model reads, the labels, and the rows that their seeds read."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import pyarrow as pa

from relsql.evaluation.copied_labels import copied_labels
from relsql.gather.arrays.blocks import SeedSet
from relsql.schema.finding import Finding
from relsql.tasks.kinds.classes import Classes, LabelSets
from relsql.tasks.labels.label_findings import label_findings
from relsql.tasks.summary import SplitSummary
from relsql.text.text_table import TextTable
from relsql.training.data import gather_labels, row_count, summaries, training_labels
from relsql.training.plan import Plan, make_plan
from relsql.training.training_run import TrainingRun


@dataclass(frozen=True, slots=True)
class Examples:
    """What a network is trained on: the plan, the labels, the rows of their seeds, and doubts about all of them.

    `classes` are the classes of the task, if it has any. The labels of the seeds are then codes of classes or, in a
    multilabel task, of the lists of classes in `sets`.
    """

    plan: Plan
    labels: dict[str, pa.Table]
    splits: tuple[SplitSummary, ...]
    texts: TextTable
    seeds: dict[str, SeedSet]
    findings: tuple[Finding, ...]
    classes: Classes | None
    sets: LabelSets | None


def training_examples(training: TrainingRun) -> Examples:
    """Plan what the model reads, read the labels, and gather the rows of their seeds."""
    return _examples(training, _plan(training))


def _plan(training: TrainingRun) -> Plan:
    options, run = training.options, training.run
    with run.phase("check") as metrics:
        plan = make_plan(
            training.con,
            training.catalog,
            training.task,
            fanout=options.fanout,
            regime=options.regime,
            max_paths=options.max_paths,
            max_hub_rows=options.max_hub_rows,
            event_hubs=options.event_hubs,
            limits=training.limits,
            read_scores=options.read_scores,
        )
        metrics.update(tables=len(plan.inputs), paths=len(plan.paths))
        if plan.left_out:
            metrics.update(left_out=len(plan.left_out))
            run.details["check"] = {"left_out_paths": list(map(str, plan.left_out))}
    return plan


def _examples(training: TrainingRun, plan: Plan) -> Examples:
    """Read the labels, and gather the rows of their seeds."""
    con, catalog, options, run = training.con, training.catalog, training.options, training.run
    with run.phase("labels") as metrics:
        labels = training_labels(
            con,
            catalog,
            plan,
            regime=options.regime,
            density=options.density,
            seed=options.seed,
            limits=training.limits,
        )
        metrics.update({f"{split}_labels": table.num_rows for split, table in labels.items()})
        splits = summaries(labels, plan.task)
        classes = Classes.of(plan.task, labels["train"]) if plan.task.has_classes else None
        sets = LabelSets.of(classes, labels.values()) if classes and classes.many else None
        doubts = label_findings(con, catalog, plan.database, plan.task, splits, limits=training.limits)
    with run.phase("gather") as metrics:
        texts, seeds = gather_labels(con, catalog, plan, labels, run, sets or classes)
        metrics.update({f"{split}_rows": row_count(part) for split, part in seeds.items()})
        copied = copied_labels(plan.task, plan.schema, plan.layouts, seeds["train"])
        findings = (*plan.schema_findings, *plan.findings, *copied, *doubts)
        run.details["gather"] = {"findings": list(map(asdict, findings))}
    return Examples(plan, labels, splits, texts, seeds, findings, classes, sets)
