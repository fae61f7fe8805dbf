"""Train the graph network: choose the number of epochs on the validation split, then train on all labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from relsql.evaluation.metrics.class_metrics import class_metrics
from relsql.evaluation.metrics.label_metrics import best_thresholds, label_metrics
from relsql.evaluation.uncertainty import fit_uncertainty
from relsql.gather.arrays.blocks import SeedSet
from relsql.nn.class_head import new_head
from relsql.nn.graph_network import GraphNetwork, NetworkConfig
from relsql.nn.head import Head
from relsql.registry.cards.uncertainty import Uncertainty
from relsql.registry.runs import Run
from relsql.tasks.kinds.classes import Classes
from relsql.tasks.target import MEAN
from relsql.tasks.task import Task
from relsql.training.fitting.fit_trees import Boosting, boost, choose_boosting
from relsql.training.fitting.loop import Batches, FitConfig, calibrate, calibrated, fit, predict, refit
from relsql.training.options import TrainOptions
from relsql.training.plan import Plan
from relsql.training.pretraining.shared import start_from
from relsql.training.pretraining.weights import read_weights
from relsql.typing import FloatArray

FEW_LABELS = ((8, 80), (16, 24))
"""Pairs (epochs, steps): with few labels, training runs up to `epochs` epochs to reach `steps` optimiser steps."""


@dataclass(frozen=True, slots=True)
class FittedNetwork:
    """Trained network and head, with the metrics and scores on the validation split, see `Head.score`."""

    network: GraphNetwork
    head: Head
    metrics: dict[str, float]
    validation_scores: FloatArray
    uncertainty: Uncertainty | None
    thresholds: tuple[float, ...] | None = None


@contextmanager
def torch_settings(options: TrainOptions) -> Iterator[None]:
    """Seed torch and set its number of threads for a block; both are restored afterwards."""
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng():
            torch.manual_seed(options.seed)
            torch.set_num_threads(options.threads or threads)
            yield
    finally:
        torch.set_num_threads(threads)


def train_network(
    plan: Plan,
    seeds: dict[str, SeedSet],
    embeddings: FloatArray,
    text_widths: tuple[int, ...],
    options: TrainOptions,
    run: Run,
    classes: Classes | None = None,
    lists: npt.NDArray[np.bool_] | None = None,
) -> FittedNetwork:
    """Choose the epoch on the validation split, then train on all labels; the metrics are those on validation.

    `classes` are the classes of the task, if it has any; the labels of the seeds are then their codes. `lists` are the
    lists of classes of `LabelSets`, whose positions are the labels in a multilabel task.
    """
    batches = {split: Batches(seeds[split], plan.layouts, embeddings) for split in ("train", "val")}
    config = fit_config(len(seeds["train"]), plan.task, options)
    share = 0.5 if options.refit else 1.0

    def report(fraction: float, values: dict[str, float], start: float = 0.0) -> None:
        run.report("network", min(start + share * fraction, 0.999), values)

    network, head = new_modules(plan, text_widths, options, classes, lists)
    found = fit(network, head, batches["train"], batches["val"], config, report)
    boosting = Boosting(0, 0.0)
    if options.trees:
        boosting = choose_boosting(network, head, batches["train"], batches["val"], config)
    raw = predict(network, head, batches["val"])
    found = calibrated(head, raw, seeds["val"].labels, found)
    with torch.inference_mode():
        scores = head.scores(torch.from_numpy(raw)).numpy()
    if options.refit:
        everything = seeds["train"].joined(seeds.get("closing", seeds["val"]), plan.layouts)
        network, head = new_modules(plan, text_widths, options, classes, lists)
        batches["all"] = Batches(everything, plan.layouts, embeddings)
        refit(network, head, batches["all"], config, found, lambda f, v: report(f, v, share))
        boost(network, head, batches["all"], config, boosting)
        if plan.task.target == MEAN:
            # The bias of the first network does not apply, because this network has also seen the validation labels.
            calibrate(head, predict(network, head, batches["val"]), seeds["val"].labels)
    metrics = {f"val_{found.metric_name}": found.validation_metric, "temperature": found.temperature}
    thresholds = None
    if lists is not None:
        held = lists[seeds["val"].labels.astype(np.int64)]
        thresholds = best_thresholds(held, scores)
        found_metrics = label_metrics(held, scores, thresholds)
        metrics |= {f"val_{name}": found_metrics[name] for name in ("micro_ap", "macro_ap") if name in found_metrics}
    elif classes:
        found_metrics = class_metrics(seeds["val"].labels.astype(np.int64), scores)
        metrics |= {f"val_{name}": found_metrics[name] for name in ("accuracy", "macro_f1")}
    metrics |= {"epochs": found.epochs, "best_epoch": found.best_epoch}
    metrics |= {"trees": boosting.rounds, "tree_share": boosting.share}
    # `scores` are those of the network that has not seen these labels; with `refit`, the final network has seen them.
    several = lists is not None or plan.task.steps
    uncertainty = None
    if not several:
        uncertainty = fit_uncertainty(plan.task, seeds["val"].labels, scores, options.coverage)
    return FittedNetwork(network, head, metrics, scores, uncertainty, thresholds)


def fit_config(train_seeds: int, task: Task, options: TrainOptions) -> FitConfig:
    """Hyper-parameters of task training for a number of training seeds."""
    steps_per_epoch = max(1, -(-train_seeds // options.batch_size))
    # The gradient of the absolute error does not shrink with the error, so it converges later than the log loss. In the
    # frozen regime every label occurs up to three times in an epoch, so the lower minimum is enough.
    fewest = 4 if task.is_classification or options.regime == "frozen" else 8
    enough = [min(epochs, -(-steps // steps_per_epoch)) for epochs, steps in FEW_LABELS]
    return FitConfig(
        epochs=options.epochs or max(fewest, *enough),
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=options.seed,
    )


def new_modules(
    plan: Plan,
    text_widths: tuple[int, ...],
    options: TrainOptions,
    classes: Classes | None = None,
    lists: npt.NDArray[np.bool_] | None = None,
) -> tuple[GraphNetwork, Head]:
    """Untrained network and head; equal options give equal weights.

    Raises:
        TrainingError: the pre-trained weights are those of another network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        # Dropout and hidden rows bias a model that predicts medians, because a mean of medians is not a median. In the
        # frozen regime this bias is small compared with the effect of old rows.
        hidden = 0.3 if plan.task.is_classification or options.regime == "frozen" else 0.1
        config = NetworkConfig(options.channels, text_widths, dropout=hidden, hidden_rows=hidden)
        network = GraphNetwork(plan.layouts, config)
        if options.pretrained:
            start_from(network, read_weights(options.pretrained))
        return network, new_head(config, plan.task, classes, lists)
