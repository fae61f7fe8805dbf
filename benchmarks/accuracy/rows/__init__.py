"""The rows of the accuracy table: methods that predict the labels of a problem, all on the same splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from benchmarks.data.problems import Problem
from relsql.errors import TrainingError, nearest
from relsql.tasks.splits import Split

Scores = dict[Split, npt.NDArray[np.float64]]


class Row(Protocol):
    """A method that is measured. All its choices are made on validation; test labels are never read."""

    @property
    def name(self) -> str:
        """The name as printed in the table."""

    def scores(self, problem: Problem, seed: int) -> Scores:
        """Predict `val` and `test`: one finite float64 per label of `problem.labels[split]`, in its order.

        The score is the probability of the positive class in binary classification, and the value in regression. The
        model that predicts val is fitted on train labels only; the one that predicts test may use train and val labels.
        """


def _row(module: str, factory: str, *arguments: object) -> Callable[[], Row]:
    """Create a row on demand, so that a row that does not run imports nothing."""

    def make() -> Row:
        row: Row = getattr(import_module(f"benchmarks.accuracy.rows.{module}"), factory)(*arguments)
        return row

    return make


DEFAULT = "relsql"
"""The row that is compared with the others, which are its baselines."""

PRETRAINED = "relsql-pretrained"
"""The same with pre-training across databases. It does not count as a baseline of `DEFAULT`."""

ROWS: dict[str, Callable[[], Row]] = {
    "entity-mean": _row("simple", "EntityMean"),
    "recency": _row("simple", "Recency"),
    "lightgbm-own": _row("lightgbm_rows", "OwnColumns"),
    "lightgbm-aggregates": _row("lightgbm_rows", "Aggregates"),
    "tabm-aggregates": _row("tabm_rows", "TabMAggregates"),
    "rdl": _row("rdl", "Rdl"),
    "paper-text-only": _row("paper", "Paper", "bart", "none"),
    "paper-random-frozen": _row("paper", "Paper", "random", "frozen"),
    "paper-random-finetuned": _row("paper", "Paper", "random", "fine-tuned"),
    "paper-bart-frozen": _row("paper", "Paper", "bart", "frozen"),
    "paper-bart-finetuned": _row("paper", "Paper", "bart", "fine-tuned"),
    PRETRAINED: _row("pretrained", "Pretrained"),
    DEFAULT: _row("default", "Default"),
}
"""All rows by their names on the command line, in the order of the table."""


def make_row(name: str) -> Row:
    """Make the row `name` of `ROWS`, or `name@encoder`: the same with a pre-trained encoder (a path or hub name).

    Raises:
        TrainingError: there is no such row, or it has no encoder.
    """
    base, _, encoder = name.partition("@")
    if base not in ROWS:
        raise TrainingError(f"there is no benchmark row '{base}'", expected=nearest(base, ROWS))
    row = ROWS[base]()
    if not encoder:
        return row
    if not hasattr(row, "encoder"):
        raise TrainingError(f"benchmark row '{base}' has no encoder to replace by '{encoder}'")
    changed: Row = replace(cast(Any, row), encoder=encoder)
    return changed


DETERMINISTIC = frozenset({"entity-mean", "recency"})
"""Rows that do not depend on the seed: they run once."""
