"""The tokenizer: what training learns, and that its token ids are those of the package `tokenizers`."""

from __future__ import annotations

import datetime
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from relsql.database.names import current_catalog
from relsql.errors import ArtifactError
from relsql.gather.node_inputs import fit_node_inputs
from relsql.gather.sql.row_texts import distinct_texts
from relsql.integrations.import_relbench import import_dataset
from relsql.schema.reading import read_schema
from relsql.text.row_text import MARKERS
from relsql.text.tokenizer import EOS, MASK, SPECIAL_TOKENS, RowTokenizer, pad
from relsql.training.encoder.fit_tokenizer import row_tokenizer, train_tokenizer

NAMES = ("Anna", "Ben", "Zoë", "José María", "Anna-Lena", "Benedict")
TEXTS = [
    f"<table>drivers<attribute>forename<value>{name}<attribute>nationality<value>{nation}"
    for name in NAMES
    for nation in ("German", "Spanish", "")
]
STRANGE = [
    "",
    " ",
    "a  b\n\tc",
    "日本語 🏁 ‹tag›",
    "\x00\x01",
    "ünïcödé",
    "1,234.50",
    "<table>x<attribute>y<value>",
    "</",
    "<",
]

MIXED = [
    "it's we're I'll they've I'd I'm can't IT'S 'tis ''s",
    "a  b   c    d\n\n\te \r\n f ",
    "1 22 333 4444.55 1e-05 2020-01-31 00:00:00 ½ ²",
    "naïve café Zoë ﬁn ÅÅ e\u0301e\u0301 n\u0303",
    "日本語 日本 한국어 हिन्दी العربية עברית ไทย",
    "👩‍👩‍👧‍👦 🏁🏁 🇩🇪 ❤️ \U0001f9d1\U0001f3fd",
    "<b>bold</b> <s>struck</s> <mask>  <mask> <pad><unk> </s>",
    "x <mask> y\n <mask>\x1c<mask>\u3000<mask> <s> <value> ",
    "<table>t<attribute>a<value> v <value><value>",
    "aaaa aaaaaaaa aaaaaaaaaaa bbb bbbb ababab",
    "\x00\x1c\x1d\x1e\x1f\x85\xa0\u2028\u200b\ufeff\uffff\U0010ffff",
]
PARTS = [
    *SPECIAL_TOKENS,
    *MARKERS,
    " <mask",
    "<value",
    "'s",
    "'re",
    "  ",
    "\n\n",
    "Anna",
    "drivers",
    "2020-01-31",
    "日本",
]

TRAIN_IN_ANOTHER_PROCESS = """
import sys
from relsql.training.encoder.fit_tokenizer import train_tokenizer
texts = sys.stdin.read().split("\\n")
sys.stdout.write(train_tokenizer(texts, 400).json)
"""

WHOLE = 10**9
"""A limit that is larger than the number of tokens of any text."""


def reference_ids(tokenizer: RowTokenizer, texts: list[str]) -> list[list[int]]:
    """Token ids by the package `tokenizers`."""
    return [encoding.ids for encoding in Tokenizer.from_str(tokenizer.json).encode_batch_fast(texts)]


def changed(tokenizer: RowTokenizer, **parts: Any) -> str:
    """The stored text with some parts changed, `a__b` is b in a."""
    stored = json.loads(tokenizer.json)
    for name, value in parts.items():
        *folders, last = name.split("__")
        part = stored
        for folder in folders:
            part = part[folder]
        part[last] = value
    return json.dumps(stored)


