"""Fitting the head's trees (relsql.training.fitting.fit_trees)."""

from __future__ import annotations

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")
lightgbm = pytest.importorskip("lightgbm")

from relsql.errors import TrainingError  # noqa: E402
from relsql.gather.statistics import path_statistics  # noqa: E402
from relsql.nn.boosted_trees import BoostedTrees, Trees  # noqa: E402
from relsql.nn.graph_network import GraphNetwork, NetworkConfig  # noqa: E402
from relsql.nn.head import Head  # noqa: E402
from relsql.training.fitting.fit_trees import (  # noqa: E402
    EQUAL_SHARE,
    TREE_SHARES,
    TreeInputs,
    _common_rounds,
    _interleaved,
    attach_trees,
    choose_share,
    choose_trees,
    fit_trees,
)
from tests.relsql.gather.arrays.random_blocks import LAYOUTS  # noqa: E402

CONFIG = NetworkConfig(channels=4, text_widths=(5,))
TARGETS = {"classes": None, "median": "median", "mean": "mean", "quantile": "quantile(0.9)"}


def examples(seeds: int, head: Head, seed: int = 0) -> TreeInputs:
    """Labels that follow the first of five inputs; the last input is constant."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(seeds, 5)).astype(np.float32)
    values[:, 4] = 1
    signal = (values[:, 0] > 0.3) + 0.1 * random.normal(size=seeds)
    labels = (signal > 0.5).astype(np.float32) if head.classification else np.exp(2 * signal).astype(np.float32)
    head.fit(torch.arange(seeds, dtype=torch.float32), torch.from_numpy(labels))
    targets = head.targets(torch.from_numpy(labels)).numpy()
    return TreeInputs(np.arange(seeds), values, targets, np.ones(seeds, dtype=np.float32))


def head_of(kind: str) -> Head:
    return Head(NetworkConfig(channels=4), classification=kind == "classes", target=TARGETS[kind])


@pytest.mark.parametrize("kind", TARGETS)
def test_trees_find_what_one_statistic_says(kind: str) -> None:
    head = head_of(kind)
    train = examples(2_000, head)
    trees, rounds = choose_trees(train, examples(500, head, seed=1), head, seed=0)
    assert rounds > 0
    raw = trees(torch.from_numpy(train.values))
    baseline = torch.zeros(len(raw)) if kind != "classes" else torch.full((len(raw),), float(train.targets.mean()))
    targets = torch.from_numpy(train.targets)
    assert head.losses(raw, targets).mean() < 0.7 * head.losses(baseline, targets).mean()
    assert 0 in trees.used_inputs() and 4 not in trees.used_inputs()
    again = fit_trees(train, head, rounds, seed=0).state_dict()
    assert all(torch.equal(weight, again[name]) for name, weight in trees.state_dict().items())


@pytest.mark.parametrize("kind", TARGETS)
def test_the_soft_trees_are_those_of_lightgbm_away_from_thresholds(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    head = head_of(kind)
    train = examples(1_000, head)
    found: list[lightgbm.Booster] = []
    learn = lightgbm.train
    monkeypatch.setattr("lightgbm.train", lambda *a, **k: found.append(learn(*a, **k)) or found[0])
    trees = fit_trees(train, head, 30, seed=0)
    sharp = found[0].predict(train.values, raw_score=True)
    answers = (torch.from_numpy(train.values)[:, trees.input] - trees.lower) / trees.span
    away = ((answers <= 0) | (answers >= 1)).all(dim=1).numpy()
    assert away.sum() > 50
    soft = trees(torch.from_numpy(train.values)).numpy()
    np.testing.assert_allclose(soft[away], sharp[away], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", TARGETS)
def test_few_labels_and_labels_of_one_kind_give_a_finite_output(kind: str) -> None:
    head = head_of(kind)
    for seeds in (2, 30, 60):
        train = examples(seeds, head)
        assert torch.isfinite(fit_trees(train, head, 5, seed=0)(torch.from_numpy(train.values))).all()
        train.targets[:] = train.targets[0]
        assert choose_trees(train, train, head, seed=0)[1] == 0
        assert torch.isfinite(fit_trees(train, head, 5, seed=0)(torch.from_numpy(train.values))).all()


def test_trees_over_the_time_alone_are_left_out() -> None:
    network, head = GraphNetwork(LAYOUTS, CONFIG), Head(CONFIG, classification=True)
    inputs = sum(len(path_statistics(layout, CONFIG.windows)) for layout in LAYOUTS) + 3
    of_time = Trees(np.array([[inputs - 3, 0, 0]]), np.array([[0.5, np.inf, np.inf]]), np.array([[1.0, 1.0, 2.0, 2.0]]))
    attach_trees(network, head, BoostedTrees.of(of_time, np.ones(inputs)), 0.5)
    assert (head.trees, network.chosen_statistics) == (None, {})
    of_both = Trees(np.array([[0, inputs - 3, 0]]), np.array([[0.5, 0.2, np.inf]]), np.array([[1.0, 1.5, 2.0, 2.0]]))
    attach_trees(network, head, BoostedTrees.of(of_both, np.ones(inputs)), 0.5)
    assert head.trees is not None
    assert (head.trees.used_inputs(), sum(map(len, network.chosen_statistics.values()))) == ([0, 1], 1)


def test_a_system_without_the_library_of_lightgbm_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    head = head_of("classes")
    with pytest.raises(TrainingError, match=r"LightGBM.* cannot be loaded.*Fix: apt-get install libgomp1.*--no-trees"):
        fit_trees(examples(30, head), head, 5, seed=0)


def test_without_clear_evidence_network_and_trees_have_equal_parts() -> None:
    random = np.random.default_rng(0)
    head = head_of("classes")
    labels = (random.random(400) < 0.5).astype(np.float32)
    truth = np.where(labels > 0, 1.0, -1.0).astype(np.float32)
    noisy = [(truth + random.normal(size=400)).astype(np.float32) for _ in range(2)]
    assert choose_share(head, noisy[0], noisy[1], labels) == EQUAL_SHARE
    wrong = (-3 * truth).astype(np.float32)
    assert choose_share(head, wrong, noisy[0], labels) == TREE_SHARES[-1]
    assert choose_share(head, noisy[0], wrong, labels) == 0.0
    assert choose_share(head, noisy[0][:1], wrong[:1], labels[:1]) == EQUAL_SHARE


def test_the_trees_of_windows_are_those_of_each_model_in_turn() -> None:
    random = np.random.default_rng(5)
    models = [
        Trees(random.integers(0, 3, (count, 3)), random.normal(size=(count, 3)), random.normal(size=(count, 4)))
        for count in (4, 2, 4)
    ]
    inputs, deviations = torch.from_numpy(random.normal(size=(9, 3)).astype(np.float32)), np.ones(3)
    together = BoostedTrees.of(_interleaved(models, 4), deviations)(inputs)
    for output, model in enumerate(models):
        torch.testing.assert_close(together[:, output], BoostedTrees.of(model, deviations)(inputs))
    assert _common_rounds([[3.0, 1.0, 2.0, 0.0], [3.0, 4.0, 1.0]]) == 3
