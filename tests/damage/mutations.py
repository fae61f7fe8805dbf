"""Kinds of damage to a stored row and to a field of the card."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from relsql.registry.cards.reading import read_card_text
from relsql.sql_text import ident

Apply = Callable[[duckdb.DuckDBPyConnection], None]


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of damage.

    Attributes:
        name: `models.card: NULL`.
        table: the damaged table of schema `relsql`; its name without the model's identity.
        apply: damages the file, in the transaction of a connection to it.
        forged: the digests are recomputed, as an attacker would do.
    """

    name: str
    table: str
    apply: Apply
    forged: bool = False


def table_cases(con: duckdb.DuckDBPyConnection) -> Iterator[Case]:
    """Damage to every table of schema relsql, column by column and row by row."""
    query = """SELECT table_name, list((column_name, data_type) ORDER BY column_index) FROM duckdb_columns()
               WHERE schema_name = 'relsql' AND database_name = current_database()
                 AND table_name IN (SELECT table_name FROM duckdb_tables()) GROUP BY ALL ORDER BY ALL"""
    for table, columns in con.execute(query).fetchall():
        [(rows,)] = con.execute(f"SELECT count(*) FROM relsql.{table}").fetchall()
        if not rows:
            continue
        yield from _row_cases(table)
        for column, kind in columns:
            yield from _column_cases(table, column, kind, rows)


def _row_cases(table: str) -> Iterator[Case]:
    first = f"rowid = (SELECT min(rowid) FROM relsql.{table})"
    yield _sql(table, "deleted row", f"DELETE FROM relsql.{table} WHERE {first}")
    yield _sql(table, "no rows", f"DELETE FROM relsql.{table}")
    yield _sql(table, "duplicated row", f"INSERT INTO relsql.{table} SELECT * FROM relsql.{table} WHERE {first}")


def _column_cases(table: str, column: str, kind: str, rows: int) -> Iterator[Case]:
    name, quoted = f"relsql.{table}", ident(column)
    for position in range(min(rows, 4 if table == "artifacts" else 2)):
        at = f"rowid = (SELECT rowid FROM {name} ORDER BY rowid LIMIT 1 OFFSET {position})"
        where = f"{column}, row {position}"
        yield _sql(table, f"{where}: NULL", f"UPDATE {name} SET {quoted} = NULL WHERE {at}")
        for label, value in _other_values(quoted, kind):
            yield _sql(table, f"{where}: {label}", f"UPDATE {name} SET {quoted} = {value} WHERE {at}")
        if kind.startswith("STRUCT"):
            yield Case(f"{table}.{where}: one weight", table, _damage_weight(name, column))
        if position:
            first = f"SELECT rowid AS i, {quoted} AS v FROM {name} ORDER BY rowid LIMIT 5"
            pair = f"(SELECT list(r ORDER BY r.i) FROM ({first}) r)"
            swap = (
                f"UPDATE {name} SET {quoted} = CASE WHEN {at} THEN p[1].v ELSE p[{position + 1}].v END "
                f"FROM (SELECT {pair} AS p) WHERE {name}.rowid IN (p[1].i, p[{position + 1}].i)"
            )
            yield _sql(table, f"{where}: swapped with row 0", swap)


def _other_values(column: str, kind: str) -> Iterator[tuple[str, str]]:
    if kind == "VARCHAR":
        yield "other text", f"{column} || 'x'"
        yield "upper case", f"upper({column})"
        yield "a space more", f"{column} || ' '"
        yield "cut", f"left({column}, (length({column}) / 2)::INTEGER)"
        yield "empty", "''"
    elif kind == "TIMESTAMP":
        yield "a day later", f"{column} + INTERVAL 1 DAY"
    elif kind == "BOOLEAN":
        yield "negated", f"NOT {column}"
    elif kind == "BLOB":
        half = f"(octet_length({column}) // 2)::INTEGER"
        hexed = f"hex({column})"
        yield "cut", f"unhex(left({hexed}, 2 * {half}))"
        yield "one byte", f"unhex(left({hexed}, 2 * {half}) || '5a' || substr({hexed}, 2 * {half} + 3))"
        yield "empty", "''::BLOB"
    elif kind.startswith("FLOAT["):
        yield (
            "one number",
            f"list_transform({column}::FLOAT[], lambda x, i: CASE WHEN i = 3 THEN x + 0.5 ELSE x END)::{kind}",
        )
        yield "NaN", f"list_transform({column}::FLOAT[], lambda x, i: CASE WHEN i = 3 THEN 'nan' ELSE x END)::{kind}"
        yield "reversed", f"list_reverse({column}::FLOAT[])::{kind}"
        yield (
            "one number is NULL",
            f"list_transform({column}::FLOAT[], lambda x, i: CASE WHEN i <> 3 THEN x END)::{kind}",
        )
    elif kind == "VARCHAR[]":
        yield "one more", f"list_append({column}, 'x')"
        yield "none", "[]"
    elif not kind.startswith("STRUCT") and not kind.endswith("[]"):
        yield "one more", f"{column} + 1"


