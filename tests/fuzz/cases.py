"""One case: the database of a seed through schema, plan, labels, gather, and in some cases training and publishing."""

from __future__ import annotations

import datetime
import random
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from relsql.database.names import current_catalog
from relsql.database.queries.sealed import function_names
from relsql.errors import RelsqlError
from relsql.schema.checks import check_schema
from relsql.schema.discovery.propose import infer_schema
from relsql.schema.reading import read_schema
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.regime import Regime
from relsql.training.plan import Plan, make_plan
from tests.children import in_child
from tests.fuzz.databases import RandomDatabase, change_later_rows, create_database
from tests.fuzz.gathering import Gathered, Routes
from tests.fuzz.hostile import create_hostile_macros, hostile_settings
from tests.fuzz.models import check_model

MOMENT = datetime.datetime(2022, 3, 3, 3)
MOMENTS = [datetime.datetime(2021, 8, 1), MOMENT, datetime.datetime(2022, 6, 1)]
TRAINED_EVERY = 25
"""A model is trained for one seed in this many, because it takes a hundred times as long."""

TIMEOUT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Case:
    """The outcome of a seed: `held`, `refused` by an error of relsql, or `failed`; and the stage."""

    seed: int
    result: str
    stage: str
    message: str = ""

    @property
    def kind(self) -> str:
        """A key of the cause: cases of one kind probably have the same cause."""
        return f"{self.result} in {self.stage}: {self.message[:60]}"


class Difference(Exception):
    """Two results differ that must be equal."""


def run_case(seed: int, *, trained: bool | None = None) -> Case:
    """Run a case in a child process, which may crash or hang."""
    ending = in_child(lambda: _case(seed, trained), timeout=TIMEOUT_SECONDS)
    return ending.value if ending.trouble is None else Case(seed, "failed", "the process", str(ending.trouble))


def _case(seed: int, trained: bool | None) -> Case:
    stages = _Stages(seed, seed % TRAINED_EVERY == 0 if trained is None else trained)
    try:
        stages.run()
    except RelsqlError as error:
        return Case(seed, "refused", stages.stage, f"{type(error).__name__}: {error}")
    except Difference as error:
        return Case(seed, "failed", stages.stage, str(error))
    except Exception as error:
        message = f"{type(error).__name__}: {str(error)[:1500]}\n{traceback.format_exc()[-2500:]}"
        return Case(seed, "failed", stages.stage, message)
    return Case(seed, "held", stages.stage)


class _Stages:
    """The stages of a case; `stage` is the one that runs."""

    def __init__(self, seed: int, trained: bool) -> None:
        self.seed, self.trained, self.stage = seed, trained, "start"
        self.rng = random.Random(f"case {seed}")

    def run(self) -> None:
        """Run all stages.

        Raises:
            Difference: two ways to compute the same result gave different results.
        """
        with duckdb.connect() as con:
            self.stage = "declarations"
            database = create_database(con, self.seed)
            catalog = current_catalog(con)
            self.stage = "schema"
            check_schema(con, catalog, read_schema(con, catalog))
            self.stage = "inference"
            infer_schema(con, catalog)
            self.stage = "plan"
            plan = self._plan(con, catalog, database)
            self.stage = "labels"
            for split in ("train", "val", "test"):
                label_table(con, catalog, plan.database, plan.task, split)
            self._gather(con, catalog, database, plan)

    def _plan(self, con: duckdb.DuckDBPyConnection, catalog: str, database: RandomDatabase) -> Plan:
        """Plan what a model reads; the choices depend only on the seed, so that each call gives the same plan."""
        rng = random.Random(f"plan {self.seed}")
        regime: Regime = rng.choice(["seed-time", "seed-time", "frozen"])
        return make_plan(con, catalog, database.task, fanout=rng.choice([1, 3, 4]), regime=regime)

    def _gather(self, con: duckdb.DuckDBPyConnection, catalog: str, database: RandomDatabase, plan: Plan) -> None:
        self.stage = "gather"
        routes = Routes(con, catalog, plan)
        found = routes.read(MOMENTS)
        for route, rows in found.items():
            _same(f"route '{route}'", rows, found["all"])
        single = routes.one_by_one(MOMENT, 4)
        _same("one by one", _of(single, found["all"]), _of(found["all"], single))
        self.stage = "gather under hostile settings"
        with hostile_settings(con, self.rng, text_keys=plan.rows.has_text_keys()) as settings:
            for route, rows in routes.read(MOMENTS).items():
                _same(f"route '{route}' under {', '.join(settings)}", rows, found["all"])
            if self._plan(con, catalog, database) != plan:
                raise Difference(f"another plan under {', '.join(settings)}")
        if self.trained:
            self.stage = "model"
            check_model(con, catalog, database.task, self.rng)
        self.stage = "gather among hostile macros"
        functions = {name for query in routes.queries(MOMENTS).values() for name in function_names(query)}
        macros = create_hostile_macros(con, functions)
        for route, rows in routes.read(MOMENTS).items():
            _same(f"route '{route}' among macros {', '.join(macros)}", rows, found["all"])
        for name in macros:
            con.execute(f'DROP MACRO main."{name}"')
        self.stage = "leakage"
        before = routes.read([MOMENT])["all"]
        change_later_rows(con, database, MOMENT, self.seed)
        for route, rows in routes.read([MOMENT]).items():
            _same(f"route '{route}' after later rows changed", rows, before)


def _of(rows: Gathered, seeds: Mapping[str, str]) -> Gathered:
    """The rows of some seeds."""
    return {seed: row for seed, row in rows.items() if seed in seeds}


def _same(what: str, found: Gathered, expected: Gathered) -> None:
    """Raise Difference, with the first seed that differs."""
    differing = [seed for seed in {**found, **expected} if found.get(seed) != expected.get(seed)]
    if differing:
        seed = min(differing)
        raise Difference(
            f"{what}: {len(differing)} of {len(expected)} seeds differ, as {seed}: "
            f"{_excerpt(found.get(seed), expected.get(seed))}"
        )


def _excerpt(found: str | None, expected: str | None) -> str:
    if found is None or expected is None:
        return f"{(found or 'nothing')[:200]} instead of {(expected or 'nothing')[:200]}"
    start = next((i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), 0)
    return f"..{found[max(0, start - 40) : start + 60]}.. instead of ..{expected[max(0, start - 40) : start + 60]}.."
