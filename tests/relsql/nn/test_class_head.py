"""The head of several classes: probabilities, temperature, thousands of classes, trees of several outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from exporters.onnx.export import export_head
from relsql.nn.boosted_trees import BoostedTrees, Trees
from relsql.nn.class_head import ClassHead
from relsql.nn.graph_network import NetworkConfig
from relsql.tasks.kinds.classes import FEWEST_LABELS, Classes


@given(st.lists(st.integers(1, 40), min_size=2, max_size=30).filter(lambda counts: sorted(counts)[-2] >= FEWEST_LABELS))
def test_probabilities_of_any_classes_add_up_to_one(counts: list[int]) -> None:
    classes = Classes("VARCHAR", tuple(f"c{i:02}" for i in range(len(counts))), tuple(counts))
    head = ClassHead(NetworkConfig(channels=4), classes)
    raw = torch.randn(5, classes.outputs) * 5
    found = head.scores(raw)
    np.testing.assert_allclose(found.sum(1).numpy(), 1, atol=1e-5)
    labels = torch.randint(len(classes), (5,)).float()
    of_label = found[torch.arange(5), labels.long()]
    assert head.log_loss(raw, labels) == pytest.approx(float(-of_label.log().mean()), rel=1e-4, abs=1e-4)


def test_calibration_finds_the_temperature() -> None:
    torch.manual_seed(0)
    head = ClassHead(NetworkConfig(channels=4), Classes("VARCHAR", ("a", "b", "c"), (20, 20, 20)))
    raw = torch.randn(4_000, 3) * 2
    labels = torch.multinomial(torch.softmax(raw / 2.5, 1), 1).squeeze(1).float()
    before = head.log_loss(raw, labels)
    head.calibrate(raw, labels)
    assert float(head.temperature) == pytest.approx(2.5, rel=0.1) and head.log_loss(raw, labels) < before


def test_thousands_of_classes_have_one_component_with_parity() -> None:
    torch.manual_seed(0)
    counts = (*[30] * 500, *[2] * 3_000)
    head = ClassHead(NetworkConfig(channels=8), Classes("BIGINT", tuple(map(str, range(3_500))), counts)).eval()
    assert head.out.out_features == 501
    content, difference = export_head(head, 8)
    assert difference <= 1e-5 and len(content) < 1_000_000


def test_trees_of_several_outputs_are_those_of_each_output() -> None:
    random = np.random.default_rng(0)
    inputs, thresholds, leaves = (
        random.integers(0, 3, (12, 3)),
        random.normal(size=(12, 3)),
        random.normal(size=(12, 4)),
    )
    deviations, rows = np.ones(3), torch.from_numpy(random.normal(size=(20, 3))).float()
    together = BoostedTrees.of(Trees(inputs, thresholds, leaves, 3), deviations)(rows)
    for output in range(3):
        alone = BoostedTrees.of(Trees(inputs[output::3], thresholds[output::3], leaves[output::3]), deviations)(rows)
        torch.testing.assert_close(together[:, output], alone, rtol=1e-5, atol=1e-5)
