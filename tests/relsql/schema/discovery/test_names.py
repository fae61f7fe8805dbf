"""Names of tables and columns as words, and what they say about each other (relsql.schema.discovery.names)."""

from __future__ import annotations

import pytest

from relsql.schema.discovery.names import is_plural, name_match, stem, words


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("homeTeamId", ("home", "team", "id")),
        ("HOME_TEAM_ID", ("home", "team", "id")),
        ("team1 categories", ("team", "category")),
        ("HTTPStatus", ("http", "status")),
        ("адрес_id", ("адрес", "id")),
        ("42", ()),
    ],
)
def test_words(name: str, expected: tuple[str, ...]) -> None:
    assert words(name) == expected


def test_names() -> None:
    assert stem("fk_driver_id") == ("driver",)
    assert is_plural("num_laps") and not is_plural("lap") and not is_plural("status")
    assert name_match("driverid", ("driver",)) == 1.0
    assert name_match("home_team_id", ("team",)) == 0.9
    assert name_match("cust_id", ("customer",)) == 0.75
    assert name_match("paid", ("driver",)) == 0.0
    assert name_match("id", ("driver",)) == 0.0
