from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import BartForConditionalGeneration, BertConfig, BertModel, PreTrainedTokenizerFast

from relsql.errors import TrainingError
from relsql.nn.row_encoder import RowEncoder, compact_config, embed_texts, new_model
from relsql.text.row_text import MARKERS
from relsql.text.tokenizer import SPECIAL_TOKENS, RowTokenizer
from relsql.training.encoder.fit_tokenizer import train_tokenizer
from relsql.training.encoder.pretrained import load_pretrained

TEXTS = [
    f"<table>teams<attribute>name<value>{'Great ' * i}Team {i}<attribute>place<value>{place}"
    for i in range(5)
    for place in ("Oslo", "")
]


@pytest.fixture(scope="module")
def tokenizer() -> RowTokenizer:
    return train_tokenizer(TEXTS)


def small_model(vocab_size: int, seed: int = 0) -> BartForConditionalGeneration:
    return new_model(compact_config(vocab_size, d_model=16, heads=2, max_position_embeddings=80), seed)


@pytest.fixture(scope="module")
def encoder(tokenizer: RowTokenizer) -> RowEncoder:
    return RowEncoder(small_model(tokenizer.size)).eval()


def encode(encoder: RowEncoder, tokenizer: RowTokenizer, texts: list[str]) -> torch.Tensor:
    with torch.inference_mode():
        vectors: torch.Tensor = encoder(*map(torch.from_numpy, tokenizer.encode_batch(texts, 64)))
    return vectors


def test_output_is_one_float32_vector_per_row(encoder: RowEncoder, tokenizer: RowTokenizer) -> None:
    vectors = encode(encoder, tokenizer, TEXTS)
    assert vectors.shape == (len(TEXTS), 16)
    assert vectors.dtype == torch.float32
    assert len({tuple(row) for row in vectors.tolist()}) == len(TEXTS)


def test_padding_does_not_change_a_vector(encoder: RowEncoder, tokenizer: RowTokenizer) -> None:
    together = encode(encoder, tokenizer, TEXTS)
    alone = torch.cat([encode(encoder, tokenizer, [text]) for text in TEXTS])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)


