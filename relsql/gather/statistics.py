"""Which statistics summarise the rows that a seed reads along a path, and in which order; `relsql.nn` computes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from relsql.gather.layout import BlockLayout

StatisticKind = Literal["count", "mean", "largest", "smallest", "span_mean", "span_sum"]


@dataclass(frozen=True, slots=True)
class Statistic:
    """One number about a seed's rows along a path; 0 if there are no rows.

    The values of a row are the static numbers of its own table, then its ages and those of its lookups, all of them
    standardised; a missing value is 0.

    Attributes:
        kind: what is computed.
            count: log(1 + number of visible rows).
            mean: the mean of a value over the latest rows.
            largest, smallest: the extremes of a value over all rows that are read.
            span_mean, span_sum: the mean and sum of a value over the rows that are read and not older than a span.
        value: the position of the value among those of a row; for a count, its position in `Block.totals`.
        window: for a mean, the number of latest rows; for span_mean and span_sum, the position of the span in
            `BlockLayout.span_days`.
    """

    kind: StatisticKind
    value: int
    window: int = 0


def values_width(layout: BlockLayout) -> int:
    """Number of values of a row, see `Statistic`."""
    return len(layout.segments[0].inputs.static_numbers) + layout.ages_width


def mean_windows(fanout: int, windows: Sequence[int]) -> tuple[int, ...]:
    """The number of latest rows of each mean: the windows, none longer than the fanout, ascending and distinct."""
    return tuple(sorted({min(window, fanout) for window in windows}))


def path_statistics(layout: BlockLayout, windows: Sequence[int]) -> tuple[Statistic, ...]:
    """All statistics of a path, in the order of `relsql.nn.graph_network.PathLayer.all_statistics`."""
    return tuple(_statistics(layout, mean_windows(layout.fanout, windows)))


def _statistics(layout: BlockLayout, windows: Sequence[int]) -> Iterator[Statistic]:
    values = range(values_width(layout))
    yield from (Statistic("count", i) for i in range(layout.counts_width))
    yield from (Statistic("mean", value, window) for window in windows for value in values)
    # With one row at most, the extremes equal the mean.
    if layout.fanout > 1:
        yield from (Statistic("largest", value) for value in values)
        yield from (Statistic("smallest", value) for value in values)
    spans = range(len(layout.span_days))
    yield from (Statistic("span_mean", value, span) for span in spans for value in values)
    yield from (Statistic("span_sum", value, span) for span in spans for value in values)
