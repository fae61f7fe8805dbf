"""Random trees for the head of a network, and the statistics that they read."""

from __future__ import annotations

import numpy as np

from relsql.gather.statistics import path_statistics
from relsql.nn.boosted_trees import BoostedTrees, Trees
from relsql.nn.graph_network import GraphNetwork
from relsql.nn.head import TIMES, Head


def random_trees(inputs: int, count: int, seed: int) -> Trees:
    """Trees over some inputs; every third question has only one answer."""
    random = np.random.default_rng(seed)
    thresholds = random.normal(size=(count, 3)).round(1)
    thresholds[random.random((count, 3)) < 0.3] = np.inf
    return Trees(random.integers(0, inputs, size=(count, 3)), thresholds, random.normal(size=(count, 4)))


def add_random_trees(network: GraphNetwork, head: Head, seed: int, count: int = 12) -> None:
    """Let the network return up to four random statistics of each path, and add trees that read them and the time."""
    random = np.random.default_rng(seed)
    chosen = {}
    for layout in network.layouts:
        known = len(path_statistics(layout, network.config.windows))
        chosen[layout.name] = sorted(random.choice(known, size=min(known, 4), replace=False).tolist())
    network.choose_statistics(chosen)
    inputs = sum(map(len, chosen.values())) + TIMES
    head.add_trees(BoostedTrees.of(random_trees(inputs, count, seed), np.ones(inputs)), 0.5)
