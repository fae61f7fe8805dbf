"""Boosted trees with soft thresholds (relsql.nn.boosted_trees)."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from relsql.nn.boosted_trees import NARROWEST_RAMP, RAMP, BoostedTrees, Trees  # noqa: E402
from tests.random_trees import random_trees  # noqa: E402

INPUTS = 5


def walked(trees: Trees, values: np.ndarray) -> np.ndarray:
    """The sum of the trees, each walked from its root with shares in place of answers."""

    def share(tree: int, place: int) -> np.ndarray:
        threshold = trees.thresholds[tree, place]
        if np.isinf(threshold):
            return np.zeros(len(values))
        return np.clip((values[:, trees.inputs[tree, place]] - threshold) / RAMP + 0.5, 0, 1)

    total = np.zeros(len(values))
    for tree, (a, b, c, d) in enumerate(trees.leaves):
        root, left, right = (share(tree, place) for place in range(3))
        total += (1 - root) * ((1 - left) * a + left * b) + root * ((1 - right) * c + right * d)
    return total


@hypothesis.given(st.integers(0, 40), st.integers(0, 10_000))
@hypothesis.settings(max_examples=50, deadline=None)
def test_the_module_is_the_sum_of_the_trees(count: int, seed: int) -> None:
    trees = random_trees(INPUTS, count, seed)
    values = np.random.default_rng(seed).normal(size=(200, INPUTS)).astype(np.float32)
    found = BoostedTrees.of(trees, np.ones(INPUTS))(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(found, walked(trees, values), rtol=1e-4, atol=2e-4)


def test_equal_questions_of_different_trees_are_asked_once() -> None:
    once, twice = random_trees(INPUTS, 3, 1), random_trees(INPUTS, 3, 1)
    doubled = Trees(
        *(np.concatenate([getattr(once, x), getattr(twice, x)]) for x in ("inputs", "thresholds", "leaves"))
    )
    module = BoostedTrees.of(doubled, np.ones(INPUTS))
    assert len(module.input) == len(BoostedTrees.of(once, np.ones(INPUTS)).input)
    values = torch.randn(50, INPUTS, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(module(values), 2 * BoostedTrees.of(once, np.ones(INPUTS))(values))


@hypothesis.given(st.integers(0, 10_000), st.sampled_from([1.0, 0.01, 1e-5, 0.0]))
@hypothesis.settings(max_examples=30, deadline=None)
def test_the_last_bits_of_an_input_change_only_last_bits_of_the_output(seed: int, deviation: float) -> None:
    """Engines round differently. With a sharp threshold such a difference could move a seed to another leaf.

    Also the thresholds of an input that is almost constant are ramps, which are wide beside the rounding of its terms.
    """
    trees = random_trees(INPUTS, 40, seed)
    module = BoostedTrees.of(trees, np.full(INPUTS, deviation))
    values = np.random.default_rng(seed).choice(trees.thresholds[np.isfinite(trees.thresholds)], size=(300, INPUTS))
    nudged = values + np.random.default_rng(seed + 1).uniform(-1e-6, 1e-6, size=values.shape)
    change = np.abs(
        module(torch.from_numpy(nudged.astype(np.float32))).numpy()
        - module(torch.from_numpy(values.astype(np.float32))).numpy()
    )
    assert change.max() < 40 * 3 * 6 * 2e-6 / max(RAMP * deviation, NARROWEST_RAMP)
    assert change.max() < 0.2


def test_only_the_inputs_that_are_read_are_named_and_they_can_be_renumbered() -> None:
    trees = Trees(np.array([[3, 1, 1]]), np.array([[0.0, 0.5, np.inf]]), np.array([[1.0, 2.0, 3.0, 3.0]]))
    module = BoostedTrees.of(trees, np.ones(INPUTS))
    assert module.used_inputs() == [1, 3]
    values = torch.randn(20, INPUTS, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(module.renumbered({1: 0, 3: 1})(values[:, [1, 3]]), module(values))
