"""The names of a model's SQL functions. This is the only module that builds them.

A suffix is a model's name, or `dnf_v2` for version 2 of the model `dnf`.
"""

from __future__ import annotations

_SCORE = "predict_"
_FULL = "_full"
_BATCH = "_batch"
_EMBED = "embed_"


def predict_name(suffix: str) -> str:
    """The function that returns a score: `predict_dnf`."""
    return f"{_SCORE}{suffix}"


def full_name(suffix: str) -> str:
    """The function that returns a score with its status and evidence: `predict_dnf_full`."""
    return f"{_SCORE}{suffix}{_FULL}"


def batch_name(suffix: str) -> str:
    """The table function that scores all entities: `predict_dnf_batch`."""
    return f"{_SCORE}{suffix}{_BATCH}"


def function_names(suffix: str) -> tuple[str, str, str]:
    """The functions that score: `predict_dnf`, `predict_dnf_full` and `predict_dnf_batch`."""
    return predict_name(suffix), full_name(suffix), batch_name(suffix)


def is_score_name(function: str) -> bool:
    """True for a possible name of one of `function_names`; the case must be that of the stored name."""
    return function.startswith(_SCORE)


def is_batch_name(function: str) -> bool:
    """True for a possible name of a function that scores all entities."""
    return is_score_name(function) and function.endswith(_BATCH)


def embed_name(suffix: str) -> str:
    """The function that returns the state of an entity: `embed_dnf`."""
    return f"{_EMBED}{suffix}"


def encode_name(suffix: str) -> str:
    """The function that embeds a row text: `relsql_encode_dnf`."""
    return f"relsql_encode_{suffix}"


def row_text_name(table: str) -> str:
    """The function that writes the text of a table's row: `row_text_results`."""
    return f"row_text_{table}"
