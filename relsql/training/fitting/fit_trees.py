"""Fit the head's trees: boosted trees over statistics of the linked rows, mixed with the network's output.

The network learns from single rows and their texts; trees learn better from plain numbers. They make different errors,
so on most tasks a mixture is better than either (docs/decisions/0026-boosted-trees.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from relsql.errors import TrainingError
from relsql.gather.statistics import path_statistics
from relsql.nn.boosted_trees import BoostedTrees, Trees
from relsql.nn.class_head import LabelsHead
from relsql.nn.graph_network import GraphNetwork
from relsql.nn.head import TIMES, Head
from relsql.training.fitting.loop import Batches, FitConfig, label_weights, predict
from relsql.typing import FloatArray, IntArray

MAX_ROUNDS = 400
PATIENCE = 50
MAX_CELLS = 60_000_000
"""The largest matrix of inputs, in cells: 240 MB. If all labels need more, only the latest ones are used."""

SETTINGS: dict[str, Any] = {
    "num_leaves": 4,
    "max_depth": 2,
    "learning_rate": 0.1,
    "min_data_in_leaf": 20,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    # The scaling of the inputs replaces missing values by 0.
    "use_missing": False,
    "deterministic": True,
    "force_col_wise": True,
    # On data of this size a second thread gains little, and the result would depend on the number of threads.
    "num_threads": 1,
    "verbose": -1,
}

MAX_TREE_OUTPUTS = 20
"""With more classes or windows there are no trees, because each of them would need its own tree in every round.

