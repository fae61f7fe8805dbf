"""The SQL aggregates against a brute-force reference in plain Python, and that later rows do not count."""

from __future__ import annotations

import datetime
import random
import statistics
from collections.abc import Callable
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from benchmarks.accuracy.rows.aggregates import Feature, Recipe, Stream, Window, plan_streams, read_streams
from relsql.schema.declared.declare import declare_table
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema
from relsql.tasks.task import Task

DAY = datetime.timedelta(days=1)
START = datetime.datetime(2020, 1, 1)
HORIZON = 10
TASK = Task("points", "regression", "players", "player_id", "label", "at", f"{HORIZON} days", "")
EVERYTHING = Recipe(limit=100_000)

Row = dict[str, Any]
Rows = dict[str, list[Row]]

TABLES = """
    CREATE TABLE clubs (club_id INTEGER PRIMARY KEY, budget DOUBLE);
    CREATE TABLE teams (team_id INTEGER PRIMARY KEY, size INTEGER, colour VARCHAR);
    CREATE TABLE players (player_id VARCHAR PRIMARY KEY, club_id INTEGER REFERENCES clubs (club_id), joined TIMESTAMP);
    CREATE TABLE signings (signing_id INTEGER PRIMARY KEY, club_id INTEGER REFERENCES clubs (club_id),
        price DOUBLE, signed TIMESTAMP);
    CREATE TABLE games (game_id INTEGER PRIMARY KEY, rain DOUBLE, held TIMESTAMP);
    CREATE TABLE results (result_id INTEGER PRIMARY KEY, player_id VARCHAR REFERENCES players (player_id),
        team_id INTEGER REFERENCES teams (team_id), game_id INTEGER REFERENCES games (game_id),
        points DOUBLE, won BOOLEAN, kind VARCHAR, played TIMESTAMP);
    CREATE TABLE goals (goal_id INTEGER PRIMARY KEY, result_id INTEGER REFERENCES results (result_id),
        minute INTEGER, scored TIMESTAMP);
    CREATE TABLE awards (award_id INTEGER PRIMARY KEY, player_id VARCHAR REFERENCES players (player_id), worth DOUBLE);
"""
TIMES = {"players": "joined", "signings": "signed", "games": "held", "results": "played", "goals": "scored"}


def draw(seed: int) -> Rows:
    """A small database: few distinct times, so that ties are common, and every kind of missing value."""
    rng = random.Random(seed)

    def time(none: float = 0.1) -> datetime.datetime | None:
        return None if rng.random() < none else START + rng.randrange(60) * DAY

    def number(none: float = 0.2) -> float | None:
        return None if rng.random() < none else rng.randrange(-40, 40) / 4

    def some(values: list[Any], none: float = 0.1) -> Any:
        return None if rng.random() < none else rng.choice(values)

    players = [f"p{i}" for i in range(5)]
    return {
        "clubs": [{"club_id": i, "budget": number()} for i in range(3)],
        "teams": [{"team_id": i, "size": 10 + i, "colour": some(["red", "blue"])} for i in range(3)],
        "players": [{"player_id": p, "club_id": some([0, 1, 2]), "joined": START + 5 * DAY} for p in players],
        "signings": [
            {"signing_id": i, "club_id": some([0, 1, 2]), "price": number(), "signed": time()} for i in range(40)
        ],
        "games": [{"game_id": i, "rain": number(), "held": time()} for i in range(12)],
        "results": [
            {
                "result_id": i,
                "player_id": some(players),
                "team_id": some([0, 1, 2]),
                "game_id": some(list(range(12))),
                "points": number(),
                "won": some([True, False]),
                "kind": some(["a", "b", "c"]),
                "played": time(),
            }
            for i in range(90)
        ],
        "goals": [
            {"goal_id": i, "result_id": some(list(range(90))), "minute": rng.randrange(90), "scored": time()}
            for i in range(120)
        ],
        "awards": [{"award_id": i, "player_id": some(players), "worth": number()} for i in range(20)],
    }


def create(con: duckdb.DuckDBPyConnection, rows: Rows) -> Schema:
    con.execute(TABLES)
    insert(con, rows)
    con.execute("BEGIN")
    for table, column in TIMES.items():
        declare_table(con, "memory", table, time_column=column)
    con.execute("COMMIT")
    return read_schema(con)


