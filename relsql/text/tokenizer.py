"""The tokenizer of the row encoder: byte-level BPE with BART's special tokens and the three row markers.

Token ids for training and scoring are computed only here. The stored form is a `tokenizer.json` of the package
`tokenizers`, which is used for training (see `relsql.training.encoder.fit_tokenizer`). It contains much that scoring
does not need, so `tiktoken` applies the tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
from tiktoken import Encoding

from relsql.errors import ArtifactError
from relsql.text.row_text import MARKERS

BOS, PAD, EOS, UNK, MASK = "<s>", "<pad>", "</s>", "<unk>", "<mask>"
SPECIAL_TOKENS = (BOS, PAD, EOS, UNK, MASK)
"""Ids 0 to 4 of a trained tokenizer; BART's configuration has the same ids for the first three."""

IntMatrix = npt.NDArray[np.int64]

_RETRAIN = "train the model again with this version of relsql"

_PIECES = r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s(?:\s{256}(?=\s))*+\s*(?!\S)|\s"
"""GPT-2's pieces; merges never cross their boundaries. GPT-2's pattern has `\\s+(?!\\S)` for a run of whitespace except
its last character. A backtracking matcher cannot store a million steps, so all but the last few hundred characters are
matched possessively here."""

MAX_TOKENIZER_BYTES = 100_000_000
"""The tokenizer of bart-large takes 1.4 MB, one with a million tokens 40 MB."""

MAX_ADDED_TOKENS = 1_000
"""A limit, because every text is searched for added tokens. BART has 5, and there are 3 row markers."""

_SPACES = r"(?<![^\S\x1c-\x1f])[^\S\x1c-\x1f]++"
"""A whole run of whitespace, without four separators that Python counts as whitespace and Unicode does not."""


class _AddedToken(msgspec.Struct):
    """A token that is matched before a text is split into pieces; `lstrip`: it includes the whitespace before it."""

    id: int
    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False

    def __post_init__(self) -> None:
        if self.single_word or self.rstrip:
            raise ValueError(f"single_word and rstrip of {self.content} are not supported")


class _ByteLevel(msgspec.Struct):
    type: Literal["ByteLevel"]
    add_prefix_space: bool
    use_regex: bool = True

    def __post_init__(self) -> None:
        if self.add_prefix_space or not self.use_regex:
            raise ValueError("add_prefix_space, and use_regex=false, are not supported")


class _Bpe(msgspec.Struct):
    type: Literal["BPE"]
    vocab: dict[str, int]
    merges: list[tuple[str, str]]
    dropout: None = None
    continuing_subword_prefix: Literal["", None] = None
    end_of_word_suffix: Literal["", None] = None
    ignore_merges: bool = False

    def __post_init__(self) -> None:
        if self.ignore_merges:
            raise ValueError("ignore_merges is not supported")


class _Stored(msgspec.Struct):
    """The supported parts of a `tokenizer.json` that determine token ids."""

    added_tokens: list[_AddedToken]
    pre_tokenizer: _ByteLevel
    model: _Bpe
    normalizer: None = None