Multilabel tasks have no trees either, because LightGBM has no objective for them."""

TREE_SHARES = (0.0, 0.25, 0.5, 0.75)
"""The network always takes part: trees alone ignore small changes of a row, and give many seeds the same score."""

EQUAL_SHARE = 0.5
"""The share of the trees, unless another one is clearly better on validation."""


@dataclass(frozen=True, slots=True)
class Boosting:
    """What was chosen on validation: the number of trees, and their share of the output, 0 for no trees."""

    rounds: int
    share: float


@dataclass(frozen=True, slots=True)
class TreeInputs:
    """Inputs of the trees for labelled seeds.

    Attributes:
        seeds: int64 [seeds], positions among the labelled seeds.
        values: float32 [seeds, inputs], all statistics of all paths, then the head's times.
        targets: float32 [seeds], of a forecast in steps [seeds, steps], see `Head.targets`.
        weights: float32 [seeds].
    """

    seeds: IntArray
    values: FloatArray
    targets: FloatArray
    weights: FloatArray


def choose_boosting(
    network: GraphNetwork, head: Head, train: Batches, validation: Batches, config: FitConfig
) -> Boosting:
    """Choose the number of trees and their share on validation, and add trees of the training split to the head.

    Network and head are trained already; the head has no trees yet. `config` has the half-life of the labels' weights.
    """
    if head.out.out_features > MAX_TREE_OUTPUTS or isinstance(head, LabelsHead):
        return Boosting(0, 0.0)
    inputs = tree_inputs(network, head, train, config.half_life)
    checked = tree_inputs(network, head, validation, config.half_life)
    trees, rounds = choose_trees(inputs, checked, head, config.seed)
    if rounds == 0:
        return Boosting(0, 0.0)
    with torch.inference_mode():
        boosted = trees(torch.from_numpy(checked.values)).numpy()
    raw = predict(network, head, validation)[checked.seeds]
    share = choose_share(head, raw, boosted, checked.targets)
    if share:
        attach_trees(network, head, trees, share)
    return Boosting(rounds, share)


def boost(network: GraphNetwork, head: Head, seeds: Batches, config: FitConfig, chosen: Boosting) -> None:
    """Fit the chosen number of trees on all labels, and add them to the head of the network that was trained on all."""
    if chosen.share:
        trees = fit_trees(tree_inputs(network, head, seeds, config.half_life), head, chosen.rounds, config.seed)
        attach_trees(network, head, trees, chosen.share)


def tree_inputs(network: GraphNetwork, head: Head, batches: Batches, half_life: float) -> TreeInputs:
    """The inputs of the trees for all seeds, or for the latest ones if there are too many."""
    network.eval()
    width = sum(len(path_statistics(layout, network.config.windows)) for layout in network.layouts) + TIMES
    order = np.argsort(batches.seeds.as_of_days, kind="stable")
    chosen = np.sort(order[-max(1, MAX_CELLS // width) :])
    values = np.concatenate(list(_values(network, head, batches, chosen)))
    with torch.no_grad():
        targets = head.targets(torch.from_numpy(batches.seeds.labels[chosen])).numpy()
    return TreeInputs(chosen, values, targets, label_weights(batches.seeds.as_of_days[chosen], half_life).numpy())


@torch.no_grad()
def _values(
    network: GraphNetwork, head: Head, batches: Batches, chosen: IntArray, batch_size: int = 2_048
) -> Iterator[FloatArray]:
    for start in range(0, len(chosen), batch_size):
        batch = batches.take(chosen[start : start + batch_size])
        yield torch.cat([network.all_statistics(batch.tensors), head.times(batch.as_of_days)], dim=1).numpy()


def choose_trees(train: TreeInputs, validation: TreeInputs, head: Head, seed: int) -> tuple[BoostedTrees, int]:
    """The trees with the best metric on validation, and their number; 0 if no tree improves it.

    `fit_trees` fits the same trees in that number of rounds.
    """
    lgb, models, curves = load_lightgbm(), [], []
    for known, checked in zip(_columns(train.targets), _columns(validation.targets), strict=True):
        data, curve = lgb.Dataset(train.values, known, weight=train.weights), dict[str, Any]()
        model = lgb.train(
            {**_parameters(head, seed), **_metric(head, validation)},
            data,
            MAX_ROUNDS,
            valid_sets=[data.create_valid(validation.values, checked)],
            callbacks=[lgb.early_stopping(PATIENCE, verbose=False), lgb.record_evaluation(curve)],
        )
        models.append(model)
        curves += [losses for by_metric in curve.values() for losses in by_metric.values()]
    rounds = int(models[0].best_iteration) if len(models) == 1 else _common_rounds(curves)
    # A model whose first trees have no split predicts a constant.
    used = any(model.feature_importance().any() for model in models)
    return _soft_trees(models, rounds, train), rounds if used else 0


def _columns(targets: FloatArray) -> list[FloatArray]:
    """The targets of each LightGBM model: one for all classes, and one for each window of a forecast in steps."""
    return [targets] if targets.ndim == 1 else [np.ascontiguousarray(column) for column in targets.T]


def _common_rounds(curves: list[list[float]]) -> int:
    """The number of rounds with the least mean loss over all models."""
    length = min(map(len, curves))
    return int(np.argmin(np.mean([curve[:length] for curve in curves], axis=0))) + 1


def fit_trees(inputs: TreeInputs, head: Head, rounds: int, seed: int) -> BoostedTrees:
    """A fixed number of trees over all inputs."""
    lgb, parameters = load_lightgbm(), _parameters(head, seed)
    datasets = (lgb.Dataset(inputs.values, each, weight=inputs.weights) for each in _columns(inputs.targets))
    return _soft_trees([lgb.train(parameters, data, rounds) for data in datasets], rounds, inputs)


def choose_share(head: Head, network_raw: FloatArray, tree_raw: FloatArray, targets: FloatArray) -> float:
    """The trees' share of the mixture, from raw outputs and targets on validation, see `Head.losses`.

    Both get equal parts, unless another share has a smaller mean loss, by more than a standard error of the paired
    difference. A few hundred labels cannot tell one weight from another, and equal weights are hard to beat.
    """

    def losses(share: float) -> npt.NDArray[np.float64]:
        raw = torch.from_numpy(network_raw + np.float32(share) * (tree_raw - network_raw))
        return head.losses(raw, torch.from_numpy(targets)).double().numpy()

    equal = losses(EQUAL_SHARE)
    best, most = EQUAL_SHARE, 0.0
    for share in TREE_SHARES:
        gain = equal - losses(share)
        error = float(gain.std(ddof=1)) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
        if gain.mean() > max(most, error):
            best, most = share, float(gain.mean())
    return best


def attach_trees(network: GraphNetwork, head: Head, trees: BoostedTrees, share: float) -> None:
    """Let the network return the statistics that the trees read, and add the trees to the head.

    If the trees read only the time, they are left out: the network's part of the head reads it already.
    """
    used, start = trees.used_inputs(), 0
    position: dict[int, int] = {}
    chosen: dict[str, list[int]] = {}
    for layout in network.layouts:
        end = start + len(path_statistics(layout, network.config.windows))
        found = [place - start for place in used if start <= place < end]
        position |= {start + place: len(position) + i for i, place in enumerate(found)}
        chosen[layout.name] = found
        start = end
    if not position:
        return
    position |= {start + i: len(position) + i for i in range(TIMES)}
    network.choose_statistics(chosen)
    head.add_trees(trees.renumbered(position), share)


def load_lightgbm() -> ModuleType:
    """Import LightGBM, which needs a system library that small container images lack.

    Raises:
        TrainingError: it cannot be loaded.
    """
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        raise TrainingError(
            f"LightGBM, which fits the head's trees, cannot be loaded: {error}",
            expected="LightGBM and its library libgomp",
            fix="apt-get install libgomp1, or pip install lightgbm, or relsql train ... --no-trees",
        ) from error
    return lightgbm


def _parameters(head: Head, seed: int) -> dict[str, Any]:
    """LightGBM's parameters; the objective matches what the head predicts, on the scale of `Head.targets`."""
    objective: dict[str, Any]
    if head.classification and head.out.out_features > 1:
        objective = {"objective": "multiclass", "num_class": head.out.out_features}
    elif head.classification:
        objective = {"objective": "binary"}
    elif head.has_log_link:
        objective = {"objective": "poisson"}
    elif head.level is None:
        objective = {"objective": "regression"}
    elif head.level == 0.5:
        objective = {"objective": "regression_l1"}
    else:
        objective = {"objective": "quantile", "alpha": head.level}
    return {**SETTINGS, **objective, "seed": seed}


