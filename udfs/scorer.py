"""Score gathered rows with onnxruntime, from Arrow to Arrow. This module depends neither on DuckDB nor on torch."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql.gather.arrays.blocks import as_of_days
from relsql.gather.arrays.graph_inputs import EXPLAINED
from relsql.gather.arrays.left_rows import LeftRows
from relsql.gather.layout import layouts_of
from relsql.registry.cards.card import ModelCard
from relsql.tasks.kinds.classes import Classes
from relsql.text.text_table import TextTable
from relsql.typing import FloatArray
from udfs.certainty import certainty_columns, likely_column
from udfs.coded_texts import CodedTexts
from udfs.components import Component
from udfs.encoder import RowTextEncoder
from udfs.hub_messages import HubMessages
from udfs.states import States
from udfs.stored_embeddings import StoredEmbeddings

MAX_TEXT_BYTES = 512 * 2**20
"""Memory limit for the texts and embeddings of a model version: about 500,000 texts at a width of 128."""

_FIELDS = {
    "status": (pa.string(), "VARCHAR"),
    "evidence": (pa.int32(), "INTEGER"),
    "as_of": (pa.timestamp("us"), "TIMESTAMP"),
    "version": (pa.int32(), "INTEGER"),
    "target": (pa.string(), "VARCHAR"),
}
"""The fields of every result after the score, with their types in Arrow and in DuckDB."""


def score_type(classes: Classes | None, steps: int | None = None) -> str:
    """The DuckDB type of a score: DOUBLE, the type of the classes, or a list of that type; for steps DOUBLE[]."""
    if classes is None:
        return "DOUBLE[]" if steps else "DOUBLE"
    return f"{classes.type}[]" if classes.many else classes.type


def result_type(classes: Classes | None, steps: int | None = None) -> str:
    """The DuckDB type of a result.

    It ends with how certain a score is. For classes these are the probabilities of all classes, and the likely ones
    except for lists of classes; for others both ends of the interval, and the answer at the threshold. A forecast in
    steps has none of these.
    """
    fields = [f"score {score_type(classes, steps)}", *(f"{name} {sql_type}" for name, (_, sql_type) in _FIELDS.items())]
    if classes:
        fields += [f"probabilities MAP({classes.type}, DOUBLE)", f"likely {classes.type}[]"]
    elif not steps:
        fields += ["low DOUBLE", "high DOUBLE", "label BOOLEAN"]
    return f"STRUCT({', '.join(fields)})"


class Scorer:
    """One model version, ready to score. All methods may be called from several threads.

    Args:
        card: the model's card.
        artifacts: bytes by name: `encoder.onnx`, `tokenizer.json` (when the model reads text), `graph.onnx`,
            `head.onnx`, and one for each shared path; for explanations `EXPLAINED`, and one for each path that they
            group. See `exporters.onnx.export`.
        threads: onnxruntime threads per call; DuckDB brings its own threads.

    Raises:
        ArtifactError: a component cannot be loaded.
    """

    def __init__(self, card: ModelCard, artifacts: Mapping[str, bytes], *, threads: int = 1) -> None:
        self.card = card
        self.stored = StoredEmbeddings(card)
        self.texts = TextTable(
            card.encoder.width,
            self.encode,
            self.stored.lookup,
            max_bytes=MAX_TEXT_BYTES,
            forgotten=self.stored.stop_reading_ahead,
        )
        self._coded_texts = CodedTexts(card.schema, tuple(card.inputs.values()), self.texts)
        self._artifacts = artifacts
        self._threads = threads
        self._states = self._load_states("graph.onnx", card.message_functions)
        self._head = self._component("head.onnx")
        # Made once: a function that is registered again has to be the same object, see `udfs.functions`.
        layouts = zip(card.paths, layouts_of(card.paths, card.inputs), strict=True)
        self.left_senders = {
            path.name: partial(self._send_left, LeftRows(card.rows, path, layout))
            for path, layout in layouts
            if path.name in card.left_functions
        }
        self._left_lock = threading.Lock()
        self._left: States | None = None
        self._encoder_lock = threading.Lock()
        self._encoder: RowTextEncoder | None = None

    @property
    def hubs(self) -> dict[str, HubMessages]:
        """The messages of shared paths."""
        return self._states.messages

    @property
    def left(self) -> States:
        """The states of seeds that leave something out, see `ModelCard.left_functions`."""
        with self._left_lock:
            # Loaded for the first explanation, because most sessions ask for none.
            if self._left is None and EXPLAINED in self.card.sha256:
                self._left = self._load_states(EXPLAINED, self.card.left_functions, self.hubs)
        return self._left or self._states

    def _load_states(self, name: str, apart: Collection[str], known: Mapping[str, HubMessages] | None = None) -> States:
        return States(self.card, name, apart, self._component, self.texts, self._coded_texts, known)

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Embed row texts, float32 [n, width]."""
        with self._encoder_lock:
            # Loaded for the first unseen text, because most queries have none.
            if self._encoder is None:
                self._encoder = RowTextEncoder.load(self.card, self._artifacts, threads=self._threads)
        return self._encoder.encode(texts)

    def encode_column(self, texts: pa.Array) -> pa.Array:
        """Embed row texts, VARCHAR to FLOAT[width]; NULL becomes NULL."""
        ids = np.asarray(self.texts.ids(texts))
        flat = pa.array(np.ascontiguousarray(self.texts.embeddings(ids)).ravel(), pa.float32())
        return pa.FixedSizeListArray.from_arrays(flat, self.texts.width, mask=pa.array(ids == 0))

    def score(self, rows: pa.Array) -> pa.Array:
        """Score a batch of seeds.

        Args:
            rows: STRUCT(as_of TIMESTAMP, seed_order UBIGINT, <path> LIST of rows or message of a hub, ...), one field
                per path in the card's order; a seed whose entity does not exist has NULL in the entity's own path.
                Seeds are scored in the order of `seed_order` where it is not NULL, because the last bits of a score
                (at most 1e-6) depend on which seeds are scored together and in which order
                (docs/decisions/0017-memory.md).

        Returns:
            STRUCT(score, status, evidence, as_of, version, target), see `result_type`. `status` is `ok`; `no_history`
            when there is no evidence; `stale` when the newest evidence is older than any in training; `unknown_entity`,
            with a NULL score, when the entity does not exist; `error`, with a NULL score, when the network returns an
            invalid score, see `valid_scores`. `evidence` is the number of rows of `RowPlan.evidence_paths`, `target` is
            `Task.predicts`.
        """
        if isinstance(rows, pa.ChunkedArray):
            rows = rows.combine_chunks()
        order = np.argsort(np.asarray(rows.field("seed_order").fill_null(0)), kind="stable")
        if (order[1:] > order[:-1]).all():
            return self._score(rows, self._states)
        return self._score(rows.take(pa.array(order)), self._states).take(pa.array(np.argsort(order)))

    def score_left(self, rows: pa.Array) -> pa.Array:
        """Like `score`, for seeds that leave something out; the paths of `ModelCard.left_functions` are messages."""
        return self._score(rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows, self.left)

    def _send_left(self, rows: LeftRows, keys: pa.Array) -> pa.Array:
        """The messages along a path to groups that leave something out, see `HubMessages.send_left`."""
        return self.left.messages[rows.layout.name].send_left(rows, keys)

    def embed(self, rows: pa.Array) -> pa.Array:
        """The states of a batch of seeds, FLOAT[channels]; NULL for an entity that does not exist.

        The argument is that of `score`. A state is what the network makes of an entity and its linked rows; the head
        turns it into a score.
        """
        if isinstance(rows, pa.ChunkedArray):
            rows = rows.combine_chunks()
        order = np.argsort(np.asarray(rows.field("seed_order").fill_null(0)), kind="stable")
        ordered = rows.take(pa.array(order))
        blocks, known = self._states.blocks(ordered)
        width = self.card.channels
        states, missing = np.zeros((len(rows), width), dtype=np.float32), np.ones(len(rows), dtype=bool)
        if len(known):
            received = self._states.received(ordered, known)
            states[order[known]] = self._states.states(blocks, received)[:, :width]
            missing[order[known]] = False
        return pa.FixedSizeListArray.from_arrays(pa.array(states.ravel()), width, mask=pa.array(missing))

    def _score(self, rows: pa.StructArray, of: States) -> pa.StructArray:
        """Like `score`, but in the given order of the seeds."""
        blocks, known = of.blocks(rows)
        as_of = rows.field("as_of").cast(pa.timestamp("us"))
        shape = (len(rows),) if self.card.outputs is None else (len(rows), self.card.outputs)
        scores = np.full(shape, np.nan)
        evidence = np.zeros(len(rows), dtype=np.int32)
        status = np.full(len(rows), "unknown_entity", dtype=object)
        if len(known):
            received = of.received(rows, known)
            feed = {"state": of.states(blocks, received), "as_of_days": as_of_days(as_of)[known]}
            scores[known] = self._head(feed)
            evidence[known], status[known] = of.evidence(blocks, received)
            status[known[~self.valid_scores(scores[known])]] = "error"
        version = np.full(len(rows), self.card.version, dtype=np.int32)
        described = [status, evidence, as_of, version, pa.repeat(self.card.task.predicts, len(rows))]
        columns = {name: pa.array(part, _FIELDS[name][0]) for name, part in zip(_FIELDS, described, strict=True)}
        missing = (status == "unknown_entity") | (status == "error")
        if self.card.classes:
            named, probabilities = _class_columns(self.card.classes, scores, missing)
            columns = {"score": named, **columns, "probabilities": probabilities}
            columns["likely"] = likely_column(self.card, scores, missing)
        elif self.card.task.steps:
            columns = {"score": _lists(scores, missing), **columns}
        else:
            columns = {
                "score": pa.array(scores, mask=missing),
                **columns,
                **certainty_columns(self.card, scores, missing),
            }
        return pa.StructArray.from_arrays(list(columns.values()), list(columns))

    def valid_scores(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Which scores are valid: finite, and from 0 to 1 for a classification. bool [n].

        Args:
            scores: float64 [n]; of a task with classes or steps [n, outputs], all of which must be valid.
        """
        valid = (scores >= 0) & (scores <= 1) if self.card.task.is_classification else np.isfinite(scores)
        return valid if valid.ndim == 1 else np.logical_and.reduce(valid, axis=1)

    def _component(self, name: str) -> Component:
        return Component(self.card, self._artifacts, name, threads=self._threads)


def _lists(scores: npt.NDArray[np.float64], missing: npt.NDArray[np.bool_]) -> pa.Array:
    """The scores of all steps [n, steps] as lists, NULL where missing."""
    ends = np.concatenate([[0], np.cumsum(np.where(missing, 0, scores.shape[1]))]).astype(np.int32)
    offsets = pa.array(ends, mask=np.append(missing, False))
    return pa.ListArray.from_arrays(offsets, pa.array(scores[~missing].ravel()))


def _class_columns(
    classes: Classes, probabilities: npt.NDArray[np.float64], missing: npt.NDArray[np.bool_]
) -> tuple[pa.Array, pa.Array]:
    """What is predicted of each seed, and its map from classes to probabilities; both are NULL where missing.

    Predicted is the likeliest class, of a multilabel task the list of the classes above their thresholds.
    """
    found = probabilities[~missing]
    likeliest = np.zeros(len(missing), dtype=np.int64)
    likeliest[~missing] = found.argmax(axis=1)
    keys = pa.array(np.tile(np.arange(len(classes)), len(found)))
    ends = np.concatenate([[0], np.cumsum(np.where(missing, 0, len(classes)))]).astype(np.int32)
    # A NULL offset means that the map which begins there is NULL.
    offsets = pa.array(ends, mask=np.append(missing, False))
    maps = pa.MapArray.from_arrays(offsets, classes.array.take(keys), pa.array(found.ravel()))
    if classes.thresholds is not None:
        named = np.zeros((len(missing), len(classes)), dtype=bool)
        named[~missing] = found >= np.array(classes.thresholds)
        ends = np.concatenate([[0], np.cumsum(named.sum(axis=1))]).astype(np.int32)
        values = classes.array.take(pa.array(np.nonzero(named)[1]))
        return pa.ListArray.from_arrays(pa.array(ends, mask=np.append(missing, False)), values), maps
    return classes.array.take(pa.array(likeliest, mask=missing)), maps
