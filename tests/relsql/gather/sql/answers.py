"""Run the gather query on the reference's databases; answers have the form of the reference's."""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import replace
from typing import Any

import duckdb

from relsql.gather.node_inputs import CategoryInput, NodeInputs, NumberInput
from relsql.gather.paths import plan_paths
from relsql.gather.row_plan import RowPlan
from relsql.gather.sql.latest_rows import LatestRows
from relsql.gather.sql.query import Gather
from relsql.schema.indexes import Indexed
from relsql.schema.tables import Schema
from relsql.sql_text import literal
from tests.relsql.gather.sql.reference import Answer, Database, Delayed, Gathered, Seed, rounded

DAYS = [datetime.datetime(2020, 1, day) for day in (1, 2, 3, 4)]
MICROSECOND = datetime.timedelta(microseconds=1)
AS_OFS = [DAYS[0] - MICROSECOND, DAYS[0], DAYS[1] - MICROSECOND, DAYS[1], DAYS[3]]
ALL_SEEDS: list[Seed] = [(key, as_of) for key in (0, 1, 2, 98) for as_of in AS_OFS]
ALL_DELAYED: list[Delayed] = [(*seed, until) for seed in ALL_SEEDS for until in AS_OFS if until <= seed[1]]

TEXT_LENGTH = "CREATE OR REPLACE TEMP MACRO text_length(text) AS coalesce(length(text), 0)::INTEGER"


def gathered(column: list[dict[str, Any]] | None) -> Counter[Gathered]:
    rows = Counter[Gathered]()
    for row in column or []:
        numbers = [v for k, v in row.items() if k.startswith("n")]
        codes = [v for k, v in row.items() if k.startswith("c")]
        rows[(row["rank"], tuple(map(rounded, numbers)), tuple(codes))] += 1
    return rows


def seeds_sql(seeds: list[Seed], key_type: str) -> str:
    if not seeds:
        return f"SELECT CAST(NULL AS {key_type}) AS _entity, CAST(NULL AS TIMESTAMP) AS _as_of WHERE false"
    values = ", ".join(f"(CAST({literal(key)} AS {key_type}), {literal(as_of)})" for key, as_of in seeds)
    return f"SELECT * FROM (VALUES {values}) seeds(_entity, _as_of)"


def run(con: duckdb.DuckDBPyConnection, gather: Gather, seeds: list[Seed]) -> dict[Seed, Answer]:
    con.execute(TEXT_LENGTH)
    entity = gather.plan.schema.table(gather.plan.paths[0].table)
    key_type = entity.column(entity.primary_key[0]).type
    rows = con.execute(gather.query(seeds_sql(seeds, key_type))).fetchall()
    assert len(rows) == len(seeds)
    return {(row[0], row[1]): answer(gather, row[1 + len(gather.rows.moments) :]) for row in rows}


def in_catalog(gather: Gather, catalog: str) -> Gather:
    return replace(gather, rows=replace(gather.rows, catalog=catalog))


def run_delayed(con: duckdb.DuckDBPyConnection, gather: Gather, seeds: list[Delayed]) -> dict[Delayed, Answer]:
    con.execute(TEXT_LENGTH)
    values = ", ".join(f"({', '.join(map(literal, seed))})" for seed in seeds)
    seed = f"SELECT * FROM (VALUES {values}) seeds(_entity, _as_of, _until)"
    rows = con.execute(gather.for_seeds(gather.rows.seed_kind, delayed=True).query(seed)).fetchall()
    assert len(rows) == len(seeds)
    return {(row[0], row[1], row[2]): answer(gather, row[3:]) for row in rows}


def answer(gather: Gather, values: tuple[Any, ...]) -> Answer:
    found = dict(zip(gather.qualified_columns(), values, strict=True))
    counts = {name: value and tuple(value.values()) for name, value in found.items() if "__" in name}
    return {path.name: gathered(found[path.name]) for path in gather.plan.paths} | counts


def inputs_of(schema: Schema) -> dict[str, NodeInputs]:
    inputs = {}
    for key, table in schema.tables.items():
        ages = (NumberInput(table.time_column, "age"),) if table.time_column else ()
        names = table.column_names
        number = tuple(NumberInput(n, "number") for n in names if n.endswith("value"))
        letter = tuple(n for n in names if n.endswith("letter"))
        inputs[key] = NodeInputs(key, (*ages, *number), tuple(CategoryInput(n, ("a", "b")) for n in letter), letter)
    return inputs


def planned(
    con: duckdb.DuckDBPyConnection,
    database: Database,
    catalog: str,
    entity: str,
    fanout: int,
    horizon: float = 1.0,
    *,
    data_age: bool = False,
    event_hubs: bool = False,
) -> Gather:
    paths = plan_paths(
        con, catalog, database.schema, entity, fanout=fanout, horizon_days=horizon, event_hubs=event_hubs
    )
    paths = (replace(paths[0], data_age=data_age), *paths[1:])
    return Gather(LatestRows(RowPlan(database.schema, paths, inputs_of(database.schema)), catalog), "text_length")


def every_column(gather: Gather) -> Indexed:
    """All columns: the SQL is then as if each had an index."""
    return frozenset((key, column.name) for key, table in gather.plan.schema.tables.items() for column in table.columns)
