"""Precision and recall of proposals against a known schema."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import duckdb

from benchmarks.proposals.truth import KINDS, Truth
from relsql.schema.discovery.propose import SchemaProposal, infer_schema

Loader = Callable[[duckdb.DuckDBPyConnection, str], Truth]


@dataclass(frozen=True)
class Score:
    """Counts of one kind of proposal: `right` of `proposed` are true, and `found` of `expected` are proposed.

    Proposals that are true without having to be found count neither as right nor as proposed.
    """

    right: int = 0
    proposed: int = 0
    found: int = 0
    expected: int = 0
    wrong: tuple[str, ...] = field(default=())
    missed: tuple[str, ...] = field(default=())

    def __add__(self, other: Score) -> Score:
        return Score(
            self.right + other.right,
            self.proposed + other.proposed,
            self.found + other.found,
            self.expected + other.expected,
            self.wrong + other.wrong,
            self.missed + other.missed,
        )

    @property
    def precision(self) -> float:
        """Share of the proposals that are true; 1 if there are none."""
        return self.right / self.proposed if self.proposed else 1.0

    @property
    def recall(self) -> float:
        """Share of what is true that is proposed; 1 if there is nothing to find."""
        return self.found / self.expected if self.expected else 1.0


def score_schema(load: Loader, name: str, confidence: float) -> dict[str, Score]:
    """Load a schema into an empty database, infer it, and score the proposals of at least `confidence` by kind."""
    with duckdb.connect() as con:
        truth = load(con, name)
        proposed = _texts(infer_schema(con), confidence)
    return {kind: score_texts(proposed[kind], truth.expected[kind], truth.also, name) for kind in KINDS}


def add_scores(scores: Iterable[dict[str, Score]]) -> dict[str, Score]:
    """The counts of several schemas as one, by kind."""
    total = dict.fromkeys(KINDS, Score())
    for each in scores:
        total = {kind: total[kind] + each[kind] for kind in KINDS}
    return total


def _texts(proposal: SchemaProposal, confidence: float) -> dict[str, list[str]]:
    keys = [f"{k.table}({', '.join(k.columns)})" for k in proposal.keys if k.confidence >= confidence]
    links = [str(each.link) for each in proposal.links if each.confidence >= confidence]
    times = [f"{t.table}({t.column})" for t in proposal.times if t.column and t.confidence >= confidence]
    return dict(zip(KINDS, (keys, links, times), strict=True))


def score_texts(proposed: list[str], expected: tuple[tuple[str, ...], ...], also: frozenset[str], schema: str) -> Score:
    """Compare proposals of one kind with what is expected, where one of several alternatives suffices."""
    names = {_plain(text): text for text in proposed}
    wanted = [[_plain(choice) for choice in choices] for choices in expected]
    true = {choice for choices in wanted for choice in choices}
    optional = {_plain(text) for text in also} - true
    counted = [name for name in names if name not in optional]
    missed = [choices[0] for choices, plain in zip(expected, wanted, strict=True) if not set(plain) & set(names)]
    wrong = [names[name] for name in counted if name not in true]
    return Score(
        len(counted) - len(wrong),
        len(counted),
        len(expected) - len(missed),
        len(expected),
        tuple(f"{schema}: {text}" for text in wrong),
        tuple(f"{schema}: {text}" for text in missed),
    )


def _plain(text: str) -> str:
    """Keys, and links to keys, of several columns are the same in any order of the pairs of columns."""
    ends = [(end.partition("(")[0], end.partition("(")[2].rstrip(")").split(", ")) for end in text.split(" -> ")]
    pairs = sorted(zip(*(columns for _, columns in ends), strict=True))
    return f"{[table for table, _ in ends]}{pairs}".casefold()
