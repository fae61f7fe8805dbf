"""How certain a score is, in SQL: its interval and the answer at the threshold, or the likely classes.

`udfs.certainty` computes the same from the same table of the card.
"""

from __future__ import annotations

from relsql.registry.cards.card import ModelCard


def certainty_sql(card: ModelCard) -> str:
    """Fields of a struct, over the columns `score` and, of a multiclass model, `probabilities`."""
    if card.classes:
        return f"probabilities: probabilities,\nlikely: {_likely_sql(card)}"
    low, high = "CAST(NULL AS DOUBLE)", "CAST(NULL AS DOUBLE)"
    if card.uncertainty:
        low, high = card.uncertainty.ends_sql("score", probability=card.task.is_classification)
    label = "CAST(NULL AS BOOLEAN)" if card.threshold is None else f"score >= {card.threshold!r}"
    return f"low: {low},\nhigh: {high},\nlabel: {label}"


def _likely_sql(card: ModelCard) -> str:
    assert card.classes is not None
    if card.uncertainty is None:
        return f"CAST(NULL AS {card.classes.type}[])"
    entry = "{p: -struct_extract(e, 'value'), n: n, class: struct_extract(e, 'key')}"
    ranked = f"list_sort(list_transform(map_entries(probabilities), lambda e, n: {entry}), 'ASC', 'NULLS LAST')"
    inside = f"struct_extract(e, 'p') <= -{card.uncertainty.least!r} OR n = 1"
    return f"list_transform(list_filter({ranked}, lambda e, n: {inside}), lambda e: struct_extract(e, 'class'))"
