"""The seeds of a call, in SQL: which entities, and at which moment.

DuckDB pastes the arguments of a macro into its body, where a column of an inner table with the same name would silently
capture them. Arguments are therefore bound here, in a derived table that reads no table.
"""

from __future__ import annotations

from relsql.gather.sql.latest_rows import AS_OF, ENTITY, LatestRows
from relsql.schema.entity_keys import entity_parameters, is_entity_sql, key_from_parts, key_known_sql, key_sql
from relsql.schema.tables import Table
from relsql.schema.times.events import latest_event_sql, time_sql
from relsql.schema.types import BIGNUM, INTEGER_TYPES, decimal_places, id_types
from relsql.schema.visibility import opaque_sql, visible_sql
from relsql.sql_text import ident, indented, literal

LATEST_EVENT = "latest event"
"""The default of `as_of`. A missing argument means the latest event, and one that is NULL gives no score. DuckDB cannot
tell the two apart, so the default is a text that cannot be read as a time."""

ALL_PARAMETERS = f"as_of := {literal(LATEST_EVENT)}"
"""The parameters of a function that scores all entities."""

_IS_MISSING = f"(typeof(as_of) = 'VARCHAR' AND CAST(as_of AS VARCHAR) = {literal(LATEST_EVENT)})"
_AS_OF_PARTS = f"{_IS_MISSING} AS latest,\n    CASE WHEN NOT {_IS_MISSING} THEN as_of END AS moment"
"""The argument `as_of` in two parts: whether it is missing, and if not, its value."""


STEP_PARAMETER = "step := 1"
"""The parameter that chooses a window of a forecast in steps."""


def call_parameters(entity: Table, *more: str) -> str:
    """The parameters of a function that scores one entity; `more` come after them."""
    return ", ".join([*entity_parameters(entity), ALL_PARAMETERS, *more])


def call_seed_sql(entity: Table, rows: LatestRows) -> str:
    """The seed of a call `f(id, as_of := ...)`; `_given` says whether both an id and a moment are given.

    A row with a time of its own is asked about as of that time, if it exists at the moment. What comes later, and the
    row itself among others, is never seen.
    """
    parameters = entity_parameters(entity)
    ids = [id_sql(entity, column, f"given.{id}") for column, id in zip(entity.primary_key, parameters, strict=True)]
    known = " AND ".join(f"given.{id} IS NOT NULL" for id in parameters)
    arguments = ", ".join(f"{id} AS {id}" for id in parameters)
    asked = (
        f"SELECT {key_from_parts(entity, ids)} AS {ENTITY},\n"
        f"    {known} AND (given.latest OR given.moment IS NOT NULL) AS _given,\n"
        f"    {_moment_sql(rows)} AS {AS_OF}\n"
        f"FROM (SELECT {arguments}, {_AS_OF_PARTS}) given"
    )
    if not rows.plan.asked.own_time:
        return asked
    own, exists = time_sql(entity, "r"), _has_own_time_sql(entity, "r", f"asked.{AS_OF}")
    return (
        f"SELECT asked.{ENTITY}, asked._given,\n"
        f"    CASE WHEN {exists} THEN {own} ELSE asked.{AS_OF} END AS {AS_OF}\n"
        f"FROM (\n{indented(asked)}\n) asked\n"
        f"LEFT JOIN {rows.source(entity)} r ON {is_entity_sql(entity, 'r', f'asked.{ENTITY}')}"
    )


def _has_own_time_sql(entity: Table, row: str, moment: str) -> str:
    """The condition that a row exists at a moment, and has a time as of which it can be asked about."""
    return f"{visible_sql(entity, row, moment)} AND isfinite({time_sql(entity, row)})"


def id_sql(entity: Table, key_column: str, value: str) -> str:
    """An id as a value of a key column; NULL for a value that no key has: 1.6 is never rounded to an integer.

    An id of a type that cannot be a key, such as a text for an integer key, raises an error that names both types.
    """
    column = entity.column(key_column)
    accepted = id_types(column.type)
    of_type = [f"starts_with(typeof({value}), {literal(name)})" for name in accepted if name.endswith("(")]
    of_type.append(f"typeof({value}) IN ({', '.join(literal(name) for name in accepted if not name.endswith('('))})")
    problem = [
        f" is not an id of {entity.key}. ",
        f"Expected: a value of {column.name}, {column.type}. ",
        f"Fix: pass the row's {column.name}, or CAST(id AS {column.type})",
    ]
    message = "\n        || ".join([f"'a value of type ' || typeof({value})", *map(literal, problem)])
    return (
        f"CASE WHEN {value} IS NULL THEN NULL\n"
        f"    WHEN {' OR '.join(of_type)} THEN\n"
        f"        {indented(_exact_sql(column.type, value), 8).lstrip()}\n"
        f"    ELSE error({message}) END"
    )


