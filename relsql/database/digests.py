"""Digests of what relsql stores: rows of the registry, and embeddings with their texts.

They detect damage and manual edits. They do not prove who wrote a file, because anybody who can edit it can also
compute new digests: whether to trust a file depends on where it comes from (`docs/decisions/0016-digests.md`).
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
    """SHA-256 of a row's values; `None` differs from every text, and times are written as DuckDB writes them."""
    return hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()


def embedding_digests(owner: str, text_keys: Digests, embeddings: FloatArray) -> Digests:
    """Digests of embeddings, each together with the text that it belongs to.

    This is multilinear hashing (Lemire and Kaser 2014, "Strongly universal string hashing is fast"): the embedding is
    read as 32-bit words, each word is multiplied by the key of its position, and the products are summed. One changed
    number is always detected; several are missed only if 64 bits collide by chance. A cryptographic digest of each row
    would take ten times longer in Python.

    Args:
        owner: the model's identity, so that an embedding of another model is detected.
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
    """One digest of many rows in any order; the sums of parts can be added and subtracted, modulo 2^64."""
    # Row digests are linear, so a plain sum would not change if two rows swapped their texts. Mixing prevents that.
    return int(_mixed(digests).sum(dtype=np.uint64))


def _mixed(digests: Digests) -> Digests:
    """The finalizer of SplitMix64 (Steele et al. 2014), a bijection of 64-bit numbers in which no bit stays linear."""
    found = (digests ^ (digests >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return found ^ (found >> np.uint64(31))


@lru_cache(maxsize=64)
def _keys(owner: str, count: int) -> Digests:
    """The key of each position. Keys are odd, so that a changed number times its key is never 0 modulo 2^64."""
    return np.frombuffer(hashlib.shake_128(owner.encode()).digest(8 * count), dtype="<u8").astype(
        np.uint64
    ) | np.uint64(1)
