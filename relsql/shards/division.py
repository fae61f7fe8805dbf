"""How tables are divided into parts: by a hash of the entity's key.

A row goes to the parts of the entities that it belongs to by the links of the entity's own paths. Rows that reach an
entity only through a hub are not divided: the messages of all hubs are computed beforehand. Tables that rows point at
are not divided either, because rows of several parts point at the same row; every part reads them whole. So does a
table of the entity's own rows if other rows that are read point at it. Therefore no path crosses parts.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from relsql.gather.row_plan import RowPlan
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Link, Table
from relsql.schema.visibility import visible_sql
from relsql.sql_text import ident, indented, literal

PART = "relsql_part"
"""The column with the number of a part, 0 to shards - 1."""

Route = tuple[Link, ...]
"""The links from the entity to rows that belong to it; empty for the entity's own row."""


def divided_tables(plan: RowPlan) -> dict[str, tuple[Route, ...]]:
    """For each divided table, the routes by which its rows belong to entities."""
    routes: dict[str, list[Route]] = {plan.entity.key: [()]}
    whole: set[str] = set()
    for path in plan.paths:
        if path.shared:
            whole.add(path.links[-2].parent)
            continue
        whole |= {link.parent for link in path.lookups}
        if path.kind == "parents":
            whole.add(path.table)
        elif path.links:
            routes.setdefault(path.table, []).append(path.links)
    return {key: tuple(found) for key, found in routes.items() if key not in whole}


def whole_tables(plan: RowPlan) -> list[Table]:
    """The tables that every part reads whole, without those that only hubs read."""
    read = {plan.entity.key}
    for path in plan.paths:
        read |= {path.links[-2].parent} if path.shared else {path.table, *(link.parent for link in path.lookups)}
    return [plan.table(key) for key in sorted(read - divided_tables(plan).keys())]


@dataclass(frozen=True, slots=True)
class Division:
    """The queries that divide the tables of a plan.

    Attributes:
        plan: the plan of rows.
        catalog: the database that holds the tables.
        shards: number of parts.
    """

    plan: RowPlan
    catalog: str
    shards: int

    def is_in_part_sql(self, row: str, part: int) -> str:
        """The condition that a row of the entity table, by its alias, is in a part."""
        return f"{self._part_sql([f'{row}.{ident(column)}' for column in self.plan.entity.primary_key])} = {part}"

    def rows_sql(self, key: str, until: datetime.datetime) -> str:
        """A query for the rows of a divided table, each once for each of its parts, with their number as `PART`.

        Rows after `until`, and rows that belong to no entity, are left out.
        """
        table = self.plan.table(key)
        owners = [self._owners(route, "r", f"owners{i}") for i, route in enumerate(divided_tables(self.plan)[key])]
        parts = [parts for parts, _ in owners]
        # A row that belongs to two entities of one part is in the part once.
        own = parts[0] if len(parts) == 1 else f"list_distinct(flatten([{', '.join(parts)}]))"
        visible = visible_sql(table, "r", literal(until))
        return (
            f"SELECT {', '.join(f'r.{ident(column)}' for column in table.column_names)}, unnest({own}) AS {PART}\n"
            f"FROM {self._source(table)} r\n{''.join(join for _, join in owners)}"
            f"{f'WHERE {visible}' if visible else ''}"
        )

    def _owners(self, route: Route, row: str, alias: str) -> tuple[str, str]:
        """The parts of a row at the end of a route as an expression, INTEGER[], and the join that it needs."""
        entity = self.plan.entity
        if not route:
            return self._parts_of_key([f"{row}.{ident(column)}" for column in entity.primary_key]), ""
        *before, link = route
        if not before and set(link.parent_columns) == set(entity.primary_key):
            mine = dict(zip(link.parent_columns, link.child_columns, strict=True))
            # Hashes depend on the type, so values are cast to the key's. One that cannot be cast belongs to no entity.
            columns = [(f"{row}.{ident(mine[name])}", entity.column(name).type) for name in entity.primary_key]
            return self._parts_of_key([f"TRY_CAST({value} AS {type_})" for value, type_ in columns]), ""
        parts, join = self._owners(tuple(before), "p", f"{alias}_")
        keys = [f"k{i}" for i in range(len(link.parent_columns))]
        named = ", ".join(f"p.{ident(column)} AS {key}" for column, key in zip(link.parent_columns, keys, strict=True))
        parent = f"FROM {self._source(self.plan.table(link.parent))} p\n{join}"
        by_key = f"SELECT {named}, unnest({parts}) AS part\n{parent}"
        grouped = (
            f"SELECT {', '.join(keys)}, list(DISTINCT part) AS parts\n"
            f"FROM (\n{indented(by_key)}\n)\nGROUP BY {', '.join(keys)}"
        )
        pairs = zip(link.child_columns, keys, strict=True)
        on = " AND ".join(f"{alias}.{key} = {row}.{ident(column)}" for column, key in pairs)
        return f"coalesce({alias}.parts, [])", f"LEFT JOIN (\n{indented(grouped)}\n) {alias} ON {on}\n"

    def _parts_of_key(self, key: Sequence[str]) -> str:
        known = " AND ".join(f"{value} IS NOT NULL" for value in key)
        return f"CASE WHEN {known} THEN [{self._part_sql(key)}] ELSE [] END"

    def _part_sql(self, key: Sequence[str]) -> str:
        """The part of an entity as an INTEGER expression."""
        return f"CAST(hash({', '.join(key)}) % {self.shards} AS INTEGER)"

    def _source(self, table: Table) -> str:
        return relation_sql(table, self.catalog, arrays_as_text=True)
