from __future__ import annotations

import os
import random
import subprocess
import sys

import numpy as np
import pytest

from relsql.errors import ArtifactError
from relsql.row_text import MARKERS
from relsql.tokenizer import (
    SPECIAL_TOKENS,
    dump_tokenizer,
    encode_batch,
    load_tokenizer,
    pad,
    token_ids,
    train_tokenizer,
)

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

TRAIN_IN_ANOTHER_PROCESS = """
import sys
from relsql.tokenizer import dump_tokenizer, train_tokenizer
texts = sys.stdin.read().split("\\n")
sys.stdout.write(dump_tokenizer(train_tokenizer(texts, 400)))
"""


def test_special_tokens_have_barts_ids_and_markers_follow() -> None:
    tokenizer = train_tokenizer(TEXTS)
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]
    assert [tokenizer.token_to_id(marker) for marker in MARKERS] == [5, 6, 7]
    assert max(tokenizer.get_vocab().values()) == tokenizer.get_vocab_size() - 1


def test_vocabulary_is_bounded() -> None:
    assert train_tokenizer(TEXTS, vocab_size=270).get_vocab_size() == 270
    assert train_tokenizer([]).get_vocab_size() == 264


def test_markers_are_single_tokens_between_start_and_end() -> None:
    tokenizer = train_tokenizer(TEXTS)
    ids = tokenizer.encode("<table><attribute><value>").ids
    assert ids == [0, 5, 6, 7, 2]


@pytest.mark.parametrize("text", STRANGE + TEXTS[:2])
def test_any_text_round_trips_without_unknown_tokens(text: str) -> None:
    tokenizer = train_tokenizer(TEXTS)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert 3 not in ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_training_learns_words() -> None:
    tokenizer = train_tokenizer(TEXTS)
    assert len(tokenizer.encode("<table>drivers", add_special_tokens=False).ids) == 2


def test_order_and_repetition_of_texts_make_no_difference() -> None:
    shuffled = TEXTS * 2
    random.Random(3).shuffle(shuffled)
    assert dump_tokenizer(train_tokenizer(shuffled)) == dump_tokenizer(train_tokenizer(TEXTS))
    assert dump_tokenizer(train_tokenizer(iter(TEXTS))) == dump_tokenizer(train_tokenizer(TEXTS))


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
    assert done.stdout == dump_tokenizer(train_tokenizer(TEXTS, 400))


def test_dump_and_load_give_the_same_ids() -> None:
    tokenizer = train_tokenizer(TEXTS)
    dumped = dump_tokenizer(tokenizer)
    for stored in (dumped, dumped.encode()):
        assert token_ids(load_tokenizer(stored), TEXTS, 64) == token_ids(tokenizer, TEXTS, 64)


def test_damaged_tokenizers_are_refused() -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_tokenizer("{")
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_tokenizer(b"\xff\xfe")
    renamed = dump_tokenizer(train_tokenizer(TEXTS)).replace("<attribute>", "<column>")
    with pytest.raises(ArtifactError, match="<attribute>"):
        load_tokenizer(renamed)


def test_encode_batch_pads_to_the_longest() -> None:
    tokenizer = train_tokenizer(TEXTS)
    ids, mask = encode_batch(tokenizer, ["<table>", TEXTS[0]], 64)
    assert ids.shape == mask.shape == (2, len(tokenizer.encode(TEXTS[0]).ids))
    assert ids.dtype == mask.dtype == np.int64
    assert ids[0, :4].tolist() == [0, 5, 2, 1]
    assert mask.sum(axis=1).tolist() == [3, ids.shape[1]]
    assert (ids[mask == 0] == 1).all()


def test_encode_batch_cuts_long_texts_and_keeps_the_end() -> None:
    tokenizer = train_tokenizer(TEXTS)
    before = dump_tokenizer(tokenizer)
    ids, mask = encode_batch(tokenizer, ["<table>" + "x y z " * 50], 8)
    assert ids.shape == (1, 8)
    assert ids[0, [0, 1, 7]].tolist() == [0, 5, 2]
    assert mask.all()
    assert dump_tokenizer(tokenizer) == before


def test_encode_batch_of_nothing_is_empty() -> None:
    ids, mask = encode_batch(train_tokenizer(TEXTS), [], 8)
    assert ids.shape == mask.shape == (0, 0)


def test_pad_fills_with_the_given_value() -> None:
    ids, mask = pad([[7], [8, 9]], -100)
    assert ids.tolist() == [[7, -100], [8, 9]]
    assert mask.tolist() == [[1, 0], [1, 1]]


def test_module_needs_neither_torch_nor_transformers() -> None:
    check = "import sys, relsql.tokenizer; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
