"""Means and statistics of a path's rows for each group, from which the path's message is computed, in SQL."""

from __future__ import annotations

from dataclasses import dataclass

from exporters.sql_layers import means_sql
from relsql.gather.latest_rows import AS_OF, SEED, Latest
from relsql.gather.paths import Path
from relsql.gather.ranking import Ctes, counts_sql
from relsql.schema.tables import Table
from relsql.sql import COMMA, Cte, indented

LONG_WINDOW = 8
"""Number of rows from which a mean is faster as an inner product."""


@dataclass(frozen=True, slots=True)
class PathRows:
    """What is known of the rows of a path in the CTE `<path>__hidden`.

    Attributes:
        path: the path.
        table: its table.
        width: number of numbers and ages of a row, of which statistics are made.
        channels: width of the messages.
        windows: numbers of latest rows that are averaged, in ascending order.
        evidence: their number is returned.
        timed: the rows have a column `days`, their age.
        has_text: they have a column `pending`, the number of texts without an embedding.
    """

    path: Path
    table: Table
    width: int
    channels: int
    windows: list[int]
    evidence: bool
    timed: bool
    has_text: bool


@dataclass(frozen=True, slots=True)
class Means:
    """The means and statistics of a path's rows for each group, from which the path's message is computed.

    Attributes:
        ctes: CTEs that `query` reads.
        query: a query for the group's columns, the columns returned besides the message, `statistics`, and lists.
        means: expressions over the lists.
        lists: names of columns that are not needed after the means.
    """

    ctes: Ctes
    query: str
    means: list[str]
    lists: list[str]


def averaged(rows: PathRows, latest: Latest) -> Means:
    """Means over the latest rows of each group."""
    path, name, windows, group = rows.path, rows.path.name, rows.windows, ", ".join(latest.group)
    counted, ctes = latest.counted or f"{name}__counted", []
    if latest.ranked:
        counts = counts_sql(path, rows.table, f"{latest.ranked}.r", f"{latest.ranked}.{AS_OF}")
        query = f"SELECT {group}, {counts} AS counts\nFROM {latest.ranked}\nGROUP BY {group}"
        ctes = [Cte(counted, query, "How many rows each group may see.")]
    long = [window for window in windows if window >= LONG_WINDOW]
    counts = ", ".join(f"ln(1 + counts.w{i})" for i in range(1 + len(path.count_days)))
    statistics = ", ".join([f"[{counts}]", *(means_sql(f"known{window}", rows.width, window) for window in windows)])
    shares = [f"list_transform(hidden{window}, lambda r: part{window}) AS share{window}" for window in long]
    columns = [f"{name}__rows.*", f"list_concat({statistics}) AS statistics", *shares]
    source = f"FROM {name}__rows\nJOIN {counted} USING ({group})"
    query = f"SELECT {indented(COMMA.join(columns)).lstrip()}\n{source}"
    means = [
        means_sql(f"hidden{window}", rows.channels, window, f"share{window}" if window in long else None)
        for window in windows
    ]
    lists = [f"{of}{window}" for window in windows for of in ("hidden", "known")]
    lists += [f"{of}{window}" for window in long for of in ("part", "share")]
    listed = Cte(f"{name}__rows", _listed_sql(rows, group, long), "The messages of each group's latest rows, as lists.")
    return Means([*ctes, listed], query, means, lists)


def _listed_sql(rows: PathRows, group: str, long: list[int]) -> str:
    """The rows of each group as one list for each window."""
    name, windows = rows.path.name, rows.windows

    def within(window: int) -> str:
        return f" FILTER (rank <= {window})" if window < rows.path.fanout else ""

    # The lists are in any order: it changes a mean only in its last bits, and sorting costs several times the rest.
    columns = [f"list({of}){within(window)} AS {of}{window}" for window in windows for of in ("hidden", "known")]
    columns += [f"CAST(1 / least(count(*), {window}) AS FLOAT) AS part{window}" for window in long]
    columns += [f"count(*) AS {name}__evidence"] if rows.evidence else []
    columns += [f"min(days) AS {name}__newest_days"] if rows.timed else []
    columns += [f"sum(pending) AS {name}__pending"] if rows.has_text else []
    return f"SELECT {group},\n{indented(COMMA.join(columns))}\nFROM {name}__hidden\nGROUP BY {group}"


def single(rows: PathRows) -> Means:
    """The one row of each group: the mean of a single row is the row itself."""
    name = rows.path.name
    columns = [SEED, "hidden", "known AS statistics"]
    columns += [f"1 AS {name}__evidence"] if rows.evidence else []
    columns += [f"days AS {name}__newest_days"] if rows.timed else []
    columns += [f"pending AS {name}__pending"] if rows.has_text else []
    return Means([], f"SELECT {', '.join(columns)}\nFROM {name}__hidden", ["hidden"], ["hidden"])
