"""What pre-training across databases gains: relsql with and without, leaving the measured database out.

  python -m benchmarks.accuracy.pretraining --dataset rel-f1 --task driver-top3 [--seeds 2] [--labels 500]

Prints a Markdown table with the metric on validation and test. `--labels` keeps only the latest training labels;
`--no-trees` shows the network alone, because boosted trees know nothing of pre-training.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import click
import numpy as np

from benchmarks.accuracy.judge import Judge
from benchmarks.accuracy.rows import DEFAULT, PRETRAINED, make_row
from benchmarks.data.problems import DEFAULT_CACHE, load_problem
from relsql.errors import RelsqlError
from relsql.tasks.labels.label_cut import MAX_TRAIN_LABELS
from relsql.training import data


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--dataset", required=True, help="Data set.")
@click.option("--task", "tasks", required=True, multiple=True, help="Task of the data set; repeatable.")
@click.option("--labels", default=MAX_TRAIN_LABELS, type=click.IntRange(min=1), help="Training labels used.")
@click.option("--trees/--no-trees", default=True, help="With boosted trees, or the network alone.")
@click.option("--seeds", default=2, type=click.IntRange(min=1), help="Seeds 0, 1, ... of each row.")
@click.option("--cache", default=DEFAULT_CACHE, type=click.Path(path_type=Path), help="Folder of imported data sets.")
def main(dataset: str, tasks: tuple[str, ...], labels: int, trees: bool, seeds: int, cache: Path) -> None:
    """Print the metrics of relsql with and without pre-training, means over seeds with the single values."""
    click.echo("| task | training labels | row | validation | test |\n| --- | --- | --- | --- | --- |")
    try:
        for task in tasks:
            problem = load_problem(dataset, task, "seed-time", cache)
            judge, used = Judge(problem), min(labels, problem.labels["train"].num_rows)
            for name in (DEFAULT, PRETRAINED):
                row: Any = make_row(name)
                row = replace(row, options=replace(row.options, trees=trees))
                with mock.patch.object(data, "MAX_TRAIN_LABELS", labels):
                    scores = [row.scores(problem, seed) for seed in range(seeds)]
                cells = [
                    _cell([next(iter(judge.metrics(split, found[split]).values())) for found in scores])
                    for split in ("val", "test")
                ]
                click.echo(f"| {task} | {used:,} | {row.name} | {' | '.join(cells)} |")
    except RelsqlError as error:
        raise click.ClickException(str(error)) from error


def _cell(values: list[float]) -> str:
    """The mean, and the single values behind it."""
    return f"{np.mean(values):.4f} ({', '.join(f'{value:.4f}' for value in values)})"


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.accuracy.pretraining")
