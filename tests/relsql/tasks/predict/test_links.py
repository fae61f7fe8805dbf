"""Tests of relsql.tasks.predict.links: which way leads from an entity to the rows that are aggregated."""

from __future__ import annotations

import pytest

from relsql.errors import TaskError
from relsql.schema.tables import Column, Link, Schema, Table
from relsql.tasks.predict.links import Way, find_way, meets_rows_twice
from relsql.tasks.predict.parse import parse_line
from relsql.tasks.predict.syntax import Aggregate

LINKS = {
    "games": {"home": "teams", "away": "teams", "venue": "venues"},
    "goals": {"game": "games", "player": "players"},
    "players": {"team": "teams", "captain": "players"},
    "lonely": {},
    "teams": {},
    "venues": {},
}


def schema() -> Schema:
    tables = {
        name: Table(name, tuple(Column(c, "INTEGER") for c in ("id", *links)), ("id",)) for name, links in LINKS.items()
    }
    links = [Link(name, (c,), parent, ("id",)) for name, of in LINKS.items() for c, parent in of.items()]
    return Schema(tables, tuple(links))


def way(entity: str, target: str) -> Way:
    line = f"PREDICT COUNT({target}, 0, 1, day) FOR EACH {entity}.id"
    aggregate = parse_line(line).outcome
    assert isinstance(aggregate, Aggregate)
    return find_way(line, schema(), schema().table(entity), schema().table(aggregate.name.parts[0]), aggregate)


def steps(found: Way) -> str:
    return " ".join(f"{'<' if hop.down else '>'}{hop.link.child_columns[0]}" for hop in found)


def test_the_shortest_way_is_taken_down_and_up() -> None:
    assert steps(way("venues", "goals.*")) == "<venue <game"
    assert steps(way("games", "venues.*")) == ">venue"
    assert steps(way("teams", "players.*")) == "<team"
    assert steps(way("teams", "teams.*")) == ""
    assert steps(way("players", "venues.* VIA goals.player")) == "<player >game >venue"


def test_via_chooses_among_ways_that_are_equally_short() -> None:
    with pytest.raises(TaskError) as caught:
        way("teams", "games.*")
    message = str(caught.value)
    assert "2 ways are equally short from teams to games" in message
    assert "VIA games.away or VIA games.home, after games.*" in message
    with pytest.raises(TaskError, match="VIA games.away or VIA games.home or VIA goals.player, after venues"):
        way("players", "venues.*")
    assert steps(way("teams", "games.* VIA games.home")) == "<home"
    assert steps(way("teams", "goals.* VIA games.away")) == "<away <game"
    # A longer way is taken if VIA names it.
    assert steps(way("teams", "games.* VIA goals.player")) == "<team <player >game"
    assert steps(way("players", "players.* VIA players.captain")) == "<captain"
    assert steps(way("players", "players.* VIA players.team")) == ">team <team"


def test_a_way_that_goes_up_after_down_meets_rows_twice() -> None:
    assert meets_rows_twice(way("players", "venues.* VIA goals.player"))
    assert not meets_rows_twice(way("venues", "goals.*"))
    assert not meets_rows_twice(way("players", "games.* VIA players.team, games.home"))


@pytest.mark.parametrize(
    ("entity", "target", "parts"),
    [
        ("teams", "lonely.*", ("no links lead from teams to lonely", "games, goals, players, venues", "--link")),
        ("teams", "games.* VIA games.hme", ("games.hme is not a foreign key", "did you mean 'home'?")),
        ("teams", "games.* VIA games.id", ("games.id is not a foreign key",)),
        ("teams", "games.* VIA gams.home", ("there is no table gams", "did you mean 'games'?")),
        ("teams", "players.* VIA players.captain", ("goes along players.captain", "VIA players.team")),
    ],
)
def test_ways_that_are_not_there(entity: str, target: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(TaskError) as caught:
        way(entity, target)
    assert all(part in str(caught.value) for part in parts), caught.value
