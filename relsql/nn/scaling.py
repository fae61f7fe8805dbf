"""Scale network inputs: numbers standardised and encoded over quantile bins, and text embeddings whitened."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CLIP = 5.0
BINS = 8
HEAVY_TAIL = 20.0
"""In interquartile ranges: a number is heavy-tailed if one of its values is further than this from the median."""

MAX_SAMPLE = 100_000
WEAKEST_DIRECTIONS = (10.0, 0.01)
"""For the contextual and the lexical part of a text embedding, in units of the part's mean strength: weaker directions
are damped."""

ROUNDING = (1e-4, 1e-12)
"""For the same two parts, in units of the part's mean square: a direction up to this strength is rounding noise.

The batch in which a text is encoded changes its contextual part by a relative 1e-6; whitening must not amplify that."""

LEAST_DEVIATION = 1e-3
"""Statistics of standardised numbers that deviate less are constant up to rounding, which is about 1e-7. If this
rounding were scaled to 1, the statistic would differ between torch, ONNX and SQL."""

NARROWEST_BIN = 1e-2
"""In standard deviations: two equal quantiles make a bin of width 0, a step that is too steep for float32."""


class NumberScaling(nn.Module):
    """Encode numbers (NaN = missing) so that a linear map can fit thresholds, as a decision tree does.

    A number is standardised, on a signed log scale if it is heavy-tailed, and clipped to +-5. It is followed by its
    piecewise linear encoding, which is for each of 8 quantile bins the share of the bin below the number (Gorishniy et
    al. 2022, arXiv 2203.05556, section 3.2), and by a missing flag. All channels of a missing number except the flag
    are 0.

    Shapes: float32 [n, width] -> float32 [n, width * (bins + 2)], all standardised numbers first, the flags last.
    """

    center: Tensor
    scale: Tensor
    logarithmic: Tensor
    lower: Tensor
    span: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bins = BINS
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("logarithmic", torch.zeros(width))
        self.register_buffer("lower", torch.zeros(width, self.bins))
        self.register_buffer("span", torch.ones(width, self.bins))

    @property
    def width(self) -> int:
        """Number of output channels."""
        return len(self.center) * (self.bins + 2)

    @torch.no_grad()
    def fit(self, numbers: Tensor, *, logarithmic: bool = False, least_deviation: float = 1e-30) -> None:
        """Compute the statistics from training rows, float32 [n, width]; `logarithmic` puts all on the log scale.

        A number whose standard deviation is below `least_deviation` counts as constant.
        """
        for i in range(numbers.shape[1]):
            values = subsample(numbers[:, i])
            values = values[torch.isfinite(values)].double()
            if len(values) == 0:
                continue
            heavy = logarithmic or is_heavy_tailed(values)
            self.logarithmic[i] = float(heavy)
            values = signed_log(values) if heavy else values
            self.center[i] = values.mean()
            deviation = values.std(unbiased=False)
            # A deviation below the precision of float32 is rounding, and the number is constant.
            constant = deviation <= 1e-7 * values.abs().max() or deviation < least_deviation
            self.scale[i] = 1.0 if constant else deviation
            scaled = torch.clamp((values - self.center[i]) / self.scale[i], -CLIP, CLIP)
            edges = torch.quantile(scaled, torch.linspace(0, 1, self.bins + 1, dtype=torch.float64))
            self.lower[i] = edges[:-1]
            self.span[i] = torch.clamp(edges[1:] - edges[:-1], min=NARROWEST_BIN)

    def standardised(self, numbers: Tensor) -> Tensor:
        """Only the standardised numbers, float32 [n, width]; a missing number is 0."""
        missing = torch.isnan(numbers)
        values = torch.where(missing, torch.zeros_like(numbers), numbers)
        values = torch.where(self.logarithmic > 0.5, signed_log(values), values)
        scaled = torch.clamp((values - self.center) / self.scale, -CLIP, CLIP)
        return scaled * (1 - missing.to(numbers.dtype))

    def forward(self, numbers: Tensor) -> Tensor:
        """The encoding that the class docstring describes."""
        known = 1 - torch.isnan(numbers).to(numbers.dtype)
        scaled = self.standardised(numbers)
        shares = torch.clamp((scaled.unsqueeze(2) - self.lower) / self.span, 0.0, 1.0) * known.unsqueeze(2)
        return torch.cat([scaled, shares.flatten(1), 1 - known], dim=1)


class TextScaling(nn.Module):
    """Centre and scale text embeddings, the contextual and the lexical part separately.

    The few lexical directions are whitened, so that each has the same weight. The many contextual directions keep their
    proportions and are small together, because a small number of labels could fit noise in any of them. Shapes: float32
    [texts, sum(widths)] -> the same; the first row (no text) stays zero.
    """

    center: Tensor
    whitening: Tensor

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.widths = widths
        self.register_buffer("center", torch.zeros(sum(widths)))
        self.register_buffer("whitening", torch.eye(sum(widths)))

    @torch.no_grad()
    def fit(self, embeddings: Tensor) -> None:
        """Compute the statistics from embeddings of training rows, float32 [n, width]."""
        if embeddings.shape[0] < 2:
            return
        values = subsample(embeddings).double()
        center = values.mean(0)
        centred = values - center
        self.center.copy_(center)
        start = 0
        for width, weakest, rounding in zip(self.widths, WEAKEST_DIRECTIONS, ROUNDING, strict=False):
            part = slice(start, start + width)
            size = float((values[:, part] ** 2).mean())
            self.whitening[part, part] = _whitening(centred[:, part], weakest, rounding * size)
            start += width

    def forward(self, embeddings: Tensor) -> Tensor:
        """Whitened embeddings."""
        whitened = (embeddings - self.center) @ self.whitening
        return torch.cat([torch.zeros_like(whitened[:1]), whitened[1:]])


def _whitening(centred: Tensor, weakest: float, rounding: float) -> Tensor:
    """The symmetric matrix that whitens rows of mean zero, float64 [n, width] -> [width, width].

    A direction of strength s is scaled by 1 / sqrt(s + floor), where floor is `weakest` times the mean strength, plus
    `rounding`.
    """
    strengths, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
    floor = weakest * strengths.clamp(min=0).mean() + rounding + 1e-30
    whitening: Tensor = directions * torch.rsqrt(strengths.clamp(min=0) + floor) @ directions.T
    return whitening


def is_heavy_tailed(values: Tensor) -> bool:
    """True if some value is far from the bulk of the values; `values` float64 [n], finite, n > 0."""
    quartiles = torch.quantile(subsample(values), torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    reach = HEAVY_TAIL * torch.clamp(quartiles[2] - quartiles[0], min=1e-9)
    return bool((values - quartiles[1]).abs().max() > reach)


def subsample(values: Tensor) -> Tensor:
    """At most MAX_SAMPLE of the values, evenly spaced, because the values are in the order of time."""
    return values[:: -(-len(values) // MAX_SAMPLE) or 1]


def signed_log(values: Tensor) -> Tensor:
    """sign(x) log(1 + |x|)."""
    return torch.sign(values) * torch.log1p(torch.abs(values))
