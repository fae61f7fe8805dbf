"""Propose primary keys, links and time columns for tables that do not declare them, each with its evidence.

A proposal is based on names and on data: a key is unique and never NULL, a link's values are found in its parent, and a
time column has a time for almost every row, close to the times of the rows that point at it. Names alone decide only in
empty tables. `infer_schema` writes nothing; `apply_proposal` stores what the user has confirmed.

    profiles ──▶ single keys ──▶ links ──▶ composite keys (of links) ──▶ links to them ──▶ time columns
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import duckdb

from relsql.database.connections import transaction
from relsql.database.names import current_catalog
from relsql.schema.checks import key_counts
from relsql.schema.declare import declare_link, declare_table
from relsql.schema.discovery.names import (
    KEY_WORDS,
    MEASURE_WORDS,
    PLAIN_WORDS,
    has_weak_suffix,
    is_key_name,
    is_plural,
    name_match,
    stem,
    table_words,
    word_set,
    words,
)
from relsql.schema.discovery.profile import Profiler, may_be_key
from relsql.schema.discovery.time_proposal import TimeProposal
from relsql.schema.discovery.times import infer_times
from relsql.schema.reading import read_declarations, read_schema
from relsql.schema.tables import Link, Schema, Table
from relsql.schema.types import INTEGER_TYPES, TIME_TYPES, type_family

__all__ = ["KeyProposal", "LinkProposal", "SchemaProposal", "TimeProposal", "apply_proposal", "infer_schema"]

MIN_KEY_CONFIDENCE = 0.4
FEW_ROWS = 20
"""In a table with fewer rows many columns are unique by chance, so that the name of a key must match better."""

FEW_VALUES = 4
"""With at most this many values, their position among the parent's keys is no evidence; only the share of the keys that
they cover is."""

MAX_CODES = 100
"""Ratings, months, ages and quantities have at most about this many distinct values; a link may have any number."""

_SELF_WORDS = word_set("parent manager supervisor boss report predecessor successor")
_SELF_KEY_WORDS = _SELF_WORDS | word_set(
    "superior lead mentor previous prev next root original duplicate referrer referred inviter invited replaces "
    "replaced reply ancestor master"
)
_COUNTERS = word_set("line seq sequence position index order step version item year season month quarter round day")


@dataclass(frozen=True, slots=True)
class KeyProposal:
    """A primary key; `confidence` is in (0, 1]."""

    table: str
    columns: tuple[str, ...]
    evidence: str
    confidence: float


@dataclass(frozen=True, slots=True)
class LinkProposal:
    """A link; its origin is `inferred`."""

    link: Link
    evidence: str
    confidence: float


@dataclass(frozen=True, slots=True)
class SchemaProposal:
    """Everything proposed for one database; remove what is wrong with `dataclasses.replace` before applying it."""

    keys: tuple[KeyProposal, ...] = ()
    links: tuple[LinkProposal, ...] = ()
    times: tuple[TimeProposal, ...] = ()


def infer_schema(
    con: duckdb.DuckDBPyConnection, catalog: str | None = None, schema: Schema | None = None
) -> SchemaProposal:
    """Propose what `schema` lacks. Nothing is written.

    Args:
        con: an open connection.
        catalog: name of the attached database; default: the current one.
        schema: what is already known, which is kept; default: `read_schema`. Nothing is proposed for links that the
            user removed, nor a time column for tables whose time column is stored or declared not to exist.
    """
    catalog = catalog or current_catalog(con)
    declared, _, removed = read_declarations(con, catalog)
    data = Profiler(con, catalog, schema or read_schema(con, catalog))
    unkeyed = [table for table in data.schema.tables.values() if not table.primary_key]
    single = [key for table in unkeyed if (key := _single_key(data, table))]
    data.learn_keys((key.table, key.columns) for key in single)
    links = _single_links(data, removed)
    data.learn_links(proposal.link for proposal in links)
    unkeyed = [table for table in data.schema.tables.values() if not table.primary_key]
    composite = [key for table in unkeyed if (key := _composite_key(data, table))]
    data.learn_keys((key.table, key.columns) for key in composite)
    links += _composite_links(data, removed)
    data.learn_links(proposal.link for proposal in links if proposal.link not in data.schema.links)
    times = infer_times(data, {key for key, each in declared.items() if each.time.time is not None})
    return SchemaProposal((*single, *composite), tuple(links), tuple(times))


def apply_proposal(con: duckdb.DuckDBPyConnection, catalog: str, proposal: SchemaProposal) -> None:
    """Store a proposal as declarations of origin `inferred`, in one transaction.

    A table for which no time column is proposed stays undecided, because later rows may provide evidence.

    Raises:
        SchemaError: the data no longer agree with the proposal; nothing is stored then.
        DatabaseError: the database is read-only.
    """
    with transaction(con):
        for key in proposal.keys:
            declare_table(con, catalog, key.table, primary_key=key.columns, origin="inferred")
        for link in proposal.links:
            declare_link(con, catalog, link.link)
        # After the links, because a line has the time of the row that a link leads to.
        for time in proposal.times:
            if time.column is not None:
                declare_table(con, catalog, time.table, time_column=time.column, origin="inferred")


def _single_key(data: Profiler, table: Table) -> KeyProposal | None:
    """The column whose name fits a key of the table best, among those that are unique and never NULL."""
    rows = data.rows(table)
    ranked = []
    for position, column in enumerate(table.columns):
        profile = data.profiles[table.key][column.name]
        if may_be_key(column.type, profile) and profile.maybe_unique:
            score = _key_score(table, column.name, column.type, position)
            if score >= (MIN_KEY_CONFIDENCE if rows >= FEW_ROWS else 0.7):
                ranked.append((-score, position, column.name))
    for negative, _, name in sorted(ranked):
        if key_counts(data.con, data.catalog, table, (name,)).problem is None:
            evidence = (
                f"unique and never NULL in {rows:,} rows" if rows else "the table is empty, so only its name counts"
            )
            evidence += f", name match {name_match(name, table_words(table.name)):.2f}"
            return KeyProposal(table.key, (name,), evidence, round(min(1.0, -negative) * (1.0 if rows else 0.5), 2))
    return None


def _key_score(table: Table, column: str, type_: str, position: int) -> float:
    parts, match = words(column), name_match(column, table_words(table.name))
    # A bare `id` beats a bare `code`, and `driver_id` beats `driver_ref`.
    penalty = 0.01 * KEY_WORDS.index(parts[-1]) if parts and parts[-1] in KEY_WORDS else 0.0
    if parts and not stem(column):
        score = 0.85 - 2 * penalty
    else:
        score = (0.35 + 0.5 * match - penalty) if is_key_name(column) else (0.15 + 0.3 * match)
    return (
        score
        + (0.08 if position == 0 else 0.0)
        + (0.05 if type_family(type_) in ("integer", "UHUGEINT", "UUID") else 0.0)
    )


def _composite_key(data: Profiler, table: Table) -> KeyProposal | None:
    """The smallest set of columns that identifies the rows of a table without a single key; link columns come first."""
    profiles, rows = data.profiles[table.key], data.rows(table)
    linked = [c for link in data.schema.links_from(table.key) for c in link.child_columns if profiles[c].complete]
    linked = list(dict.fromkeys(linked))
    others = [c.name for c in table.columns if c.name not in linked and profiles[c.name].complete]
    others = [name for name in others if _may_number_rows(name, table.column(name).type)]
    if rows < 2:
        return None
    choices = [c for size in (2, 3) for c in combinations(linked, size)]
    choices += [(*some, other) for size in (1, 2) for some in combinations(linked, size) for other in others]
    for columns in choices[:30]:
        most = math.prod(profiles[name].distinct for name in columns)
        if most >= 0.8 * rows and key_counts(data.con, data.catalog, table, columns).problem is None:
            evidence = f"together unique and never NULL in {rows:,} rows; no single column with the name of a key is"
            return KeyProposal(table.key, columns, evidence, 0.8 if set(columns) <= set(linked) else 0.6)
    return None


def _may_number_rows(column: str, type_: str) -> bool:
    """True for columns that can distinguish the rows of one parent: dates, line numbers, years."""
    last = words(column)[-1:]
    return type_ in TIME_TYPES or (type_ in INTEGER_TYPES and bool(last) and last[0] in {*KEY_WORDS, *_COUNTERS})


@dataclass(frozen=True, slots=True)
class _Claim:
    """A possible link; `tie` decides between equals: how well the parent's own name fits, then its number of rows."""

    link: Link
    confidence: float
    evidence: str
    tie: tuple[float, int]


