"""Digests of what relsql stores: of a row of the registry, and of an embedding with its text.

They find damage and edits by hand. They do not stop the owner of a file, who can compute them anew: whom to trust is
decided by where a file comes from (`docs/decisions/0016-digests.md`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from relsql.typing import FloatArray

Digests = npt.NDArray[np.uint64]


def row_digest(values: Sequence[object]) -> str:
    """SHA-256 of a row's values; `None` and texts are told apart, times are written as DuckDB writes them."""
    return hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()


def embedding_digests(owner: str, text_keys: Digests, embeddings: FloatArray) -> Digests:
    """Digests of embeddings, each with the text that it belongs to.

    This is multilinear hashing (Lemire and Kaser 2014, "Strongly universal string hashing is fast"): a sum of the
    embedding's bits, 32 at a time, each times a key of its place. One changed number is always noticed, several unless
    64 bits agree by chance. A cryptographic digest of each row would take ten times longer in Python.

    Args:
        owner: the model's identity: an embedding of another model is noticed.
        text_keys: uint64 [n], a hash of each text.
        embeddings: float32 [n, width].
    """
    keys = _keys(owner, embeddings.shape[1] + 2)
    bits = np.ascontiguousarray(embeddings, dtype=np.float32).view(np.uint32)
    found: Digests = np.einsum("ij,j->i", bits, keys[2:], dtype=np.uint64, casting="unsafe")
    low, high = text_keys & np.uint64(0xFFFFFFFF), text_keys >> np.uint64(32)
    found += low * keys[0] + high * keys[1]
    return found


def sum_digests(digests: Digests) -> int:
    """One digest of many rows, whatever their order; sums of parts can be added and taken off, modulo 2^64."""
    # A row's digest is linear: two rows that swapped their texts would have the same plain sum.
    return int(_mixed(digests).sum(dtype=np.uint64))


def _mixed(digests: Digests) -> Digests:
    """The finalizer of SplitMix64 (Steele et al. 2014), a one-to-one map of 64 bits in which no bit stays linear."""
    found = (digests ^ (digests >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return found ^ (found >> np.uint64(31))


@lru_cache(maxsize=64)
def _keys(owner: str, count: int) -> Digests:
    """The key of each place. They are odd: no change of a number, times an odd key, is 0 modulo 2^64."""
    return np.frombuffer(hashlib.shake_128(owner.encode()).digest(8 * count), dtype="<u8").astype(
        np.uint64
    ) | np.uint64(1)
