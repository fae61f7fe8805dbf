from __future__ import annotations

import datetime

import duckdb
import pytest

from relsql.errors import SchemaError
from relsql.gather.paths import MAX_HUB_ROWS, Candidates, CrowdedPath, Path, candidate_paths, plan_paths
from relsql.schema.reading import read_schema

LEAGUE = """
CREATE TABLE teams (id INTEGER PRIMARY KEY, name VARCHAR);
CREATE TABLE races (id INTEGER PRIMARY KEY, day DATE);
CREATE TABLE drivers (id INTEGER PRIMARY KEY, boss INTEGER REFERENCES drivers (id));
CREATE TABLE results (
    id INTEGER PRIMARY KEY, driver INTEGER REFERENCES drivers (id), team INTEGER REFERENCES teams (id),
    race INTEGER REFERENCES races (id), moment TIMESTAMP
);
CREATE TABLE stops (result INTEGER REFERENCES results (id), moment TIMESTAMP);
CREATE SCHEMA relsql;
CREATE TABLE relsql.schema_tables (table_name VARCHAR, primary_key VARCHAR[], time_column VARCHAR, origin VARCHAR);
INSERT INTO relsql.schema_tables
VALUES
    ('stops', [], 'moment', 'declared'), ('results', ['id'], 'moment', 'declared'),
    ('races', ['id'], 'day', 'declared');
"""


def plan(con: duckdb.DuckDBPyConnection, entity: str = "drivers", fanout: int = 16) -> tuple[Path, ...]:
    return plan_paths(con, "memory", read_schema(con, "memory"), entity, fanout=fanout)


def candidates(
    con: duckdb.DuckDBPyConnection,
    entity: str = "drivers",
    *,
    until: datetime.datetime | None = None,
    event_hubs: bool = False,
    max_hub_rows: int = MAX_HUB_ROWS,
) -> Candidates:
    schema = read_schema(con, "memory")
    return candidate_paths(con, "memory", schema, entity, until=until, event_hubs=event_hubs, max_hub_rows=max_hub_rows)


def names(found: Candidates) -> list[str]:
    return [path.name for path in found.paths]


