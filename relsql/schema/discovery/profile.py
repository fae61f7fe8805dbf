"""Profile columns: counts per column, and how many values of one column are found in another.

One scan per table computes its profiles; values are looked up for bounded samples only. Nothing is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import duckdb

from relsql.database.cursors import one_row
from relsql.schema.discovery.names import same_words, without_prefix, words_of_tables
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Column, Link, Schema, Table
from relsql.schema.types import INTEGER_TYPES, TIME_TYPES, WHOLE_DOUBLES, type_family
from relsql.sql_text import ident

MAX_SAMPLED_VALUES = 100_000
"""The approximate number of distinct values of a column that are looked up in a parent."""

MAX_KEY_LENGTH = 64
"""The greatest mean length of texts that may be keys."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Counts of one column. `distinct` is approximate; `length` and `spaces` are means over the values' text.

    `low` and `high` are texts of the least and the greatest time or whole number; None where other values occur.
    """

    rows: int
    values: int
    distinct: int
    length: float
    spaces: float
    low: str | None
    high: str | None

    @property
    def complete(self) -> bool:
        """True if no row has a NULL in the column."""
        return self.values == self.rows

    @property
    def density(self) -> float:
        """Share of the integers from the lowest to the highest value that occur in the column; 0 for other values."""
        return self.distinct / self.width if self.width else 0.0

    @property
    def width(self) -> int:
        """Number of integers from the lowest to the highest value; 0 for other values."""
        if self.low is None or self.high is None or not re.fullmatch(r"-?\d+", self.low):
            return 0
        return int(self.high) - int(self.low) + 1

    @property
    def maybe_unique(self) -> bool:
        """True if an exact count is worthwhile: the approximate count is off by up to about 10 %."""
        return self.complete and self.distinct >= 0.8 * self.rows


@dataclass
class Profiler:
    """The database under inspection: its column profiles, and the schema as far as it is known."""

    con: duckdb.DuckDBPyConnection
    catalog: str
    schema: Schema
    profiles: dict[str, dict[str, Profile]] = field(init=False)
    plain_names: dict[str, dict[str, str]] = field(init=False)
    table_words: dict[str, tuple[str, ...]] = field(init=False)
    """The words of each table's name, by key, without those that all tables share."""
    _found: dict[Link, tuple[int, int]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        tables = self.schema.tables.values()
        self.profiles = {table.key: profile_columns(self.con, self.catalog, table) for table in tables}
        self.plain_names = {table.key: without_prefix(table.column_names) for table in tables}
        self.table_words = words_of_tables({table.key: table.name for table in tables})

    def plain(self, table: str, column: str) -> str:
        """A column's name without the prefix that all columns of its table share."""
        return self.plain_names[table][column]

    def column_like(self, table: Table, plain: str) -> str | None:
        """The column of a table with this name, ignoring shared prefixes and spelling; None if it has none."""
        return next((c.name for c in table.columns if same_words(self.plain(table.key, c.name), plain)), None)

    def rows(self, table: Table) -> int:
        """Number of rows of `table`."""
        return next(iter(self.profiles[table.key].values())).rows

    def learn_keys(self, keys: Iterable[tuple[str, tuple[str, ...]]]) -> None:
        """Add primary keys, given as (table, columns), to the schema."""
        tables = dict(self.schema.tables)
        for table, columns in keys:
            tables[table] = replace(tables[table], primary_key=columns)
        self.schema = replace(self.schema, tables=tables)

    def learn_links(self, links: Iterable[Link]) -> None:
        """Add links to the schema."""
        self.schema = replace(self.schema, links=self.schema.links + tuple(links))

    def forget_links(self, links: Iterable[Link]) -> None:
        """Take links out of the schema again."""
        gone = {*links}
        self.schema = replace(self.schema, links=tuple(link for link in self.schema.links if link not in gone))

    def one(self, query: str) -> tuple[int, ...]:
        """Return the only row of a query."""
        return one_row(self.con, query)

    def comparable(self, link: Link) -> bool:
        """True if the columns of a link can be compared as keys, and their values can be those of keys."""
        child, parent = self.schema.table(link.child), self.schema.table(link.parent)
        for mine, theirs in zip(link.child_columns, link.parent_columns, strict=True):
            types = child.column(mine).type, parent.column(theirs).type
            refers = may_refer(types[0], self.profiles[link.child][mine]) or types[0] in TIME_TYPES
            if type_family(types[0]) != type_family(types[1]) or not refers:
                return False
        return True

    def found_after_cast(self, link: Link) -> bool:
        """True if at least half of the child's values are found among the parent's once they have its type.

        The values are only read if one column is a text and the other a text, number or UUID; otherwise False.
        """
        child, parent = self.schema.table(link.child), self.schema.table(link.parent)
        mine, key = ident(link.child_columns[0]), ident(link.parent_columns[0])
        types = child.column(link.child_columns[0]).type, parent.column(link.parent_columns[0]).type
        if "VARCHAR" not in types or not {*types} <= {*INTEGER_TYPES, "DOUBLE", "UUID", "VARCHAR"}:
            return False
        type_ = types[1]
        sample = f"SELECT DISTINCT {mine} AS v FROM {relation_sql(child, self.catalog)} WHERE {mine} IS NOT NULL"
        sample += f" LIMIT {MAX_SAMPLED_VALUES}"
        keys = f"SELECT {key} AS k FROM {relation_sql(parent, self.catalog)}"
        values, found = self.one(
            f"SELECT count(*), count(*) FILTER (TRY_CAST(v AS {type_}) IN ({keys})) FROM ({sample})"
        )
        return found >= 0.5 * values > 0

    def has_duplicates(self, table: Table, columns: Iterable[str], rows: int) -> bool:
        """True if two of the first `rows` rows of `table` are equal in `columns`."""
        names = ", ".join(map(ident, columns))
        first = f"(SELECT {names} FROM {relation_sql(table, self.catalog)} LIMIT {rows})"
        (distinct,) = self.one(f"SELECT count(*) FROM (SELECT DISTINCT * FROM {first})")
        return distinct < min(rows, self.rows(table))

    def points_at_itself(self, link: Link) -> bool:
        """True if a row of the child has the same value in both columns of a link to its own table."""
        mine, theirs = ident(link.child_columns[0]), ident(link.parent_columns[0])
        table = relation_sql(self.schema.table(link.child), self.catalog)
        (rows,) = self.one(f"SELECT count(*) FROM {table} WHERE {mine} = {theirs}")
        return rows > 0

    def share_of(self, table: Table, condition: str) -> float:
        """The share of a table's rows for which a condition holds, among the rows where it is not NULL."""
        share = f"coalesce(avg(CASE WHEN {condition} THEN 1.0 WHEN NOT ({condition}) THEN 0.0 END), 0.0)"
        return float(self.one(f"SELECT {share} FROM {table.sql(self.catalog)}")[0])

    def are_flags(self, table: str, column: str) -> bool:
        """True if all texts of a column are those of a flag, such as `Y` and `N`."""
        value = f"lower(CAST({ident(column)} AS VARCHAR))"
        flags = "'0', '1', 'n', 'y', 'no', 'yes', 'f', 't', 'false', 'true'"
        source = self.schema.table(table).sql(self.catalog)
        return bool(self.one(f"SELECT coalesce(bool_and({value} IN ({flags})), false) FROM {source}")[0])

    def values_found(self, link: Link) -> tuple[int, int]:
        """Count the child's distinct keys (at most about MAX_SAMPLED_VALUES) and those that a parent row has."""
        if link not in self._found:
            child, parent = self.schema.table(link.child), self.schema.table(link.parent)
            columns = ", ".join(map(ident, link.child_columns))
            sample = f"SELECT DISTINCT {columns} FROM {relation_sql(child, self.catalog)} WHERE "
            sample += " AND ".join(f"{ident(name)} IS NOT NULL" for name in link.child_columns)
            # Sampled by a residue of the hash, so that every run picks the same values with any number of threads.
            stride = -(-max(self.profiles[child.key][c].distinct for c in link.child_columns) // MAX_SAMPLED_VALUES)
            if stride > 1:
                sample += f" AND hash({', '.join(map(ident, link.child_columns))}) % {stride} = 0"
            (total,) = self.one(f"SELECT count(*) FROM ({sample})")
            keys = f"{relation_sql(parent, self.catalog)} p ON {link.on_sql('c', 'p')}"
            (found,) = self.one(f"SELECT count(*) FROM ({sample}) c SEMI JOIN {keys}")
            self._found[link] = total, found
        return self._found[link]


def profile_columns(con: duckdb.DuckDBPyConnection, catalog: str, table: Table) -> dict[str, Profile]:
    """Compute the profiles of all columns of a table in one scan."""
    measures = ", ".join(_measures(column) for column in table.columns)
    row = one_row(con, f"SELECT {measures} FROM {relation_sql(table, catalog)}")
    chunks = (row[7 * i : 7 * i + 7] for i in range(len(table.columns)))
    return {
        column.name: Profile(n, values, distinct, length or 0.0, spaces or 0.0, low, high)
        for column, (n, values, distinct, length, spaces, low, high) in zip(table.columns, chunks, strict=True)
    }


def _measures(column: Column) -> str:
    """The aggregates of one column, in the order of the fields of `Profile`."""
    name = ident(column.name)
    spaces = f"avg(CASE WHEN contains({name}, ' ') THEN 1 ELSE 0 END)"
    text = f"avg(length({name})), {spaces}" if column.type == "VARCHAR" else "0.0, 0.0"
    ranged = "NULL, NULL"
    if column.type in (*TIME_TYPES, *INTEGER_TYPES):
        ranged = f"min({name})::VARCHAR, max({name})::VARCHAR"
    elif column.type == "DOUBLE":
        # Larger numbers do not distinguish neighbours; NaN and infinity are not whole numbers either.
        whole = f"bool_and(abs({name}) < {WHOLE_DOUBLES} AND {name} = trunc({name}))"
        ranged = ", ".join(
            f"CASE WHEN {whole} THEN TRY_CAST({end}({name}) AS BIGINT)::VARCHAR END" for end in ("min", "max")
        )
    counted = may_hold_key(column.type) or column.type in (*TIME_TYPES, "DOUBLE")
    distinct = f"approx_count_distinct({name})" if counted else "0"
    return f"count(*), count({name}), {distinct}, {text}, {ranged}"


def may_hold_key(type_: str) -> bool:
    """True for the types of keys: integers, UUIDs and texts. A float or a time does not identify a row."""
    return type_ in (*INTEGER_TYPES, "UUID", "VARCHAR") or re.fullmatch(r"DECIMAL\(\d+,0\)", type_) is not None


def may_refer(type_: str, profile: Profile) -> bool:
    """True if type and values can be those of a link: texts must be short, and floats whole numbers.

    pandas stores integers as floats where some are missing.
    """
    whole = type_ == "DOUBLE" and profile.low is not None
    return (may_hold_key(type_) or whole) and profile.length <= MAX_KEY_LENGTH