def insert(con: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    for table, each in rows.items():
        if each:
            con.executemany(
                f"INSERT INTO {table} VALUES ({', '.join('?' * len(each[0]))})", [list(row.values()) for row in each]
            )


def seeds() -> pa.Table:
    pairs = [(f"p{i}", START + day * DAY) for day in (2, 12, 30, 31, 55, 90) for i in (*range(5), 9)]
    columns = {"entity": [p for p, _ in pairs], "as_of": [t for _, t in pairs], "label": [0.0] * len(pairs)}
    return pa.table(columns, schema=pa.schema({"entity": pa.string(), "as_of": pa.timestamp("us"), "label": "f8"}))


# The reference: lists, dicts, loops.


def reference(rows: Rows, stream: Stream, feature: Feature, player: str, as_of: Any) -> float | None:
    events = [e for e in stream_events(rows, stream, player, as_of) if e[0] <= as_of]
    events = inside(sorted(events, key=lambda e: e[:2]), feature.window, as_of)
    if feature.value is None:
        return float(len(events))
    value = stream.values[feature.value]
    found = [v for e in events if (v := read(rows, stream, value.name, e, as_of)) is not None]
    if not found or (feature.stat == "std" and len(found) < 2):
        return None
    stats: dict[str, Callable[[list[float]], float]] = {"mean": statistics.fmean, "min": min, "max": max, "sum": sum}
    return (stats | {"std": statistics.stdev})[feature.stat](found)


def inside(events: list[Any], window: Window, as_of: datetime.datetime) -> list[Any]:
    if window.rows:
        return events[-window.rows :]
    if window.horizons:
        return [e for e in events if e[0] > as_of - window.horizons * HORIZON * DAY]
    return events


def stream_events(rows: Rows, stream: Stream, player: str, as_of: Any) -> list[tuple[Any, Any, Row]]:
    """(time, key, row) of all events of the stream that the seed reads, later ones too."""
    [entity] = [p for p in rows["players"] if p["player_id"] == player and p["joined"] <= as_of] or [None]
    if entity is None:
        return []
    links = stream.path.links
    if stream.path.kind == "grandchildren":
        child_time = TIMES[links[0].child]
        return [
            (max(child[child_time], e[0]), (*e[1], child["result_id"]), e[2])
            for child in rows[links[0].child]
            if child["player_id"] == player and child[child_time] is not None
            for e in pointing(rows, links[1].child, links[1].child_columns[0], child[links[1].parent_columns[0]])
        ]
    key = entity[links[-1].parent_columns[0]] if stream.path.kind == "children" else None
    if stream.path.kind == "siblings":
        key = entity[links[0].child_columns[0]]
    if stream.path.kind == "hub":
        before = pointing(rows, links[0].child, links[0].child_columns[0], player)
        before = [e for e in before if e[0] <= as_of]
        # Of rows at the same time, those with a hub count.
        last = [e for e in before if e[0] == max(b[0] for b in before)]
        known = [e for e in last if e[2][links[1].child_columns[0]] is not None]
        key = max(known, key=lambda e: e[1])[2][links[1].child_columns[0]] if known else None
    return pointing(rows, links[-1].child, links[-1].child_columns[0], key)


def pointing(rows: Rows, table: str, column: str, key: Any) -> list[tuple[Any, Any, Row]]:
    if key is None:
        return []
    time = TIMES.get(table)
    return [
        (row[time] if time else datetime.datetime.min, (next(iter(row.values())),), row)
        for row in rows[table]
        if row[column] == key and (time is None or row[time] is not None)
    ]


def read(rows: Rows, stream: Stream, name: str, event: tuple[Any, Any, Row], as_of: Any) -> Any:
    """The value called `name`: `column`, `column = value`, either of them after `link.`."""
    time, _, row = event
    table = stream.path.table
    if "." in name.split(" = ")[0]:
        link_column, name = name.split(".", 1)
        [link] = [lookup for lookup in stream.path.lookups if lookup.child_columns == (link_column,)]
        table, key = link.parent, link.parent_columns[0]
        parents = [p for p in rows[table] if p[key] == row[link_column] and row[link_column] is not None]
        row = next(iter(parents), {})
        if table in TIMES and (row.get(TIMES[table]) is None or row[TIMES[table]] > time):
            row = {}
    column, _, wanted = name.partition(" = ")
    value = row.get(column)
    if value is None or not wanted:
        return (as_of - value) / DAY if isinstance(value, datetime.datetime) else value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(float(value) == float(wanted) if is_number else str(value) == wanted)


@pytest.fixture(params=[1, 2, 3])
def database(request: pytest.FixtureRequest, con: duckdb.DuckDBPyConnection) -> tuple[Schema, Rows]:
    rows = draw(request.param)
    return create(con, rows), rows


def test_features_equal_those_of_the_reference(database: tuple[Schema, Rows], con: duckdb.DuckDBPyConnection) -> None:
    schema, rows = database
    labels = seeds()
    streams = plan_streams(con, "memory", schema, TASK, labels, EVERYTHING)
    assert {s.path.kind for s in streams} == {"children", "grandchildren", "hub", "siblings"}
    found = read_streams(con, "memory", schema, TASK, streams, labels)
    pairs = list(zip(labels["entity"].to_pylist(), labels["as_of"].to_pylist(), strict=True))
    columns = [(s, f) for s in streams for f in s.features]
    assert found.shape == (len(pairs), len(columns))
    names = [name for stream in streams for name in stream.names]
    assert len(set(names)) == len(names)
    for i, (stream, feature) in enumerate(columns):
        expected = [reference(rows, stream, feature, *pair) for pair in pairs]
        wanted = np.array([np.nan if value is None else value for value in expected])
        np.testing.assert_allclose(found[:, i], wanted, rtol=1e-6, atol=1e-6, err_msg=names[i])
    assert np.isfinite(found).mean() > 0.5


def test_rows_after_as_of_change_nothing(database: tuple[Schema, Rows], con: duckdb.DuckDBPyConnection) -> None:
    schema, _ = database
    labels = seeds()
    early = labels.filter(pa.array([t <= START + 31 * DAY for t in labels["as_of"].to_pylist()]))
    streams = plan_streams(con, "memory", schema, TASK, early, EVERYTHING)
    before = read_streams(con, "memory", schema, TASK, streams, early)
    later, never = "TIMESTAMP '2020-02-01 00:00:01'", "CAST(NULL AS TIMESTAMP)"
    con.execute(f"""
        INSERT INTO results SELECT 1000 + i, 'p' || i % 5, i % 3, i % 12, 99, true, 'a', {later} FROM range(30) t(i);
        INSERT INTO results SELECT 2000 + i, 'p' || i % 5, i % 3, i % 12, 99, true, 'a', {never} FROM range(30) t(i);
        INSERT INTO signings SELECT 1000 + i, i % 3, 99, {later} FROM range(30) t(i);
        INSERT INTO goals SELECT 1000 + i, i, 99, {later} FROM range(90) t(i);
    """)
    assert plan_streams(con, "memory", schema, TASK, early, EVERYTHING) == streams
    # Early rows under a row that appears later.
    con.execute("INSERT INTO goals SELECT 2000 + i, 1000 + i, 99, TIMESTAMP '2020-01-02' FROM range(30) t(i)")
    np.testing.assert_array_equal(read_streams(con, "memory", schema, TASK, streams, early), before)


def test_the_limit_keeps_the_simplest_features(database: tuple[Schema, Rows], con: duckdb.DuckDBPyConnection) -> None:
    schema, _ = database
    streams = plan_streams(con, "memory", schema, TASK, seeds(), Recipe(limit=60))
    kept = [feature for stream in streams for feature in stream.features]
    assert len(kept) == 60
    everything = plan_streams(con, "memory", schema, TASK, seeds(), EVERYTHING)
    counts = [f for stream in everything for f in stream.features if f.stat == "count"]
    assert [f for f in kept if f.stat == "count"] == counts
    assert not [f for f in kept if f.stat == "sum"]
    assert read_streams(con, "memory", schema, TASK, streams, seeds()).shape == (seeds().num_rows, 60)


def test_keys_of_two_columns(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("""
        CREATE TABLE shops (shop_id INTEGER PRIMARY KEY, country VARCHAR, number INTEGER, UNIQUE (country, number));
        CREATE TABLE visits (visit_id INTEGER PRIMARY KEY, country VARCHAR, number INTEGER, spent DOUBLE, day TIMESTAMP,
            FOREIGN KEY (country, number) REFERENCES shops (country, number));
        INSERT INTO shops VALUES (1, 'be', 1), (2, 'be', 2), (3, 'de', 1);
        INSERT INTO visits VALUES (1, 'be', 1, 5, '2020-01-01'), (2, 'be', 1, 7, '2020-01-02'),
            (3, 'de', 1, 9, '2020-01-02'), (4, 'de', NULL, 11, '2020-01-02');
        BEGIN
    """)
    declare_table(con, "memory", "visits", time_column="day")
    con.execute("COMMIT")
    task = Task("spend", "regression", "shops", "shop_id", "label", "at", "1 day", "")
    labels = pa.table({"entity": pa.array([1, 2, 3], "int32"), "as_of": [datetime.datetime(2020, 1, 2)] * 3})
    schema = read_schema(con)
    streams = plan_streams(con, "memory", schema, task, labels, Recipe(rows=(1,), horizons=(1,), stats=("mean", "sum")))
    names = [name for stream in streams for name in stream.names]
    found = read_streams(con, "memory", schema, task, streams, labels)
    by_name = dict(zip(names, found.T, strict=True))
    assert by_name["visits: count, all time"].tolist() == [2, 0, 1]
    np.testing.assert_array_equal(by_name["visits: sum spent, all time"], [12, np.nan, 9])
    np.testing.assert_array_equal(by_name["visits: mean spent, last 1"], [7, np.nan, 9])
