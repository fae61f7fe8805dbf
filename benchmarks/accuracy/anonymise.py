"""Copy a database with its texts replaced by random strings, so that a model cannot use knowledge from elsewhere.

    python -m benchmarks.accuracy.anonymise IN.duckdb OUT.duckdb [--seed 0]

The values of all VARCHAR and VARCHAR[] columns are replaced: names, references, addresses, free text. Equal values of a
column become equal strings, and so do equal values of linked key columns, so that every join gives the same rows. These
are kept:

    NULL, and in columns that are not keys every value without a letter: a number, date or time written as text;
    values that a task's label query names in a string literal, also as a LIKE pattern, so that labels stay the same;
    table and column names, keys, links, time columns, tasks, and the order of rows.

Trained models are left out: they were trained on the texts. The labels of all tasks are compared afterwards.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import duckdb
import pyarrow as pa

from relsql.database.connections import open_database
from relsql.database.relsql_tables import has_relsql_table, relsql_table
from relsql.errors import DatabaseError, TaskError
from relsql.schema.reading import read_schema
from relsql.schema.tables import Column, Schema, Table
from relsql.sql_text import ident, literal
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.splits import SPLITS
from relsql.tasks.stored_tasks import read_tasks

COPIED = ("schema_tables", "schema_links", "tasks")
"""Tables of schema `relsql` that describe the data; the others belong to trained models."""

_QUOTED = re.compile(r"""--[^\n]*|"(?:[^"]|"")*"|'((?:[^']|'')*)'""")
_SOURCE, _TARGET = "anonymise_source", "anonymise_target"
_ColumnName = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Replaced:
    """A textual column: how many distinct values were replaced, and how many were kept."""

    table: str
    column: str
    replaced: int
    kept: int


def anonymise(source: Path, target: Path, *, seed: int = 0, overwrite: bool = False) -> list[Replaced]:
    """Write the copy; the same seed gives the same strings.

    Raises:
        DatabaseError: `source` is not a DuckDB file, `target` exists, a column contains texts within a STRUCT or
            another nested type, or the labels of a task have changed.
    """
    if target.exists() and not overwrite:
        raise DatabaseError(f"file '{target}' exists", expected="a new file", fix="add --overwrite")
    open_database(source, read_only=True).close()
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with closing(duckdb.connect()) as con:
            con.execute(f"ATTACH {literal(str(source))} AS {_SOURCE} (READ_ONLY)")
            con.execute(f"ATTACH {literal(str(draft))} AS {_TARGET}")
            report = _copy(con, seed)
            _check_labels(con)
            con.execute(f"DETACH {_TARGET}")
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
        draft.with_name(f"{draft.name}.wal").unlink(missing_ok=True)
    return report


def _copy(con: duckdb.DuckDBPyConnection, seed: int) -> list[Replaced]:
    con.execute(f"COPY FROM DATABASE {_SOURCE} TO {_TARGET} (SCHEMA)")
    schema = read_schema(con, _SOURCE)
    named = sorted({text for task in read_tasks(con, _SOURCE).values() for text in string_literals(task.sql)})
    groups, report = _key_groups(schema), []
    for table in _parents_first(schema):
        cells = {column.name: ident(column.name) for column in table.columns}
        for column in table.columns:
            if _is_text(table, column):
                group = groups.get((table.key, column.name))
                salt = f"{seed}/{group or (table.key, column.name)}/"
                cells[column.name] = _replaced_sql(column, salt, named, is_key=group is not None)
                report.append(_count(con, table, column, cells[column.name]))
        columns = ", ".join(f"{cell} AS {ident(name)}" for name, cell in cells.items())
        con.execute(f"INSERT INTO {table.sql(_TARGET)} SELECT {columns} FROM {table.sql(_SOURCE)}")
    for name in COPIED:
        if has_relsql_table(con, _SOURCE, name):
            con.execute(f"INSERT INTO {relsql_table(con, _TARGET, name)} FROM {relsql_table(con, _SOURCE, name)}")
    return report


def string_literals(sql: str) -> set[str]:
    """The string literals of a query that contain a letter: values and LIKE patterns."""
    found = (match[1].replace("''", "'") for match in _QUOTED.finditer(sql) if match[1] is not None)
    return {text for text in found if any(character.isalpha() for character in text)}


