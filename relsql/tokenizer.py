"""The tokenizer of the row encoder: byte-level BPE with BART's special tokens and the three row markers.

Scoring uses it too, so it needs `tokenizers` and `numpy` only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from relsql.errors import ArtifactError
from relsql.row_text import MARKERS, units

BOS, PAD, EOS, UNK, MASK = "<s>", "<pad>", "</s>", "<unk>", "<mask>"
SPECIAL_TOKENS = (BOS, PAD, EOS, UNK, MASK)
"""Ids 0 to 4 of a trained tokenizer; BART's configuration has the same ids for the first three."""

IntMatrix = npt.NDArray[np.int64]


def train_tokenizer(texts: Iterable[str], vocab_size: int = 4096) -> Tokenizer:
    """Train a byte-level BPE tokenizer on row texts.

    The order of `texts` and repeated texts make no difference. Every byte has a token, so no text is unknown to it.

    Args:
        texts: row texts.
        vocab_size: upper bound of the vocabulary, at least 264 (specials, markers and bytes); a small database
            reaches fewer.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[*SPECIAL_TOKENS, *MARKERS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(_unit_contents(texts), trainer)
    add_markers(tokenizer)
    frame_texts(tokenizer)
    return tokenizer


def _unit_contents(texts: Iterable[str]) -> Iterator[str]:
    """Yield the contents of all units, sorted: merges across markers would never apply."""
    counts: Counter[str] = Counter()
    for text in set(texts):
        counts.update(text[unit.start : unit.end] for unit in units(text))
    for content in sorted(counts):
        for _ in range(counts[content]):
            yield content


def add_markers(tokenizer: Tokenizer) -> None:
    """Add the three row markers as special tokens, in place; those already there stay."""
    tokenizer.add_special_tokens([AddedToken(marker, normalized=False, special=True) for marker in MARKERS])


def frame_texts(tokenizer: Tokenizer) -> None:
    """Make `tokenizer` put `<s>` before and `</s>` after every text, uncut and unpadded, in place."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}",
        pair=f"{BOS} $A {EOS} $B {EOS}",
        special_tokens=[(token, token_id(tokenizer, token)) for token in (BOS, EOS)],
    )


def dump_tokenizer(tokenizer: Tokenizer) -> str:
    """Write a tokenizer as JSON text."""
    return str(tokenizer.to_str())


def load_tokenizer(text: str | bytes) -> Tokenizer:
    """Read a tokenizer from its JSON text.

    Raises:
        ArtifactError: the text is no tokenizer or lacks a special token of BART or a row marker.
    """
    try:
        tokenizer = Tokenizer.from_str(text.decode() if isinstance(text, bytes) else text)
    except Exception as error:  # The library raises plain Exception.
        raise ArtifactError(
            f"the stored tokenizer cannot be read ({error})", fix="train the model again with this version of relsql"
        ) from error
    missing = missing_tokens(tokenizer)
    if missing:
        raise ArtifactError(
            f"the stored tokenizer lacks the tokens {', '.join(missing)}",
            fix="train the model again with this version of relsql",
        )
    return tokenizer


def missing_tokens(tokenizer: Tokenizer) -> list[str]:
    """The special tokens and row markers that `tokenizer` does not know."""
    return [token for token in (*SPECIAL_TOKENS, *MARKERS) if tokenizer.token_to_id(token) is None]


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a special token or marker, which `tokenizer` must know."""
    found = tokenizer.token_to_id(token)
    assert found is not None, token
    return found


def encode_batch(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> tuple[IntMatrix, IntMatrix]:
    """Encode texts to padded token ids.

    Args:
        tokenizer: a tokenizer whose own truncation and padding are off; it is not changed.
        texts: n texts.
        max_tokens: longest row of the result, at least 2; a longer text is cut and keeps its final `</s>`.

    Returns:
        `input_ids` and `attention_mask`, both int64 [n, longest].
    """
    return pad(token_ids(tokenizer, texts, max_tokens), token_id(tokenizer, PAD))


def token_ids(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Encode texts to token ids, `<s>` first and `</s>` last, at most `max_tokens` each."""
    assert max_tokens >= 2, max_tokens
    rows = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
    return [ids if len(ids) <= max_tokens else [*ids[: max_tokens - 1], ids[-1]] for ids in rows]


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[IntMatrix, IntMatrix]:
    """Pad token ids on the right to the longest row: ids and mask, both int64 [n, longest]."""
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    longest = int(lengths.max(initial=0))
    real = np.arange(longest) < lengths[:, None]
    ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    ids[real] = np.fromiter((i for row in rows for i in row), dtype=np.int64, count=int(lengths.sum()))
    return ids, real.astype(np.int64)
