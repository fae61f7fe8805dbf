"""The task head maps an entity state and a prediction time to a calibrated score."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from relsql.nn.graph_network import NetworkConfig
from relsql.nn.scaling import is_heavy_tailed, signed_log

DAYS_PER_YEAR = 365.25
LARGEST_LOG = 60.0


class Head(nn.Module):
    """Maps an entity state and a prediction time to a score.

    `forward` returns the raw output (logit, or standardised value); `score` the calibrated probability or the value in
    the label's unit. Time is an input as a fraction of the training range, clipped to it, and as the season of the year
    when training spans more than two years. Heavy-tailed labels are learnt on a signed log scale, which does not change
    the optimum: the absolute error is minimised by the median, and the scale is monotone.
    """

    first_day: Tensor
    last_day: Tensor
    seasonal: Tensor
    temperature: Tensor
    label_center: Tensor
    label_scale: Tensor
    label_logarithmic: Tensor

    def __init__(self, config: NetworkConfig, *, classification: bool) -> None:
        super().__init__()
        self.classification = classification
        for name in ("first_day", "seasonal", "label_center", "label_logarithmic"):
            self.register_buffer(name, torch.zeros(()))
        for name in ("last_day", "temperature", "label_scale"):
            self.register_buffer(name, torch.ones(()))
        self.hidden = nn.Linear(config.channels + 3, config.channels)
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.channels, 1)

    @torch.no_grad()
    def fit(self, as_of_days: Tensor, labels: Tensor) -> None:
        """Compute the time range and the label statistics from the training seeds; both float32 [seeds]."""
        self.first_day.copy_(as_of_days.min())
        self.last_day.copy_(torch.maximum(as_of_days.max(), as_of_days.min() + 1))
        self.seasonal.fill_(float(self.last_day - self.first_day > 2 * DAYS_PER_YEAR))
        if self.classification:
            rate = labels.mean().clamp(1e-3, 1 - 1e-3)
            self.out.bias.fill_(float(torch.logit(rate)))
            return
        self.label_logarithmic.fill_(float(is_heavy_tailed(labels.double())))
        values = signed_log(labels) if self.label_logarithmic > 0.5 else labels
        self.label_center.copy_(values.median())
        self.label_scale.copy_(values.std(unbiased=False).clamp(min=1e-30))
        self.out.bias.zero_()

    def targets(self, labels: Tensor) -> Tensor:
        """Labels on the scale of `forward`, float32 [seeds]."""
        if self.classification:
            return labels
        values = signed_log(labels) if self.label_logarithmic > 0.5 else labels
        return (values - self.label_center) / self.label_scale

    def forward(self, state: Tensor, as_of_days: Tensor) -> Tensor:
        """Entity state float32 [seeds, channels], as_of in days since 1970 float32 [seeds] -> float32 [seeds]."""
        progress = torch.clamp((as_of_days - self.first_day) / (self.last_day - self.first_day), 0.0, 1.0)
        angle = as_of_days * (2 * math.pi / DAYS_PER_YEAR)
        time = torch.stack([progress, torch.sin(angle) * self.seasonal, torch.cos(angle) * self.seasonal], dim=1)
        hidden = self.dropout(torch.relu(self.hidden(torch.cat([state, time], dim=1))))
        raw: Tensor = self.out(hidden).squeeze(1)
        return raw

    def score(self, state: Tensor, as_of_days: Tensor) -> Tensor:
        """Like `forward`, calibrated: a probability, or a value in the label's unit."""
        return self.scores(self.forward(state, as_of_days))

    def scores(self, raw: Tensor) -> Tensor:
        """Convert raw outputs to scores, float32 [seeds]."""
        if self.classification:
            return torch.sigmoid(raw / self.temperature)
        value = raw * self.label_scale + self.label_center
        # `where` computes both branches, and without the bound the unused one could be infinite.
        bounded = torch.clamp(value, -LARGEST_LOG, LARGEST_LOG)
        linear = torch.sign(bounded) * torch.expm1(torch.abs(bounded))
        return torch.where(self.label_logarithmic > 0.5, linear, value)
