from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

from torch_geometric.nn import SAGEConv  # noqa: E402

from relsql.blocks import Block, BlockLayout, graph_inputs  # noqa: E402
from relsql.features import CategoryInput, NodeInputs, NumberInput  # noqa: E402
from relsql.fit import graph_tensors  # noqa: E402
from relsql.gather import Segment  # noqa: E402
from relsql.network import BlockSAGEConv, GraphNetwork, GraphTensors, Head, NetworkConfig, NodeEncoder  # noqa: E402
from relsql.schema import Link  # noqa: E402

CONFIG = NetworkConfig(channels=8, text_width=5)
ENTITY = NodeInputs("e", (NumberInput("n", "number"),), (CategoryInput("c", ("x", "y")),), ("c",))
ROW = NodeInputs("r", (NumberInput("age", "age"), NumberInput("i", "number", (1.0, 2.0))), (), ())
PARENT = NodeInputs("p", (), (), ("t",))
LAYOUTS = (
    BlockLayout("entity", 1, (Segment(ENTITY),)),
    BlockLayout("rows", 6, (Segment(ROW), Segment(PARENT, Link("r", ("p",), "p", ("id",))))),
    BlockLayout("more", 4, (Segment(PARENT),)),
)


def make_block(layout: BlockLayout, rng: np.random.Generator, counts: np.ndarray) -> Block:
    rows = int(counts.sum())
    numbers = rng.normal(size=(rows, layout.numbers_width)).astype(np.float32)
    numbers[rng.random(numbers.shape) < 0.2] = np.nan
    start = 0
    for i, segment in enumerate(layout.segments):
        numbers[:, start] = rng.integers(0, 2, rows) if i else 1.0
        start += segment.numbers_width
    ranks = np.concatenate(
        [rng.permutation(layout.fanout)[:count] for count in counts] or [np.zeros(0, dtype=np.int64)]
    )
    # Ranks have no gaps: 0 .. count - 1.
    ranks = np.concatenate([np.argsort(r) for r in np.split(ranks, np.cumsum(counts)[:-1])]) if len(counts) else ranks
    categories = rng.integers(0, 3, (rows, layout.categories_width))
    texts = rng.integers(0, 9, (rows, layout.texts_width))
    slot = np.repeat(np.arange(len(counts)) * layout.fanout, counts) + ranks
    return Block(numbers, categories, texts, slot.astype(np.int64), counts.astype(np.int64))


def make_blocks(seeds: int, seed: int = 0) -> list[Block]:
    rng = np.random.default_rng(seed)
    return [make_block(x, rng, rng.integers(x.fanout == 1, x.fanout + 1, seeds)) for x in LAYOUTS]


def tensors(blocks: list[Block]) -> GraphTensors:
    embeddings = np.random.default_rng(9).normal(size=(9, CONFIG.text_width)).astype(np.float32)
    embeddings[0] = 0
    inputs = graph_inputs(blocks, LAYOUTS)
    return graph_tensors(inputs, embeddings[inputs.text_ids])


@pytest.fixture
def network() -> GraphNetwork:
    torch.manual_seed(0)
    return GraphNetwork(LAYOUTS, CONFIG).eval()


