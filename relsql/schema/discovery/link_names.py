"""How strongly the name of a column suggests a key of another table, or of its own."""

from __future__ import annotations

from relsql.schema.discovery.keys import FEW_ROWS, UniqueColumn
from relsql.schema.discovery.names import (
    MEASURE_WORDS,
    PLAIN_WORDS,
    abbreviation_match,
    agent_match,
    has_weak_suffix,
    is_key_name,
    is_plural,
    is_row_number,
    name_match,
    role_match,
    same_words,
    stem,
    synonym_match,
    word_set,
    words,
)
from relsql.schema.discovery.profile import Profiler
from relsql.schema.tables import Link, Table

_SELF_WORDS = word_set("parent manager supervisor boss report predecessor successor")
_SELF_KEY_WORDS = _SELF_WORDS | word_set(
    "superior lead mentor previous prev next root original duplicate replaces referrer referred inviter invited "
    "replaced reply ancestor master"
)


def link_name_match(
    data: Profiler, child: Table, name: str, parent: Table, target: UniqueColumn, *, best: bool
) -> float:
    """How strongly a column's name suggests a key of `parent`; 0 if it suggests nothing, or something else.

    `best` says that `target` has the best name of the parent's possible keys.
    """
    column, key = data.plain(child.key, name), data.plain(parent.key, target.column)
    same = same_words(column, key)
    by_table = _by_table(data, column, parent, target)
    by_key = _by_key(data, column, parent, target, by_table)
    by_both = max(
        _by_both(column, data.table_words[parent.key], key, best=best), _by_part(data, child, name, parent, key)
    )
    by_role = max(agent_match(column, data.table_words[parent.key]), role_match(column, data.table_words[parent.key]))
    if child.key == parent.key:
        roles = _SELF_KEY_WORDS if is_key_name(column) else _SELF_WORDS
        by_role = _self_match(data, child, name, target) if roles & set(words(column)) else 0.0
        # Another column that has the table's own name is an alternative name of the same row.
        by_table, by_key, by_both = (by_table if by_table == 0.9 else 0.0), 0.0, 0.0
    score = max(by_table, by_key, by_role, by_both)
    if (same and by_key) or by_role or by_both:
        return score
    # Counts and car numbers are small integers, which are found in every column of row numbers.
    if MEASURE_WORDS & set(words(column)) or (has_weak_suffix(column) and not has_weak_suffix(key)):
        return 0.0
    # A text with the whole name of the best key refers to it, as `parentTconst` does to `tconst`. A text `ship_city`
    # does not refer to a customer, because `city` is not the best key of customers.
    least = 0.85 if best and by_key == score and child.column(name).type == "VARCHAR" else 0.9
    if not is_key_name(column) and (score < least or is_plural(column)):
        return 0.0
    return score


def _by_table(data: Profiler, column: str, parent: Table, target: UniqueColumn) -> float:
    """How well a column's name matches the name of the parent table."""
    table = data.table_words[parent.key]
    found = max(name_match(column, table), synonym_match(column, table), abbreviation_match(column, table))
    return min(found, 0.75) if is_row_number(data.plain(parent.key, target.column)) and not target.declared else found


def _by_key(data: Profiler, column: str, parent: Table, target: UniqueColumn, by_table: float) -> float:
    """How well a column's name matches the parent's key, if the name of the key says what it is a key of."""
    key = data.plain(parent.key, target.column)
    if set(stem(key)) <= PLAIN_WORDS or not target.named:
        return 0.0
    if not (data.rows(parent) >= FEW_ROWS or is_key_name(key) or by_table):
        return 0.0
    return 0.95 if same_words(column, key) else min(0.85, name_match(column, stem(key)))


def _by_both(column: str, table: tuple[str, ...], key: str, *, best: bool) -> float:
    """How well a column's name matches parent and key, one after the other: `item_sku` and the `sku` of items.

    `customer_name` more likely repeats the name than refers to it, unless customers have no better key.
    """
    words_of_key = words(key)[:1] if is_row_number(key) else stem(key) or words(key)
    if not table or not words_of_key or not best or words_of_key[: len(table)] == table:
        return 0.0
    match = name_match(column, (*table, *words_of_key))
    return 0.95 if match == 1 else match if match == 0.9 else 0.0


def _by_part(data: Profiler, child: Table, name: str, parent: Table, key: str) -> float:
    """.95 for a column with the key's own name whose values repeat in a table of parts; otherwise 0.

    A table of parts has the parent's name and more words: the `id` of `sales_by_day` refers to `sales`.
    """
    mine, theirs = data.table_words[child.key], data.table_words[parent.key]
    is_part = len(mine) > len(theirs) > 0 and mine[: len(theirs)] == theirs
    often = is_part and not data.profiles[child.key][name].maybe_unique
    return 0.95 if often and same_words(data.plain(child.key, name), key) and is_key_name(key) else 0.0


def _self_match(data: Profiler, table: Table, name: str, target: UniqueColumn) -> float:
    """How strongly a column such as `reports_to` suggests a link to its own table; less if a row points at itself."""
    link = Link(table.key, (name,), table.key, (target.column,), "inferred")
    return 0.85 if data.comparable(link) and not data.points_at_itself(link) else 0.75