def like_pretrained(tokenizer: RowTokenizer) -> RowTokenizer:
    """The same with ids in another order, as BART's, whose `<mask>` takes the spaces before it."""
    stored = json.loads(tokenizer.json)
    vocab: dict[str, int] = stored["model"]["vocab"]
    tokens = sorted(vocab, key=vocab.__getitem__)
    learned = tokens[len(SPECIAL_TOKENS) :]
    random.Random(0).shuffle(learned)
    ids = {token: i for i, token in enumerate(learned + tokens[: len(SPECIAL_TOKENS)])}
    added = [
        token | {"id": ids[token["content"]], "lstrip": token["content"] == MASK} for token in stored["added_tokens"]
    ]
    changes = {"added_tokens": sorted(added, key=lambda token: token["id"]), "model__vocab": ids}
    return row_tokenizer(Tokenizer.from_str(changed(tokenizer, **changes)))


@pytest.fixture(scope="module")
def trained() -> RowTokenizer:
    """A tokenizer with merges of letters, digits, spaces, quotes, markup and bytes of characters."""
    texts = [f"<value>{text}" for text in [*MIXED, *MIXED]]
    return train_tokenizer([*TEXTS, *texts, *(f"{text}!" for text in texts)], 700)


@pytest.fixture(scope="module")
def pretrained(trained: RowTokenizer) -> RowTokenizer:
    return like_pretrained(trained)


def test_special_tokens_have_barts_ids_and_markers_follow() -> None:
    tokenizer = train_tokenizer(TEXTS)
    assert [tokenizer.token_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]
    assert [tokenizer.token_id(marker) for marker in MARKERS] == [5, 6, 7]
    assert tokenizer.size == Tokenizer.from_str(tokenizer.json).get_vocab_size()


def test_vocabulary_is_bounded() -> None:
    assert train_tokenizer(TEXTS, vocab_size=270).size == 270
    assert train_tokenizer([]).size == 264


def test_markers_are_single_tokens_between_start_and_end() -> None:
    assert train_tokenizer(TEXTS).token_ids(["<table><attribute><value>"], 64) == [[0, 5, 6, 7, 2]]


@pytest.mark.parametrize("text", STRANGE + TEXTS[:2])
def test_any_text_round_trips_without_unknown_tokens(text: str) -> None:
    tokenizer = train_tokenizer(TEXTS)
    [[_, *ids, _]] = tokenizer.token_ids([text], WHOLE)
    assert 3 not in ids
    assert Tokenizer.from_str(tokenizer.json).decode(ids, skip_special_tokens=False) == text


def test_training_learns_words() -> None:
    [ids] = train_tokenizer(TEXTS).token_ids(["<table>drivers"], 64)
    assert len(ids) == 4


def test_order_and_repetition_of_texts_make_no_difference() -> None:
    shuffled = TEXTS * 2
    random.Random(3).shuffle(shuffled)
    assert train_tokenizer(shuffled).json == train_tokenizer(TEXTS).json
    assert train_tokenizer(iter(TEXTS)).json == train_tokenizer(TEXTS).json


@pytest.mark.parametrize("threads", ["1", "3"])
def test_training_is_the_same_in_other_processes(threads: str) -> None:
    environment = os.environ | {"RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_IN_ANOTHER_PROCESS],
        input="\n".join(TEXTS),
        capture_output=True,
        encoding="utf-8",
        env=environment,
        check=True,
    )
    assert done.stdout == train_tokenizer(TEXTS, 400).json


@pytest.mark.parametrize("kind", ["trained", "pretrained"])
def test_ids_are_those_of_tokenizers(kind: str, request: pytest.FixtureRequest) -> None:
    tokenizer: RowTokenizer = request.getfixturevalue(kind)
    texts = [*TEXTS, *STRANGE, *MIXED, *(a + b for a in MIXED for b in MIXED)]
    assert tokenizer.token_ids(texts, WHOLE) == reference_ids(tokenizer, texts)
    assert {token for ids in tokenizer.token_ids(texts, WHOLE) for token in ids} >= {
        tokenizer.token_id(token) for token in (*SPECIAL_TOKENS, *MARKERS)
    }


