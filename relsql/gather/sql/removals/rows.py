"""The rows of seeds that leave something out, in SQL: what remains of the rows that all of them share.

An explanation asks for hundreds of seeds of one entity that differ only in what they leave out. Ranking all rows of the
entity, or of its hub, for each of them would repeat the same work. So the rows are ranked once, as if nothing were left
out, and each group takes the first k that remain for it. Most of what seeds leave out is not among the rows of a given
path; such seeds form one group there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from relsql.gather.paths import Path
from relsql.gather.row_plan import RowPlan
from relsql.gather.sql.ranking import LATEST_ROWS, Ctes, Reached, columns_of, counts_sql, window_sql
from relsql.gather.sql.removals.conditions import OUT, and_whole_sql, ids_sql, same_row_sql, shown_sql
from relsql.schema.tables import Table
from relsql.sql_text import COMMA, Cte, ident, indented

_UNION = "\nUNION ALL\n"

_NEXT_CONDITION = "\n    AND "


def reader_ctes(
    plan: RowPlan,
    path: Path,
    seeds: str,
    keys: Sequence[str],
    moments: Sequence[str],
    source: Callable[[Table], str],
    seed: str,
) -> tuple[Ctes, str, list[str]]:
    """CTEs for the seeds of a path, each with only those of the columns `OUT` that matter there.

    Args:
        plan: the plan of rows.
        path: the path.
        seeds: the relation of its seeds, with the columns `seed` and `moments`.
        keys: expressions over `seeds` that the path's rows point at.
        moments: the columns that say what a seed may see.
        source: returns the relation to read for a table, in SQL.
        seed: the column that identifies a seed.

    Returns:
        The CTEs, the name of the last one, and the keys as expressions over it.
    """
    shown, reader, table = f"{path.name}__shown", f"{path.name}__reader", plan.table(path.table)
    pointed = ", ".join(f"r.{ident(c)} AS hub{i}" for i, c in enumerate(path.links[-1].child_columns))
    # Without this join, the rows of all keys would be read for the one key of a call.
    asked = ", ".join(f"{key} AS key{i}" for i, key in enumerate(keys))
    same = " AND ".join(f"r.{ident(c)} = asked.key{i}" for i, c in enumerate(path.links[-1].child_columns))
    of_keys = f"FROM {source(table)} r\nJOIN (SELECT DISTINCT {asked} FROM {seeds}) asked ON {same}"
    parts = [f"SELECT {pointed}, {ids_sql(plan, table, 'r')}\n{of_keys}"]
    for link in path.lookups:
        parent = plan.table(link.parent)
        join = f"JOIN {source(parent)} p ON {link.on_sql('r', 'p')}"
        parts.append(f"SELECT {pointed}, {ids_sql(plan, parent, 'p')}\n{of_keys}\n{join}")
    names = ", ".join(f"hub{i}" for i in range(len(keys)))
    rows = (
        f"SELECT DISTINCT {names}, unnest(out_tables) AS out_table, unnest(out_rows) AS out_row\n"
        f"FROM (\n{indented(_UNION.join(parts))}\n)"
    )
    on = " AND ".join([*(f"{shown}.hub{i} = {key}" for i, key in enumerate(keys)), same_row_sql(shown, seeds)])
    tables = (path.table, *(link.parent for link in path.lookups))
    named = [f"{key} AS hub{i}" for i, key in enumerate(keys)]
    kept = columns_of(seeds, (seed, *(moment for moment in moments if moment not in OUT)))
    columns = [kept, *named, *shown_sql(plan, tables, seeds, f"{shown}.hub0 IS NOT NULL")]
    readers = f"SELECT {indented(COMMA.join(columns)).lstrip()}\nFROM {seeds}\nLEFT JOIN {shown} ON {on}"
    return (
        [
            Cte(shown, rows, "The rows that each key shows."),
            Cte(reader, readers, "The seeds; what a seed leaves out counts only if it is among these rows."),
        ],
        reader,
        [f"{reader}.hub{i}" for i in range(len(keys))],
    )


def ordered_rows(path: Path) -> str:
    """Name of the CTE with all rows of a path that may be seen if nothing is left out."""
    return f"{path.name}__ordered"


def kept_columns(columns: Sequence[str]) -> list[str]:
    """The columns of a group without those that say what it leaves out: groups that share rows have the same ones."""
    return [column for column in columns if column not in OUT]


def left_ctes(plan: RowPlan, reached: Reached, counted: str) -> Ctes:
    """The CTE of `ordered_rows`, and the CTE `counted` with each group's `counts` and the `ranks` that are out.

    Args:
        plan: the plan of rows.
        reached: the rows and their groups. The group's columns are the keys that the rows point at, then the moments,
            with those of `OUT`, which `visible` does not check.
        counted: name of the CTE of the counts.
    """
    name, source = reached.path.name, reached.source
    ordered, known, gone = ordered_rows(reached.path), f"{name}__ids", f"{name}__gone"
    base = kept_columns(reached.group)
    counts = counts_sql(reached.path, reached.table, f"{ordered}.r", f"{ordered}.{reached.moments[0]}")
    removed = (
        f"SELECT {columns_of(source, reached.group)}, list({ordered}.rank) AS ranks,\n    {counts} AS counts\n"
        f"FROM {source}\n"
        f"JOIN {known} ON {equal_sql(known, source, base)} AND {same_row_sql(known, source)}\n"
        f"JOIN {ordered} ON {equal_sql(ordered, source, base)} AND {ordered}.rank = {known}.rank\n"
        f"GROUP BY {columns_of(source, reached.group)}"
    )
    ids = (
        f"SELECT {', '.join(base)}, rank, unnest(out_tables) AS out_table, unnest(out_rows) AS out_row\nFROM {ordered}"
    )
    return [
        Cte(ordered, _ordered_sql(plan, reached, base), "All rows that may be seen if nothing is left out."),
        Cte(known, ids, "What each of them is."),
        Cte(gone, removed, "Which of them each group leaves out."),
        Cte(counted, _counted_sql(plan, reached, ordered, gone, counts), "How many rows each group is left with."),
    ]


def equal_sql(left: str, right: str, columns: Sequence[str]) -> str:
    """The condition that two relations have the same values in some columns."""
    return " AND ".join(f"{left}.{column} = {right}.{column}" for column in columns)


def _ordered_sql(plan: RowPlan, reached: Reached, base: Sequence[str]) -> str:
    """All visible rows of each group as it is, with their ranks and ids."""
    asked = f"(SELECT DISTINCT {', '.join(base)} FROM {reached.source})"
    keys = tuple(f"asked.hub{i}" for i in range(len(reached.keys)))
    whole = replace(reached, source="asked", keys=keys, group=tuple(base), moments=())
    whole = replace(whole, visible=reached.seen_by("asked"))
    return window_sql(whole, f", {ids_sql(plan, reached.table, 'r')}").replace("FROM asked", f"FROM {asked} asked", 1)


def _counted_sql(plan: RowPlan, reached: Reached, ordered: str, gone: str, counts: str) -> str:
    """What each group is left with: counts, and the ranks of the rows that are out."""
    source, fields = reached.source, [f"w{i}" for i in range(1 + len(reached.path.count_days))]
    base = kept_columns(reached.group)
    left = ", ".join(f"{f}: whole.counts.{f} - coalesce({gone}.counts.{f}, 0)" for f in fields)
    whole = (
        f"SELECT {columns_of(ordered, base)}, {counts} AS counts\nFROM {ordered}\nGROUP BY {columns_of(ordered, base)}"
    )
    return (
        f"SELECT {columns_of(source, reached.group)}, coalesce({gone}.ranks, []) AS ranks,\n"
        f"    {{{left}}} AS counts\n"
        f"FROM {source}\n"
        f"JOIN (\n{indented(whole)}\n) whole ON {equal_sql('whole', source, base)}"
        f"{and_whole_sql(plan, reached.table, source).replace(' AND ', _NEXT_CONDITION, 1)}\n"
        f"LEFT JOIN {gone} ON {equal_sql(gone, source, reached.group)}\n"
        f"WHERE whole.counts.w0 > coalesce({gone}.counts.w0, 0)"
    )


def latest_left_cte(reached: Reached, latest: str, counted: str) -> Cte:
    """The CTE `latest` of the last rows of each group: for each row that is out, the next one moves up."""
    base, ordered = kept_columns(reached.group), ordered_rows(reached.path)
    onward = "".join(f"{ordered}.{ident('r.' + column)}, " for column in reached.onward)
    newer = f"len(list_filter({counted}.ranks, lambda gone: gone < {ordered}.rank))"
    found = (
        f"SELECT {columns_of(counted, reached.group)}, {ordered}.r, {onward}{ordered}.rank - {newer} AS rank\n"
        f"FROM {counted}\n"
        f"JOIN {ordered} ON {equal_sql(ordered, counted, base)}\n"
        f"    AND {ordered}.rank <= {reached.path.fanout} + len({counted}.ranks)\n"
        f"WHERE NOT list_contains({counted}.ranks, {ordered}.rank)"
    )
    return Cte(latest, f"SELECT *\nFROM (\n{indented(found)}\n)\nWHERE rank <= {reached.path.fanout}", LATEST_ROWS)