class RowTokenizer:
    """Encodes texts as token ids. It is immutable, so several threads may call it.

    Args:
        json: the result of `relsql.training.encoder.fit_tokenizer`. Its settings for framing and truncation are
            ignored: texts always get `<s>` and `</s>`, and are cut to `max_tokens` only.

    Attributes:
        json: the same text, to be stored.
        size: number of token ids: one more than the largest.

    Raises:
        ArtifactError: the text is not a tokenizer or of another kind, or lacks a special token of BART or a row marker.
    """

    def __init__(self, json: str | bytes) -> None:
        if len(json) > MAX_TOKENIZER_BYTES:
            raise ArtifactError(
                f"tokenizer.json has {len(json):,} bytes", expected=f"at most {MAX_TOKENIZER_BYTES:,}", fix=_RETRAIN
            )
        try:
            self.json = json.decode() if isinstance(json, bytes) else json
            stored = msgspec.json.decode(self.json, type=_Stored)
            tokens = _tokens_by_rank(stored.model)
            ids = [stored.model.vocab[token] for token in tokens]
            ranks = {_bytes_of(token): rank for rank, token in enumerate(tokens)}
        except RecursionError as error:
            raise ArtifactError("tokenizer.json cannot be read (it is nested too deeply)", fix=_RETRAIN) from error
        except (ValueError, KeyError) as error:
            reason = f"no token {error}" if isinstance(error, KeyError) else str(error)
            raise ArtifactError(f"tokenizer.json cannot be read ({reason})", fix=_RETRAIN) from error
        self._added = {token.content: token.id for token in stored.added_tokens}
        if missing := [token for token in (*SPECIAL_TOKENS, *MARKERS) if token not in self._added]:
            raise ArtifactError(f"tokenizer.json lacks the tokens {', '.join(missing)}", fix=_RETRAIN)
        if len(self._added) > MAX_ADDED_TOKENS or "" in self._added:
            raise ArtifactError(
                f"tokenizer.json has {len(self._added):,} added tokens",
                expected=f"at most {MAX_ADDED_TOKENS:,}, none empty",
                fix=_RETRAIN,
            )
        known = [*stored.model.vocab.values(), *self._added.values()]
        if min(known) < 0 or max(known) >= 2 * len(known):
            raise ArtifactError(
                "tokenizer.json has token ids that are out of range",
                expected=f"ids from 0 to {len(known) - 1:,}",
                fix=_RETRAIN,
            )
        for first, second in pairwise(sorted(self._added)):
            # Where both tokens match, it is undefined which one the matcher chooses.
            if second.startswith(first):
                raise ArtifactError(f"tokenizer.json has the tokens {first} and {second}", fix=_RETRAIN)
        self.size = 1 + max(known)
        stripping = [re.escape(token.content) for token in stored.added_tokens if token.lstrip]
        self._stripped = re.compile(f"{_SPACES}(?={'|'.join(stripping)})") if stripping else None
        # tiktoken works with ranks, the priority of a merge. The ids of a pre-trained tokenizer have another order.
        self._ids = [*ids, *self._added.values()]
        self._encoding = Encoding(
            "relsql",
            pat_str=_PIECES,
            mergeable_ranks=ranks,
            special_tokens={token: rank for rank, token in enumerate(self._added, len(ranks))},
        )

    def token_id(self, token: str) -> int:
        """The id of a special token or row marker."""
        return self._added[token]

    def token_ids(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Encode texts to token ids, `<s>` first and `</s>` last, at most `max_tokens` each.

        Args:
            texts: n texts.
            max_tokens: at least 2; a longer text is cut and keeps its final `</s>`.
        """
        assert max_tokens >= 2, max_tokens
        first, last, ids = self._added[BOS], self._added[EOS], self._ids
        return [[first, *[ids[rank] for rank in self._ranks(text)[: max_tokens - 2]], last] for text in texts]

    def _ranks(self, text: str) -> list[int]:
        if self._stripped:
            text = self._stripped.sub("", text)
        return self._encoding.encode(text, allowed_special="all", disallowed_special=())

    def encode_batch(self, texts: Sequence[str], max_tokens: int) -> tuple[IntMatrix, IntMatrix]:
        """Encode texts to padded token ids, see `token_ids`.

        Returns:
            `input_ids` and `attention_mask`, both int64 [n, longest].
        """
        return pad(self.token_ids(texts, max_tokens), self.token_id(PAD))


def _byte_alphabet() -> dict[str, int]:
    """The byte that each character of a stored token represents.

    Printable characters of Latin-1 except the soft hyphen represent their own byte, characters from U+0100 on the rest.
    """
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(0x100) if byte not in own]
    return {chr(byte): byte for byte in own} | {chr(0x100 + i): byte for i, byte in enumerate(rest)}


_BYTES = _byte_alphabet()


def _bytes_of(token: str) -> bytes:
    return bytes(_BYTES[character] for character in token)


def _tokens_by_rank(model: _Bpe) -> list[str]:
    """All bytes, then the merged tokens in order; a token that results from two merges has the rank of the first."""
    return [*_BYTES, *dict.fromkeys(left + right for left, right in model.merges)]


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[IntMatrix, IntMatrix]:
    """Pad token ids on the right to the longest row: ids and mask, both int64 [n, longest]."""
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    longest = int(lengths.max(initial=0))
    real = np.arange(longest) < lengths[:, None]
    ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    ids[real] = np.fromiter((i for row in rows for i in row), dtype=np.int64, count=int(lengths.sum()))
    return ids, real.astype(np.int64)
