"""The parts of the graph network that do not depend on a schema: maps from states to states, and norms.

Parts with the same name share their weights: the maps of all paths that read a single row, the maps of all paths that
read several rows, and the norms of all tables. A name contains the number of inputs where this depends on the path. The
maps of a table's numbers, categories and texts, and those of a path's statistics, are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from torch import Tensor, nn

from relsql.errors import TrainingError
from relsql.hints import command
from relsql.nn.graph_network import GraphNetwork
from relsql.training.pretraining.weights import Weights


def _places(network: GraphNetwork) -> Iterator[tuple[str, nn.Module, str]]:
    """Every shared part of a network: its name, the module that holds it, and the attribute there."""
    yield "norm", network, "norm"
    for encoder in network.encoders:
        yield "table.norm", encoder, "norm"
    for position, layout in enumerate(network.layouts):
        layer = network.path(position)
        kind = "row" if layout.fanout == 1 else "rows"
        yield f"{kind}.root", layer, "root"
        for i in range(len(layer.lookups)):
            yield f"{kind}.lookup", layer.lookups, str(i)
        if layer.age_map is not None:
            yield f"{kind}.ages_{layout.ages_width}", layer, "age_map"
        yield f"{kind}.convolution_{len(layer.averages.windows)}", layer.convolution, "lin_l"


def share(network: GraphNetwork, parts: dict[str, nn.Module]) -> None:
    """Put `parts` in place of the network's own, and add those that `parts` does not have yet."""
    for name, holder, attribute in _places(network):
        setattr(holder, attribute, parts.setdefault(name, cast(nn.Module, getattr(holder, attribute))))


def shared_weights(parts: dict[str, nn.Module]) -> dict[str, Tensor]:
    """The weights of shared parts by name, as they are stored."""
    return {
        f"{name}.{key}": value.detach().clone()
        for name, part in sorted(parts.items())
        for key, value in part.state_dict().items()
    }


def start_from(network: GraphNetwork, weights: Weights) -> None:
    """Copy pre-trained weights into the parts of a network that they exist for; the other parts stay as they are.

    Raises:
        TrainingError: the weights are those of a network of another width.
    """
    channels = weights.manifest.channels
    if channels != network.config.channels:
        raise TrainingError(
            f"the pre-trained weights have {channels} channels, this network has {network.config.channels}",
            fix=f"{command('train', 'FILE', 'TASK', '--channels', channels)}, "
            f"or {command('pretrain', 'FILES', '--channels', network.config.channels)}",
        )
    for name, holder, attribute in _places(network):
        part = cast(nn.Module, getattr(holder, attribute))
        state = {key: weights.network.get(f"{name}.{key}") for key in part.state_dict()}
        if all(value is not None for value in state.values()):
            part.load_state_dict(state)
