"""The heads with several outputs: the probabilities of all classes, or the values of all windows."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from relsql.nn.graph_network import NetworkConfig
from relsql.nn.head import Head
from relsql.tasks.kinds.classes import Classes
from relsql.tasks.task import Task

HOTTEST = 10.0
"""Temperatures are from 1 / HOTTEST to HOTTEST."""


class ClassHead(Head):
    """Like `Head`, with one output for each class that has enough labels, and one that all other classes share.

    `forward` returns the outputs as logits, float32 [seeds, outputs]; `score` the probabilities, float32 [seeds,
    classes]: the calibrated softmax of the outputs, where the classes that share one divide its probability by their
    shares in the training labels (`Classes.share`). Labels are positions of classes.
    """

    output: Tensor
    share: Tensor

    def __init__(self, config: NetworkConfig, classes: Classes) -> None:
        super().__init__(config, classification=True, outputs=classes.outputs)
        self.register_buffer("output", torch.from_numpy(classes.output))
        self.register_buffer("share", torch.from_numpy(classes.share).float())

    @torch.no_grad()
    def fit_labels(self, labels: Tensor) -> None:
        """Start at the shares of the outputs in the training labels, float32 [seeds]."""
        counts = torch.bincount(self.targets(labels).long(), minlength=self.out.out_features) + 1.0
        self.out.bias.copy_(torch.log(counts / counts.sum()))

    def targets(self, labels: Tensor) -> Tensor:
        """The output of each label's class, float32 [seeds]."""
        return self.output[labels.long()].float()

    def losses(self, raw: Tensor, targets: Tensor) -> Tensor:
        """The log loss of each seed over the outputs, float32 [seeds]."""
        return nn.functional.cross_entropy(raw, targets.long(), reduction="none")

    def scores(self, raw: Tensor) -> Tensor:
        """Convert raw outputs to probabilities, float32 [seeds, classes]."""
        found = torch.softmax(raw / self.temperature, dim=1)
        return found.index_select(1, self.output) * self.share

    @torch.no_grad()
    def log_loss(self, raw: Tensor, labels: Tensor) -> float:
        """The mean log loss of the calibrated probabilities, computed without an array over all classes."""
        of_outputs = self.losses(raw / self.temperature, self.targets(labels))
        return float((of_outputs - torch.log(self.share[labels.long()])).double().mean())

    @torch.no_grad()
    def calibrate(self, raw: Tensor, labels: Tensor) -> None:
        """Set the temperature to the one with the least log loss (Guo et al. 2017, arXiv 1706.04599, section 4.2)."""
        targets = self.targets(labels)

        def loss(logarithm: float) -> float:
            return float(self.losses(raw / math.exp(logarithm), targets).double().mean())

        most = math.log(HOTTEST)
        found = minimize_scalar(loss, bounds=(-most, most), method="bounded", options={"xatol": 0.01})
        self.temperature.fill_(math.exp(found.x))


class LabelsHead(ClassHead):
    """The head of a multilabel task: each output is the logit that a label holds one of the output's classes.

    Labels are positions of lists of classes; `lists`, bool [lists, classes], are known in training only.
    """

    sets: Tensor

    def __init__(self, config: NetworkConfig, classes: Classes, lists: npt.NDArray[np.bool_] | None = None) -> None:
        super().__init__(config, classes)
        held = np.zeros((0 if lists is None else len(lists), classes.outputs), dtype=np.float32)
        for code, output in enumerate(classes.output if lists is not None else ()):
            assert lists is not None
            held[:, output] = np.maximum(held[:, output], lists[:, code])
        self.register_buffer("sets", torch.from_numpy(held), persistent=False)

    @torch.no_grad()
    def fit_labels(self, labels: Tensor) -> None:
        """Start at the shares of the labels that hold a class of each output."""
        held = self.targets(labels)
        share = (held.sum(0) + 1.0) / (len(held) + 2.0)
        self.out.bias.copy_(torch.logit(share))

    def targets(self, labels: Tensor) -> Tensor:
        """Whether each label holds a class of each output, float32 [seeds, outputs]."""
        return self.sets[labels.long()]

    def losses(self, raw: Tensor, targets: Tensor) -> Tensor:
        """The log loss of each seed, the mean over the outputs, float32 [seeds]."""
        return nn.functional.binary_cross_entropy_with_logits(raw, targets, reduction="none").mean(dim=1)

    def scores(self, raw: Tensor) -> Tensor:
        """Convert raw outputs to probabilities, float32 [seeds, classes]."""
        return torch.sigmoid(raw / self.temperature).index_select(1, self.output) * self.share

    @torch.no_grad()
    def log_loss(self, raw: Tensor, labels: Tensor) -> float:
        """The mean log loss of the calibrated outputs."""
        return float(self.losses(raw / self.temperature, self.targets(labels)).double().mean())


class StepsHead(Head):
    """The head of a forecast in steps: each output is the value of one window, float32 [seeds, steps], as labels are.

    All steps share one label scale, so a step has weight in proportion to its errors in the label's unit.
    """

    @property
    def steps(self) -> int:
        """The number of windows."""
        return self.out.out_features

    @torch.no_grad()
    def fit_labels(self, labels: Tensor) -> None:
        """Compute the label statistics from the labels of all steps, float32 [seeds, steps]."""
        super().fit_labels(labels.flatten())

    def losses(self, raw: Tensor, targets: Tensor) -> Tensor:
        """The loss of each seed, the mean over the steps, float32 [seeds]."""
        return super().losses(raw, targets).mean(dim=1)


def new_head(
    config: NetworkConfig,
    task: Task,
    classes: Classes | None = None,
    lists: npt.NDArray[np.bool_] | None = None,
) -> Head:
    """The untrained head of a task; `classes` are the task's, if it has any, and `lists` those of `LabelSets`."""
    if classes is not None and classes.many:
        return LabelsHead(config, classes, lists)
    if classes is not None:
        return ClassHead(config, classes)
    if task.steps:
        return StepsHead(config, classification=False, target=task.target, outputs=task.steps)
    return Head(config, classification=task.is_classification, target=task.target)