def _is_text(table: Table, column: Column) -> bool:
    """True for a textual column.

    Raises:
        DatabaseError: it contains texts within a nested type, which are not replaced here.
    """
    if column.type in ("VARCHAR", "VARCHAR[]"):
        return True
    if "VARCHAR" in column.type or column.type.startswith(("ENUM", "JSON", "UNION", "VARIANT")):
        raise DatabaseError(f"column '{table.key}.{column.name}' is {column.type}", expected="VARCHAR or VARCHAR[]")
    return False


def _key_groups(schema: Schema) -> dict[_ColumnName, _ColumnName]:
    """For each column of a primary key or link, the first of all columns that it is linked with, also indirectly."""
    groups = {(table.key, name): (table.key, name) for table in schema.tables.values() for name in table.primary_key}
    pairs = [
        ((link.child, child), (link.parent, parent))
        for link in schema.links
        for child, parent in zip(link.child_columns, link.parent_columns, strict=True)
    ]
    groups |= {column: groups.get(column, column) for pair in pairs for column in pair}
    for child, parent in pairs:
        low, high = sorted((groups[child], groups[parent]))
        groups = {column: low if group == high else group for column, group in groups.items()}
    return groups


def _parents_first(schema: Schema) -> list[Table]:
    """The tables, parents before children, so that they can be filled despite foreign key constraints."""
    parents: dict[str, set[str]] = {key: set() for key in schema.tables}
    for link in schema.links:
        if link.origin == "constraint" and link.child != link.parent:
            parents[link.child].add(link.parent)
    try:
        return [schema.table(key) for key in TopologicalSorter(parents).static_order()]
    except CycleError as error:
        raise DatabaseError(f"foreign keys form a cycle: {' -> '.join(error.args[1])}") from error


def _replaced_sql(column: Column, salt: str, named: Iterable[str], *, is_key: bool) -> str:
    """The new value of a column."""
    if column.type == "VARCHAR[]":
        inner = _replaced_sql(Column("value", "VARCHAR"), salt, named, is_key=is_key)
        return f'list_transform({ident(column.name)}, lambda "value": {inner})'
    value = ident(column.name)
    kept = [f"{value} ILIKE {literal(text)}" for text in named]
    if not is_key:
        kept.append(f"NOT regexp_matches({value}, '\\p{{L}}')")
    letters = f"translate(sha256({literal(salt)} || {value}), '0123456789abcdef', 'bcdfghjklmnpqrst')"
    return f"CASE WHEN {' OR '.join(kept or ['false'])} THEN {value} ELSE {letters}[:16] END"


def _count(con: duckdb.DuckDBPyConnection, table: Table, column: Column, cell: str) -> Replaced:
    changed = f"{ident(column.name)} IS DISTINCT FROM {cell}"
    query = f"""SELECT count(DISTINCT {ident(column.name)}) FILTER (WHERE {changed}),
                       count(DISTINCT {ident(column.name)}) FILTER (WHERE NOT {changed}) FROM {table.sql(_SOURCE)}"""
    [(replaced, kept)] = con.execute(query).fetchall()
    return Replaced(table.key, column.name, replaced, kept)


def _check_labels(con: duckdb.DuckDBPyConnection) -> None:
    """Compare the labels of all tasks by time, unless the source has no labels."""
    before, after = (read_schema(con, catalog) for catalog in (_SOURCE, _TARGET))
    for name, task in read_tasks(con, _SOURCE).items():
        for split in SPLITS:
            try:
                expected = label_table(con, _SOURCE, before, task, split).table
            except TaskError:
                continue
            if _by_time(label_table(con, _TARGET, after, task, split).table) != _by_time(expected):
                raise DatabaseError(
                    f"task '{name}' has other {split} labels without its texts",
                    expected="a label query that names the texts it needs in string literals",
                )


def _by_time(labels: pa.Table) -> list[tuple[object, object]]:
    """Sorted pairs (as_of, label); the keys are left out because textual keys were replaced."""
    return sorted(zip(labels["as_of"].to_pylist(), labels["label"].to_pylist(), strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy.anonymise", description=__doc__.splitlines()[0]
    )
    parser.add_argument("source", type=Path, help="DuckDB file to read")
    parser.add_argument("target", type=Path, help="DuckDB file to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random strings")
    parser.add_argument("--overwrite", action="store_true", help="replace the target")
    options = parser.parse_args(arguments)
    for each in anonymise(options.source, options.target, seed=options.seed, overwrite=options.overwrite):
        print(f"{each.table}.{each.column}: {each.replaced:,} values replaced, {each.kept:,} kept")


if __name__ == "__main__":
    main()
