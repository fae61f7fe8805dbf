"""Propose primary keys, links and time columns for tables that do not declare them, each with its evidence.

A proposal is based on names and on the spread of values: a key is unique and columns of other tables refer to it, a
link has a name that suggests its parent and values that are found there, and a time column has a time for almost every
row, close to the times of the rows that point at it. Names alone decide only in empty tables. `infer_schema` writes
nothing; `apply_proposal` stores what the user has confirmed.

    profiles ──▶ unique columns ──▶ links by name ──▶ single keys ──▶ other links ──▶ composite keys ──▶ links to
    them ──▶ time columns
"""

from __future__ import annotations

import duckdb

from relsql.database.connections import transaction
from relsql.database.names import current_catalog
from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.discovery.composite_links import composite_links, parts_of_links
from relsql.schema.discovery.keys import UniqueColumn, composite_key, consists_of_links, single_key, unique_columns
from relsql.schema.discovery.links import Claim, named_claims, unnamed_claims
from relsql.schema.discovery.profile import Profiler
from relsql.schema.discovery.proposals import (
    SURE,
    KeyProposal,
    LinkProposal,
    Refusal,
    SchemaProposal,
    TimeProposal,
)
from relsql.schema.discovery.shared_values import shared_values
from relsql.schema.discovery.times.time_columns import infer_times
from relsql.schema.reading import read_declarations, read_schema
from relsql.schema.tables import Link, Schema, Table

__all__ = [
    "SURE",
    "KeyProposal",
    "LinkProposal",
    "Refusal",
    "SchemaProposal",
    "TimeProposal",
    "apply_proposal",
    "infer_schema",
]


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
    keys, links, refused = _keys_and_links(data, removed)
    unsure = tuple(proposal.link for proposal in links if proposal.confidence < SURE)
    times = infer_times(data, {key for key, each in declared.items() if each.time.time is not None}, unsure)
    return SchemaProposal(tuple(keys), tuple(links), tuple(times), tuple(refused), shared_values(data, removed))


def apply_proposal(con: duckdb.DuckDBPyConnection, catalog: str, proposal: SchemaProposal) -> None:
    """Store a proposal as declarations of origin `inferred`, in one transaction: all of it, whatever the confidence.

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


def _keys_and_links(
    data: Profiler, removed: tuple[Link, ...]
) -> tuple[list[KeyProposal], list[LinkProposal], list[Refusal]]:
    """Propose keys and links; what is found is added to the schema of `data`."""
    known, unique = data.schema.links, unique_columns(data)
    claims, refused = named_claims(data, unique, removed)
    keys, _ = _single_keys(data, unique, claims)
    data.learn_links(claim.link for claim in claims)
    unnamed, silent = unnamed_claims(data, unique, removed)
    data.learn_links(claim.link for claim in unnamed)
    more_keys, unlikely = _single_keys(data, unique, [*claims, *unnamed])
    composite = [key for table in _unkeyed(data) if (key := composite_key(data, table))]
    data.learn_keys((key.table, key.columns) for key in composite)
    more, missing = composite_links(data, removed, known)
    data.learn_links(proposal.link for proposal in more)
    single = [claim.proposal() for claim in (*claims, *unnamed)]
    parts = parts_of_links(data, [each.link for each in single])
    data.forget_links(link for link, _ in parts)
    links = [*(each for each in single if each.link in data.schema.links), *more]
    missing += [refusal for _, refusal in parts]
    return [*keys, *more_keys, *composite], links, _still_open(data, removed, [*unlikely, *refused, *silent, *missing])


def _unkeyed(data: Profiler) -> list[Table]:
    return [table for table in data.schema.tables.values() if not table.primary_key]


def _single_keys(
    data: Profiler, unique: dict[str, list[UniqueColumn]], claims: list[Claim]
) -> tuple[list[KeyProposal], list[Refusal]]:
    """A key of one column per table, if one is plausible and the table does more than join others; added to `data`."""
    links = [claim.link for claim in claims if claim.confidence >= SURE]
    found = [
        single_key(data, table, unique[table.key], links)
        for table in _unkeyed(data)
        if not consists_of_links(table, links)
    ]
    keys = [key for key in found if isinstance(key, KeyProposal)]
    data.learn_keys((key.table, key.columns) for key in keys)
    return keys, [key for key in found if isinstance(key, Refusal)]


def _still_open(data: Profiler, removed: tuple[Link, ...], refused: list[Refusal]) -> list[Refusal]:
    """Refused candidates, each with its first reason, without those that have a key or link, or had it removed."""
    decided = {(link.child, link.child_columns) for link in (*data.schema.links, *removed)}
    first: dict[tuple[str, str, tuple[str, ...]], Refusal] = {}
    for each in refused:
        known = (
            data.schema.table(each.table).primary_key if each.kind == "key" else (each.table, each.columns) in decided
        )
        if not known:
            first.setdefault((each.kind, each.table, each.columns), each)
    return list(first.values())
