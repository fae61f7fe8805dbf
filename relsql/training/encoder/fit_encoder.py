"""Train the row encoder (tokenizer, BART and lexicon) and embed all row texts."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
from transformers import BartForConditionalGeneration

from relsql.errors import TrainingError
from relsql.gather.sql.row_texts import all_texts, distinct_texts
from relsql.nn.lexicon import lexical_vectors
from relsql.nn.row_encoder import RowEncoder, compact_config, embed_texts, new_model
from relsql.registry.cards.card import EncoderCard
from relsql.registry.runs import Run
from relsql.text.tokenizer import RowTokenizer
from relsql.training.encoder.denoise import train_denoising
from relsql.training.encoder.fit_tokenizer import train_tokenizer
from relsql.training.encoder.pretrained import load_pretrained
from relsql.training.options import COMPACT, TrainOptions
from relsql.training.plan import Plan
from relsql.training.pretraining.weights import read_weights
from relsql.typing import FloatArray

MAX_TEXTS_PER_TABLE = 20_000


@dataclass(frozen=True, slots=True)
class TrainedEncoder:
    """The row encoder with its tokenizer and its part of the card."""

    module: RowEncoder
    tokenizer: RowTokenizer
    card: EncoderCard


def train_encoder(
    con: duckdb.DuckDBPyConnection, catalog: str, plan: Plan, options: TrainOptions, run: Run
) -> TrainedEncoder:
    """Train tokenizer, BART and lexicon on the row texts that were visible at the end of the training time range."""
    until = plan.task.val_timestamp
    with run.phase("tokenizer") as metrics:
        texts = distinct_texts(con, catalog, plan.schema, plan.inputs, until=until, limit_per_table=MAX_TEXTS_PER_TABLE)
        model, tokenizer = _start(texts, options)
        metrics.update(texts=len(texts), vocabulary=tokenizer.size)
    with run.phase("encoder") as metrics:
        chosen = options.encoder_steps
        report = train_denoising(
            model,
            tokenizer,
            texts,
            max_steps=_steps(len(texts), options) if chosen is None else chosen,
            learning_rate=_learning_rate(options),
            seed=options.seed,
            max_tokens=options.max_tokens,
            stop_when_stalled=chosen is None,
            progress=lambda fraction, values: run.report("encoder", min(fraction, 0.999), values),
        )
        losses = {"loss_before": report.validation_loss_before, "loss": report.validation_loss}
        lexicon = lexical_vectors(tokenizer, texts, model.config.vocab_size, max_tokens=options.max_tokens)
        metrics.update({"steps": report.steps, **{k: v for k, v in losses.items() if v is not None}})
        metrics.update(lexical_directions=lexicon.shape[1])
    module = RowEncoder(model, lexicon)
    card = EncoderCard(options.encoder, module.dimension, options.max_tokens, {"steps": report.steps, **losses})
    return TrainedEncoder(module, tokenizer, card)


def _start(texts: list[str], options: TrainOptions) -> tuple[BartForConditionalGeneration, RowTokenizer]:
    """The model before denoising, and its tokenizer.

    Raises:
        TrainingError: two models are given.
    """
    if options.encoder != COMPACT:
        if options.pretrained:
            raise TrainingError(
                f"both encoder '{options.encoder}' and pre-trained weights '{options.pretrained}' are given",
                expected="one of them: the weights contain a row encoder",
                fix="relsql train without --encoder, or without --pretrained",
            )
        return load_pretrained(options.encoder)
    if options.pretrained:
        weights = read_weights(options.pretrained)
        return weights.model, weights.tokenizer
    tokenizer = train_tokenizer(texts)
    return new_model(compact_config(tokenizer.size), options.seed), tokenizer


def _steps(texts: int, options: TrainOptions) -> int:
    """Steps of denoising; half of them are enough for pre-trained weights, which already know the form of row texts."""
    steps = min(300, max(60, texts // 4))
    return steps // 2 if options.pretrained else steps


def _learning_rate(options: TrainOptions) -> float:
    if options.encoder != COMPACT:
        return 1e-4
    return 1e-3 if options.pretrained else 3e-3


def embed_database(
    con: duckdb.DuckDBPyConnection, catalog: str, plan: Plan, encoder: TrainedEncoder, used: list[str], run: Run
) -> tuple[list[str], FloatArray]:
    """Embeddings of all row texts in the database, starting with the texts `used` in training.

    Texts in one batch affect the last bits of each other's embeddings, so the other texts get separate batches.
    """
    known = set(used)
    rest = [text for text in all_texts(con, catalog, plan.rows) if text not in known]
    embeddings = [
        embed_texts(
            encoder.module,
            encoder.tokenizer,
            texts,
            max_tokens=encoder.card.max_tokens,
            progress=lambda fraction, values: run.report("embed", min(fraction, 0.999), values),
        )
        for texts in (used, rest)
    ]
    return [*used, *rest], np.concatenate(embeddings)


def prepend_zero_row(embeddings: FloatArray) -> FloatArray:
    """Put a row of zeros first, because text id 0 means that there is no text."""
    return np.pad(embeddings, ((1, 0), (0, 0)))