def _single_links(data: Profiler, removed: tuple[Link, ...]) -> list[LinkProposal]:
    """The most plausible parent of each column by its name and its values, unless the column is already linked."""
    taken = {(link.child, link.child_columns) for link in data.schema.links}
    claims = []
    for table in data.schema.tables.values():
        for column in table.columns:
            values = data.profiles[table.key][column.name].values
            if (table.key, (column.name,)) not in taken and (values or not data.rows(table)):
                links = [link for link in _possible_links(data, table, column.name) if not _is_among(link, removed)]
                named = [claim for link in links if (claim := _named_claim(data, link))]
                if named:
                    claims.append(max(named, key=lambda claim: (claim.confidence, claim.tie)))
                else:
                    unnamed = [claim for link in links if (claim := _unnamed_claim(data, link))]
                    claims += unnamed if len(unnamed) == 1 else []
    kept = [claim for claim in claims if not _loses_to_reverse(claim, claims)]
    return [LinkProposal(claim.link, claim.evidence, round(claim.confidence, 2)) for claim in kept]


def _is_among(link: Link, links: tuple[Link, ...]) -> bool:
    return any(link.same_columns(other) for other in links)


def _loses_to_reverse(claim: _Claim, claims: list[_Claim]) -> bool:
    """True if the opposite link over the same columns is also claimed, with a better `tie`."""
    for other in claims:
        if (other.link.child, other.link.child_columns) == (claim.link.parent, claim.link.parent_columns) and (
            other.link.parent,
            other.link.parent_columns,
        ) == (claim.link.child, claim.link.child_columns):
            return (claim.tie, claim.link.parent) < (other.tie, other.link.parent)
    return False


