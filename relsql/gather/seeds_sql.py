"""The seeds of a call, in SQL: which entities, and at which moment.

DuckDB pastes the arguments of a macro into its body, where a column of an inner table with the same name would silently
capture them. Arguments are therefore bound here, in a derived table that reads no table.
"""

from __future__ import annotations

from relsql.gather.latest_rows import AS_OF, ENTITY, LatestRows
from relsql.schema.tables import Table
from relsql.schema.times import latest_event_sql
from relsql.schema.visibility import opaque_sql, visible_sql
from relsql.sql import ident


def call_seed_sql(entity: Table, rows: LatestRows) -> str:
    """The seed of a call `f(id, as_of := ...)`; `_given` says whether there is an id."""
    key_type = entity.column(entity.primary_key[0]).type
    return (
        f"SELECT TRY_CAST(id AS {key_type}) AS {ENTITY}, id IS NOT NULL AS _given,\n"
        f"    coalesce({as_timestamp('as_of')}, ({latest_sql(rows)})) AS {AS_OF}"
    )


def all_seeds_sql(entity: Table, rows: LatestRows, moment: str | None = None, where: str | None = None) -> str:
    """The seeds of all entities that are visible at one moment.

    Args:
        entity: the entity table.
        rows: which rows are read.
        moment: as_of as an expression of type TIMESTAMP; default: the macro's argument, or the latest event.
        where: a condition on `relsql_entity`, the entity's row: only matching entities are gathered and scored. A
            filter outside of the seeds would apply only after scoring.
    """
    key = f"relsql_entity.{ident(entity.primary_key[0])}"
    moment = moment or f"coalesce({as_timestamp('as_of')}, ({latest_sql(rows)}))"
    conditions = [f"{key} IS NOT NULL"]
    if entity.time_column:
        # For a plain comparison of two relations DuckDB expects very few matching rows, and chooses joins for that.
        conditions.append(opaque_sql(visible_sql(entity, "relsql_entity", f"relsql_time.{AS_OF}")))
    return (
        f"SELECT {key} AS {ENTITY}, relsql_time.{AS_OF}\n"
        f"FROM {rows.source(entity)} relsql_entity,\n"
        f"    (SELECT {moment} AS {AS_OF}) relsql_time\n"
        f"WHERE {' AND '.join([*conditions, *([where] if where else [])])}"
    )


def latest_sql(rows: LatestRows) -> str:
    """The time of the latest event in the tables that are read; 1970-01-01 if there is none."""
    return f"SELECT coalesce(({latest_event_sql(rows.plan.tables(), rows.source)}), TIMESTAMP '1970-01-01')"


def as_timestamp(argument: str) -> str:
    """An argument of any type as TIMESTAMP without time zone; one with a time zone is converted to UTC."""
    return (
        f"CASE WHEN typeof({argument}) = 'TIMESTAMP WITH TIME ZONE' "
        f"THEN timezone('UTC', CAST({argument} AS TIMESTAMPTZ)) ELSE CAST({argument} AS TIMESTAMP) END"
    )
