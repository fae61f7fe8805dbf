"""The ONNX components of a model as onnxruntime sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import onnxruntime

from relsql.blocks import FloatArray
from relsql.card import ModelCard
from relsql.errors import ArtifactError


def create_session(content: bytes, threads: int) -> onnxruntime.InferenceSession:
    """A session over a component's bytes that runs on `threads` threads per call."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that wait for work by spinning slow down whatever else runs on the same cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        content,
        sess_options=options,
        providers=["CPUExecutionProvider"],
        # Its kernel for CPUs takes several times longer than the addition and the normalisation by themselves.
        disabled_optimizers=["SkipLayerNormFusion"],
    )


def load_session(
    card: ModelCard, artifacts: Mapping[str, bytes], name: str, threads: int
) -> onnxruntime.InferenceSession:
    """The session of one component of a model.

    Raises:
        ArtifactError: onnxruntime cannot load it.
    """
    try:
        return create_session(artifacts[name], threads)
    except Exception as error:
        problem = str(error).splitlines()[0]
        raise ArtifactError(
            f"model '{card.name}': component {name} cannot be loaded: {problem}",
            fix=f"relsql train FILE {card.task.name} --name {card.name}",
        ) from error


class Component:
    """One component, ready to run. It may be called from several threads.

    Args:
        card: the card of the model that the component belongs to.
        artifacts: bytes by name.
        name: of the component.
        threads: onnxruntime threads per call; DuckDB brings its own threads.

    Raises:
        ArtifactError: the component cannot be loaded.
    """

    def __init__(self, card: ModelCard, artifacts: Mapping[str, bytes], name: str, *, threads: int = 1) -> None:
        self._session = load_session(card, artifacts, name, threads)
        self._inputs = {node.name for node in self._session.get_inputs()}

    def __call__(self, feed: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """The component's output; what it does not read of `feed` is left out."""
        found: FloatArray = self._session.run(None, {k: v for k, v in feed.items() if k in self._inputs})[0]
        return found
