"""Row texts as small integers, and their embeddings as one matrix.

The gather query passes the id of a row's text instead of the text or its embedding: ids are cheap to move, equal
texts are embedded once, and a row that nobody has embedded yet (inserted a moment ago, or not committed) gets its
embedding when the query meets it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from relsql.blocks import FloatArray

Embed = Callable[[Sequence[str]], FloatArray]
Lookup = Callable[[Sequence[str]], tuple[Sequence[str], FloatArray]]


class TextTable:
    """Texts numbered 1, 2, ... in order of arrival; id 0 stands for no text and has the zero embedding.

    Ids hold for the life of the object and are never stored. All methods may be called from several threads.

    Args:
        width: length of an embedding.
        embed: computes the embeddings of texts, float32 [n, width]; without it, embeddings stay zero.
        lookup: asked first: returns those of the texts whose embeddings are stored, with embeddings float32
            [m, width]; it may return others too.
    """

    def __init__(self, width: int, embed: Embed | None = None, lookup: Lookup | None = None) -> None:
        self.width = width
        self._embed = embed
        self._lookup = lookup
        self._ids: dict[str, int] = {}
        self._matrix = np.zeros((1024, width), dtype=np.float32)
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def texts(self) -> list[str]:
        """All texts, in the order of their ids, starting with id 1."""
        return list(self._ids)

    def add(self, texts: Sequence[str], embeddings: FloatArray) -> None:
        """Add texts with known embeddings, float32 [n, width]; a known text keeps its id."""
        with self._lock:
            assert len(texts) == len(embeddings)
            fresh: dict[str, int] = {}
            for i, text in enumerate(texts):
                if text not in self._ids:
                    fresh.setdefault(text, i)
            self._reserve(len(fresh))
            ids = range(len(self._ids) + 1, len(self._ids) + 1 + len(fresh))
            # The rows are written before their ids can be seen by another thread.
            self._matrix[ids.start : ids.stop] = embeddings[list(fresh.values())]
            self._ids.update(zip(fresh, ids, strict=True))

    def ids(self, texts: pa.Array) -> pa.Array:
        """Ids of texts, int32; 0 for NULL. Unknown texts are looked up, else embedded, and added."""
        encoded = texts.dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        distinct = encoded.dictionary.to_pylist()
        missing = self._unknown([text for text in distinct if text is not None])
        if missing:
            self._add_missing(missing)
        known = np.array([0 if text is None else self._ids[text] for text in distinct] + [0], dtype=np.int32)
        positions = np.asarray(encoded.indices.fill_null(len(distinct)), dtype=np.int64)
        return pa.array(known[positions], type=pa.int32())

    def embeddings(self, ids: np.ndarray) -> FloatArray:
        """Embeddings of ids of any shape, float32 [*shape, width]."""
        found: FloatArray = self._matrix[ids]
        return found

    def _add_missing(self, missing: list[str]) -> None:
        with self._lock:
            texts = self._unknown(missing)
            if texts and self._lookup is not None:
                self.add(*self._lookup(texts))
                texts = self._unknown(texts)
            if not texts:
                return
            if self._embed is None:
                embeddings = np.zeros((len(texts), self.width), dtype=np.float32)
            else:
                embeddings = self._embed(texts)
            self.add(texts, embeddings)

    def _unknown(self, texts: Sequence[str]) -> list[str]:
        return [text for text in texts if text not in self._ids]

    def _reserve(self, extra: int) -> None:
        needed = len(self._ids) + extra + 1
        if needed > len(self._matrix):
            grown = np.zeros((max(needed, 2 * len(self._matrix)), self.width), dtype=np.float32)
            grown[: len(self._matrix)] = self._matrix
            # Readers keep the old matrix until the new one is whole.
            self._matrix = grown
