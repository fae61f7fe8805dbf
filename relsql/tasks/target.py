"""What a regression predicts of the label's distribution: its mean, its median or another quantile.

A target is text in tasks, cards and results: `mean`, `median` or `quantile(0.9)`. Each has a loss that it minimises,
and so a metric that training, evaluation and baselines share.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MEAN, MEDIAN = "mean", "median"
PROBABILITY = "probability"
"""What the score of a binary classification is."""

CLASS = "class"
"""What the score of a multiclass classification is: the likeliest class."""

CLASSES = "classes"
"""What the score of a multilabel classification is: the list of classes above their thresholds."""

ITEMS = "items"
"""What the result of a recommendation is: a list of items, the best first."""

TARGETS = "mean, median, or quantile(q) with 0 < q < 1"
METRIC_TARGETS = {"mae": MEDIAN, "nmae": MEDIAN, "rmse": MEAN, "mse": MEAN, "r2": MEAN}
"""The target that is best by each metric of a regression."""

_MORE_IS_BETTER = frozenset(
    ("roc_auc", "average_precision", "accuracy", "macro_f1", "r2", "map", "recall", "ndcg"),
)

_QUANTILE = re.compile(r"quantile\(\s*([0-9.eE+-]+)\s*\)")


def read_target(text: str) -> str | None:
    """The canonical spelling of a target, `quantile(0.9)` for ` Quantile( .90 )`; None if the text names none."""
    folded = text.strip().lower()
    found = _QUANTILE.fullmatch(folded)
    if found is None:
        return folded if folded in (MEAN, MEDIAN) else None
    try:
        level = float(found[1])
    except ValueError:
        return None
    if not 0 < level < 1:
        return None
    return MEDIAN if level == 0.5 else f"quantile({level!r})"


def quantile_level(target: str) -> float | None:
    """The share of labels that should lie below the score, above 0 and below 1; None for the mean."""
    if target == MEAN:
        return None
    return 0.5 if target == MEDIAN else float(target.removeprefix("quantile(").removesuffix(")"))


def target_metric(target: str) -> str:
    """The metric that the target minimises: `rmse` for the mean, `mae` for the median, `pinball` for quantiles."""
    return {MEAN: "rmse", MEDIAN: "mae"}.get(target, "pinball")


def more_is_better(metric: str) -> bool:
    """True for metrics of rankings and shares of right answers, False for losses; `val_` in front changes nothing."""
    return metric.removeprefix("val_") in _MORE_IS_BETTER


def constant_of(target: str, labels: npt.NDArray[np.floating]) -> float:
    """The target of labels [n], n > 0: the constant with the least `regression_loss`."""
    import numpy as np

    level = quantile_level(target)
    return float(labels.mean() if level is None else np.quantile(labels, level))


def regression_loss(target: str, labels: npt.NDArray[np.floating], scores: npt.NDArray[np.floating]) -> float:
    """The value of `target_metric`, in the unit of the labels, less is better; all arrays [n].

    `pinball` is the mean of q * (label - score) for scores below the label, and (1 - q) * (score - label) above.
    """
    import numpy as np

    error = labels.astype(np.float64) - scores
    level = quantile_level(target)
    if level is None:
        return float(np.sqrt(np.mean(error**2)))
    if level == 0.5:
        return float(np.abs(error).mean())
    return float(np.maximum(level * error, (level - 1) * error).mean())
