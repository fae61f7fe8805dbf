"""Whether the tables of a file are those that an imported model reads, and the model's schema over them.

Tables, columns, types, keys, links and times have to be as they were at training. What depends only on the file is
taken from it: whether a table is a view, which of its times are not events, and the SQL by which a time is computed.
SQL that came with a bundle is only compared, and never run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import duckdb

from relsql.database.names import fold
from relsql.errors import SchemaDriftError
from relsql.gather.paths import require_row_keys
from relsql.hints import command
from relsql.registry.cards.card import ModelCard
from relsql.registry.cards.schema_drift import column_drift
from relsql.schema.declared.text import columns_text
from relsql.schema.reading import read_schema
from relsql.schema.tables import EventRange, Schema, Table
from relsql.schema.times.sentinels import with_event_ranges

_Problem = tuple[str, tuple[str, ...]]
"""What differs, and the option of `relsql init` that declares it as it was."""


def fitted_schema(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> Schema:
    """The schema of a model over the tables of a database.

    Raises:
        SchemaDriftError: tables, columns, types, keys, links or times differ from those that the model was trained on.
    """
    found = read_schema(con, catalog)
    _require(card, [(problem, ()) for problem in column_drift(card.schema, found)])
    _require(card, list(_declared_differently(card.schema, found)))
    found = with_event_ranges(con, catalog, found)
    tables = {key: _fitted(table, found.table(key)) for key, table in card.schema.tables.items()}
    schema = Schema(tables, card.schema.links)
    require_row_keys(schema, card.paths)
    return schema


def _fitted(trained: Table, found: Table) -> Table:
    # A table without rows says nothing about its times.
    events = trained.events if found.events in (None, EventRange()) else found.events
    return replace(
        trained,
        is_view=found.is_view,
        key_origin=found.key_origin if trained.primary_key else None,
        row_time=found.row_time,
        values_of=found.values_of,
        events=events,
    )


def _require(card: ModelCard, problems: list[_Problem]) -> None:
    if problems:
        options = [part for _, option in problems for part in option]
        raise SchemaDriftError(
            f"the tables are not those that model '{card.name}' reads: {'; '.join(text for text, _ in problems)}",
            expected=f"the tables of training, {', '.join(card.schema.tables)}, with their columns, keys and links",
            fix=command("init", "FILE", *options) if all(option for _, option in problems) else "relsql inspect FILE",
        )


def _declared_differently(trained: Schema, schema: Schema) -> Iterator[_Problem]:
    """The keys, times and links of training that a schema with the same tables and columns declares differently."""
    for key, table in trained.tables.items():
        found = schema.table(key)
        if table.primary_key and _folded(table.primary_key) != _folded(found.primary_key):
            text = f"the key of {key} is ({', '.join(found.primary_key)}), was ({', '.join(table.primary_key)})"
            yield text, ("--primary-key", columns_text(key, *table.primary_key))
        if not _same_time(table, found):
            text = f"the time of {key} is {found.time_text or 'none'}, was {table.time_text or 'none'}"
            option = ("--time-column", columns_text(key, table.time_text)) if table.time_text else None
            # The text of a time does not name its second clock, so an option made from it would not restore both.
            known = table.row_time is not None and bool(table.row_time.known)
            yield text, () if known else option or ("--no-time-column", key)
        if not _same_values(table, found):
            yield f"{key} has other values than it had", ()
    for link in trained.links:
        if not any(link.same_columns(known) for known in schema.links):
            yield f"the link {link} is missing", ("--link", str(link))


def _same_time(trained: Table, found: Table) -> bool:
    """True if the times of two tables are computed in the same way."""
    mine, theirs = trained.row_time, found.row_time
    if fold(trained.time_column or "") != fold(found.time_column or "") or (mine is None) != (theirs is None):
        return False
    if mine is None or theirs is None:
        return True
    if (mine.expression, mine.known) != (theirs.expression, theirs.known):
        return False
    if mine.header is None or mine.link is None or theirs.header is None or theirs.link is None:
        return (mine.header, mine.link) == (theirs.header, theirs.link)
    same_link = fold(mine.header.key) == fold(theirs.header.key) and mine.link.same_columns(theirs.link)
    return same_link and _same_time(mine.header, theirs.header)


def _same_values(trained: Table, found: Table) -> bool:
    """True if two tables of values have those of the same columns, see `relsql.schema.value_tables`."""
    mine, theirs = (
        {(fold(each.table.key), fold(each.column)) for each in table.values_of} for table in (trained, found)
    )
    same_times = all(
        _same_time(one.table, other.table)
        for one in trained.values_of
        for other in found.values_of
        if fold(one.table.key) == fold(other.table.key)
    )
    return mine == theirs and same_times


def _folded(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(fold, names))
