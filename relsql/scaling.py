"""Numbers as network inputs: standardised, and piecewise linear over quantile bins of the training rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CLIP = 5.0
BINS = 8
HEAVY_TAIL = 20.0
"""A value further from the median than so many interquartile ranges makes a number heavy-tailed."""

MAX_SAMPLE = 100_000
WEAKEST_DIRECTION = 0.01
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

    @property
    def width(self) -> int:
        """Number of output channels."""
        return len(self.center) * (self.bins + 2)

    @torch.no_grad()
    def fit(self, numbers: Tensor, *, logarithmic: bool = False) -> None:
        """Take the statistics from training rows, float32 [n, width]; `logarithmic` puts all on the log scale."""
        step = max(1, numbers.shape[0] // MAX_SAMPLE)
        for i in range(numbers.shape[1]):
            values = numbers[::step, i]
            values = values[torch.isfinite(values)].double()
            if len(values) == 0:
                continue
            heavy = logarithmic or is_heavy_tailed(values)
            self.logarithmic[i] = float(heavy)
            values = signed_log(values) if heavy else values
            self.center[i] = values.mean()
            deviation = values.std(unbiased=False)
            self.scale[i] = deviation if deviation > 1e-6 else 1.0
            scaled = torch.clamp((values - self.center[i]) / self.scale[i], -CLIP, CLIP)[:MAX_SAMPLE]
            edges = torch.quantile(scaled, torch.linspace(0, 1, self.bins + 1, dtype=torch.float64))
            self.lower[i] = edges[:-1]
            self.span[i] = torch.clamp(edges[1:] - edges[:-1], min=NARROWEST_BIN)

    def standardised(self, numbers: Tensor) -> Tensor:
        """Standardised numbers alone, float32 [n, width]; a missing one is 0."""
        missing = torch.isnan(numbers)
        known = torch.where(missing, torch.zeros_like(numbers), numbers)
        scaled = torch.where(self.logarithmic > 0.5, signed_log(known), known)
        scaled = torch.clamp((scaled - self.center) / self.scale, -CLIP, CLIP)
        return scaled * (1 - missing.to(numbers.dtype))

    def forward(self, numbers: Tensor) -> Tensor:
        """The encoding described above."""
        flags = torch.isnan(numbers).to(numbers.dtype)
        scaled = self.standardised(numbers)
        shares = torch.clamp((scaled.unsqueeze(2) - self.lower) / self.span, 0.0, 1.0)
        shares = shares * (1 - flags).unsqueeze(2)
        return torch.cat([scaled, shares.flatten(1), flags], dim=1)


class TextScaling(nn.Module):
    """Text embeddings whitened: every direction in which the training texts differ counts alike.

    Denoising spreads what a text says unevenly over an embedding's directions; a few labels find a weak one only after
    whitening. Shapes: float32 [texts, width] -> the same; the first row, no text, stays zero.
    """

    center: Tensor
    whitening: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("whitening", torch.eye(width))

    @torch.no_grad()
    def fit(self, embeddings: Tensor) -> None:
        """Take the statistics from embeddings of training rows, float32 [n, width]."""
        if embeddings.shape[0] < 2:
            return
        values = embeddings[:: max(1, embeddings.shape[0] // MAX_SAMPLE)].double()
        center = values.mean(0)
        covariance = (values - center).T @ (values - center) / len(values)
        strengths, directions = torch.linalg.eigh(covariance)
        # Directions far weaker than the average are noise.
        floor = WEAKEST_DIRECTION * strengths.clamp(min=0).mean() + 1e-12
        self.center.copy_(center)
        self.whitening.copy_(directions * torch.rsqrt(strengths.clamp(min=0) + floor) @ directions.T)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Whitened embeddings."""
        whitened = (embeddings - self.center) @ self.whitening
        return torch.cat([torch.zeros_like(whitened[:1]), whitened[1:]])


def is_heavy_tailed(values: Tensor) -> bool:
    """True if some value lies far outside the bulk; `values` float64 [n], finite, n > 0."""
    quartiles = torch.quantile(values[:MAX_SAMPLE], torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    reach = HEAVY_TAIL * torch.clamp(quartiles[2] - quartiles[0], min=1e-9)
    return bool((values - quartiles[1]).abs().max() > reach)


def signed_log(values: Tensor) -> Tensor:
    """sign(x) log(1 + |x|)."""
    return torch.sign(values) * torch.log1p(torch.abs(values))