@given(parts=st.lists(st.text() | st.sampled_from(PARTS) | st.text(" \t\n\x1c\x85\xa0\u3000ab1'<>", max_size=9)))
def test_ids_of_any_text_are_those_of_tokenizers(
    parts: list[str], trained: RowTokenizer, pretrained: RowTokenizer
) -> None:
    text = "".join(parts)
    for tokenizer in (trained, pretrained):
        assert tokenizer.token_ids([text], WHOLE) == reference_ids(tokenizer, [text])


def test_every_token_is_reached_from_its_own_text(trained: RowTokenizer) -> None:
    reference = Tokenizer.from_str(trained.json)
    ids = [i for i in range(trained.size) if "\ufffd" not in reference.decode([i], skip_special_tokens=False)]
    texts = [reference.decode([i], skip_special_tokens=False) for i in ids]
    assert trained.token_ids(texts, WHOLE) == reference_ids(trained, texts)


@pytest.mark.slow
def test_every_character_is_in_the_same_kind_of_piece_as_in_tokenizers() -> None:
    stored = json.loads(train_tokenizer([]).json)
    vocab, merges = stored["model"]["vocab"], stored["model"]["merges"]
    # The last byte of any character joins a letter, a digit or a sign behind it if both are in one piece.
    for byte in [token for token in vocab if len(token) == 1]:
        for other in "a1!":
            vocab[byte + other] = len(vocab)
            merges.append((byte, other))
    tokenizer = RowTokenizer(json.dumps(stored))
    # Unicode assigns no letters beyond plane 3, so a part of those planes is enough.
    codes = [*range(0xD800), *range(0xE000, 0x40000), *range(0x40000, 0x110000, 61)]
    characters = map(chr, codes)
    tried = [f" {c}a{c}1{c}!{c}  {c}" for c in characters]
    texts = ["".join(tried[start : start + 64]) for start in range(0, len(tried), 64)]
    assert tokenizer.token_ids(texts, WHOLE) == reference_ids(tokenizer, texts)


@pytest.mark.parametrize("length", [2, 255, 256, 257, 258, 512, 513, 514, 1000])
@pytest.mark.parametrize("space", [" ", "\n", "\u3000", " \t"])
def test_runs_of_whitespace_are_split_as_by_tokenizers(pretrained: RowTokenizer, space: str, length: int) -> None:
    run = space * length
    ends = ("", "a", "1", "'s", "<mask>", "\x1c<mask>")
    texts = [start + run + end for start in ("", "a", "<value>") for end in ends]
    assert pretrained.token_ids(texts, WHOLE) == reference_ids(pretrained, texts)


def test_mask_takes_the_same_spaces_as_in_tokenizers(pretrained: RowTokenizer) -> None:
    texts = [f"a{chr(code)} {chr(code)}<mask>b" for code in range(0x3100)]
    assert pretrained.token_ids(texts, WHOLE) == reference_ids(pretrained, texts)


