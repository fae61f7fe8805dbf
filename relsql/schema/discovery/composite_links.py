"""Propose links to keys of several columns, by equal names and by the values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from relsql.schema.discovery.links import is_among
from relsql.schema.discovery.names import same_words
from relsql.schema.discovery.profile import Profiler
from relsql.schema.discovery.proposals import LinkProposal, Refusal
from relsql.schema.tables import Link, Table
from relsql.schema.types import type_family


def composite_links(
    data: Profiler, removed: tuple[Link, ...], known: tuple[Link, ...]
) -> tuple[list[LinkProposal], list[Refusal]]:
    """Links to keys of several columns: the child has columns of the same names, and its values are found there.

    A link is not proposed if the user has removed it, or if a link over some of its columns is `known` already.
    """
    proposals, refused = [], []
    for link in _composite_links(data):
        if is_among(link, removed) or is_among(link, data.schema.links):
            continue
        if any(other.is_part_of(link) for other in known):
            continue
        values, found = data.values_found(link)
        evidence = f"same names as the key of {link.parent}, {found:,} of {values:,} distinct keys found there"
        if values and found >= 0.95 * values:
            proposals.append(LinkProposal(link, evidence, round(0.95 * found / values, 2)))
        else:
            refused.append(Refusal.of_link(link, evidence))
    return proposals, refused


def parts_of_links(data: Profiler, links: Iterable[Link]) -> list[tuple[Link, Refusal]]:
    """The links that are part of another link with more columns, each with the reason to refuse it.

    It is then a coincidence that fewer columns identify the parent, such as team names that differ in all leagues so
    far.
    """
    found = [(link, whole) for link in links for whole in data.schema.links if link.is_part_of(whole)]
    reason = "the link by ({}) says it already"
    return [(link, Refusal.of_link(link, reason.format(", ".join(whole.child_columns)))) for link, whole in found]


def _composite_links(data: Profiler) -> Iterator[Link]:
    tables = data.schema.tables.values()
    for parent in tables:
        for child in tables:
            columns = _columns_like_key(data, child, parent) if len(parent.primary_key) > 1 else None
            if columns and child.key != parent.key and not _is_one_to_one(data, child, columns, parent):
                yield Link(child.key, columns, parent.key, parent.primary_key, "inferred")


def _is_one_to_one(data: Profiler, child: Table, columns: Iterable[str], parent: Table) -> bool:
    """True if the columns are also the child's own key and the parent has no more rows: the child may be the parent."""
    return set(columns) == set(child.primary_key) and data.rows(parent) <= data.rows(child)


def _columns_like_key(data: Profiler, child: Table, parent: Table) -> tuple[str, ...] | None:
    """The child's columns that have the names and types of the parent's primary key, or None."""
    found = []
    for name in parent.primary_key:
        key, type_ = data.plain(parent.key, name), type_family(parent.column(name).type)
        same = (c for c in child.columns if same_words(data.plain(child.key, c.name), key))
        column = next((c for c in same if type_family(c.type) == type_), None)
        if column is None:
            return None
        found.append(column.name)
    return tuple(found)
