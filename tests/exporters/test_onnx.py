"""ONNX export: parity is checked, and a component that disagrees is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from exporters import onnx as exporter
from relsql.card import layouts_of
from relsql.errors import ExportError, ParityError
from relsql.features import CategoryInput, NodeInputs, NumberInput
from relsql.network import GraphNetwork, Head, NetworkConfig
from relsql.paths import Path
from relsql.schema import Link
from relsql.tokenizer import train_tokenizer

CONFIG = NetworkConfig(channels=6, text_width=5, dropout=0.0)
LINK = Link("orders", ("shop id",), "shops", ("shop id",))
INPUTS = {
    "people": NodeInputs("people", (), (), ()),
    "orders": NodeInputs("orders", (NumberInput("at", "age"), NumberInput("n", "number", (1.0, 2.0))), (), ()),
    "shops": NodeInputs("shops", (), (CategoryInput("city", ("a", "b")),), ("city", "na me")),
}
PATHS = (
    Path("people", "entity", "people", (), 1, ()),
    Path("orders", "children", "orders", (Link("orders", ("p",), "people", ("p",)),), 3, (LINK,)),
)


def network() -> GraphNetwork:
    torch.manual_seed(1)
    return GraphNetwork(layouts_of(PATHS, INPUTS), CONFIG)


def test_graph_component_agrees_on_unseen_shapes() -> None:
    content, difference = exporter.export_graph(network(), CONFIG.text_width)
    assert 0 <= difference <= 1e-5
    session = onnxruntime.InferenceSession(content)
    names = {node.name for node in session.get_inputs()}
    assert {"embeddings", "orders.numbers", "shops.texts", "path orders.rows"} <= names


@pytest.mark.parametrize("classification", [True, False])
def test_head_component_holds_the_calibration(classification: bool) -> None:
    head = Head(CONFIG, classification=classification)
    head.fit(
        torch.linspace(10_000, 12_000, 50), torch.arange(50, dtype=torch.float32) % 2 * (1 if classification else 9)
    )
    head.temperature.fill_(2.5)
    content, difference = exporter.export_head(head, CONFIG.channels)
    assert difference <= 1e-5
    session = onnxruntime.InferenceSession(content)
    state = np.ones((4, CONFIG.channels), dtype=np.float32)
    days = np.array([0, 10_000, 11_000, 99_999], dtype=np.float32)
    found = session.run(None, {"state": state, "as_of_days": days})[0]
    with torch.no_grad():
        expected = head.eval().score(torch.from_numpy(state), torch.from_numpy(days)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_disagreement_is_a_parity_error(monkeypatch: pytest.MonkeyPatch) -> None:
    real = onnxruntime.InferenceSession

    class Shifted:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.session = real(*args, **kwargs)

        def get_inputs(self) -> Any:
            return self.session.get_inputs()

        def run(self, *args: Any) -> Any:
            return [array + 1e-3 for array in self.session.run(*args)]

    monkeypatch.setattr(exporter.onnxruntime, "InferenceSession", Shifted)
    with pytest.raises(ParityError, match=r"head component differs from torch by 0\.001"):
        exporter.export_head(Head(CONFIG, classification=True), CONFIG.channels)


def test_what_torch_cannot_export_is_an_export_error() -> None:
    class Printer(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(input_ids.numpy() * 2.0).float()

    with pytest.raises(ExportError, match="encoder component cannot be"):
        exporter.export_encoder(Printer(), train_tokenizer(["<table>t<attribute>a<value>b"]), [], 16)
