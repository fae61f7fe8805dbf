"""The torch modules of a stored model version, from the weights in its ONNX components."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import onnx
import onnx.numpy_helper
import torch
from torch import Tensor, nn

from relsql.errors import ArtifactError
from relsql.gather.arrays.blocks import Block
from relsql.gather.arrays.graph_inputs import graph_inputs
from relsql.gather.layout import BlockLayout, layouts_of
from relsql.hints import command
from relsql.nn.boosted_trees import BoostedTrees
from relsql.nn.class_head import new_head
from relsql.nn.graph_network import GraphNetwork, NetworkConfig, graph_tensors
from relsql.nn.head import Head
from relsql.registry.cards.card import ModelCard
from relsql.typing import FloatArray, IntArray

_LEFT_OUT = re.compile(r"within|logarithmic|label_\w+|temperature|text_scaling\.\w+")
"""Buffers that an export leaves out if the model does not use them: their initial values are then correct."""


def load_modules(card: ModelCard, artifacts: Mapping[str, bytes]) -> tuple[GraphNetwork, Head]:
    """The network and the head of a model version, ready to score.

    Args:
        card: the model's card.
        artifacts: its artefacts by name.

    Raises:
        ArtifactError: the components lack a weight.
    """
    weights: dict[str, Tensor] = {}
    for name, content in artifacts.items():
        if name.endswith(".onnx") and name != "encoder.onnx":
            weights.update(_initializers(content))
    network, head = empty_modules(card, weights)
    for prefix, module in (("network.", network), ("head.", head)):
        _load(card, module, prefix, weights)
    return network, head


def empty_modules(card: ModelCard, weights: Mapping[str, Tensor]) -> tuple[GraphNetwork, Head]:
    """The network and the head of a model with initial weights.

    `weights` are the model's by name. Only the sizes of the head's trees are read from them.
    """
    config = NetworkConfig(card.channels, (card.encoder.width,), windows=card.windows)
    network = GraphNetwork(layouts_of(card.paths, card.inputs), config)
    network.choose_statistics(card.statistics)
    head = new_head(config, card.task, card.classes)
    if card.statistics:
        shares, pairs = (weights.get(f"head.trees.{name}", torch.zeros(0)) for name in ("input", "left"))
        head.trees = BoostedTrees(len(shares), len(pairs), head.out.out_features)
    return network, head


def score_blocks(
    network: GraphNetwork,
    head: Head,
    blocks: Sequence[Block],
    layouts: Sequence[BlockLayout],
    texts: Callable[[IntArray], FloatArray],
    as_of_days: FloatArray,
) -> FloatArray:
    """Score gathered rows with torch.

    Args:
        network: computes entity states.
        head: computes scores from them.
        blocks: one per path, for seeds whose entity exists.
        layouts: layouts of the blocks.
        texts: row embeddings by text id, int64 [n] -> float32 [n, width].
        as_of_days: float32 [seeds].

    Returns:
        Scores, see `Head.score`.
    """
    inputs = graph_inputs(blocks, layouts)
    batch = graph_tensors(inputs, texts(inputs.text_ids))
    with torch.inference_mode():
        scores: FloatArray = head.score(network(batch), torch.from_numpy(as_of_days)).numpy()
    return scores


def _initializers(content: bytes) -> Iterator[tuple[str, Tensor]]:
    """The weights of a component, by their names in the torch modules."""
    for initializer in onnx.load_from_string(content).graph.initializer:
        yield initializer.name, torch.from_numpy(onnx.numpy_helper.to_array(initializer).copy())


def _load(card: ModelCard, module: nn.Module, prefix: str, weights: Mapping[str, Tensor]) -> None:
    state = module.state_dict()
    buffers = {name for name, _ in module.named_buffers()}
    for name, initial in state.items():
        found = weights.get(prefix + name)
        if found is not None:
            state[name] = found.reshape(initial.shape)
        elif initial.numel() and not (name in buffers and _LEFT_OUT.search(name)):
            raise ArtifactError(
                f"model '{card.name}' version {card.version}: its ONNX components lack the weight '{prefix}{name}'",
                fix=command("train", "FILE", card.task.name, "--name", card.name),
            )
    module.load_state_dict(state)
    module.eval()
