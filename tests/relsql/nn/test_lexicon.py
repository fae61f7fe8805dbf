from __future__ import annotations

import numpy as np
import pytest

from relsql.nn.lexicon import FloatArray, lexical_vectors, token_counts
from relsql.text.tokenizer import RowTokenizer
from relsql.training.encoder.fit_tokenizer import train_tokenizer

TONES = (("furious", "awful", "horrible", "useless"), ("great", "lovely", "superb", "perfect"))
THINGS = ("invoice", "parcel", "login", "report", "printer", "manual", "screen", "cable")


def text(tone: int, rng: np.random.Generator) -> str:
    first, second = rng.choice(TONES[tone], 2)
    things = rng.choice(THINGS, 2)
    return f"<table>tickets<attribute>body<value>the {things[0]} is {first} and the {things[1]} is {second}"


def sample(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Texts and their tones."""
    rng = np.random.default_rng(seed)
    tones = rng.integers(0, 2, count)
    return [text(tone, rng) for tone in tones], tones


@pytest.fixture(scope="module")
def tokenizer() -> RowTokenizer:
    return train_tokenizer(sample(400, 0)[0])


def pooled(tokenizer: RowTokenizer, vectors: FloatArray, texts: list[str]) -> np.ndarray:
    return np.array([vectors[ids].mean(0) for ids in tokenizer.token_ids(texts, 64)])


def test_texts_that_mean_the_same_are_near_each_other(tokenizer: RowTokenizer) -> None:
    vectors = lexical_vectors(tokenizer, sample(400, 0)[0], tokenizer.size)
    texts, tones = sample(400, 1)
    found = pooled(tokenizer, vectors, texts)
    # One of the few directions is the tone, although no text shows which words are similar.
    separation = np.abs(found[tones == 0].mean(0) - found[tones == 1].mean(0)) / found.std(0)
    assert found.shape[1] < 16 and separation.max() > 1.5


def test_directions_have_a_deviation_of_one(tokenizer: RowTokenizer) -> None:
    texts = sample(400, 0)[0]
    vectors = lexical_vectors(tokenizer, texts, tokenizer.size)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(pooled(tokenizer, vectors, texts).std(0), 1.0, rtol=1e-4)


def test_words_at_random_have_no_directions_but_the_average() -> None:
    rng = np.random.default_rng(0)
    words = [*TONES[0], *TONES[1], *THINGS]
    texts = sorted({f"<table>t<attribute>a<value>the {' '.join(rng.choice(words, 6))}" for _ in range(500)})
    # Here every word is one token: parts of a word go together, which is a direction.
    tokenizer = train_tokenizer(texts)
    assert lexical_vectors(tokenizer, texts, tokenizer.size).shape[1] <= 2


def test_same_texts_give_the_same_vectors(tokenizer: RowTokenizer) -> None:
    texts = sample(100, 2)[0]
    size = tokenizer.size
    np.testing.assert_array_equal(lexical_vectors(tokenizer, texts, size), lexical_vectors(tokenizer, texts, size))


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_few_texts(tokenizer: RowTokenizer, count: int) -> None:
    vectors = lexical_vectors(tokenizer, sample(count, 3)[0], tokenizer.size)
    assert vectors.shape[0] == tokenizer.size and vectors.shape[1] >= 1
    assert np.isfinite(vectors).all()


def test_equal_texts_but_for_one_word(tokenizer: RowTokenizer) -> None:
    texts = [f"<table>t<attribute>a<value>{word}" for word in THINGS]
    assert np.isfinite(lexical_vectors(tokenizer, texts, tokenizer.size)).all()


def test_token_counts() -> None:
    counts = token_counts([[1, 2, 1], [], [3]], 5).toarray()
    np.testing.assert_array_equal(counts, [[0, 2, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0]])
