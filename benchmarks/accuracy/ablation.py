"""Ablations of the default model: one change at a time, measured on labels before the test timestamp.

  python -m benchmarks.accuracy.ablation --dataset rel-f1 --task driver-dnf [--regime seed-time] [--cuts 2] [--seeds 2]

Seed-time: the labels before the test timestamp are split at several cuts in time; each fold trains on the labels whose
windows end before the cut and measures on those up to the next cut. Frozen: trains on the training labels, measures on
validation. Every change keeps the default's rows, encoder and hyper-parameters, and blanks an input, drops paths or
changes one step of training. Prints a Markdown table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks.data.problems import DEFAULT_CACHE, REGIMES, Problem, Regime, load_problem
from relsql.database.cursors import task_cursor
from relsql.errors import RelsqlError, TrainingError
from relsql.gather.arrays.blocks import Block, SeedSet, take_blocks
from relsql.gather.layout import DATA_AGE, BlockLayout
from relsql.gather.node_inputs import NumberInput
from relsql.nn.row_encoder import embed_texts
from relsql.registry.runs import Run
from relsql.tasks.splits import horizon_days
from relsql.training.data import gather_labels, training_labels
from relsql.training.encoder.fit_encoder import prepend_zero_row, train_encoder
from relsql.training.fitting.fit_network import fit_config, new_modules
from relsql.training.fitting.loop import Batches, fit
from relsql.training.options import TrainOptions
from relsql.training.plan import Plan, make_plan
from relsql.typing import FloatArray, IntArray

MEASURED_SHARE = 0.25
"""Fraction of the labels, the latest ones, that the cuts measure on."""


@dataclass(frozen=True)
class Prepared:
    """Everything that a training run needs, gathered once.

    Attributes:
        regime: which data the rows may contain.
        plan: what the model reads.
        folds: training and measured seeds.
        fresh_folds: the same without delayed data; equal to `folds` in the seed-time regime.
        embeddings: float32 [texts + 1, width].
        text_widths: widths of the parts of an embedding.
    """

    regime: Regime
    plan: Plan
    folds: list[tuple[SeedSet, SeedSet]]
    fresh_folds: list[tuple[SeedSet, SeedSet]]
    embeddings: FloatArray
    text_widths: tuple[int, ...]


Blank = Callable[[Block, BlockLayout], Block]


@dataclass(frozen=True)
class Change:
    """One change of the default.

    Attributes:
        blank: removes an input from the rows.
        kinds: kinds of the paths that are read; None: all.
        half_life: see `relsql.training.fitting.loop.FitConfig`.
        fresh: train only on fresh data.
    """

    blank: Blank = field(default=lambda block, layout: block)
    kinds: tuple[str, ...] | None = None
    half_life: float | None = None
    fresh: bool = False


def _blanked(wanted: Callable[[NumberInput], bool]) -> Blank:
    """Blank some of the numbers of every segment."""

    def blank(block: Block, layout: BlockLayout) -> Block:
        numbers, start = block.numbers.copy(), 0
        for segment in layout.segments:
            for i, number in enumerate(segment.inputs.numbers, start=start + 1):
                if wanted(number):
                    numbers[:, i] = np.nan
            start += segment.numbers_width
        return replace(block, numbers=numbers)

    return blank


def _without_lookups(block: Block, layout: BlockLayout) -> Block:
    """Remove the rows that the gathered rows reference."""
    numbers, start = block.numbers.copy(), layout.segments[0].numbers_width
    for segment in layout.segments[1:]:
        numbers[:, start] = 0
        numbers[:, start + 1 : start + segment.numbers_width] = np.nan
        start += segment.numbers_width
    return replace(block, numbers=numbers)


CHANGES: dict[str, Change] = {
    "(nothing left out)": Change(),
    "text": Change(lambda block, layout: replace(block, texts=np.zeros_like(block.texts))),
    "categories": Change(lambda block, layout: replace(block, categories=np.zeros_like(block.categories))),
    "numbers": Change(_blanked(lambda number: not number.is_age)),
    "ages": Change(_blanked(lambda number: number.kind == "age")),
    "counts": Change(lambda block, layout: replace(block, totals=np.zeros_like(block.totals))),
    "rows pointed at": Change(_without_lookups),
    "second hop": Change(_without_lookups, kinds=("entity", "parents", "children")),
    "weights by age": Change(half_life=float("inf")),
    "delayed data": Change(fresh=True),
    "data age": Change(_blanked(lambda number: number == DATA_AGE)),
}
"""The changes, by their names in the table."""

FROZEN_ONLY = ("delayed data", "data age")
"""Changes that do not exist in the seed-time regime."""


def prepare(problem: Problem, cuts: int) -> Prepared:
    """Gather all labels before the test timestamp and train the row encoder."""
    options = TrainOptions(regime=problem.regime)
    torch.manual_seed(options.seed)
    run = Run("ablation", problem.task.name, None)
    with problem.open("train") as (con, catalog), task_cursor(con, catalog) as cursor:
        plan = make_plan(cursor, catalog, problem.task, fanout=options.fanout, regime=problem.regime)
        labels = training_labels(cursor, catalog, plan, regime=problem.regime, density=1, seed=options.seed)
        if problem.regime == "frozen":
            fresh = training_labels(cursor, catalog, plan, regime="seed-time", density=1, seed=options.seed)
            labels["fresh"] = fresh["train"]
        texts, seeds = gather_labels(cursor, catalog, plan, labels, run)
        encoder = train_encoder(cursor, catalog, plan, options, run)
        horizon = horizon_days(cursor, problem.task)
    found = embed_texts(encoder.module, encoder.tokenizer, texts.texts, max_tokens=options.max_tokens)
    if problem.regime == "frozen":
        folds = [(seeds["train"], seeds["val"])]
        fresh_folds = [(seeds["fresh"], seeds["val"])]
    else:
        folds = fresh_folds = list(time_folds(seeds["train"].joined(seeds["val"], plan.layouts), plan, cuts, horizon))
    return Prepared(problem.regime, plan, folds, fresh_folds, prepend_zero_row(found), encoder.module.widths)


def time_folds(seeds: SeedSet, plan: Plan, cuts: int, horizon: float) -> Iterator[tuple[SeedSet, SeedSet]]:
    """Training and measured seeds of each cut; the measured ones are disjoint and together make up the latest quarter.

    Args:
        seeds: labelled seeds in any order.
        plan: the plan that they were gathered with.
        cuts: number of cuts.
        horizon: days between a label's as_of and the end of its window.

    Raises:
        TrainingError: a cut has no labels on one side.
    """
    days = np.sort(seeds.as_of_days)
    first = int(len(days) * (1 - MEASURED_SHARE))
    edges = [days[first + (len(days) - first) * i // cuts] for i in range(cuts)] + [np.inf]
    for start, end in pairwise(edges):
        training = np.flatnonzero(seeds.as_of_days + horizon <= start)
        measured = np.flatnonzero((seeds.as_of_days >= start) & (seeds.as_of_days < end))
        if len(training) == 0 or len(measured) == 0:
            raise TrainingError("there are too few timestamps for these cuts", fix="--cuts 1, or another task")
        yield _take(seeds, plan, training), _take(seeds, plan, measured)


def _take(seeds: SeedSet, plan: Plan, chosen: IntArray) -> SeedSet:
    blocks = take_blocks(seeds.blocks, plan.layouts, chosen)
    return SeedSet(tuple(blocks), seeds.as_of_days[chosen], seeds.labels[chosen])


def measure(prepared: Prepared, change: Change, seeds: int) -> list[float]:
    """The validation metric of the default with one change: best epoch of each fold and seed."""
    plan = prepared.plan
    kept = [i for i, path in enumerate(plan.paths) if change.kinds is None or path.kind in change.kinds]
    layouts = tuple(plan.layouts[i] for i in kept)
    changed_plan = replace(plan, rows=replace(plan.rows, paths=tuple(plan.paths[i] for i in kept)))

    def batches(found: SeedSet) -> Batches:
        blocks = tuple(change.blank(found.blocks[i], plan.layouts[i]) for i in kept)
        return Batches(replace(found, blocks=blocks), layouts, prepared.embeddings)

    metrics = []
    for training, measured in prepared.fresh_folds if change.fresh else prepared.folds:
        train, validation = batches(training), batches(measured)
        for seed in range(seeds):
            options = TrainOptions(seed=seed, regime=prepared.regime)
            config = fit_config(len(training), plan.task, options)
            if change.half_life is not None:
                config = replace(config, half_life=change.half_life)
            network, head = new_modules(changed_plan, prepared.text_widths, options)
            metrics.append(fit(network, head, train, validation, config).validation_metric)
    return metrics


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--dataset", required=True, help="Data set.")
@click.option("--task", required=True, help="Task of the data set.")
@click.option("--regime", default="seed-time", type=click.Choice(REGIMES), help="Which data the rows may contain.")
@click.option("--cuts", default=2, type=click.IntRange(min=1), help="Cuts in time; the frozen regime has none.")
@click.option("--seeds", default=2, type=click.IntRange(min=1), help="Seeds 0, 1, ... of each cut.")
@click.option("--cache", default=DEFAULT_CACHE, type=click.Path(path_type=Path), help="Folder of imported data sets.")
def main(dataset: str, task: str, regime: Regime, cuts: int, seeds: int, cache: Path) -> None:
    """Print the validation metric of the default with one thing left out at a time."""
    try:
        prepared = prepare(load_problem(dataset, task, regime, cache), cuts)
        click.echo(f"| {dataset} {task}, {regime}: default without | metric | change |\n| --- | --- | --- |")
        whole: float | None = None
        for name, change in CHANGES.items():
            if name in FROZEN_ONLY and regime != "frozen":
                continue
            mean = float(np.mean(measure(prepared, change, seeds)))
            whole = mean if whole is None else whole
            click.echo(f"| {name} | {mean:.4f} | {f'{mean - whole:+.4f}' if mean is not whole else ''} |")
    except RelsqlError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.accuracy.ablation")
