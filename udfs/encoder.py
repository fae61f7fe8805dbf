"""The row encoder on onnxruntime, which maps row texts to row embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from relsql.registry.cards.card import ModelCard
from relsql.registry.components.onnx_runtime import onnxruntime
from relsql.text.tokenizer import PAD, RowTokenizer, pad
from relsql.typing import FloatArray
from udfs.components import load_session, require_artifact, run_session

BATCH_TOKENS = 2048
"""Maximum number of tokens of one run, including padding: a batch has many short texts or a few long ones."""


class RowTextEncoder:
    """The row encoder of one model version. It may be called from several threads.

    Args:
        session: the exported encoder, see `exporters.onnx.export`.
        tokenizer: its tokenizer.
        max_tokens: longer texts are cut.
    """

    def __init__(self, session: onnxruntime.InferenceSession, tokenizer: RowTokenizer, max_tokens: int) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._pad_id = tokenizer.token_id(PAD)
        self._width = int(session.get_outputs()[0].shape[1])

    @classmethod
    def load(cls, card: ModelCard, artifacts: Mapping[str, bytes], *, threads: int = 1) -> RowTextEncoder:
        """The encoder from the artefacts `encoder.onnx` and `tokenizer.json`, on `threads` threads per call.

        Raises:
            ArtifactError: one of them cannot be loaded.
        """
        require_artifact(card, artifacts, "tokenizer.json")
        session = load_session(card, artifacts, "encoder.onnx", threads)
        return cls(session, RowTokenizer(artifacts["tokenizer.json"]), card.encoder.max_tokens)

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Embed row texts, float32 [n, width]; texts of similar length are batched together to reduce padding.

        The other texts in a batch only change the last bits of an embedding.
        """
        ids = self._tokenizer.token_ids(texts, self._max_tokens)
        embeddings = np.zeros((len(texts), self._width), dtype=np.float32)
        for chosen in length_buckets([len(row) for row in ids], BATCH_TOKENS):
            rows, mask = pad([ids[i] for i in chosen], self._pad_id)
            embeddings[chosen] = run_session(self._session, {"input_ids": rows, "attention_mask": mask})
        return embeddings


def length_buckets(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Group positions by length, so that each group, padded to its longest, has at most `budget` tokens, or one row."""
    group: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if group and (len(group) + 1) * lengths[i] > budget:
            yield group
            group = []
        group.append(i)
    if group:
        yield group
