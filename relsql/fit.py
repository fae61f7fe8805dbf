"""Train graph network and head on gathered seeds: mini-batches, early stopping on validation, temperature scaling."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import mean_absolute_error, roc_auc_score
from torch import Tensor, nn

from relsql.blocks import Block, BlockLayout, FloatArray, GraphInputs, IntArray, graph_inputs, segment_parts
from relsql.errors import TrainingError
from relsql.network import GraphNetwork, GraphTensors, Head

FitProgress = Callable[[float, dict[str, float]], None]


@dataclass(frozen=True, slots=True)
class FitConfig:
    """Hyper-parameters of task training."""

    epochs: int = 6
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 5e-2
    patience: int = 3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SeedSet:
    """Gathered seeds of one split.

    Attributes:
        blocks: one per path, in layout order; seeds in the same order in all of them.
        as_of_days: float32 [seeds], prediction time in days since 1970-01-01.
        labels: float32 [seeds]; empty when there are none.
    """

    blocks: tuple[Block, ...]
    as_of_days: FloatArray
    labels: FloatArray

    def __len__(self) -> int:
        return len(self.as_of_days)


@dataclass(frozen=True, slots=True)
class FitReport:
    """What happened in training; losses and metrics are those of the kept epoch."""

    epochs: int
    best_epoch: int
    metric_name: str
    validation_metric: float
    temperature: float


class Batches:
    """Slices of a seed set as tensors.

    Args:
        seeds: the seed set.
        layouts: of its blocks.
        embeddings: float32 [texts + 1, text_width], row 0 zeros: the embedding of each text id.
    """

    def __init__(self, seeds: SeedSet, layouts: tuple[BlockLayout, ...], embeddings: FloatArray) -> None:
        self.seeds = seeds
        self.layouts = layouts
        self._starts = [block.row_starts() for block in seeds.blocks]
        self._embeddings = embeddings

    def take(self, chosen: IntArray) -> Batch:
        """The chosen seeds, int64 [batch], as one batch."""
        parts = [
            block.take(chosen, starts, layout.fanout)
            for layout, block, starts in zip(self.layouts, self.seeds.blocks, self._starts, strict=True)
        ]
        inputs = graph_inputs(parts, self.layouts)
        tensors = graph_tensors(inputs, self._embeddings[inputs.text_ids])
        return Batch(tensors, torch.from_numpy(self.seeds.as_of_days[chosen]))


@dataclass(frozen=True, slots=True)
class Batch:
    """Some seeds as tensors: their gathered rows, and as_of in days float32 [seeds]."""

    tensors: GraphTensors
    as_of_days: Tensor

    def outputs(self, network: GraphNetwork, head: Head) -> Tensor:
        """Raw outputs of the head, float32 [seeds]."""
        raw: Tensor = head(network(self.tensors, len(self.as_of_days)), self.as_of_days)
        return raw


def graph_tensors(inputs: GraphInputs, embeddings: FloatArray) -> GraphTensors:
    """Arrays to tensors, without copying; `embeddings` are those of `inputs.text_ids`."""
    return GraphTensors(
        torch.from_numpy(embeddings),
        [torch.from_numpy(table.numbers) for table in inputs.tables],
        [torch.from_numpy(table.categories) for table in inputs.tables],
        [torch.from_numpy(table.texts) for table in inputs.tables],
        [torch.from_numpy(rows) for rows in inputs.rows],
        [torch.from_numpy(slots) for slots in inputs.slots],
    )


def fit_statistics(network: GraphNetwork, head: Head, seeds: SeedSet) -> None:
    """Fit the standardisation of every table's numbers and the head's ranges on the training seeds."""
    samples: dict[str, list[FloatArray]] = {table: [] for table in network.tables}
    for layout, block in zip(network.layouts, seeds.blocks, strict=True):
        for segment, (numbers, _, _) in zip(layout.segments, segment_parts(block, layout), strict=True):
            samples[segment.inputs.table].append(numbers[numbers[:, 0] > 0.5, 1:])
    for table, parts in samples.items():
        network.encoder(table).fit(torch.from_numpy(np.concatenate(parts)))
    head.fit(torch.from_numpy(seeds.as_of_days), torch.from_numpy(seeds.labels))


def predict(network: GraphNetwork, head: Head, batches: Batches, batch_size: int = 1024) -> FloatArray:
    """Raw outputs of all seeds in order, float32 [seeds]; neither module keeps a gradient."""
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

    The result depends on the modules' weights, the seeds and `config` alone; the caller's random state is kept.

    Raises:
        TrainingError: there are no training or validation seeds, or the loss is not finite.
    """
    for name, batches in (("training", train), ("validation", validation)):
        if len(batches.seeds) == 0:
            raise TrainingError(
                f"there are no {name} seeds", expected="label rows on both sides of the split timestamps"
            )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return _fit(network, head, train, validation, config, progress)


