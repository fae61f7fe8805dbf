"""The row encoder in ONNX agrees with torch, whatever its architecture (exporters.onnx.encoder)."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from exporters.onnx import export as exporter  # noqa: E402
from exporters.onnx.encoder import encoder_component  # noqa: E402
from relsql.errors import ExportError, ParityError  # noqa: E402
from relsql.nn.row_encoder import RowEncoder, compact_config  # noqa: E402
from relsql.training.encoder.fit_tokenizer import train_tokenizer  # noqa: E402

VOCABULARY = 400
TEXTS = [f"<table>orders<attribute>note<value>{word}" for word in ("red", "green", "a longer blue", "")]
TOKENIZER = train_tokenizer(TEXTS)


def encoder(seed: int, *, lexical_width: int | None = 3, **options: Any) -> RowEncoder:
    """An encoder with random weights, biases and norms among them; `options` are those of BART's configuration."""
    config = compact_config(VOCABULARY, d_model=16, encoder_layers=2, heads=2)
    config.update(options)
    torch.manual_seed(seed)
    bart = transformers.BartModel(config)
    with torch.no_grad():
        for weight in bart.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    random = np.random.default_rng(seed)
    lexicon = None if lexical_width is None else random.normal(size=(VOCABULARY, lexical_width)).astype(np.float32)
    return RowEncoder(bart, lexicon).eval()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lexical_width": None},
        {"encoder_attention_heads": 4, "encoder_layers": 1},
        {"encoder_ffn_dim": 7, "activation_function": "relu"},
        {"scale_embedding": True},
    ],
    ids=str,
)
def test_every_architecture_agrees_with_torch(options: dict[str, Any]) -> None:
    for tokens in (16, 5):
        _, difference = exporter.export_encoder(encoder(0, **options), TOKENIZER, TEXTS, tokens)
        assert 0 < difference < 1e-5


def test_any_number_of_rows_and_tokens_agrees_with_torch() -> None:
    module, random = encoder(0), np.random.default_rng(0)
    session = onnxruntime.InferenceSession(encoder_component(module))
    for rows, tokens in ((1, 1), (1, 3), (5, 17), (33, 64)):
        ids = random.integers(0, VOCABULARY, (rows, tokens))
        mask = (np.arange(tokens) < random.integers(1, tokens + 1, (rows, 1))).astype(np.int64)
        with torch.inference_mode():
            expected = module(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
        (found,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_another_activation_is_an_error() -> None:
    with pytest.raises(ExportError, match=r"activation is silu.*Expected: gelu or relu"):
        encoder_component(encoder(0, activation_function="silu"))


@pytest.mark.parametrize("part", ["layers.1.self_attn.k_proj.weight", "embed_positions.weight", "layers.0.fc2.bias"])
def test_a_step_that_another_version_of_transformers_changes_is_an_error(
    monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    mine, other = encoder(0), encoder(0)
    with torch.no_grad():
        other.encoder.get_parameter(part).mul_(1.5)
    monkeypatch.setattr(exporter, "encoder_component", lambda _: encoder_component(other))
    with pytest.raises(ParityError, match="encoder component differs from torch"):
        exporter.export_encoder(mine, TOKENIZER, TEXTS, 16)


def test_the_same_weights_give_the_same_bytes() -> None:
    first, again, other = (encoder_component(encoder(seed)) for seed in (0, 0, 1))
    assert first == again != other
