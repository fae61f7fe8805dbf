"""Number row texts with small integers, and keep their embeddings in one matrix.

The gather query passes the id of a row's text instead of the text or its embedding: ids are cheap to move, equal texts
are embedded once, and a row that has no embedding yet (just inserted, or not committed) gets one when the query reads
it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import numpy as np
import pyarrow as pa

from relsql.text.recent_rows import SPILLED_ROWS, RecentRows
from relsql.typing import FloatArray

Embed = Callable[[Sequence[str]], FloatArray]
Lookup = Callable[[Sequence[str]], tuple[Sequence[str], FloatArray]]

ENTRY_BYTES = 200
"""Memory per text in addition to its characters and its embedding: two Python objects and their dictionary entry."""

MAX_PART_TEXTS = 4096
"""Texts are added in parts of at most this many, so that adding many texts at once does not exceed the memory limit."""


class TextTable:
    """Texts numbered 1, 2, ... in order of arrival; id 0 means no text and has the zero embedding.

    The table remembers the latest texts, up to a memory limit. A forgotten text gets a new id when it occurs again. Its
    old id remains valid, because a running query may use it: its embedding is moved to a temporary file. Ids are never
    stored. All methods may be called from several threads.

    Args:
        width: length of an embedding.
        embed: computes the embeddings of texts, float32 [n, width]; without it, embeddings stay zero.
        lookup: called before `embed`; returns those of the texts whose embeddings are stored, with their embeddings,
            float32 [m, width]; it may return other texts too.
        max_bytes: limit for texts and embeddings in memory; default: none, and nothing is forgotten.
        forgotten: called after texts were forgotten.
        spilled_rows: number of forgotten texts whose ids remain valid; using an older id raises an error.
    """

    def __init__(
        self,
        width: int,
        embed: Embed | None = None,
        lookup: Lookup | None = None,
        *,
        max_bytes: int | None = None,
        forgotten: Callable[[], None] | None = None,
        spilled_rows: int = SPILLED_ROWS,
    ) -> None:
        self.width = width
        self._embed = embed
        self._lookup = lookup
        self._max_bytes = max_bytes
        # An eighth of the limit is forgotten at a time, so a part must fit into that; a long text takes 1 KB.
        self._part = MAX_PART_TEXTS if max_bytes is None else max(1, min(MAX_PART_TEXTS, max_bytes // (8 * 1024)))
        self._forgotten = forgotten
        # The dictionary is in the order of ids, because each added text gets the greatest id so far.
        self._ids: dict[str, int] = {}
        self._held_bytes = 0
        self._rows = RecentRows(width, spilled_rows)
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def texts(self) -> list[str]:
        """The remembered texts in the order of their ids; all texts from id 1 on if nothing was forgotten."""
        return list(self._ids)

    @property
    def oldest_id(self) -> int:
        """The smallest id of a remembered text, or the next id if no text is remembered."""
        return self._rows.oldest

    @property
    def held_bytes(self) -> int:
        """The approximate memory of the remembered texts and their embeddings, in bytes."""
        return self._held_bytes

    def add(self, texts: Sequence[str], embeddings: FloatArray) -> None:
        """Add texts with known embeddings, float32 [n, width]; a known text keeps its id."""
        self._add(texts, embeddings)

    def ids(self, texts: pa.Array) -> pa.Array:
        """Ids of texts, int32; 0 for NULL. Unknown texts are looked up, or embedded if not found, and added."""
        encoded = texts.dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        distinct = encoded.dictionary.to_pylist()
        # Only one access per text, because another thread may forget the text between a test and an access.
        known = list(map(self._ids.get, distinct))
        if None in known:
            missing = dict.fromkeys(x for x, number in zip(distinct, known, strict=True) if number is None)
            added = {None: 0} | self._add_missing([text for text in missing if text is not None])
            known = [added[x] if number is None else number for x, number in zip(distinct, known, strict=True)]
        ids = np.array([*known, 0], dtype=np.int32)
        positions = np.asarray(encoded.indices.fill_null(len(distinct)), dtype=np.int64)
        return pa.array(ids[positions], type=pa.int32())

    def embeddings(self, ids: np.ndarray) -> FloatArray:
        """Embeddings of ids of any shape, float32 [*shape, width].

        Raises:
            DatabaseError: an id is so old that its embedding is no longer in the temporary file either.
        """
        return self._rows.read(ids)

    def _known(self, texts: Iterable[str]) -> dict[str, int]:
        found = ((text, self._ids.get(text)) for text in texts)
        return {text: number for text, number in found if number is not None}

    def _add_missing(self, missing: list[str]) -> dict[str, int]:
        """Ids of texts; texts that no other thread has added meanwhile are looked up or embedded."""
        if not missing:
            return {}
        with self._lock:
            ids = self._known(missing)
            unknown = [text for text in missing if text not in ids]
            if unknown and self._lookup is not None:
                ids |= self._add(*self._lookup(unknown))
                unknown = [text for text in unknown if text not in ids]
            if unknown:
                ids |= self._add(unknown, self._embedded(unknown))
            return ids

    def _embedded(self, texts: list[str]) -> FloatArray:
        return np.zeros((len(texts), self.width), dtype=np.float32) if self._embed is None else self._embed(texts)

    def _add(self, texts: Sequence[str], embeddings: FloatArray) -> dict[str, int]:
        """Add texts; returns the ids of all of them, even of texts that are forgotten before the last is added."""
        assert len(texts) == len(embeddings)
        ids: dict[str, int] = {}
        with self._lock:
            for start in range(0, len(texts), self._part):
                ids |= self._add_part(texts[start : start + self._part], embeddings[start : start + self._part])
        return ids

    def _add_part(self, texts: Sequence[str], embeddings: FloatArray) -> dict[str, int]:
        ids = self._known(texts)
        fresh: dict[str, int] = {}
        for i, text in enumerate(texts):
            if text not in ids:
                fresh.setdefault(text, i)
        added_bytes = sum(map(self._bytes, fresh))
        self._make_room(added_bytes)
        # The embeddings are written before another thread can see their ids.
        added = dict(zip(fresh, self._rows.append(embeddings[list(fresh.values())]), strict=True))
        self._ids |= added
        self._held_bytes += added_bytes
        return ids | added

    def _make_room(self, extra_bytes: int) -> None:
        """Forget the oldest texts, an eighth at a time, until `extra_bytes` more fit into the memory limit."""
        if self._max_bytes is None:
            return
        before = len(self._ids)
        while self._ids and self._held_bytes + extra_bytes > self._max_bytes:
            oldest = list(islice(self._ids.items(), len(self._ids) // 8 + 1))
            self._rows.spill(oldest[-1][1] + 1)
            for text, _ in oldest:
                del self._ids[text]
                self._held_bytes -= self._bytes(text)
        if len(self._ids) < before and self._forgotten is not None:
            self._forgotten()

    def _bytes(self, text: str) -> int:
        # Not `sys.getsizeof`, whose result grows once the text has been converted to UTF-8.
        return len(text) * (1 if text.isascii() else 4) + 4 * self.width + ENTRY_BYTES
