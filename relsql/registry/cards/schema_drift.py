"""Check whether the tables that a model reads still match those of its training."""

from __future__ import annotations

from collections.abc import Iterator

from relsql.database.names import fold
from relsql.errors import SchemaDriftError
from relsql.hints import command
from relsql.registry.cards.card import ModelCard
from relsql.schema.tables import Schema


def check_drift(card: ModelCard, schema: Schema) -> None:
    """Check that the tables still have everything that the model reads.

    Raises:
        SchemaDriftError: tables or columns are missing, or have another type.
    """
    problems = list(column_drift(card.schema, schema))
    if problems:
        raise SchemaDriftError(
            f"the tables changed since model '{card.name}' was trained: {'; '.join(problems)}",
            fix=command("train", "FILE", card.task.name, "--name", card.name),
        )


def column_drift(trained: Schema, schema: Schema) -> Iterator[str]:
    """The tables and columns of training that a schema lacks, and the columns that have another type."""
    for key, table in trained.tables.items():
        current = schema.find(key)
        if current is None:
            yield f"table {key} is missing"
            continue
        types = {fold(column.name): column.type for column in current.columns}
        for column in table.columns:
            found = types.get(fold(column.name))
            if found is None:
                yield f"column {key}.{column.name} is missing"
            elif found != column.type:
                yield f"column {key}.{column.name} is {found}, was {column.type}"
