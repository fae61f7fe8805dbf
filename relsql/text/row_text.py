"""The text of a row: `<table>drivers<attribute>forename<value>Anna<attribute>code<value>` (NULL is an empty value)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

TABLE_MARKER = "<table>"
ATTRIBUTE_MARKER = "<attribute>"
VALUE_MARKER = "<value>"
MARKERS = (TABLE_MARKER, ATTRIBUTE_MARKER, VALUE_MARKER)

UnitKind = Literal["table", "attribute", "value"]

_MARKER = re.compile("|".join(re.escape(marker) for marker in MARKERS))


@dataclass(frozen=True)
class Unit:
    """A semantic unit of a row text: the text after one marker.

    Attributes:
        kind: the marker that precedes it.
        start: offset of its first character, after the marker.
        end: offset after its last character; equals `start` if it is empty.
    """

    kind: UnitKind
    start: int
    end: int


def units(text: str) -> list[Unit]:
    """Split a row text into its semantic units, in order; text before the first marker is ignored."""
    markers = list(_MARKER.finditer(text))
    starts = [marker.start() for marker in markers]
    return [
        Unit(cast(UnitKind, marker.group()[1:-1]), marker.end(), end)
        for marker, end in zip(markers, [*starts[1:], len(text)], strict=False)
    ]


def table_of(text: str) -> str:
    """The table name in a row text, or an empty string."""
    return next((text[unit.start : unit.end] for unit in units(text) if unit.kind == "table"), "")
