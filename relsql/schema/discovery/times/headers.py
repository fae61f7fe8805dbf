"""Find the header of lines: the row, such as an order, whose time is also that of the rows that belong to it.

A row cannot appear before the rows that it points at, so a line takes the time of the latest of them. A table is taken
for lines if it has no time of its own and its rows never stand alone. For that, its foreign key must be almost always
filled, and one of three conditions must hold: the foreign key is part of the table's key, or the parent's name is part
of the table's name, or no table with a time points at the table. None of the three holds for a dimension, such as a
customer with a sales representative. People and things that last are not headers of what they do, because a student's
enrolments are spread over years.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from relsql.database.names import join_name
from relsql.database.queries.sealed import sealed
from relsql.schema.discovery.names import LASTING_WORDS, LATER_WORDS, table_words, words
from relsql.schema.discovery.profile import Profiler
from relsql.schema.discovery.proposals import TimeProposal
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Link, Schema, Table
from relsql.schema.times.events import time_sql
from relsql.schema.times.row_times import DeclaredTime, RowTimes
from relsql.sql_text import ident

MIN_FOUND = 0.95
"""At least this share of the lines must have their header; the others are never visible."""

MAX_ROWS_OF_LASTING = 1.5
"""If a person or thing has more rows than this on average, they are written over its life, not when it appears."""

MIN_COVERED = 0.9
MAX_LAG = 0.1
"""Bounds of `comes_with_header`: least share of headers with rows, and longest delay as a share of the rows' span."""


def header_proposals(
    data: Profiler,
    timed: dict[str, Table],
    decided: set[str],
    unsure: Collection[Link] = (),
    confidences: Mapping[str, float] | None = None,
) -> list[tuple[TimeProposal, Link]]:
    """Propose headers for tables that have no time; a header's time may itself be that of its own header.

    Args:
        data: the database.
        timed: the tables that have a time or are proposed one, by key.
        decided: keys of tables for which nothing is proposed.
        unsure: links along which no header is looked for.
        confidences: by table, the confidence of its proposed time; that of its lines is no higher.

    Returns:
        Each proposal with the link to the header.
    """
    timed, known = dict(timed), dict(confidences or {})
    proposals: list[tuple[TimeProposal, Link]] = []
    while True:
        untimed = [t for key, t in data.schema.tables.items() if key not in timed and key not in decided]
        found = [each for table in untimed if (each := _header(data, table, timed, unsure, known))]
        if not found:
            return proposals
        for proposal, table, link in found:
            timed[table.key] = table
            known[table.key] = proposal.confidence
            proposals.append((proposal, link))


def comes_with_header(data: Profiler, table: Table, link: Link, timed: Mapping[str, Table]) -> bool:
    """True if the rows of a table with a time of its own appear together with the rows that they point at.

    This is the case if nearly all headers have rows and the rows' own times follow soon: half of them within a tenth of
    the time that the table spans. The deliveries of an order's lines meet both conditions. Refunds do not, because few
    orders have one, and the payments of a user do not, because they go on for years.
    """
    header = timed[link.parent]
    own, theirs = time_sql(table, "r"), time_sql(header, "h")
    rows, headers_sql = relation_sql(table, data.catalog), relation_sql(header, data.catalog)
    keys = ", ".join(f"h.{ident(name)}" for name in link.parent_columns)
    query = f"""
        SELECT (SELECT count(*) FROM {headers_sql} h), count(DISTINCT ({keys})),
            quantile_cont(epoch({own}) - epoch({theirs}), 0.5),
            quantile_cont(epoch({own}), 0.98) - quantile_cont(epoch({own}), 0.02)
        FROM {rows} r JOIN {headers_sql} h ON {link.on_sql("r", "h")}
        WHERE isfinite({own}) AND isfinite({theirs})"""
    [(headers, found, lag, span)] = data.con.execute(sealed(query)).fetchall()
    return found >= MIN_COVERED * headers and lag is not None and lag <= MAX_LAG * span


