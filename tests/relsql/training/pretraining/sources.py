"""Weights in memory, as small as they can be."""

from __future__ import annotations

from torch import Tensor

from relsql.nn.row_encoder import compact_config, new_model
from relsql.training.encoder.fit_tokenizer import train_tokenizer
from relsql.training.pretraining.weights import WEIGHTS_FORMAT, Manifest, Weights


def weights(network: dict[str, Tensor], channels: int) -> Weights:
    """Weights with these parts of a network, and a row encoder of width 16 that is not trained."""
    tokenizer = train_tokenizer(["<table>shops<attribute>city<value>Ulm"])
    manifest = Manifest(
        format=WEIGHTS_FORMAT,
        relsql_version="0",
        versions={},
        sources=("a", "b"),
        channels=channels,
        vocabulary=tokenizer.size,
        width=16,
        options={"seed": 0},
        metrics={},
        sha256={},
    )
    return Weights(new_model(compact_config(tokenizer.size, d_model=16), 0), tokenizer, network, manifest)
