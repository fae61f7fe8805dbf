"""What the gather query should answer, found with lists, dicts and loops over tables in memory."""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from relsql.gather.layout import DATA_AGE, counts_name, segments
from relsql.gather.node_inputs import NodeInputs
from relsql.gather.paths import Path
from relsql.schema.tables import Link, Schema, Table
from relsql.schema.visibility import VisibilityRule
from relsql.sql_text import ident, literal, qualified

Row = dict[str, Any]
Seed = tuple[Any, datetime.datetime]
# The last is the end of the data
Delayed = tuple[Any, datetime.datetime, datetime.datetime]
# (rank, numbers of all segments, codes of all segments)
Gathered = tuple[int, tuple[float | None, ...], tuple[int, ...]]
# By column: the rows of a path, and its counts (None where it has no row)
Answer = dict[str, Any]


@dataclass(frozen=True)
class Database:
    """Tables with their rows, in storage order; `rowid` is the position."""

    schema: Schema
    rows: dict[str, list[Row]]

    def create(self, con: duckdb.DuckDBPyConnection, catalog: str, *, reverse_keyed: bool = False) -> None:
        con.execute(f"ATTACH ':memory:' AS {ident(catalog)}")
        for table in self.schema.tables.values():
            if table.schema_name != "main":
                con.execute(f"CREATE SCHEMA IF NOT EXISTS {qualified(catalog, table.schema_name)}")
            columns = ", ".join(f"{ident(c.name)} {c.type}" for c in table.columns)
            con.execute(f"CREATE TABLE {table.sql(catalog)} ({columns})")
            rows = self.rows[table.key]
            rows = rows[::-1] if reverse_keyed and table.primary_key else rows
            values = ", ".join("(" + ", ".join(literal(row[c]) for c in table.column_names) + ")" for row in rows)
            if rows:
                con.execute(f"INSERT INTO {table.sql(catalog)} VALUES {values}")

    def visible(self, table: Table, until: datetime.datetime) -> list[Row]:
        """Rows that are known at `until` (inclusive); a row without time is not, in a table that has times."""
        time = table.time_column
        return [row for row in self.rows[table.key] if time is None or (row[time] is not None and row[time] <= until)]

    def ended(self, until: datetime.datetime) -> Database:
        """The database without the rows that come later."""
        return replace(self, rows={table.key: self.visible(table, until) for table in self.schema.tables.values()})


class Reference:
    def __init__(
        self,
        database: Database,
        paths: tuple[Path, ...],
        inputs: dict[str, NodeInputs],
        rule: VisibilityRule = "at-or-before",
    ) -> None:
        self.database, self.schema = database, database.schema
        self.paths, self.inputs, self.rule = paths, inputs, rule

    def visible(self, table: Table, as_of: datetime.datetime) -> list[Row]:
        """The rows that a seed sees, except its own row, which it also sees at as_of itself."""
        strictly = datetime.timedelta(microseconds=1 if self.rule == "before" else 0)
        return self.database.visible(table, as_of - strictly)

    def gather(self, seed: Seed) -> Answer:
        entity_id, as_of = seed
        table = self.schema.table(self.paths[0].table)
        key = table.primary_key[0]
        entity = [r for r in self.database.visible(table, as_of) if r[key] == entity_id and entity_id is not None]
        answer: Answer = {}
        for path in self.paths:
            rows = self._walk(path, entity[0], as_of) if entity else []
            listed = enumerate(rows[: path.fanout], start=1)
            answer[path.name] = Counter((rank, *self._values(path, row, as_of)) for rank, row in listed)
            if path.counted:
                answer[counts_name(path.name)] = self._counts(path, rows, as_of) if rows else None
        return answer

    def _walk(self, path: Path, entity: Row, as_of: datetime.datetime) -> list[Row]:
        """All visible rows at the end of the path, latest first."""
        if path.kind == "entity":
            return [entity]
        first = path.links[0]
        if path.kind == "parents":
            return self._parents(first, entity, as_of)
        if path.kind == "siblings":
            return self._latest(path.links[1], self._parents(first, entity, as_of), as_of)
        children = self._latest(first, [entity], as_of)
        if path.kind == "children":
            return children
        if path.kind == "grandchildren":
            fanout = next(p.fanout for p in self.paths if p.kind == "children" and p.links == (first,))
            return self._latest(path.links[1], children[:fanout], as_of)
        hubs = self._parents(path.links[1], children[0], as_of) if children else []
        return self._latest(path.links[2], hubs, as_of)

    def _latest(self, link: Link, parents: list[Row], as_of: datetime.datetime) -> list[Row]:
        """The visible rows that point at any of `parents`, latest first."""
        table = self.schema.table(link.child)
        keys = [tuple(parent[c] for c in link.parent_columns) for parent in parents]
        rows = [r for r in self.visible(table, as_of) if _known(r, link.child_columns) in keys]
        position = {id(row): i for i, row in enumerate(self.database.rows[table.key])}

        def order(row: Row) -> tuple[Any, ...]:
            key = tuple(row[c] for c in table.primary_key) or (position[id(row)],)
            return (row[table.time_column], *key) if table.time_column else key

        return sorted(rows, key=order, reverse=True)

    def _parents(self, link: Link, row: Row, as_of: datetime.datetime) -> list[Row]:
        key = _known(row, link.child_columns)
        parents = self.visible(self.schema.table(link.parent), as_of)
        return [p for p in parents if tuple(p[c] for c in link.parent_columns) == key and key is not None]

    def _counts(self, path: Path, rows: list[Row], as_of: datetime.datetime) -> tuple[int, ...]:
        times = [row.get(self.schema.table(path.table).time_column or "") for row in rows]
        starts = [as_of - datetime.timedelta(days=days) for days in path.count_days]
        return (len(rows), *(sum(time > start for time in times) for start in starts))

    def _newest(self, as_of: datetime.datetime) -> datetime.datetime | None:
        """The latest event of any table."""
        timed = [table for table in self.schema.tables.values() if table.time_column]
        times = [row[table.time_column or ""] for table in timed for row in self.visible(table, as_of)]
        return max(times, default=None)

    def _values(self, path: Path, row: Row, as_of: datetime.datetime) -> tuple[Any, ...]:
        numbers: list[float | None] = []
        codes: list[int] = []
        for segment in segments(path, self.inputs):
            found = self._parents(segment.link, row, as_of) if segment.link else [row]
            numbers.append(1.0 if found else 0.0)
            source = found[0] if found else {}
            for number in segment.inputs.numbers:
                value = self._newest(as_of) if number == DATA_AGE else source.get(number.column)
                age = number.is_age
                numbers.append((as_of - value) / datetime.timedelta(days=1) if age and value is not None else value)
            for category in segment.inputs.categories:
                value = source.get(category.column)
                codes.append(category.values.index(value) + 1 if value in category.values else 0)
            if segment.has_text:
                text = "".join(f"<attribute>{c}<value>{source.get(c) or ''}" for c in segment.inputs.text_columns)
                name = self.schema.table(segment.inputs.table).name
                codes.append(len(f"<table>{name}{text}") if found else 0)
        return tuple(map(rounded, numbers)), tuple(codes)


def rounded(number: float | None) -> float | None:
    """To four digits: numbers are FLOATs."""
    return None if number is None else float(f"{number:.4g}")


def _known(row: Row, columns: tuple[str, ...]) -> tuple[Any, ...] | None:
    key = tuple(row[c] for c in columns)
    return None if None in key else key
