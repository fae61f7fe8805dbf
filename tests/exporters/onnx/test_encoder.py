"""The row encoder is translated to ONNX once for each architecture (exporters.onnx.encoder)."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from exporters.onnx import encoder as onnx_encoder  # noqa: E402
from exporters.onnx import export as exporter  # noqa: E402
from relsql.nn.row_encoder import RowEncoder, compact_config  # noqa: E402
from relsql.training.encoder.fit_tokenizer import train_tokenizer  # noqa: E402

VOCABULARY = 400
TEXTS = [f"<table>orders<attribute>note<value>{word}" for word in ("red", "green", "a longer blue", "")]
TOKENIZER = train_tokenizer(TEXTS)


def encoder(seed: int, *, heads: int = 2, lexical_width: int = 3) -> RowEncoder:
    torch.manual_seed(seed)
    bart = transformers.BartModel(compact_config(VOCABULARY, d_model=16, encoder_layers=1, heads=heads))
    lexicon = np.random.default_rng(seed).normal(size=(VOCABULARY, lexical_width)).astype(np.float32)
    return RowEncoder(bart, lexicon).eval()


def test_a_second_encoder_of_an_architecture_is_not_translated_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_encoder, "_TRANSLATED", {})
    first, difference = exporter.export_encoder(encoder(0), TOKENIZER, TEXTS, 16)
    assert difference < 1e-5
    with monkeypatch.context() as patched:
        patched.setattr(exporter, "_export", None)
        # The comparison with torch proves that the weights are those of the second encoder.
        second, difference = exporter.export_encoder(encoder(1), TOKENIZER, TEXTS, 16)
        assert difference < 1e-5
        assert second != first
        assert exporter.export_encoder(encoder(0), TOKENIZER, TEXTS, 16)[0] == first


def test_another_architecture_or_length_is_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_encoder, "_TRANSLATED", {})
    for changed, tokens in (
        (encoder(0), 16),
        (encoder(0), 12),
        (encoder(0, heads=4), 16),
        (encoder(0, lexical_width=4), 16),
    ):
        known = len(onnx_encoder._TRANSLATED)
        assert exporter.export_encoder(changed, TOKENIZER, TEXTS, tokens)[1] < 1e-5
        assert len(onnx_encoder._TRANSLATED) == known + 1


def test_an_encoder_whose_weights_torch_changes_is_translated_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_encoder, "_TRANSLATED", {})
    monkeypatch.setattr(onnx_encoder, "_equal", lambda stored, weight: False)
    content, difference = exporter.export_encoder(encoder(0), TOKENIZER, TEXTS, 16)
    assert difference < 1e-5
    assert onnx_encoder._TRANSLATED == {}
    assert exporter.export_encoder(encoder(0), TOKENIZER, TEXTS, 16)[0] == content
