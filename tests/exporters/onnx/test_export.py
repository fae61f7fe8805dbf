"""ONNX export: parity is checked, and a component that disagrees is refused."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path as File
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from exporters.onnx import export as exporter
from exporters.onnx.graph import OnnxGraph, Port
from relsql.errors import ParityError
from relsql.gather.arrays.blocks import Block, SeedSet
from relsql.gather.arrays.graph_inputs import graph_feed, graph_inputs, message_input_name
from relsql.gather.layout import BlockLayout, layouts_of
from relsql.gather.node_inputs import CategoryInput, NodeInputs, NumberInput
from relsql.gather.paths import Path
from relsql.nn.boosted_trees import BoostedTrees
from relsql.nn.graph_network import GraphNetwork, NetworkConfig, graph_tensors
from relsql.nn.head import Head
from relsql.nn.row_encoder import RowEncoder, compact_config, new_model
from relsql.registry.components.component_checks import FLOAT, INT64, Tensor, graph_inputs_of
from relsql.schema.tables import Link
from relsql.training.encoder.fit_tokenizer import train_tokenizer
from relsql.training.fitting.loop import Batches, fit_statistics
from relsql.typing import FloatArray
from tests.random_trees import add_random_trees
from tests.relsql.gather.arrays.random_blocks import LAYOUTS, TEXTS, random_blocks

CONFIG = NetworkConfig(channels=6, text_widths=(5,), dropout=0.0)
EMBEDDINGS = np.random.default_rng(0).normal(size=(TEXTS, 5)).astype(np.float32) * (np.arange(TEXTS) > 0)[:, None]
LINK = Link("orders", ("shop id",), "shops", ("shop id",))
INPUTS = {
    "people": NodeInputs("people", (), (), ()),
    "orders": NodeInputs("orders", (NumberInput("at", "age"), NumberInput("n", "number", (1.0, 2.0))), (), ()),
    "shops": NodeInputs("shops", (), (CategoryInput("city", ("a", "b")),), ("city", "na me")),
}
PATHS = (
    Path("people", "entity", "people", (), 1, ()),
    Path("orders", "children", "orders", (Link("orders", ("p",), "people", ("p",)),), 3, (LINK,), (1.0, 4.0)),
)


def network() -> GraphNetwork:
    torch.manual_seed(1)
    return GraphNetwork(layouts_of(PATHS, INPUTS), CONFIG)


def test_graph_component_agrees_on_unseen_shapes() -> None:
    components, difference = exporter.export_graph(network(), CONFIG.text_width)
    assert 0 <= difference <= 1e-5 and set(components) == {"graph.onnx", "path orders.onnx", "explained.onnx"}
    session = onnxruntime.InferenceSession(components["graph.onnx"])
    names = {node.name for node in session.get_inputs()}
    assert {"embeddings", "orders.numbers", "shops.texts", "path orders.rows", "path orders.ages"} <= names
    assert "path orders.totals" in names and not {"path people.ages", "path people.totals"} & names


def test_components_do_not_say_where_they_were_trained() -> None:
    components, _ = exporter.export_graph(network(), CONFIG.text_width)
    head, _ = exporter.export_head(Head(CONFIG, classification=True), CONFIG.channels)
    for content in (*components.values(), head):
        assert os.fsencode(File(exporter.__file__).parent) not in content
        assert b"stack_trace" not in content


def test_trees_and_the_statistics_that_they_read_are_exported() -> None:
    net, head = network(), Head(CONFIG, classification=True)
    add_random_trees(net, head, 3)
    components, difference = exporter.export_graph(net, CONFIG.text_width)
    content, of_head = exporter.export_head(head, net.state_width)
    assert max(difference, of_head) < 1e-5
    widths = {
        name: onnxruntime.InferenceSession(component).get_outputs()[0].shape[1]
        for name, component in components.items()
    }
    assert widths.pop("graph.onnx") == widths.pop("explained.onnx") == net.state_width > CONFIG.channels
    assert [*widths.values()] == [net.message_width(i) for i, layout in enumerate(net.layouts) if layout.grouped]
    assert onnxruntime.InferenceSession(content).get_inputs()[0].shape[1] == net.state_width


def test_the_same_network_gives_the_same_bytes() -> None:
    first, second = (exporter.export_graph(network(), CONFIG.text_width)[0] for _ in range(2))
    assert first == second


def test_weights_are_in_the_order_of_their_names_whatever_order_torch_finds_them_in() -> None:
    content, _ = exporter.export_head(Head(CONFIG, classification=True), CONFIG.channels)
    names = [weight.name for weight in onnx.load_from_string(content).graph.initializer]
    assert names == sorted(names)
    assert len(names) > 3


def test_rows_of_a_table_may_be_none_or_many_whatever_the_example_of_the_export_has() -> None:
    # Each seed reads one row of these tables or none, so in a sparse example a single seed reads one of banks.
    names, numbers = ("alleys", "areas", "arenas", "banks"), (NumberInput("n", "number"), NumberInput("m", "number"))
    links = [Link("people", (name,), name, (name,)) for name in names]
    parents = [Path(name, "parents", name, (link,), 1, ()) for name, link in zip(names, links, strict=True)]
    tables = {name: NodeInputs(name, numbers, (), ("name",)) for name in names}
    layouts = layouts_of((PATHS[0], *parents), {"people": INPUTS["people"], **tables})
    _, difference = exporter.export_graph(GraphNetwork(layouts, CONFIG), CONFIG.text_width)
    assert 0 <= difference <= 1e-5


def test_weights_have_the_names_and_values_that_they_have_in_torch() -> None:
    net, head = network(), Head(CONFIG, classification=True)
    add_random_trees(net, head, 3)
    components, _ = exporter.export_graph(net, CONFIG.text_width)
    content, _ = exporter.export_head(head, net.state_width)
    for module, prefix, parts in ((net, "network.", [*components.values()]), (head, "head.", [content])):
        named = {prefix + name: weight for name, weight in [*module.named_parameters(), *module.named_buffers()]}
        found = [weight for part in parts for weight in onnx.load_from_string(part).graph.initializer]
        for weight in found:
            np.testing.assert_array_equal(onnx.numpy_helper.to_array(weight), named[weight.name].detach().numpy())
        assert {prefix + name for name, _ in module.named_parameters()} <= {weight.name for weight in found}


def test_components_have_the_inputs_that_they_read_with_the_axes_that_scoring_expects() -> None:
    torch.manual_seed(1)
    layouts = (LAYOUTS[0], replace(LAYOUTS[1], shared=True, grouped=True), LAYOUTS[2])
    net = GraphNetwork(layouts, CONFIG)
    components, _ = exporter.export_graph(net, CONFIG.text_width)
    expected = {
        tensor.name: tensor for tensor in graph_inputs_of(layouts, CONFIG.text_width, {"rows": CONFIG.channels})
    }
    names = []
    for content in components.values():
        session = onnxruntime.InferenceSession(content)
        for node in session.get_inputs():
            shape = tuple(None if isinstance(axis, str) else axis for axis in node.shape)
            assert (node.type, shape) == (expected[node.name].type, expected[node.name].shape)
        names.append([node.name for node in session.get_inputs()])
        assert names[-1] == [name for name in expected if name in names[-1]]
    of_graph, of_path = names
    assert "path rows.message" in of_graph and "path rows.rows" not in of_graph
    assert "path rows.rows" in of_path and "path rows.message" not in of_path


@pytest.mark.parametrize("heavy", [False, True])
def test_logarithms_are_only_computed_for_numbers_on_the_log_scale(heavy: bool) -> None:
    net = network()
    net.encoder("orders").scaling.logarithmic.fill_(float(heavy))
    components, difference = exporter.export_graph(net, CONFIG.text_width)
    signs = [node for node in onnx.load_from_string(components["graph.onnx"]).graph.node if node.op_type == "Sign"]
    assert len(signs) == heavy and difference <= 1e-5


@pytest.mark.parametrize("shares", [0, 1])
def test_trees_without_pairs_or_shares_are_exported(shares: int) -> None:
    head = Head(CONFIG, classification=True)
    head.add_trees(BoostedTrees(shares, 0), 0.5)
    _, difference = exporter.export_head(head, CONFIG.channels + 1)
    assert difference <= 1e-5


def test_graph_component_reads_what_the_scorer_feeds_it() -> None:
    torch.manual_seed(1)
    net = GraphNetwork(LAYOUTS, CONFIG)
    blocks = {seeds: random_blocks(seeds) for seeds in (0, 1, 40)}
    fit_statistics(net, Head(CONFIG, classification=True), batches(blocks[40]))
    session = onnxruntime.InferenceSession(exporter.export_graph(net, CONFIG.text_width)[0]["graph.onnx"])
    for seeds, gathered in blocks.items():
        inputs = graph_inputs(gathered, LAYOUTS)
        embeddings = EMBEDDINGS[inputs.text_ids]
        found = session.run(None, graph_feed(inputs, LAYOUTS, embeddings))[0]
        with torch.inference_mode():
            expected = net.eval()(graph_tensors(inputs, embeddings)).numpy()
        assert found.shape == (seeds, CONFIG.channels)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_messages_of_hubs_are_computed_apart() -> None:
    torch.manual_seed(1)
    layouts = (LAYOUTS[0], replace(LAYOUTS[1], shared=True, grouped=True), LAYOUTS[2])
    net = GraphNetwork(layouts, CONFIG)
    seeds, hubs = random_blocks(40), random_blocks(7, 1)[1]
    fit_statistics(net, Head(CONFIG, classification=True), batches(seeds))
    components, difference = exporter.export_graph(net, CONFIG.text_width)
    assert difference <= 1e-5 and set(components) == {"graph.onnx", "path rows.onnx"}
    # The hub of each seed; for torch, the hub's rows are gathered for every seed.
    at = np.arange(40) % 7
    seeds[1] = hubs.take(at, hubs.row_starts(), layouts[1].fanout)
    inputs = graph_inputs(seeds, layouts)
    with torch.inference_mode():
        expected = net.eval()(graph_tensors(inputs, EMBEDDINGS[inputs.text_ids])).numpy()
    messages = output(components["path rows.onnx"], [hubs], [layouts[1]])
    own = [seeds[0], seeds[2]], [layouts[0], layouts[2]]
    found = output(components["graph.onnx"], *own, {message_input_name("rows"): messages[at]})
    assert messages.shape == (7, CONFIG.channels) and np.ptp(messages, axis=0).max() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-6)


def output(
    content: bytes, blocks: list[Block], layouts: list[BlockLayout], more: dict[str, FloatArray] | None = None
) -> FloatArray:
    inputs = graph_inputs(blocks, layouts)
    feed = graph_feed(inputs, layouts, EMBEDDINGS[inputs.text_ids]) | (more or {})
    session = onnxruntime.InferenceSession(content)
    found: FloatArray = session.run(None, {node.name: feed[node.name] for node in session.get_inputs()})[0]
    return found


def batches(blocks: list[Block]) -> Batches:
    seeds = len(blocks[0].counts)
    labels = (np.arange(seeds) % 2).astype(np.float32)
    return Batches(SeedSet(tuple(blocks), np.linspace(1, 9, seeds, dtype=np.float32), labels), LAYOUTS, EMBEDDINGS)


@pytest.mark.parametrize(
    ("labels", "target"),
    [("classes", None), *((labels, t) for labels in ("numbers", "heavy tails") for t in ("mean", "quantile(0.9)"))],
)
def test_head_component_holds_the_calibration(labels: str, target: str | None) -> None:
    head = Head(CONFIG, classification=labels == "classes", target=target)
    values = torch.arange(50, dtype=torch.float32) % 2
    values[-1] = 1e6 if labels == "heavy tails" else values[-1]
    head.fit(torch.linspace(10_000, 12_000, 50), values if labels == "classes" else values * 9)
    assert head.label_logarithmic.item() == float(labels == "heavy tails")
    head.temperature.fill_(2.5)
    content, difference = exporter.export_head(head, CONFIG.channels)
    assert difference <= 1e-5
    session = onnxruntime.InferenceSession(content)
    state = np.ones((4, CONFIG.channels), dtype=np.float32)
    days = np.array([0, 10_000, 11_000, 99_999], dtype=np.float32)
    found = session.run(None, {"state": state, "as_of_days": days})[0]
    with torch.no_grad():
        expected = head.eval().score(torch.from_numpy(state), torch.from_numpy(days)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


REAL_SESSION = onnxruntime.InferenceSession


class Shifted:
    """A session whose results are off by `shift`."""

    def __init__(self, *args: Any, shift: float, **kwargs: Any) -> None:
        self.session = REAL_SESSION(*args, **kwargs)
        self.shift = shift

    def get_inputs(self) -> Any:
        return self.session.get_inputs()

    def run(self, *args: Any) -> Any:
        return [array + self.shift for array in self.session.run(*args)]


def test_disagreement_is_a_parity_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter.onnxruntime, "InferenceSession", partial(Shifted, shift=1e-3))
    with pytest.raises(ParityError, match=r"head component differs from torch by 0\.001"):
        exporter.export_head(Head(CONFIG, classification=True), CONFIG.channels)


class Cancelling(torch.nn.Module):
    """Embeds ids with low precision."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(50, 4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = (self.embedding(ids) + 1e4) - 1e4
        return embedded


