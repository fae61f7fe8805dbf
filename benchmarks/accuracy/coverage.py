"""How many later labels the intervals and sets of scores cover: `python -m benchmarks.accuracy.coverage`.

Each task of the data sets is trained as `relsql train` does, and its test labels, which come after everything that the
model has seen, are scored. Of values and classes, the share of labels within the interval or the set is printed, for
all labels and by year. An interval of a probability says nothing about a single label. So the share of positive labels
is printed beside the mean ends of the intervals, and in how many of ten groups by score that share is within the mean
ends, give or take 1.64 standard errors.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

import relsql
from benchmarks.data.problems import DEFAULT_CACHE, database_file, list_datasets
from relsql.database.names import current_catalog
from relsql.evaluation.predictions import Predictions, predict_split
from relsql.registry.cards.card import ModelCard
from relsql.registry.cards.uncertainty import Uncertainty
from relsql.registry.models import active_card
from relsql.tasks.stored_tasks import read_tasks
from relsql.training.options import TrainOptions
from relsql.training.train import train

FEWEST_OF_YEAR = 100
GROUPS = 10
ONE_SIDED = 1.64

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Covered:
    """The result for a task: what is printed of it."""

    dataset: str
    task: str
    fitted_on: int
    labels: int
    text: str


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--dataset", "datasets", multiple=True, help="Data set; repeatable. Default: all.")
@click.option("--task", "tasks", multiple=True, help="Task; repeatable. Default: all of the data sets.")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of training. Default: that of relsql train.")
@click.option(
    "--encoder-steps", type=click.IntRange(min=1), help="Steps of the encoder. Default: that of relsql train."
)
@click.option("--cache", default=DEFAULT_CACHE, type=click.Path(path_type=Path), help="Folder of imported data sets.")
def main(
    datasets: tuple[str, ...], tasks: tuple[str, ...], epochs: int | None, encoder_steps: int | None, cache: Path
) -> None:
    """Print how many test labels the intervals and sets of every task cover."""
    options = TrainOptions(epochs=epochs, encoder_steps=encoder_steps)
    click.echo(f"{'data set':<12}{'task':<24}{'fitted on':>10}{'labels':>8}  covered, nominal 90 %")
    for dataset in datasets or list_datasets():
        for found in _measured(dataset, tasks, options, cache):
            click.echo(f"{found.dataset:<12}{found.task:<24}{found.fitted_on:>10,}{found.labels:>8,}  {found.text}")


def _measured(dataset: str, tasks: tuple[str, ...], options: TrainOptions, cache: Path) -> Iterator[Covered]:
    with tempfile.TemporaryDirectory() as folder:
        path = shutil.copy(database_file(dataset, cache), Path(folder) / "copy.duckdb")
        with relsql.connect(path) as con:
            for name, task in read_tasks(con, current_catalog(con)).items():
                if task.is_recommendation or (tasks and name not in tasks):
                    continue
                train(con, name, name="measured", options=options)
                card = active_card(con, current_catalog(con), "measured")
                if card.uncertainty:
                    predictions = predict_split(con, "measured", "test")
                    yield _covered(dataset, card, card.uncertainty, predictions)


def _covered(dataset: str, card: ModelCard, table: Uncertainty, found: Predictions) -> Covered:
    scored = found.scored
    labels, scores = found.labels[scored], found.scores[scored]
    years = np.array([moment.year for moment in found.as_of])[scored]
    if card.task.is_binary:
        text = groups_within(table, labels, scores)
    elif card.task.is_multiclass:
        inside, size = in_set(table, labels, scores)
        text = f"{by_year(inside, years)}; {size:.2f} of {scores.shape[1]} classes in a set"
    else:
        low, high = table.ends(scores, probability=False)
        width = f"{(high - low).mean():.4g} wide on average"
        text = f"{by_year((labels >= low) & (labels <= high), years)}; {width}"
    return Covered(dataset, card.task.name, table.labels, len(labels), text)


def in_set(
    table: Uncertainty, codes: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]
) -> tuple[Bools, float]:
    """Whether each label is in its set of classes, and the mean size of a set."""
    assert table.least is not None
    inside = probabilities >= table.least
    rows = np.arange(len(codes))
    inside[rows, probabilities.argmax(axis=1)] = True
    return inside[rows, np.maximum(codes, 0)] & (codes >= 0), float(inside.sum(axis=1).mean())


def by_year(inside: Bools, years: npt.NDArray[np.int64]) -> str:
    """The share that is inside, and that of each year with enough labels."""
    shares = [f"{year} {inside[years == year].mean():.1%}" for year in np.unique(years)]
    enough = [(years == year).sum() >= FEWEST_OF_YEAR for year in np.unique(years)]
    kept = [share for share, is_enough in zip(shares, enough, strict=True) if is_enough]
    return f"{inside.mean():.1%}" + (f" ({', '.join(kept)})" if kept else "")


def groups_within(table: Uncertainty, labels: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> str:
    """The share of positive labels, the mean ends, and in how many groups of scores the share is within them."""
    low, high = table.ends(scores, probability=True)
    within = 0
    groups = np.array_split(np.argsort(scores, kind="stable"), GROUPS)
    for rows in groups:
        share = labels[rows].mean()
        error = ONE_SIDED * np.sqrt(share * (1 - share) / len(rows))
        within += bool(low[rows].mean() - error <= share <= high[rows].mean() + error)
    return f"{labels.mean():.3f} positive, ends {low.mean():.3f} .. {high.mean():.3f}; {within} of {len(groups)} groups"


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.accuracy.coverage")
