"""The columns of scores of all entities, which the functions of both engines return."""

from __future__ import annotations

from collections.abc import Sequence

from relsql.schema.entity_keys import output_names
from relsql.schema.tables import Table
from relsql.sql_text import field_sql, ident, indented, literal
from relsql.tasks.kinds.classes import Classes
from relsql.tasks.kinds.steps import windows_end_sql


def batch_columns(classes: Classes | None) -> tuple[str, ...]:
    """The columns after the key: a score with its status; of a multiclass task also the probabilities."""
    return ("score", "status", "evidence", "as_of", "version", *(("probabilities",) if classes else ()))


STEP_COLUMNS = ("step", "window_start", "window_end")
"""The columns of a forecast in steps between the key and `batch_columns`."""


def batch_key(entity: Table, classes: Classes | None, steps: int | None = None) -> tuple[str, ...]:
    """The names of the key's columns beside `batch_columns`, and beside `STEP_COLUMNS` where there are steps."""
    return output_names(entity, ((*STEP_COLUMNS, *batch_columns(classes)) if steps else batch_columns(classes)))


def score_columns(classes: Classes | None) -> tuple[str, ...]:
    """The columns that say what was predicted."""
    return ("score", "probabilities") if classes else ("score",)


def step_score_sql(full: str, steps: int) -> str:
    """The score of one window, from the result of an entity and the argument `step`; another step is an error."""
    numbers = ", ".join(map(str, range(1, steps + 1)))
    message = f" is not a step of this forecast. Expected: a whole number from 1 to {steps}"
    return (
        f"CASE WHEN step IS NULL THEN NULL\n    WHEN step IN ({numbers})\n"
        f"    THEN array_extract({field_sql(full, 'score')}, CAST(step AS BIGINT))\n"
        f"    ELSE CAST(error(CAST(step AS VARCHAR) || {literal(message)}) AS DOUBLE) END"
    )


def steps_sql(keys: Sequence[str], timedelta: str, steps: int, batch: str) -> str:
    """The query of `predict_<model>_batch` of a forecast in steps: a row for each window of each entity.

    `batch` is a query for one row of an entity, whose score is the list of all windows; `keys` are its first columns.
    """

    def end(step: str) -> str:
        return f"relsql_row.as_of + {windows_end_sql(timedelta, steps, step)}"

    # Qualified, because a bare `as_of` would be the function's argument.
    columns = [f"relsql_row.{ident(name)} AS {ident(name)}" for name in keys]
    columns += ["relsql_row.step AS step", f"{end('(relsql_row.step - 1)')} AS window_start"]
    columns += [f"{end('relsql_row.step')} AS window_end"]
    columns += ["array_extract(relsql_row.score, relsql_row.step) AS score"]
    columns += [f"relsql_row.{name} AS {name}" for name in batch_columns(None) if name != "score"]
    listed = ",\n    ".join(columns)
    return (
        f"SELECT {listed}\n"
        f"FROM (\n    SELECT *, unnest(range(1, {steps + 1})) AS step\n"
        f"    FROM (\n{indented(batch, 8)}\n    )\n) AS relsql_row"
    )


def classes_sql(entity: Table, classes: Classes, batch: str) -> str:
    """The query of `predict_<model>_classes`: a row for each class of each entity that has a score.

    `batch` is the query of `predict_<model>_batch`.
    """
    # Qualified, because a bare `as_of` would be the function's argument.
    others = ("status", "evidence", "as_of", "version")
    kept = ", ".join(f"relsql_row.{name} AS {name}" for name in others)
    names = zip(batch_key(entity, classes), output_names(entity, ("class", "probability", *others)), strict=True)
    keys = ", ".join(f"relsql_row.{ident(mine)} AS {ident(name)}" for mine, name in names)
    return (
        f"SELECT {keys},\n"
        "    struct_extract(relsql_row.entry, 'key') AS \"class\",\n"
        f"    struct_extract(relsql_row.entry, 'value') AS probability, {kept}\n"
        f"FROM (\n    SELECT *, unnest(map_entries(probabilities)) AS entry\n"
        f"    FROM (\n{indented(batch, 8)}\n    )\n) AS relsql_row"
    )
