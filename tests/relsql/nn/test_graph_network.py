from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

from torch_geometric.nn import SAGEConv  # noqa: E402

from relsql.gather.arrays.blocks import Block  # noqa: E402
from relsql.gather.arrays.graph_inputs import GraphInputs, graph_inputs, take_seeds  # noqa: E402
from relsql.nn.graph_network import (  # noqa: E402
    BlockSAGEConv,
    GraphNetwork,
    GraphTensors,
    NetworkConfig,
    RecencyWindows,
    graph_tensors,
)
from tests.relsql.gather.arrays.random_blocks import LAYOUTS, TEXTS, random_block, random_blocks, taken  # noqa: E402

CONFIG = NetworkConfig(channels=8, text_widths=(5,))


def tensors(inputs: GraphInputs) -> GraphTensors:
    embeddings = np.random.default_rng(9).normal(size=(TEXTS, CONFIG.text_width)).astype(np.float32)
    embeddings[0] = 0
    return graph_tensors(inputs, embeddings[inputs.text_ids])


@pytest.fixture
def network() -> GraphNetwork:
    torch.manual_seed(0)
    return GraphNetwork(LAYOUTS, CONFIG).eval()


def run(network: GraphNetwork, blocks: list[Block]) -> np.ndarray:
    with torch.inference_mode():
        return network(tensors(graph_inputs(blocks, LAYOUTS))).numpy()


def shuffled(block: Block, rng: np.random.Generator) -> Block:
    order = rng.permutation(len(block.slot))
    return replace(
        block,
        numbers=block.numbers[order],
        categories=block.categories[order],
        texts=block.texts[order],
        slot=block.slot[order],
    )


