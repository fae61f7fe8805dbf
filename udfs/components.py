"""The ONNX components of a model as onnxruntime sessions, checked before they run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy.typing as npt

from relsql.errors import ArtifactError
from relsql.hints import command
from relsql.registry.cards.card import ModelCard
from relsql.registry.components.component_checks import Tensor, check_component, check_signature, signature_of
from relsql.registry.components.onnx_runtime import onnxruntime
from relsql.registry.components.watchdog import Watchdog
from relsql.typing import FloatArray

MAX_RUN_SECONDS = 300.0
"""Longest run of a component on one batch of seeds or texts, which takes seconds at most."""

_WATCHDOG = Watchdog()

_limit_seconds: list[float] = []
"""Limits of the open `time_limit` blocks. They apply to the whole process, because UDFs run on DuckDB's threads."""


def create_session(content: bytes, threads: int) -> onnxruntime.InferenceSession:
    """A session over a component's bytes that runs on `threads` threads per call."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that wait for work by spinning slow down everything else on the same cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        content,
        sess_options=options,
        providers=["CPUExecutionProvider"],
        # The fused CPU kernel takes several times longer than addition and normalisation as separate operators.
        disabled_optimizers=["SkipLayerNormFusion"],
    )


def load_session(
    card: ModelCard, artifacts: Mapping[str, bytes], name: str, threads: int
) -> onnxruntime.InferenceSession:
    """The session of one component of a model, after checking that operators, inputs and output match the card.

    Raises:
        ArtifactError: it contains more than our exporters write, does not match the card, or cannot be loaded.
    """
    names = {"model": card.name, "task": card.task.name}
    require_artifact(card, artifacts, name)
    # Checked before loading, because loading already runs operators that depend only on constants.
    check_component(name, artifacts[name], **names)
    try:
        session = create_session(artifacts[name], threads)
    except Exception as error:
        problem = str(error).splitlines()[0]
        raise ArtifactError(
            f"model '{card.name}': component {name} cannot be loaded: {problem}",
            fix=command("train", "FILE", card.task.name, "--name", card.name),
        ) from error
    expected = signature_of(card, name)
    assert expected is not None, name
    inputs, outputs = _tensors(session.get_inputs()), _tensors(session.get_outputs())
    check_signature(name, inputs, outputs, expected, **names)
    return session


def require_artifact(card: ModelCard, artifacts: Mapping[str, bytes], name: str) -> None:
    """Raise ArtifactError if a model lacks an artefact that it needs."""
    if name not in artifacts:
        raise ArtifactError(
            f"model '{card.name}' version {card.version}: its card lists no artefact {name}",
            expected=f"one of: {', '.join(artifacts)}, and {name}",
            fix=command("train", "FILE", card.task.name, "--name", card.name),
        )


def _tensors(nodes: Sequence[Any]) -> list[Tensor]:
    """Inputs or outputs of a session; an axis with a name, or without a length, depends on the batch."""
    return [
        Tensor(node.name, node.type, tuple(axis if isinstance(axis, int) else None for axis in node.shape))
        for node in nodes
    ]


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Stop every run of a component in the block that takes longer, in any thread of the process."""
    _limit_seconds.append(seconds)
    try:
        yield
    finally:
        _limit_seconds.remove(seconds)


def run_session(session: onnxruntime.InferenceSession, feed: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
    """The first output of a session.

    Raises:
        ScoringError: the run took longer than the innermost `time_limit`, or than `MAX_RUN_SECONDS` outside of one.
    """
    with _WATCHDOG.limit(_limit_seconds[-1] if _limit_seconds else MAX_RUN_SECONDS) as options:
        found: FloatArray = session.run(None, feed, options)[0]
    return found


class Component:
    """One component, ready to run. It may be called from several threads.

    Args:
        card: the card of the model that the component belongs to.
        artifacts: bytes by name.
        name: name of the component.
        threads: onnxruntime threads per call; DuckDB calls it from several threads of its own.

    Raises:
        ArtifactError: the component cannot be loaded, or does not match the card.
    """

    def __init__(self, card: ModelCard, artifacts: Mapping[str, bytes], name: str, *, threads: int = 1) -> None:
        self._session = load_session(card, artifacts, name, threads)
        self._inputs = {node.name for node in self._session.get_inputs()}

    def __call__(self, feed: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """The component's output; entries of `feed` that it does not read are ignored."""
        return run_session(self._session, {k: v for k, v in feed.items() if k in self._inputs})
