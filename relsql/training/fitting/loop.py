"""Train graph network and head on gathered seeds: mini-batches, early stopping on validation, calibration.

`fit` trains on the training seeds and keeps the epoch with the best validation metric. `refit` trains new modules on
all labelled seeds for the same number of epochs, because the latest labels are most like the predicted future.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from relsql.errors import TrainingError
from relsql.gather.arrays.blocks import SeedSet
from relsql.gather.arrays.graph_inputs import graph_inputs, take_seeds
from relsql.gather.layout import BlockLayout
from relsql.nn.class_head import ClassHead
from relsql.nn.graph_network import GraphNetwork, GraphTensors, graph_tensors
from relsql.nn.head import Head
from relsql.nn.scaling import LEAST_DEVIATION
from relsql.nn.temperature import best_temperature
from relsql.tasks.target import regression_loss, target_metric
from relsql.typing import FloatArray, IntArray

FitProgress = Callable[[float, dict[str, float]], None]


@dataclass(frozen=True, slots=True)
class FitConfig:
    """Hyper-parameters of task training.

    `half_life` is a fraction of the training time range. A label older than the latest one by that much has half its
    weight, because recent labels are closer to what is predicted. Infinity gives all labels the same weight.
    """

    epochs: int = 4
    batch_size: int = 512
    learning_rate: float = 3e-3
    weight_decay: float = 5e-2
    half_life: float = 0.25
    patience: int = 3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class FitReport:
    """Result of a training run; the metric is that of the epoch that was kept."""

    epochs: int
    best_epoch: int
    metric_name: str
    validation_metric: float
    temperature: float


class Batches:
    """Slices of a seed set as tensors.

    Args:
        seeds: the seed set.
        layouts: layouts of its blocks.
        embeddings: float32 [texts + 1, text_width], the embedding of each text id; row 0 is zeros.
    """

    def __init__(self, seeds: SeedSet, layouts: tuple[BlockLayout, ...], embeddings: FloatArray) -> None:
        self.seeds = seeds
        self.layouts = layouts
        self.inputs = graph_inputs(seeds.blocks, layouts)
        self._starts = [np.append(block.row_starts(), len(block.slot)) for block in seeds.blocks]
        self._embeddings = embeddings

    def embeddings(self, texts: IntArray) -> FloatArray:
        """Embeddings of texts, given by their positions in `inputs.text_ids`."""
        found: FloatArray = self._embeddings[self.inputs.text_ids[texts]]
        return found

    def take(self, chosen: IntArray) -> Batch:
        """The chosen seeds, int64 [batch], as one batch."""
        inputs = take_seeds(self.inputs, self.layouts, chosen, self._starts)
        tensors = graph_tensors(inputs, self._embeddings[inputs.text_ids])
        return Batch(tensors, torch.from_numpy(self.seeds.as_of_days[chosen]))


@dataclass(frozen=True, slots=True)
class Batch:
    """Some seeds as tensors: their gathered rows, and as_of in days, float32 [seeds]."""

    tensors: GraphTensors
    as_of_days: Tensor

    def outputs(self, network: GraphNetwork, head: Head) -> Tensor:
        """Raw outputs of the head, see `Head.forward`."""
        raw: Tensor = head(network(self.tensors), self.as_of_days)
        return raw


def fit_statistics(network: GraphNetwork, head: Head, train: Batches) -> None:
    """Fit the scaling of all numeric inputs, and the head's ranges, on the training seeds."""
    fit_scaling(network, train)
    head.fit(torch.from_numpy(train.seeds.as_of_days), torch.from_numpy(train.seeds.labels))


def fit_scaling(network: GraphNetwork, train: Batches) -> None:
    """Fit the scaling of all numeric inputs on the training seeds."""
    for position, table in enumerate(train.inputs.tables):
        readings = [
            path.rows[i]
            for layout, path in zip(train.layouts, train.inputs.paths, strict=True)
            for i, segment in enumerate(layout.segments)
            if segment.inputs.table == network.tables[position]
        ]
        # A row counts as often as it is read.
        read = np.concatenate(readings)
        read = read[read > 0] - 1
        encoder = network.encoder(network.tables[position])
        encoder.scaling.fit(torch.from_numpy(table.numbers[read]))
        if encoder.text_map is not None:
            # Each distinct text counts once, because frequent texts are not more informative.
            texts = np.unique(table.texts[read])
            encoder.text_scaling.fit(torch.from_numpy(train.embeddings(texts[texts > 0])))
    for position, path in enumerate(train.inputs.paths):
        network.path(position).age_scaling.fit(torch.from_numpy(path.ages), logarithmic=True)
    for position, parts in enumerate(zip(*_statistics(network, train), strict=True)):
        network.path(position).statistic_scaling.fit(torch.cat(parts), least_deviation=LEAST_DEVIATION)


