"""What Spark can score: kinds of tasks, times of rows, and types that both engines read alike. The rest is refused."""

from __future__ import annotations

from collections.abc import Iterator

from relsql.errors import ScoringError, TaskError
from relsql.registry.cards.card import ModelCard
from relsql.schema.tables import Table
from relsql.schema.types import INTEGER_TYPES, TIME_TYPES, ZONED_TYPES, is_decimal
from relsql.spark.relations import read_columns
from relsql.tasks.kinds.supported import require_any_moment, require_one_window

_TEXT_TYPES = ("VARCHAR", "BOOLEAN", *INTEGER_TYPES)
"""Types whose text is the same in both engines."""

CLASS_TYPES = {
    "VARCHAR": "string",
    "BOOLEAN": "boolean",
    "TINYINT": "tinyint",
    "SMALLINT": "smallint",
    "INTEGER": "int",
    "BIGINT": "bigint",
}
"""The types of classes, in DuckDB and in Spark, which has no unsigned integers."""


def require_supported(card: ModelCard) -> None:
    """Check that Spark's SQL can read what a model reads.

    Raises:
        TaskError: it recommends items, forecasts in steps, or asks about rows as of their own time. ScoringError: a
            time is computed by an expression, or a column has a type that is written or read differently.
    """
    if card.task.is_recommendation:
        raise TaskError(
            f"task '{card.task.name}' recommends items; scoring on Spark does not support that",
            expected="a classification or a regression",
            fix="relsql score FILE MODEL",
        )
    require_any_moment(card.task, "scoring on Spark")
    require_one_window(card.task, "scoring on Spark")
    problems = [f"its classes are {card.classes.type}"] if card.classes and card.classes.type not in CLASS_TYPES else []
    problems += [
        f"the key has a time, {name}" for name in card.entity.primary_key if card.entity.column(name).type in TIME_TYPES
    ]
    problems += [
        problem for key, columns in read_columns(card.rows).items() for problem in _problems(card, key, columns)
    ]
    if problems:
        raise ScoringError(
            f"model '{card.name}' cannot be scored on Spark: {'; '.join(problems)}",
            expected="columns that Spark reads as DuckDB does",
            fix="relsql shard-score, which scores the same tables with DuckDB",
        )


def _problems(card: ModelCard, key: str, columns: tuple[str, ...]) -> Iterator[str]:
    table = card.schema.table(key)
    if computed_by_sql(table):
        yield f"the time of {key} is computed: {table.time_text}"
    for name in columns:
        if family(table.column(name).type) is None:
            yield f"column {key}.{name} has the type {table.column(name).type}"
    inputs = card.inputs.get(key)
    for name in inputs.text_columns if inputs else ():
        type_ = table.column(name).type
        if type_ not in _TEXT_TYPES and not type_.startswith("ENUM") and family(type_) is not None:
            yield f"column {key}.{name} of the type {type_} is read as text"


def computed_by_sql(table: Table) -> bool:
    """True if the time of a table's rows is an expression of DuckDB's."""
    row_time = table.row_time
    if row_time and (row_time.expression or row_time.known):
        return True
    behind = [each.table for each in table.values_of] + ([row_time.header] if row_time and row_time.header else [])
    return any(map(computed_by_sql, behind))


def family(type_: str) -> str | None:
    """A type of DuckDB as the kind of value that Spark reads; None if there is none."""
    if type_ in INTEGER_TYPES:
        return "integer"
    if type_ == "VARCHAR" or type_.startswith("ENUM"):
        return "text"
    if type_ in ZONED_TYPES:
        return "zoned time"
    if type_ in TIME_TYPES:
        return "date" if type_ == "DATE" else "time"
    if is_decimal(type_):
        return "decimal"
    return {"BOOLEAN": "boolean", "FLOAT": "float", "DOUBLE": "double"}.get(type_)
