"""The task head maps an entity state and a prediction time to a calibrated score."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from relsql.nn.boosted_trees import BoostedTrees
from relsql.nn.graph_network import NetworkConfig
from relsql.nn.scaling import is_heavy_tailed, signed_log, subsample
from relsql.tasks.target import MEDIAN, quantile_level

DAYS_PER_YEAR = 365.25
LARGEST_LOG = 60.0

TIMES = 3
"""The number of columns that `Head.times` returns: progress, and two for the season."""


class Head(nn.Module):
    """Maps an entity state and a prediction time to a score.

    `forward` returns the raw output (logit, or standardised value); `score` the calibrated probability or the value in
    the label's unit. Time is an input as a fraction of the training range, clipped to it, and as the season of the year
    when training spans more than two years.

    A regression predicts its `target`, see `relsql.tasks.target`:

    median, quantiles   Heavy-tailed labels are learnt on a signed log scale. It is monotone, so it does not change
                        which value is the optimum.
    mean                The score of skewed labels that are never negative is `exp` of the output, and the loss is in
                        the label's unit (Poisson deviance), because `exp` of a mean of logs is not the mean. Other
                        labels are learnt as they are (squared error).

    The output is a mixture of the network's and of `trees`, boosted trees over the chosen statistics and the time, if
    there are any; `BoostedTrees.tree_share` is their part of it.
    """

    first_day: Tensor
    last_day: Tensor
    seasonal: Tensor
    temperature: Tensor
    label_center: Tensor
    label_scale: Tensor
    label_logarithmic: Tensor

    def __init__(
        self, config: NetworkConfig, *, classification: bool, target: str | None = None, outputs: int = 1
    ) -> None:
        super().__init__()
        self.classification = classification
        self.target = target or MEDIAN
        self.level = quantile_level(self.target)
        for name in ("first_day", "seasonal", "label_center", "label_logarithmic"):
            self.register_buffer(name, torch.zeros(()))
        for name in ("last_day", "temperature", "label_scale"):
            self.register_buffer(name, torch.ones(()))
        self.hidden = nn.Linear(config.channels + TIMES, config.channels)
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.channels, outputs)
        self.trees: BoostedTrees | None = None

    @torch.no_grad()
    def fit(self, as_of_days: Tensor, labels: Tensor) -> None:
        """Compute the time range and the label statistics from the training seeds; both float32 [seeds]."""
        self.first_day.copy_(as_of_days.min())
        self.last_day.copy_(torch.maximum(as_of_days.max(), as_of_days.min() + 1))
        self.seasonal.fill_(float(self.last_day - self.first_day > 2 * DAYS_PER_YEAR))
        self.fit_labels(labels)

    @torch.no_grad()
    def fit_labels(self, labels: Tensor) -> None:
        """Compute the label statistics from the training labels, float32 [seeds]."""
        if self.classification:
            rate = labels.mean().clamp(1e-3, 1 - 1e-3)
            self.out.bias.fill_(float(torch.logit(rate)))
            return
        self.out.bias.zero_()
        if self.level is None:
            mean, deviation = labels.double().mean(), _deviation(labels)
            self.label_logarithmic.fill_(float(labels.min() >= 0 and deviation > mean))
            self.label_center.copy_(mean.log() if self.has_log_link else mean)
            self.label_scale.copy_(torch.ones(()) if self.has_log_link else deviation)
            return
        self.label_logarithmic.fill_(float(is_heavy_tailed(labels.double())))
        values = self._on_scale(labels)
        self.label_center.copy_(values.median() if self.level == 0.5 else torch.quantile(subsample(values), self.level))
        self.label_scale.copy_(_deviation(values))

    @property
    def steps(self) -> int | None:
        """The number of windows of a forecast in steps; None for other tasks."""
        return None

    @property
    def has_log_link(self) -> bool:
        """True if the score is `exp` of the output: a mean of labels that are skewed and never negative."""
        return self.level is None and bool(self.label_logarithmic > 0.5)

    def targets(self, labels: Tensor) -> Tensor:
        """Labels as `losses` reads them: on the scale of `forward`, or in units of the mean; float32 [seeds]."""
        if self.classification:
            return labels
        if self.has_log_link:
            return labels / torch.exp(self.label_center)
        return (self._on_scale(labels) - self.label_center) / self.label_scale

    def losses(self, raw: Tensor, targets: Tensor) -> Tensor:
        """The loss of each seed, float32 [seeds]; see `targets`."""
        if self.classification:
            return nn.functional.binary_cross_entropy_with_logits(raw, targets, reduction="none")
        if self.has_log_link:
            bounded = torch.clamp(raw, max=LARGEST_LOG)
            return torch.exp(bounded) - targets * bounded
        error = targets - raw
        if self.level is None:
            return error**2
        # Twice the pinball loss, which is the absolute error for the median.
        return torch.abs(error) + (2 * self.level - 1) * error

    @torch.no_grad()
    def remove_bias(self, raw: Tensor, labels: Tensor) -> None:
        """Move the centre so that the scores of seeds add up to their labels; only for the mean.

        With the log link this multiplies all scores, and nothing changes if no label is above 0.
        """
        scores, labels = self.scores(raw).double(), labels.double()
        if self.has_log_link:
            if labels.sum() > 0:
                self.label_center += torch.log(labels.sum() / scores.sum())
        elif self.level is None:
            self.label_center += (labels - scores).mean()

    def _on_scale(self, labels: Tensor) -> Tensor:
        return signed_log(labels) if self.label_logarithmic > 0.5 else labels

    def add_trees(self, trees: BoostedTrees, share: float) -> None:
        """Mix the output with that of trees over the chosen statistics and the time, see `times`."""
        trees.tree_share.fill_(share)
        self.trees = trees

    def times(self, as_of_days: Tensor) -> Tensor:
        """as_of as a fraction of the training range and as the season, float32 [seeds] -> float32 [seeds, TIMES]."""
        progress = torch.clamp((as_of_days - self.first_day) / (self.last_day - self.first_day), 0.0, 1.0)
        angle = as_of_days * (2 * math.pi / DAYS_PER_YEAR)
        return torch.stack([progress, torch.sin(angle) * self.seasonal, torch.cos(angle) * self.seasonal], dim=1)

    def forward(self, state: Tensor, as_of_days: Tensor) -> Tensor:
        """Raw outputs, float32 [seeds], or [seeds, outputs] if there are several.

        Args:
            state: float32 [seeds, channels + statistics], entity states, followed by the chosen statistics.
            as_of_days: float32 [seeds], as_of in days since 1970.
        """
        channels, times = self.hidden.out_features, self.times(as_of_days)
        hidden = self.dropout(torch.relu(self.hidden(torch.cat([state[:, :channels], times], dim=1))))
        raw: Tensor = self.out(hidden)
        if self.out.out_features == 1:
            raw = raw.squeeze(1)
        if self.trees is None:
            return raw
        boosted: Tensor = self.trees(torch.cat([state[:, channels:], times], dim=1))
        mixed: Tensor = raw + self.trees.tree_share * (boosted - raw)
        return mixed

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
        signed = torch.sign(bounded) * torch.expm1(torch.abs(bounded))
        linear = torch.exp(bounded) if self.level is None else signed
        return torch.where(self.label_logarithmic > 0.5, linear, value)


def _deviation(values: Tensor) -> Tensor:
    return values.std(unbiased=False).clamp(min=1e-30)
