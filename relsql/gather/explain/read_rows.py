"""The rows that a score reads, in SQL: which rows of which tables each seed reaches, and on which path first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from relsql.gather.paths import Path
from relsql.gather.row_plan import RowPlan, row_key
from relsql.gather.sql.latest_rows import ENTITY, SEED, LatestRows
from relsql.gather.sql.path_columns import Latest
from relsql.gather.sql.ranking import Ctes, columns_of, struct_sql
from relsql.gather.sql.removals.conditions import id_sql, row_id_sql, table_number
from relsql.schema.entity_keys import key_parts
from relsql.schema.tables import Table
from relsql.schema.times.events import time_sql
from relsql.sql_text import COMMA, Cte, ident, indented, literal

ROW_COLUMNS = ("out_table", "out_row", "place", "row_key", "row_time")
"""Columns of a row that is read: number of its table, its id, number of its place, key and time."""


@dataclass(frozen=True, slots=True)
class ReadRows:
    """Builds a query for the rows that seeds read: the latest rows of every path, and the rows that these point at.

    Attributes:
        rows: which rows are read; its plan must be `keyed`.
    """

    rows: LatestRows

    @classmethod
    def of(cls, rows: LatestRows) -> ReadRows:
        """For the rows of a model."""
        return cls(replace(rows, plan=replace(rows.plan, keyed=True)))

    @property
    def _plan(self) -> RowPlan:
        return self.rows.plan

    def places(self) -> list[tuple[str, Table]]:
        """The places where rows are reached, as people read them, each with the table of its rows, in numbered order.

        These are the paths and, for each, the links that its rows follow.
        """
        found = []
        for path in self._plan.paths:
            found.append((path.describe(), self._plan.table(path.table)))
            found += [(f"{path.describe()} -> {link.parent}", self._plan.table(link.parent)) for link in path.lookups]
        return found

    def ctes(self, seed_sql: str) -> Ctes:
        """CTEs up to `read`: each row that a seed reads once, with `_seed` and `ROW_COLUMNS`.

        The entity's own row is not among them: without it there would be no score.
        """
        ctes = self.rows.ctes(self, seed_sql)
        parts = [f"SELECT * FROM {ident(path.name)}" for path in self._plan.paths[1:]]
        parts += [f"SELECT * FROM {ident(self._plan.paths[0].name)}"] if self._plan.paths[0].lookups else []
        found = indented("\nUNION ALL\n".join(parts)) if parts else indented(self._nothing_sql())
        first = (
            f"SELECT {SEED}, out_table, out_row, min(place) AS place,\n"
            f"    any_value(row_key) AS row_key, any_value(row_time) AS row_time\n"
            f"FROM (\n{found}\n)\nGROUP BY {SEED}, out_table, out_row"
        )
        own = key_parts(self._plan.entity, f"seed.{ENTITY}")
        typed = [f"CAST({own[c]} AS {self._plan.entity.column(c).type})" for c in row_key(self._plan.entity)]
        entity = table_number(self._plan, self._plan.entity.key)
        read = (
            f"SELECT first.*\nFROM first\nJOIN seed USING ({SEED})\n"
            f"WHERE first.out_table <> {entity} OR first.out_row <> {id_sql(typed)}"
        )
        return [
            *ctes,
            Cte("first", first, "The rows that each seed reads, and where it reaches them first."),
            Cte("read", read, "Without the entity's own row."),
        ]

    def _nothing_sql(self) -> str:
        types = ("UINTEGER", "INTEGER", "UBIGINT", "INTEGER", "VARCHAR", "TIMESTAMP")
        columns = (f"CAST(NULL AS {kind}) AS {name}" for kind, name in zip(types, (SEED, *ROW_COLUMNS), strict=True))
        return f"SELECT {', '.join(columns)} WHERE false"

    def names(self, path: Path) -> list[str]:
        """The columns of a path's rows."""
        return list(ROW_COLUMNS)

    def needs_latest(self, path: Path) -> bool:
        """Always True: the rows are read from this CTE."""
        return True

    def needs_left(self, path: Path) -> bool:
        """Always True; here nothing is left out yet."""
        return True

    def common_ctes(self, found: Mapping[str, Latest]) -> Ctes:
        """None."""
        return []

    def single_ctes(self, path: Path, latest: str) -> Ctes:
        """A CTE with the one row of each seed, in the form of the last k rows of other paths."""
        if path.kind == "entity":
            return []
        seed = columns_of("self", (SEED, *self.rows.moments))
        columns = struct_sql(self._plan.table(path.table), self._plan.listed_columns(path))
        query = f"SELECT {seed}, {columns} AS r, 1 AS rank\n{self.rows.single_from(path)}"
        return [Cte(latest, query, "The one row of each seed.")]

    def ctes_of(self, path: Path, latest: Latest) -> Ctes:
        """CTEs for the rows of a path and the rows that they point at; the last one has the path's name."""
        if path.kind == "entity":
            return []
        rows = latest.rows
        group = columns_of(rows, latest.group)
        parts = [f"SELECT {group}, {self._row_sql(path, path.table, f'{rows}.r')}\nFROM {rows}"]
        for link in path.lookups:
            table = self._plan.table(link.parent)
            pairs = zip(link.parent_columns, link.child_columns, strict=True)
            on = " AND ".join(f"p.{ident(theirs)} = {rows}.r.{ident(mine)}" for theirs, mine in pairs)
            source = f"JOIN {self.rows.source(table)} p ON {on}{self.rows.and_visible(table, 'p', rows)}"
            row = self._row_sql(path, link.parent, "p", f"{path.describe()} -> {link.parent}")
            parts.append(f"SELECT {group}, {row}\nFROM {rows}\n{source}")
        met, comment = "\nUNION ALL\n".join(parts), "The path's rows, and the rows that they point at."
        if latest.hub is None:
            return [Cte(ident(path.name), met, comment)]
        found = f"{path.name}__met"
        spread = self.rows.spread_sql(ROW_COLUMNS, *latest.hub, found)
        return [Cte(found, met, comment), Cte(ident(path.name), spread, "The rows of each seed's hub.")]

    def _row_sql(self, path: Path, key: str, row: str, place: str = "") -> str:
        """`ROW_COLUMNS` of a row of a table, for a select list."""
        table = self._plan.table(key)
        number = [text for text, _ in self.places()].index(place or path.describe())
        time = time_sql(table, row) if table.time_column else "CAST(NULL AS TIMESTAMP)"
        values = (
            str(table_number(self._plan, key)),
            row_id_sql(table, row),
            str(number),
            key_text_sql(table, row),
            time,
        )
        return COMMA.join(f"{value} AS {name}" for value, name in zip(values, ROW_COLUMNS, strict=True))


def key_text_sql(table: Table, row: str) -> str:
    """The key of a row as people read it: `42`, or `7, 2021` for several columns; `row 3` for a table without a key."""
    keys = [f"CAST({row}.{ident(column)} AS VARCHAR)" for column in row_key(table)]
    if not table.primary_key and not table.is_view:
        return f"concat('row ', {row}.rowid)"
    return keys[0] if len(keys) == 1 else f"concat_ws({literal(', ')}, {', '.join(keys)})"
