"""Scores gathered rows: Arrow in, Arrow out, on onnxruntime. Knows nothing of DuckDB and nothing of torch."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnxruntime
import pyarrow as pa

from relsql.blocks import (
    Block,
    FloatArray,
    IntArray,
    as_of_days,
    decode_blocks,
    existing_seeds,
    newest_evidence_days,
)
from relsql.card import ModelCard, layouts_of
from relsql.errors import ArtifactError
from relsql.graph_inputs import graph_feed, graph_inputs
from relsql.tokenizer import encode_batch, load_tokenizer
from udfs.texts import TextTable

ENCODE_BATCH = 64
RESULT_FIELDS = [
    pa.field("score", pa.float64()),
    pa.field("status", pa.string()),
    pa.field("evidence", pa.int32()),
    pa.field("as_of", pa.timestamp("us")),
    pa.field("version", pa.int32()),
]
RESULT_SQL_TYPE = "STRUCT(score DOUBLE, status VARCHAR, evidence INTEGER, as_of TIMESTAMP, version INTEGER)"


class Scorer:
    """One model version, ready to score. All methods may be called from several threads.

    Args:
        card: the model's card.
        artifacts: bytes by name: `encoder.onnx`, `tokenizer.json` (when the model reads text), `graph.onnx`,
            `head.onnx`.
        threads: onnxruntime threads per call; DuckDB brings its own threads.

    Raises:
        ArtifactError: a component cannot be loaded.
    """

    def __init__(self, card: ModelCard, artifacts: Mapping[str, bytes], *, threads: int = 1) -> None:
        self.card = card
        self.layouts = layouts_of(card.paths, card.inputs)
        self.texts = TextTable(card.encoder.width, self.encode)
        self._artifacts = artifacts
        self._threads = threads
        self._graph = self._session("graph.onnx")
        self._head = self._session("head.onnx")
        self._graph_names = {node.name for node in self._graph.get_inputs()}
        self._head_names = {node.name for node in self._head.get_inputs()}
        self._encoder_lock = threading.Lock()
        self._encoder: onnxruntime.InferenceSession | None = None

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Embed row texts, float32 [n, width]."""
        with self._encoder_lock:
            # Loaded when the first unseen text comes: most queries meet none.
            if self._encoder is None:
                self._encoder = self._session("encoder.onnx")
                self._tokenizer = load_tokenizer(self._artifacts["tokenizer.json"])
            session = self._encoder
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        embeddings = np.zeros((len(texts), self.card.encoder.width), dtype=np.float32)
        for start in range(0, len(order), ENCODE_BATCH):
            chosen = order[start : start + ENCODE_BATCH]
            ids, mask = encode_batch(self._tokenizer, [texts[i] for i in chosen], self.card.encoder.max_tokens)
            embeddings[chosen] = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return embeddings

    def score(self, rows: pa.Array) -> pa.Array:
        """Score a batch of seeds.

        Args:
            rows: STRUCT(as_of TIMESTAMP, <path> LIST of rows, ...), one field per path in the card's order; a seed
                whose entity does not exist has NULL in the entity's own path.

        Returns:
            STRUCT(score, status, evidence, as_of, version). `status` is `ok`; `no_history` when there is no linked
            row; `stale` when the newest linked row is older than any in training; `unknown_entity` with a NULL score.
            `evidence` is the number of linked rows.
        """
        if isinstance(rows, pa.ChunkedArray):
            rows = rows.combine_chunks()
        blocks, known = existing_seeds(decode_blocks(rows.field, self.layouts), self.layouts)
        as_of = rows.field("as_of").cast(pa.timestamp("us"))
        score = np.full(len(rows), np.nan)
        evidence = np.zeros(len(rows), dtype=np.int32)
        status = np.full(len(rows), "unknown_entity", dtype=object)
        if len(known):
            score[known] = self._run(blocks, as_of_days(as_of)[known])
            evidence[known], status[known] = self._evidence(blocks)
        version = np.full(len(rows), self.card.version, dtype=np.int32)
        unknown = np.ones(len(rows), dtype=bool)
        unknown[known] = False
        columns = [pa.array(score, mask=unknown), pa.array(status, pa.string()), pa.array(evidence), as_of]
        return pa.StructArray.from_arrays([*columns, pa.array(version)], fields=RESULT_FIELDS)

    def _run(self, blocks: list[Block], as_of_days: FloatArray) -> FloatArray:
        inputs = graph_inputs(blocks, self.layouts, in_order=False)
        embeddings = self.texts.embeddings(inputs.text_ids)
        feed = graph_feed(inputs, self.layouts, embeddings, len(as_of_days))
        state = self._graph.run(None, {name: value for name, value in feed.items() if name in self._graph_names})[0]
        head_feed = {"state": state, "as_of_days": as_of_days}
        result: FloatArray = self._head.run(None, {k: v for k, v in head_feed.items() if k in self._head_names})[0]
        return result

    def _evidence(self, blocks: list[Block]) -> tuple[IntArray, npt.NDArray[np.object_]]:
        """Number of linked rows of each seed, and its status."""
        evidence = np.zeros(len(blocks[0].counts), dtype=np.int64)
        for block in blocks[1:]:
            evidence += block.counts
        status = np.full(len(evidence), "ok", dtype=object)
        if self.card.stale_after_days is not None:
            newest_days = newest_evidence_days(blocks, self.card.paths, self.card.schema)
            status[newest_days > self.card.stale_after_days] = "stale"
        status[evidence == 0] = "no_history"
        return evidence, status

    def _session(self, name: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(
                self._artifacts[name], sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            problem = str(error).splitlines()[0]
            raise ArtifactError(
                f"model '{self.card.name}': component {name} cannot be loaded: {problem}",
                fix=f"relsql train FILE {self.card.task.name} --name {self.card.name}",
            ) from error
