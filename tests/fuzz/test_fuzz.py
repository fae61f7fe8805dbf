"""A small part of the random databases, the same in every run; `make fuzz` draws others."""

from __future__ import annotations

import duckdb
import pytest

from relsql.database.names import current_catalog
from relsql.errors import RelsqlError
from relsql.schema.tables import read_schema
from tests.fuzz.cases import run_case
from tests.fuzz.databases import TYPES, create_database

ARRAY_SEEDS = (22, 27, 33)
"""Seeds with arrays of a fixed size in a table that another one points at: a list of structs with such a column made
DuckDB read foreign memory (`docs/decisions/0001-one-gather.md`)."""

SEEDS = (*ARRAY_SEEDS, *range(1, 7))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_database_holds(seed: int) -> None:
    case = run_case(seed, trained=False)
    assert case.result != "failed", f"python -m tests.fuzz --seed {seed}: {case.stage}: {case.message}"


@pytest.mark.slow
def test_a_model_of_a_random_database_scores_alike_in_every_way() -> None:
    case = run_case(7, trained=True)
    assert case.result == "held", f"python -m tests.fuzz --train --seed 7: {case.stage}: {case.message}"


def test_random_databases_are_as_odd_as_they_should_be() -> None:
    seen: set[str] = set()
    schemas = composite = selfish = empty = refused = 0
    for seed in range(40):
        with duckdb.connect() as con:
            try:
                tables = create_database(con, seed).tables
            except RelsqlError:
                refused += 1
                continue
            assert len(read_schema(con, current_catalog(con)).tables) == len(tables)
        seen |= {kind for table in tables for _, kind, _ in table.columns}
        schemas += any(table.schema_name != "main" for table in tables)
        composite += any(len(table.key) > 1 for table in tables)
        selfish += any(reference.parent is table for table in tables for reference in table.references)
        empty += any(table.rows == 0 for table in tables)
    assert len(set(TYPES) - seen) <= 3
    assert min(schemas, composite, selfish, empty) >= 3 and refused <= 4


def test_a_seed_stands_for_a_database() -> None:
    found = []
    for _ in range(2):
        with duckdb.connect() as con:
            tables = create_database(con, 3).tables
            digests = [con.execute(f"SELECT count(*), sum(hash(t)) FROM {table.sql} t").fetchall() for table in tables]
        found.append(digests)
    assert found[0] == found[1]