def _fit(
    network: GraphNetwork,
    head: Head,
    train: Batches,
    validation: Batches,
    config: FitConfig,
    progress: FitProgress | None,
) -> FitReport:
    fit_statistics(network, head, train.seeds)
    targets = torch.from_numpy(_targets(train.seeds.labels, head))
    loss_function: nn.Module = nn.BCEWithLogitsLoss() if head.classification else nn.SmoothL1Loss(beta=0.5)
    parameters = [*network.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    steps_per_epoch = max(1, -(-len(train.seeds) // config.batch_size))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.epochs * steps_per_epoch, pct_start=0.1
    )
    rng = np.random.default_rng(config.seed)
    best_metric, best_epoch, best_state = -np.inf, 0, _state(network, head)
    name = metric_name(head, validation.seeds.labels)
    epoch, total = 0, 0.0
    for epoch in range(1, config.epochs + 1):
        network.train()
        head.train()
        order = rng.permutation(len(train.seeds))
        total = 0.0
        for step in range(steps_per_epoch):
            chosen = order[step * config.batch_size : (step + 1) * config.batch_size]
            loss = loss_function(train.take(chosen).outputs(network, head), targets[chosen])
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"the training loss is {float(loss)} in epoch {epoch}", fix="relsql train ... --learning-rate 5e-4"
                )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(chosen)
            if progress:
                progress((epoch - 1 + (step + 1) / steps_per_epoch) / config.epochs, {})
        metric = _metric(predict(network, head, validation), validation.seeds.labels, head)
        if progress:
            progress(epoch / config.epochs, {"loss": total / len(order), name: abs(metric)})
        if metric > best_metric:
            best_metric, best_epoch, best_state = metric, epoch, _state(network, head)
        elif epoch - best_epoch >= config.patience:
            break
    network.load_state_dict(best_state[0])
    head.load_state_dict(best_state[1])
    calibrate(head, predict(network, head, validation), validation.seeds.labels)
    if progress:
        progress(1.0, {"loss": total / len(order), name: abs(float(best_metric))})
    return FitReport(epoch, best_epoch, name, abs(float(best_metric)), float(head.temperature))


def metric_name(head: Head, labels: FloatArray) -> str:
    """Name of the validation metric: `roc_auc`, or `log_loss` when all labels are equal; `mae` for a regression."""
    if not head.classification:
        return "mae"
    return "log_loss" if labels.min() == labels.max() else "roc_auc"


def calibrate(head: Head, logits: FloatArray, labels: FloatArray) -> None:
    """Set the temperature that minimises the validation log loss (Guo et al. 2017, arXiv 1706.04599, section 4.2)."""
    if not head.classification or len(logits) == 0:
        return
    candidates = np.exp(np.linspace(np.log(0.1), np.log(10.0), 185))
    scaled = logits[None, :].astype(np.float64) / candidates[:, None]
    losses = np.mean(np.logaddexp(0.0, scaled) - labels[None, :] * scaled, axis=1)
    head.temperature.fill_(float(candidates[int(np.argmin(losses))]))


def _metric(raw: FloatArray, labels: FloatArray, head: Head) -> float:
    """Validation metric, larger is better (the error is negated)."""
    if not head.classification:
        values = raw * float(head.label_scale) + float(head.label_center)
        return -float(mean_absolute_error(labels, values))
    if metric_name(head, labels) == "log_loss":
        return -float(np.mean(np.logaddexp(0.0, raw) - labels * raw))
    return float(roc_auc_score(labels, raw))


def _targets(labels: FloatArray, head: Head) -> FloatArray:
    if head.classification:
        return labels
    return ((labels - float(head.label_center)) / float(head.label_scale)).astype(np.float32)


def _state(network: GraphNetwork, head: Head) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return copy.deepcopy(network.state_dict()), copy.deepcopy(head.state_dict())
