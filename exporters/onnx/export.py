"""Export the ONNX components of a trained model and check each against torch.

`exporters.onnx.encoder`, `exporters.onnx.network` and `exporters.onnx.head` write them operator by operator.

    row encoder   input_ids int64 [rows, tokens], attention_mask int64 [rows, tokens]
                  -> row_embedding float32 [rows, width]
    path P        one component for each path that explanations group: embeddings float32 [texts, width]; for each
                  table T on the path T.numbers, T.categories and T.texts; P.rows, P.places, P.ages and P.totals;
                  inputs of width 0 are left out -> message float32 [hubs, channels + statistics]; see
                  `relsql.gather.arrays.graph_inputs.GraphInputs`
    graph         the same inputs for all other paths and their tables; for each shared path P the message of each
                  seed's hub, P.message float32 [seeds, channels + statistics]
                  -> state float32 [seeds, channels + statistics of all paths]
    explained     like graph, but the messages of all paths that have a component are inputs
    head          state, as_of_days float32 [seeds] -> score float32 [seeds], or probabilities float32 [seeds, classes]

The head's trees read the `statistics`, see `relsql.registry.cards.card.ModelCard.statistics`; a model may have none.
All axes except widths are dynamic. Calibration is inside the head: `score` is a probability or a value.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from exporters.onnx.encoder import encoder_component
from exporters.onnx.head import head_component
from exporters.onnx.network import graph_components
from relsql.errors import ArtifactError, ExportError, ParityError
from relsql.gather.arrays.blocks import Block
from relsql.gather.arrays.graph_inputs import (
    EXPLAINED,
    graph_feed,
    graph_input_names,
    graph_inputs,
    message_input_name,
    path_component,
    tables_of,
)
from relsql.gather.layout import BlockLayout
from relsql.nn.class_head import ClassHead
from relsql.nn.graph_network import GraphNetwork, GraphTensors, PathTensors, TableTensors
from relsql.nn.head import Head
from relsql.nn.row_encoder import RowEncoder
from relsql.registry.components.component_checks import check_component, head_signature
from relsql.registry.components.onnx_runtime import onnxruntime
from relsql.text.row_text import TABLE_MARKER, VALUE_MARKER
from relsql.text.tokenizer import RowTokenizer
from relsql.typing import FloatArray

TOLERANCE = 1e-5


class GraphComponent(nn.Module):
    """One output of `GraphNetwork` from the inputs of its component, see `graph_inputs_of`.

    Args:
        network: the network.
        path: the path whose messages are the output; None for the states.
        apart: the paths whose messages are inputs of the states.
    """

    def __init__(self, network: GraphNetwork, path: int | None, apart: Sequence[str] = ()) -> None:
        super().__init__()
        self.network = network
        self.path = path
        self.apart = apart
        grouped = [layout.name for layout in network.layouts if layout.grouped]
        self.names = [*graph_input_names(network.layouts), *map(message_input_name, grouped)]

    def forward(self, *inputs: Tensor) -> Tensor:
        """States, float32 [seeds, width], or messages, float32 [hubs, width]."""
        given, network = dict(zip(self.names, inputs, strict=True)), self.network
        batch = GraphTensors(given["embeddings"], self._tables(given), self._paths(given))
        messages = network.messages(batch)
        if self.path is not None:
            return messages[self.path]
        named = zip(network.layouts, messages, strict=True)
        apart = self.apart
        return network.states([given[message_input_name(x.name)] if x.name in apart else m for x, m in named])

    def _tables(self, given: Mapping[str, Tensor]) -> list[TableTensors]:
        found = []
        for table in (inputs.table for inputs in tables_of(self.network.layouts)):
            numbers = given[f"{table}.numbers"]
            nothing = torch.zeros((len(numbers), 0), dtype=torch.int64)
            categories, texts = (given.get(f"{table}.{kind}", nothing) for kind in ("categories", "texts"))
            found.append(TableTensors(numbers, categories, texts))
        return found

    def _paths(self, given: Mapping[str, Tensor]) -> list[PathTensors]:
        found = []
        for path in (f"path {layout.name}" for layout in self.network.layouts):
            rows, places = given[f"{path}.rows"], given[f"{path}.places"]
            ages = given.get(f"{path}.ages", torch.zeros((rows.shape[1], 0)))
            totals = given.get(f"{path}.totals", torch.zeros((len(places), 0)))
            found.append(PathTensors(rows, places, ages, totals))
        return found


class HeadComponent(nn.Module):
    """`Head.score` as a module."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, state: Tensor, as_of_days: Tensor) -> Tensor:
        """Scores, see `Head.score`."""
        return self.head.score(state, as_of_days)


