"""Events as hubs, in training: they are read on request, and find what the entity's own rows do not say."""

from __future__ import annotations

from dataclasses import replace

import duckdb
from click.testing import CliRunner

from relsql.cli import cli
from relsql.registry.models import read_card
from relsql.training.train import train
from tests.races import TASK, create_races
from tests.shop import QUICK

RIVALS = "drivers <- results -> races <- results, last 16"
OPTIONS = replace(QUICK, fanout=16, epochs=4)


def test_rivals_are_found_on_request_only(con: duckdb.DuckDBPyConnection) -> None:
    create_races(con, "memory")
    default = train(con, TASK, name="default", options=OPTIONS)
    rivals = train(con, TASK, name="rivals", options=replace(OPTIONS, event_hubs=True))
    assert default.metrics["val_roc_auc"] < 0.65 < 0.85 < rivals.metrics["val_roc_auc"]
    walks = [{path.describe() for path in read_card(con, "memory", name, 1).paths} for name in ("default", "rivals")]
    assert walks[1] - walks[0] == {RIVALS} and walks[0] < walks[1]
    # The option is part of what a version was trained from.
    assert train(con, TASK, name="rivals", options=replace(OPTIONS, event_hubs=True)).reused
    assert not train(con, TASK, name="rivals", options=replace(OPTIONS, epochs=1)).reused


def test_the_options_are_on_the_command_line() -> None:
    help_text = CliRunner().invoke(cli, ["train", "--help"]).output
    assert "--event-hubs" in help_text and "--max-hub-rows" in help_text
