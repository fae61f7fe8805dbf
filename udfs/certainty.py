"""How certain a score is, as columns of its result: an interval and an answer, or the likely classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql.registry.cards.card import ModelCard

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def certainty_columns(card: ModelCard, scores: Floats, missing: Mask) -> dict[str, pa.Array]:
    """`low`, `high` and `label` of scores, float64 [n]; NULL where a score is missing, or the card has no table."""
    nothing = pa.nulls(len(scores), pa.float64())
    columns = {"low": nothing, "high": nothing}
    if card.uncertainty:
        ends = card.uncertainty.ends(scores, probability=card.task.is_classification)
        columns = {name: pa.array(end, mask=missing) for name, end in zip(columns, ends, strict=True)}
    answers = pa.nulls(len(scores), pa.bool_())
    if card.threshold is not None:
        answers = pa.array(scores >= card.threshold, mask=missing)
    return {**columns, "label": answers}


def likely_column(card: ModelCard, probabilities: Floats, missing: Mask) -> pa.Array:
    """The classes that a label may have, the likeliest one first; NULL where a score is missing, or without a table.

    `probabilities` are float64 [n, classes].
    """
    assert card.classes is not None
    if card.uncertainty is None or card.uncertainty.least is None:
        return pa.nulls(len(probabilities), pa.list_(card.classes.array.type))
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1)
    inside = (ranked >= card.uncertainty.least) & ~missing[:, None]
    inside[:, 0] = ~missing
    ends = np.concatenate([[0], np.cumsum(inside.sum(axis=1))]).astype(np.int32)
    offsets = pa.array(ends, mask=np.append(missing, False))
    return pa.ListArray.from_arrays(offsets, card.classes.array.take(pa.array(order[inside])))
