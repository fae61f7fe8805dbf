"""What many seeds share, for all seeds of some moments at once: hubs with their rows, and the newest event.

The results can be stored, and read instead of being found again: see `LatestRows.given`.
"""

from __future__ import annotations

from relsql.gather.paths import Path
from relsql.gather.sql.latest_rows import LatestRows
from relsql.gather.sql.newest import NEWEST
from relsql.gather.sql.path_columns import Latest
from relsql.gather.sql.ranking import Ctes, columns_of
from relsql.sql_text import Cte, ident, with_ctes


def all_hubs_ctes(rows: LatestRows, path: Path, moment_sql: str) -> tuple[Ctes, Latest]:
    """The CTEs for the latest rows of all hubs of a shared path that may be seen.

    Args:
        rows: which rows are read.
        path: the shared path.
        moment_sql: a query for the moments at which seeds ask, each once: `_as_of`, and `_until` when delayed.
    """
    hubs = f"{path.name}__all_hubs"
    ctes, latest = rows.latest_of_hubs(path, hubs)
    all_hubs = Cte(hubs, _all_hubs_sql(rows, path), "All hubs, each once for each moment.")
    return [_moment_cte(rows, moment_sql), all_hubs, *ctes], latest


def newest_query(rows: LatestRows, moment_sql: str) -> str:
    """A query for the newest event `t` that may be seen at each moment; the arguments are those of `all_hubs_ctes`."""
    return with_ctes([_moment_cte(rows, moment_sql), *rows.newest_ctes("moment")], f"SELECT *\nFROM {NEWEST}")


def _moment_cte(rows: LatestRows, moment_sql: str) -> Cte:
    return Cte("moment", rows.ended_sql(moment_sql), "The moments at which seeds ask.")


def _all_hubs_sql(rows: LatestRows, path: Path) -> str:
    """All hubs of a shared path that may be seen at the moments of the CTE `moment`, each once for each moment."""
    hub, columns = rows.plan.table(path.links[-2].parent), path.links[-1].parent_columns
    keys = ", ".join(f"h.{ident(column)} AS hub{i}" for i, column in enumerate(columns))
    known = " AND ".join(f"h.{ident(column)} IS NOT NULL" for column in columns)
    return (
        f"SELECT DISTINCT {keys}, {columns_of('moment', rows.moments)}\n"
        f"FROM moment, {rows.source(hub)} h\n"
        f"WHERE {known}{rows.and_visible(hub, 'h', 'moment')}"
    )
