"""TabM on SQL aggregates: an efficient ensemble of small perceptrons (Gorishniy et al., ICLR 2025, package `tabm`).

It reads what the LightGBM row reads at most: own columns, and aggregates along all paths. Numbers are normalised by
quantiles, with a flag for missing ones, and categories are one-hot. The epoch with the best metric on val is chosen,
and that model predicts val. Test is predicted by a model that is trained for as many epochs on train and val.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.preprocessing import QuantileTransformer
from tabm import TabM
from torch import Tensor
from torch.nn import functional

from benchmarks.accuracy.judge import Floats, loss
from benchmarks.accuracy.rows import Scores
from benchmarks.accuracy.rows.features import Features, OncePerProblem, aggregate_features, as_of_days
from benchmarks.data.problems import Problem
from relsql.nn.row_encoder import local_seed
from relsql.tasks.splits import Split
from relsql.tasks.target import quantile_level
from relsql.training.fitting.loop import FitConfig, label_weights
from relsql.typing import FloatArray

MAX_EPOCHS = 30
PATIENCE = 5
BATCH = 256
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.01
MEMBERS = 8
BLOCKS = {"n_blocks": 2, "d_block": 128, "dropout": 0.2}
CLIP = 3.0
"""Normalised numbers are clipped to this absolute value, because the ends of a quantile transform are far out."""

Inputs = tuple[Tensor, Tensor | None]
"""Numbers float32 [labels, numbers], and codes int64 [labels, categories] if there are categories."""


class TabMAggregates:
    """TabM on the features of the row "LightGBM, SQL aggregates"; recent labels weigh more, as in relsql."""

    name = "TabM, SQL aggregates"

    def scores(self, problem: Problem, seed: int) -> Scores:
        """See `Row`; the seed draws the initial weights, the batches and the dropout."""
        table = tables.of(problem)
        with local_seed(seed):
            epochs, val = _best_epoch(problem, table["val"])
            network = _Network(table["test"], problem.task.target)
            for _ in range(epochs):
                network.train_epoch()
            return {"val": val, "test": network.scores()}


@dataclass(frozen=True, slots=True)
class Table:
    """Labels to train on, with their inputs and weights, and the inputs of the labels to score.

    Attributes:
        train: inputs of the labels to train on.
        labels: float64 [labels].
        weights: float32 [labels], mean 1.
        scored: inputs of the labels to score, normalised like `train`.
        sizes: number of codes of each category.
    """

    train: Inputs
    labels: Floats
    weights: Tensor
    scored: Inputs
    sizes: list[int]


def read_tables(problem: Problem) -> dict[Split, Table]:
    """What val and test are predicted from: the labels of train, and those of train and val."""
    return {"val": _table(problem, ("train",), "val"), "test": _table(problem, ("train", "val"), "test")}


tables = OncePerProblem(read_tables)


def _table(problem: Problem, known: tuple[Split, ...], scored: Split) -> Table:
    features = aggregate_features.of(problem)[-1]
    categorical = features[scored].categorical
    train = Features(np.vstack([features[split].x for split in known]), categorical)
    days = np.concatenate([as_of_days(problem.labels[split]) for split in known])
    numbers = normalised(_numbers(train), _numbers(features[scored]))
    codes = [each.x[:, categorical].astype(np.int64) for each in (train, features[scored])]
    sizes = np.vstack(codes).max(axis=0) + 1
    train_inputs, scored_inputs = (
        (torch.from_numpy(n), torch.from_numpy(c) if categorical else None) for n, c in zip(numbers, codes, strict=True)
    )
    labels = np.concatenate([problem.targets(split) for split in known])
    weights = label_weights(days, FitConfig().half_life)
    return Table(train_inputs, labels, weights, scored_inputs, sizes.tolist())


def _numbers(features: Features) -> Floats:
    return np.delete(features.x, features.categorical, axis=1)


def normalised(train: Floats, scored: Floats) -> tuple[FloatArray, FloatArray]:
    """Numbers as normal quantiles of the training labels, 0 where missing, then flags for those sometimes missing.

    Numbers that are the same for all training labels become 0.

    Args:
        train: float64 [labels, numbers], NaN = missing.
        scored: the same of other labels.
    """
    missing = np.isnan(train)
    flagged = missing.any(axis=0) & ~missing.all(axis=0)
    varies = np.where(missing, np.inf, train).min(axis=0) < np.where(missing, -np.inf, train).max(axis=0)
    quantiles = min(len(train), max(10, min(len(train) // 30, 1_000)))
    transform = QuantileTransformer(n_quantiles=quantiles, output_distribution="normal", random_state=0)
    transform.fit(np.where(varies, train, 0.0))

    def inputs(x: Floats) -> FloatArray:
        numbers = np.clip(transform.transform(np.where(varies, x, 0.0)), -CLIP, CLIP)
        known = np.where(varies & ~np.isnan(x), numbers, 0.0)
        return np.hstack([known, np.isnan(x[:, flagged])]).astype(np.float32)

    return inputs(train), inputs(scored)


def _best_epoch(problem: Problem, table: Table) -> tuple[int, Floats]:
    """The number of epochs on train with the least loss on val, and the scores of val after these."""
    network = _Network(table, problem.task.target)
    best: tuple[int, Floats, float] | None = None
    for epoch in range(1, MAX_EPOCHS + 1):
        network.train_epoch()
        scores = network.scores()
        found = loss(problem, "val", scores)
        if best is None or found < best[2]:
            best = epoch, scores, found
        elif epoch - best[0] >= PATIENCE:
            break
    assert best is not None
    return best[:2]


class _Network:
    """A network that learns from a table; the target is that of the task, None for a classification."""

    def __init__(self, table: Table, target: str | None) -> None:
        self._table, self._target = table, target
        is_binary = target is None
        self._centre = 0.0 if is_binary else float(table.labels.mean())
        self._spread = 1.0 if is_binary else float(table.labels.std())
        # Labels that are all equal have no spread; then every score is the centre.
        self._y = torch.from_numpy((table.labels - self._centre) / (self._spread or 1.0)).float()
        self._tabm = TabM.make(
            n_num_features=table.train[0].shape[1], cat_cardinalities=table.sizes, d_out=1, k=MEMBERS, **BLOCKS
        )
        self._optimizer = torch.optim.AdamW(self._tabm.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def train_epoch(self) -> None:
        """Show every label once; each member has its own loss, and the mean over members is minimised."""
        self._tabm.train()
        for chosen in _batches(torch.randperm(len(self._y)), BATCH):
            outputs = self._outputs(self._table.train, chosen)
            losses = self._losses(outputs, self._y[chosen, None].expand_as(outputs)).mean(dim=1)
            self._optimizer.zero_grad()
            (losses * self._table.weights[chosen]).mean().backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()

    def scores(self) -> Floats:
        """The mean over members of probabilities, or of values in the unit of the label, float64 [labels]."""
        self._tabm.eval()
        positions = torch.arange(len(self._table.scored[0]))
        with torch.inference_mode():
            raw = torch.cat([self._outputs(self._table.scored, chosen) for chosen in _batches(positions, 4_096)])
            members = torch.sigmoid(raw) if self._target is None else raw
        return self._centre + self._spread * members.mean(dim=1).double().numpy()

    def _outputs(self, inputs: Inputs, chosen: Tensor) -> Tensor:
        """Outputs of the members, float32 [batch, members]."""
        numbers, codes = inputs
        found: Tensor = self._tabm(numbers[chosen], None if codes is None else codes[chosen])
        return found.squeeze(-1)

    def _losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self._target is None:
            return functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        level, error = quantile_level(self._target), targets - outputs
        if level is None:
            return error**2
        # The optimizer ignores constant factors: for the median this is the absolute error.
        return torch.maximum(level * error, (level - 1) * error)


def _batches(order: Tensor, size: int) -> Iterator[Tensor]:
    return (order[start : start + size] for start in range(0, len(order), size))
