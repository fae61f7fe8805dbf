"""Lexical token vectors: which words occur together in row texts, found by latent semantic analysis.

The mean of the token vectors places texts with the same meaning in other words near each other (Deerwester et al. 1990,
"Indexing by latent semantic analysis"). The vectors are computed in closed form from a few thousand texts. They
complement the contextual half of a row embedding: a short denoising run learns to distinguish tables and columns, but
not what a sentence means.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.linalg import svds

from relsql.text.tokenizer import RowTokenizer

MAX_DIRECTIONS = 64

FloatArray = npt.NDArray[np.float32]


def lexical_vectors(
    tokenizer: RowTokenizer, texts: Sequence[str], size: int, *, max_tokens: int = 64, seed: int = 0
) -> FloatArray:
    """Lexical vectors of all tokens, float32 [size, d], d from 1 to 64; zeros for a token that no text has.

    The number of directions is found by parallel analysis (Horn 1965, "A rationale and test for the number of factors
    in factor analysis"): a direction is kept if it is stronger than the directions of random texts, in which each word
    is as frequent as in the real ones.

    Args:
        tokenizer: the tokenizer of the texts.
        texts: distinct row texts.
        size: number of token ids.
        max_tokens: longer texts are cut.
        seed: seed of the random texts and of the start of the decomposition.
    """
    counts = token_counts(tokenizer.token_ids(texts, max_tokens), size)
    texts_with_token = np.bincount(counts.indices, minlength=size)
    rarity = np.where(texts_with_token > 0, np.log((1 + len(texts)) / (1 + texts_with_token)), 0.0)
    weighted = _rows_of_length_one(counts @ sp.diags_array(rarity))
    limit = min(MAX_DIRECTIONS, min(weighted.shape) - 2)
    if limit < 2:
        return np.zeros((size, 1), dtype=np.float32)
    strengths, directions = _directions(weighted, limit, seed)
    noise, _ = _directions(_shuffled_columns(weighted, seed), 2, seed)
    # The first direction of both is the average text, so the noise level is the second direction of the random texts.
    kept = max(1, int((strengths > noise[1]).sum()))
    # Scaled to a standard deviation of about 1 over the texts, regardless of a direction's strength and text lengths.
    vectors = rarity[:, None] * directions[:kept].T
    pooled = counts @ vectors / np.maximum(counts.sum(axis=1), 1)[:, None]
    scaled: FloatArray = np.ascontiguousarray(vectors / np.maximum(pooled.std(axis=0), 1e-6), dtype=np.float32)
    return scaled


def token_counts(ids: Sequence[Sequence[int]], size: int) -> sp.csr_array:
    """How often each text has each token, float64 [texts, size]."""
    lengths = [len(row) for row in ids]
    rows = np.repeat(np.arange(len(ids)), lengths)
    tokens = np.fromiter((token for row in ids for token in row), dtype=np.int64, count=len(rows))
    counts = sp.csr_array((np.ones(len(rows)), (rows, tokens)), shape=(len(ids), size))
    counts.sum_duplicates()
    return counts


def _rows_of_length_one(matrix: sp.csr_array) -> sp.csr_array:
    lengths = np.sqrt(matrix.multiply(matrix).sum(axis=1))
    return sp.csr_array(sp.diags_array(1 / np.maximum(lengths, 1e-9)) @ matrix)


def _shuffled_columns(matrix: sp.csr_array, seed: int) -> sp.csr_array:
    """The matrix with the entries of each column moved to random rows."""
    rows = np.random.default_rng(seed).integers(0, matrix.shape[0], matrix.nnz)
    return sp.csr_array((matrix.data, (rows, matrix.indices)), shape=matrix.shape)


def _directions(matrix: sp.csr_array, count: int, seed: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The strongest singular values [count], descending, and their right singular vectors [count, columns]."""
    _, strengths, directions = svds(matrix, k=count, rng=np.random.default_rng(seed))
    order = np.argsort(-strengths)
    found = directions[order]
    # The sign of a direction is arbitrary. It is fixed so that the entry of largest magnitude is positive.
    signs = np.sign(found[np.arange(count), np.abs(found).argmax(axis=1)])
    return strengths[order], found * signs[:, None]
