"""Hubs in training: events are read on request and tell what an entity's own rows do not; crowded hubs are named."""

from __future__ import annotations

from dataclasses import replace

import duckdb
from click.testing import CliRunner

from relsql.cli import cli
from relsql.cli.inspection import inspect
from relsql.database.connections import transaction
from relsql.gather.paths import MAX_HUB_ROWS
from relsql.registry.models import read_card
from relsql.tasks.stored_tasks import save_task
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


def test_paths_beyond_the_bound_are_named(con: duckdb.DuckDBPyConnection) -> None:
    create_races(con, "memory")
    few = replace(OPTIONS, epochs=1, trees=False, refit=False, event_hubs=True, max_hub_rows=4)
    [left_out] = train(con, TASK, name="few", options=few).left_out
    assert (left_out.beyond, str(left_out)) == ("--max-hub-rows", f"{RIVALS}: 5 rows share a hub")
    assert RIVALS not in {path.describe() for path in read_card(con, "memory", "few", 1).paths}
    findings = [str(finding) for finding in inspect(con, "memory").findings]
    assert f"info: model few version 1: does not read {left_out}" in findings


def test_inspect_names_hubs_that_training_does_not_read(con: duckdb.DuckDBPyConnection) -> None:
    create_races(con, "memory", timed_races=False)
    with transaction(con):
        save_task(con, "memory", TASK)
    assert not any("share a hub" in str(finding) for finding in inspect(con, "memory").findings)
    con.execute("INSERT INTO results SELECT 9999 + i, NULL, 100, 0, '2020-01-01' FROM range(20000) r(i)")
    [finding] = [str(each) for each in inspect(con, "memory").findings if "share a hub" in str(each)]
    assert finding.startswith(f"info: task pauses: training does not read {RIVALS}: 18,")
    assert finding.endswith(f"more than {MAX_HUB_ROWS:,}; to raise the bound: relsql train FILE TASK --max-hub-rows")


def test_the_options_are_on_the_command_line() -> None:
    help_text = CliRunner().invoke(cli, ["train", "--help"]).output
    assert "--event-hubs" in help_text and "--max-hub-rows" in help_text
