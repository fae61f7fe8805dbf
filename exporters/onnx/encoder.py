"""The row encoder in ONNX, translated by torch once for each architecture.

A translation takes seconds, and encoders of one architecture differ in their weights only. A process that trains
several models over the same tables translates once and fills in the weights of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnx.numpy_helper
import torch
from torch import nn

_TRANSLATED: dict[str, bytes] = {}
"""ONNX without weights by architecture, see `_architecture`."""


def with_weights(encoder: nn.Module, max_tokens: int, translate: Callable[[], bytes]) -> bytes:
    """The ONNX of an encoder; `translate` is called if no encoder of its architecture was translated before."""
    weights = {name: weight.detach() for name, weight in (*encoder.named_parameters(), *encoder.named_buffers())}
    key = f"{max_tokens}\n{_architecture(encoder, weights)}"
    if key in _TRANSLATED:
        return _filled(_TRANSLATED[key], weights)
    content = translate()
    model = onnx.load_from_string(content)
    used = [stored for stored in model.graph.initializer if stored.name in weights]
    if all(_equal(stored, weights[stored.name]) for stored in used) and len(used) == len(weights):
        for stored in used:
            stored.ClearField("raw_data")
        _TRANSLATED[key] = model.SerializeToString(deterministic=True)
        return _filled(_TRANSLATED[key], weights)
    return content


def _architecture(encoder: nn.Module, weights: Mapping[str, torch.Tensor]) -> str:
    """A text that is equal for encoders that differ only in the values of their weights."""
    config = getattr(getattr(encoder, "encoder", None), "config", None)
    shapes = [(name, tuple(weight.shape), str(weight.dtype)) for name, weight in sorted(weights.items())]
    return f"{encoder}\n{config}\n{shapes}"


def _equal(stored: onnx.TensorProto, weight: torch.Tensor) -> bool:
    return stored.HasField("raw_data") and bool(np.array_equal(onnx.numpy_helper.to_array(stored), weight.numpy()))


def _filled(content: bytes, weights: Mapping[str, torch.Tensor]) -> bytes:
    model = onnx.load_from_string(content)
    for stored in model.graph.initializer:
        if stored.name in weights:
            stored.raw_data = weights[stored.name].contiguous().numpy().tobytes()
    return bytes(model.SerializeToString(deterministic=True))
