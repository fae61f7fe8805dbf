"""Find tables of one kind, one per month, quarter or year. Their rows have the time that the name of the table states.

What a month's table holds, such as the usage of each customer, is certainly known when the month is over.
"""

from __future__ import annotations

import datetime
import re
from itertools import groupby

from relsql.schema.discovery.proposals import TimeProposal
from relsql.schema.tables import Table
from relsql.sql_text import literal

SURE = 0.8
"""The confidence of such a time. It is high, because without a time all rows would be visible at every as_of."""

_PERIOD = re.compile(r"(?<!\d)((?:19|20)\d\d)(?:[_-]?(?:q([1-4])|(0[1-9]|1[0-2])))?(?!\d)", re.IGNORECASE)


def period_proposals(tables: list[Table]) -> list[TimeProposal]:
    """The times of the tables that have the same columns and whose names differ only in a period."""
    named = [(table, match) for table in tables if (match := _PERIOD.search(table.name))]

    def kind(each: tuple[Table, re.Match[str]]) -> tuple[str, ...]:
        table, match = each
        return (table.schema_name, table.name[: match.start()], table.name[match.end() :], *sorted(table.stored_names))

    found = []
    for _, group in groupby(sorted(named, key=lambda each: (kind(each), each[0].name)), key=kind):
        alike = list(group)
        for table, match in alike if len(alike) > 1 else ():
            evidence = f"the end of {match.group()}, by its name; {len(alike) - 1} more with the same columns"
            time = f"TIMESTAMP {literal(_end(match).isoformat(' '))}"
            found.append(TimeProposal(table.key, time, evidence, SURE))
    return found


def _end(match: re.Match[str]) -> datetime.datetime:
    """The moment at which a period is over."""
    year, quarter, month = (int(part) if part else 0 for part in match.groups())
    months = year * 12 + (3 * quarter or month or 12)
    return datetime.datetime(months // 12, months % 12 + 1, 1)
