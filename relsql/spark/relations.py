"""The relations that are read for the tables of a model, in Spark's SQL: only columns that are used, times as numbers.

The counterpart of `relsql.schema.relations` for DuckDB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relsql.gather.row_plan import RowPlan
from relsql.schema.tables import Link, Table
from relsql.spark.dialect import column_of, ident, stored_sql
from relsql.sql_text import Cte, indented


@dataclass(frozen=True, slots=True)
class Relations:
    """What is read for each table.

    Attributes:
        plan: the plan of rows to read.
        stored: by key, the relation with the rows of each table that is stored, in SQL.
    """

    plan: RowPlan
    stored: Mapping[str, str]

    def name(self, key: str) -> str:
        """The name of the CTE with a table's rows."""
        return ident(f"rows of {key}")

    def ctes(self) -> list[Cte]:
        """A CTE for each table that is read."""
        needed = read_columns(self.plan)
        comment = "The columns that are read; times are microseconds since 1970."
        return [
            Cte(self.name(key), self._sql(self.plan.table(key), columns), comment) for key, columns in needed.items()
        ]

    def _sql(self, table: Table, columns: tuple[str, ...]) -> str:
        if table.values_of:
            return self._values_sql(table)
        value, row_time = column_of("stored"), table.row_time
        found = [
            f"{stored_sql(table.column(name), value(name))} AS {ident(name)}"
            for name in columns
            if not (row_time and name == table.time_column)
        ]
        source = f"{self.stored[table.key]} stored"
        if row_time and row_time.header and row_time.link and table.time_column:
            header, link = row_time.header, row_time.link
            assert header.time_column is not None
            inner = self._sql(header, tuple(dict.fromkeys((*link.parent_columns, header.time_column))))
            on = equal_sql("stored", link.child_columns, "header", link.parent_columns)
            found.append(f"header.{ident(header.time_column)} AS {ident(table.time_column)}")
            source += f"\nLEFT JOIN (\n{indented(inner)}\n) header ON {on}"
        return f"SELECT {', '.join(found)}\nFROM {source}"

    def _values_sql(self, table: Table) -> str:
        """The distinct values of the columns that a table stands for, and when each first appears."""
        key, time = ident(table.columns[0].name), table.time_column
        parts = []
        for each in table.values_of:
            inner = self._sql(each.table, _value_columns(each.table, each.column, timed=time is not None))
            seen = f", v.{ident(each.table.time_column)} AS t" if time and each.table.time_column else ""
            known = f"WHERE v.{ident(each.column)} IS NOT NULL"
            parts.append(f"SELECT v.{ident(each.column)} AS {key}{seen}\nFROM (\n{indented(inner)}\n) v\n{known}")
        union = "\nUNION ALL\n".join(parts)
        first = f", min(v.t) AS {ident(time)}" if time else ""
        return f"SELECT v.{key}{first}\nFROM (\n{indented(union)}\n) v\nGROUP BY v.{key}"


def _value_columns(table: Table, column: str, *, timed: bool) -> tuple[str, ...]:
    return tuple(dict.fromkeys((column, *((table.time_column,) if timed and table.time_column else ()))))


def equal_sql(child: str, mine: tuple[str, ...], parent: str, theirs: tuple[str, ...]) -> str:
    """The condition that columns of two relations are equal."""
    pairs = zip(mine, theirs, strict=True)
    return " AND ".join(f"{child}.{ident(one)} = {parent}.{ident(other)}" for one, other in pairs)


def row_key(table: Table) -> tuple[str, ...]:
    """The columns that tell rows apart: the key, or all that are stored, as for a view over files in DuckDB."""
    return table.primary_key or table.stored_names


def read_columns(plan: RowPlan) -> dict[str, tuple[str, ...]]:
    """By table, the columns that a plan reads: keys, links, times, and what the network reads."""
    links: dict[Link, None] = dict.fromkeys(link for path in plan.paths for link in (*path.links, *path.lookups))
    needed: dict[str, list[str]] = {plan.entity.key: []}
    for link in links:
        needed.setdefault(link.child, []).extend(link.child_columns)
        needed.setdefault(link.parent, []).extend(link.parent_columns)
    found = {}
    for key, columns in needed.items():
        table = plan.table(key)
        inputs = plan.inputs[key].columns if key in plan.inputs else ()
        time = (table.time_column,) if table.time_column else ()
        wanted = {*row_key(table), *columns, *time, *inputs}
        found[key] = tuple(name for name in table.column_names if name in wanted)
    # The newest event of a model that reads how far data lag is one of any of its tables.
    for table in plan.tables() if plan.paths[0].data_age else ():
        if table.key not in found and table.time_column:
            found[table.key] = (table.time_column,)
    return found
