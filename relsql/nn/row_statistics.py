"""Extremes of the rows that a seed reads, and their means and sums over spans of time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from relsql.gather.layout import BlockLayout
from relsql.nn.scaling import CLIP


class RowStatistics(nn.Module):
    """The statistics of a path that are neither counts nor means over the latest rows.

    Their order is that of `relsql.gather.statistics.path_statistics`, from `largest` on.

    Args:
        layout: layout of the path's rows.
    """

    span_days: Tensor

    def __init__(self, layout: BlockLayout) -> None:
        super().__init__()
        self.has_extremes = layout.fanout > 1
        self.spans = len(layout.span_days)
        self.register_buffer("span_days", torch.tensor(layout.span_days, dtype=torch.float32), persistent=False)

    def forward(self, values: Tensor, ages: Tensor, places: Tensor) -> Tensor:
        """Statistics of each seed's rows, float32 [seeds, statistics].

        Args:
            values: float32 [1 + rows, values], standardised values of the rows, between -CLIP and CLIP; row 0
                stands for an absent row.
            ages: float32 [1 + rows, 1], days from each row to as_of; read only if there are spans.
            places: int64 [seeds, fanout], positions of the rows by recency rank, 0 = no row.
        """
        present = (places > 0).to(values.dtype)
        rows = nn.functional.embedding(places, values)
        found = [values.new_zeros((places.shape[0], 0))]
        if self.has_extremes:
            found += [self._largest(rows, present), -self._largest(-rows, present)]
        if self.spans:
            old = nn.functional.embedding(places, ages).squeeze(2)
            inside = (old.unsqueeze(1) <= self.span_days.unsqueeze(1)).to(values.dtype) * present.unsqueeze(1)
            sums = inside @ rows
            means = sums / torch.clamp(inside.sum(2, keepdim=True), min=1.0)
            found += [means.flatten(1), sums.flatten(1)]
        return torch.cat(found, dim=1)

    def _largest(self, rows: Tensor, present: Tensor) -> Tensor:
        # An absent row gets the smallest possible value, and the result is 0 if all rows are absent.
        kept = present.unsqueeze(2)
        largest = (rows * kept - CLIP * (1 - kept)).amax(1)
        return largest * present.amax(1, keepdim=True)