def run(network: GraphNetwork, blocks: list[Block]) -> np.ndarray:
    with torch.inference_mode():
        return network(tensors(blocks), len(blocks[0].counts)).numpy()


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
    x = torch.randn(len(slot), channels)
    ours = BlockSAGEConv(channels, fanout, windows=(fanout,))
    plain = SAGEConv((channels, channels), channels, aggr="mean", root_weight=False)
    with torch.no_grad():
        ours.lin_l.weight[:, -1] = 0.0  # The number of rows, which the plain convolution does not see.
        plain.lin_l.weight.copy_(ours.lin_l.weight[:, :-1])
        plain.lin_l.bias.copy_(ours.lin_l.bias)
    edges = torch.stack([torch.arange(len(slot)), slot // fanout])
    expected = plain((x, torch.zeros(seeds, channels)), edges, size=(len(slot), seeds))
    torch.testing.assert_close(ours(x, slot, seeds), expected)


def test_windows_are_means_over_the_latest_rows() -> None:
    x = torch.tensor([[3.0], [1.0], [5.0], [7.0]])
    convolution = BlockSAGEConv(1, 4, windows=(1, 2, 16))
    found = convolution.aggr_module(x, torch.tensor([2, 0, 1, 8]), dim_size=3)
    log = math.log1p
    torch.testing.assert_close(
        found, torch.tensor([[1.0, 3.0, 3.0, log(3)], [0.0, 0.0, 0.0, 0.0], [7.0, 7.0, 7.0, log(1)]])
    )


def test_the_order_of_rows_does_not_matter(network: GraphNetwork) -> None:
    blocks = make_blocks(20)
    rng = np.random.default_rng(1)
    mixed = [shuffled(block, rng) for block in blocks]
    np.testing.assert_allclose(run(network, mixed), run(network, blocks), atol=1e-6)
    assert np.ptp(run(network, blocks), axis=0).max() > 0.1


def test_the_rest_of_the_batch_does_not_matter(network: GraphNetwork) -> None:
    blocks = make_blocks(20)
    whole = run(network, blocks)
    for chosen in (np.array([3]), np.array([19, 0, 7]), np.arange(20)[::-1].copy()):
        part = [block.take(chosen, block.row_starts(), x.fanout) for block, x in zip(blocks, LAYOUTS, strict=True)]
        np.testing.assert_allclose(run(network, part), whole[chosen], atol=1e-6)


def test_padding_with_empty_seeds_does_not_matter(network: GraphNetwork) -> None:
    blocks = make_blocks(5)
    padded = [replace(block, counts=np.concatenate([block.counts, np.zeros(7, dtype=np.int64)])) for block in blocks]
    found = run(network, padded)
    np.testing.assert_allclose(found[:5], run(network, blocks), atol=1e-6)
    assert np.isfinite(found).all() and np.ptp(found[5:], axis=0).max() < 1e-6


def test_no_seeds_and_no_rows(network: GraphNetwork) -> None:
    assert run(network, make_blocks(0)).shape == (0, CONFIG.channels)
    rng = np.random.default_rng(0)
    bare = [make_block(x, rng, np.full(3, int(x.fanout == 1))) for x in LAYOUTS]
    assert np.isfinite(run(network, bare)).all()


def test_absent_lookups_are_zero_whatever_their_columns_hold(network: GraphNetwork) -> None:
    blocks = make_blocks(10)
    rows = blocks[1]
    absent = rows.numbers[:, 3] == 0
    assert absent.any() and not absent.all()
    other = rows.texts.copy()
    other[absent, 0] = 0
    changed = [blocks[0], replace(rows, texts=other), blocks[2]]
    np.testing.assert_array_equal(run(network, changed), run(network, blocks))
    other[~absent, 0] = 0
    assert np.abs(run(network, changed) - run(network, blocks)).max() > 1e-3


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45])
def test_numbers_of_any_size_stay_finite(network: GraphNetwork, value: float) -> None:
    blocks = make_blocks(6)
    for layout, block in zip(LAYOUTS, blocks, strict=True):
        start = 0
        for segment in layout.segments:
            block.numbers[:, start + 1 : start + segment.numbers_width] = value
            start += segment.numbers_width
    assert np.isfinite(run(network, blocks)).all()
    for table in network.tables:
        encoder = network.encoder(table)
        width = encoder.center.shape[0]
        encoder.fit(torch.full((50, width), value))
        assert torch.isfinite(encoder.center).all() and torch.isfinite(encoder.scale).all()
    assert np.isfinite(run(network, blocks)).all()


@pytest.mark.parametrize("values", [[3e38, -3e38] * 20, [1.0] * 50 + [1e30], [5.0] * 40, [math.inf] * 5 + [1.0, 2.0]])
def test_statistics_of_odd_columns_are_finite(values: list[float]) -> None:
    encoder = NodeEncoder(NodeInputs("t", (NumberInput("n", "number"),), (), ()), CONFIG).eval()
    encoder.fit(torch.tensor(values)[:, None])
    assert torch.isfinite(encoder.center).all() and torch.isfinite(encoder.scale).all() and (encoder.scale > 0).all()
    numbers = torch.tensor([*values, math.nan])[:, None]
    none = torch.zeros(len(numbers), 0, dtype=torch.int64)
    assert torch.isfinite(encoder(numbers, none, torch.zeros(len(numbers), dtype=torch.int64), torch.zeros(1, 5))).all()


def test_gradients_are_finite_with_extreme_numbers() -> None:
    torch.manual_seed(0)
    network = GraphNetwork(LAYOUTS, CONFIG).train()
    blocks = make_blocks(6)
    blocks[1].numbers[::2, 1] = math.inf
    blocks[1].numbers[1::2, 2] = -3e38
    network(tensors(blocks), 6).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_unseen_categories_and_no_text_add_nothing(network: GraphNetwork) -> None:
    encoder = network.encoder("e")
    embeddings = torch.randn(2, CONFIG.text_width)
    embeddings[0] = 0

    def state(category: int, text: int, texts: torch.Tensor = embeddings) -> torch.Tensor:
        return encoder(torch.zeros(1, 1), torch.tensor([[category]]), torch.tensor([text]), texts)

    torch.testing.assert_close(state(0, 0), state(0, 0, torch.zeros(1, CONFIG.text_width)))
    assert (state(1, 0) - state(0, 0)).abs().max() > 1e-3 and (state(0, 1) - state(0, 0)).abs().max() > 1e-3


@pytest.mark.parametrize("classification", [True, False])
def test_scores_are_finite_at_any_time(classification: bool) -> None:
    torch.manual_seed(0)
    head = Head(CONFIG, classification=classification).eval()
    head.fit(torch.tensor([18000.0, 18000.0]), torch.tensor([1.0, 1.0]))
    days = torch.tensor([-1e8, 0.0, 18000.0, 1e8])
    scores = head.score(torch.randn(4, 8), days)
    assert torch.isfinite(scores).all() and scores.shape == (4,)
    assert not classification or bool(((scores >= 0) & (scores <= 1)).all())
