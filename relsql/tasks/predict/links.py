"""The way from an entity to the rows of a table: the links that are followed, hop by hop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from relsql.database.names import join_name, stored_name
from relsql.errors import TaskError, nearest
from relsql.hints import command
from relsql.schema.declared.text import columns_text, table_text
from relsql.schema.tables import Link, Schema, Table
from relsql.tasks.predict.syntax import Aggregate, Name
from relsql.tasks.predict.tokens import line_error, quoted_name

MAX_HOPS = 4
"""A longer way says little about its entity, and a large schema has very many of them."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One link that is followed, from parent to child (`down`) or from child to parent."""

    link: Link
    down: bool

    @property
    def table(self) -> str:
        """The table that it leads to."""
        return self.link.child if self.down else self.link.parent

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table that it comes from."""
        return self.link.parent_columns if self.down else self.link.child_columns

    def on_sql(self, here: str, there: str) -> str:
        """The condition that joins rows of both tables; `here` is the alias of the table that it comes from."""
        return self.link.on_sql(there, here) if self.down else self.link.on_sql(here, there)


Way = tuple[Hop, ...]
"""The hops from the entity to the aggregated table; none if this is the entity table itself."""


def meets_rows_twice(way: Way) -> bool:
    """True if a row can be reached from one entity in several ways: up to a parent that several children share."""
    return any(first.down and not second.down for i, first in enumerate(way) for second in way[i + 1 :])


def find_way(line: str, schema: Schema, entity: Table, goal: Table, aggregate: Aggregate) -> Way:
    """The shortest way from the entity to the table of an aggregate, through the links that its VIA names.

    Raises:
        TaskError: there is no such way, there are two, or VIA names no foreign key.
    """
    via = [_foreign_key(line, schema, name) for name in aggregate.via]
    if entity.key == goal.key and not via:
        return ()
    ways = _shortest(schema, entity.key, goal.key, via)
    if len(ways) == 1:
        return ways[0]
    at = aggregate.name.at
    if ways:
        listed = _via_texts(ways)
        problem = f"{len(ways)} ways are equally short from {entity.key} to {goal.key}"
        raise line_error(line, at, problem, f"{listed}, after {aggregate.name}")
    if via and (others := _shortest(schema, entity.key, goal.key, [])):
        named = ", ".join(map(str, aggregate.via))
        problem = f"no way from {entity.key} to {goal.key} goes along {named}"
        raise line_error(line, aggregate.via[0].at, problem, f"{_via_texts(others)}, or another table")
    raise _unreachable(line, schema, entity, goal, at)


def _unreachable(line: str, schema: Schema, entity: Table, goal: Table, at: int) -> TaskError:
    reached = {hop.table for way in all_ways(schema, entity.key, None) for hop in way}
    link = f"{columns_text(goal.key, 'COLUMN')} -> {table_text(entity.key)}"
    return line_error(
        line,
        at,
        f"no links lead from {entity.key} to {goal.key} within {MAX_HOPS} hops",
        f"a table that they lead to: {', '.join(sorted(reached))}" if reached else f"a link to or from {entity.key}",
        command("init", "FILE", "--link", link),
    )


def _foreign_key(line: str, schema: Schema, name: Name) -> tuple[str, str]:
    """The (table, column) of a foreign key that VIA names, as stored."""
    table = schema.find(join_name(*name.parts))
    if table is None:
        written = ".".join(map(quoted_name, name.parts))
        raise line_error(line, name.at, f"there is no table {written}", nearest(written, schema.tables))
    columns = {column for link in schema.links_from(table.key) for column in link.child_columns}
    found = stored_name(name.column, columns)
    if found is None:
        expected = nearest(name.column, columns) if columns else f"a table with foreign keys, which {table.key} lacks"
        raise line_error(line, name.at, f"{name} is not a foreign key", expected)
    return table.key, found


def _shortest(schema: Schema, start: str, goal: str, via: list[tuple[str, str]]) -> list[Way]:
    found: list[Way] = []
    for way in all_ways(schema, start, goal):
        if found and len(way) > len(found[0]):
            break
        used = {(hop.link.child, column) for hop in way for column in hop.link.child_columns}
        if used.issuperset(via):
            found.append(way)
    return found


def all_ways(schema: Schema, start: str, goal: str | None) -> Iterator[Way]:
    """The ways from a table, the shortest first, that visit no table twice; those to `goal` only, if it is given."""
    open_ways: list[Way] = [()]
    for _ in range(MAX_HOPS):
        longer = [(*way, hop) for way in open_ways for hop in _hops(schema, way[-1].table if way else start)]
        # A way may return to the table that it comes from: from an employee to the employees of the same manager.
        longer = [way for way in longer if _is_simple(way, start) or way[-1].table == start == goal]
        yield from (way for way in longer if goal in (None, way[-1].table))
        open_ways = [way for way in longer if way[-1].table not in (start, goal)]


def _is_simple(way: Way, start: str) -> bool:
    visited = [start, *(hop.table for hop in way)]
    return len(set(visited)) == len(visited)


def _hops(schema: Schema, table: str) -> list[Hop]:
    """The links of a table; one to itself is followed to the rows that point at a row."""
    down = [Hop(link, True) for link in schema.links_to(table)]
    return down + [Hop(link, False) for link in schema.links_from(table) if link.parent != table]


def _via_texts(ways: list[Way]) -> str:
    """For each way the VIA that chooses it: the foreign key that no other way has, or all of them."""
    keys = [[(hop.link.child, hop.link.child_columns[0]) for hop in way] for way in ways]
    texts = []
    for mine in keys:
        own = [key for key in mine if sum(key in other for other in keys) == 1]
        chosen = own[:1] or mine
        texts.append("VIA " + ", ".join(".".join(map(quoted_name, key)) for key in chosen))
    return " or ".join(sorted(texts))
