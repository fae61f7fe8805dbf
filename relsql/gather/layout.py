"""The layout of a gathered row: the row itself, and the rows that it points at."""

from __future__ import annotations

from collections.abc import Mapping
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


def segments(path: Path, inputs: Mapping[str, NodeInputs]) -> tuple[Segment, ...]:
    """The segments of a path's rows: the row's own table first, then its lookups in order."""
    own = inputs[path.table]
    if path.data_age:
        own = replace(own, numbers=(*own.numbers, DATA_AGE))
    return (Segment(own), *(Segment(inputs[link.parent], link) for link in path.lookups))


def counts_name(path_name: str) -> str:
    """Name of the column with a path's counts."""
    return f"{path_name}__counts"


def layouts_of(paths: tuple[Path, ...], inputs: Mapping[str, NodeInputs]) -> tuple[BlockLayout, ...]:
    """The block layouts of planned paths."""
    return tuple(
        BlockLayout(
            path.name,
            path.fanout,
            segments(path, inputs),
            counts_width=(1 + len(path.count_days)) * path.counted,
            shared=path.shared,
            grouped=path.grouped,
            span_days=path.count_days if path.counted else (),
        )
        for path in paths
    )


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """The layout of a path's rows: which values belong to which segment.

    Attributes:
        name: the path's name.
        fanout: maximum number of rows per seed.
        segments: the row's own table first, then its lookups, see `relsql.gather.layout.Segment`.
        counts_width: number of row counts of each seed, see `relsql.gather.paths.Path.count_days`; 0 for a single row.
        shared: see `relsql.gather.paths.Path.shared`; scoring reads its rows once for each hub.
        grouped: see `relsql.gather.paths.Path.grouped`; explanations read its rows once for each group of seeds.
        span_days: see `relsql.gather.paths.Path.count_days`. If there are any, the first age of a row is its own.
    """

    name: str
    fanout: int
    segments: tuple[Segment, ...]
    counts_width: int = 0
    shared: bool = False
    grouped: bool = False
    span_days: tuple[float, ...] = ()

    @property
    def numbers_width(self) -> int:
        """Number of FLOAT fields n0, n1, ... of a row."""
        return sum(segment.numbers_width for segment in self.segments)

    @property
    def codes_width(self) -> int:
        """Number of INTEGER fields c0, c1, ... of a row."""
        return sum(segment.codes_width for segment in self.segments)

    @property
    def categories_width(self) -> int:
        """Number of category codes of a decoded row: for each segment the textual ones, then the integer ones."""
        return sum(category_count(segment.inputs) for segment in self.segments)

    @property
    def texts_width(self) -> int:
        """Number of text ids of a decoded row, one for each segment with text."""
        return sum(segment.has_text for segment in self.segments)

    @property
    def ages_width(self) -> int:
        """Number of ages of a row, including those of its lookups."""
        return sum(len(segment.inputs.ages) for segment in self.segments)

    def counts_type(self) -> str:
        """DuckDB type of the path's counts."""
        return f"STRUCT({', '.join(f'w{i} BIGINT' for i in range(self.counts_width))})"

    def arrow_type(self, *, ids: int = 0) -> str:
        """DuckDB type of the path's column; `ids` is how many ids of rows that it points at follow in a row."""
        fields = ["rank INTEGER"]
        fields += [f"n{i} FLOAT" for i in range(self.numbers_width)]
        fields += [f"c{i} INTEGER" for i in range(self.codes_width)]
        fields += [f"h{i} UBIGINT" for i in range(ids)]
        return f"STRUCT({', '.join(fields)})[]"


def category_count(inputs: NodeInputs) -> int:
    """Number of category codes of one table: textual categories and integer columns with few values."""
    return len(inputs.categories) + sum(1 for number in inputs.numbers if number.categories)


def category_sizes(inputs: NodeInputs) -> tuple[int, ...]:
    """Number of codes of each category, including 0 for NULL, rare and unseen values."""
    textual = [len(category.values) + 1 for category in inputs.categories]
    return tuple(textual + [len(number.categories) + 1 for number in inputs.numbers if number.categories])
