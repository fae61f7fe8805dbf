"""Find entities that no table lists: columns that hold the same names, such as the teams of games, or ids of users.

In a table without any link, codes such as `CAMIS` count too, although their name is not that of an id, because every
question needs an entity.

The results are hints and never stored, because only the user knows whether questions are about these names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from relsql.schema.declared.text import columns_text
from relsql.schema.discovery.names import PLAIN_WORDS, named_entity, words
from relsql.schema.discovery.profile import Profiler, may_refer
from relsql.schema.tables import Column, Link, Schema, Table
from relsql.schema.times.readings import find_reading
from relsql.sql_text import ident

FEWEST_NAMES = 5
"""A column with fewer distinct names holds codes, such as sizes or grades."""

ROWS_PER_NAME = 3
"""Names that occur less often are more likely free texts, or the names of the rows themselves."""

SAME = 0.8
"""At least this share of a column's names must be found in the main column of its group."""

FEWEST_IDS = 20
"""A column with fewer distinct ids identifies kinds of things, not the things themselves."""

CODED = 0.9
"""In a column of codes, at least this share of the values has three or more digits, and no space."""

NUMERIC = 0.8
"""If more than this share of texts is numbers, they are measures rather than names."""

MAX_HINTS = 3


@dataclass(frozen=True, slots=True)
class SharedValues:
    """Columns, as (table, column), that hold the same names or ids, and a name for the entity that they identify."""

    name: str
    columns: tuple[tuple[str, str], ...]

    @property
    def declaration(self) -> str:
        """The value of the option `--entity` that declares the entity."""
        return f"{self.name}={','.join(columns_text(*each) for each in self.columns)}"

    def __str__(self) -> str:
        return ", ".join(f"{table}({column})" for table, column in self.columns)


def shared_values(data: Profiler, removed: tuple[Link, ...] = ()) -> tuple[SharedValues, ...]:
    """The groups of columns without a link that hold the same names or ids, the largest group first.

    A single column of ids is a group too, because its name says that there is something with an id.

    Args:
        data: the profiles of the tables.
        removed: links that the user has removed, whose columns are not offered either.
    """
    linked = {(link.child, name) for link in (*data.schema.links, *removed) for name in link.child_columns}
    groups: dict[str, list[tuple[str, str]]] = {}
    for table, column in _names(data, linked):
        groups.setdefault(words(column)[-1], []).append((table, column))
    found = [
        SharedValues(_entity_name(data.schema, word), columns)
        for word, group in groups.items()
        if len(columns := _alike(data, group)) > 1
    ]
    ids: dict[str, list[tuple[str, str]]] = {}
    often: dict[str, None] = {}
    for table, column, repeated in _ids(data, linked):
        ids.setdefault(named_entity(column), []).append((table, column))
        often |= {named_entity(column): None} if repeated else {}
    found += [SharedValues(_entity_name(data.schema, name), _alike(data, ids[name])) for name in often]
    named = {table for each in found for table, _ in each.columns}
    found += [
        SharedValues(_entity_name(data.schema, words(column)[-1]), ((table, column),))
        for table, column in _codes(data)
        if table not in named
    ]
    return tuple(sorted(found, key=lambda each: -len(each.columns))[:MAX_HINTS])


def _names(data: Profiler, linked: set[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The text columns that may name an entity: they have no link, and their names occur again and again."""
    for table in data.schema.tables.values():
        for column in table.columns:
            profile, parts = data.profiles[table.key][column.name], words(column.name)
            names = column.type == "VARCHAR" and may_refer(column.type, profile) and profile.distinct >= FEWEST_NAMES
            free = (table.key, column.name) not in linked and table.primary_key != (column.name,)
            often = profile.values >= ROWS_PER_NAME * profile.distinct
            named = bool(parts) and parts[-1] not in PLAIN_WORDS
            if names and free and often and named and not _is_measured(data, table, column):
                yield table.key, column.name


def _ids(data: Profiler, linked: set[tuple[str, str]]) -> Iterator[tuple[str, str, bool]]:
    """The columns without a link that hold ids according to their name, and whether the ids occur again and again."""
    for table in data.schema.tables.values():
        for column in table.columns:
            profile, named = data.profiles[table.key][column.name], named_entity(column.name)
            free = (table.key, column.name) not in linked and table.primary_key != (column.name,)
            often = profile.values >= ROWS_PER_NAME * profile.distinct >= ROWS_PER_NAME * FEWEST_IDS
            if named and free and may_refer(column.type, profile):
                yield table.key, column.name, often


def _codes(data: Profiler) -> Iterator[tuple[str, str]]:
    """The text columns, in tables without any link, whose values look like codes and occur again and again."""
    for table in data.schema.tables.values():
        if data.schema.links_from(table.key) or data.schema.links_to(table.key):
            continue
        for column in table.columns:
            profile, parts = data.profiles[table.key][column.name], words(column.name)
            often = profile.values >= ROWS_PER_NAME * profile.distinct >= ROWS_PER_NAME * FEWEST_IDS
            named = bool(parts) and parts[-1] not in PLAIN_WORDS and table.primary_key != (column.name,)
            if column.type != "VARCHAR" or not often or not named or _is_time(data, table, column):
                continue
            # A text with fewer digits is a measure.
            coded = f"regexp_matches({ident(column.name)}, '^[^ ]*[0-9][^ ]*[0-9][^ ]*[0-9][^ ]*$')"
            if data.share_of(table, coded) >= CODED:
                yield table.key, column.name


def _is_measured(data: Profiler, table: Table, column: Column) -> bool:
    """True for text that reads as numbers or as a time."""
    number = f"TRY_CAST({ident(column.name)} AS DOUBLE) IS NOT NULL"
    return data.share_of(table, number) > NUMERIC or _is_time(data, table, column)


def _is_time(data: Profiler, table: Table, column: Column) -> bool:
    """True for text that reads as a time, such as years."""
    return find_reading(data.con, data.catalog, table, column, frozenset(words(column.name))) is not None


def _alike(data: Profiler, group: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The largest part of a group whose names are found in one of its columns, including that main column."""

    def is_like(other: tuple[str, str], main: tuple[str, str]) -> bool:
        values, found = data.values_found(Link(other[0], (other[1],), main[0], (main[1],), "inferred"))
        return found >= SAME * values > 0

    alike = (tuple(each for each in group if each == main or is_like(each, main)) for main in group)
    return max(alike, key=len)


def _entity_name(schema: Schema, word: str) -> str:
    """The plural of a word, as a name that no table has."""
    name = f"{word[:-1]}ies" if word.endswith("y") and word[-2:-1] not in "aeiou" else f"{word}s"
    while schema.find(name):
        name += "_named"
    return name
