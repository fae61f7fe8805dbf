"""What a gathered row is made of: the row itself, and the rows that it points at."""

from __future__ import annotations

from dataclasses import dataclass, replace

from relsql.gather.node_inputs import NodeInputs, NumberInput
from relsql.gather.paths import Path
from relsql.schema.tables import Link

DATA_AGE = NumberInput("data age", "data_age")
"""Days between as_of and the newest visible row of any table that the model reads; NULL when there is none."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of a path's row that comes from one table: the row itself, or one of its lookups.

    Its numbers are a present flag (1.0, or 0.0 for a lookup that finds no visible row) and the table's number
    inputs; its codes are the table's textual categories and, if the table has text, the text id.
    """

    inputs: NodeInputs
    link: Link | None = None

    @property
    def numbers_width(self) -> int:
        """Number of FLOATs: the present flag and the number inputs."""
        return 1 + len(self.inputs.numbers)

    @property
    def codes_width(self) -> int:
        """Number of INTEGERs: category codes and the text id."""
        return len(self.inputs.categories) + self.has_text

    @property
    def has_text(self) -> bool:
        """True if the last code is a text id."""
        return bool(self.inputs.text_columns)


def segments(path: Path, inputs: dict[str, NodeInputs]) -> tuple[Segment, ...]:
    """The segments of a path's rows: the row's own table first, then its lookups in order."""
    own = inputs[path.table]
    if path.data_age:
        own = replace(own, numbers=(*own.numbers, DATA_AGE))
    return (Segment(own), *(Segment(inputs[link.parent], link) for link in path.lookups))


def counts_name(path_name: str) -> str:
    """Name of the column with a path's counts."""
    return f"{path_name}__counts"
