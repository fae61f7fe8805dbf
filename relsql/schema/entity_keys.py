"""The key of an entity as one value in SQL.

An entity is identified by one value, whether its key has one column or several: by the column's value, or by a STRUCT
with a field for each column. Seeds, labels, batch jobs and fingerprints carry this value; people write and read the
columns, as in `predict_wins(team, season)`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from relsql.database.names import fold
from relsql.schema.tables import Table
from relsql.sql_text import ident, literal


def entity_parameters(entity: Table) -> tuple[str, ...]:
    """The parameters of a scoring function that take the key: `id`, or `id1`, `id2`, ... for a key of several columns.

    They cannot have the columns' names, because DuckDB replaces every unqualified name in a macro's body that is also
    the name of a parameter.
    """
    count = len(entity.primary_key)
    return ("id",) if count == 1 else tuple(f"id{i}" for i in range(1, count + 1))


def key_type(entity: Table) -> str:
    """The DuckDB type of the key."""
    types = {name: entity.column(name).type for name in entity.primary_key}
    if len(types) == 1:
        return next(iter(types.values()))
    return f"STRUCT({', '.join(f'{ident(name)} {type_}' for name, type_ in types.items())})"


def key_from_parts(entity: Table, parts: Sequence[str]) -> str:
    """The key whose columns have the values `parts`, which are expressions in the order of the key's columns."""
    if len(entity.primary_key) == 1:
        return parts[0]
    return "{" + ", ".join(f"{ident(c)}: {part}" for c, part in zip(entity.primary_key, parts, strict=True)) + "}"


def key_sql(entity: Table, alias: str = "", columns: Sequence[str] | None = None) -> str:
    """The key that a row holds, as an expression.

    Args:
        entity: the entity table.
        alias: the row's alias in the query; empty: columns are not qualified.
        columns: the columns that hold the key, in the order of the entity's; default: the entity's own columns.
    """
    return key_from_parts(entity, _qualified(alias, columns or entity.primary_key))


def key_known_sql(entity: Table, alias: str = "", columns: Sequence[str] | None = None) -> str:
    """The condition that a row holds a key: no part of it is NULL. Arguments as in `key_sql`."""
    return " AND ".join(f"{part} IS NOT NULL" for part in _qualified(alias, columns or entity.primary_key))


def key_parts(entity: Table, key: str) -> Mapping[str, str]:
    """For each key column, the expression that takes its value from the expression `key`."""
    if len(entity.primary_key) == 1:
        return {entity.primary_key[0]: key}
    return {name: f"struct_extract({key}, {literal(name)})" for name in entity.primary_key}


def key_arguments_sql(entity: Table, key: str) -> str:
    """The parts of the expression `key`, as the arguments of a model's SQL function."""
    return ", ".join(key_parts(entity, key).values())


def output_names(entity: Table, others: Collection[str]) -> tuple[str, ...]:
    """The names of the key's columns in a result that also has the columns `others`.

    If a key column has the name of one of `others`, it gets the table's name as a prefix: `races_as_of`.
    """
    taken = {fold(name) for name in (*others, *entity.primary_key)}
    found = []
    for name in entity.primary_key:
        if fold(name) in map(fold, others):
            name = f"{entity.name}_{name}"
            while fold(name) in taken:
                name = f"{name}_"
        found.append(name)
    return tuple(found)


def key_columns_sql(entity: Table, key: str, names: Sequence[str]) -> str:
    """The parts of the expression `key` as a select list, under the given names."""
    parts = zip(names, key_parts(entity, key).values(), strict=True)
    return ", ".join(f"{part} AS {ident(name)}" for name, part in parts)


def key_order_sql(names: Sequence[str]) -> str:
    """The terms that order rows by the columns of a key."""
    return ", ".join(f"{ident(name)} ASC NULLS LAST" for name in names)


def is_entity_sql(entity: Table, alias: str, key: str, columns: Sequence[str] | None = None) -> str:
    """The condition that a row holds the key `key`. Other arguments as in `key_sql`."""
    pairs = zip(_qualified(alias, columns or entity.primary_key), key_parts(entity, key).values(), strict=True)
    return " AND ".join(f"{mine} = {part}" for mine, part in pairs)


def _qualified(alias: str, columns: Sequence[str]) -> list[str]:
    return [f"{alias}.{ident(name)}" if alias else ident(name) for name in columns]