def test_vector_is_the_mean_of_the_last_hidden_states(encoder: RowEncoder, tokenizer: RowTokenizer) -> None:
    ids = torch.from_numpy(tokenizer.encode_batch(TEXTS[:1], 64)[0])
    with torch.inference_mode():
        mean = encoder.encoder(input_ids=ids).last_hidden_state.mean(dim=1)
        mean = torch.nn.functional.layer_norm(mean, mean.shape[1:])
    torch.testing.assert_close(encode(encoder, tokenizer, TEXTS[:1]), mean, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_kernels_agree(encoder: RowEncoder, tokenizer: RowTokenizer, attention: str) -> None:
    model = small_model(tokenizer.size)
    model.set_attn_implementation(attention)
    torch.testing.assert_close(
        encode(RowEncoder(model).eval(), tokenizer, TEXTS), encode(encoder, tokenizer, TEXTS), atol=1e-6, rtol=1e-5
    )


def test_new_model_depends_on_its_seed_only(tokenizer: RowTokenizer) -> None:
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first, second, other = (small_model(tokenizer.size, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first.model.shared.weight, second.model.shared.weight)
    assert not torch.equal(first.model.shared.weight, other.model.shared.weight)


def test_embed_texts_keeps_the_input_order(encoder: RowEncoder, tokenizer: RowTokenizer) -> None:
    texts = [TEXTS[3], TEXTS[9], TEXTS[3], TEXTS[0]]
    vectors = embed_texts(encoder, tokenizer, texts, batch_size=2, max_tokens=64)
    assert vectors.shape == (4, 16)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, encode(encoder, tokenizer, texts).numpy(), atol=1e-6)
    assert (vectors[0] == vectors[2]).all()


def test_embed_texts_encodes_each_distinct_text_once(encoder: RowEncoder, tokenizer: RowTokenizer) -> None:
    calls: list[tuple[float, dict[str, Any]]] = []
    rows = 0

    def count(_module: Any, args: tuple[torch.Tensor, ...]) -> None:
        nonlocal rows
        rows += len(args[0])

    hook = encoder.register_forward_pre_hook(count)
    embed_texts(encoder, tokenizer, TEXTS * 3, batch_size=4, progress=lambda done, info: calls.append((done, info)))
    hook.remove()
    assert rows == len(TEXTS)
    assert [done for done, _ in calls] == [0.4, 0.8, 1.0]


def test_embed_texts_puts_the_training_mode_back(tokenizer: RowTokenizer) -> None:
    encoder = RowEncoder(small_model(tokenizer.size)).train()
    first = embed_texts(encoder, tokenizer, TEXTS)
    assert encoder.training
    np.testing.assert_array_equal(first, embed_texts(encoder, tokenizer, TEXTS))


def test_embed_texts_of_nothing_is_empty(encoder: RowEncoder, tokenizer: RowTokenizer) -> None:
    assert embed_texts(encoder, tokenizer, []).shape == (0, 16)


def test_more_tokens_than_positions_are_refused(encoder: RowEncoder, tokenizer: RowTokenizer) -> None:
    with pytest.raises(TrainingError, match="2 to 80"):
        embed_texts(encoder, tokenizer, TEXTS, max_tokens=81)


def write_checkpoint(path: Path) -> BartForConditionalGeneration:
    """Write a small BART with a tokenizer that knows no row markers, as one from a hub."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        show_progress=False,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    backend.train_from_iterator(["teams of Oslo", "a great team"], trainer)
    names = ("bos_token", "pad_token", "eos_token", "unk_token", "mask_token")
    tokens = dict(zip(names, SPECIAL_TOKENS, strict=True))
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, **tokens)  # type: ignore[no-untyped-call]
    fast.save_pretrained(path)
    model = small_model(backend.get_vocab_size())
    model.save_pretrained(path)
    return model


def test_load_pretrained_keeps_weights_and_adds_markers(tmp_path: Path) -> None:
    original = write_checkpoint(tmp_path)
    model, tokenizer = load_pretrained(str(tmp_path))
    old = original.model.shared.weight
    assert torch.equal(model.model.shared.weight[: len(old)], old)
    assert torch.equal(model.model.encoder.layers[1].fc2.weight, original.model.encoder.layers[1].fc2.weight)
    marker_ids = [tokenizer.token_id(marker) for marker in MARKERS]
    assert marker_ids == [len(old), len(old) + 1, len(old) + 2]
    assert model.model.encoder.embed_tokens.num_embeddings == len(old) + 3
    assert model.final_logits_bias.shape == (1, len(old) + 3)
    assert tokenizer.token_ids(["<table><value>"], 64) == [[0, marker_ids[0], marker_ids[2], 2]]
    vectors = embed_texts(RowEncoder(model), tokenizer, TEXTS)
    assert vectors.shape == (len(TEXTS), 16)
    assert np.isfinite(vectors).all()


def test_load_pretrained_is_deterministic(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    first, second = (load_pretrained(str(tmp_path))[0].model.shared.weight for _ in range(2))
    assert torch.equal(first, second)


def test_load_pretrained_refuses_other_models(tmp_path: Path) -> None:
    BertModel(
        BertConfig(vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(tmp_path)
    with pytest.raises(TrainingError, match="is a 'bert' model.*Fix: relsql train"):
        load_pretrained(str(tmp_path))


def test_load_pretrained_names_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no such folder.*could not be loaded.*Fix: "):
        load_pretrained(str(tmp_path / "no such folder"))


def test_load_pretrained_needs_weights(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(TrainingError, match="weights"):
        load_pretrained(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(TrainingError, match="weights"):
        load_pretrained(str(tmp_path))


@pytest.mark.parametrize(
    ("old", "new"), [('"add_prefix_space": false', '"add_prefix_space": true'), ("</s>", "[SEP]"), ("<mask>", "[MASK]")]
)
def test_load_pretrained_refuses_other_tokenizers(tmp_path: Path, old: str, new: str) -> None:
    write_checkpoint(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        path = tmp_path / name
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    named = old if old.startswith("<") else "add_prefix_space"
    with pytest.raises(TrainingError, match=f"cannot be used: tokenizer.json .*{named}"):
        load_pretrained(str(tmp_path))


def test_load_pretrained_needs_a_hub_for_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(*_args: Any, **_options: Any) -> None:
        raise OSError("We couldn't connect to 'https://huggingface.co'\nsee the documentation")

    monkeypatch.setattr("relsql.training.encoder.pretrained.AutoConfig.from_pretrained", unreachable)
    with pytest.raises(TrainingError, match="'facebook/bart-base' could not be loaded: We couldn't connect") as error:
        load_pretrained("facebook/bart-base")
    assert "\n" not in str(error.value)