@pytest.mark.parametrize("unit", [" ", "\n", "a", "é", "1", "!", "<", "'", "ab1 !\n"])
def test_very_long_texts_have_ids(pretrained: RowTokenizer, unit: str) -> None:
    text = unit * (1_500_000 // len(unit))
    for last in ("", "x", "<mask>"):
        [ids] = pretrained.token_ids([text + last], 64)
        assert len(ids) in (3, 64)


def test_row_texts_of_a_real_database_have_the_ids_of_tokenizers(data_dir: Path, tmp_path: Path) -> None:
    import_dataset(str(data_dir / "rel-f1"), tmp_path / "f1.duckdb")
    with duckdb.connect(str(tmp_path / "f1.duckdb"), read_only=True) as con:
        catalog, schema, until = current_catalog(con), read_schema(con), datetime.datetime(2010, 1, 1)
        inputs = {key: fit_node_inputs(con, catalog, schema, key, until=until, all_text=True) for key in schema.tables}
        known = distinct_texts(con, catalog, schema, inputs, until=until, limit_per_table=2000)
        texts = distinct_texts(con, catalog, schema, inputs)
    tokenizer = train_tokenizer(known)
    assert len(texts) > 30_000
    assert tokenizer.token_ids(texts, WHOLE) == reference_ids(tokenizer, texts)


@pytest.mark.parametrize("text", ["{", b"\xff\xfe", "[]", "{}"])
def test_damaged_tokenizers_are_refused(text: str | bytes) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        RowTokenizer(text)


def test_tokenizers_without_a_token_are_refused(trained: RowTokenizer) -> None:
    with pytest.raises(ArtifactError, match="<attribute>"):
        RowTokenizer(trained.json.replace("<attribute>", "<column>"))
    stored = json.loads(trained.json)
    del stored["model"]["vocab"]["!"]
    with pytest.raises(ArtifactError, match="cannot be read .no token '!'"):
        RowTokenizer(json.dumps(stored))
    stored["model"]["merges"].append(("日", "本"))
    with pytest.raises(ArtifactError, match="cannot be read"):
        RowTokenizer(json.dumps(stored))


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("model__type", "WordPiece"),
        ("model__dropout", 0.1),
        ("model__ignore_merges", True),
        ("model__end_of_word_suffix", "</w>"),
        ("model__continuing_subword_prefix", "##"),
        ("normalizer", {"type": "NFC"}),
        ("pre_tokenizer", None),
        ("pre_tokenizer__type", "Whitespace"),
        ("pre_tokenizer__add_prefix_space", True),
        ("pre_tokenizer__use_regex", False),
    ],
)
def test_tokenizers_of_another_kind_are_refused(trained: RowTokenizer, part: str, value: object) -> None:
    with pytest.raises(ArtifactError, match=part.split("__")[-1]):
        RowTokenizer(changed(trained, **{part: value}))


@pytest.mark.parametrize("flag", ["single_word", "rstrip"])
def test_added_tokens_of_another_kind_are_refused(trained: RowTokenizer, flag: str) -> None:
    tokens = json.loads(trained.json)["added_tokens"]
    with pytest.raises(ArtifactError, match=flag):
        RowTokenizer(changed(trained, added_tokens=[tokens[0] | {flag: True}, *tokens[1:]]))
    longer = {"id": trained.size, "content": EOS + "s"}
    with pytest.raises(ArtifactError, match="</s> and </s>s"):
        RowTokenizer(changed(trained, added_tokens=[*tokens, longer]))


def test_encode_batch_pads_to_the_longest() -> None:
    tokenizer = train_tokenizer(TEXTS)
    ids, mask = tokenizer.encode_batch(["<table>", TEXTS[0]], 64)
    assert ids.shape == mask.shape == (2, len(tokenizer.token_ids([TEXTS[0]], 64)[0]))
    assert ids.dtype == mask.dtype == np.int64
    assert ids[0, :4].tolist() == [0, 5, 2, 1]
    assert mask.sum(axis=1).tolist() == [3, ids.shape[1]]
    assert (ids[mask == 0] == 1).all()


def test_encode_batch_cuts_long_texts_and_keeps_the_end() -> None:
    ids, mask = train_tokenizer(TEXTS).encode_batch(["<table>" + "x y z " * 50], 8)
    assert ids.shape == (1, 8)
    assert ids[0, [0, 1, 7]].tolist() == [0, 5, 2]
    assert mask.all()


def test_encode_batch_of_nothing_is_empty() -> None:
    ids, mask = train_tokenizer(TEXTS).encode_batch([], 8)
    assert ids.shape == mask.shape == (0, 0)


def test_pad_fills_with_the_given_value() -> None:
    ids, mask = pad([[7], [8, 9]], -100)
    assert ids.tolist() == [[7, -100], [8, 9]]
    assert mask.tolist() == [[1, 0], [1, 1]]


def test_module_needs_no_training_library() -> None:
    check = (
        "import sys, relsql.text.tokenizer; print(sorted({'tokenizers', 'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
