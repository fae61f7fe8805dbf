"""Load a pre-trained encoder from a folder or a hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, BartForConditionalGeneration

from relsql.errors import ArtifactError, TrainingError
from relsql.nn.row_encoder import local_seed
from relsql.text.tokenizer import RowTokenizer
from relsql.training.encoder.fit_tokenizer import row_tokenizer


def load_pretrained(name_or_path: str) -> tuple[BartForConditionalGeneration, RowTokenizer]:
    """Load a pre-trained BART and its tokenizer, and add the three row markers to both.

    Args:
        name_or_path: a folder written by `save_pretrained`, or a name on the Hugging Face hub.

    Returns:
        The model, in evaluation mode, with its embeddings resized if the markers were new, and the tokenizer.

    Raises:
        TrainingError: not found, hub unreachable, not a BART, no safetensors weights, or no usable tokenizer.
    """
    kind = _attempt(name_or_path, "configuration", lambda: AutoConfig.from_pretrained(name_or_path)).model_type
    if kind != "bart":
        raise TrainingError(
            f"encoder '{name_or_path}' is a '{kind}' model",
            expected="a BART, for example facebook/bart-base",
            fix="relsql train --encoder facebook/bart-base, or without --encoder for the compact default",
        )
    model = _attempt(
        name_or_path,
        "weights (model.safetensors)",
        lambda: BartForConditionalGeneration.from_pretrained(name_or_path, use_safetensors=True, dtype=torch.float32),
    )
    backend = _attempt(name_or_path, "tokenizer", lambda: AutoTokenizer.from_pretrained(name_or_path).backend_tokenizer)
    try:
        tokenizer = row_tokenizer(backend)
    except ArtifactError as error:
        raise TrainingError(
            f"the tokenizer of encoder '{name_or_path}' cannot be used: {error.problem}",
            expected="BART's tokenizer",
            fix="relsql train --encoder facebook/bart-base",
        ) from error
    if tokenizer.size > model.get_input_embeddings().num_embeddings:
        with local_seed(0):
            model.resize_token_embeddings(tokenizer.size, mean_resizing=False)
    model.train(False)
    return model, tokenizer


def _attempt(name: str, part: str, load: Callable[[], Any]) -> Any:
    """Run one loading step of `name`; the libraries raise OSError, ValueError and their own exceptions."""
    try:
        return load()
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TrainingError(
            f"the {part} of encoder '{name}' could not be loaded: {reason}",
            expected="a folder written by save_pretrained, or a name on the hub and a network connection",
            fix="check the name and the network, or run relsql train without --encoder for the compact default",
        ) from error
