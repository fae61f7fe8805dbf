"""The command that `relsql train` prints works, whatever the entity is."""

from __future__ import annotations

import shlex
from pathlib import Path

import duckdb
import pytest
import yaml
from click.testing import CliRunner

pytest.importorskip("torch")

from relsql.cli import cli
from relsql.schema.declared.declarations import Declarations

SQUADS = """
    CREATE SCHEMA "order";
    CREATE TABLE "order"."its `$1` squads" AS
        SELECT 'team ' || i % 12 AS "Team $1", (i // 12)::INTEGER AS "select" FROM range(24) r(i);
    CREATE TABLE games AS
        SELECT DATE '2020-01-01' + (i // 4)::INTEGER AS played, 'team ' || i % 12 AS "Home Team",
            'team ' || (i + 1 + i % 5) % 12 AS away, ((i // 4) % 2)::INTEGER AS season, (hash(i) % 2)::INTEGER AS won
        FROM range(1600) r(i);
    CREATE TABLE coaches AS SELECT 'team ' || i AS coach FROM range(12) r(i);
"""
DECLARED = Declarations.parse(
    entities=['my teams=games("Home Team"),games(away)'],
    primary_keys=['"order"."its `$1` squads"("Team $1", "select")', "coaches(coach)"],
    time_columns=["games(played)"],
)
SQL = """
    SELECT t.timestamp, {columns}, (count(*) FILTER (WHERE g.won = 1) >= 5)::BIGINT AS y
    FROM timestamps t CROSS JOIN {table} e
    LEFT JOIN games g ON g."Home Team" = {first} AND g.played > t.timestamp
      AND g.played <= t.timestamp + INTERVAL '30 days'
    GROUP BY ALL"""
SQUAD = '"order"."its `$1` squads"'


@pytest.mark.parametrize(
    ("entity", "key", "table", "columns"),
    [
        ("coaches", "coach", "coaches", ["e.coach"]),
        ("order.its `$1` squads", "Team $1, select", SQUAD, ['e."Team $1"', 'e."select"']),
        ("my teams", "team", '"my teams"', ["e.team"]),
    ],
)
def test_the_command_that_training_prints_works(
    tmp_path: Path, entity: str, key: str, table: str, columns: list[str]
) -> None:
    file = tmp_path / "my league.duckdb"
    with duckdb.connect(str(file)) as con:
        con.execute(SQUADS)
        DECLARED.store(con, "my league")
    sql = SQL.format(columns=", ".join(columns), table=table, first=columns[0])
    fields = {"name": "t", "task_type": "binary_classification", "entity_table": entity, "entity_col": key}
    fields |= {"target_col": "y", "time_col": "timestamp", "timedelta": "30 days", "sql": sql}
    manifest = tmp_path / "t.yaml"
    manifest.write_text(yaml.safe_dump(fields), encoding="utf-8")
    quick = ["--encoder-steps", "1", "--epochs", "1", "--channels", "8", "--threads", "1", "--no-trees"]
    trained = CliRunner().invoke(cli, ["train", str(file), str(manifest), "--name", "Group", *quick])
    assert trained.exit_code == 0, trained.output
    [line] = [line for line in trained.stderr.splitlines() if line.startswith("try: ")]
    program, *arguments = shlex.split(line.removeprefix("try: "))
    shown = CliRunner().invoke(cli, arguments)
    assert program == "relsql" and shown.exit_code == 0, shown.output
    assert "score" in shown.stdout.splitlines()[0] and len(shown.stdout.splitlines()) == 12
