"""Train the row encoder: a BART learns to reconstruct row texts in which whole semantic units are masked."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch.nn import functional
from transformers import BartForConditionalGeneration

from relsql.errors import TrainingError
from relsql.nn.row_encoder import Progress, local_seed, require_positions
from relsql.text.row_text import ATTRIBUTE_MARKER, TABLE_MARKER, VALUE_MARKER, table_of, units
from relsql.text.tokenizer import EOS, MASK, PAD, RowTokenizer, pad

MASK_PROBABILITY = {TABLE_MARKER: 0.30, ATTRIBUTE_MARKER: 0.20, VALUE_MARKER: 0.40}
"""Probability that a unit is masked, by the marker that starts it."""

ONE_HELD_OUT_IN = 10
"""One text in this many is held out for validation."""

MAX_VALIDATION_TEXTS = 512
POOL_BATCHES = 16
"""Batches that are drawn and sorted by length together: a larger pool needs less padding, a smaller one mixes more."""

CHECKS = 20
"""The loss on held-out texts is computed this often in a whole run."""

CHECKED_TEXTS = 128
STALLED_CHECKS, STALLED_FALL = 3, 0.015
"""A run ends early when the loss has fallen by less than this share of itself over this many checks."""

LAST_CHECK = 0.7
"""Share of the steps after which a run is not ended early, because the falling learning rate alone flattens the loss
from there on."""

IGNORED = -100
"""Label of padding positions, which the cross-entropy ignores."""


@dataclass(frozen=True)
class DenoisingReport:
    """Result of a denoising run.

    Attributes:
        steps: optimiser steps, fewer than `max_steps` if the run ended early.
        seconds: wall time.
        train_texts: number of distinct training texts.
        validation_texts: number of distinct held-out texts; a single text is used for both training and validation.
        train_loss: mean cross-entropy per token over the last tenth of the steps; None if there were no steps.
        validation_loss_before: loss on the held-out texts, with fixed masks, before training; None without texts.
        validation_loss: the same after training.
    """

    steps: int
    seconds: float
    train_texts: int
    validation_texts: int
    train_loss: float | None
    validation_loss_before: float | None
    validation_loss: float | None


class UnitMasker:
    """Replaces each chosen semantic unit of a tokenized row text with a single `<mask>` token."""

    def __init__(self, tokenizer: RowTokenizer) -> None:
        self._mask = tokenizer.token_id(MASK)
        self._end = tokenizer.token_id(EOS)
        self._probability = {tokenizer.token_id(marker): p for marker, p in MASK_PROBABILITY.items()}

    def __call__(self, ids: Sequence[int], random: np.random.Generator) -> list[int]:
        """Mask each unit of `ids` with its probability, but at least one unit; ids without units are left unchanged.

        Args:
            ids: `<s>`, markers and their contents, `</s>`.
            random: random generator that chooses the units.
        """
        starts = [i for i, token in enumerate(ids) if token in self._probability]
        if not starts:
            return list(ids)
        probability = np.array([self._probability[ids[i]] for i in starts])
        chosen = random.random(len(starts)) < probability
        if not chosen.any():
            chosen[random.choice(len(starts), p=probability / probability.sum())] = True
        ends = [*starts[1:], len(ids) - (ids[-1] == self._end)]
        masked = list(ids[: starts[0]])
        for start, end, hide in zip(starts, ends, chosen, strict=True):
            masked += [ids[start], self._mask] if hide else ids[start:end]
        return masked + list(ids[ends[-1] :])


def train_denoising(
    model: BartForConditionalGeneration,
    tokenizer: RowTokenizer,
    texts: Iterable[str],
    *,
    max_steps: int = 300,
    batch_size: int = 32,
    learning_rate: float = 3e-3,
    seed: int = 0,
    max_tokens: int = 64,
    stop_when_stalled: bool = False,
    progress: Progress | None = None,
) -> DenoisingReport:
    """Train a BART, in place, to reconstruct row texts whose semantic units are masked.

    The masks of a training row are drawn again each time it is used, those of a validation row only once. All tables
    contribute the same number of rows. The optimiser is AdamW, with a warm-up over a twentieth of the steps, then a
    cosine decay to zero. The weights depend only on the arguments, the machine and its number of threads.

    Args:
        model: the model; its training mode is restored afterwards.
        tokenizer: its tokenizer.
        texts: row texts; duplicates count once, texts without a marker are left out.
        max_steps: optimiser steps.
        batch_size: rows per step.
        learning_rate: peak learning rate; the default suits a compact model, a pre-trained one needs about 1e-4.
        seed: seed of masks, sampling and dropout.
        max_tokens: longer texts are truncated.
        stop_when_stalled: end early when the loss on held-out texts has stopped falling; the learning rate then falls
            to zero within a twentieth of `max_steps`. A run that does not end early gives the same result as without
            this option.
        progress: called about a hundred times with the finished fraction and the metrics `step` and `loss`.

    Raises:
        TrainingError: `max_tokens` exceeds the model's positions, or the loss is no longer finite.
    """
    require_positions(model.config.max_position_embeddings, max_tokens)
    started = time.perf_counter()
    train, held_out = split_texts(texts)
    trainer = _Trainer(model, tokenizer, max_tokens, batch_size)
    validation = trainer.validation_batches(held_out, seed)
    checked = trainer.validation_batches(held_out[:CHECKED_TEXTS], seed) if stop_when_stalled else []
    was_training = model.training
    losses: list[float] = []
    try:
        before = trainer.evaluate(validation)
        if train and max_steps > 0:
            with local_seed(seed):
                losses = trainer.fit(train, checked, max_steps, learning_rate, seed, progress)
        after = trainer.evaluate(validation) if losses else before
    finally:
        model.train(was_training)
    return DenoisingReport(
        steps=len(losses),
        seconds=time.perf_counter() - started,
        train_texts=len(train),
        validation_texts=len(held_out),
        train_loss=float(np.mean(losses[-math.ceil(len(losses) / 10) :])) if losses else None,
        validation_loss_before=before,
        validation_loss=after,
    )


def split_texts(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Split the distinct texts that have units into training and validation texts, by a hash of each text.

    The split of a text does not depend on the other texts, with two exceptions: at least one text is always held out,
    and at most `MAX_VALIDATION_TEXTS` are. A single text is used for both splits.
    """
    by_hash = sorted((_hash(text), text) for text in set(texts) if units(text))
    if not by_hash:
        return [], []
    limit = 2**64 // ONE_HELD_OUT_IN
    count = min(max(1, sum(number < limit for number, _ in by_hash)), MAX_VALIDATION_TEXTS)
    held_out = [text for _, text in by_hash[:count]]
    train = [text for _, text in by_hash[count:]]
    return train or held_out, held_out


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def sample_evenly(texts: Sequence[str], random: np.random.Generator) -> Iterator[str]:
    """Yield texts endlessly, one of each table in turn; a table's texts are shuffled again after each full pass."""
    tables: dict[str, list[str]] = {}
    for text in texts:
        tables.setdefault(table_of(text), []).append(text)
    streams = [_shuffled_for_ever(tables[name], random) for name in sorted(tables)]
    while True:
        for stream in streams:
            yield next(stream)