@pytest.mark.parametrize(
    ("shift", "rounding", "agrees"), [(3e-4, True, True), (3e-4, False, False), (0.01, True, False)]
)
def test_rounding_of_torch_itself_is_allowed_for(
    monkeypatch: pytest.MonkeyPatch, shift: float, rounding: bool, agrees: bool
) -> None:
    torch.manual_seed(0)
    module, ids = Cancelling(), torch.arange(50)
    graph, ids_axis = OnnxGraph(module, ""), ("ids",)
    embedded = graph.gather(module.embedding.weight, "ids")
    graph.op("Sub", graph.op("Add", embedded, 1e4), 1e4)
    ports = [Port(Tensor("ids", INT64, (None,)), ids_axis)], Port(Tensor("out", FLOAT, (None, 4)), ids_axis)
    content = graph.component(*ports)
    monkeypatch.setattr(exporter.onnxruntime, "InferenceSession", partial(Shifted, shift=shift))
    with nullcontext() if agrees else pytest.raises(ParityError, match="odd component differs"):
        assert exporter._largest_difference("odd", content, module, ["ids"], [[ids]], rounding=rounding) >= shift / 2


@pytest.mark.parametrize(("shift", "agrees"), [(0.02, True), (1.0, False)])
def test_a_regression_is_compared_in_deviations_of_its_labels(
    monkeypatch: pytest.MonkeyPatch, shift: float, agrees: bool
) -> None:
    torch.manual_seed(0)
    head = Head(CONFIG, classification=False, target="mean")
    head.label_scale.fill_(1e4)
    monkeypatch.setattr(exporter.onnxruntime, "InferenceSession", partial(Shifted, shift=shift))
    with nullcontext() if agrees else pytest.raises(ParityError, match="head component differs"):
        assert exporter.export_head(head, CONFIG.channels)[1] == pytest.approx(shift / 1e4, rel=0.2)


def test_row_encoder_has_a_result_in_double_precision() -> None:
    texts = [f"<table>t<attribute>a<value>{word}" for word in ("one", "two words", "three more words")]
    tokenizer = train_tokenizer(texts)
    model = new_model(compact_config(tokenizer.size, d_model=16, heads=2), 0)
    lexicon = np.random.default_rng(0).normal(size=(model.config.vocab_size, 3)).astype(np.float32)
    case = [torch.from_numpy(array) for array in tokenizer.encode_batch(texts, 32)]
    assert 0 < exporter._rounding(RowEncoder(model, lexicon).eval(), case) < 1e-5
