"""Folded weights compute what torch computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from exporters.sql.weights import fold_scaling, weights_table
from relsql.nn.graph_network import GraphNetwork, NetworkConfig
from relsql.nn.head import Head
from relsql.nn.scaling import CLIP, NumberScaling
from tests.relsql.gather.arrays.random_blocks import LAYOUTS

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

NUMBERS = st.one_of(st.none(), st.floats(-1e6, 1e6, width=32), st.sampled_from([0.0, 1.0, 1e-6, 7.0]))
COLUMN = st.lists(NUMBERS, min_size=2, max_size=40)


@settings(max_examples=60, deadline=None)
@given(first=COLUMN, second=COLUMN, seed=st.integers(0, 99))
def test_distances_from_edges_are_the_piecewise_linear_encoding(
    first: list[float | None], second: list[float | None], seed: int
) -> None:
    rows = min(len(first), len(second))
    pairs = [[np.nan if x is None else x for x in pair] for pair in zip(first[:rows], second[:rows], strict=True)]
    values = torch.tensor(pairs, dtype=torch.float32)
    scaling = NumberScaling(2)
    scaling.fit(values)
    torch.manual_seed(seed)
    linear = nn.Linear(scaling.width, 3, bias=False)
    folded = fold_scaling(scaling, linear.weight.detach().double().numpy())
    expected = linear(scaling(values)).detach().numpy()
    standardised = scaling.standardised(values).double().numpy()
    for row, (scaled, known) in enumerate(zip(standardised, ~torch.isnan(values).numpy(), strict=True)):
        distances = np.abs(scaled[folded.number] - folded.edge) * known[folded.number]
        # A bin may be a hundredth of a deviation wide, so float32 itself is 1e-5 away there.
        assert folded.weight @ distances + folded.bias == pytest.approx(expected[row], abs=1e-4)


def test_every_edge_lies_within_reach() -> None:
    scaling = NumberScaling(1)
    scaling.fit(torch.linspace(-50, 50, 200).unsqueeze(1))
    folded = fold_scaling(scaling, np.ones((4, scaling.width)))
    # Bins that meet share an edge: 9 of 8 bins, and the two ends of the range.
    assert len(folded.edge) == scaling.bins + 3
    assert np.abs(folded.edge).max() <= CLIP + 1e-9


def test_weights_are_one_row_with_a_struct_for_each_part() -> None:
    config = NetworkConfig(channels=6, text_widths=(5,))
    table = weights_table(GraphNetwork(LAYOUTS, config), Head(config, classification=True))
    assert table.num_rows == 1
    assert {f"path {layout.name}" for layout in LAYOUTS} < set(table.column_names)
    assert table.column_names[-1] == "head"
    for name in table.column_names[:-1]:
        part = table.column(name)[0].as_py()
        rows = part["channels"] if "channels" in part else part["root"]
        assert len(rows) == config.channels
