"""Numbers as network inputs: standardised, and piecewise linear over quantile bins of the training rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CLIP = 5.0
BINS = 8
HEAVY_TAIL = 20.0
"""A value further from the median than so many interquartile ranges makes a number heavy-tailed."""

MAX_SAMPLE = 100_000
WEAKEST_DIRECTIONS = (10.0, 0.01)
"""Of the contextual and the lexical part of a text embedding, in mean strengths: weaker directions are damped."""

ROUNDING = (1e-4, 1e-12)
"""Of both parts, in mean squares of the part: the strength up to which a direction is no more than rounding.

What a text is batched with moves its contextual part by 1e-6 of its size; whitening must not make an input of that."""

NARROWEST_BIN = 1e-2
"""In standard deviations: a bin between two equal quantiles is a step, which must not be too steep for float32."""


class NumberScaling(nn.Module):
    """Numbers, NaN = missing, as inputs that a linear map can bend: what a tree reads off by thresholds.

    A number is standardised, on a signed log scale where it is heavy-tailed, and clipped to +-5; beside it stands its
    piecewise linear encoding, for each of 8 quantile bins the share of the bin that lies below the number (Gorishniy et
    al. 2022, arXiv 2203.05556, section 3.2), and a missing flag. A missing number is 0 throughout.

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
        self._all_linear = False

    @property
    def width(self) -> int:
        """Number of output channels."""
        return len(self.center) * (self.bins + 2)

    @torch.no_grad()
    def fit(self, numbers: Tensor, *, logarithmic: bool = False) -> None:
        """Take the statistics from training rows, float32 [n, width]; `logarithmic` puts all on the log scale."""
        for i in range(numbers.shape[1]):
            values = evenly(numbers[:, i])
            values = values[torch.isfinite(values)].double()
            if len(values) == 0:
                continue
            heavy = logarithmic or is_heavy_tailed(values)
            self.logarithmic[i] = float(heavy)
            values = signed_log(values) if heavy else values
            self.center[i] = values.mean()
            deviation = values.std(unbiased=False)
            # Less than the digits of float32 can tell is no deviation.
            constant = deviation <= 1e-7 * values.abs().max() or deviation < 1e-30
            self.scale[i] = 1.0 if constant else deviation
            scaled = torch.clamp((values - self.center[i]) / self.scale[i], -CLIP, CLIP)
            edges = torch.quantile(scaled, torch.linspace(0, 1, self.bins + 1, dtype=torch.float64))
            self.lower[i] = edges[:-1]
            self.span[i] = torch.clamp(edges[1:] - edges[:-1], min=NARROWEST_BIN)

    def settle(self) -> None:
        """Leave the logarithm out of all later calls, if no number is on the log scale; call it after the last `fit`.

        Scoring would spend half of its time here on logarithms that nobody needs.
        """
        self._all_linear = not bool((self.logarithmic > 0.5).any())

    def standardised(self, numbers: Tensor) -> Tensor:
        """Standardised numbers alone, float32 [n, width]; a missing one is 0."""
        return _rows(self._scaled(_columns(numbers)))

    def forward(self, numbers: Tensor) -> Tensor:
        """The encoding described above."""
        # All of one number side by side: onnxruntime is several times faster when it broadcasts along rows.
        columns = _columns(numbers)
        known = 1 - torch.isnan(columns).to(numbers.dtype)
        scaled = self._scaled(columns)
        shares = torch.clamp((scaled.unsqueeze(1) - self.lower.unsqueeze(2)) / self.span.unsqueeze(2), 0.0, 1.0)
        shares = shares * known.unsqueeze(1)
        return torch.cat([scaled, shares.flatten(0, 1), 1 - known]).t().contiguous()

    def _scaled(self, columns: Tensor) -> Tensor:
        """Standardised numbers, float32 [width, n]."""
        missing = torch.isnan(columns)
        scaled = torch.where(missing, torch.zeros_like(columns), columns)
        if not self._all_linear:
            scaled = torch.where(self.logarithmic.unsqueeze(1) > 0.5, signed_log(scaled), scaled)
        scaled = torch.clamp((scaled - self.center.unsqueeze(1)) / self.scale.unsqueeze(1), -CLIP, CLIP)
        return scaled * (1 - missing.to(columns.dtype))


class TextScaling(nn.Module):
    """Text embeddings centred and scaled, the contextual part apart from the lexical one.

    The few lexical directions are whitened: each counts alike. The many contextual ones keep their proportions and are
    small together, since few labels fit noise in any of them. Shapes: float32 [texts, sum(widths)] -> the same; the
    first row, no text, stays zero.
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
        """Take the statistics from embeddings of training rows, float32 [n, width]."""
        if embeddings.shape[0] < 2:
            return
        values = evenly(embeddings).double()
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


def _columns(rows: Tensor) -> Tensor:
    """The transpose; of a single number by `reshape`, which onnxruntime does not swap with what follows."""
    return rows.reshape(1, -1) if rows.shape[1] == 1 else rows.t()


def _rows(columns: Tensor) -> Tensor:
    """The transpose back."""
    return columns.reshape(-1, 1) if columns.shape[0] == 1 else columns.t().contiguous()


def _whitening(centred: Tensor, weakest: float, rounding: float) -> Tensor:
    """The symmetric matrix that whitens rows of mean zero, float64 [n, width] -> [width, width].

    A direction of strength s is scaled by 1 / sqrt(s + floor), the floor being `weakest` times the mean strength and
    `rounding` together.
    """
    strengths, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
    floor = weakest * strengths.clamp(min=0).mean() + rounding + 1e-30
    whitening: Tensor = directions * torch.rsqrt(strengths.clamp(min=0) + floor) @ directions.T
    return whitening


def is_heavy_tailed(values: Tensor) -> bool:
    """True if some value lies far outside the bulk; `values` float64 [n], finite, n > 0."""
    quartiles = torch.quantile(evenly(values), torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    reach = HEAVY_TAIL * torch.clamp(quartiles[2] - quartiles[0], min=1e-9)
    return bool((values - quartiles[1]).abs().max() > reach)


def evenly(values: Tensor) -> Tensor:
    """At most MAX_SAMPLE of the values, evenly spread: they come in the order of time."""
    return values[:: -(-len(values) // MAX_SAMPLE) or 1]


def signed_log(values: Tensor) -> Tensor:
    """sign(x) log(1 + |x|)."""
    return torch.sign(values) * torch.log1p(torch.abs(values))
