"""Columns that identify the rows of a table: the candidates, the chosen one, and keys of several columns.

A key is unique and never NULL. Many columns satisfy this, so a column's name counts too, and whether columns of other
tables refer to it: in `patients(row_id, subject_id)` only `subject_id` is used elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from relsql.schema.checks import key_counts
from relsql.schema.discovery.names import (
    KEY_WORDS,
    LATER_WORDS,
    has_weak_suffix,
    is_key_name,
    is_row_number,
    name_match,
    same_words,
    stem,
    word_set,
    words,
)
from relsql.schema.discovery.profile import Profile, Profiler, may_refer
from relsql.schema.discovery.proposals import KeyProposal, Refusal
from relsql.schema.tables import Link, Table
from relsql.schema.types import INTEGER_TYPES, TIME_TYPES, type_family

MIN_KEY_CONFIDENCE = 0.4
FEW_ROWS = 20
"""In a table with fewer rows many columns are unique by chance, so the name of a key must match better."""

MIN_FEW_ROWS_CONFIDENCE = 0.7

REFERRED = 0.85
"""How much of the doubt about a key is removed by columns of other tables that refer to it."""

ONE_TO_ONE = 0.75
"""How much of the doubt is removed if the column is a link, so that each row belongs to one row of another table."""

FIRST = 0.65
"""How much of the doubt is removed if it is the first column and has the name of a key, whatever the table."""

ALONE = 0.67
"""How much of the doubt is removed, in a table with many rows, if no other unique column has the name of an id."""

MANY_ROWS = 1_000
MAX_COMBINATIONS = 60
QUICK_ROWS = 100_000
"""Columns are tried on this many rows first: most combinations have duplicates there."""

MIN_COLLISIONS = 10
"""The values support a combination as a key if, were its columns independent, at least this many pairs of rows would
be equal."""

_COUNTERS = word_set(
    "line seq sequence sequential position index order ordering ordinal step version stint item year season month "
    "quarter week round day"
)


@dataclass(frozen=True, slots=True)
class UniqueColumn:
    """A column without duplicates and NULLs; `name_score` in (0, 1) is how well its name fits a key.

    `named` is false for a first column of row numbers with a name such as `A1`: it becomes a key only if links refer to
    it by the name of its table.
    """

    table: str
    column: str
    name_score: float
    declared: bool = False
    named: bool = True


def unique_columns(data: Profiler) -> dict[str, list[UniqueColumn]]:
    """For each table, the columns that may be its key or that links may point at, best name first."""
    found = {table.key: _unique_columns(data, table) for table in data.schema.tables.values()}
    counters = _shared_counters(data, found)
    return {
        key: [unique for unique in columns if unique.declared or unique.column not in counters.get(key, ())]
        or columns[:1]
        for key, columns in found.items()
    }


def _unique_columns(data: Profiler, table: Table) -> list[UniqueColumn]:
    found = []
    for position, column in enumerate(table.columns):
        profile = data.profiles[table.key][column.name]
        if table.primary_key == (column.name,):
            found.append(UniqueColumn(table.key, column.name, 1.0, declared=True))
        elif may_refer(column.type, profile) and profile.maybe_unique:
            score = key_name_score(data, table, column.name, position)
            # A number without the name of a key is a measure. Texts are not unique by chance.
            named = score >= MIN_KEY_CONFIDENCE or type_family(column.type) in ("text", "UUID")
            serial = _is_serial(profile)
            # A weak name such as `MatrNr` marks a key if another table also has it, unless it just counts the rows.
            shared = position == 0 and not serial and is_key_name(column.name)
            named = named or (shared and _is_shared(data, table, column.name))
            possible = named or (position == 0 and profile.rows >= FEW_ROWS and serial)
            if possible and key_counts(data.con, data.catalog, table, (column.name,)).problem is None:
                found.append(UniqueColumn(table.key, column.name, score, named=named))
    return sorted(found, key=lambda unique: -unique.name_score)


def _is_serial(profile: Profile) -> bool:
    """True for numbers from 0 or 1 to the number of rows."""
    return profile.low in ("0", "1") and profile.width == profile.rows


def _shared_counters(data: Profiler, found: Mapping[str, list[UniqueColumn]]) -> dict[str, set[str]]:
    """For each table, the columns that only count its rows.

    Columns of the same name count the rows of at least three tables, and of every table that has such a column.
    """
    counters: dict[str, set[str]] = {}
    numbers = [u for columns in found.values() for u in columns if _counts_rows(data, u)]
    for unique in numbers:
        alike = {other.table for other in numbers if same_words(other.column, unique.column)}
        having = {
            t.key for t in data.schema.tables.values() if any(same_words(c.name, unique.column) for c in t.columns)
        }
        others = len(found[unique.table]) > 1
        if len(alike) >= 3 and alike == having and others and stem(unique.column):
            counters.setdefault(unique.table, set()).add(unique.column)
    return counters


def _counts_rows(data: Profiler, unique: UniqueColumn) -> bool:
    if unique.declared or name_match(unique.column, data.table_words[unique.table]):
        return False
    profile = data.profiles[unique.table][unique.column]
    return _is_serial(profile) and not is_row_number(unique.column)


def key_name_score(data: Profiler, table: Table, column: str, position: int) -> float:
    """How well the name, type and place of a column fit the key of `table`, from 0 to 1."""
    plain, type_ = data.plain(table.key, column), table.column(column).type
    parts, match = words(plain), name_match(plain, data.table_words[table.key])
    # A bare `id` beats a bare `code`, and `driver_id` beats `driver_ref`.
    penalty = 0.01 * KEY_WORDS.index(parts[-1]) if parts and parts[-1] in KEY_WORDS else 0.0
    if is_row_number(plain):
        score = 0.75 if type_ in INTEGER_TYPES else 0.1
    elif parts and not stem(plain):
        score = 0.85 - 2 * penalty
    else:
        score = (0.35 + 0.5 * match - penalty) if is_key_name(plain) else (0.15 + 0.3 * match)
    score += 0.08 if position == 0 else 0.0
    return round(score + (0.05 if type_family(type_) in ("integer", "UHUGEINT", "UUID") else 0.0), 2)


def single_key(
    data: Profiler, table: Table, columns: Iterable[UniqueColumn], links: Sequence[Link]
) -> KeyProposal | Refusal | None:
    """The most plausible of the unique columns of a table, or why none is plausible; None without a unique column.

    Args:
        data: the profiles.
        table: a table without key.
        columns: its unique columns.
        links: the links of all tables, as far as they are known.
    """
    columns = list(columns)
    ids = [unique.column for unique in columns if is_key_name(unique.column) and not has_weak_suffix(unique.column)]
    alone = ids[0] if len(ids) == 1 and data.rows(table) >= MANY_ROWS else ""
    ranked = [
        (rank, confidence, unique, evidence)
        for unique in columns
        for rank, confidence, evidence in [_key_confidence(data, table, unique, links, alone)]
        if evidence or data.profiles[table.key][unique.column].spaces <= 0.5
    ]
    if not ranked:
        return None
    _, confidence, unique, reference = max(ranked, key=lambda each: each[:2])
    rows = data.rows(table)
    if confidence < (MIN_KEY_CONFIDENCE if rows >= FEW_ROWS else MIN_FEW_ROWS_CONFIDENCE):
        reason = f"unique in {rows:,} rows, but does not have the name of a key, and no other table refers to it"
        return Refusal("key", table.key, (unique.column,), reason)
    match = name_match(data.plain(table.key, unique.column), data.table_words[table.key])
    evidence = f"unique and never NULL in {rows:,} rows" if rows else "the table is empty, so only its name counts"
    evidence += f", name match {match:.2f}{reference}" if match else reference
    return KeyProposal(table.key, (unique.column,), evidence, round(confidence * (1.0 if rows else 0.5), 2))


def _key_confidence(
    data: Profiler, table: Table, unique: UniqueColumn, links: Sequence[Link], alone: str
) -> tuple[float, float, str]:
    """The rank of a unique column, the confidence that it is the key, and the evidence besides its name.

    Columns that refer to it are the strongest evidence. If it is itself a link, its confidence rises, but not its rank:
    with one review per order, the key of `order_reviews(review_id, order_id)` is still `review_id`. `alone` is the only
    unique column with the name of an id, or empty.
    """
    used = sum((link.parent, link.parent_columns) == (table.key, (unique.column,)) for link in links)
    parents = [link.parent for link in links if (link.child, link.child_columns) == (table.key, (unique.column,))]
    name = min(unique.name_score, 0.98)
    if used:
        confidence = 1 - (1 - name) * (1 - REFERRED)
        return confidence, confidence, f", {used} {'column refers' if used == 1 else 'columns refer'} to it"
    if parents:
        return name, 1 - (1 - name) * (1 - ONE_TO_ONE), f", one row for each row of {parents[0]}"
    if unique.column == table.column_names[0] and is_key_name(data.plain(table.key, unique.column)):
        return name, 1 - (1 - name) * (1 - FIRST if data.rows(table) >= FEW_ROWS else 1), ", the first column"
    if unique.column == alone:
        return name, 1 - (1 - name) * (1 - ALONE), ", the only such column with the name of an id"
    return name, name, ""


def consists_of_links(table: Table, links: Iterable[Link]) -> bool:
    """True for a table that only joins others: at least two columns are links, and the rest are times."""
    linked = {c for link in links if link.child == table.key for c in link.child_columns}
    return len(linked) > 1 and all(c.name in linked or c.type in TIME_TYPES for c in table.columns)


def composite_key(data: Profiler, table: Table) -> KeyProposal | None:
    """The most plausible set of two or three columns that identifies the rows of a table without a single key."""
    if data.rows(table) < 2:
        return None
    linked = {c for link in data.schema.links_from(table.key) for c in link.child_columns}
    found: list[KeyProposal] = []
    for columns in _combinations(data, table, linked):
        # A set that contains a unique set is unique as well, so it is skipped.
        if not any(set(key.columns) <= set(columns) for key in found) and _identifies(data, table, columns):
            found.append(
                _composite_proposal(
                    data, table, columns, smallest=all(len(key.columns) >= len(columns) for key in found)
                )
            )
    return max(found, key=lambda key: (key.confidence, -len(key.columns)), default=None)


def _combinations(data: Profiler, table: Table, linked: set[str]) -> list[tuple[str, ...]]:
    """Sets of columns that may be a key, in table order: links, columns that other tables have too, and counters."""
    profiles = data.profiles[table.key]
    stored = [c for c in table.columns if not c.computed]
    typed = [c.name for c in stored if c.type in TIME_TYPES or may_refer(c.type, profiles[c.name])]
    columns = [name for name in typed if profiles[name].complete and profiles[name].distinct > 1]
    # A set with a column that is unique by itself is not minimal. Links are kept all the same, because the key of a
    # table that joins others may consist of all its links.
    columns = [name for name in columns if name in linked or not _is_unique(data, table, name)]
    strong = [name for name in columns if name in linked or _is_shared(data, table, name)]
    weak = [name for name in columns if name not in strong and _may_number_rows(data, table, name)]
    sets = [s for size in (2, 3) for s in combinations(strong, size)]
    sets += [(*some, other) for size in (1, 2) for some in combinations(strong, size) for other in weak]
    sets = [s for s in sets if math.prod(profiles[name].distinct for name in s) >= 0.8 * data.rows(table)]
    return sorted(sets, key=len)[:MAX_COMBINATIONS]


def _is_unique(data: Profiler, table: Table, column: str) -> bool:
    """True if a column without NULLs has hardly any duplicates; a DATE has none at all, as days repeat by chance."""
    days = table.column(column).type == "DATE"
    repeated = days and data.has_duplicates(table, (column,), data.rows(table))
    return data.profiles[table.key][column].maybe_unique and not repeated


def _is_shared(data: Profiler, table: Table, column: str) -> bool:
    """True for a text, a time, a year or a column with the name of a key, if another table has a column of its name."""
    type_ = table.column(column).type
    if not (is_key_name(column) or type_ in TIME_TYPES or words(column)[-1:] == ("year",) or type_ == "VARCHAR"):
        return False
    others = (other for other in data.schema.tables.values() if other.key != table.key)
    return any(data.column_like(other, data.plain(table.key, column)) for other in others)


def _may_number_rows(data: Profiler, table: Table, column: str) -> bool:
    """True for columns that can distinguish the rows of one parent: dates, line numbers, years, parts of a key."""
    type_, parts = table.column(column).type, words(data.plain(table.key, column))
    if type_ in TIME_TYPES or is_key_name(column):
        # An end may still change, so a start may be part of a key, but not an end.
        return type_ not in TIME_TYPES or not set(parts) & LATER_WORDS
    counts = bool({*parts} & _COUNTERS) or any(parts[-1:] and parts[-1].endswith(word) for word in ("number", "seq"))
    return type_ in INTEGER_TYPES and counts


def _expected_pairs(data: Profiler, table: Table, columns: Iterable[str]) -> float:
    """How many pairs of rows would be equal in these columns if the columns were independent."""
    rows = data.rows(table)
    return rows * (rows - 1) / 2 / math.prod(data.profiles[table.key][name].distinct for name in columns)


def _identifies(data: Profiler, table: Table, columns: tuple[str, ...]) -> bool:
    if data.rows(table) > 2 * QUICK_ROWS and data.has_duplicates(table, columns, QUICK_ROWS):
        return False
    return key_counts(data.con, data.catalog, table, columns).problem is None


def _composite_proposal(data: Profiler, table: Table, columns: tuple[str, ...], *, smallest: bool) -> KeyProposal:
    """The proposal of a set that identifies the rows; `smallest` says that no other such set is known.

    The key of a table that joins others may consist of all its links, unless a link and a time are enough.
    """
    links = data.schema.links_from(table.key)
    linked = {c for link in links for c in link.child_columns}
    joins = smallest and consists_of_links(table, links)
    by_values = joins or _expected_pairs(data, table, columns) >= MIN_COLLISIONS
    users = list(_tables_with(data, table, columns))
    confidence = 0.6 + (0.25 if by_values else 0.0) + (0.05 if set(columns) <= linked else 0.0)
    confidence += 0.05 if users else 0.0
    evidence = (
        f"together unique and never NULL in {data.rows(table):,} rows; no single column with the name of a key is"
    )
    evidence += f"; {', '.join(users)} has the same columns" if users else ""
    evidence += "" if by_values else "; so few rows may be unique by chance"
    return KeyProposal(table.key, columns, evidence, round(confidence, 2))


def _tables_with(data: Profiler, table: Table, columns: tuple[str, ...]) -> Iterator[str]:
    """Other tables that have columns of all these names, whose values are found in `table`."""
    for other in data.schema.tables.values():
        names = [data.column_like(other, data.plain(table.key, column)) for column in columns]
        if other.key == table.key or None in names:
            continue
        link = Link(other.key, tuple(name for name in names if name), table.key, columns, "inferred")
        if data.comparable(link):
            values, found = data.values_found(link)
            if values and found >= 0.95 * values:
                yield other.key
