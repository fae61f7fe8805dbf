"""The messages of rows to groups of seeds that leave something out, in SQL.

Groups of one key see the same rows, less a few. So a message function receives the rows of a key once, as the network
reads them, beside what each group leaves out (`relsql.gather.arrays.left_rows`). Listing the rows that each group is
left with would repeat them dozens of times.
"""

from __future__ import annotations

from collections.abc import Sequence

from relsql.gather.layout import BlockLayout
from relsql.gather.paths import Path
from relsql.gather.row_plan import RowPlan
from relsql.gather.sql.path_columns import Latest, of_hubs
from relsql.gather.sql.ranking import Ctes, columns_of
from relsql.gather.sql.removals.conditions import OUT, numbered_ids
from relsql.gather.sql.removals.rows import equal_sql, kept_columns
from relsql.sql_text import Cte, ident, indented

_GROUP = (*OUT, "ranks", "counts")


def pointed_ids(plan: RowPlan, path: Path) -> list[tuple[int, int, str]]:
    """The rows without which a row of a path does not see one that it points at.

    Each as the number of the link, the number of the table, and the row's id as an expression over `p0`, `p1`, ...
    """
    return [
        (link, number, row_id)
        for link, followed in enumerate(path.lookups)
        for number, row_id in numbered_ids(plan, plan.table(followed.parent), f"p{link}")
    ]


def left_parameter(plan: RowPlan, path: Path, layout: BlockLayout) -> str:
    """The DuckDB type of the argument of a message function: the rows of a key, and its groups."""
    rows = layout.arrow_type(ids=len(pointed_ids(plan, path)))
    types = ("INTEGER", "UBIGINT", "INTEGER", "BIGINT[]", layout.counts_type())
    group = ", ".join(f"{name} {kind}" for name, kind in zip(_GROUP, types, strict=True))
    return f"STRUCT(rows {rows}, left_groups STRUCT({group})[])"


def left_message_ctes(
    plan: RowPlan, path: Path, latest: Latest, struct: Sequence[str], joins: str, function: str
) -> Ctes:
    """CTEs for the messages to the groups of a path; the last one has their columns, and the message.

    Args:
        plan: the plan of rows.
        path: the path.
        latest: its rows and groups.
        struct: what the network reads of a row of `latest.ordered`, as fields of a struct.
        joins: the joins to the rows that it points at, as `p0`, `p1`, ...
        function: name of the message function.
    """
    groups, listed, sent = (f"{path.name}__{part}" for part in ("by_key", "listed", "sent"))
    base = kept_columns(latest.group)
    of_key, same = ", ".join(base), equal_sql(latest.ordered, groups, base)
    fields = ", ".join(f"{name}: {name}" for name in _GROUP)
    by_key = (
        f"SELECT {of_key}, max(len(ranks)) AS most_out, list({{{fields}}}) AS left_groups\n"
        f"FROM {latest.counted}\nGROUP BY {of_key}"
    )
    ids = [f"h{i}: {row_id}" for i, (*_, row_id) in enumerate(pointed_ids(plan, path))]
    rows = (
        f"SELECT {columns_of(groups, base)}, list({{{', '.join([*struct, *ids])}}}) AS rows\n"
        f"FROM {groups}\n"
        # For each row that is out, the next one moves up.
        f"JOIN {latest.ordered} ON {same} AND {latest.ordered}.rank <= {path.fanout} + {groups}.most_out\n"
        f"{joins}GROUP BY {columns_of(groups, base)}"
    )
    messages = (
        f"SELECT {columns_of(groups, base)}, {groups}.left_groups,\n"
        f"    {function}({{rows: {listed}.rows, left_groups: {groups}.left_groups}}) AS messages\n"
        f"FROM {groups}\nJOIN {listed} USING ({of_key})"
    )
    each = f"SELECT {of_key}, unnest(left_groups) AS left_group, unnest(messages) AS message\nFROM {sent}"
    out = ", ".join(f"left_group.{name} AS {name}" for name in OUT)
    spread = f"SELECT {of_key}, {out}, message AS {ident(path.name)}\nFROM (\n{indented(each)}\n)"
    return [
        Cte(groups, by_key, "The groups of each key."),
        Cte(listed, rows, "The rows of each key that any of them may see, as the network reads them."),
        Cte(sent, messages, "The messages of these rows to the groups."),
        Cte(of_hubs(path), spread, "The message to each group."),
    ]
