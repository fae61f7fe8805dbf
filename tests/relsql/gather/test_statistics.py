"""Statistics of a path's rows: their list, and what the network computes for each of them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

from relsql.gather.layout import BlockLayout, Segment  # noqa: E402
from relsql.gather.node_inputs import NodeInputs, NumberInput  # noqa: E402
from relsql.gather.statistics import Statistic, path_statistics  # noqa: E402
from relsql.nn.graph_network import NetworkConfig, PathLayer, PathTensors  # noqa: E402

FANOUT, SPANS, WINDOWS = 5, (1.0, 10.0), (1, 3)
INPUTS = NodeInputs("orders", (NumberInput("time", "age"), NumberInput("price", "number")), (), ())
MANY = BlockLayout("orders", FANOUT, (Segment(INPUTS),), counts_width=3, span_days=SPANS)
ONE = BlockLayout("entity", 1, (Segment(INPUTS),))


def reading(layout: BlockLayout, seeds: int, seed: int) -> tuple[torch.Tensor, PathTensors]:
    """Prices with an absent row first, and the rows of seeds, the first of which has none."""
    random = np.random.default_rng(seed)
    counts = np.array([0, *random.integers(0, layout.fanout + 1, size=seeds - 1)])
    if layout.fanout == 1:
        counts[:] = 1
    places = np.zeros((seeds, layout.fanout), dtype=np.int64)
    places[np.arange(layout.fanout)[None, :] < counts[:, None]] = np.arange(1, counts.sum() + 1)
    ages = np.concatenate([np.sort(random.choice([0.5, 1.0, 4.0, 10.0, 40.0], size=n)) for n in counts])
    prices = random.normal(size=(counts.sum() + 1, 1)).clip(-4, 4)
    prices[0] = 0
    totals = random.integers(0, 9, size=(seeds, layout.counts_width))
    rows = np.arange(1, counts.sum() + 1)[None, :]
    return torch.from_numpy(prices.astype(np.float32)), PathTensors(
        torch.from_numpy(rows),
        torch.from_numpy(places),
        torch.from_numpy(ages[:, None].astype(np.float32)),
        torch.from_numpy(totals.astype(np.float32)),
    )


def expected(layout: BlockLayout, statistic: Statistic, prices: np.ndarray, path: PathTensors, seed: int) -> float:
    """One statistic of one seed, computed row by row; ages are in units of ten days."""
    rows = [int(place) - 1 for place in path.places[seed] if place]
    values = [(prices[row + 1, 0], float(path.ages[row, 0]) / 10)[statistic.value % 2] for row in rows]
    days = [float(path.ages[row, 0]) for row in rows]
    if statistic.kind == "count":
        return float(np.log1p(float(path.totals[seed, statistic.value])))
    if statistic.kind == "mean":
        values = values[: statistic.window]
    elif statistic.kind.startswith("span"):
        values = [v for v, age in zip(values, days, strict=True) if age <= layout.span_days[statistic.window]]
    reduce = {"largest": max, "smallest": min, "span_sum": sum}.get(statistic.kind, np.mean)
    return float(reduce(values)) if values else 0.0


@pytest.mark.parametrize("layout", [MANY, ONE], ids=["many rows", "one row"])
def test_every_statistic_is_what_its_description_says(layout: BlockLayout) -> None:
    layer = PathLayer(layout, NetworkConfig(channels=4, windows=WINDOWS)).eval()
    # Standardised values are between -5 and 5.
    layer.age_scaling.standardised = lambda ages: ages / 10  # type: ignore[method-assign]
    prices, path = reading(layout, 30, 1)
    with torch.no_grad():
        found = layer.all_statistics(prices, path).numpy()
    statistics = path_statistics(layout, WINDOWS)
    assert found.shape == (30, len(statistics))
    for position, statistic in enumerate(statistics):
        for seed in range(30):
            wanted = expected(layout, statistic, prices.numpy(), path, seed)
            assert found[seed, position] == pytest.approx(wanted, abs=1e-5), (statistic, seed)


def test_chosen_statistics_follow_the_message() -> None:
    layer = PathLayer(MANY, NetworkConfig(channels=4, windows=WINDOWS, dropout=0.0)).eval()
    prices, path = reading(MANY, 6, 2)
    nodes = {"orders": torch.randn(len(prices), 4, generator=torch.Generator().manual_seed(0))}
    with torch.no_grad():
        message = layer(nodes, prices, path)
        layer.chosen = torch.tensor([0, 4, 11])
        longer = layer(nodes, prices, path)
        torch.testing.assert_close(longer[:, :4], message)
        torch.testing.assert_close(longer[:, 4:], layer.all_statistics(prices, path)[:, [0, 4, 11]])
