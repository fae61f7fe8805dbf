"""ONNX components are checked before they run: operators, opsets, inputs, output, and how long they take."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import onnx
import onnx.helper as oh
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from relsql.errors import ArtifactError, ScoringError
from relsql.registry.cards.card import ModelCard
from relsql.registry.components.component_checks import (
    FLOAT,
    INT64,
    OPERATORS,
    Signature,
    Tensor,
    check_component,
    check_signature,
    signature_of,
)
from relsql.registry.components.onnx_reader import OnnxFormatError, read_onnx
from relsql.registry.models import active_card, read_artifacts
from udfs import components
from udfs.components import Component, create_session, load_session, run_session, time_limit

INPUT = oh.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
OUTPUT = oh.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])


def model(*nodes: onnx.NodeProto, **options: object) -> onnx.ModelProto:
    graph = oh.make_graph(list(nodes), "g", [INPUT], [OUTPUT], **options)
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 18)], ir_version=10)


def relu() -> onnx.ModelProto:
    return model(oh.make_node("Relu", ["x"], ["y"]))


def endless_loop(steps: int = 2**60) -> onnx.ModelProto:
    body = oh.make_graph(
        [oh.make_node("Identity", ["go"], ["goes_on"]), oh.make_node("Add", ["v", "v"], ["w"])],
        "body",
        [
            oh.make_tensor_value_info("i", TensorProto.INT64, []),
            oh.make_tensor_value_info("go", TensorProto.BOOL, []),
            oh.make_tensor_value_info("v", TensorProto.FLOAT, ["n"]),
        ],
        [
            oh.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            oh.make_tensor_value_info("w", TensorProto.FLOAT, ["n"]),
        ],
    )
    weights = [
        oh.make_tensor("steps", TensorProto.INT64, [], [steps]),
        oh.make_tensor("yes", TensorProto.BOOL, [], [1]),
    ]
    return model(oh.make_node("Loop", ["steps", "yes", "x"], ["y"], body=body), initializer=weights)


def with_external_data() -> onnx.ModelProto:
    weight = oh.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    weight.ClearField("float_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return model(oh.make_node("Add", ["x", "w"], ["y"]), initializer=[weight])


def with_function() -> onnx.ModelProto:
    found = relu()
    found.functions.append(
        oh.make_function("", "Mine", ["a"], ["b"], [oh.make_node("Relu", ["a"], ["b"])], [oh.make_opsetid("", 18)])
    )
    return found


def with_opset(domain: str, version: int) -> onnx.ModelProto:
    found = relu()
    found.opset_import[0].domain, found.opset_import[0].version = domain, version
    return found


HOSTILE = {
    "loop": (endless_loop(), "subgraph"),
    "if": (
        model(oh.make_node("If", ["x"], ["y"], then_branch=relu().graph, else_branch=relu().graph)),
        "subgraph",
    ),
    "random": (model(oh.make_node("RandomNormalLike", ["x"], ["y"])), "operator RandomNormalLike"),
    "custom": (model(oh.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")), "operator com.microsoft.Gelu"),
    "external data": (with_external_data(), "external data"),
    "function": (with_function(), "function"),
    "old operators": (with_opset("", 7), "ai.onnx 7"),
    "new operators": (with_opset("", 99), "ai.onnx 99"),
    "other operators": (with_opset("ai.onnx.ml", 3), "ai.onnx.ml 3"),
}


def check(content: bytes) -> None:
    check_component("head.onnx", content, model="churn", task="customer-churn")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_components_are_refused_before_they_are_loaded(name: str) -> None:
    content, problem = HOSTILE[name]
    with pytest.raises(ArtifactError, match=problem) as caught:
        check(content.SerializeToString())
    assert str(caught.value).startswith("model 'churn': component head.onnx ")
    assert str(caught.value).endswith("Fix: relsql train FILE customer-churn --name churn")


def test_a_subgraph_is_found_in_nodes_of_known_operators_too() -> None:
    node = oh.make_node("Relu", ["x"], ["y"], body=relu().graph)
    with pytest.raises(ArtifactError, match="has a subgraph"):
        check(model(node).SerializeToString())


def test_no_known_operator_has_a_subgraph_or_is_random() -> None:
    hostile = {
        "Loop",
        "Scan",
        "If",
        "SequenceMap",
        "RandomNormal",
        "RandomUniform",
        "Bernoulli",
        "Multinomial",
        "Dropout",
    }
    assert not OPERATORS & hostile
    for name in OPERATORS:
        kinds = {attribute.type.name for attribute in onnx.defs.get_schema(name, 20, "").attributes.values()}
        assert not kinds & {"GRAPH", "GRAPHS"}, name


def test_two_graphs_are_refused() -> None:
    content = relu().SerializeToString() + endless_loop().SerializeToString()
    with pytest.raises(ArtifactError, match="2 graphs|two versions"):
        check(content)


@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        read_onnx(content)
    except OnnxFormatError:
        pass


@given(end=st.integers(0, 10_000))
def test_a_cut_component_is_refused(end: int) -> None:
    content = relu().SerializeToString()
    cut = content[: end % len(content)]
    with pytest.raises(ArtifactError):
        check(cut)


@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
def test_changed_bytes_are_read_or_refused(position: int, value: int) -> None:
    content = bytearray(endless_loop().SerializeToString())
    content[position % len(content)] = value
    try:
        read_onnx(bytes(content))
    except OnnxFormatError:
        pass


def test_a_component_that_does_not_end_is_stopped() -> None:
    session = create_session(endless_loop().SerializeToString(), threads=1)
    feed = {"x": np.ones(1, dtype=np.float32)}
    with time_limit(0.5), pytest.raises(ScoringError, match="not ended after 0.5 seconds"):
        run_session(session, feed)


def test_without_a_time_limit_a_component_is_stopped_after_the_longest_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "MAX_RUN_SECONDS", 0.5)
    session = create_session(endless_loop().SerializeToString(), threads=1)
    with pytest.raises(ScoringError, match=r"not ended after 0.5 seconds. Expected: .* Fix: relsql train"):
        run_session(session, {"x": np.ones(1, dtype=np.float32)})


def test_each_run_has_a_time_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends in time is not stopped because another one, or many in a row, take long."""
    monkeypatch.setattr(components, "MAX_RUN_SECONDS", 0.5)
    endless = create_session(endless_loop().SerializeToString(), threads=1)
    quick = create_session(relu().SerializeToString(), threads=1)
    feed = {"x": np.ones(1, dtype=np.float32)}
    refused: list[BaseException] = []

    def run_endless() -> None:
        try:
            run_session(endless, feed)
        except ScoringError as error:
            refused.append(error)

    thread = threading.Thread(target=run_endless)
    thread.start()
    until = time.monotonic() + 1
    while time.monotonic() < until:
        assert run_session(quick, feed).tolist() == [1.0]
    thread.join()
    assert len(refused) == 1


