"""The graph rows of the accuracy benchmark: graph, temporal sampler, RDL and the seed paper's recipe."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import SAGEConv

from benchmarks.accuracy.graph.data import (
    ALWAYS,
    NEVER,
    Graph,
    category_sizes,
    find_seeds,
    fit_columns,
    load_graph,
    microseconds,
)
from benchmarks.accuracy.graph.sampling import Subgraphs, TemporalSampler, choose
from benchmarks.accuracy.graph.training import Schedule, Target, score
from benchmarks.accuracy.rows import paper
from benchmarks.accuracy.rows.paper import Paper, convolve, load_seeds, masked_loss, node_batches
from benchmarks.accuracy.rows.rdl import GraphLayer, Rdl
from benchmarks.data.problems import Problem, Regime
from relsql.schema.reading import read_schema
from relsql.schema.tables import Link, Schema
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.splits import SPLITS
from relsql.tasks.task import Task
from tests.shop import SPEND_TASK, TASK, create_shop

QUICK = Schedule(epochs=2, batch_size=64, learning_rate=0.01, max_steps=3)
RDL = Rdl(channels=8, fanouts=(4, 3), schedule=QUICK)
PAPER = Paper(encoder_steps=2, channels=16, fanouts=(4, 3), pretraining_steps=4, pretraining_batch=32, schedule=QUICK)
ROWS = [
    RDL,
    replace(PAPER, graph="none"),
    replace(PAPER, rows="random", graph="frozen"),
    replace(PAPER, rows="random"),
    replace(PAPER, graph="frozen"),
    PAPER,
]
CUT = datetime.datetime(2022, 11, 1)


@pytest.fixture(scope="module")
def shop_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph_rows") / "shop.duckdb"
    create_shop(path)
    return path


def make_problem(path: Path, task: Task, regime: Regime) -> Problem:
    with duckdb.connect(str(path), read_only=True) as con:
        schema = read_schema(con)
        labels = {split: label_table(con, path.stem, schema, task, split).table for split in SPLITS}
    return Problem("shop", task, regime, path, schema, labels)


# The sampler


def random_graph(random: np.random.Generator) -> HeteroData:
    """Three tables with few times, links in all directions, parallel edges and a table that links to itself."""
    data = HeteroData()
    for table in ("a", "b", "c"):
        data[table].num_nodes = int(random.integers(1, 12))
        data[table].time = torch.from_numpy(random.integers(0, 6, data[table].num_nodes))
    data["a"].time[:] = ALWAYS
    data["b"].time[0] = NEVER
    for child, name, parent in (("b", "f", "a"), ("c", "f", "b"), ("c", "g", "a"), ("c", "h", "c")):
        count = int(random.integers(0, 40))
        ends = [random.integers(0, data[table].num_nodes, count) for table in (child, parent)]
        data[child, name, parent].edge_index = torch.from_numpy(np.stack(ends))
        data[parent, f"rev_{name}", child].edge_index = torch.from_numpy(np.stack(ends[::-1]))
    return data


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from(["a", "b", "c"]), st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_sampler_agrees_with_brute_force(number: int, table: str, fanouts: list[int]) -> None:
    random = np.random.default_rng(number)
    data = random_graph(random)
    rows = random.integers(0, data[table].num_nodes, 5)
    bounds = np.maximum(random.integers(0, 6, 5), np.where(data[table].time[rows] == NEVER, 0, data[table].time[rows]))
    sampled = TemporalSampler(data).sample(table, rows, bounds, fanouts, random)
    np.testing.assert_array_equal(sampled.rows[table][:5], rows)
    np.testing.assert_array_equal(sampled.seeds[table][:5], np.arange(5))
    for name in data.node_types:
        pairs = set(zip(sampled.seeds[name], sampled.rows[name], strict=True))
        assert len(pairs) == len(sampled.rows[name]) == sampled.sizes[name][-1]
        start = 5 if name == table else 0
        assert (data[name].time.numpy()[sampled.rows[name]] <= bounds[sampled.seeds[name]])[start:].all()
    for hop, fanout in enumerate(fanouts):
        check_hop(data, sampled, bounds, hop, fanout)


def check_hop(data: HeteroData, sampled: Subgraphs, bounds: np.ndarray, hop: int, fanout: int) -> None:
    """Every node first reached one hop before has the right number of its visible neighbours, and no other has any."""
    for edge_type in data.edge_types:
        source, _, target = edge_type
        existing = data[edge_type].edge_index.numpy()
        drawn = sampled.edges[hop][edge_type]
        frontier = range(sampled.sizes[target][hop - 1] if hop else 0, sampled.sizes[target][hop])
        assert set(drawn[1]) <= set(frontier)
        for node in frontier:
            seed = sampled.seeds[target][node]
            neighbours = existing[0][existing[1] == sampled.rows[target][node]]
            visible = neighbours[data[source].time.numpy()[neighbours] <= bounds[seed]]
            found = drawn[0][drawn[1] == node]
            assert len(found) == min(fanout, len(visible))
            assert (sampled.seeds[source][found] == seed).all()
            # Without replacement: no neighbour more often than there are edges to it.
            kinds, counts = np.unique(sampled.rows[source][found], return_counts=True)
            assert all(count <= (visible == kind).sum() for kind, count in zip(kinds, counts, strict=True))


def test_choice_is_uniform_and_without_replacement() -> None:
    counts = np.repeat([0, 1, 3, 7], 20_000)
    position, offset = choose(counts, 3, np.random.default_rng(0))
    assert (np.bincount(position, minlength=len(counts)) == np.minimum(counts, 3)).all()
    assert (offset >= 0).all() and (offset < counts[position]).all()
    assert len(np.unique(np.stack([position, offset]), axis=1).T) == len(position)
    of_seven = offset[counts[position] == 7]
    # Each of 7 is chosen with probability 3/7; the standard deviation of a share is 0.0035.
    np.testing.assert_allclose(np.bincount(of_seven) / 20_000, 3 / 7, atol=0.015)


# Convolutions


def toy_graph() -> tuple[HeteroData, dict[str, torch.Tensor]]:
    """One entity with rows 1, 2 and 4 at the times 1, 2 and 3, a row of another entity, and a second kind of row."""
    data = HeteroData()
    data["entity"].num_nodes, data["entity"].time = 2, torch.tensor([ALWAYS, ALWAYS])
    data["row"].num_nodes, data["row"].time = 4, torch.tensor([1, 2, 3, 1])
    data["note"].num_nodes, data["note"].time = 1, torch.tensor([2])
    data["row", "of", "entity"].edge_index = torch.tensor([[0, 1, 2, 3], [0, 0, 0, 1]])
    data["note", "of", "entity"].edge_index = torch.tensor([[0], [0]])
    for table in ("row", "note"):
        data["entity", "rev_of", table].edge_index = data[table, "of", "entity"].edge_index.flip(0)
    x = {
        "entity": torch.tensor([[100.0], [200.0]]),
        "row": torch.tensor([[1.0], [2.0], [4.0], [1000.0]]),
        "note": torch.tensor([[8.0]]),
    }
    return data, x


def as_plain_aggregation(convolution: nn.Module) -> None:
    """Let a SAGEConv of width 1 return what it aggregates, and nothing of the target itself."""
    with torch.no_grad():
        for name, parameter in convolution.named_parameters():
            parameter.fill_(1.0 if name.endswith("lin_l.weight") else 0.0)


@pytest.mark.parametrize(("bound", "total", "mean"), [(0, 0, 100), (1, 1, 101 / 2), (2, 11, 111 / 4), (9, 15, 115 / 5)])
def test_sum_and_mean_over_visible_neighbours(bound: int, total: float, mean: float) -> None:
    data, x = toy_graph()
    rows, bounds = np.array([0]), np.array([bound])
    sampled = TemporalSampler(data).sample("entity", rows, bounds, [10], np.random.default_rng(0))
    sources = {table: x[table][torch.from_numpy(found)] for table, found in sampled.rows.items()}
    targets = {table: vectors[: sampled.sizes[table][0]] for table, vectors in sources.items()}
    layer = GraphLayer(data.edge_types, {"entity": 0, "note": 1, "row": 2}, 1)
    as_plain_aggregation(layer.convolution)
    layer.norms = nn.ModuleList(nn.Identity() for _ in range(3))
    assert layer(sources, targets, sampled.edges_within(1))["entity"].tolist() == [[total]]
    shared = SAGEConv((1, 1), 1, aggr="mean")
    as_plain_aggregation(shared)
    found = convolve(shared, sources, "entity", targets["entity"], sampled.edges_within(1))
    assert found.item() == pytest.approx(mean)


def test_masked_loss_counts_hidden_dimensions_only() -> None:
    truth = torch.tensor([[1.0, 2.0, 3.0]])
    hidden = torch.tensor([[True, True, False]])
    assert masked_loss(torch.tensor([[1.0, 2.0, -50.0]]), truth, hidden).item() == pytest.approx(0.0, abs=1e-6)
    # Opposite direction: cosine -1, so 0.7 * 2 ** 2 + 0.3 * (4 + 16) / 2.
    assert masked_loss(torch.tensor([[-1.0, -2.0, 3.0]]), truth, hidden).item() == pytest.approx(5.8)


# The graph of a database


def small_graph(con: duckdb.DuckDBPyConnection) -> Graph:
    con.execute(
        """
        CREATE TABLE teams (code VARCHAR, year INTEGER, city VARCHAR, PRIMARY KEY (code, year));
        INSERT INTO teams VALUES ('y', 1, 'Ulm'), ('x', 2, 'Gent'), ('x', 1, 'Turku');
        CREATE TABLE players (id BIGINT PRIMARY KEY, team VARCHAR, season INTEGER, joined TIMESTAMP, goals INTEGER);
        INSERT INTO players VALUES
            (30, 'x', 1, '2020-01-01 00:00:00.000001', 5), (10, 'x', 2, NULL, NULL), (20, NULL, 1, 'infinity', 7),
            (40, 'z', 1, '2021-06-01', 5), (50, 'x', 1, '1960-01-01', 6);
        CREATE TABLE empty (id BIGINT PRIMARY KEY, player BIGINT, score DOUBLE, word VARCHAR);
        """
    )
    schema = read_schema(con)
    tables = schema.tables | {"players": replace(schema.table("players"), time_column="joined")}
    links = (
        Link("players", ("team", "season"), "teams", ("code", "year")),
        Link("empty", ("player",), "players", ("id",)),
    )
    schema = Schema(tables, links)
    inputs = fit_columns(con, "memory", schema, until=datetime.datetime(2022, 1, 1))
    graph = load_graph(con, "memory", schema, inputs, "id")
    for table in schema.tables:
        sizes = category_sizes(inputs[table])
        codes = graph.data[table].categories
        assert codes.shape == (graph.data[table].num_nodes, len(sizes))
        assert all(int(codes[:, i].max()) < size for i, size in enumerate(sizes) if len(codes))
    return graph


def test_graph_of_a_database(con: duckdb.DuckDBPyConnection) -> None:
    graph = small_graph(con)
    # Nodes are in the order of the primary key.
    assert graph.keys["players"]["id"].to_pylist() == [10, 20, 30, 40, 50]
    assert graph.data["players"].time.tolist() == [
        *(NEVER, NEVER, microseconds(datetime.datetime(2020, 1, 1)) + 1),
        *(microseconds(datetime.datetime(2021, 6, 1)), microseconds(datetime.datetime(1960, 1, 1))),
    ]
    assert graph.data["teams"].time.tolist() == [ALWAYS] * 3
    # Composite keys; a NULL part and an unknown key link to nothing.
    assert graph.data["players", "team_season", "teams"].edge_index.tolist() == [[0, 2, 4], [1, 0, 0]]
    assert graph.data["teams", "rev_team_season", "players"].edge_index.tolist() == [[1, 0, 0], [0, 2, 4]]
    numbers = graph.data["players"].numbers
    assert numbers.isnan().tolist() == [[True], [False], [False], [False], [False]]
    assert numbers[1:, 0].tolist() == [7.0, 5.0, 5.0, 6.0]
    assert graph.data["empty"].num_nodes == 0


def test_seeds_that_cannot_see_their_entity_get_the_prior(con: duckdb.DuckDBPyConnection) -> None:
    graph = small_graph(con)
    times = [datetime.datetime(2020, 1, 1), datetime.datetime(2020, 1, 2), *[datetime.datetime(2022, 1, 1)] * 3]
    labels = pa.table(
        {
            "entity": [30, 30, 40, 99, 10],
            "as_of": pa.array(times, pa.timestamp("us")),
            "label": [0.0, 1.0, 1.0, 0.0, 1.0],
        }
    )
    seeds = find_seeds(con, graph, "players", "id", labels)
    assert seeds.rows.tolist() == [-1, 2, 3, -1, -1]
    cut = find_seeds(con, graph, "players", "id", labels, until=datetime.datetime(2021, 1, 1))
    assert cut.rows.tolist() == [2, 2, -1, -1, -1]
    assert set(cut.bounds.tolist()) == {microseconds(datetime.datetime(2021, 1, 1))}

    class Constant(nn.Module):
        def forward(self, seeds: object, random: np.random.Generator) -> torch.Tensor:
            return torch.full((len(seeds),), 20.0)  # type: ignore[arg-type]

    target = Target.fit(seeds.labels, is_classification=True)
    np.testing.assert_allclose(score(Constant(), target, seeds), [0.6, 1.0, 1.0, 0.6, 0.6], atol=1e-6)


def test_pretraining_meets_visible_nodes_only(con: duckdb.DuckDBPyConnection) -> None:
    batches = node_batches(small_graph(con), microseconds(datetime.datetime(2020, 6, 1)), 10, np.random.default_rng(0))
    first, second, third = next(batches), next(batches), next(batches)
    assert [first[0], second[0], third[0]] == ["players", "teams", "players"]
    assert sorted(first[1]) == [2, 4]


# The rows


@pytest.mark.parametrize("regime", ["seed-time", "frozen"])
def test_bounded_graph_is_the_cut_database(shop_path: Path, regime: Regime) -> None:
    problem = make_problem(shop_path, TASK, regime)
    graph, seeds, inputs = load_seeds(problem)
    with problem.open("test") as (con, catalog):
        cut = load_graph(con, catalog, problem.schema, inputs, "customer_id")
        labels = find_seeds(con, cut, "customers", "customer_id", problem.labels["test"])

    def orders_read(graph: Graph, rows: np.ndarray, bounds: np.ndarray) -> set[tuple[int, int]]:
        sampled = graph.sampler.sample("customers", rows, bounds, [1000], np.random.default_rng(0))
        orders = graph.keys["orders"]["order_id"].to_numpy()[sampled.rows["orders"]]
        return set(zip(sampled.seeds["orders"].tolist(), orders.tolist(), strict=True))

    found = orders_read(graph, seeds["test"].rows, seeds["test"].bounds)
    assert found == orders_read(cut, labels.rows, labels.bounds)
    assert len(found) > 100


@pytest.mark.parametrize(("task", "regime"), [(TASK, "seed-time"), (TASK, "frozen"), (SPEND_TASK, "frozen")])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_scores_are_finite(row: Rdl | Paper, task: Task, regime: Regime, shop_path: Path) -> None:
    problem = make_problem(shop_path, task, regime)
    scores = row.scores(problem, 0)
    assert set(scores) == {"val", "test"}
    for split, found in scores.items():
        assert found.dtype == np.float64 and found.shape == (problem.labels[split].num_rows,)
        assert np.isfinite(found).all() and len(np.unique(found)) > 1
        if task.is_classification:
            assert (found >= 0).all() and (found <= 1).all()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_scores_depend_on_the_seed_alone(row: Rdl | Paper, shop_path: Path) -> None:
    problem = make_problem(shop_path, TASK, "seed-time")
    state = torch.random.get_rng_state()
    first, again, other = (row.scores(problem, seed) for seed in (0, 0, 1))
    assert torch.equal(state, torch.random.get_rng_state())
    for split in first:
        np.testing.assert_array_equal(first[split], again[split])
        assert not np.array_equal(first[split], other[split])


def test_what_ablations_share_does_not_change_their_scores(shop_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make_problem(shop_path, TASK, "frozen")
    shared = PAPER.scores(problem, 3)
    monkeypatch.setattr(paper, "_encoded", {})
    monkeypatch.setattr(paper, "_convolutions", {})
    alone = PAPER.scores(problem, 3)
    np.testing.assert_array_equal(shared["test"], alone["test"])


@pytest.mark.parametrize(
    ("row", "regime"),
    [(RDL, "seed-time"), (RDL, "frozen"), (replace(PAPER, rows="random"), "seed-time"), (PAPER, "frozen")],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_rows_after_the_test_timestamp_do_not_count(
    row: Rdl | Paper, regime: Regime, shop_path: Path, tmp_path: Path
) -> None:
    problem = make_problem(shop_path, TASK, regime)
    later, earlier = (
        row.scores(replace(problem, path=tamper(shop_path, tmp_path, sign)), 0)["test"] for sign in (">", "<=")
    )
    expected = row.scores(problem, 0)["test"]
    np.testing.assert_allclose(later, expected, atol=1e-5)
    assert np.abs(earlier - expected).max() > 1e-3


def tamper(path: Path, folder: Path, sign: str) -> Path:
    """A copy of the shop in which orders after or before the test timestamp have other amounts and customers."""
    copy = folder / f"{'later' if sign == '>' else 'earlier'}.duckdb"
    copy.write_bytes(path.read_bytes())
    with duckdb.connect(str(copy)) as con:
        con.execute(
            f"UPDATE orders SET amount = 99 - amount, customer_id = 59 - customer_id WHERE ordered_at {sign} ?", [CUT]
        )
    return copy


def test_a_table_without_links_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "single.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute(
            """
            CREATE TABLE customers AS SELECT i AS customer_id, (i * 37 % 100) AS size FROM range(50) t(i);
            CREATE TABLE orders AS
            SELECT i AS order_id, i % 50 AS customer_id,
                TIMESTAMP '2021-01-01' + to_days((i // 4)::INTEGER) AS ordered_at
            FROM range(2900) t(i) WHERE hash(i) % 10 = 0;
            """
        )
        schema = read_schema(con)
        customers = replace(schema.table("customers"), primary_key=("customer_id",))
        orders = replace(schema.table("orders"), primary_key=("order_id",), time_column="ordered_at")
        whole = Schema({"customers": customers, "orders": orders})
        labels = {split: label_table(con, "single", whole, TASK, split).table for split in SPLITS}
    problem = Problem("single", TASK, "seed-time", path, Schema({"customers": customers}), labels)
    for row in (RDL, PAPER):
        assert np.isfinite(row.scores(problem, 0)["test"]).all()


def test_pretrained_bart_is_used(shop_path: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    from relsql.nn.row_encoder import compact_config, new_model
    from relsql.text.tokenizer import BOS, EOS, MASK, PAD, UNK
    from relsql.training.encoder.fit_tokenizer import train_tokenizer

    checkpoint = tmp_path / "bart"
    tokenizer = train_tokenizer(["<table>orders<attribute>note<value>gift"])
    named = {"bos_token": BOS, "pad_token": PAD, "eos_token": EOS, "unk_token": UNK, "mask_token": MASK}
    backend = Tokenizer.from_str(tokenizer.json)
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, **named)  # type: ignore[no-untyped-call]
    fast.save_pretrained(checkpoint)
    new_model(compact_config(tokenizer.size, d_model=32), 0).save_pretrained(checkpoint)
    row = replace(PAPER, encoder=str(checkpoint), encoder_steps=0)
    assert row.name == f"paper: {checkpoint}, graph fine-tuned"
    problem = make_problem(shop_path, TASK, "frozen")
    scores = row.scores(problem, 0)["test"]
    assert np.isfinite(scores).all()
    assert not np.array_equal(scores, replace(PAPER, encoder_steps=0).scores(problem, 0)["test"])