def test_plan_of_a_league(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(LEAGUE)
    planned = plan(con)
    assert [(p.name, p.kind, p.describe(), len(p.lookups)) for p in planned] == [
        ("entity", "entity", "drivers", 0),
        ("drivers", "parents", "drivers -> drivers", 1),
        ("drivers_2", "children", "drivers <- drivers, last 16", 0),
        ("results", "children", "drivers <- results, last 16", 2),
        ("drivers_results", "grandchildren", "drivers <- drivers <- results, last 16", 2),
        ("results_stops", "grandchildren", "drivers <- results <- stops, last 16", 0),
        # The hub's rows are read; a race has a time, and is a hub on request only.
        ("teams_results", "hub", "drivers <- results -> teams <- results, last 16", 2),
    ]


def test_rows_are_counted_over_spans_of_the_horizon(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(LEAGUE)
    planned = plan_paths(con, "memory", read_schema(con, "memory"), "drivers", horizon_days=0.5)
    spans = (0.5, 2.0, 8.0)
    assert {path.name: (path.counted, path.count_days) for path in planned} == {
        "entity": (False, ()),
        "drivers": (False, ()),
        # Drivers have no time: only their number in all is known.
        "drivers_2": (True, ()),
        "results": (True, spans),
        "drivers_results": (True, spans),
        "results_stops": (True, spans),
        "teams_results": (True, spans),
    }
    assert {path.count_days for path in plan(con)} == {(), (30.0, 120.0, 480.0)}


def test_planning_leaves_the_connection_free(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(LEAGUE)
    plan(con)
    assert con.sql("SELECT 1 AS x").to_arrow_table().to_pylist() == [{"x": 1}]


def test_crowded_hubs_are_named_and_missing_keys_do_not_crowd(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(LEAGUE)
    con.execute("INSERT INTO drivers VALUES (1, NULL)")
    con.execute("INSERT INTO teams VALUES (1, 'a')")
    con.execute("INSERT INTO results SELECT i, 1, NULL, NULL, '2020-01-01' FROM range(50) t(i)")
    assert "teams_results" in names(candidates(con, max_hub_rows=10)) and not candidates(con, max_hub_rows=10).crowded
    con.execute("INSERT INTO results SELECT 100 + i, 1, 1, NULL, '2020-01-01' FROM range(11) t(i)")
    found = candidates(con, max_hub_rows=10)
    assert "teams_results" not in names(found)
    walk = "drivers <- results -> teams <- results, last 16"
    assert found.crowded == (CrowdedPath(walk, 11.0),)
    assert str(found.crowded[0]) == f"{walk}: 11 rows share a hub"
    assert "teams_results" in names(candidates(con, max_hub_rows=11))


def test_hubs_are_measured_until_the_end_of_training(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(LEAGUE)
    con.execute("INSERT INTO drivers VALUES (1, NULL)")
    con.execute("INSERT INTO teams VALUES (1, 'a')")
    con.execute(
        "INSERT INTO results SELECT i, 1, 1, NULL, TIMESTAMP '2020-01-01' + to_days(i::INT) FROM range(20) t(i)"
    )
    for last, planned in ((10, True), (11, False), (None, False)):
        until = None if last is None else datetime.datetime(2020, 1, last)
        assert ("teams_results" in names(candidates(con, max_hub_rows=10, until=until))) == planned


def test_events_are_hubs_on_request_for_rows_of_the_table_that_leads_there(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(LEAGUE)
    con.execute("CREATE TABLE laps (race INTEGER REFERENCES races (id), moment TIMESTAMP)")
    con.execute("INSERT INTO relsql.schema_tables VALUES ('laps', [], 'moment', 'declared')")
    default, found = candidates(con).paths, candidates(con, event_hubs=True).paths
    [race] = [path for path in found if path not in default]
    assert [path for path in found if path in default] == list(default)
    assert (race.name, race.kind, race.describe()) == (
        "races_results",
        "hub",
        "drivers <- results -> races <- results, last 16",
    )
    assert race.shared and [link.parent for link in race.lookups] == ["drivers", "teams"]
    # An entity that is part of the event itself: its rivals, but not the laps.
    walks = [path.describe() for path in candidates(con, "results", event_hubs=True).paths]
    assert "results -> races <- results, last 16" in walks and not any("laps" in walk for walk in walks)


@pytest.mark.parametrize("table", ["stops", "nowhere"])
def test_an_entity_needs_one_key_column(con: duckdb.DuckDBPyConnection, table: str) -> None:
    con.execute(LEAGUE)
    with pytest.raises(SchemaError, match=table):
        plan(con, table)


def test_a_column_called_rowid_needs_a_primary_key(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (RowId INTEGER, a INTEGER REFERENCES a (id))")
    with pytest.raises(SchemaError, match="'b' has no primary key.*--primary-key"):
        plan(con, "a")
    con.execute("DROP TABLE b; CREATE TABLE b (RowId INTEGER PRIMARY KEY, a INTEGER REFERENCES a (id))")
    assert [p.name for p in plan(con, "a")] == ["entity", "b"]


def test_names_are_plain_and_unique(con: duckdb.DuckDBPyConnection) -> None:
    odd = ["seed", "self", "id", "as_of", "Größe", "gr e", "2020", "表", "画", "a__b", "entity"]
    con.execute("CREATE TABLE e (id INTEGER PRIMARY KEY)")
    for name in odd:
        con.execute(f'CREATE TABLE "{name}" (e INTEGER REFERENCES e (id))')
    found = [p.name for p in plan(con, "e")]
    assert len(set(found)) == len(odd) + 1
    assert all(name.isascii() and name.isidentifier() and "__" not in name for name in found)
    assert not {"seed", "self", "id", "as_of"} & set(found)
