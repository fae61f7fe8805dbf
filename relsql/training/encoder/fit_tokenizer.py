"""Train the tokenizer, or prepare a pre-trained one to read row texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from relsql.text.row_text import MARKERS, units
from relsql.text.tokenizer import BOS, EOS, SPECIAL_TOKENS, RowTokenizer


def train_tokenizer(texts: Iterable[str], vocab_size: int = 4096) -> RowTokenizer:
    """Train a byte-level BPE tokenizer on row texts.

    The order of `texts` and duplicates make no difference. Every byte has a token, so every text can be encoded.

    Args:
        texts: row texts.
        vocab_size: maximum size of the vocabulary, at least 264 (special tokens, markers and bytes); a small database
            yields fewer tokens.
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
    return row_tokenizer(tokenizer)


def _unit_contents(texts: Iterable[str]) -> Iterator[str]:
    """Yield the contents of all units, sorted; markers are left out because merges across them would never apply."""
    counts: Counter[str] = Counter()
    for text in set(texts):
        counts.update(text[unit.start : unit.end] for unit in units(text))
    for content in sorted(counts):
        for _ in range(counts[content]):
            yield content


def row_tokenizer(tokenizer: Tokenizer) -> RowTokenizer:
    """Prepare a tokenizer, in place, for row texts: add missing row markers and BART's `<s>` ... `</s>` template.

    The template is stored with truncation and padding off, so that every reader of the stored tokenizer gets the same
    ids.

    Raises:
        ArtifactError: `RowTokenizer` cannot read this kind of tokenizer, or it lacks a special token of BART.
    """
    tokenizer.add_special_tokens([AddedToken(marker, normalized=False, special=True) for marker in MARKERS])
    tokenizer.no_truncation()
    tokenizer.no_padding()
    frame = [(token, tokenizer.token_to_id(token)) for token in (BOS, EOS)]
    if all(number is not None for _, number in frame):
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A {EOS}", pair=f"{BOS} $A {EOS} $B {EOS}", special_tokens=frame
        )
    return RowTokenizer(str(tokenizer.to_str()))
