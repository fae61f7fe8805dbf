"""Task training of a graph network; the epoch with the best validation error is kept."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.accuracy.graph.data import FloatArray, Seeds
from relsql.evaluation.evaluate import classification_metrics, regression_metrics

Scores = npt.NDArray[np.float64]
EVALUATION_BATCH = 1_024


class SeedModel(Protocol):
    """A torch module that gives one raw output per seed, float32 [seeds]."""

    def __call__(self, seeds: Seeds, random: np.random.Generator) -> Tensor: ...


@dataclass(frozen=True)
class Target:
    """Converts between raw outputs, labels and scores; fitted on training labels.

    Binary classification: the output is a logit, the loss is binary cross-entropy. Regression: the output is the label
    minus its median in units of its mean absolute deviation, the loss is L1, and scores are clipped to the 2nd and
    98th percentile, as in RelBench's example.

    Attributes:
        is_classification: whether the task is a classification.
        center, scale, low, high: median, mean absolute deviation and percentiles of regression labels.
        prior: the score of an entity that a seed cannot see: the share of positives, or the median.
    """

    is_classification: bool
    center: float
    scale: float
    low: float
    high: float
    prior: float

    @classmethod
    def fit(cls, labels: FloatArray, *, is_classification: bool) -> Target:
        """Fit on labels float32 [n]."""
        if is_classification:
            return cls(True, 0.0, 1.0, 0.0, 1.0, float(labels.mean()))
        center = float(np.median(labels))
        low, high = np.percentile(labels, [2, 98])
        return cls(False, center, float(np.abs(labels - center).mean()) or 1.0, float(low), float(high), center)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of raw outputs [n] against labels [n]."""
        if self.is_classification:
            return functional.binary_cross_entropy_with_logits(outputs, labels)
        return functional.l1_loss(outputs, (labels - self.center) / self.scale)

    def scores(self, outputs: Tensor) -> Scores:
        """Probabilities, or values, float64 [n]."""
        raw = outputs.double()
        found = raw.sigmoid() if self.is_classification else (raw * self.scale + self.center).clamp(self.low, self.high)
        return np.asarray(found.numpy(), dtype=np.float64)

    def error(self, scores: Scores, labels: FloatArray) -> float:
        """The error that model selection minimises: 1 - ROC-AUC, or the mean absolute error."""
        truth = labels.astype(np.float64)
        if self.is_classification:
            return 1 - classification_metrics(truth, scores)["roc_auc"]
        return regression_metrics(truth, scores)["mae"]


@dataclass(frozen=True)
class Schedule:
    """Hyper-parameters of task training.

    Attributes:
        epochs: passes over the training seeds.
        batch_size: seeds per step.
        learning_rate: learning rate of Adam.
        max_steps: maximum number of steps per epoch; if there are more seeds, an epoch uses a random subset.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    max_steps: int


def fit_best_epoch(
    model: nn.Module, target: Target, train: Seeds, val: Seeds, schedule: Schedule, random: np.random.Generator
) -> list[float]:
    """Train a `SeedModel` in place with Adam and restore the weights of the epoch with the best validation error.

    Args:
        model: the model; only parameters that require a gradient are trained.
        target: a target fitted on the labels of `train`.
        train: training seeds; those whose entity is not visible are left out.
        val: validation seeds.
        schedule: hyper-parameters.
        random: random generator for the order of seeds and the sampled neighbours.

    Returns:
        The validation error after each epoch.
    """
    usable = np.flatnonzero(train.rows >= 0)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=schedule.learning_rate)
    errors: list[float] = []
    best = copy.deepcopy(model.state_dict())
    for _ in range(schedule.epochs):
        model.train()
        order = random.permutation(usable)[: schedule.max_steps * schedule.batch_size]
        for start in range(0, len(order), schedule.batch_size):
            batch = train.take(order[start : start + schedule.batch_size])
            loss = target.loss(model(batch, random), torch.from_numpy(batch.labels))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        errors.append(target.error(score(model, target, val), val.labels))
        if errors[-1] == min(errors):
            best = copy.deepcopy(model.state_dict())
    model.load_state_dict(best)
    return errors


def score(model: nn.Module, target: Target, seeds: Seeds) -> Scores:
    """One score per seed, float64 [n]; neighbours are drawn the same way every time."""
    random = np.random.default_rng(0)
    scores = np.full(len(seeds), target.prior)
    model.eval()
    usable = np.flatnonzero(seeds.rows >= 0)
    with torch.inference_mode():
        for start in range(0, len(usable), EVALUATION_BATCH):
            chosen = usable[start : start + EVALUATION_BATCH]
            scores[chosen] = target.scores(model(seeds.take(chosen), random))
    return scores