def _sql(table: str, what: str, statement: str) -> Case:
    return Case(f"{table}.{what}" if ":" in what else f"{table}: {what}", table, lambda con: _run(con, statement))


def _run(con: duckdb.DuckDBPyConnection, statement: str) -> None:
    con.execute(statement)


def _damage_weight(name: str, column: str) -> Apply:
    """The first number within a column of weights, a thousandth larger."""

    def apply(con: duckdb.DuckDBPyConnection) -> None:
        table = con.sql(f"FROM {name}").to_arrow_table()
        rows = table.to_pylist()
        _change_number(rows[0][column])
        con.register("damaged_weights", pa.Table.from_pylist(rows, table.schema))
        con.execute(f"DELETE FROM {name}; INSERT INTO {name} FROM damaged_weights")
        con.unregister("damaged_weights")

    return apply


def _change_number(value: Any) -> bool:
    items = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, item in items:
        if isinstance(item, float) and item:
            value[key] = item * 1.001
            return True
        if _change_number(item):
            return True
    return False


def card_cases(con: duckdb.DuckDBPyConnection) -> Iterator[Case]:
    """Damage to every field of the active version's card, without and with recomputed digests."""
    [(text, version)] = con.execute("SELECT card, version FROM relsql.models WHERE status = 'active'").fetchall()
    card = json.loads(text)
    for path in _leaves(card, ()):
        for label, changed in _changed_fields(card, path):
            name = f"card {'.'.join(map(str, path))}: {label}"
            yield Case(name, "models", _write_card(json.dumps(changed), version))
            yield Case(f"{name}, forged", "models", _forge_card(changed, version), forged=True)
    for label, content in (
        ("nested", '{"format": 3, "name": ' + "[" * 100_000 + "]" * 100_000 + "}"),
        (
            "nested in a field",
            text.replace('"options": {', '"options": {"x": ' + "[" * 100_000 + "]" * 100_000 + ",", 1),
        ),
        ("cut", text[: len(text) // 2]),
        ("no object", "[]"),
        ("empty", ""),
        ("large", text.replace('"created"', '"padding": "' + "x" * 70_000_000 + '", "created"', 1)),
    ):
        yield Case(f"card: {label}", "models", _write_card(content, version))
        yield Case(f"card: {label}, forged", "models", _seal(_write_card(content, version)), forged=True)


def _leaves(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """Paths of all fields, including objects and lists; of long lists only the first three items."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value[:3]):
            yield from _leaves(item, (*path, position))


def _changed_fields(card: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str, Any]]:
    """The card with one field changed in several ways."""

    def with_value(change: Callable[[Any, Any], None]) -> Any:
        changed = copy.deepcopy(card)
        parent = changed
        for key in path[:-1]:
            parent = parent[key]
        change(parent, path[-1])
        return changed

    def put(new: Any) -> Callable[[Any, Any], None]:
        return lambda parent, key: parent.__setitem__(key, new)

    value = card
    for key in path:
        value = value[key]
    yield "null", with_value(put(None))
    yield "missing", with_value(lambda parent, key: parent.__delitem__(key))
    yield "other type", with_value(put([] if isinstance(value, (str, int, float)) else "x"))
    if isinstance(value, bool):
        yield "negated", with_value(put(not value))
    elif isinstance(value, (int, float)):
        for label, new in (("one more", value + 1), ("negative", -value - 1), ("huge", 10**18), ("zero", 0)):
            yield label, with_value(put(new))
    elif isinstance(value, str):
        for label, new in (("longer", value + "x"), ("quotes", "\"'; DROP TABLE orders; --"), ("empty", "")):
            yield label, with_value(put(new))
    elif isinstance(value, list) and value:
        yield "reversed", with_value(put(value[::-1]))
        yield "doubled", with_value(put(value + value))
        yield "emptied", with_value(put([]))


def _write_card(text: str, version: int) -> Apply:
    def apply(con: duckdb.DuckDBPyConnection) -> None:
        con.execute("UPDATE relsql.models SET card = ? WHERE version = ?", [text, version])

    return apply


def _seal(apply: Apply) -> Apply:
    def sealed(con: duckdb.DuckDBPyConnection) -> None:
        from relsql.database.relsql_tables import seal_rows

        apply(con)
        seal_rows(con, "damaged", "models")

    return sealed


def _forge_card(card: Any, version: int) -> Apply:
    """The changed card, with the registry's columns changed accordingly."""

    def apply(con: duckdb.DuckDBPyConnection) -> None:
        from relsql.errors import RelsqlError

        con.execute("UPDATE relsql.models SET card = ? WHERE version = ?", [json.dumps(card), version])
        try:
            read = read_card_text(json.dumps(card))
        except (RelsqlError, TypeError, ValueError):
            return
        values = [read.name, read.version, read.task.name, read.task.task_type, read.identity, version]
        con.execute(
            "UPDATE relsql.models SET name = ?, version = ?, task = ?, task_type = ?, sha256 = ? WHERE version = ?",
            values,
        )

    return _seal(apply)
