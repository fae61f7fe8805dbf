"""Boosted trees of depth two with soft thresholds: a part of the head, over statistics of the linked rows.

A question compares an input with a threshold. The threshold is a ramp, so the answer is a share s: 0 below the ramp, 1
above it, and in between on it. A tree of depth two asks one question (s0), then one of two others (s1 or s2). With
the leaves a, b, c, d it is

    (1 - s0) ((1 - s1) a + s1 b) + s0 ((1 - s2) c + s2 d)

Multiplied out, a sum of trees is a constant, plus a weight for each share, plus a weight for each pair of shares. That
is a generalized additive model with pairwise interactions (Lou et al. 2013, "Accurate intelligible models with pairwise
interactions", KDD). Shares and pairs that several trees have in common get one weight, the sum of theirs, so the model
is small. It needs only arithmetic and comparisons, which ONNX and SQL have. Trees for several outputs, such as those
of classes, have their shares and pairs in common, and a constant and a weight for each output.

With ramps, torch, ONNX and SQL agree. At a sharp threshold, a difference in the last bit of a statistic would move a
seed to another leaf.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Floats = npt.NDArray[np.float64]

RAMP = 0.1
"""Width of a threshold's ramp, in standard deviations of the input."""

NARROWEST_RAMP = 1e-2
"""The least width of a ramp. Statistics are sums of values of size 1, so their rounding is about 1e-7 also where they
are almost constant. On a ramp of width 1e-2, that moves a weight by 1e-5 of its size."""


@dataclass(frozen=True, slots=True)
class Trees:
    """Complete trees of depth two over the same inputs.

    Attributes:
        inputs: int64 [trees, 3], the inputs that the root, its left child and its right child compare.
        thresholds: float64 [trees, 3]; a larger input goes right; with infinity, every input goes left.
        leaves: float64 [trees, 4], from left to right.
        outputs: number of outputs; tree i adds to output i % outputs.
    """

    inputs: npt.NDArray[np.int64]
    thresholds: Floats
    leaves: Floats
    outputs: int = 1


class BoostedTrees(nn.Module):
    """The sum of trees, see the docstring of this module.

    float32 [seeds, inputs] -> float32 [seeds], or [seeds, outputs] if there are several outputs.

    Args:
        shares: number of distinct shares.
        pairs: number of distinct pairs of shares.
        outputs: number of outputs.

    Attributes:
        input: int64 [shares], the input of each share; lower, span: float32 [shares], start and width of its ramp.
        weight: float32 [shares]; left, right: int64 [pairs], the shares of each pair; pair_weight: float32 [pairs].
        constant: float32 [], the value where all shares are 0. With several outputs, `weight`, `pair_weight` and
            `constant` have them as a last axis.
        tree_share: float32 [], the trees' part of the head's output.
    """

    input: Tensor
    lower: Tensor
    span: Tensor
    weight: Tensor
    left: Tensor
    right: Tensor
    pair_weight: Tensor
    constant: Tensor
    tree_share: Tensor

    def __init__(self, shares: int, pairs: int, outputs: int = 1) -> None:
        super().__init__()
        each = (outputs,) if outputs > 1 else ()
        for name, size in (("input", shares), ("left", pairs), ("right", pairs)):
            self.register_buffer(name, torch.zeros(size, dtype=torch.int64))
        self.register_buffer("lower", torch.zeros(shares))
        self.register_buffer("span", torch.ones(shares))
        for name, shape in (("weight", (shares, *each)), ("pair_weight", (pairs, *each)), ("constant", each)):
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("tree_share", torch.zeros(()))

    @staticmethod
    def of(trees: Trees, deviations: Floats) -> BoostedTrees:
        """Multiply trees out; `deviations`, float64 [inputs], are the standard deviations of the inputs."""
        shares: dict[tuple[int, float], Floats] = {}
        pairs: dict[tuple[tuple[int, float], tuple[int, float]], Floats] = {}
        constant, nothing = np.zeros(trees.outputs), np.zeros(trees.outputs)
        each = zip(trees.inputs, trees.thresholds, trees.leaves, strict=True)
        for number, (inputs, thresholds, (a, b, c, d)) in enumerate(each):
            root, first, second = zip(inputs.tolist(), thresholds.tolist(), strict=True)
            output = number % trees.outputs
            constant[output] += a
            for share, weight in ((root, c - a), (first, b - a)):
                shares.setdefault(share, nothing.copy())[output] += weight
            for other, weight in ((first, a - b), (second, d - c)):
                pairs.setdefault((min(root, other), max(root, other)), nothing.copy())[output] += weight
                shares.setdefault(other, nothing.copy())
        # The share of an infinite threshold is always 0.
        kept = {
            share: weight for share, weight in sorted(shares.items(), key=lambda item: item[0]) if np.isfinite(share[1])
        }
        position = {share: i for i, share in enumerate(kept)}
        ordered = sorted(pairs.items(), key=lambda item: item[0])
        paired = [(position[x], position[y], w) for (x, y), w in ordered if x in kept and y in kept and w.any()]
        module = BoostedTrees(len(kept), len(paired), trees.outputs)
        if kept:
            module.input.copy_(torch.tensor([column for column, _ in kept]))
            width = np.maximum(RAMP * deviations[module.input.numpy()], NARROWEST_RAMP)
            module.span.copy_(torch.from_numpy(width))
            module.lower.copy_(torch.from_numpy(np.array([at for _, at in kept]) - width / 2))
            module.weight.copy_(torch.from_numpy(np.stack(list(kept.values()))).reshape(module.weight.shape))
        if paired:
            left, right, weights = zip(*paired, strict=True)
            module.left.copy_(torch.tensor(left))
            module.right.copy_(torch.tensor(right))
            module.pair_weight.copy_(torch.from_numpy(np.stack(weights)).reshape(module.pair_weight.shape))
        module.constant.copy_(torch.from_numpy(constant).reshape(module.constant.shape))
        return module

    @property
    def outputs(self) -> int:
        """The number of outputs."""
        return self.constant.numel()

    def used_inputs(self) -> list[int]:
        """Positions of the inputs that the trees read, ascending."""
        return sorted(set(self.input.tolist()))

    def renumbered(self, position: dict[int, int]) -> BoostedTrees:
        """The same trees over other inputs; `position` maps each used input to its new position."""
        module = BoostedTrees(len(self.input), len(self.left), self.outputs)
        module.load_state_dict(self.state_dict())
        module.input.copy_(torch.tensor([position[x] for x in self.input.tolist()], dtype=torch.int64))
        return module

    def forward(self, inputs: Tensor) -> Tensor:
        """The sum of all trees for each seed."""
        shares = torch.clamp((inputs.index_select(1, self.input) - self.lower) / self.span, 0.0, 1.0)
        total: Tensor = self.constant + shares @ self.weight
        if len(self.left):
            total = total + (shares.index_select(1, self.left) * shares.index_select(1, self.right)) @ self.pair_weight
        return total