@torch.no_grad()
def _statistics(network: GraphNetwork, train: Batches, batch_size: int = 4_096) -> Iterator[list[Tensor]]:
    """The statistics of every path, batch by batch."""
    for start in range(0, len(train.seeds), batch_size):
        chosen = np.arange(start, min(start + batch_size, len(train.seeds)))
        batch = train.take(chosen).tensors
        numbers = network.standardised_numbers(batch)
        yield [
            network.path(i).statistics(numbers[layout.segments[0].inputs.table], batch.paths[i])
            for i, layout in enumerate(train.layouts)
        ]


def predict(network: GraphNetwork, head: Head, batches: Batches, batch_size: int = 1024) -> FloatArray:
    """Raw outputs of all seeds in order, as `Head.forward` returns them, computed without gradients."""
    network.eval()
    head.eval()
    outputs = []
    with torch.inference_mode():
        for start in range(0, len(batches.seeds), batch_size):
            chosen = np.arange(start, min(start + batch_size, len(batches.seeds)))
            outputs.append(batches.take(chosen).outputs(network, head).numpy())
    return np.concatenate(outputs) if outputs else np.zeros(0, dtype=np.float32)


def fit(
    network: GraphNetwork,
    head: Head,
    train: Batches,
    validation: Batches,
    config: FitConfig,
    progress: FitProgress | None = None,
) -> FitReport:
    """Train both modules in place, keep the best epoch on validation and calibrate the head.

    The result depends only on the modules' weights, the seeds and `config`; the caller's random state is unchanged.

    Raises:
        TrainingError: there are no training or validation seeds, or the loss is not finite.
    """
    for name, batches in (("training", train), ("validation", validation)):
        if len(batches.seeds) == 0:
            raise TrainingError(
                f"there are no {name} seeds", expected="label rows on both sides of the split timestamps"
            )
    labels = validation.seeds.labels
    name = metric_name(head, labels)
    best_metric, best_epoch, best_state, epoch = -np.inf, 0, _state(network, head), 0
    for epoch, loss in _epochs(network, head, train, config, progress):
        metric = _metric(predict(network, head, validation), labels, head)
        if progress:
            progress(epoch / config.epochs, {"loss": loss, name: abs(metric)})
        if metric > best_metric:
            best_metric, best_epoch, best_state = metric, epoch, _state(network, head)
        elif epoch - best_epoch >= config.patience:
            break
    network.load_state_dict(best_state[0])
    head.load_state_dict(best_state[1])
    report = FitReport(epoch, best_epoch, name, abs(float(best_metric)), float(head.temperature))
    return calibrated(head, predict(network, head, validation), labels, report)


def refit(
    network: GraphNetwork,
    head: Head,
    seeds: Batches,
    config: FitConfig,
    report: FitReport,
    progress: FitProgress | None = None,
) -> None:
    """Train new modules in place on all labelled seeds, for as many epochs as `fit` found best.

    The temperature is the one that was found on validation. A mean has yet to be calibrated, see `calibrate`.
    """
    for epoch, loss in _epochs(network, head, seeds, config, progress):
        if progress:
            progress(epoch / config.epochs, {"loss": loss})
        if epoch == report.best_epoch:
            break
    head.temperature.fill_(report.temperature)


