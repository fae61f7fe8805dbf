"""The newest event that each seed may see, in SQL: how far the data lag behind as_of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relsql.gather.row_plan import RowPlan
from relsql.gather.sql.ranking import Ctes, columns_of
from relsql.gather.sql.removals.conditions import OUT, and_kept_event_sql, ids_sql
from relsql.schema.tables import Table
from relsql.schema.times.events import event_times_sql
from relsql.schema.visibility import asof_visible_sql, visible_time_sql
from relsql.sql_text import Cte

# Path names contain no double underscore, so these names cannot collide with them.
_EVENTS, NEWEST, _WHOLE, _AFFECTED, _LEFT = (
    f"data__{part}" for part in ("events", "newest", "whole", "affected", "left")
)


def newest_ctes(plan: RowPlan, source: Callable[[Table], str], seeds: str, moments: Sequence[str], end: str) -> Ctes:
    """CTEs up to `NEWEST`: the time `t` of the newest event for each of the distinct moments of a CTE.

    Args:
        plan: the plan of rows.
        source: returns the relation to read for a table, in SQL.
        seeds: the CTE with the moments.
        moments: the columns that say what a seed may see, perhaps with those of `OUT`.
        end: the one of them that is the end of its data.
    """
    events = Cte(_EVENTS, event_times_sql(plan.tables(), source), "The times of all rows.")
    if not {*OUT} <= {*moments} or not any(table.time_column for table in plan.tables()):
        return [
            events,
            Cte(NEWEST, _newest_sql(seeds, moments, end), "The newest row that may be seen at each moment."),
        ]
    known = event_times_sql(plan.tables(), source, lambda table: f", {ids_sql(plan, table, 'r')}")
    return [
        Cte(_EVENTS, known, "The times of all rows, and what they are."),
        *_newest_left_ctes(seeds, moments, end),
    ]


def _newest_sql(seeds: str, moments: Sequence[str], end: str) -> str:
    return (
        f"SELECT {columns_of('moment', moments)}, {_EVENTS}.t\n"
        f"FROM (SELECT DISTINCT {', '.join(moments)} FROM {seeds}) moment\n"
        f"ASOF LEFT JOIN {_EVENTS} ON {asof_visible_sql(f'moment.{end}', f'{_EVENTS}.t')}"
    )


def _newest_left_ctes(seeds: str, moments: Sequence[str], end: str) -> Ctes:
    """The same where seeds leave rows out. All events are searched only for those that leave out a newest one."""
    base = [moment for moment in moments if moment not in OUT]
    same = " AND ".join(f"whole.{moment} = moment.{moment}" for moment in base)
    asked = f"(SELECT DISTINCT {', '.join(moments)} FROM {seeds}) moment\nJOIN {_WHOLE} whole ON {same}"
    of_moment, of_affected = columns_of("moment", moments), columns_of("affected", moments)
    affected = (
        f"SELECT DISTINCT {of_moment}\nFROM {asked}\nJOIN {_EVENTS} ON {_EVENTS}.t = whole.t\n"
        f"WHERE NOT (true{and_kept_event_sql(_EVENTS, 'moment')})"
    )
    seen = visible_time_sql(f"{_EVENTS}.t", f"affected.{end}") + and_kept_event_sql(_EVENTS, "affected")
    left = (
        f"SELECT {of_affected}, max({_EVENTS}.t) AS t\nFROM {_AFFECTED} affected\n"
        f"LEFT JOIN {_EVENTS} ON {seen}\nGROUP BY {of_affected}"
    )
    on = " AND ".join(f"less.{moment} = moment.{moment}" for moment in moments)
    newest = (
        f"SELECT {of_moment}, CASE WHEN less.{moments[0]} IS NULL THEN whole.t ELSE less.t END AS t\n"
        f"FROM {asked}\nLEFT JOIN {_LEFT} less ON {on}"
    )
    return [
        Cte(_WHOLE, _newest_sql(seeds, base, end), "The newest row at each moment if nothing is left out."),
        Cte(_AFFECTED, affected, "The moments whose newest row is left out."),
        Cte(_LEFT, left, "The newest row that remains at these moments."),
        Cte(NEWEST, newest, "The newest row that may be seen at each moment."),
    ]