def _possible_links(data: Profiler, child: Table, name: str) -> Iterator[Link]:
    """Links of one column to all single keys of its type, unless it is the key of the child's own rows."""
    column = child.column(name)
    if not may_be_key(column.type, data.profiles[child.key][name]):
        return
    own = name_match(name, table_words(child.name)) if child.primary_key == (name,) else None
    for parent in data.schema.tables.values():
        if len(parent.primary_key) != 1 or (parent.key == child.key and parent.primary_key == (name,)):
            continue
        other = name_match(name, table_words(parent.name))
        if own is not None and (own > other or (own == other and words(name) != words(parent.primary_key[0]))):
            continue
        if type_family(parent.column(parent.primary_key[0]).type) == type_family(column.type):
            yield Link(child.key, (name,), parent.key, parent.primary_key, "inferred")


def _named_claim(data: Profiler, link: Link) -> _Claim | None:
    """The claim of a link whose names agree, or None. A weaker name needs nearly all values to be found."""
    child, parent = data.schema.table(link.child), data.schema.table(link.parent)
    name = _link_name_match(child, link.child_columns[0], parent, link.parent_columns[0])
    if name == 0.0:
        return None
    tie = (name_match(link.child_columns[0], table_words(parent.name)), data.rows(parent))
    if not data.rows(child):
        evidence = f"name match {name:.2f}; '{child.key}' is empty"
        return _Claim(link, 0.45 * name, evidence, tie) if name >= 0.9 else None
    values, found = data.values_found(link)
    if not values or found / values < (0.5 if name >= 0.9 else 0.95):
        return None
    confidence = name * found / values * (1.0 if child.schema_name == parent.schema_name else 0.9)
    if _found_by_chance(data, link):
        # A name such as `shop_id` marks a key, even if only a few shops occur; `shop` alone could mean anything.
        if not is_key_name(link.child_columns[0]) or has_weak_suffix(link.child_columns[0]):
            return None
        confidence *= 0.6
    return _Claim(link, confidence, f"name match {name:.2f}, {_found(data, link)}", tie)


def _found_by_chance(data: Profiler, link: Link) -> bool:
    """True for flags, ratings, months and the like, whose values are found in any long series of numbers.

    Finding them is then no evidence for a link. It is evidence if they cover most of the parent's keys, as in a table
    of five statuses, or are scattered among the keys.
    """
    column, key = link.child_columns[0], link.parent_columns[0]
    child, parent = data.profiles[link.child][column], data.profiles[link.parent][key]
    keys = data.rows(data.schema.table(link.parent))
    if type_family(data.schema.table(link.child).column(column).type) in ("text", "UUID"):
        return False
    if child.low in ("0", "1") and child.high in ("0", "1"):
        return keys > 2
    if _keys_used(data, link) >= 0.5 * keys or child.distinct > MAX_CODES:
        return False
    if child.distinct <= FEW_VALUES:
        return keys > FEW_VALUES * child.distinct
    return child.density >= 0.8 and child.width < 0.5 * parent.width