def _exact_sql(key_type: str, value: str) -> str:
    """A value as a key of this type, NULL if it has no exact value of that type."""
    key, decimals = f"TRY_CAST({value} AS {key_type})", decimal_places(key_type)
    if decimals is None:
        return key
    # The text of a DECIMAL is exact, where a DOUBLE would lose the digits of a long one.
    digits = f"regexp_full_match(CAST({value} AS VARCHAR), '-?[0-9]*([.][0-9]{{0,{decimals}}}0*)?')"
    return (
        f"CASE WHEN typeof({value}) IN ({', '.join(map(literal, INTEGER_TYPES))}) THEN {key}\n"
        # TRY_CAST from BIGNUM fails where the value does not fit, and takes the database with it (DuckDB 2.0.0).
        f"    WHEN typeof({value}) = {literal(BIGNUM)} THEN TRY_CAST(CAST({value} AS VARCHAR) AS {key_type})\n"
        f"    WHEN starts_with(typeof({value}), 'DECIMAL(') THEN CASE WHEN {digits} THEN {key} END\n"
        f"    WHEN TRY_CAST({key} AS DOUBLE) = TRY_CAST({value} AS DOUBLE)\n        THEN {key} END"
    )


def all_seeds_sql(entity: Table, rows: LatestRows, moment: str | None = None, where: str | None = None) -> str:
    """The seeds of all entities that are visible at one moment; none if the moment is NULL.

    Rows with a time of their own are asked about as of that time. If the task completes a column, only rows with an
    empty cell are asked about.

    Args:
        entity: the entity table.
        rows: which rows are read.
        moment: as_of as an expression of type TIMESTAMP; default: the macro's argument, or the latest event.
        where: a condition on `relsql_entity`, the entity's row: only matching entities are gathered and scored. A
            filter outside of the seeds would apply only after scoring.
    """
    seen_at = f"SELECT {moment} AS {AS_OF}"
    if moment is None:
        seen_at = f"SELECT {_moment_sql(rows)} AS {AS_OF} FROM (SELECT {_AS_OF_PARTS}) given"
    conditions, as_of = [key_known_sql(entity, "relsql_entity")], f"relsql_time.{AS_OF}"
    asked = rows.plan.asked
    if asked.empty:
        conditions.append(f"relsql_entity.{ident(asked.empty)} IS NULL")
    if asked.own_time:
        conditions.append(opaque_sql(_has_own_time_sql(entity, "relsql_entity", as_of)))
        as_of = f"{time_sql(entity, 'relsql_entity')} AS {AS_OF}"
    elif entity.time_column:
        # For a plain comparison of two relations DuckDB expects very few matching rows, and chooses joins for that.
        conditions.append(opaque_sql(visible_sql(entity, "relsql_entity", f"relsql_time.{AS_OF}")))
    return (
        f"SELECT {key_sql(entity, 'relsql_entity')} AS {ENTITY}, {as_of}\n"
        f"FROM {rows.source(entity)} relsql_entity,\n"
        f"    (SELECT {AS_OF} FROM ({seen_at}) WHERE {AS_OF} IS NOT NULL) relsql_time\n"
        f"WHERE {' AND '.join([*conditions, *([where] if where else [])])}"
    )


def latest_sql(rows: LatestRows) -> str:
    """The time of the latest event in the tables that are read; 1970-01-01 if there is none."""
    return f"SELECT coalesce(({latest_event_sql(rows.plan.tables(), rows.source)}), TIMESTAMP '1970-01-01')"


def _moment_sql(rows: LatestRows) -> str:
    """The argument `as_of` as TIMESTAMP; the latest event where the argument is missing, NULL where it is NULL."""
    return f"CASE WHEN given.latest THEN ({latest_sql(rows)})\n    ELSE {as_timestamp('given.moment')} END"


def as_timestamp(argument: str) -> str:
    """An argument of any type as TIMESTAMP without time zone; one with a time zone is converted to UTC."""
    return (
        f"CASE WHEN typeof({argument}) = 'TIMESTAMP WITH TIME ZONE'\n"
        f"        THEN timezone('UTC', CAST({argument} AS TIMESTAMPTZ))\n        ELSE CAST({argument} AS TIMESTAMP) END"
    )