def _metric(head: Head, validation: TreeInputs) -> dict[str, str]:
    """The metric on validation: ROC-AUC if there are labels of just two classes, otherwise that of the objective."""
    both = head.out.out_features == 1 and head.classification and validation.targets.min() < validation.targets.max()
    return {"metric": "auc"} if both else {}


def _soft_trees(models: list[Any], rounds: int, inputs: TreeInputs) -> BoostedTrees:
    """The first trees of models, with soft thresholds by the deviations of the inputs; each model is an output."""
    found = [_complete(model, rounds) for model in models]
    trees = found[0] if len(found) == 1 else _interleaved(found, rounds)
    return BoostedTrees.of(trees, inputs.values.std(0, dtype=np.float64))


def _interleaved(models: list[Trees], rounds: int) -> Trees:
    """The trees of all models, round by round; a model that found nothing to split has fewer, and gets empty ones."""

    def together(parts: list[npt.NDArray[Any]], empty: float) -> npt.NDArray[Any]:
        missing = [((0, rounds - len(part)), (0, 0)) for part in parts]
        padded = [np.pad(part, pad, constant_values=empty) for part, pad in zip(parts, missing, strict=True)]
        return np.stack(padded, axis=1).reshape(rounds * len(parts), -1)

    return Trees(
        together([each.inputs for each in models], 0),
        together([each.thresholds for each in models], np.inf),
        together([each.leaves for each in models], 0.0),
        len(models),
    )


def _complete(model: Any, rounds: int) -> Trees:
    """The first trees of a model of depth two, each completed to three questions and four leaves."""
    found = [tree["tree_structure"] for tree in model.dump_model(num_iteration=rounds)["tree_info"]]
    trees = Trees(
        np.zeros((len(found), 3), dtype=np.int64),
        np.full((len(found), 3), np.inf),
        np.zeros((len(found), 4)),
        model.num_model_per_iteration(),
    )
    for number, root in enumerate(found):
        for side, node in enumerate(_children(trees, number, 0, root)):
            for leaf, last in enumerate(_children(trees, number, 1 + side, node)):
                trees.leaves[number, 2 * side + leaf] = last["leaf_value"]
    return trees


def _children(trees: Trees, tree: int, place: int, node: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Store the question of a node and return its two children; a leaf has no question and is returned twice."""
    if "split_feature" not in node:
        return node, node
    trees.inputs[tree, place] = node["split_feature"]
    trees.thresholds[tree, place] = node["threshold"]
    return node["left_child"], node["right_child"]
