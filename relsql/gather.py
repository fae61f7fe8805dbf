"""The gather query: for each seed (entity, as_of) the last k rows of every path, as lists that the network reads.

Training, evaluation and scoring all run the query built here; only the `seed` CTE differs. `relsql.latest` decides
which rows they are.

Result: one row per seed, with `_entity`, `_as_of`, and for each path a list of STRUCT(rank, n0, n1, ..., c0, c1, ...)
in any order: recency rank (1 = latest), FLOAT numbers, INTEGER codes. The list is NULL when there are no rows; all are
NULL when the entity does not exist or is not visible. Beside each list of several rows stands `<path>__counts`, a
STRUCT(w0, w1, ...): how many visible rows there are in all, and how many within each of the path's `count_days`.
Scoring asks for the message of a hub's rows in place of the rows, so that the network reads each hub once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from relsql.features import age_sql, category_sql, number_sql, text_sql
from relsql.latest import AS_OF, NEWEST, SEED, Latest, LatestRows, columns_of
from relsql.paths import Path
from relsql.segments import DATA_AGE, counts_name, segments
from relsql.sql import ident, indented

TOLD_BY_CODES = -1
"""Stands for the number of a text that the row's category codes tell."""


@dataclass(frozen=True, slots=True)
class Gather(LatestRows):
    """Builds the gather query of one model.

    Attributes:
        text_function: name of the function VARCHAR -> INTEGER that numbers row texts.
        coded_texts: a row whose category codes tell its text has `TOLD_BY_CODES` in place of the text's number.
        message_functions: by path that is shared, name of the function STRUCT(hub, rows, counts) -> message: the path's
            column is then the message of the seed's hub in place of the hub's rows. `hub` tells hubs and moments apart.
    """

    text_function: str
    coded_texts: bool = field(default=False, kw_only=True)
    message_functions: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    def qualified_columns(self) -> dict[str, str]:
        """The gathered columns as expressions within `query`'s select list."""
        return {name: f"{ident(path.name)}.{ident(name)}" for path in self.paths for name in self._columns_of(path)}

    def _columns_of(self, path: Path) -> list[str]:
        with_counts = path.counted and path.name not in self.message_functions
        return [path.name, counts_name(path.name)] if with_counts else [path.name]

    def _column_ctes(self, path: Path, latest: Latest) -> list[tuple[str, str]]:
        """The CTEs that end with the path's own: its columns for every seed."""
        if not path.counted:
            return [(ident(path.name), self._single_sql(path))]
        if latest.hub is None:
            return [(ident(path.name), self._listed_sql(path, latest.ranked))]
        rows = f"{path.name}__rows"
        return [(rows, self._hub_rows_sql(path, latest)), (ident(path.name), self._spread_sql(path, *latest.hub, rows))]

    def _single_ctes(self, path: Path, latest: str) -> list[tuple[str, str]]:
        """None: `_single_sql` reads the row by itself."""
        return []

    def _single_sql(self, path: Path) -> str:
        """The one row of each seed as a list, with what it points at."""
        struct = self._row_struct(path, "r", "1", f"self.{AS_OF}")
        return (
            f"SELECT self.{SEED}, list({struct}) AS {ident(path.name)}\n"
            f"{self._single_from(path)}\n"
            f"{self._newest_join(path, 'self')}{self._lookup_joins(path, 'r', 'self')}"
            f"GROUP BY self.{SEED}"
        )

    def _listed_sql(self, path: Path, ranked: str) -> str:
        """The list of each seed's last k rows with what they point at, and counts of all its rows."""
        latest = f"{ranked}.rank <= {path.fanout}"
        struct = self._row_struct(path, f"{ranked}.r", f"{ranked}.rank", f"{ranked}.{AS_OF}")
        # FILTER by itself would not keep DuckDB from making the struct of every row. Every group meets HAVING, which
        # lets DuckDB expect fewer lists than seeds: it then scores seeds as it reads them, 2,048 at a time on all
        # threads, and not lists as the aggregate gives them away, by fewer and sometimes on one thread. The seeds of
        # calls come out of an aggregate too, and in no fixed parts: there the lists are the better source.
        having = "" if self.per_call else "\nHAVING count(*) > 0"
        return (
            f"SELECT {ranked}.{SEED},\n"
            f"    list(CASE WHEN {latest} THEN {struct} END) FILTER (WHERE {latest}) AS {ident(path.name)},\n"
            f"    {self._counts_sql(path, f'{ranked}.r', ranked)} AS {ident(counts_name(path.name))}\n"
            f"FROM {ranked}\n"
            f"{self._lookup_joins(path, f'{ranked}.r', ranked)}"
            f"GROUP BY {ranked}.{SEED}{having}"
        )

    def _hub_rows_sql(self, path: Path, latest: Latest) -> str:
        """The list of each hub's rows with what they point at, and its counts; or the message made of both."""
        rows, counted, group = latest.rows, latest.counted, latest.group
        struct = self._row_struct(path, f"{rows}.r", f"{rows}.rank", f"{rows}.{AS_OF}")
        listed = (
            f"SELECT {columns_of(rows, group)}, list({struct}) AS rows\n"
            f"FROM {rows}\n"
            f"{self._lookup_joins(path, f'{rows}.r', rows)}"
            f"GROUP BY {columns_of(rows, group)}"
        )
        found = f"listed.rows AS {ident(path.name)},\n    {counted}.counts AS {ident(counts_name(path.name))}"
        if path.name in self.message_functions:
            function = self.message_functions[path.name]
            hub = f"hash({columns_of('listed', group)})"
            found = f"{function}({{hub: {hub}, rows: listed.rows, counts: {counted}.counts}}) AS {ident(path.name)}"
        return (
            f"SELECT {columns_of('listed', group)}, {found}\n"
            f"FROM (\n{indented(listed)}\n) listed\n"
            f"JOIN {counted} USING ({', '.join(group)})"
        )

    def _lookup_joins(self, path: Path, row: str, source: str) -> str:
        """Joins of the rows that a path's rows point at, one line each."""
        joins = ""
        for i, link in enumerate(path.lookups):
            parent = self._table(link.parent)
            pairs = zip(link.child_columns, link.parent_columns, strict=True)
            match = " AND ".join(f"p{i}.{ident(p)} = {row}.{ident(c)}" for c, p in pairs)
            joins += f"LEFT JOIN {self.source(parent)} p{i} ON {match}{self._visible(parent, f'p{i}', source)}\n"
        return joins

    def _row_struct(self, path: Path, row: str, rank: str, as_of: str) -> str:
        numbers: list[str] = []
        codes: list[str] = []
        for i, segment in enumerate(segments(path, self.inputs)):
            table = self._table(segment.inputs.table)
            alias = f"p{i - 1}" if segment.link else row
            present = f"{alias}.{ident(segment.link.parent_columns[0])} IS NOT NULL" if segment.link else "true"
            numbers.append(f"CAST({present} AS FLOAT)")
            for n in segment.inputs.numbers:
                number = age_sql(f"{NEWEST}.t", as_of) if n == DATA_AGE else number_sql(table, n, alias, as_of)
                numbers.append(f"CAST({number} AS FLOAT)")
            categories = [category_sql(category, alias) for category in segment.inputs.categories]
            codes += categories
            if segment.has_text:
                text = text_sql(table, segment.inputs, alias)
                number = f"{self.text_function}(CASE WHEN {present} THEN {text} END)"
                if self.coded_texts and segment.inputs.text_codes:
                    told = " AND ".join(f"{categories[position]} > 0" for position in segment.inputs.text_codes)
                    number = f"CASE WHEN {told} THEN {TOLD_BY_CODES} ELSE {number} END"
                codes.append(number)
        fields = [f"rank: CAST({rank} AS INTEGER)"]
        fields += [f"n{i}: {number}" for i, number in enumerate(numbers)]
        fields += [f"c{i}: {code}" for i, code in enumerate(codes)]
        return "{" + ", ".join(fields) + "}"