def export_encoder(
    encoder: RowEncoder, tokenizer: RowTokenizer, texts: Sequence[str], max_tokens: int
) -> tuple[bytes, float]:
    """Export the row encoder; returns the ONNX bytes and the largest difference from torch.

    The two are compared on row texts: whole and truncated, single and in batches. Random tokens are not a fair test:
    trained attention is so sharp on them that torch itself is 1e-5 away from its result in double precision. If it is
    that sharp on row texts too, onnxruntime may differ by ten times that distance, because its kernels round at other
    places.

    Args:
        encoder: input_ids, attention_mask -> row embeddings.
        tokenizer: its tokenizer.
        texts: row texts to compare on; may be empty.
        max_tokens: the maximum number of tokens per text.

    Raises:
        ExportError: its activation is not one that can be written. ParityError: onnxruntime disagrees by more than
            1e-5, and by more than float32 explains.
    """
    chosen = [
        *texts[:: max(1, len(texts) // 64)][:64],
        TABLE_MARKER,
        TABLE_MARKER + "t",
        f"{TABLE_MARKER}t{VALUE_MARKER}",
    ]

    def batch(rows: Sequence[str], tokens: int = max_tokens) -> list[Tensor]:
        return [torch.from_numpy(array) for array in tokenizer.encode_batch(rows, tokens)]

    content, names = encoder_component(encoder), ["input_ids", "attention_mask"]
    cases = [batch(chosen), batch(chosen[:1]), batch(chosen[-1:]), batch(chosen[:17], max(2, max_tokens // 4))]
    return content, _largest_difference("encoder", content, encoder, names, cases, rounding=True)


def export_graph(network: GraphNetwork, embedding_width: int) -> tuple[dict[str, bytes], float]:
    """Export the graph network, see `exporters.onnx.network.graph_components`.

    Returns:
        The ONNX bytes by name, and the largest difference from torch.

    Raises:
        ExportError: onnxruntime or scoring refuses it. ParityError: onnxruntime disagrees by more than 1e-5.
    """
    layouts = network.layouts
    widths = [network.message_width(i) for i, layout in enumerate(layouts) if layout.grouped]
    apart = {
        "graph.onnx": [layout.name for layout in layouts if layout.shared],
        EXPLAINED: [layout.name for layout in layouts if layout.grouped],
    }

    def sample(seeds: int, fill: float, seed: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        messages = [torch.randn(seeds, width, generator=generator) for width in widths]
        return [*_graph_sample(layouts, embedding_width, seeds, fill, seed), *messages]

    cases = [sample(*case) for case in ((1, 1.0, 1), (1, 0.0, 2), (7, 0.0, 7), (64, 0.7, 64), (3, 0.1, 3))]
    paths = {path_component(layout.name): i for i, layout in enumerate(layouts) if layout.grouped}
    components, worst = graph_components(network, embedding_width), 0.0
    for name, content in components.items():
        module = GraphComponent(network, paths.get(name), apart.get(name, ()))
        worst = max(worst, _largest_difference(name, content, module, module.names, cases))
    return components, worst


def export_head(head: Head, state_width: int) -> tuple[bytes, float]:
    """Export the head; returns the ONNX bytes and the largest difference from torch.

    Args:
        head: the head.
        state_width: width of the states that it reads.

    Raises:
        ExportError: onnxruntime or scoring refuses it. ParityError: onnxruntime disagrees by more than 1e-5, for a
            regression in deviations of the labels.
    """
    generator = torch.Generator().manual_seed(0)
    first, last = float(head.first_day), float(head.last_day)

    def sample(seeds: int) -> list[Tensor]:
        state = torch.rand(seeds, state_width, generator=generator) * 2
        days = first + (torch.rand(seeds, generator=generator) * 1.5 - 0.25) * (last - first)
        return [state, days]

    is_class = isinstance(head, ClassHead)
    outputs = len(head.output) if isinstance(head, ClassHead) else head.steps
    signature = head_signature(state_width, outputs, probabilities=is_class)
    content, names = head_component(head, signature), [tensor.name for tensor in signature.inputs]
    cases = [sample(seeds) for seeds in (3, 1, 2, 100)]
    # A value near 0 may be the difference of two numbers as large as the labels' deviation.
    unit = 1.0 if head.label_logarithmic > 0.5 else max(1.0, float(head.label_scale))
    return content, _largest_difference("head", content, HeadComponent(head), names, cases, unit=unit)


def _graph_sample(layouts: Sequence[BlockLayout], width: int, seeds: int, fill: float, seed: int) -> list[Tensor]:
    """Random inputs: a slot has a row with probability `fill`, the entity's slot always. Hubs are fewer than seeds."""
    random = np.random.default_rng(seed)
    blocks = []
    for position, layout in enumerate(layouts):
        readers = seeds // 2 + 1 if layout.shared else seeds
        slots = np.flatnonzero(random.random(readers * layout.fanout) < (1.0 if position == 0 else fill))
        numbers = (random.normal(size=(len(slots), layout.numbers_width)) * 3).astype(np.float32)
        numbers[random.random(numbers.shape) < 0.1] = np.nan
        start = 0
        for segment in layout.segments:
            numbers[:, start] = 1.0 if start == 0 else (random.random(len(slots)) < 0.8)
            start += segment.numbers_width
        categories = random.integers(0, 2, size=(len(slots), layout.categories_width))
        texts = random.integers(0, 4, size=(len(slots), layout.texts_width))
        counts = np.bincount(slots // layout.fanout, minlength=readers)
        totals = random.integers(0, 99, size=(readers, layout.counts_width)).astype(np.float32)
        blocks.append(Block(numbers, categories, texts, slots, counts, totals))
    inputs = graph_inputs(blocks, layouts)
    embeddings = random.normal(size=(len(inputs.text_ids), width)).astype(np.float32)
    embeddings[0] = 0
    feed = graph_feed(inputs, layouts, embeddings)
    return [torch.from_numpy(np.ascontiguousarray(feed[name])) for name in graph_input_names(layouts)]


def _largest_difference(
    name: str,
    content: bytes,
    module: nn.Module,
    names: list[str],
    cases: Sequence[Sequence[Tensor]],
    *,
    rounding: bool = False,
    unit: float = 1.0,
) -> float:
    """Compare onnxruntime with torch, also on shapes that differ from those of the export.

    `rounding` allows ten times torch's own distance from double precision, if that is more than the tolerance.
    `unit` is the size up to which the difference of a value is absolute, see `_difference`.
    """
    check_operators(name, content)
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:
        problem = str(error).splitlines()[0]
        raise ExportError(f"the exported {name} component cannot be loaded by onnxruntime: {problem}") from error
    wanted = {node.name for node in session.get_inputs()}
    worst = 0.0
    module.eval()
    for case in cases:
        with torch.inference_mode():
            expected = module(*case).numpy()
        feed = {key: value.numpy() for key, value in zip(names, case, strict=True) if key in wanted}
        found = session.run(None, feed)[0]
        shapes = ", ".join(str(tuple(value.shape)) for value in case)
        if found.shape != expected.shape:
            raise ParityError(f"the {name} component returns shape {found.shape}, torch {expected.shape}, for {shapes}")
        difference = _difference(found, expected, unit)
        if not difference <= TOLERANCE and not (rounding and difference <= 10 * _rounding(module, case)):
            raise ParityError(
                f"the {name} component differs from torch by {difference:.2g} for inputs of shape {shapes}",
                expected=f"at most {TOLERANCE:g}",
            )
        worst = max(worst, difference)
    return worst


def check_operators(name: str, content: bytes) -> None:
    """Raise ExportError if scoring would refuse the component: a newer torch may write operators that it rejects."""
    try:
        check_component(name, content, model="MODEL", task="TASK")
    except ArtifactError as error:
        raise ExportError(
            f"scoring refuses what is exported: {error.problem}", expected="the torch version of constraints.txt"
        ) from error


def _difference(found: FloatArray, expected: FloatArray, unit: float = 1.0) -> float:
    """The largest difference: in units for values up to one unit, and relative above, where float32 is coarser."""
    return float((np.abs(found - expected) / np.maximum(unit, np.abs(expected))).max()) if found.size else 0.0


def _rounding(module: nn.Module, case: Sequence[Tensor]) -> float:
    """The largest difference between torch's result and its result in double precision."""
    exact = copy.deepcopy(module).double()
    with torch.inference_mode():
        return _difference(module(*case).numpy(), exact(*case).numpy())