def _keys_used(data: Profiler, link: Link) -> float:
    """The approximate number of the parent's keys that the child uses, from the sample of values that was looked up."""
    values, found = data.values_found(link)
    return data.profiles[link.child][link.child_columns[0]].distinct * found / max(1, values)


def _link_name_match(child: Table, column: str, parent: Table, key: str) -> float:
    """How strongly a column's name suggests keys of `parent`; 0 if it suggests nothing, or something else."""
    by_table = name_match(column, table_words(parent.name))
    by_key, same = 0.0, words(column) == words(key)
    if not set(stem(key)) <= PLAIN_WORDS:
        by_key = 0.95 if same else min(0.85, name_match(column, stem(key)))
    by_role = 0.0
    if child.key == parent.key:
        roles = _SELF_KEY_WORDS if is_key_name(column) else _SELF_WORDS
        by_role = 0.75 if roles & set(words(column)) else 0.0
        # Another column that is named like the table itself is an alternative name of the same row.
        by_table, by_key = (by_table if by_table == 0.9 else 0.0), 0.0
    name = max(by_table, by_key, by_role)
    if (same and by_key) or by_role:
        return name
    # Counts and car numbers are small integers, which are found in every column of row numbers.
    if MEASURE_WORDS & set(words(column)) or (has_weak_suffix(column) and not has_weak_suffix(key)):
        return 0.0
    if not is_key_name(column) and (name < 0.9 or is_plural(column)):
        return 0.0
    return name


def _unnamed_claim(data: Profiler, link: Link) -> _Claim | None:
    """The claim of a link that only the values support, or None.

    Small integers are found in every longer column of row numbers. Integers are therefore evidence only where the
    parent's keys leave wide gaps, which unrelated numbers would hit.
    """
    column, key = link.child_columns[0], link.parent_columns[0]
    profile, keys = data.profiles[link.child][column], data.profiles[link.parent][key]
    if not is_key_name(column) or not stem(column) or has_weak_suffix(column) or link.child == link.parent:
        return None
    if profile.distinct < FEW_ROWS or keys.density > 0.5:
        return None
    values, found = data.values_found(link)
    if found < 0.98 * values:
        return None
    return _Claim(link, 0.5, f"no name match, but {_found(data, link)} and in no other key", (0.0, 0))


def _found(data: Profiler, link: Link) -> str:
    values, found = data.values_found(link)
    share = "100" if found == values else f"{100 * found / values:.1f}"
    profile = data.profiles[link.child][link.child_columns[0]]
    per_key = profile.values / max(1, profile.distinct)
    text = f"{share} % of {values:,} distinct values found in {link.parent}.{', '.join(link.parent_columns)}"
    text += ", about one row per key" if per_key < 1.2 else f", about {per_key:.0f} rows per key"
    used = _keys_used(data, link) / max(1, data.rows(data.schema.table(link.parent)))
    text += f", {min(1.0, used):.0%} of the keys used" if used < 0.5 else ""
    return text + ("" if profile.complete else f", {profile.rows - profile.values:,} rows NULL")


def _composite_links(data: Profiler, removed: tuple[Link, ...]) -> list[LinkProposal]:
    """Links to keys of several columns: the child has columns of the same names, and its values are found there."""
    proposals = []
    for parent in data.schema.tables.values():
        for child in data.schema.tables.values():
            columns = _columns_like_key(child, parent) if len(parent.primary_key) > 1 else None
            if columns is None or child.key == parent.key or child.primary_key == columns:
                continue
            link = Link(child.key, columns, parent.key, parent.primary_key, "inferred")
            if _is_among(link, removed) or _is_among(link, data.schema.links):
                continue
            values, found = data.values_found(link)
            if values and found >= 0.95 * values:
                evidence = f"same names as the key of {parent.key}, {found:,} of {values:,} distinct keys found there"
                proposals.append(LinkProposal(link, evidence, round(0.9 * found / values, 2)))
    return proposals


def _columns_like_key(child: Table, parent: Table) -> tuple[str, ...] | None:
    """The child's columns that have the names and types of the parent's primary key, or None."""
    by_name = {column.name.lower(): column for column in child.columns}
    found = []
    for name in parent.primary_key:
        column = by_name.get(name.lower())
        if column is None or type_family(column.type) != type_family(parent.column(name).type):
            return None
        found.append(column.name)
    return tuple(found)
