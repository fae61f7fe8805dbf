"""The kinds of tasks: what a seed is, when it is asked about, and which columns of its own row the model reads.

forecast: an entity at any moment; the label lies in the time after it.
autocomplete: a row, by its key and as of its own time; the label is one of its columns.
event: a row, by its key and as of its own time; the label comes from a label query.
static: a row, by its key, where time does not matter; the label is one of its columns, or comes from a label query.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["forecast", "autocomplete", "event", "static"]
KINDS: tuple[Kind, ...] = get_args(Kind)

OWN_TIME: tuple[Kind, ...] = ("autocomplete", "event")
"""The kinds whose seeds are rows with a time of their own."""

_ALWAYS = ("name", "task_type", "entity_table", "target_col")
REQUIRED: dict[Kind, tuple[str, ...]] = {
    "forecast": (*_ALWAYS[:3], "entity_col", "target_col", "time_col", "timedelta", "sql"),
    "autocomplete": _ALWAYS,
    "event": (*_ALWAYS[:3], "entity_col", "target_col", "sql"),
    "static": _ALWAYS,
}
"""The fields that a task of each kind must have."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How the seeds of a task are asked about.

    Attributes:
        own_time: a seed is a row with a time, which is its as_of even if the caller gives a later one.
        hidden: columns of the seed's own row that are read as if they were empty.
        empty: the column whose empty cells are asked about when all seeds are scored; None: all rows are.
    """

    own_time: bool = False
    hidden: tuple[str, ...] = ()
    empty: str | None = None


FOR_ANY_MOMENT = Asked()
"""Seeds are entities, asked about at any moment."""
