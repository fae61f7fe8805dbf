"""Sessions and databases that try to change what relsql's SQL means."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import duckdb

SETTINGS = (
    "default_order = 'DESC'",
    "default_null_order = 'NULLS_FIRST'",
    "default_null_order = 'NULLS_LAST_ON_ASC_FIRST_ON_DESC'",
    "TimeZone = 'Pacific/Kiritimati'",
    "threads = 3",
    "preserve_insertion_order = false",
    "integer_division = true",
    "preserve_identifier_case = false",
    "old_implicit_casting = true",
    "ieee_floating_point_ops = false",
    "scalar_subquery_error_on_multiple_rows = false",
    "default_collation = 'NOCASE'",
)
"""Under the last one, queries over text keys are refused."""


@contextmanager
def hostile_settings(
    con: duckdb.DuckDBPyConnection, rng: random.Random, *, text_keys: bool
) -> Iterator[tuple[str, ...]]:
    """Change some of a session's settings during a block and restore them; yields the changed settings."""
    settings = SETTINGS[:-1] if text_keys else SETTINGS
    chosen = tuple(rng.sample(settings, rng.randint(1, len(settings))))
    names = {setting.split(" = ")[0] for setting in chosen}
    query = "SELECT value FROM duckdb_settings() WHERE name = ?"
    former = {name: con.execute(query, [name]).fetchall()[0][0] for name in names if _exists(con, name)}
    try:
        for setting in chosen:
            if setting.split(" = ")[0] in former:
                con.execute(f"SET {setting}")
        yield chosen
    finally:
        for name, value in former.items():
            con.execute(f"SET {name} = '{value}'")


def _exists(con: duckdb.DuckDBPyConnection, name: str) -> bool:
    return con.execute("SELECT count(*) FROM duckdb_settings() WHERE name = ?", [name]).fetchall() == [(1,)]


def create_hostile_macros(con: duckdb.DuckDBPyConnection, functions: Iterable[str]) -> list[str]:
    """Create macros in the current database with the names of functions and operators, and with wrong results.

    Returns:
        Their names; DuckDB does not allow some of them to be defined.
    """
    created = []
    forms = ", ".join(f"({', '.join(f'a{i}' for i in range(count))}) AS NULL" for count in range(6))
    for name in sorted(functions):
        try:
            con.execute(f'CREATE MACRO main."{name}" {forms}')
        except duckdb.Error:
            continue
        created.append(name)
    return created
