"""The ranker of a recommendation: boosted trees over the numbers of a candidate, as an expression in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from relsql.gather.candidates.features import FEATURES
from relsql.sql_text import literal
from relsql.tasks.predict.links import Way

MAX_TREES = 200
MAX_LEAVES = 8


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree. A node is a question or, if its number is negative, -1 - i, leaf i. The root is question 0.

    Attributes:
        features: by question, the feature that it reads.
        thresholds: by question; a value at or below it goes to the node in `low`, any other one to that in `high`.
        low, high: by question, a node.
        leaves: the score of each leaf.
    """

    features: tuple[str, ...]
    thresholds: tuple[float, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    leaves: tuple[float, ...]

    def sql(self, alias: str, node: int = 0) -> str:
        """The score of a row as an expression."""
        if not self.features or node < 0:
            return _double(self.leaves[-1 - node if node < 0 else 0])
        question = f"{alias}.{self.features[node]} <= {_double(self.thresholds[node])}"
        low, high = self.sql(alias, self.low[node]), self.sql(alias, self.high[node])
        return f"CASE WHEN {question} THEN {low} ELSE {high} END"

    def problems(self) -> Iterator[str]:
        """What is wrong with a tree that was read from a card."""
        count = len(self.features)
        if {len(self.thresholds), len(self.low), len(self.high)} != {count} or len(self.leaves) != count + 1:
            yield "a tree of its ranker lacks nodes"
        elif count >= MAX_LEAVES or not {*self.features} <= FEATURES.keys():
            yield "a tree of its ranker is too large, or reads an unknown number"
        # A question may only lead to later ones, so every walk ends.
        elif not all(
            -count - 2 < n < count and (n < 0 or n > i) for s in (self.low, self.high) for i, n in enumerate(s)
        ):
            yield "a tree of its ranker does not end"


@dataclass(frozen=True, slots=True)
class Ranker:
    """What a recommendation model has learned.

    Attributes:
        way: from entities to items; the rows on it are their interactions.
        horizon_days: length of the task's horizon.
        trees: their scores are added.
    """

    way: Way
    horizon_days: float
    trees: tuple[Tree, ...]

    def score_sql(self, alias: str) -> str:
        """The score of a candidate as an expression of type DOUBLE; `alias` is that of its row."""
        return "\n    + ".join(tree.sql(alias) for tree in self.trees)

    def problems(self) -> Iterable[str]:
        """What is wrong with a ranker that was read from a card."""
        if not 1 <= len(self.trees) <= MAX_TREES:
            yield f"its ranker has {len(self.trees)} trees"
        if not 0 < self.horizon_days < 40_000 or not self.way:
            yield f"its ranker has a horizon of {self.horizon_days} days, or no way to the items"
        for tree in self.trees:
            yield from tree.problems()


def _double(value: float) -> str:
    """A number as DOUBLE: DuckDB reads 0.1 as a DECIMAL, whose sums have other digits."""
    return f"CAST({literal(value)} AS DOUBLE)"


BASELINES = {
    "popularity": "-{0}.item_place",
    "past_visits": "{0}.own_count - {0}.item_place / 1e6",
    "popular_among_similar": "{0}.near - {0}.item_place / 1e6",
}
"""Rankings of the same candidates without a model. The more popular item comes first where two are equal."""