def _epochs(
    network: GraphNetwork, head: Head, train: Batches, config: FitConfig, progress: FitProgress | None
) -> Iterator[tuple[int, float]]:
    """Train; yields the number of each epoch, from 1, and its mean loss."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        fit_statistics(network, head, train)
        random_state = torch.get_rng_state()
    targets = head.targets(torch.from_numpy(train.seeds.labels))
    weights = label_weights(train.seeds.as_of_days, config.half_life)
    parameters = [*network.parameters(), *head.parameters()]
    optimizer = _optimizer(parameters, config)
    steps_per_epoch = max(1, -(-len(train.seeds) // config.batch_size))
    # With fewer steps the schedule has no warm-up step, and it divides by the number of warm-up steps.
    steps = max(4, config.epochs * steps_per_epoch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=steps, pct_start=0.1 if steps > 10 else 0.5
    )
    rng = np.random.default_rng(config.seed)
    for epoch in range(1, config.epochs + 1):
        network.train()
        head.train()
        order = rng.permutation(len(train.seeds))
        total = 0.0
        # A generator returns to its caller between epochs, so the caller's random state is restored there.
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(random_state)
            for step in range(steps_per_epoch):
                chosen = order[step * config.batch_size : (step + 1) * config.batch_size]
                losses = head.losses(train.take(chosen).outputs(network, head), targets[chosen])
                loss = (losses * weights[chosen]).mean()
                if not torch.isfinite(loss):
                    raise TrainingError(
                        f"the training loss is {float(loss.detach())} in epoch {epoch}",
                        fix="relsql train ... --learning-rate 5e-4",
                    )
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                schedule.step()
                total += float(loss.detach()) * len(chosen)
                if progress:
                    progress((epoch - 1 + (step + 1) / steps_per_epoch) / config.epochs, {})
            random_state = torch.get_rng_state()
        yield epoch, total / len(order)


def label_weights(as_of_days: FloatArray, half_life: float) -> Tensor:
    """Weight of each training label by its age, float32 [seeds], mean 1; see `FitConfig`."""
    age = float(as_of_days.max()) - as_of_days.astype(np.float64)
    weights = np.exp2(-age / max(1.0, half_life * float(age.max())))
    return torch.from_numpy((weights / weights.mean()).astype(np.float32))


def _optimizer(parameters: list[nn.Parameter], config: FitConfig) -> torch.optim.Optimizer:
    """AdamW with weight decay for matrices only."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def metric_name(head: Head, labels: FloatArray) -> str:
    """Name of the validation metric: `roc_auc`, or `log_loss` for classes and equal labels; or that of a target."""
    if not head.classification:
        return target_metric(head.target)
    if isinstance(head, ClassHead):
        return "log_loss"
    return "log_loss" if labels.min() == labels.max() else "roc_auc"


def calibrate(head: Head, raw: FloatArray, labels: FloatArray) -> None:
    """Set the head's constants on validation; `raw` are its outputs, see `Head.forward`.

    Classification: the temperature that minimises the log loss. Mean: the centre with which scores add up to labels.
    Medians and quantiles are left as they are.
    """
    if len(raw) == 0:
        return
    if not head.classification:
        head.remove_bias(torch.from_numpy(raw), torch.from_numpy(labels))
        return
    if isinstance(head, ClassHead):
        head.calibrate(torch.from_numpy(raw), torch.from_numpy(labels))
        return
    head.temperature.fill_(best_temperature(raw, labels))


def calibrated(head: Head, raw: FloatArray, labels: FloatArray, report: FitReport) -> FitReport:
    """Calibrate the head on its raw outputs on validation; the report with metric and temperature.

    The log loss of classes is that of calibrated probabilities, all other metrics are those before calibration.
    """
    metric = abs(_metric(raw, labels, head))
    calibrate(head, raw, labels)
    if isinstance(head, ClassHead):
        metric = abs(_metric(raw, labels, head))
    return replace(report, validation_metric=metric, temperature=float(head.temperature))


def _metric(raw: FloatArray, labels: FloatArray, head: Head) -> float:
    """Validation metric, larger is better (the error is negated)."""
    if not head.classification:
        with torch.inference_mode():
            values = head.scores(torch.from_numpy(raw)).numpy()
        return -regression_loss(head.target, labels, values)
    if isinstance(head, ClassHead):
        return -head.log_loss(torch.from_numpy(raw), torch.from_numpy(labels))
    if metric_name(head, labels) == "log_loss":
        return -float(np.mean(np.logaddexp(0.0, raw) - labels * raw))
    return float(roc_auc_score(labels, raw))


def _state(network: GraphNetwork, head: Head) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return copy.deepcopy(network.state_dict()), copy.deepcopy(head.state_dict())