def test_a_time_limit_changes_nothing_for_those_that_end_and_leaves_no_thread() -> None:
    session = create_session(relu().SerializeToString(), threads=1)
    feed = {"x": np.array([-1.0, 2.0], dtype=np.float32)}
    before = threading.active_count()
    with time_limit(60):
        assert run_session(session, feed).tolist() == [0.0, 2.0]
    assert threading.active_count() <= before + 1
    assert run_session(session, feed).tolist() == [0.0, 2.0]


@pytest.fixture(scope="module")
def stored(shop_with_model: Path) -> tuple[ModelCard, dict[str, bytes]]:
    with duckdb.connect(str(shop_with_model), read_only=True) as con:
        card = active_card(con, "shop", "churn")
        return card, read_artifacts(con, "shop", card)


def test_summary_is_that_of_package_onnx(stored: tuple[ModelCard, dict[str, bytes]]) -> None:
    for name, content in stored[1].items():
        if not name.endswith(".onnx"):
            continue
        summary, expected = read_onnx(content), onnx.load_from_string(content)
        weights = {x.name for x in expected.graph.initializer}
        assert summary.operators == [node.op_type for node in expected.graph.node]
        assert summary.initializers == weights
        assert summary.inputs == [x.name for x in expected.graph.input if x.name not in weights]
        assert summary.outputs == [x.name for x in expected.graph.output]
        assert summary.opsets == {x.domain: x.version for x in expected.opset_import}
        assert not summary.extras