def _shuffled_for_ever(texts: list[str], random: np.random.Generator) -> Iterator[str]:
    while True:
        for i in random.permutation(len(texts)):
            yield texts[i]


@dataclass(frozen=True)
class _Batch:
    """Masked ids and attention mask, int64 [B, S], and the labels, int64 [B, T], `IGNORED` at padding."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor


class _Trainer:
    """A model with its tokenizer and the size of a batch."""

    def __init__(
        self, model: BartForConditionalGeneration, tokenizer: RowTokenizer, max_tokens: int, batch_size: int
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._batch_size = batch_size
        self._masker = UnitMasker(tokenizer)
        self._pad = tokenizer.token_id(PAD)
        self._device = next(model.parameters()).device

    def validation_batches(self, texts: list[str], seed: int) -> list[_Batch]:
        """Batch the held-out texts, longest last; the masks of a text depend only on the text and the seed."""
        rows = self._tokenizer.token_ids(texts, self._max_tokens)
        masked = [
            self._masker(ids, np.random.default_rng([seed, _hash(text)])) for ids, text in zip(rows, texts, strict=True)
        ]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        return [
            self._batch([masked[i] for i in chosen], [rows[i] for i in chosen])
            for chosen in _chunks(order, self._batch_size)
        ]

    def evaluate(self, batches: list[_Batch]) -> float | None:
        """Mean cross-entropy per token, or None if there are no batches."""
        self._model.train(False)
        total, tokens = 0.0, 0
        with torch.inference_mode():
            for batch in batches:
                count = int((batch.labels != IGNORED).sum())
                total += self._loss(batch).item() * count
                tokens += count
        return total / tokens if tokens else None

    def fit(
        self,
        texts: list[str],
        checked: list[_Batch],
        max_steps: int,
        learning_rate: float,
        seed: int,
        progress: Progress | None,
    ) -> list[float]:
        """Run the optimiser, to `max_steps` or until the loss on `checked` stalls; returns the loss of each step."""
        self._model.train()
        optimiser = torch.optim.AdamW(self._model.parameters(), lr=learning_rate, weight_decay=0.01, fused=True)
        plan = _Plan(max_steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, plan.rate)
        losses: list[float] = []
        for step, batch in enumerate(self._training_batches(texts, seed), start=1):
            loss = self._loss(batch)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise TrainingError(
                    f"the loss of the row encoder is {losses[-1]} at step {step}",
                    fix=f"a lower learning rate, for example learning_rate={learning_rate / 10:g}",
                )
            if checked and plan.is_check(step):
                plan.check(step, self.evaluate(checked) or 0.0)
                self._model.train()
            if progress is not None and (step % max(1, max_steps // 100) == 0 or step == plan.steps):
                progress(step / plan.steps, {"step": step, "loss": losses[-1]})
            if step == plan.steps:
                break
        return losses

    def _training_batches(self, texts: list[str], seed: int) -> Iterator[_Batch]:
        """Yield batches endlessly: draw a pool of rows, sort it by length, split it into batches and shuffle these."""
        random = np.random.default_rng(seed)
        stream = sample_evenly(texts, random)
        while True:
            pool = [next(stream) for _ in range(POOL_BATCHES * self._batch_size)]
            rows = sorted(self._tokenizer.token_ids(pool, self._max_tokens), key=len)
            chunks = list(_chunks(rows, self._batch_size))
            for i in random.permutation(len(chunks)):
                yield self._batch([self._masker(ids, random) for ids in chunks[i]], chunks[i])

    def _batch(self, masked: list[list[int]], rows: list[list[int]]) -> _Batch:
        input_ids, attention_mask = pad(masked, self._pad)
        labels, _ = pad(rows, IGNORED)
        return _Batch(*(torch.from_numpy(a).to(self._device) for a in (input_ids, attention_mask, labels)))

    def _loss(self, batch: _Batch) -> torch.Tensor:
        """Cross-entropy of the original row; logits are expensive, so they are computed for real tokens only."""
        start = torch.full_like(batch.labels[:, :1], cast(int, self._model.config.decoder_start_token_id))
        inputs = torch.cat([start, batch.labels[:, :-1]], dim=1).masked_fill(batch.labels == IGNORED, self._pad)
        hidden = self._model.model(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, decoder_input_ids=inputs, use_cache=False
        ).last_hidden_state
        real = batch.labels != IGNORED
        logits = self._model.lm_head(hidden[real]) + self._model.final_logits_bias
        return functional.cross_entropy(logits, batch.labels[real])


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


class _Plan:
    """The number of steps and the learning rate of each, which follow from the loss on held-out texts.

    Attributes:
        steps: the number of steps: all, or fewer once the loss has stalled.
    """

    def __init__(self, max_steps: int) -> None:
        self.steps = max_steps
        self._max_steps = max_steps
        self._interval = max(1, max_steps // CHECKS)
        self._stalled: int | None = None
        self._losses: list[float] = []

    def rate(self, step: int) -> float:
        """Learning rate as a fraction of its peak: linear warm-up from above zero, then half a cosine to zero.

        After a stall it falls from there to zero in a straight line.
        """
        warm_up = max(1, self._max_steps // 20)
        reached = step if self._stalled is None else min(step, self._stalled)
        if reached < warm_up:
            found = (reached + 1) / warm_up
        else:
            found = 0.5 * (1 + math.cos(math.pi * (reached - warm_up) / max(1, self._max_steps - warm_up)))
        return found * (1.0 if self._stalled is None else (self.steps - step) / (self.steps - self._stalled))

    def is_check(self, step: int) -> bool:
        """Whether the loss on held-out texts is wanted after this step."""
        return self._stalled is None and step % self._interval == 0 and step <= LAST_CHECK * self._max_steps

    def check(self, step: int, loss: float) -> None:
        """Record the loss on held-out texts after a step, and end the run soon if the loss has stalled."""
        self._losses.append(loss)
        if len(self._losses) <= STALLED_CHECKS:
            return
        if loss > (1 - STALLED_FALL) * self._losses[-1 - STALLED_CHECKS]:
            self._stalled, self.steps = step, step + self._interval
