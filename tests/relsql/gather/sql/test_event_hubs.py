"""Hubs that have a time themselves: read like any hub, and only where the hub may be seen."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pytest

from relsql.gather.sql.latest_rows import SeedKind
from relsql.schema.visibility import VISIBILITY_RULES, VisibilityRule
from tests.relsql.gather.sql.answers import (
    ALL_DELAYED,
    ALL_SEEDS,
    AS_OFS,
    DAYS,
    every_column,
    in_catalog,
    planned,
    run,
    run_delayed,
)
from tests.relsql.gather.sql.league import league, leagues
from tests.relsql.gather.sql.random_databases import random_examples
from tests.relsql.gather.sql.reference import Database, Reference, Seed

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

SEED_KINDS: tuple[SeedKind, ...] = ("batch", "call", "moments")


@random_examples(1.0)
@hypothesis.given(leagues(), st.integers(1, 3), st.booleans(), st.sampled_from(VISIBILITY_RULES))
def test_random_leagues_give_what_the_reference_gives(
    database: Database, fanout: int, indexed: bool, rule: VisibilityRule
) -> None:
    with duckdb.connect() as con:
        database.create(con, "d")
        gather = planned(con, database, "d", "drivers", fanout, event_hubs=True)
        assert {"races_results", "tours_drivers"} <= {path.name for path in gather.plan.paths}
        gather = replace(gather, rows=replace(gather.rows, visible=rule))
        reference = Reference(database, gather.plan.paths, gather.plan.inputs, rule)
        expected = {seed: reference.gather(seed) for seed in ALL_SEEDS}
        for kind in ("batch", "moments"):
            assert run(con, gather.for_seeds(kind), ALL_SEEDS) == expected
        call = gather.for_seeds("call", indexed=every_column(gather) if indexed else frozenset())
        for seed in ALL_SEEDS[2::3]:
            assert run(con, call, [seed]) == {seed: expected[seed]}


@random_examples(0.5)
@hypothesis.given(leagues(), st.sampled_from(["batch", "moments"]))
def test_delayed_seeds_see_events_as_they_were(database: Database, kind: SeedKind) -> None:
    with duckdb.connect() as con:
        database.create(con, "whole")
        gather = planned(con, database, "whole", "drivers", 2, event_hubs=True).for_seeds(kind)
        found = run_delayed(con, gather, ALL_DELAYED)
        for i, until in enumerate(AS_OFS):
            database.ended(until).create(con, f"ended {i}")
            asked = [seed for seed in ALL_SEEDS if until <= seed[1]]
            expected = run(con, in_catalog(gather, f"ended {i}"), asked)
            assert {seed: found[(*seed, until)] for seed in asked} == expected


def rows_of_race(database: Database, seed: Seed, kind: SeedKind) -> list[float | None]:
    """The values of the results of the seed's last race, latest first."""
    with duckdb.connect() as con:
        database.create(con, "d")
        gather = planned(con, database, "d", "drivers", 3, event_hubs=True).for_seeds(kind)
        found = sorted(run(con, gather, [seed])[seed]["races_results"])
        return [numbers[2] for _, numbers, _ in found]


@pytest.mark.parametrize("kind", SEED_KINDS)
def test_a_hub_that_is_not_visible_yet_gives_no_rows(kind: SeedKind) -> None:
    for published, expected in ((DAYS[1], [1.0, 0.0]), (DAYS[2], []), (None, [])):
        database = league([published], [(0, 0, DAYS[0]), (1, 0, DAYS[0]), (2, 0, DAYS[2])])
        assert rows_of_race(database, (0, DAYS[1]), kind) == expected


@pytest.mark.parametrize("kind", SEED_KINDS)
def test_hubs_of_one_row_of_no_row_and_missing_hubs(kind: SeedKind) -> None:
    alone = league([DAYS[0]], [(0, 0, DAYS[0])])
    assert rows_of_race(alone, (0, DAYS[1]), kind) == [0.0]
    assert rows_of_race(alone, (1, DAYS[1]), kind) == []
    for missing in (None, 9):
        without = league([DAYS[0]], [(0, 0, DAYS[0]), (0, missing, DAYS[1])])
        assert rows_of_race(without, (0, DAYS[1]), kind) == []
