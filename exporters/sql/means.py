"""Means and statistics of a path's rows for each group, from which the path's message is computed, in SQL."""

from __future__ import annotations

from dataclasses import dataclass

from exporters.sql.layers import element_sql, means_sql
from relsql.gather.paths import Path
from relsql.gather.sql.latest_rows import AS_OF, SEED
from relsql.gather.sql.path_columns import Latest
from relsql.gather.sql.ranking import Ctes, counts_sql
from relsql.gather.statistics import Statistic
from relsql.schema.tables import Table
from relsql.sql_text import COMMA, Cte, indented

LONG_WINDOW = 8
"""Number of rows from which a mean is faster as an inner product."""


@dataclass(frozen=True, slots=True)
class PathRows:
    """What is known about the rows of a path in the CTE `<path>__hidden`.

    Attributes:
        path: the path.
        table: its table.
        width: number of numbers and ages of a row, of which statistics are made.
        channels: width of the messages.
        windows: numbers of latest rows that are averaged, in ascending order.
        evidence: their number is returned.
        timed: the rows have a column `days`, their age.
        has_text: they have a column `pending`, the number of texts without an embedding.
        chosen: the statistics that the head's trees read, in their order; see `relsql.gather.statistics`.
    """

    path: Path
    table: Table
    width: int
    channels: int
    windows: list[int]
    evidence: bool
    timed: bool
    has_text: bool
    chosen: tuple[Statistic, ...] = ()


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
    if rows.chosen:
        counted_rows = ", ".join(f"ln(1 + counts.w{each.value})" for each in rows.chosen if each.kind == "count")
        columns.append(f"list_concat([{counted_rows}], more) AS {name}__chosen")
    source = f"FROM {name}__rows\nJOIN {counted} USING ({group})"
    query = f"SELECT {indented(COMMA.join(columns)).lstrip()}\n{source}"
    means = [
        means_sql(f"hidden{window}", rows.channels, window, f"share{window}" if window in long else None)
        for window in windows
    ]
    lists = [f"{of}{window}" for window in windows for of in ("hidden", "known")]
    lists += [f"{of}{window}" for window in long for of in ("part", "share")]
    lists += ["more"] if rows.chosen else []
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
    if rows.chosen:
        # Counts are not among them: they are of all rows that may be seen, not only of the latest.
        more = [_statistic_sql(rows.path, each) for each in rows.chosen if each.kind != "count"]
        columns.append(f"[{indented(COMMA.join(more)).lstrip()}]::DOUBLE[] AS more")
    return f"SELECT {group},\n{indented(COMMA.join(columns))}\nFROM {name}__hidden\nGROUP BY {group}"


def _statistic_sql(path: Path, statistic: Statistic) -> str:
    """One statistic of a group's latest rows as an aggregate; NULL, where no row is within a span, is 0."""
    value = element_sql("known", statistic.value + 1)
    if statistic.kind in ("largest", "smallest"):
        return f"{'max' if statistic.kind == 'largest' else 'min'}({value})"
    if statistic.kind == "mean":
        within = f" FILTER (rank <= {statistic.window})" if statistic.window < path.fanout else ""
        return f"avg({value}){within}"
    aggregate = "avg" if statistic.kind == "span_mean" else "sum"
    days = f"CAST({path.count_days[statistic.window]!r} AS FLOAT)"
    return f"coalesce({aggregate}({value}) FILTER (days <= {days}), 0)"


def single(rows: PathRows) -> Means:
    """The one row of each group: the mean of a single row is the row itself."""
    name = rows.path.name
    columns = [SEED, "hidden", "known AS statistics"]
    columns += [f"1 AS {name}__evidence"] if rows.evidence else []
    columns += [f"days AS {name}__newest_days"] if rows.timed else []
    columns += [f"pending AS {name}__pending"] if rows.has_text else []
    if rows.chosen:
        chosen = ", ".join(element_sql("known", each.value + 1) for each in rows.chosen)
        columns += [f"[{chosen}]::DOUBLE[] AS {name}__chosen"]
    return Means([], f"SELECT {', '.join(columns)}\nFROM {name}__hidden", ["hidden"], ["hidden"])
