"""A card from elsewhere is checked as a whole before anything is built from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from relsql.errors import ArtifactError
from relsql.registry.cards.reading import read_card_text

Card = dict[str, Any]


@pytest.fixture
def card(shop_with_model: Path) -> Card:
    with duckdb.connect(str(shop_with_model), read_only=True) as con:
        [(text,)] = con.execute("SELECT card FROM relsql.models").fetchall()
    found: Card = json.loads(text)
    return found


def link(card: Card, path: int) -> Card:
    found: Card = card["paths"][path]["links"][0]
    return found


CHANGES: dict[str, tuple[Callable[[Card], object], str]] = {
    "name": (lambda c: c.update(name='x"; DROP'), "cannot be part of a function name"),
    "version": (lambda c: c.update(version=0), "version 0 is not from 1"),
    "path name": (lambda c: c["paths"][1].update(name='x") FROM secrets --'), "cannot be the name of a path"),
    "double underscore": (lambda c: c["paths"][1].update(name="orders__counts"), "cannot be the name of a path"),
    "reserved path name": (lambda c: c["paths"][1].update(name="seed"), "cannot be the name of a path"),
    "path twice": (lambda c: c["paths"][2].update(name="shops"), "two paths have the same name"),
    "no paths": (lambda c: c.update(paths=[]), "must be the entity"),
    "entity later": (lambda c: c["paths"].reverse(), "must be the entity"),
    "fanout": (lambda c: c["paths"][2].update(fanout=10**9), "has fanout 1000000000"),
    "no fanout": (lambda c: c["paths"][2].update(fanout=0), "has fanout 0"),
    "count days": (lambda c: c["paths"][2].update(count_days=[-1.0]), "spans that are not from 0 to"),
    "long spans": (lambda c: c["paths"][2].update(count_days=[1e18]), "spans that are not from 0 to"),
    "data age": (lambda c: c["paths"][1].update(data_age=True), "has data_age, which only the entity can have"),
    "kind": (lambda c: c["paths"][2].update(kind="hub"), "of kind hub, but has 1 links"),
    "foreign link": (lambda c: link(c, 2).update(child_columns=["amount"]), "which is not one of its links"),
    "other table": (lambda c: c["paths"][2].update(table="shops"), "ends at orders, not at shops"),
    "wrong way": (lambda c: c["paths"][2].update(kind="parents"), "continues from orders, but is at customers"),
    "entity table": (lambda c: c["task"].update(entity_table="ghosts"), "is not among its tables"),
    "task type": (lambda c: c["task"].update(task_type="guess"), "task_type 'guess'"),
    "target": (lambda c: c["task"].update(task_type="regression", target="guess"), "has target 'guess'"),
    "target of classes": (lambda c: c["task"].update(target="mean"), "is a classification with target mean"),
    "table key": (lambda c: c["schema"]["tables"]["orders"].update(name="secrets"), "table orders is called secrets"),
    "primary key": (lambda c: c["schema"]["tables"]["orders"].update(primary_key=["x"]), "the primary key of orders"),
    "input column": (lambda c: c["inputs"]["orders"]["numbers"][1].update(column="x"), "an input of orders names 'x'"),
    "age": (lambda c: c["inputs"]["orders"]["numbers"].reverse(), "is not the age of its rows"),
    "category": (lambda c: c["inputs"]["orders"]["categories"][0]["values"].append("a\x1fb"), "SQL cannot write"),
    "channels": (lambda c: c.update(channels=-1), "channels is -1"),
    "tokens": (lambda c: c["encoder"].update(max_tokens=10**9), "max_tokens is 1000000000"),
    "windows": (lambda c: c.update(windows=[0]), "the windows are 0"),
    "statistics of no path": (lambda c: c.update(statistics={"ghosts": [0]}), "a statistic names 'ghosts'"),
    "no such statistic": (lambda c: c.update(statistics={"orders": [10**6]}), "are not ascending positions below"),
    "negative statistic": (lambda c: c.update(statistics={"orders": [-1, 2]}), "are not ascending positions below"),
    "statistic twice": (lambda c: c.update(statistics={"orders": [2, 2]}), "are not ascending positions below"),
    "path without statistics": (lambda c: c.update(statistics={"orders": []}), "are not ascending positions below"),
    "fingerprint": (lambda c: c.update(fingerprint="0" * 64), "fingerprint is not that of its tables"),
    "digest": (lambda c: c["sha256"].update({"head.onnx": "0"}), "artefact head.onnx has no SHA-256 digest"),
    "unknown field": (lambda c: c.update(run="me"), "unknown field"),
    "zone": (lambda c: c.update(trained_until="2022-01-01T00:00:00Z"), "its times have a time zone"),
    "newer": (lambda c: c.update(format=99), "format 99, this relsql reads up to"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_card_that_contradicts_itself_is_refused(card: Card, name: str) -> None:
    change, problem = CHANGES[name]
    change(card)
    with pytest.raises(ArtifactError, match=problem) as caught:
        read_card_text(json.dumps(card))
    assert "\n" not in str(caught.value)


def test_a_card_from_before_there_were_trees_is_read(card: Card) -> None:
    card["format"] = 3
    del card["statistics"]
    found = read_card_text(json.dumps(card))
    assert (found.statistics, found.state_width) == ({}, found.channels)


def test_what_training_wrote_is_accepted_and_written_the_same_again(card: Card) -> None:
    text = json.dumps(card, indent=2, ensure_ascii=False)
    assert json.loads(read_card_text(text).to_json()) == card


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 200_000, "array"),
        ('{"format": 3, "name": ' + "[" * 200_000 + "]" * 200_000 + "}", "nested too deeply"),
        ('{"padding": "' + "x" * 65_000_000 + '"}', "65,000,015 characters"),
        ('{"format": 3, "name": "\ud800"}', "surrogates"),
        ("", "malformed|truncated"),
    ],
    ids=["arrays", "nested", "large", "half a character", "empty"],
)
def test_texts_that_are_not_cards_are_refused(text: str, problem: str) -> None:
    with pytest.raises(ArtifactError, match=problem):
        read_card_text(text)


def test_function_names_depend_on_the_card_and_on_where_it_is_stored(card: Card) -> None:
    one = read_card_text(json.dumps(card), "a.duckdb")
    same = read_card_text(json.dumps(card, indent=1), "a.duckdb")
    elsewhere = read_card_text(json.dumps(card), "b.duckdb")
    card["stale_after_days"] = 12345.0
    other = read_card_text(json.dumps(card), "a.duckdb")
    assert one.score_function == same.score_function
    assert len({one.score_function, elsewhere.score_function, other.score_function}) == 3
    assert len({one.identity, elsewhere.identity, other.identity}) == 1
