"""The temperature of a stored head: read, and replaced without changing anything else in the component."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.numpy_helper

from relsql.errors import ArtifactError

_NAME = "head.temperature"


def temperature_of(component: bytes) -> float:
    """The temperature of a head component.

    Raises:
        ArtifactError: it has none, because it is not the head of a classification.
    """
    return float(onnx.numpy_helper.to_array(_initializer(onnx.load_from_string(component))).item())


def with_temperature(component: bytes, temperature: float) -> bytes:
    """The same head component with another temperature.

    Raises:
        ArtifactError: it has none, because it is not the head of a classification.
    """
    model = onnx.load_from_string(component)
    stored = _initializer(model)
    value = np.full_like(onnx.numpy_helper.to_array(stored), temperature)
    stored.CopyFrom(onnx.numpy_helper.from_array(value, _NAME))
    return bytes(model.SerializeToString(deterministic=True))


def _initializer(model: onnx.ModelProto) -> onnx.TensorProto:
    found = [each for each in model.graph.initializer if each.name == _NAME]
    if len(found) != 1:
        raise ArtifactError("the head has no temperature", expected="the head of a classification")
    stored: onnx.TensorProto = found[0]
    return stored
