"""The tables of a model in a Spark session: found, compared with those of training, and named by views."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from relsql.database.names import DEFAULT_SCHEMA, fold
from relsql.errors import SchemaDriftError, SchemaError, nearest
from relsql.registry.cards.card import ModelCard
from relsql.schema.declared.restate import stored_tables
from relsql.schema.tables import Table
from relsql.spark.dialect import ident
from relsql.spark.relations import read_columns
from relsql.spark.supported import family

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_TYPES = {
    "integer": ("tinyint", "smallint", "int", "bigint", "decimal(20,0)"),
    "text": ("string", "varchar", "char"),
    "date": ("date",),
    "time": ("timestamp", "timestamp_ntz"),
    "zoned time": ("timestamp",),
    "decimal": ("decimal",),
    "boolean": ("boolean",),
    "float": ("float",),
    "double": ("double",),
}
"""The types of Spark that hold each kind of value, see `relsql.spark.supported.family`; without their parameters."""


def find_tables(
    session: SparkSession, card: ModelCard, tables: Mapping[str, DataFrame | str] | None, catalog: str | None
) -> dict[str, str]:
    """By key, a view over each table that a model reads, or a table of a catalogue.

    Args:
        session: the session.
        card: the model's card.
        tables: data frames, or names of tables in the session, by the names of the model's tables.
        catalog: a catalogue or a schema, such as `lake` or `lake.shop`, that has the other tables under their names.

    Raises:
        SchemaDriftError: a table or column is missing, or has another type. SchemaError: entity keys are not unique.
    """
    given = {fold(name): frame for name, frame in (tables or {}).items()}
    found, problems = {}, []
    for key, table in _needed(card).items():
        frame = _frame(session, given.get(fold(key), f"{catalog}.{_name(table)}" if catalog else None))
        if frame is None:
            where = f"in '{catalog}'" if catalog else f"among {nearest(key, tables or ())}"
            problems.append(f"table {key} is missing {where}")
            continue
        problems += _problems(card, table, frame)
        found[key] = named(frame, key)
    if problems:
        raise SchemaDriftError(
            f"the tables are not those that model '{card.name}' reads: {'; '.join(problems)}",
            expected="the tables, columns and types of training",
            fix="pass tables={'TABLE': session.table('NAME')}, with columns renamed or cast",
        )
    _require_key(session, card, found[card.entity.key] if not card.entity.values_of else "")
    return found


def named(frame: DataFrame, what: str) -> str:
    """The name of a new temporary view of a data frame."""
    name = f"relsql_{re.sub('[^a-z0-9]+', '_', what.lower())}_{uuid.uuid4().hex[:12]}"
    frame.createOrReplaceTempView(name)
    return name


def same_family(type_: str, spark_type: str) -> bool:
    """True if a type of Spark holds the values of a type of DuckDB."""
    accepted = _TYPES.get(family(type_) or "", ())
    return spark_type in accepted or spark_type.partition("(")[0] in accepted


def _needed(card: ModelCard) -> dict[str, Table]:
    """The stored tables behind all that a model reads."""
    stored, read = stored_tables(card.schema), read_columns(card.rows)
    computed = any(table.values_of or table.row_time for table in card.schema.tables.values())
    return {key: table for key, table in stored.items() if computed or key in read}


def _name(table: Table) -> str:
    """The name of a table within a catalogue."""
    schema = f"{ident(table.schema_name)}." if table.schema_name != DEFAULT_SCHEMA else ""
    return f"{schema}{ident(table.name)}"


def _frame(session: SparkSession, source: DataFrame | str | None) -> DataFrame | None:
    if source is None or not isinstance(source, str):
        return source
    try:
        frame = session.table(source)
        _ = frame.schema  # Spark Connect resolves names when it is asked for the schema.
    except Exception as error:
        if "NOT_FOUND" in str(error) or "not found" in str(error):
            return None
        raise
    return frame


def _problems(card: ModelCard, table: Table, frame: DataFrame) -> Iterator[str]:
    """The columns that are missing or have another type."""
    types = {fold(field.name): field.dataType.simpleString() for field in frame.schema.fields}
    # If a table is read only for times or values of others, any of its columns may be the one that is needed.
    read = read_columns(card.rows).get(table.key, table.stored_names)
    for column in table.columns:
        if column.computed or column.name not in read or family(column.type) is None:
            continue
        found = types.get(fold(column.name))
        if found is None:
            yield f"column {table.key}.{column.name} is missing"
        elif not same_family(column.type, found):
            yield f"column {table.key}.{column.name} is {found}, was {column.type}"


def _require_key(session: SparkSession, card: ModelCard, view: str) -> None:
    """Check that the key of the entity tells its rows apart.

    Raises:
        SchemaError: two rows have the same.
    """
    if not view:
        return
    keys = ", ".join(map(ident, card.entity.primary_key))
    known = " AND ".join(f"{ident(name)} IS NOT NULL" for name in card.entity.primary_key)
    twice = f"SELECT {keys} FROM {view} WHERE {known} GROUP BY {keys} HAVING count(*) > 1 LIMIT 1"
    for row in session.sql(twice).collect():
        raise SchemaError(
            f"table '{card.entity.key}' has more than one row with the key {', '.join(map(str, row))}",
            expected=f"a table whose key is ({', '.join(card.entity.primary_key)})",
            fix="pass tables={'TABLE': frame.dropDuplicates(KEY)}",
        )