def test_one_window_is_the_plain_sage_convolution() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    fanout, seeds, channels = 6, 9, 8
    counts = rng.integers(0, fanout + 1, seeds)
    slot = torch.from_numpy(np.concatenate([i * fanout + rng.permutation(n) for i, n in enumerate(counts)]))
    places = torch.zeros(seeds * fanout, dtype=torch.int64)
    places[slot] = torch.arange(1, len(slot) + 1)
    x = torch.randn(len(slot), channels)
    ours = BlockSAGEConv(fanout, replace(CONFIG, windows=(fanout,))).eval()
    plain = SAGEConv((channels, channels), channels, aggr="mean", root_weight=False)
    with torch.no_grad():
        plain.lin_l.weight.copy_(ours.lin_l.weight)
        plain.lin_l.bias.copy_(ours.lin_l.bias)
    edges = torch.stack([torch.arange(len(slot)), slot // fanout])
    expected = plain((x, torch.zeros(seeds, channels)), edges, size=(len(slot), seeds))
    torch.testing.assert_close(ours(x, places.view(seeds, fanout)), expected)


def test_windows_are_means_over_the_latest_rows() -> None:
    x = torch.tensor([[3.0], [1.0], [5.0], [7.0]])
    windows = RecencyWindows(4, (1, 2, 16))
    assert (windows.windows, windows.width(1)) == ((1, 2, 4), 3)
    found = windows(x, torch.tensor([[2, 3, 1, 0], [0, 0, 0, 0], [4, 0, 0, 0]]))
    torch.testing.assert_close(found, torch.tensor([[1.0, 3.0, 3.0], [0.0, 0.0, 0.0], [7.0, 7.0, 7.0]]))


def test_rows_hidden_in_training_leave_the_mean_of_the_others() -> None:
    x = torch.tensor([[1.0], [10.0]]).repeat(500, 1)
    places = torch.arange(1, 1001).view(500, 2)
    windows = RecencyWindows(2, (1, 2), hidden_rows=0.25).train()
    torch.manual_seed(0)
    latest, both = windows(x, places).T
    assert set(latest.tolist()) == {0.0, 1.0} and set(both.tolist()) == {0.0, 1.0, 5.5, 10.0}
    assert 0.15 < float((latest == 0).float().mean()) < 0.35
    assert 0.46 < float((both == 5.5).float().mean()) < 0.66
    assert set(windows.eval()(x, places)[:, 1].tolist()) == {5.5}


def test_the_order_of_rows_does_not_matter(network: GraphNetwork) -> None:
    blocks = random_blocks(20)
    rng = np.random.default_rng(1)
    mixed = [shuffled(block, rng) for block in blocks]
    np.testing.assert_allclose(run(network, mixed), run(network, blocks), atol=1e-6)
    assert np.ptp(run(network, blocks), axis=0).max() > 0.1


def test_the_rest_of_the_batch_does_not_matter(network: GraphNetwork) -> None:
    blocks = random_blocks(20)
    whole = run(network, blocks)
    for chosen in (np.array([3]), np.array([19, 0, 7]), np.arange(20)[::-1].copy(), np.array([4, 4])):
        np.testing.assert_allclose(run(network, taken(blocks, chosen)), whole[chosen], atol=1e-6)


def test_taken_seeds_have_the_states_that_they_have_in_the_batch(network: GraphNetwork) -> None:
    blocks = random_blocks(20)
    inputs, whole = graph_inputs(blocks, LAYOUTS), run(network, blocks)
    starts = [np.append(block.row_starts(), len(block.slot)) for block in blocks]
    for chosen in (np.array([3, 11, 3]), np.random.default_rng(0).integers(0, 20, 50)):
        with torch.inference_mode():
            found = network(tensors(take_seeds(inputs, LAYOUTS, chosen, starts))).numpy()
        np.testing.assert_allclose(found, whole[chosen], atol=1e-6)


def test_padding_with_empty_seeds_does_not_matter(network: GraphNetwork) -> None:
    blocks, rng = random_blocks(5), np.random.default_rng(0)
    padded = [
        replace(
            block,
            counts=np.concatenate([block.counts, np.zeros(7, dtype=np.int64)]),
            totals=np.concatenate([block.totals, random_block(x, rng, np.zeros(7, dtype=np.int64)).totals]),
        )
        for x, block in zip(LAYOUTS, blocks, strict=True)
    ]
    found = run(network, padded)
    np.testing.assert_allclose(found[:5], run(network, blocks), atol=1e-6)
    assert np.isfinite(found).all() and np.ptp(found[5:], axis=0).max() < 1e-6


def test_no_seeds_and_no_rows(network: GraphNetwork) -> None:
    assert run(network, random_blocks(0)).shape == (0, CONFIG.channels)
    rng = np.random.default_rng(0)
    bare = [random_block(x, rng, np.full(3, int(x.fanout == 1))) for x in LAYOUTS]
    assert np.isfinite(run(network, bare)).all()


def test_absent_lookups_are_zero_whatever_their_columns_hold(network: GraphNetwork) -> None:
    blocks = random_blocks(10)
    rows = blocks[1]
    absent = rows.numbers[:, 3] == 0
    assert absent.any() and not absent.all()
    other = rows.texts.copy()
    other[absent, 0] = 0
    changed = [blocks[0], replace(rows, texts=other), blocks[2]]
    np.testing.assert_array_equal(run(network, changed), run(network, blocks))
    other[~absent, 0] = 0
    assert np.abs(run(network, changed) - run(network, blocks)).max() > 1e-3


@pytest.mark.parametrize("part", ["ages", "counts"])
def test_ages_and_counts_reach_their_seed_alone(network: GraphNetwork, part: str) -> None:
    blocks = random_blocks(10)
    chosen = int(np.flatnonzero(blocks[1].counts)[0])
    rows = replace(blocks[1], numbers=blocks[1].numbers.copy(), totals=blocks[1].totals.copy())
    if part == "ages":
        rows.numbers[rows.slot // LAYOUTS[1].fanout == chosen, 1] = 3.75
    else:
        rows.totals[chosen] += 1.0
    difference = np.abs(run(network, [blocks[0], rows, blocks[2]]) - run(network, blocks)).max(1)
    assert difference[chosen] > 1e-4
    assert np.delete(difference, chosen).max() < 1e-6


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45])
def test_numbers_of_any_size_stay_finite(network: GraphNetwork, value: float) -> None:
    blocks = random_blocks(6)
    for layout, block in zip(LAYOUTS, blocks, strict=True):
        start = 0
        for segment in layout.segments:
            block.numbers[:, start + 1 : start + segment.numbers_width] = value
            start += segment.numbers_width
        block.totals[:] = 1e9
    assert np.isfinite(run(network, blocks)).all()


def test_gradients_are_finite_with_extreme_numbers() -> None:
    torch.manual_seed(0)
    network = GraphNetwork(LAYOUTS, CONFIG).train()
    blocks = random_blocks(6)
    blocks[1].numbers[::2, 1] = math.inf
    blocks[1].numbers[1::2, 2] = -3e38
    network(tensors(graph_inputs(blocks, LAYOUTS))).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_unseen_categories_and_no_text_add_nothing(network: GraphNetwork) -> None:
    encoder = network.encoder("e")
    embeddings = torch.randn(2, CONFIG.text_width)
    embeddings[0] = 0

    def state(category: int, text: int, texts: torch.Tensor = embeddings) -> torch.Tensor:
        return encoder(torch.zeros(1, 1), torch.tensor([[category]]), torch.tensor([text]), texts)

    torch.testing.assert_close(state(0, 0), state(0, 0, torch.zeros(1, CONFIG.text_width)))
    assert (state(1, 0) - state(0, 0)).abs().max() > 1e-3 and (state(0, 1) - state(0, 0)).abs().max() > 1e-3
    # A category that training hides is an unseen one.
    encoder.hidden_categories = 1.0
    encoder.train()
    torch.testing.assert_close(state(1, 0), state(0, 0))


def test_training_hides_and_scoring_does_not(network: GraphNetwork) -> None:
    blocks = random_blocks(20)
    whole = run(network, blocks)
    network.train()
    assert np.abs(run(network, blocks) - run(network, blocks)).max() > 1e-3
    network.eval()
    np.testing.assert_array_equal(run(network, blocks), whole)
