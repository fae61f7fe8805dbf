"""Find measures that are written side by side, a column for each moment: `d_1`, `d_2`, .. or `1/22/20`, `1/23/20`, ..

A row with such columns has one time at most, so a score at an earlier `as_of` reads all of them, also those of later
moments. If every moment has a row of its own, every value has its own time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from relsql.schema.finding import Finding
from relsql.schema.tables import Column, Schema, Table
from relsql.schema.types import is_number
from relsql.sql_text import ident, literal

FEWEST = 5
"""Fewer columns are not worth a table of their own."""

_YEAR, _MONTH = "(?:19|20)[0-9]{2}", "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DATES = (
    f"{_YEAR}[-_/.]?[01][0-9][-_/.]?[0-3][0-9]",
    "[0-3]?[0-9][/.-][0-3]?[0-9][/.-](?:[0-9]{2}){1,2}",
    f"{_YEAR}[-_/.]?(?:0[1-9]|1[0-2])",
    f"{_YEAR}[-_ ]?q[1-4]|q[1-4][-_ ]?{_YEAR}",
    f"{_MONTH}[-_ ]?(?:[0-9]{{2}}){{1,2}}|(?:[0-9]{{2}}){{1,2}}[-_ ]?{_MONTH}",
    f"{_YEAR}(?: \\[YR{_YEAR}\\])?",
)
"""Names, or parts of names, that are a day, a month, a quarter or a year."""

_NUMBERED = re.compile(r"(d|day|w|wk|week|m|mon|month|q|quarter|y|yr|year|t|period)[ _-]?([0-9]+)", re.IGNORECASE)
_DATED = [re.compile(f"([A-Za-z_ ]*?)({each})([A-Za-z_ ]*)", re.IGNORECASE) for each in _DATES]


@dataclass(frozen=True, slots=True)
class WideColumns:
    """Columns of one measure, in the order of the table, and the name of the column that would hold their names."""

    columns: tuple[Column, ...]
    moment: str

    def __str__(self) -> str:
        return f"{self.columns[0].name}, {self.columns[1].name}, .., {self.columns[-1].name}"


def wide_findings(schema: Schema, table: Table) -> Iterator[Finding]:
    """The measures of a table that are written side by side, with the statements that make rows of them."""
    for wide in find_wide_columns(schema, table):
        text = f"columns {wide} seem to hold one measure side by side, at {len(wide.columns)} moments: a score at an "
        text += "earlier as_of reads those of later moments, too"
        text += f"; to make a row of each: {_statements(table, wide)}" if not table.is_view else ""
        yield Finding("warning", table.key, text)


def find_wide_columns(schema: Schema, table: Table) -> Iterator[WideColumns]:
    """The groups of a table's numbers whose names are moments, or number them without a gap."""
    keys = {*table.primary_key, *(name for link in schema.links_from(table.key) for name in link.child_columns)}
    groups: dict[tuple[str, ...], list[Column]] = {}
    for column in table.columns:
        group = _group(column.name) if is_number(column.type) and column.name not in keys else None
        if group and not column.computed:
            groups.setdefault(group, []).append(column)
    for (kind, moment, *_), columns in groups.items():
        if len(columns) >= FEWEST and (kind == "dated" or _is_series(columns)):
            yield WideColumns(tuple(columns), moment)


def _group(name: str) -> tuple[str, ...] | None:
    """What a column's name has in common with those of other moments; None if it names no moment."""
    if found := _NUMBERED.fullmatch(name):
        return "numbered", found.group(1).lower()
    for pattern in _DATED:
        if found := pattern.fullmatch(name):
            year = re.fullmatch(_YEAR, found.group(2))
            return "dated", "year" if year else "date", pattern.pattern, found.group(1), found.group(3)
    return None


def _is_series(columns: list[Column]) -> bool:
    numbers = sorted(int(re.sub(r"[^0-9]", "", column.name)) for column in columns)
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _statements(table: Table, wide: WideColumns) -> str:
    """Statements that move the columns of a table to rows of another one."""
    names = ", ".join(ident(column.name) for column in wide.columns)
    pattern = _pattern(wide)
    if pattern and [c.name for c in table.columns if re.fullmatch(pattern, c.name)] == [c.name for c in wide.columns]:
        names = f"COLUMNS({literal(f'^{pattern}$')})"
        kept = f"* NOT SIMILAR TO {literal(pattern)}"
    else:
        kept = f"* EXCLUDE ({names})"
    rows = ident(f"{table.name}_by_{wide.moment}")
    text = f"CREATE TABLE {rows} AS UNPIVOT {table.sql()} ON {names} INTO NAME {ident(wide.moment)} VALUE value"
    return f"{text}; CREATE OR REPLACE TABLE {table.sql()} AS SELECT {kept} FROM {table.sql()}"


def _pattern(wide: WideColumns) -> str:
    """A regular expression for the names of the columns; empty if they have no common form of digits."""
    forms = {re.sub(r"[0-9]+", "0", column.name) for column in wide.columns}
    return re.escape(forms.pop()).replace("0", "[0-9]+") if len(forms) == 1 else ""
