"""The names of a model's SQL functions. This is the only module that builds them.

A suffix is a model's name, or `dnf_v2` for version 2 of the model `dnf`.
"""

from __future__ import annotations

_SCORE = "predict_"
_EXPLAIN = "explain_"
_FULL = "_full"
_BATCH = "_batch"
_CLASSES = "_classes"
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


def classes_name(suffix: str) -> str:
    """The table function that gives the probability of every class for all entities: `predict_dnf_classes`.

    Only models of multiclass tasks have it. It is a function of its own, because the columns of a table function do not
    depend on its arguments.
    """
    return f"{_SCORE}{suffix}{_CLASSES}"


def function_names(suffix: str) -> tuple[str, str, str]:
    """The functions that every model has: `predict_dnf`, `predict_dnf_full` and `predict_dnf_batch`."""
    return predict_name(suffix), full_name(suffix), batch_name(suffix)


def explain_names(suffix: str) -> tuple[str, str]:
    """The table functions that explain scores: `explain_dnf` of one entity, and `explain_dnf_batch` of all."""
    return f"{_EXPLAIN}{suffix}", f"{_EXPLAIN}{suffix}{_BATCH}"


def all_names(suffix: str) -> tuple[str, ...]:
    """The names of all functions that any version of a model may have. No other model may have one of these names."""
    return (*function_names(suffix), classes_name(suffix), *explain_names(suffix))


def is_score_name(function: str) -> bool:
    """True if this may be the name of a function that scores (`predict_...`), in the case of the stored name."""
    return function.startswith(_SCORE)


def is_table_name(function: str) -> bool:
    """True if this may be the name of a table function: one that scores all entities, or one that explains scores."""
    return (is_score_name(function) and function.endswith((_BATCH, _CLASSES))) or function.startswith(_EXPLAIN)


def embed_name(suffix: str) -> str:
    """The function that returns the state of an entity: `embed_dnf`."""
    return f"{_EMBED}{suffix}"


def encode_name(suffix: str) -> str:
    """The function that embeds a row text: `relsql_encode_dnf`."""
    return f"relsql_encode_{suffix}"


def row_text_name(table: str) -> str:
    """The function that writes the text of a table's row: `row_text_results`."""
    return f"row_text_{table}"
