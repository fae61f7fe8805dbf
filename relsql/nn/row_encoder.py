"""The row encoder: the encoder half of a BART and a lexicon, mean-pooled to one vector per row text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import BartConfig, BartForConditionalGeneration, BartModel

from relsql.errors import TrainingError
from relsql.text.tokenizer import PAD, RowTokenizer, pad

Progress = Callable[[float, dict[str, Any]], None]
"""Called with the finished fraction (0 to 1) and the figures to show."""


class RowEncoder(nn.Module):
    """BART's encoder and a lexicon, both mean-pooled over the tokens of a row text and concatenated.

    The contextual half is standardised (mean 0, variance 1), because denoising does not determine its scale, while the
    networks that read it and the parity check of the export rely on one.

    Args:
        bart: a BART with or without language head; its encoder is shared, not copied.
        lexicon: float32 [token ids, lexical width], see `relsql.nn.lexicon`; if None, the contextual half alone.
    """

    lexicon: torch.Tensor | None

    def __init__(
        self, bart: BartModel | BartForConditionalGeneration, lexicon: npt.NDArray[np.float32] | None = None
    ) -> None:
        super().__init__()
        self.encoder = bart.get_encoder()
        self.max_positions = bart.config.max_position_embeddings
        self.register_buffer("lexicon", None if lexicon is None else torch.from_numpy(lexicon))
        contextual = int(bart.config.d_model or 0)
        self.widths = (contextual,) if lexicon is None else (contextual, lexicon.shape[1])

    @property
    def dimension(self) -> int:
        """Width of a row embedding."""
        return sum(self.widths)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Encode token ids int64 [B, T] with mask int64 [B, T] to float32 [B, d]; padding is ignored."""
        # The mask must have the type of the weights, or attention misreads it. The weights are double when the export
        # measures rounding.
        precision = self.encoder.embed_tokens.weight.dtype
        real = attention_mask.to(precision)
        # An additive mask: every attention kernel accepts one, and exporters/onnx/encoder.py writes the same.
        penalty = ((1.0 - real) * torch.finfo(precision).min)[:, None, None, :]
        hidden: torch.Tensor = self.encoder(input_ids=input_ids, attention_mask=penalty).last_hidden_state
        contextual = nn.functional.layer_norm(_mean(hidden, real), self.widths[:1])
        if self.lexicon is None:
            return contextual
        return torch.cat([contextual, _mean(nn.functional.embedding(input_ids, self.lexicon), real)], dim=1)


def _mean(tokens: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Mean over the real tokens: float32 [B, T, d] and [B, T] to [B, d]."""
    return (tokens * real[:, :, None]).sum(dim=1) / real.sum(dim=1, keepdim=True).clamp(min=1.0)


def compact_config(
    vocab_size: int,
    *,
    d_model: int = 128,
    encoder_layers: int = 2,
    decoder_layers: int = 1,
    heads: int = 4,
    ffn: int | None = None,
    max_position_embeddings: int = 256,
    dropout: float = 0.0,
) -> BartConfig:
    """Configure a small BART for a vocabulary made by `train_tokenizer`.

    Args:
        vocab_size: `size` of the tokenizer.
        d_model: width, a multiple of `heads`.
        encoder_layers: layers that scoring runs.
        decoder_layers: layers that only the denoising training runs.
        heads: attention heads of each layer.
        ffn: width of the feed-forward layers; twice `d_model` if None.
        max_position_embeddings: longest text in tokens.
        dropout: share of channels dropped in training; it does not help training runs as short as the default one.
    """
    ffn = 2 * d_model if ffn is None else ffn
    return BartConfig(
        vocab_size=vocab_size,
        max_position_embeddings=max_position_embeddings,
        d_model=d_model,
        encoder_layers=encoder_layers,
        decoder_layers=decoder_layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=ffn,
        decoder_ffn_dim=ffn,
        dropout=dropout,
    )


def new_model(config: BartConfig, seed: int) -> BartForConditionalGeneration:
    """Build a BART with random weights that depend on `seed` only; the global random state does not change."""
    with local_seed(seed):
        model = BartForConditionalGeneration(config)
    model.train(False)
    return model


@contextmanager
def local_seed(seed: int) -> Iterator[None]:
    """Seed torch within a block and restore its global random state afterwards."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def require_positions(max_positions: int, max_tokens: int) -> None:
    """Raise TrainingError unless a BART with `max_positions` can read texts of `max_tokens`."""
    if not 2 <= max_tokens <= max_positions:
        raise TrainingError(
            f"max_tokens is {max_tokens}",
            expected=f"2 to {max_positions}, the positions of this encoder",
            fix=f"max_tokens={max_positions}, or an encoder with more positions",
        )


def embed_texts(
    encoder: RowEncoder,
    tokenizer: RowTokenizer,
    texts: Sequence[str],
    batch_size: int = 256,
    max_tokens: int = 64,
    progress: Progress | None = None,
) -> npt.NDArray[np.float32]:
    """Encode row texts; identical texts are encoded once, and texts of similar length are batched together.

    Args:
        encoder: the row encoder; its training mode is restored afterwards.
        tokenizer: the tokenizer it was trained with.
        texts: n row texts.
        batch_size: number of distinct texts in one forward pass.
        max_tokens: longer texts are cut.
        progress: called with the finished fraction of the distinct texts.

    Returns:
        float32 [n, d], in the order of `texts`.

    Raises:
        TrainingError: `max_tokens` exceeds the encoder's positions.
    """
    require_positions(encoder.max_positions, max_tokens)
    distinct = sorted(set(texts))
    ids = tokenizer.token_ids(distinct, max_tokens)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    vectors = np.empty((len(distinct), encoder.dimension), dtype=np.float32)
    device = next(encoder.parameters()).device
    was_training = encoder.training
    encoder.eval()
    try:
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = pad([ids[i] for i in chosen], tokenizer.token_id(PAD))
            with torch.inference_mode():
                vectors[chosen] = encoder(*(torch.from_numpy(array).to(device) for array in batch)).cpu().numpy()
            if progress is not None:
                progress((start + len(chosen)) / len(order), {"texts": start + len(chosen)})
    finally:
        encoder.train(was_training)
    position = {text: i for i, text in enumerate(distinct)}
    return vectors[[position[text] for text in texts]]