def _header(
    data: Profiler,
    table: Table,
    timed: dict[str, Table],
    unsure: Collection[Link],
    confidences: Mapping[str, float],
) -> tuple[TimeProposal, Table, Link] | None:
    """The proposal for one table, the table with the proposed time, and the link; None if its rows have no header."""
    links = [link for link in data.schema.links_from(table.key) if link.parent in timed and link.parent != table.key]
    links = [link for link in links if link not in unsure and _is_part_of_row(data, link)]
    links = [link for link in links if not _is_of_lasting(data, link)]
    reasons = {link: reason for link in links if (reason := _belongs(data, table, link, timed))}
    if not reasons:
        return None
    # Of several links to one table, take the first whose name does not mean a later moment, such as a shipping date.
    named = sorted(reasons, key=lambda each: bool(LATER_WORDS & set(words(each.child_columns[0]))))
    options = list({each.parent: each for each in reversed(named)}.values())
    latest = {link: _share_latest(data, table, link, options, timed) for link in options}
    link = max(options, key=lambda each: (latest[each], str(each)))
    time = _text(data.schema, timed, link)
    schema = replace(data.schema, tables=data.schema.tables | timed)
    known = RowTimes(data.con, data.catalog, schema, {table.key: DeclaredTime(time)}).table(table.key)
    rows, filled = data.one(
        f"SELECT count(*), count({time_sql(known, 'r')}) FROM {relation_sql(known, data.catalog)} r"
    )
    if not rows or filled < MIN_FOUND * rows:
        return None
    evidence = f"the time of its row of {link.parent}, because {reasons[link]}; "
    evidence += f"a time for {100 * filled / rows:.4g} % of {rows:,} rows"
    others = [each.parent for each in options if each is not link]
    evidence += f"; {link.parent} is the latest of {', '.join(sorted({link.parent, *others}))}" if others else ""
    confidence = min(0.9 if filled == rows else 0.85, confidences.get(link.parent, 1.0))
    return TimeProposal(table.key, time, evidence, confidence), known, link


def _is_part_of_row(data: Profiler, link: Link) -> bool:
    """True if almost no row lacks the foreign key."""
    profiles = data.profiles[link.child]
    return all(profiles[name].values >= MIN_FOUND * profiles[name].rows > 0 for name in link.child_columns)


def _is_of_lasting(data: Profiler, link: Link) -> bool:
    """True if several rows belong to one person or thing that lasts, judged by the name of the parent table."""
    parent = table_words(link.parent.rpartition(".")[2])
    if not parent or parent[-1] not in LASTING_WORDS:
        return False
    keys = max(data.profiles[link.child][name].distinct for name in link.child_columns)
    return data.rows(data.schema.tables[link.child]) > MAX_ROWS_OF_LASTING * keys


def _belongs(data: Profiler, table: Table, link: Link, timed: dict[str, Table]) -> str | None:
    """Why rows of a table belong to the rows of the link's parent; None if nothing says so."""
    if set(link.child_columns) < set(table.primary_key):
        return f"'{', '.join(link.child_columns)}' is part of the key"
    mine, theirs = set(table_words(table.name)), set(table_words(link.parent.rpartition(".")[2]))
    if theirs and theirs <= mine:
        return f"a row belongs to a row of {link.parent} by its name"
    if not any(other.child in timed for other in data.schema.links_to(table.key)):
        return f"a row never comes without its row of {link.parent}"
    return None


def _share_latest(data: Profiler, table: Table, link: Link, links: list[Link], timed: dict[str, Table]) -> float:
    """The share of rows for which the link's parent has the latest time of the parents of all `links`."""
    if len(links) == 1:
        return 1.0
    joins, times = [], {}
    for i, each in enumerate(links):
        parent = timed[each.parent]
        joins.append(f"LEFT JOIN {relation_sql(parent, data.catalog)} h{i} ON {each.on_sql('r', f'h{i}')}")
        times[each] = time_sql(parent, f"h{i}")
    latest = f"CASE WHEN {times[link]} >= greatest({', '.join(times.values())}) THEN 1.0 ELSE 0.0 END"
    query = f"SELECT coalesce(avg({latest}), 0.0) FROM {table.sql(data.catalog)} r {' '.join(joins)}"
    [(share,)] = data.con.execute(sealed(query)).fetchall()
    return float(share)


def _text(schema: Schema, timed: dict[str, Table], link: Link) -> str:
    """The declaration of the header's time: `orders.order_date`, or `orders` if that time is computed."""
    header = timed[link.parent]
    name = join_name(header.name) if header.key == header.name else join_name(header.schema_name, header.name)
    place = name if header.row_time or not header.time_column else f"{name}.{join_name(header.time_column)}"
    several = sum(other.parent == link.parent for other in schema.links_from(link.child)) > 1
    return f"{', '.join(link.child_columns)} -> {place}" if several else place
