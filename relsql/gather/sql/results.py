"""The columns of scores of all entities, which the functions of both engines return."""

from __future__ import annotations

from relsql.schema.entity_keys import output_names
from relsql.schema.tables import Table
from relsql.sql_text import ident, indented
from relsql.tasks.kinds.classes import Classes


def batch_columns(classes: Classes | None) -> tuple[str, ...]:
    """The columns after the key: a score with its status; of a multiclass task also the probabilities."""
    return ("score", "status", "evidence", "as_of", "version", *(("probabilities",) if classes else ()))


def batch_key(entity: Table, classes: Classes | None) -> tuple[str, ...]:
    """The names of the key's columns beside `batch_columns`."""
    return output_names(entity, batch_columns(classes))


def score_columns(classes: Classes | None) -> tuple[str, ...]:
    """The columns that say what was predicted."""
    return ("score", "probabilities") if classes else ("score",)


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