@pytest.mark.parametrize("name", ["encoder.onnx", "graph.onnx", "head.onnx"])
def test_inputs_in_another_order_are_refused(stored: tuple[ModelCard, dict[str, bytes]], name: str) -> None:
    card, artifacts = stored
    altered = onnx.load_from_string(artifacts[name])
    inputs = list(altered.graph.input)
    del altered.graph.input[:]
    altered.graph.input.extend(inputs[::-1])
    with pytest.raises(ArtifactError, match="has its inputs in another order"):
        load_session(card, artifacts | {name: altered.SerializeToString()}, name, 1)


def test_another_name_of_an_input_or_output_is_refused(stored: tuple[ModelCard, dict[str, bytes]]) -> None:
    card, artifacts = stored
    altered = onnx.load_from_string(artifacts["head.onnx"])
    altered.graph.output[0].name = "other"
    altered.graph.node.append(oh.make_node("Identity", ["score"], ["other"]))
    with pytest.raises(ArtifactError, match="has the outputs other. Expected: 'score'"):
        load_session(card, artifacts | {"head.onnx": altered.SerializeToString()}, "head.onnx", 1)


def test_another_width_is_refused(stored: tuple[ModelCard, dict[str, bytes]]) -> None:
    card, artifacts = stored
    wider = msgspec.structs.replace(card, channels=card.channels + 1)
    widths = rf"\[n, {card.state_width}\].*\[n, {card.state_width + 1}\]"
    with pytest.raises(ArtifactError, match=rf"the input 'state' as tensor\(float\) {widths}"):
        Component(wider, artifacts, "head.onnx")


@pytest.mark.parametrize(
    ("found", "returned"),
    [
        (Tensor("x", FLOAT, (None, 4)), Tensor("y", INT64, (None,))),
        (Tensor("x", FLOAT, (None, 4)), Tensor("y", FLOAT, (None, 2))),
        (Tensor("x", INT64, (None, 4)), Tensor("y", FLOAT, (None,))),
        (Tensor("x", FLOAT, (None, None)), Tensor("y", FLOAT, (None,))),
        (Tensor("x", FLOAT, (None,)), Tensor("y", FLOAT, (None,))),
    ],
)
def test_another_type_or_shape_is_refused(found: Tensor, returned: Tensor) -> None:
    right = Signature((Tensor("x", FLOAT, (None, 4)),), Tensor("y", FLOAT, (None,)))
    check_signature("head.onnx", right.inputs, [right.output], right, model="m", task="t")
    with pytest.raises(ArtifactError, match="as the card says"):
        check_signature("head.onnx", [found], [returned], right, model="m", task="t")


def test_every_component_of_a_model_has_a_signature(stored: tuple[ModelCard, dict[str, bytes]]) -> None:
    card, artifacts = stored
    for name in artifacts:
        assert (signature_of(card, name) is not None) == name.endswith(".onnx")
    assert signature_of(card, "path nowhere.onnx") is None
    assert dataclasses.is_dataclass(signature_of(card, "head.onnx"))


def test_onnxruntime_stops_nothing_by_itself() -> None:
    """The reason for the watchdog: a session has no time limit of its own."""
    assert not any("timeout" in name for name in dir(onnxruntime.RunOptions()))
